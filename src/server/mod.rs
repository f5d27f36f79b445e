//! A gRPC server: services behind their paths, on the connections of any listener.
//!
//! In: services, a listener, a future that says when to stop. Out: answers. Not here: one call (`call`).

mod calls;
mod config;
mod connection;
mod handler;
mod lifetime;
mod not_grpc;
mod router;
mod threads;
mod timer;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::config::Config;
pub use self::handler::{Rpc, Runner};
use self::router::{Override, Router};
use self::threads::Threads;
use crate::call::{Phase, Room, Watched};
use crate::codec::MessageLimits;
use crate::method::Method;
#[cfg(feature = "tls")]
use crate::transport::ServerTls;
use crate::transport::{AcceptFailures, Listener};

/// The future of one call.
pub type CallFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A service that can be served: its methods, and how each is called. Generated code implements it.
pub trait Service: Send + Sync + 'static {
    /// The methods, in the order of [`Service::call`]'s index.
    fn methods(&self) -> &'static [Method];

    /// Runs a call of the method at `index`.
    fn call(&self, index: usize, rpc: Rpc) -> CallFuture;
}

/// Services and limits, ready to serve.
#[derive(Default)]
#[must_use]
pub struct Server {
    services: Vec<Arc<dyn Service>>,
    overrides: Vec<Override>,
    config: Config,
}

/// What every connection of a server shares.
#[derive(Debug)]
struct Serving {
    router: Router,
    config: Config,
    /// Places for the calls of all connections.
    places: Arc<Semaphore>,
    /// For their unfinished messages.
    room: Room,
    /// Whether calls were cut off at the drain limit.
    cut: AtomicBool,
}

/// How far a server is in going down. One that is dropped is gone, which no call waits for but what it handed to others.
struct Down(Watched<Phase>);

impl Down {
    fn new() -> Self {
        Self(Watched::new(Phase::Serving))
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        self.0.set(Phase::Ending);
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call ended by itself.
    Clean,
    /// At the drain limit calls were still in flight, and were cut off.
    Cut,
}

impl Server {
    /// A server without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every method of `service`.
    pub fn add_service(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// Replaces every setting.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the message limits of every method that has none of its own.
    pub fn limits(mut self, limits: MessageLimits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Sets the message limits of the methods of `service`, such as `package.Service`.
    pub fn service_limits(self, service: &str, limits: MessageLimits) -> Self {
        self.override_limits(service, limits)
    }

    /// Sets the message limits of the method at `path`, such as `/package.Service/Method`.
    pub fn method_limits(self, path: &str, limits: MessageLimits) -> Self {
        self.override_limits(path, limits)
    }

    /// Sets how long calls in flight may go on once the server drains.
    pub fn drain_timeout(mut self, drain_timeout: Duration) -> Self {
        self.config.drain_timeout = drain_timeout;
        self
    }

    /// Serves over TLS, and over TLS only.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.config.tls = Some(tls);
        self
    }

    /// Serves the connections of `listener` on this runtime until `shutdown` is ready; then takes no more, lets the
    /// calls in flight end until the drain limit, and ends what is left with UNAVAILABLE: then the drain was
    /// [`Drained::Cut`].
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once.
    ///
    /// # Errors
    /// InvalidInput when two services have the same path or limits are set for what is not served. A connection that
    /// cannot be accepted is no error: the server goes on.
    pub async fn serve(
        self,
        listener: impl Listener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<Drained> {
        let drain_timeout = self.config.drain_timeout;
        let serving = self.into_serving()?;
        let Down(phase) = &Down::new();
        let mut connections = JoinSet::new();
        accept(listener, shutdown, |socket, peer| {
            while connections.try_join_next().is_some() {}
            let serving = Arc::clone(&serving);
            connections.spawn(connection::serve(socket, peer, serving, phase.clone()));
            Ok(())
        })
        .await;
        drain(phase, drain_timeout, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
        Ok(serving.drained())
    }

    /// As [`Server::serve`], but the connections are served on `threads` threads of their own, each with a
    /// current-thread runtime: the fastest way to use several cores. A new connection goes to the thread that has the
    /// fewest.
    ///
    /// # Cancel safety
    /// As [`Server::serve`].
    ///
    /// # Errors
    /// As [`Server::serve`], and when a thread cannot be started.
    pub async fn serve_on_threads(
        self,
        listener: TcpListener,
        threads: NonZeroUsize,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<Drained> {
        let drain_timeout = self.config.drain_timeout;
        let serving = self.into_serving()?;
        let Down(phase) = &Down::new();
        let threads = Threads::start(threads, &serving, phase)?;
        accept(listener, shutdown, |socket, peer| {
            threads.hand(socket, peer)
        })
        .await;
        drain(phase, drain_timeout, threads.join()).await;
        Ok(serving.drained())
    }

    fn override_limits(mut self, name: &str, limits: MessageLimits) -> Self {
        self.overrides.push(Override {
            name: name.to_owned(),
            limits,
        });
        self
    }

    fn into_serving(self) -> io::Result<Arc<Serving>> {
        let router = Router::new(&self.services, self.config.limits, &self.overrides)
            .map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        Ok(Arc::new(Serving {
            room: Room::new(
                self.config
                    .max_unfinished_bytes
                    .max(router.max_recv_bytes()),
            ),
            router,
            places: Arc::new(Semaphore::new(
                self.config.max_concurrent_calls.min(Semaphore::MAX_PERMITS),
            )),
            config: self.config,
            cut: AtomicBool::new(false),
        }))
    }
}

impl Serving {
    /// How the drain ended, once no connection is left.
    fn drained(&self) -> Drained {
        match self.cut.load(Ordering::Relaxed) {
            true => Drained::Cut,
            false => Drained::Clean,
        }
    }
}

/// Takes connections until `shutdown` is ready.
async fn accept<L: Listener>(
    mut listener: L,
    shutdown: impl Future<Output = ()>,
    mut serve: impl FnMut(L::Io, Option<SocketAddr>) -> io::Result<()>,
) {
    let mut shutdown = pin!(shutdown);
    let mut failures = AcceptFailures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        let Err(error) = accepted.and_then(|(socket, peer)| serve(socket, peer)) else {
            continue;
        };
        if is_clients_fault(&error) {
            tracing::debug!(%error, "a client left before it was accepted");
            continue;
        }
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            () = failures.pause(&error) => {}
        }
    }
}

/// Whether an error of accept is about that one connection (accept(2), "Error handling").
fn is_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Lets the calls in flight end, and ends them at the limit.
async fn drain(phase: &Watched<Phase>, limit: Duration, ended: impl Future<Output = ()>) {
    let mut ended = pin!(ended);
    phase.set(Phase::Draining);
    if timeout(limit, &mut ended).await.is_err() {
        phase.set(Phase::Ending);
        ended.await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.services.iter().flat_map(|service| service.methods());
        f.debug_struct("Server")
            .field(
                "methods",
                &methods.map(|method| method.path).collect::<Vec<_>>(),
            )
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
