//! The receiving half of a call as its client sees it: headers, messages, and the status that ends them.
//!
//! In: an h2 response. Out: messages and an honest end. Not here: the request's messages (`requests`).

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{broken_off, is_unseen, status_of, untaken};
use super::request::{Dial, Opened};
use super::requests::{Body, SharedOutbound};
use crate::call::{Inbound, expired};
use crate::codec::{Codec, DecodeError, MessageLimits, Payload};
use crate::metadata::Metadata;
use crate::protocol::{ResponseError, ResponseHead};
use crate::status::{Code, Status, wire};

/// The messages that a server sends. Dropped before the end, it cancels the call.
pub struct Responses<T> {
    receive: Receive,
    message: PhantomData<fn() -> T>,
}

impl<T> Responses<T> {
    pub(super) fn new(receive: Receive) -> Self {
        Self {
            receive,
            message: PhantomData,
        }
    }

    /// Waits for the response's headers. They stay when the call ends.
    ///
    /// # Errors
    /// The call's status when it has failed without headers.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn headers(&mut self) -> Result<&Metadata, Status> {
        poll_fn(|cx| self.receive.poll_headers(cx)).await?;
        Ok(self.receive.headers.get_or_insert_default())
    }

    /// What came with the status; empty before the call has ended.
    pub fn trailers(&self) -> &Metadata {
        &self.receive.trailers
    }

    /// Whether the last message came compressed.
    pub fn compressed(&self) -> bool {
        self.receive.compressed
    }

    pub(super) fn into_metadata(mut self) -> (Metadata, Metadata) {
        (
            self.receive.headers.take().unwrap_or_default(),
            mem::take(&mut self.receive.trailers),
        )
    }
}

impl<T: Codec> Responses<T> {
    /// The next message; `Ok(None)` only when the server has ended the call with OK.
    ///
    /// # Errors
    /// The status that the server ended the call with; DEADLINE_EXCEEDED, UNAVAILABLE when the connection was lost before that,
    /// RESOURCE_EXHAUSTED over the receive limit, INTERNAL when the response breaks the protocol. The call is over then,
    /// and every later call returns the same.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        self.receive.next(T::decode).await
    }

    /// Merges the next message into `message`, which keeps what it has allocated; false only when the server has ended the
    /// call with OK. On a stream of small messages with text, allocating is a third of receiving.
    ///
    /// As protobuf merges: what the next message does not say stays as it was, so clear `message` before.
    /// `prost::Message::clear` keeps the room of its strings and lists, and drops the messages inside it; to keep those,
    /// clear their fields.
    ///
    /// # Errors
    /// As [`Responses::message`]. A message that cannot be decoded may have been merged in part.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn merge(&mut self, message: &mut T) -> Result<bool, Status> {
        let merged = self
            .receive
            .next(|payload: Payload<'_>| message.merge(payload));
        Ok(merged.await?.is_some())
    }

    /// The only message of a call that has exactly one.
    ///
    /// # Errors
    /// UNIMPLEMENTED when there are none or several (statuscodes.md, "cardinality violation"), and as
    /// [`Responses::message`].
    pub async fn only(&mut self) -> Result<T, Status> {
        self.only_after(&mut None).await
    }

    /// As [`Responses::only`], when the message may have come already: it waits in `first` until the call has ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn only_after(&mut self, first: &mut Option<T>) -> Result<T, Status> {
        loop {
            let violation = match (self.message().await?, first.take()) {
                (None, Some(message)) => return Ok(message),
                (Some(message), None) => {
                    *first = Some(message);
                    continue;
                }
                (None, None) => "the response has no message, the method answers with one",
                (Some(_), Some(_)) => {
                    "the response has several messages, the method answers with one"
                }
            };
            self.receive.fail(Status::unimplemented(violation));
        }
    }
}

/// Headers ──▶ Messages ──▶ Trailers ──▶ Ended
///   │  └── refused, unseen ──▶ Reopening ──▶ Headers
///   └── Trailers-Only, and any failure at any time ──▶ Ended
enum State {
    Headers(Head),
    Messages(Inbound),
    /// The second is what is wrong with the messages, if anything: the server's own error goes before it.
    Trailers(Inbound, Result<(), Status>),
    Reopening(Reopen),
    Ended(Result<(), Status>),
}

type Reopen = Pin<Box<dyn Future<Output = Result<Opened, Status>> + Send>>;

/// Where the response's headers come from.
enum Head {
    Stream(ResponseFuture),
    /// From the request that is streamed, which may have to be begun once more.
    Outbound(SharedOutbound),
}

/// Who sends the request.
enum Sending {
    /// This half, while it waits for the response.
    Single(Body),
    /// A task of its own.
    Streamed(SharedOutbound),
}

/// What it takes to send a request once more.
struct Again {
    dial: Dial,
    message: Bytes,
}

/// The untyped part of a call's receiving half.
pub(super) struct Receive {
    state: State,
    sending: Sending,
    /// There until the server has been heard of.
    again: Option<Again>,
    limits: MessageLimits,
    deadline: Option<Instant>,
    /// Made when the call first waits.
    expiry: Option<Pin<Box<Sleep>>>,
    /// What the call ends with when the trailers do not say.
    unexplained: Option<Status>,
    /// None before they came, and when the call ended without.
    headers: Option<Metadata>,
    trailers: Metadata,
    /// The last message.
    compressed: bool,
    /// The connection lives at least as long as its calls.
    channel: super::Channel,
}

impl Receive {
    pub(super) fn single(
        dial: Dial,
        response: ResponseFuture,
        stream: SendStream<Bytes>,
        message: Bytes,
    ) -> Self {
        let body = Body::new(stream, message.clone());
        let mut receive = Self::new(&dial, Head::Stream(response), Sending::Single(body));
        receive.again = Some(Again { dial, message });
        receive
    }

    pub(super) fn streamed(dial: &Dial, outbound: SharedOutbound) -> Self {
        let head = Head::Outbound(outbound.clone());
        Self::new(dial, head, Sending::Streamed(outbound))
    }

    fn new(dial: &Dial, head: Head, sending: Sending) -> Self {
        Self {
            state: State::Headers(head),
            sending,
            again: None,
            limits: dial.options.limits,
            deadline: dial.options.deadline,
            expiry: None,
            unexplained: None,
            headers: None,
            trailers: Metadata::new(),
            compressed: false,
            channel: dial.channel.clone(),
        }
    }

    /// The next message; `None` when the call has ended with OK.
    async fn next<T>(
        &mut self,
        mut decode: impl FnMut(Payload<'_>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, Status> {
        loop {
            if let State::Messages(inbound) = &mut self.state {
                match inbound.next_message(&mut decode) {
                    Ok(Some(message)) => {
                        self.compressed = inbound.compressed();
                        // A stream that is always ready never waits for its deadline.
                        let check = inbound.messages() % MESSAGES_PER_CLOCK == 0;
                        if check && self.is_late() {
                            self.fail(expired());
                            continue;
                        }
                        return Ok(Some(message));
                    }
                    Ok(None) => {}
                    // What comes with an HTTP error need not be messages.
                    Err(status) => {
                        let status = self.unexplained.take().unwrap_or(status);
                        self.fail(status);
                    }
                }
            }
            if let State::Ended(outcome) = &self.state {
                return outcome.clone().map(|()| None);
            }
            poll_fn(|cx| self.poll_more(cx)).await;
        }
    }

    /// Goes one state on, or to the next bytes of the body, or to the deadline.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_step(cx).is_pending() {
            ready!(self.poll_expiry(cx));
            self.fail(expired());
        }
        Poll::Ready(())
    }

    fn poll_headers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        while let State::Headers(_) | State::Reopening(_) = &self.state {
            ready!(self.poll_more(cx));
        }
        match &self.state {
            State::Ended(Err(status)) if self.headers.is_none() => Poll::Ready(Err(status.clone())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Sending::Single(body) = &mut self.sending {
            // Ready or not: whether the server has an answer is asked below.
            let _ = body.poll_pump(cx);
        }
        match &mut self.state {
            State::Headers(Head::Stream(response)) => match ready!(Pin::new(response).poll(cx)) {
                Ok(response) => self.on_response(response),
                Err(error) if is_unseen(&error) => self.send_again(&error),
                Err(error) => self.break_off(status_of(&error)),
            },
            State::Headers(Head::Outbound(outbound)) => {
                let response = outbound.lock().poll_response(cx);
                match ready!(response) {
                    Ok(response) => self.on_response(response),
                    Err(status) => self.break_off(status),
                }
            }
            State::Messages(inbound) => match ready!(inbound.poll_more(cx)) {
                Ok(true) => {}
                Ok(false) => self.on_body_end(Ok(())),
                // A server that gives up may do so inside a message, and says why in the trailers.
                Err(status) if inbound.is_ended() => self.on_body_end(Err(status)),
                // What comes with an HTTP error need not be messages.
                Err(status) => {
                    let status = self.unexplained.take().unwrap_or(status);
                    self.break_off(status);
                }
            },
            State::Trailers(inbound, _) => {
                let trailers = ready!(inbound.poll_trailers(cx));
                self.on_trailers(trailers);
            }
            State::Reopening(reopen) => match ready!(reopen.as_mut().poll(cx)) {
                Ok((response, stream)) => {
                    if let Some(Again { message, .. }) = self.again.take() {
                        self.sending = Sending::Single(Body::new(stream, message));
                    }
                    self.state = State::Headers(Head::Stream(response));
                }
                Err(status) => self.break_off(status),
            },
            State::Ended(_) => {}
        }
        Poll::Ready(())
    }

    fn on_response(&mut self, response: http::Response<RecvStream>) {
        self.again = None;
        let (parts, body) = response.into_parts();
        match ResponseHead::parse(parts, body.is_end_stream()) {
            Ok(head) => {
                self.unexplained = head.unexplained();
                self.headers = Some(head.metadata);
                let limit = self.limits.max_recv_bytes;
                let inbound = Inbound::new(body, head.encoding, limit, status_of);
                self.state = State::Messages(inbound);
            }
            Err(ResponseError::TrailersOnly(outcome, trailers)) => {
                self.trailers = trailers;
                self.end(outcome);
            }
            Err(ResponseError::NotGrpc(status)) => self.fail(status),
        }
    }

    /// The server never saw the request: once more, on a new connection if need be.
    fn send_again(&mut self, error: &h2::Error) {
        match &self.again {
            Some(again) => {
                let dial = again.dial.clone();
                self.state = State::Reopening(Box::pin(async move { dial.open().await }));
            }
            None => self.break_off(untaken(error)),
        }
    }

    fn on_body_end(&mut self, body: Result<(), Status>) {
        let ended = State::Ended(Ok(()));
        if let State::Messages(inbound) = mem::replace(&mut self.state, ended) {
            self.state = State::Trailers(inbound, body);
        }
    }

    /// "Body ended without trailers" is INTERNAL, "trailers without grpc-status" UNKNOWN.
    fn on_trailers(&mut self, trailers: Result<Option<http::HeaderMap>, h2::Error>) {
        let body = match mem::replace(&mut self.state, State::Ended(Ok(()))) {
            State::Trailers(_, body) => body,
            _ => Ok(()),
        };
        let unexplained = self.unexplained.take().or(body.clone().err());
        let missing = |or: Status| unexplained.unwrap_or(or);
        match trailers {
            Err(error) => self.break_off(status_of(&error)),
            Ok(None) => self.fail(missing(Status::internal(
                "the response ended without trailers",
            ))),
            Ok(Some(trailers)) => match wire::from_trailers(trailers) {
                None => {
                    // What goes beyond the limit is not there, and h2 does not say that anything did.
                    let limit = self.channel.config().max_header_list_bytes;
                    let text = format!("the trailers have no grpc-status within {limit} bytes");
                    self.fail(missing(Status::unknown(text)));
                }
                Some((outcome, trailers)) => {
                    self.trailers = trailers;
                    self.end(outcome.and(body));
                }
            },
        }
    }

    /// The server has ended the call. What is left of the request is of no use to it: NO_ERROR (PROTOCOL-HTTP2.md,
    /// "Responses").
    fn end(&mut self, outcome: Result<(), Status>) {
        let late = |status: &Status| status.code() == Code::Cancelled && self.is_late();
        let outcome = match outcome {
            // "CANCELLED after its own deadline is DEADLINE_EXCEEDED": the server's clock ran a little faster.
            Err(status) if late(&status) => Err(expired()),
            outcome => outcome,
        };
        self.settle(outcome, Reason::NO_ERROR);
    }

    /// The stream or its connection has ended, with `status`.
    fn break_off(&mut self, status: Status) {
        self.fail(broken_off(status, self.deadline));
    }

    /// The call has failed on this side: the server learns of it.
    fn fail(&mut self, status: Status) {
        self.settle(Err(status), Reason::CANCEL);
    }

    fn settle(&mut self, outcome: Result<(), Status>, reason: Reason) {
        self.state = State::Ended(outcome);
        self.stop_sending(reason);
    }

    fn stop_sending(&mut self, reason: Reason) {
        self.again = None;
        let over = || Status::cancelled("the call has ended");
        match &mut self.sending {
            Sending::Single(body) => body.stop(reason),
            Sending::Streamed(outbound) => {
                let mut outbound = outbound.lock();
                outbound.stop(reason, over());
                outbound.forget();
            }
        }
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    fn poll_expiry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let expiry = self
            .expiry
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        expiry.as_mut().poll(cx)
    }
}

/// After how many messages the clock is read. 64: the messages that one deadline can be late by.
const MESSAGES_PER_CLOCK: u64 = 64;

impl Drop for Receive {
    fn drop(&mut self) {
        if !matches!(self.state, State::Ended(_)) {
            self.stop_sending(Reason::CANCEL);
        }
    }
}

impl<T> fmt::Debug for Responses<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responses")
            .field("headers", &self.receive.headers)
            .field("trailers", &self.receive.trailers)
            .finish_non_exhaustive()
    }
}
