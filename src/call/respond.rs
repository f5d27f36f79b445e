//! The server's half of a response: headers once, messages, and one status at the end.
//!
//! In: what the handler says. Out: HEADERS, DATA and trailers on an h2 stream. Not here: who polls it (`server`).

use std::mem;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::StatusCode;

use super::{Compression, Driver, Outgoing, status_of};
use crate::codec::compression::AcceptEncoding;
use crate::codec::frame::EncodeError;
use crate::codec::{Codec, Encoding, MessageLimits};
use crate::metadata::{Metadata, header_list_bytes};
use crate::protocol::{ContentType, HEAD_BYTES, ResponseHead, trailers_only};
use crate::status::{Code, Status, wire};

/// A response on its way.
#[derive(Debug)]
pub(crate) struct Respond {
    state: State,
    driver: Driver,
    outgoing: Outgoing,
    content_type: ContentType,
    /// What the client reads.
    accept: AcceptEncoding,
    encoding: Encoding,
    /// Of the messages from here on.
    compression: Compression,
    /// What metadata, and whatever a status carries, may count in one header block.
    max_metadata_bytes: usize,
    headers: Metadata,
    trailers: Metadata,
    /// Why nothing more can be sent although the handler may go on: it decides the status.
    failure: Option<Status>,
    /// The handler has ended: what was sent leaves, and nothing more is taken.
    ending: bool,
    code: Code,
}

/// Idle ──headers──▶ Open ──status──▶ Closed
///   └────────── status alone ──────────▲
#[derive(Debug)]
enum State {
    Idle(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
    Closed,
}

/// What is gathered of a response, lent to whoever writes messages: it encodes without the lock of the call.
#[derive(Debug)]
pub(crate) struct Lent {
    outgoing: Outgoing,
    encoding: Encoding,
}

impl Lent {
    /// Encodes `message` as often as `fill` fills it. False when that has ended, true when there is enough for a DATA frame.
    pub(crate) fn fill<T: Codec>(
        &mut self,
        message: &mut T,
        mut fill: impl FnMut(&mut T) -> bool,
    ) -> Result<bool, EncodeError> {
        while !self.outgoing.is_full() {
            if !fill(message) {
                return Ok(false);
            }
            self.outgoing.encode(message, self.encoding)?;
        }
        Ok(true)
    }
}

impl Respond {
    /// A response of which nothing was sent. `encoding` is used when the client reads it; a header block counts at most
    /// `max_header_list_bytes`.
    pub(crate) fn new(
        respond: SendResponse<Bytes>,
        content_type: ContentType,
        accept: AcceptEncoding,
        encoding: Encoding,
        limits: MessageLimits,
        max_header_list_bytes: u32,
    ) -> Self {
        Self {
            state: State::Idle(respond),
            driver: Driver::default(),
            outgoing: Outgoing::new(limits),
            content_type,
            accept,
            encoding: negotiate(accept, encoding),
            compression: Compression::On,
            max_metadata_bytes: (max_header_list_bytes as usize).saturating_sub(HEAD_BYTES),
            headers: Metadata::new(),
            trailers: Metadata::new(),
            failure: None,
            ending: false,
            // What a call counts as when nobody ends it: the client left, or the connection did.
            code: Code::Cancelled,
        }
    }

    pub(crate) fn set_headers(&mut self, headers: Metadata) -> Result<(), Status> {
        self.unsent()?;
        self.check(&headers)?;
        self.headers = headers;
        Ok(())
    }

    pub(crate) fn set_trailers(&mut self, trailers: Metadata) {
        match self.check(&trailers) {
            Ok(()) => self.trailers = trailers,
            // Without them the call would seem to have succeeded.
            Err(status) => {
                self.failure.get_or_insert(status);
                self.driver.wake();
            }
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(crate) fn set_encoding(&mut self, encoding: Encoding) -> Result<(), Status> {
        self.unsent()?;
        if self.outgoing.is_lent() {
            return Err(Status::internal("messages are being encoded already"));
        }
        self.encoding = negotiate(self.accept, encoding);
        Ok(())
    }

    pub(crate) fn compress(&mut self, compression: Compression) {
        self.compression = compression;
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether something waits for the client to take it.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// How many bytes left: h2 takes them when the client and the socket do.
    pub(crate) fn handed_bytes(&self) -> u64 {
        self.outgoing.handed_bytes()
    }

    /// Whether a message could not be sent, and the call therefore fails.
    pub(crate) fn failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn sent_messages(&self) -> u64 {
        self.outgoing.messages()
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.outgoing.bytes()
    }

    /// Sends the headers, once.
    pub(crate) fn open(&mut self) -> Result<(), Status> {
        let respond = match &mut self.state {
            State::Idle(respond) => respond,
            State::Open(_) => return Ok(()),
            State::Closed => return Err(ended()),
        };
        let head = ResponseHead {
            http: StatusCode::OK,
            encoding: self.encoding,
            metadata: mem::take(&mut self.headers),
        };
        let stream = respond
            .send_response(head.into_response(self.content_type), false)
            .map_err(|error| status_of(&error))?;
        self.state = State::Open(stream);
        Ok(())
    }

    pub(crate) fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// Sends one message, or waits for room.
    #[inline]
    pub(crate) fn poll_send<T: Codec>(
        &mut self,
        message: &T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        ready!(self.poll_room(cx))?;
        if self.outgoing.is_empty() {
            self.driver.sends(cx);
        }
        let encoded = self.outgoing.encode(message, self.message_encoding());
        if encoded.is_ok()
            && let State::Idle(_) = self.state
        {
            self.open()?;
        }
        Poll::Ready(self.sent(encoded, cx))
    }

    /// Waits for room, and lends what is gathered with how to encode more of it, until [`Respond::returned`].
    pub(crate) fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lent, Status>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(Ok(Lent {
            outgoing: self.outgoing.lend(),
            encoding: self.message_encoding(),
        }))
    }

    /// What was lent is back, with all the messages that were to come to it, or those up to the error.
    pub(crate) fn returned(
        &mut self,
        lent: Lent,
        encoded: Result<(), EncodeError>,
        cx: &mut Context<'_>,
    ) -> Result<(), Status> {
        if self.is_closed() {
            // The end of the call has closed what it belongs to.
            return Err(ended());
        }
        self.outgoing.give_back(lent.outgoing);
        if self.outgoing.messages() > 0 {
            // Fails only when the client has left.
            let _ = self.open();
        }
        self.driver.sends(cx);
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.sent(encoded, cx)
    }

    /// Messages have been encoded, all or up to the error.
    #[inline]
    fn sent(
        &mut self,
        encoded: Result<(), EncodeError>,
        cx: &mut Context<'_>,
    ) -> Result<(), Status> {
        if let Err(error) = encoded {
            let status = Status::from(error);
            self.failure = Some(status.clone());
            self.driver.sends(cx);
            return Err(status);
        }
        if self.outgoing.is_full() {
            self.push()?;
        }
        Ok(())
    }

    /// Pending while there is no room for a message.
    #[inline]
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.check_open()?;
        if self.outgoing.is_full() {
            self.push()?;
            if self.outgoing.poll_room(cx).is_pending() {
                self.driver.sends(cx);
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether a message can still be sent.
    #[inline]
    fn check_open(&self) -> Result<(), Status> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.ending || self.is_closed() {
            return Err(ended());
        }
        Ok(())
    }

    /// Of the next message.
    fn message_encoding(&self) -> Encoding {
        match self.compression {
            Compression::On => self.encoding,
            Compression::Off => Encoding::Identity,
        }
    }

    /// Drives the response: hands h2 what it takes and learns of a reset. Pending until one of these changes.
    ///
    /// Ready with the status to end with when the client has left or nothing more can be sent.
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        self.driver.polled();
        if let Some(failure) = &self.failure {
            return Poll::Ready(failure.clone());
        }
        // An error has a reason, which is asked for below.
        if self.driver.may_rely() && self.push().is_ok() && self.outgoing.is_empty() {
            self.driver.relies();
            return Poll::Pending;
        }
        self.poll_client(cx)
    }

    /// The handler has ended. Pending until everything that was sent is h2's; an error when the client has left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.driver.waits(cx);
        self.ending = true;
        if self.outgoing.is_lent() {
            // Whoever gives it back wakes the driver; a client that has left is not to wait for them.
            return self.poll_client(cx).map(Err);
        }
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // First without asking for the reset: the usual response fits, and then there is nothing to wait for.
        self.push()?;
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_client(cx) {
            Poll::Ready(status) => Poll::Ready(Err(status)),
            Poll::Pending if self.outgoing.is_empty() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ends the response, once: trailers, or one header block when there is nothing before them.
    pub(crate) fn end(&mut self, outcome: Result<(), Status>) {
        if !self.headers.is_empty() {
            // Headers that the handler has set are not trailers. Fails only when the client has left.
            let _ = self.open();
        }
        let state = mem::replace(&mut self.state, State::Closed);
        if matches!(state, State::Closed) {
            return;
        }
        // A handler that ignores a failed send does not make the call succeed.
        let outcome = outcome.and(self.failure.take().map_or(Ok(()), Err));
        self.code = outcome.as_ref().map_or_else(Status::code, |()| Code::Ok);
        let cut = self.outgoing.is_cut();
        self.driver.rests();
        self.outgoing.close();
        let trailers = wire::to_trailers_within(
            self.max_metadata_bytes,
            outcome.as_ref().map(|&()| ()),
            mem::take(&mut self.trailers),
        );
        // Each fails only when the client has left, and then nobody waits for an answer.
        let _ = match state {
            State::Idle(mut respond) => respond
                .send_response(trailers_only(self.content_type, trailers), true)
                .map(drop),
            // Behind half a message a status would not be read: whoever reads finds the message broken.
            State::Open(mut stream) if cut => {
                stream.send_reset(reason_of(self.code));
                Ok(())
            }
            // Gives back what is reserved and not used, which is taken from sibling streams.
            State::Open(mut stream) => stream.send_trailers(trailers),
            State::Closed => Ok(()),
        };
    }

    fn push(&mut self) -> Result<(), Status> {
        match &mut self.state {
            State::Open(stream) => self.outgoing.push(stream),
            State::Idle(_) | State::Closed => Ok(()),
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        // poll_reset and poll_capacity share one waker in h2: the task that drives the call polls both.
        let reset = match &mut self.state {
            State::Idle(respond) => respond.poll_reset(cx),
            State::Open(stream) => stream.poll_reset(cx),
            State::Closed => return Poll::Pending,
        };
        match reset {
            Poll::Ready(Ok(reason)) => return Poll::Ready(status_of(&reason.into())),
            Poll::Ready(Err(error)) => return Poll::Ready(status_of(&error)),
            Poll::Pending => {}
        }
        let State::Open(stream) = &mut self.state else {
            return Poll::Pending;
        };
        match self.outgoing.poll_push(stream, cx) {
            Poll::Ready(Err(status)) => Poll::Ready(status),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Whether `metadata` can be sent in one block.
    fn check(&self, metadata: &Metadata) -> Result<(), Status> {
        let bytes = header_list_bytes(metadata.headers());
        if bytes <= self.max_metadata_bytes {
            return Ok(());
        }
        let limit = self.max_metadata_bytes;
        Err(Status::internal(format!(
            "metadata of {bytes} bytes, the limit is {limit}"
        )))
    }

    fn unsent(&self) -> Result<(), Status> {
        match &self.state {
            State::Idle(_) => Ok(()),
            State::Open(_) => Err(Status::internal("the response's headers were sent already")),
            State::Closed => Err(ended()),
        }
    }
}

/// "If the client does not support the encoding, the server sends uncompressed" (compression.md).
fn negotiate(accept: AcceptEncoding, encoding: Encoding) -> Encoding {
    match accept.contains(encoding) {
        true => encoding,
        false => Encoding::Identity,
    }
}

#[cold]
fn ended() -> Status {
    Status::cancelled("the call has ended")
}

/// The reset that a client reads as `code`, as far as there is one (PROTOCOL-HTTP2.md, "Errors").
fn reason_of(code: Code) -> Reason {
    match code {
        Code::Cancelled | Code::DeadlineExceeded => Reason::CANCEL,
        // The response's headers have come, so no client sends it again by itself.
        Code::Unavailable => Reason::REFUSED_STREAM,
        Code::ResourceExhausted => Reason::ENHANCE_YOUR_CALM,
        _ => Reason::INTERNAL_ERROR,
    }
}

/// Answers a stream that is no call with `status` alone.
pub(crate) fn refuse(mut respond: SendResponse<Bytes>, content_type: ContentType, status: &Status) {
    let trailers = wire::to_trailers(Err(status), Metadata::new());
    // Fails only when the client has left.
    let _ = respond.send_response(trailers_only(content_type, trailers), true);
}
