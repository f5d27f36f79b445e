//! One HTTP/1.1 connection: what bounds it, and how it ends.
//!
//! In: a socket. Out: its requests answered, one after the other. Not here: what they are answered (`router`).
//!
//! A client that sends its header too slowly, or nothing at all between two requests, is cut by hyper; one that does not
//! take its answer by [`Stalling`]. One that leaves is noticed while its answer is made, and dropping the answer cancels
//! the call.

use std::convert::Infallible;
use std::io;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::calls::Backend;
use super::router::route;
use crate::transport::{CLOSE_GRACE, linger};

/// How long a client may take for the header of a request, and so be idle between two. 5 s: a header is one packet.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take nothing of its answer. 60 s: a person who pauses, but no dead peer.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What hyper holds of one connection, in each direction: a header at most, two pieces of an export.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// Serves one connection until it ends, or until the request in flight has ended once `draining`.
pub(super) async fn serve(
    mut socket: TcpStream,
    backend: Arc<Backend>,
    draining: CancellationToken,
) {
    let begun = tokio::select! {
        biased;
        () = draining.cancelled() => return,
        begun = timeout(HEADER_READ_TIMEOUT, begins_http2(&socket)) => begun,
    };
    match begun {
        Ok(false) => {}
        Ok(true) => {
            let told = tell_http2(&mut socket);
            // Fails when the client was faster.
            let _ = timeout(CLOSE_GRACE, told).await;
            return;
        }
        Err(_) => return tracing::debug!("an HTTP client said nothing"),
    }
    let service = service_fn(move |request| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(route(&backend, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(Stalling::new(socket)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        ended = &mut connection => ended,
    };
    if let Err(error) = ended {
        // Clients leave and break the protocol; that an export failed is said where it fails.
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

/// What a client says first that speaks HTTP/2 (RFC 9113, section 3.4), as far as it matters.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// What it is told. hyper would close the connection without a word.
const HTTP2_ANSWER: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\ncontent-length: 60\r\nconnection: close\r\n\r\n\
    this port speaks HTTP/1.1; gRPC is on another (--grpc-addr)\n";

/// Whether a client begins with the preface of HTTP/2; waits until it says anything. A preface of which less has come than
/// that is left to hyper: it is one packet.
async fn begins_http2(socket: &TcpStream) -> bool {
    let mut first = [0; HTTP2_PREFACE.len()];
    matches!(socket.peek(&mut first).await, Ok(n) if first[..n] == *HTTP2_PREFACE)
}

async fn tell_http2(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(HTTP2_ANSWER).await?;
    linger(socket).await;
    Ok(())
}

/// A socket whose writes fail when the peer has taken nothing for [`STALL_TIMEOUT`].
struct Stalling<S> {
    socket: S,
    /// There while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    fn new(socket: S) -> Self {
        Self {
            socket,
            stalled: None,
        }
    }

    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
        stalled.as_mut().poll(cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client takes nothing of its answer",
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.judge(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.judge(shut_down, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_and_a_slow_one_is_not() {
        let (ours, mut theirs) = duplex(10);
        let mut ours = Stalling::new(ours);
        let start = Instant::now();
        let slow = async {
            for _ in 0..3 {
                sleep(STALL_TIMEOUT - Duration::from_secs(1)).await;
                theirs.read_exact(&mut [0; 10]).await.unwrap();
            }
            // The last bytes are never read.
            std::future::pending::<()>().await;
        };
        let written = tokio::select! {
            written = ours.write_all(&[0; 50]) => written,
            () = slow => unreachable!("never ends"),
        };
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let expected = 3 * (STALL_TIMEOUT - Duration::from_secs(1)) + STALL_TIMEOUT;
        assert_eq!(start.elapsed().as_secs(), expected.as_secs());
    }
}
