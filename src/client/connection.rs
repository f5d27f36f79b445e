//! One connection of a channel: made, driven, and what its failures mean.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::channel::{Route, Target};
use super::greeting::Greeting;
use crate::call::{code_of, expired};
use crate::status::{Code, Status};
use crate::transport::{Dialer, Flush, Gathered, gather, tcp};

/// Drives a connection to its end.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects to `target`: what sends requests, and what drives the connection.
pub(super) async fn open(target: &Target) -> Result<(SendRequest<Bytes>, Driver), Status> {
    let unavailable = |text: String| Status::unavailable(format!("{}: {text}", target.route));
    timeout(target.config.connect_timeout, connect(target))
        .await
        .map_err(|_| {
            let limit = target.config.connect_timeout;
            unavailable(format!("not connected within {limit:?}"))
        })?
        .map_err(|error| {
            unavailable(format!("cannot connect: {error}")).with_source(Box::new(error) as Box<_>)
        })
}

async fn connect(target: &Target) -> io::Result<(SendRequest<Bytes>, Driver)> {
    match &target.route {
        Route::Cleartext(address) => shake(target, Greeting::of(dial(address).await?)).await,
        #[cfg(feature = "tls")]
        Route::Tls(address, connector) => {
            shake(target, connector.connect(dial(address).await?).await?).await
        }
        Route::Dialed(_, dialer) => dialer.connect(target).await,
    }
}

/// A [`Dialer`] of whatever streams.
pub(super) trait Reach: Send + Sync {
    /// As [`connect`].
    fn connect<'a>(&'a self, target: &'a Target) -> Connecting<'a>;
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = io::Result<(SendRequest<Bytes>, Driver)>> + Send + 'a>>;

impl<D: Dialer> Reach for D {
    fn connect<'a>(&'a self, target: &'a Target) -> Connecting<'a> {
        Box::pin(async move { shake(target, self.dial().await?).await })
    }
}

async fn dial(address: &Address) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((address.host(), address.port())).await?;
    tcp::dialed(&socket)?;
    Ok(socket)
}

async fn shake<Io>(target: &Target, socket: Io) -> io::Result<(SendRequest<Bytes>, Driver)>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (socket, flush) = gather(socket);
    let mut builder = target.config.h2();
    let shaken = builder.initial_max_send_streams(UNTOLD).handshake(socket);
    let (send, h2) = shaken.await.map_err(io::Error::other)?;
    let mut wire = Wire {
        h2,
        flush,
        ended: false,
    };
    if let Err(error) = poll_fn(|cx| wire.poll_told(cx)).await {
        return Err(wire.last_words().await.unwrap_or(error));
    }
    let driver = async move {
        if let Err(error) = poll_fn(|cx| wire.poll(cx)).await {
            tracing::debug!(%error, "connection lost");
            wire.last_words().await;
        }
    };
    Ok((send, Box::pin(driver)))
}

/// How long a server that takes no more may take to be read to its end. One second: what it said has arrived, or will at
/// once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many calls may be open at once, for as long as the server's SETTINGS have not come: a number that none say, so that any
/// other means that they have. It limits nothing, as no call is made before.
const UNTOLD: usize = usize::MAX - 1;

/// A connection on its socket.
struct Wire<Io> {
    h2: Connection<Gathered<Io>, Bytes>,
    flush: Flush<Io>,
    /// h2 has said why it ended. Asked once more, it would say something else.
    ended: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Wire<Io> {
    /// Drives the connection to its end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.h2).poll(cx);
        self.ended |= closed.is_ready();
        if closed.is_pending() && self.flush.is_filling(cx) {
            return Poll::Pending;
        }
        match self.flush.poll_flush(cx) {
            Poll::Ready(Err(error)) if closed.is_pending() => Poll::Ready(Err(error)),
            Poll::Ready(_) | Poll::Pending => closed.map_err(io::Error::other),
        }
    }

    /// Why a server that takes no more has left, when that is the last that it said: the calls are to know.
    async fn last_words(&mut self) -> Option<io::Error> {
        if self.ended {
            return None;
        }
        let read = timeout(LAST_WORDS, &mut self.h2).await;
        read.ok()?.err().map(io::Error::other)
    }

    /// Drives the connection until the server has sent its SETTINGS. A server is not there before: who takes the connection
    /// may be another protocol, a proxy without a server behind it, or nobody. And no call goes past what they allow.
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll(cx) {
            Poll::Ready(closed) => Poll::Ready(Err(closed.err().unwrap_or_else(|| {
                let text = "the server closed the connection before its SETTINGS; \
                            it may speak HTTP/1, or no HTTP/2";
                io::Error::new(io::ErrorKind::UnexpectedEof, text)
            }))),
            Poll::Pending if self.h2.max_concurrent_send_streams() == UNTOLD => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

/// What an h2 error means to a client: a reset by the server has the code of its reason, one by h2 is INTERNAL, a lost
/// connection is UNAVAILABLE (PROTOCOL-HTTP2.md, "Errors"; statuscodes.md).
pub(super) fn status_of(error: &h2::Error) -> Status {
    match error.reason() {
        // h2 found it, most often headers over [`Config::max_header_list_bytes`](super::Config).
        Some(_) if error.is_reset() && error.is_library() => Status::internal(format!(
            "the response breaks HTTP/2 or its headers are too large: {error}"
        )),
        Some(reason) if error.is_reset() => Status::new(code_of(reason), deed(error)),
        Some(_) if error.is_go_away() => Status::unavailable(deed(error)),
        Some(_) => Status::internal(error.to_string()),
        None if error.is_io() => Status::unavailable(format!("the connection broke: {error}")),
        None => Status::unavailable(error.to_string()),
    }
}

/// What a call with this deadline ends with whose stream or connection has ended with `status`. After the deadline that is why,
/// whatever was seen of it first: a server or a proxy that keeps the same deadline resets the stream or closes the
/// connection.
pub(super) fn broken_off(status: Status, deadline: Option<Instant>) -> Status {
    let says_so = status.code() == Code::DeadlineExceeded;
    match deadline {
        Some(deadline) if !says_so && deadline <= Instant::now() => {
            expired().with_source(Arc::new(status) as Arc<_>)
        }
        Some(_) | None => status,
    }
}

/// What ended a stream or its connection, in the words of HTTP/2: h2's own for NO_ERROR are "not a result of an error".
fn deed(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_reset() => format!("the server reset the stream with {reason:?}"),
        Some(reason) if error.is_go_away() => {
            let who = match error.is_remote() {
                true => "the server",
                false => "this client",
            };
            let text = error.to_string();
            // What goes with it is told in the text alone.
            let debug = text.find(" (b\"").map_or("", |at| &text[at..]);
            format!("{who} closed the connection with {reason:?}{debug}")
        }
        _ => error.to_string(),
    }
}

/// Whether the server says that it never saw the request: then it is safe to send it again (A6, "Transparent
/// Retries").
pub(super) fn is_unseen(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// The status of a call that no server saw.
pub(super) fn untaken(error: &h2::Error) -> Status {
    Status::unavailable(format!("the call was not taken: {}", deed(error)))
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf, duplex};

    use super::*;
    use crate::client::Config;
    use crate::transport::in_process;

    /// A server that is gone when it is written to, and has said something before.
    struct Gone {
        reads: DuplexStream,
        says: Option<(DuplexStream, &'static [u8])>,
    }

    impl AsyncRead for Gone {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.reads).poll_read(cx, into)
        }
    }

    impl AsyncWrite for Gone {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            if let Some((mut server, words)) = self.says.take() {
                let said = Pin::new(&mut server).poll_write(cx, words);
                assert!(said.is_ready(), "there is room");
            }
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_a_server_said_before_it_left_is_read_though_it_takes_no_more() {
        let target = Target {
            route: Route::Dialed(Address::in_process(), Box::new(in_process().0)),
            config: Config::default(),
        };
        let (reads, server) = duplex(64);
        let alert = &[0x15, 3, 3, 0, 2, 2, 50];
        let socket = Greeting::of(Gone {
            reads,
            says: Some((server, alert)),
        });
        assert_told(shake(&target, socket).await.err());

        // What was read is not asked for again: the second answer would be that the server is gone.
        let (reads, mut server) = duplex(64);
        server.write_all(alert).await.expect("there is room");
        drop(server);
        let socket = Greeting::of(Gone { reads, says: None });
        assert_told(shake(&target, socket).await.err());
    }

    fn assert_told(error: Option<io::Error>) {
        let error = error.expect("nobody speaks HTTP/2").to_string();
        assert!(error.contains("speaks TLS"), "{error}");
    }
}
