//! One connection of a channel: made, driven, and what its failures mean.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;
use super::channel::{Route, Target};
use super::greeting::Greeting;
use crate::call::code_of;
use crate::status::Status;
use crate::transport::{Flush, Gathered, gather};

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
        Route::InProcess(server) => shake(target, server.connect().await?).await,
    }
}

async fn dial(address: &Address) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((address.host(), address.port())).await?;
    // Writes are gathered already; waiting for more would only add latency.
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn shake<Io>(target: &Target, socket: Io) -> io::Result<(SendRequest<Bytes>, Driver)>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (socket, flush) = gather(socket);
    let shaken = target.config.h2().handshake(socket).await;
    let (send, h2) = shaken.map_err(io::Error::other)?;
    Ok((send, Box::pin(drive(h2, flush))))
}

/// Polls a connection to its end, with one write for each wake-up.
async fn drive<Io: AsyncRead + AsyncWrite + Unpin>(
    mut h2: Connection<Gathered<Io>, Bytes>,
    flush: Flush<Io>,
) {
    poll_fn(|cx| {
        let closed = Pin::new(&mut h2).poll(cx);
        match flush.poll_flush(cx) {
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "cannot write");
                Poll::Ready(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => closed.map(|closed| {
                if let Err(error) = closed {
                    tracing::debug!(%error, "connection lost");
                }
            }),
        }
    })
    .await;
}

/// What an h2 error means to a client: a reset has the code of its reason, a lost connection is UNAVAILABLE
/// (PROTOCOL-HTTP2.md, "Errors"; statuscodes.md).
pub(super) fn status_of(error: &h2::Error) -> Status {
    match error.reason() {
        Some(reason) if error.is_reset() => Status::new(
            code_of(reason),
            format!("the server reset the stream with {reason:?}"),
        ),
        Some(reason) if error.is_go_away() => Status::unavailable(format!(
            "the connection was closed with {reason:?}: {error}"
        )),
        Some(_) => Status::internal(error.to_string()),
        None if error.is_io() => Status::unavailable(format!("the connection broke: {error}")),
        None => Status::unavailable(error.to_string()),
    }
}

/// Whether the server says that it never saw the request: then it is safe to send it again (A6, "Transparent
/// Retries").
pub(super) fn is_unseen(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
