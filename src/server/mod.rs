//! A gRPC server: services behind their paths, on any listener's connections.
//!
//! In: services and a listener. Out: answers. Not here: flood guards, keepalive and a drain deadline, which come.

mod connection;
mod handler;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::handler::Rpc;
use crate::codec::MessageLimits;
use crate::method::Method;

/// The future of one call.
pub type CallFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A service that can be served: its methods, and how each is called.
pub trait Service: Send + Sync + 'static {
    /// The methods, in the order of [`Service::call`]'s index.
    fn methods(&self) -> &'static [Method];

    /// Runs a call of the method at `index`.
    fn call(&self, index: usize, rpc: Rpc) -> CallFuture;
}

/// Services and limits, ready to serve.
#[derive(Default)]
pub struct Server {
    routes: HashMap<&'static str, Route>,
    limits: MessageLimits,
}

#[derive(Clone)]
struct Route {
    service: Arc<dyn Service>,
    index: usize,
}

impl Server {
    /// A server without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every method of `service`.
    #[must_use]
    pub fn add_service(mut self, service: impl Service) -> Self {
        let service: Arc<dyn Service> = Arc::new(service);
        for (index, method) in service.methods().iter().enumerate() {
            self.routes.insert(
                method.path,
                Route {
                    service: Arc::clone(&service),
                    index,
                },
            );
        }
        self
    }

    /// Sets the message limits of every method.
    #[must_use]
    pub fn limits(mut self, limits: MessageLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves `listener` until `shutdown` is ready and the calls in flight have ended.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once.
    ///
    /// # Errors
    /// When a connection cannot be accepted.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let server = Arc::new(self);
        let (drain, draining) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => {
                    let (socket, _) = accepted?;
                    socket.set_nodelay(true)?;
                    connections.spawn(connection::serve(socket, Arc::clone(&server), draining.clone()));
                }
            }
        }
        drain.send_replace(true);
        while connections.join_next().await.is_some() {}
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods: Vec<_> = self.routes.keys().collect();
        f.debug_struct("Server")
            .field("methods", &methods)
            .field("limits", &self.limits)
            .finish()
    }
}
