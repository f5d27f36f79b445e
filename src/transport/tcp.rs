//! What is asked of the kernel for a TCP connection.
//!
//! In: a new socket. Out: the same, with its options. Not here: who dials and who listens.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How many bytes the kernel takes before it has sent them. 128 KiB: two gathered writes, so that a fast link never waits
/// for us. Without it a client that does not read costs as much as the kernel's largest buffer, 4 MiB on Linux, and
/// what it does read at last is old.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 * 1024;

/// After how long without a segment from the server its kernel is asked whether it is there, how often, and how many
/// times. As servers ask their clients: a minute, then 20 seconds. Segments, not PING frames: those a server may take for
/// a flood, and many do when they come more often than every five minutes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(2);

/// Prepares the server's end of a connection.
pub(super) fn accepted(socket: &TcpStream) -> io::Result<()> {
    // Writes are gathered already; waiting for more would only add latency.
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}

/// Prepares the client's end of a connection.
pub(crate) fn dialed(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_keepalive(&KEEPALIVE)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn both_ends_have_their_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (client, (server, _)) = (client.expect("listening"), server.expect("dialed"));
        dialed(&client).expect("open");
        accepted(&server).expect("open");

        assert!(client.nodelay().expect("open") && server.nodelay().expect("open"));
        let client = SockRef::from(&client);
        assert!(client.keepalive().expect("open"));
        let silence = client.tcp_keepalive_time().expect("open");
        assert_eq!(silence, Duration::from_secs(60));
        let unsent = SockRef::from(&server).tcp_notsent_lowat();
        assert_eq!(unsent.expect("open"), UNSENT_BYTES);
    }
}
