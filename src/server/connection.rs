//! One connection: its streams become calls, and everything that became ready leaves in one write.
//!
//! In: a socket. Out: answers. Not here: who polls the calls (`calls`).

use std::future::{Future, poll_fn};
use std::mem;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::calls::Calls;
use super::handler::Rpc;
use super::lifetime::{Due, Lifetime, Seen};
use super::not_grpc::{self, HTTP1_ANSWER};
use super::{CallFuture, Serving};
use crate::call::{
    Facts, Inbound, Link, PUSHBACK, Phase, Respond, Shared, Watched, refuse, status_of,
};
use crate::metadata::{LazyMetadata, Metadata};
use crate::protocol::{Rejection, RequestHead, exact_path};
use crate::status::Status;
use crate::transport::{
    CLOSE_GRACE, Flush, Gathered, Guarded, HANDSHAKE_TIMEOUT, Violation, gather,
};

/// How much of [`CLOSE_GRACE`] is for calls that were on their way, and for the statuses of those that were cut off. Half:
/// the rest is for the last word, and for the client to close.
const QUIET: Duration = CLOSE_GRACE.checked_div(2).expect("two is not zero");

/// The same for a connection that ends while its server goes on, so that nobody waits for it. 5 s, as grpc-go waits: a streamed call
/// that comes later ends with UNAVAILABLE.
const LONG_QUIET: Duration = Duration::from_secs(5);

/// Serves one connection to its end.
pub(super) async fn serve<Io>(
    socket: Io,
    peer: Option<SocketAddr>,
    serving: Arc<Serving>,
    phase: Watched<Phase>,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    #[cfg(feature = "tls")]
    if let Some(tls) = &serving.config.tls {
        let shaken = tokio::select! {
            shaken = tls.accept(socket) => shaken,
            // It has no calls yet.
            () = phase.wait_for(|phase| *phase >= Phase::Draining) => return,
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
    phase: Watched<Phase>,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let (socket, flush) = gather(Guarded::new(socket));
    let Some(mut h2) = shake(&serving, socket, &flush, phase.clone()).await else {
        return;
    };
    let mut connection = Serve {
        lifetime: Lifetime::new(&serving.config),
        pings: h2.ping_pong(),
        h2,
        flush,
        calls: Calls::new(),
        link: Arc::new(Link::new(peer, phase, serving.config.max_send_buffer_bytes)),
        serving,
        flooded: false,
    };
    let gone_by = connection.run().await;
    // Nothing more is to be said; but a socket that is closed with unread bytes takes back what was.
    let _ = timeout_at(gone_by, connection.flush.farewell(&[])).await;
}

/// The handshake of HTTP/2, or `None` when there is no connection.
async fn shake<Io: AsyncRead + AsyncWrite + Unpin>(
    serving: &Serving,
    socket: Gathered<Guarded<Io>>,
    flush: &Flush<Guarded<Io>>,
    phase: Watched<Phase>,
) -> Option<H2<Io>> {
    let mut handshake = pin!(serving.config.h2().handshake(socket));
    // h2's settings are gathered, and leave when it is clear that the client reads them.
    let shaken = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        match flush.look(|socket, _| socket.violation()) {
            Some(violation) => Poll::Ready(Err(violation)),
            None => shaken.map(Ok),
        }
    });
    let shaken = tokio::select! {
        biased;
        shaken = timeout(HANDSHAKE_TIMEOUT, shaken) => shaken,
        // It has no calls yet.
        () = phase.wait_for(|phase| *phase >= Phase::Draining) => return None,
    };
    // The peer's fault is not our log line above debug.
    match shaken {
        Ok(Ok(Ok(h2))) => return Some(h2),
        Ok(Ok(Err(error))) => tracing::debug!(%error, "handshake failed"),
        Ok(Err(violation)) => {
            tracing::debug!(%violation, "handshake failed");
            let last = match violation {
                Violation::Http1 => HTTP1_ANSWER,
                Violation::Preface | Violation::Flood(_) => &[],
            };
            let _ = timeout(CLOSE_GRACE, flush.farewell(last)).await;
        }
        Err(_) => tracing::debug!("no preface within {HANDSHAKE_TIMEOUT:?}"),
    }
    None
}

type H2<Io> = Connection<Gathered<Guarded<Io>>, Bytes>;

/// A connection being served.
struct Serve<Io> {
    h2: H2<Io>,
    pings: Option<PingPong>,
    flush: Flush<Guarded<Io>>,
    lifetime: Lifetime,
    calls: Calls,
    serving: Arc<Serving>,
    link: Arc<Link>,
    /// The client broke a rule, and was told.
    flooded: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Serve<Io> {
    /// Serves to the end of the connection, and says when its client has to be gone.
    async fn run(&mut self) -> Instant {
        let phase = self.link.phase.clone();
        let ends = tokio::select! {
            biased;
            ends = poll_fn(|cx| self.poll_life(cx)) => ends,
            () = phase.wait_for(|phase| *phase >= Phase::Draining) => Ends::Draining,
        };
        let grace = match ends {
            Ends::Closed => return Instant::now() + CLOSE_GRACE,
            // The server says how long.
            Ends::Draining => Duration::MAX,
            Ends::Leaving => self.serving.config.max_connection_age_grace,
        };
        self.h2.graceful_shutdown();
        self.lifetime.leave();
        let (drained, gone_by) = self.drain(phase, grace).await;
        match drained {
            Over::Closed => return gone_by,
            Over::Quiet => {}
            Over::Cut => {
                self.cut_off();
                if timeout(QUIET, poll_fn(|cx| self.poll(cx))).await.is_ok() {
                    return gone_by;
                }
            }
        }
        tracing::debug!(peer = ?self.link.peer, "the client does not close a drained connection");
        // Which calls were taken, so that a client can make those behind them again (RFC 9113, section 6.8).
        self.h2.abrupt_shutdown(Reason::NO_ERROR);
        let _ = timeout_at(gone_by, poll_fn(|cx| self.poll(cx))).await;
        gone_by
    }

    /// Ready when the connection is closed or its time is over.
    fn poll_life(&mut self, cx: &mut Context<'_>) -> Poll<Ends> {
        loop {
            if self.poll(cx).is_ready() {
                return Poll::Ready(Ends::Closed);
            }
            let seen = self.seen();
            match ready!(self.lifetime.poll(seen, cx)) {
                Due::Ping => {
                    if let Some(pings) = &mut self.pings {
                        // Taken, so that the next can be sent; any byte from the client has told enough.
                        let _ = pings.poll_pong(cx);
                        // Fails only when the connection has.
                        let _ = pings.send_ping(Ping::opaque());
                    }
                }
                Due::Leave(why) => {
                    tracing::debug!(peer = ?self.link.peer, "the connection ends: {why}");
                    return Poll::Ready(Ends::Leaving);
                }
                Due::Close(why) => {
                    tracing::debug!(peer = ?self.link.peer, "the connection is closed: {why}");
                    return Poll::Ready(Ends::Closed);
                }
            }
        }
    }

    fn seen(&self) -> Seen {
        let busy = !self.calls.is_empty();
        self.flush.look(|socket, writing| Seen {
            read: socket.read(),
            written: writing.written,
            unwritten: writing.waits,
            busy,
            unfinished_since: socket.unfinished_since(),
        })
    }

    /// Ready when the connection is closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closed = self.poll_streams(cx);
        if closed.is_pending() && self.flush.is_filling(cx) {
            return Poll::Pending;
        }
        let flushed = self.flush.poll_flush(cx);
        let written = self.flush.look(|_, writing| writing.written);
        self.link.wrote(written, flushed.is_ready());
        match flushed {
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
                    let call = self.start(request, respond);
                    self.calls.extend(call);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if self.is_flood() {
                self.calls.clear();
                self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            // What a call that ended has sent is in h2's hands; go round to have it written.
            ready!(self.calls.poll(cx));
        }
    }

    /// Whether the client has just been found to send too much.
    fn is_flood(&mut self) -> bool {
        let violation = self.flush.look(|socket, _| socket.violation());
        let Some(violation) = violation.filter(|_| !self.flooded) else {
            return false;
        };
        tracing::debug!(peer = ?self.link.peer, %violation, "the connection is closed");
        self.flooded = true;
        true
    }

    /// Serves until the connection is closed, has nothing more to do, or must end: the calls that it has are one too many
    /// at the end of `grace` or of the drain. Also says when its client has to be gone.
    async fn drain(&mut self, phase: Watched<Phase>, grace: Duration) -> (Over, Instant) {
        // Only wakes.
        let mut draining = pin!(phase.wait_for(|phase| *phase >= Phase::Draining).fuse());
        let mut ending = pin!(phase.wait_for(|phase| *phase >= Phase::Ending));
        let mut grace = pin!(sleep(grace));
        // Counted from the end of the last call: others may be on their way. Where nobody waits, from the last byte too: a slow
        // link brings what was sent before them.
        let (mut quiet, mut read) = (None, 0);
        let over = poll_fn(|cx| {
            if self.poll_life(cx).is_ready() {
                return Poll::Ready(Over::Closed);
            }
            if self.is_busy() {
                quiet = None;
                let ends = [
                    grace.as_mut().poll(cx).is_ready(),
                    ending.as_mut().poll(cx).is_ready(),
                ];
                return match ends.contains(&true) {
                    true => Poll::Ready(Over::Cut),
                    false => Poll::Pending,
                };
            }
            let _ = draining.as_mut().poll(cx);
            let (before, now) = (mem::replace(&mut read, self.seen().read), Instant::now());
            let left = grace.deadline().saturating_duration_since(now);
            let (most, talks) = match phase.get() >= Phase::Draining {
                true => (QUIET, false),
                false => (
                    left.clamp(QUIET, LONG_QUIET),
                    read != before && !left.is_zero(),
                ),
            };
            let quiet = quiet.get_or_insert_with(|| Box::pin(sleep(most)));
            if talks || quiet.deadline() > now + most {
                quiet.as_mut().reset(now + most);
            }
            quiet.as_mut().poll(cx).map(|()| Over::Quiet)
        })
        .await;
        // Of a connection that is closed, or has calls to end, nothing more is waited for.
        let soon = Instant::now() + QUIET;
        let quiet_by = quiet.map_or(soon, |quiet| quiet.deadline().min(soon));
        (over, quiet_by + (CLOSE_GRACE - QUIET))
    }

    /// Whether there are calls, or answers that have not left.
    fn is_busy(&self) -> bool {
        let unwritten = self.flush.look(|_, writing| writing.waits);
        unwritten || !self.calls.is_empty() || self.h2.has_streams()
    }

    /// Ends every call, each with a status.
    fn cut_off(&mut self) {
        self.link.expired.store(true, Ordering::Relaxed);
        if self.link.phase.get() >= Phase::Ending {
            self.serving.cut.store(true, Ordering::Relaxed);
        }
        self.calls.clear();
    }

    /// What answers a new stream, or `None` when that is done.
    fn start(
        &self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<CallFuture> {
        let (parts, body) = request.into_parts();
        // The one reading of the path: what routes the call is what the logs name.
        let route = exact_path(&parts).and_then(|path| self.serving.router.find(path));
        let head = match RequestHead::parse(&parts.method, &parts.headers) {
            Ok(head) => head,
            Err(Rejection::NotGrpc(why)) => {
                return Some(not_grpc::answer(why, &parts.method, body, respond));
            }
            Err(Rejection::Status(content_type, status)) => {
                refuse(respond, content_type, &status);
                return None;
            }
        };
        let Some(route) = route else {
            let text = format!("unknown method {}", parts.uri.path());
            refuse(respond, head.content_type, &Status::unimplemented(text));
            return None;
        };
        let Ok(place) = Arc::clone(&self.serving.places).try_acquire_owned() else {
            refuse(respond, head.content_type, &overloaded());
            return None;
        };
        let inbound = Inbound::new(body, head.encoding, route.limits.max_recv_bytes, status_of)
            .within(&self.serving.room);
        let respond = Respond::new(
            respond,
            head.content_type,
            head.accept,
            self.serving.config.encoding,
            route.limits,
            self.serving.config.max_send_header_list_bytes,
        );
        let facts = Facts {
            method: route.method,
            metadata: LazyMetadata::new(parts.headers),
            deadline: head
                .timeout
                .and_then(|timeout| Instant::now().checked_add(timeout)),
            link: Arc::clone(&self.link),
            place: Some(place),
        };
        let stall_timeout = self.serving.config.stall_timeout;
        let rpc = Rpc::new(Shared::new(facts, respond), inbound, stall_timeout);
        Some(route.service.call(route.index, rpc))
    }
}

/// Why a connection takes no more calls.
enum Ends {
    /// There is none any more.
    Closed,
    /// The server goes down.
    Draining,
    /// Its own time is over.
    Leaving,
}

/// How a connection is that was told to go.
enum Over {
    /// Closed.
    Closed,
    /// Without calls for long enough.
    Quiet,
    /// With calls at the end of its time.
    Cut,
}

/// To a call for which there is no place.
fn overloaded() -> Status {
    Status::unavailable("the server has as many calls as it takes")
        .with_metadata(Metadata::pushback(PUSHBACK))
}
