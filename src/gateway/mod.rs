//! The HTTP front: the service's three exchanges, for whoever speaks HTTP/1.1 and no gRPC.
//!
//! In: a listener, the address of a gRPC server. Out: answers in JSON. The front is a client of the service like any
//! stranger, and the only module that names hyper. Not here: the service.
//!
//! | file | what |
//! |---|---|
//! | `router` | path and method → one of the three, or 404, 405, 413 |
//! | `query` | the parameters of `/testOrderList` |
//! | `calls` | the three exchanges |
//! | `answer` | bodies, and which HTTP status a code becomes |
//! | `connection` | one socket: time limits, drain |

mod answer;
mod calls;
mod connection;
mod query;
mod router;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::calls::Backend;
use crate::client::{AddressError, Channel, Config};
use crate::proto::stream_service::StreamServiceClient;
use crate::server::Drained;
use crate::transport::{AcceptFailures, ClientTls, InProcess, Listener};

pub use self::router::ROUTES;

/// Connections open at once; a further one waits in the listener's queue. HTTP/1.1 has one request on each, so this
/// many requests as well. 128: each may hold a window of 64 KiB of an export that it does not read.
pub const MAX_CONNECTIONS: usize = 128;

/// Bytes of one export that wait for a slow reader. 64 KiB: enough for a backend nearby.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// How long requests in flight may go on once the front drains, unless told otherwise. 30 s, as the gRPC server's.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The HTTP front of one gRPC server.
#[derive(Debug)]
#[must_use]
pub struct Front {
    backend: Arc<Backend>,
    drain_timeout: Duration,
}

impl Front {
    /// A front of the server at `backend`, such as `http://127.0.0.1:9528`, which is trusted as `tls` says when its address
    /// begins with `https://`. Connects with the first request.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    pub fn new(backend: &str, tls: ClientTls) -> Result<Self, AddressError> {
        let config = Config {
            tls,
            ..Self::config()
        };
        Ok(Self::of(Channel::with_config(backend, config)?))
    }

    /// A front of a server in this process.
    pub fn in_process(backend: InProcess) -> Self {
        Self::of(Channel::in_process(backend, Self::config()))
    }

    fn of(channel: Channel) -> Self {
        Self {
            backend: Arc::new(Backend::new(StreamServiceClient::new(channel))),
            drain_timeout: DRAIN_TIMEOUT,
        }
    }

    fn config() -> Config {
        // All exports share a connection: readers that do not read must not use up its window, or they would stop the
        // others.
        let connections = u32::try_from(MAX_CONNECTIONS).expect("a small number");
        Config {
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: STREAM_WINDOW_BYTES * (connections + 1),
            ..Config::default()
        }
    }

    /// Sets how long requests in flight may go on once the front drains.
    pub fn drain_timeout(mut self, drain_timeout: Duration) -> Self {
        self.drain_timeout = drain_timeout;
        self
    }

    /// Serves the connections of `listener` until `shutdown` is ready; then takes no more, and cuts off what has not
    /// ended at the drain limit.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Drained {
        let draining = CancellationToken::new();
        let mut connections = JoinSet::new();
        self.accept(listener, shutdown, &draining, &mut connections)
            .await;
        draining.cancel();
        let ended = timeout(self.drain_timeout, async {
            while connections.join_next().await.is_some() {}
        });
        match ended.await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::Cut,
        }
    }

    async fn accept(
        &self,
        mut listener: TcpListener,
        shutdown: impl Future<Output = ()>,
        draining: &CancellationToken,
        connections: &mut JoinSet<()>,
    ) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut shutdown = pin!(shutdown);
        let mut failures = AcceptFailures::default();
        loop {
            let next = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                let permit = permit.expect("never closed");
                // With the options of every server's socket: the kernel takes little that is not sent.
                let accepted = Listener::accept(&mut listener).await;
                accepted.map(|(socket, _)| (socket, permit))
            };
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => return,
                accepted = next => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((socket, permit)) => {
                    let serve =
                        connection::serve(socket, Arc::clone(&self.backend), draining.clone());
                    connections.spawn(async move {
                        serve.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tokio::select! {
                        biased;
                        () = &mut shutdown => return,
                        () = failures.pause(&error) => {}
                    }
                }
            }
        }
    }
}
