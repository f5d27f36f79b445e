//! What a server on a cleartext socket says first, and what it speaks if that is not HTTP/2.
//!
//! In: a socket. Out: the same, whose first read fails with what is wrong with the address. Not here: what the server
//! says after its first byte (h2).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket whose first byte is looked at.
#[derive(Debug)]
pub(super) struct Greeting<Io> {
    socket: Io,
    heard: bool,
}

impl<Io> Greeting<Io> {
    pub(super) fn of(socket: Io) -> Self {
        Self {
            socket,
            heard: false,
        }
    }
}

/// HTTP/2 begins with the length of a SETTINGS frame, three bytes of which the first is zero: no such frame has 64 KiB
/// (RFC 9113, 3.4 and 4.1).
fn check(first: u8) -> io::Result<()> {
    let text = match first {
        0 => return Ok(()),
        // An alert or a handshake record (RFC 8446, B.1).
        0x15 | 0x16 => "the server speaks TLS here, so its address begins with https://",
        b'H' => "the server answers in HTTP/1",
        _ => "the server does not speak HTTP/2",
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

impl<Io: AsyncRead + Unpin> AsyncRead for Greeting<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        if !self.heard
            && let Some(&first) = into.filled().get(before)
        {
            check(first)?;
            self.heard = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Greeting<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_first_byte_that_is_not_http_2_says_what_is_wrong() {
        for (said, heard) in [
            (&[0, 0, 0, 4][..], Ok(4)),
            // Only the first byte of all is looked at.
            (&[0, 0x15, b'H', 0xFF], Ok(4)),
            (&[0x15, 3, 3, 0, 2, 2, 70], Err("TLS")),
            (b"HTTP/1.1 400 Bad Request", Err("HTTP/1")),
            (b"SSH-2.0", Err("does not speak HTTP/2")),
            (&[], Ok(0)),
        ] {
            let (mut server, socket) = tokio::io::duplex(64);
            server.write_all(said).await.expect("room");
            drop(server);
            let mut read = Vec::new();
            let mut socket = Greeting::of(socket);
            // By one byte, then the rest.
            let mut first = [0];
            let begun = socket
                .read(&mut first)
                .await
                .map(|n| read.extend(&first[..n]));
            let ended = match begun {
                Ok(()) => socket.read_to_end(&mut read).await,
                Err(error) => Err(error),
            };
            match (ended, heard) {
                (Ok(_), Ok(bytes)) => assert_eq!((read.len(), &read[..]), (bytes, said)),
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (ended, heard) => panic!("{ended:?}, not {heard:?}"),
            }
        }
    }
}
