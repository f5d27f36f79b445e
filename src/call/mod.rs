//! One call on one h2 stream: messages both ways, and one status at the end.
//!
//! In: an h2 stream and its parsed head. Out: messages, honest ends, trailers. Not here: which calls there are
//! (`server`, `client`), the bytes of a frame (`codec`).
//!
//! A call as its server sees it; the client is the mirror:
//!
//! ```text
//!            headers            message*             status
//!   Idle ─────────────▶ Open ─────────────▶ Open ─────────────▶ Closed
//!     └──────────── status alone: "Trailers-Only" ───────────────▲
//!   any ── reset, lost connection, dropped handler ──────────────▲
//! ```

mod driver;
mod link;
mod outgoing;
mod pace;
mod recv;
mod respond;
mod room;
mod send;
mod watched;

use self::driver::Driver;
pub(crate) use self::link::Link;
pub(crate) use self::outgoing::Outgoing;
pub(crate) use self::recv::Inbound;
pub use self::recv::Streaming;
pub(crate) use self::respond::{Respond, refuse};
pub(crate) use self::room::{PUSHBACK, Room};
pub use self::send::{Compression, Sender};
pub(crate) use self::watched::Watched;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use h2::Reason;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::codec::Encoding;
use crate::metadata::{LazyMetadata, Metadata};
use crate::method::Method;
use crate::status::{Code, Status};

/// What a handler knows of its call besides the messages, and what it says besides them.
pub struct Call(Arc<Shared>);

/// What the handler's [`Call`] and [`Sender`] and the task that drives the call share.
pub(crate) struct Shared {
    facts: Facts,
    respond: Mutex<Respond>,
    received: Received,
    /// Made when somebody asks for [`Call::cancelled`].
    ended: OnceLock<CancellationToken>,
    /// When the call began; only known when its end will be logged.
    started: Option<Instant>,
}

/// What is settled when the call begins.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) method: Method,
    pub(crate) metadata: LazyMetadata,
    pub(crate) deadline: Option<Instant>,
    pub(crate) link: Arc<Link>,
    /// The call's place among those of the whole server, until the call is gone.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// How far a server is in going down. It only ever rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not at all.
    Serving,
    /// No new calls; those in flight go on.
    Draining,
    /// Calls in flight end with UNAVAILABLE.
    Ending,
}

/// What came from the client: for the log, for [`Call::compressed`], and to tell who waits for whom.
#[derive(Debug, Default)]
struct Received {
    /// The handler waits for the client.
    awaited: AtomicBool,
    /// The last message.
    compressed: AtomicBool,
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Call {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The method that was called.
    pub fn method(&self) -> Method {
        self.0.facts.method
    }

    /// What the client sent besides messages.
    pub fn metadata(&self) -> &Metadata {
        self.0.facts.metadata.get()
    }

    /// Where the client is, as far as the listener knows.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.facts.link.peer
    }

    /// When the call ends with DEADLINE_EXCEEDED whatever the handler does; `None` when the client set no deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.facts.deadline
    }

    /// Resolves when the call has ended in any way. A handler itself is dropped then; this is for work that it
    /// handed to somebody else.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        let token = self.0.ended.get_or_init(CancellationToken::new).clone();
        if self.0.respond().is_closed() {
            token.cancel();
        }
        token.cancelled_owned()
    }

    /// Resolves when the server begins to drain: a stream without an end of its own should end now.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let phase = self.0.facts.link.phase.clone();
        async move { phase.wait_for(|phase| *phase >= Phase::Draining).await }
    }

    /// Sets the metadata that travels in the response's headers.
    ///
    /// # Errors
    /// INTERNAL when the headers were sent already: they leave with the first message or [`Call::send_headers`]; and
    /// when they are larger than [`Config::max_send_header_list_bytes`](crate::server::Config) lets them be.
    /// CANCELLED when the call has ended.
    pub fn set_headers(&self, headers: Metadata) -> Result<(), Status> {
        self.0.respond().set_headers(headers)
    }

    /// Sends the response's headers now instead of with the first message.
    ///
    /// # Errors
    /// CANCELLED when the client has left, and when the call has ended.
    pub fn send_headers(&self) -> Result<(), Status> {
        self.0.respond().open()
    }

    /// Sets the metadata that travels in the trailers, beside that of the status. When they are larger than the server
    /// sends, the call ends with INTERNAL.
    pub fn set_trailers(&self, trailers: Metadata) {
        self.0.respond().set_trailers(trailers);
    }

    /// What the response's messages are compressed with; identity when nothing was chosen or the client does not
    /// read what was chosen.
    pub fn encoding(&self) -> Encoding {
        self.0.respond().encoding()
    }

    /// Chooses what the response's messages are compressed with, in place of the server's default. An encoding
    /// that the client does not read is passed over, as compression.md asks.
    ///
    /// # Errors
    /// INTERNAL when the headers were sent already, CANCELLED when the call has ended.
    pub fn set_encoding(&self, encoding: Encoding) -> Result<(), Status> {
        self.0.respond().set_encoding(encoding)
    }

    /// Chooses whether the messages from here on are compressed, when the response has an encoding
    /// (compression.md: "compression can be switched off for each message"). They are, unless told otherwise.
    pub fn compress(&self, compression: Compression) {
        self.0.respond().compress(compression);
    }

    /// Whether the last message of the client came compressed.
    pub fn compressed(&self) -> bool {
        self.0.received.compressed.load(Ordering::Relaxed)
    }
}

impl Shared {
    pub(crate) fn new(facts: Facts, respond: Respond) -> Arc<Self> {
        let logged = tracing::enabled!(target: LOG_TARGET, tracing::Level::INFO);
        Arc::new(Self {
            facts,
            respond: Mutex::new(respond),
            received: Received::default(),
            ended: OnceLock::new(),
            started: logged.then(Instant::now),
        })
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    #[inline]
    pub(crate) fn respond(&self) -> MutexGuard<'_, Respond> {
        // Nothing that could panic and leave the state half changed runs under the lock.
        self.respond.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the call, when it has not ended yet.
    pub(crate) fn end(&self, outcome: Result<(), Status>) {
        self.respond().end(outcome);
        self.tell_ended();
    }

    fn tell_ended(&self) {
        if let Some(token) = self.ended.get() {
            token.cancel();
        }
    }

    fn was_compressed(&self, compressed: bool) {
        self.received
            .compressed
            .store(compressed, Ordering::Relaxed);
    }

    fn count_received(&self, messages: u64, bytes: u64) {
        self.received.messages.store(messages, Ordering::Relaxed);
        self.received.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says, until it is dropped, that the handler waits for the client.
    fn await_client(&self) -> Awaiting<'_> {
        self.received.awaited.store(true, Ordering::Relaxed);
        Awaiting(&self.received)
    }

    /// Whether anything is the client's turn, and what it has done so far.
    pub(crate) fn turn(&self) -> Turn {
        let respond = self.respond();
        Turn {
            clients: self.received.awaited.load(Ordering::Relaxed) || respond.is_waiting(),
            moved: self.received.bytes.load(Ordering::Relaxed) + respond.handed_bytes(),
        }
    }
}

/// Whose turn it is in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The client's: it is to send, or to take what waits for it.
    pub(crate) clients: bool,
    /// Bytes received and bytes that left, together.
    pub(crate) moved: u64,
}

struct Awaiting<'a>(&'a Received);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaited.store(false, Ordering::Relaxed);
    }
}

/// The last owner of a call is gone: it is over, however it ended.
impl Drop for Shared {
    fn drop(&mut self) {
        self.tell_ended();
        if let Some(place) = self.facts.place.take() {
            self.facts.link.leave(place);
        }
        let Some(started) = self.started else { return };
        let respond = self
            .respond
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        tracing::info!(
            target: LOG_TARGET,
            method = self.facts.method.path,
            code = respond.code().name(),
            peer = self.facts.link.peer.map(tracing::field::display),
            duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            received_messages = self.received.messages.load(Ordering::Relaxed),
            received_bytes = self.received.bytes.load(Ordering::Relaxed),
            sent_messages = respond.sent_messages(),
            sent_bytes = respond.sent_bytes(),
            "call ended"
        );
    }
}

/// The target of the one line of log for each call.
const LOG_TARGET: &str = "streamway::call";

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.0.facts).finish()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// The status of an h2 error (PROTOCOL-HTTP2.md, "Errors").
pub(crate) fn status_of(error: &h2::Error) -> Status {
    match error.reason() {
        Some(reason) => Status::new(
            code_of(reason),
            format!("the stream ended with {reason:?}: {error}"),
        ),
        // The connection broke: a server's handler sees CANCELLED (statuscodes.md).
        None => Status::cancelled(format!("the connection broke: {error}")),
    }
}

/// PROTOCOL-HTTP2.md, "HTTP2 Transport Mapping", the table of error codes.
pub(crate) fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

/// What every side says when the deadline has passed.
pub(crate) fn expired() -> Status {
    Status::deadline_exceeded("the deadline passed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_http2_error_code_has_the_status_of_the_table() {
        for number in 0..=14 {
            let code = match number {
                7 => Code::Unavailable,
                8 => Code::Cancelled,
                11 => Code::ResourceExhausted,
                12 => Code::PermissionDenied,
                _ => Code::Internal,
            };
            assert_eq!(code_of(Reason::from(number)), code, "{number}");
        }
    }
}
