//! One connection: its streams become calls, and everything that became ready leaves in one write.
//!
//! In: a socket. Out: answers. Not here: who polls the calls (`calls`).

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::calls::Calls;
use super::handler::Rpc;
use super::{CallFuture, Serving};
use crate::call::{Facts, Inbound, Phase, Respond, Shared, refuse, status_of};
use crate::protocol::{ContentType, NotGrpc, Rejection, RequestHead, exact_path};
use crate::status::Status;
use crate::transport::{Flush, Gathered, gather};

/// How long a new connection may take to send its preface. Five seconds: a few round trips of a bad link.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that has no more calls may take to be closed by its client, and one whose calls were cut off
/// to take their statuses. One second: a few round trips anywhere.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve<Io>(
    socket: Io,
    peer: Option<SocketAddr>,
    serving: Arc<Serving>,
    phase: watch::Receiver<Phase>,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    #[cfg(feature = "tls")]
    if let Some(tls) = &serving.config.tls {
        let mut draining = phase.clone();
        let shaken = tokio::select! {
            shaken = tls.accept(socket) => shaken,
            // It has no calls yet.
            _ = draining.wait_for(|phase| *phase >= Phase::Draining) => return,
        };
        return match shaken {
            Ok(socket) => serve_h2(socket, peer, serving, phase).await,
            Err(error) => tracing::debug!(%error, "TLS handshake failed"),
        };
    }
    serve_h2(socket, peer, serving, phase).await;
}

async fn serve_h2<Io>(
    socket: Io,
    peer: Option<SocketAddr>,
    serving: Arc<Serving>,
    mut phase: watch::Receiver<Phase>,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let (socket, flush) = gather(socket);
    let mut handshake = pin!(serving.config.h2().handshake(socket));
    let handshake = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        // h2's settings, or its answer to what is no preface.
        match flush.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
            Poll::Ready(Ok(())) | Poll::Pending => shaken.map_err(|error| error.to_string()),
        }
    });
    let mut draining = phase.clone();
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_TIMEOUT, handshake) => shaken,
        // It has no calls yet.
        _ = draining.wait_for(|phase| *phase >= Phase::Draining) => return,
    };
    let h2 = match shaken {
        Ok(Ok(h2)) => h2,
        // The peer's fault is not our log line above debug.
        Ok(Err(error)) => return tracing::debug!(%error, "handshake failed"),
        Err(_) => return tracing::debug!("no preface within {HANDSHAKE_TIMEOUT:?}"),
    };
    let ending = phase.clone();
    let mut connection = Serve {
        h2,
        flush,
        calls: Calls::new(),
        serving,
        peer,
        phase: phase.clone(),
    };
    tokio::select! {
        biased;
        () = poll_fn(|cx| connection.poll(cx)) => return,
        // An error means that the server is gone, and with it this task.
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => {}
    }
    connection.h2.graceful_shutdown();
    if connection.drain(ending).await.is_some() {
        return;
    }
    // Each call that is dropped ends with a status, which has a moment to leave.
    connection.calls.clear();
    let closed = timeout(CLOSE_GRACE, poll_fn(|cx| connection.poll(cx))).await;
    if closed.is_err() {
        tracing::debug!("the client did not close a drained connection");
    }
}

/// A connection being served.
struct Serve<Io> {
    h2: Connection<Gathered<Io>, Bytes>,
    flush: Flush<Io>,
    calls: Calls,
    serving: Arc<Serving>,
    peer: Option<SocketAddr>,
    phase: watch::Receiver<Phase>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Serve<Io> {
    /// Ready when the connection is closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closed = self.poll_streams(cx);
        match self.flush.poll_flush(cx) {
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "cannot write");
                Poll::Ready(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => closed,
        }
    }

    /// Accepts what came, then polls the calls, and again until neither has anything to do.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    if let Some(call) = self.start(request, respond) {
                        self.calls.push(call);
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            // What a call that ended has sent is in h2's hands; go round to have it written.
            ready!(self.calls.poll(cx));
        }
    }

    /// Serves until the connection is closed, or `None` when it is not and its calls must end: the drain limit is
    /// reached, or they have ended and the client does not close.
    async fn drain(&mut self, mut ending: watch::Receiver<Phase>) -> Option<()> {
        let mut ending = pin!(ending.wait_for(|phase| *phase >= Phase::Ending));
        let mut idle = pin!(sleep(CLOSE_GRACE));
        poll_fn(|cx| {
            if self.poll(cx).is_ready() {
                return Poll::Ready(Some(()));
            }
            if !self.calls.is_empty() || self.h2.has_streams() {
                idle.as_mut().reset(now() + CLOSE_GRACE);
            }
            if idle.as_mut().poll(cx).is_ready() || ending.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    /// The call of a new stream, or `None` when it was answered at once.
    fn start(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<CallFuture> {
        let (parts, body) = request.into_parts();
        // The one reading of the path: what routes the call is what the logs name.
        let route = exact_path(&parts).and_then(|path| self.serving.router.find(path));
        let head = match RequestHead::parse(&parts.method, parts.headers) {
            Ok(head) => head,
            Err(Rejection::NotGrpc(why)) => {
                answer_in_http(why, respond);
                return None;
            }
            Err(Rejection::Status(status)) => {
                refuse(respond, ContentType::Plain, &status);
                return None;
            }
        };
        let Some(route) = route else {
            let text = format!("unknown method {}", parts.uri.path());
            refuse(respond, head.content_type, &Status::unimplemented(text));
            return None;
        };
        let inbound = Inbound::new(body, head.encoding, route.limits.max_recv_bytes, status_of);
        let respond = Respond::new(
            respond,
            head.content_type,
            head.accept,
            self.serving.config.encoding,
            route.limits,
        );
        let facts = Facts {
            method: route.method,
            metadata: head.metadata,
            peer: self.peer,
            deadline: head.timeout.and_then(|timeout| now().checked_add(timeout)),
            phase: self.phase.clone(),
        };
        let rpc = Rpc::new(Shared::new(facts, respond), inbound);
        Some(route.service.call(route.index, rpc))
    }
}

/// A person with curl sees what is wrong.
fn answer_in_http(why: NotGrpc, mut respond: SendResponse<Bytes>) {
    let (response, text) = why.into_response();
    if let Ok(mut stream) = respond.send_response(response, false) {
        // Fails only when the peer has left.
        let _ = stream.send_data(Bytes::from_static(text.as_bytes()), true);
    }
}

fn now() -> Instant {
    Instant::now()
}
