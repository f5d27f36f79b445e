//! Where connections come from. Tests and simulations bring their own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// How many bytes the kernel takes before it has sent them. 128 KiB: two gathered writes, so that a fast link never waits
/// for us. Without it a client that does not read costs as much as the kernel's largest buffer, 4 MiB on Linux, and
/// what it does read at last is old.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 * 1024;

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
        // Writes are gathered already; waiting for more would only add latency. Fails only when the client has left.
        let _ = socket.set_nodelay(true);
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
        Ok((socket, Some(peer)))
    }
}
