//! Where connections come from. Tests and simulations bring their own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::tcp;

/// A source of connections.
pub trait Listener: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and where its client is if that is known.
    ///
    /// # Errors
    /// When a connection cannot be taken. The server goes on after any error.
    ///
    /// # Cancel safety
    /// Dropping the future must lose no connection.
    fn accept(&mut self)
    -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (socket, peer) = Self::accept(self).await?;
        // Fails only when the client has left, which is found out soon enough.
        let _ = tcp::accepted(&socket);
        Ok((socket, Some(peer)))
    }
}
