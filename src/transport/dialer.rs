//! Where a channel's connections come from when it is not TCP. Tests and simulations bring their own.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// Reaches one server. The mirror of [`Listener`](super::Listener).
pub trait Dialer: Send + Sync + 'static {
    /// A connection, which carries HTTP/2 as it is: TLS is the dialer's to add.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Makes a new connection.
    ///
    /// # Errors
    /// When the server cannot be reached. The calls that wait end with UNAVAILABLE, and the channel tries again later.
    ///
    /// # Cancel safety
    /// The future is dropped when connecting takes too long.
    fn dial(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}
