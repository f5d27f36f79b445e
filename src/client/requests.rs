//! The sending half of a call as its client sees it.
//!
//! In: messages. Out: h2 DATA, and the end of the stream. A call that sends one message is pumped by whoever reads its
//! response; one that streams has a task of its own, which sends what is buffered when the caller pauses and learns of
//! a reset and of the deadline. So small messages coalesce while the caller keeps producing; no timer. The same task begins
//! the call once more when its connection goes before anything of it has left.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::connection::{broken_off, is_unseen, status_of, untaken};
use super::request::{Dial, Opened};
use crate::call::{Compression, Outgoing, code_of, expired};
use crate::codec::{Codec, Encoding};
use crate::status::Status;

/// Open ──finish──▶ Finishing ──everything is h2's──▶ Finished
///   └── reset by either side, deadline, dropped ──▶ Failed
#[derive(Debug)]
enum State {
    Open,
    Finishing,
    Finished,
    Failed(Status),
}

/// Awaited ──it came──▶ Came ──▶ Taken
///    ▲ └── gone, before anything of the request left ──▶ Begins ── cannot ──▶ Came
///    └──────────────────── once more ─────────────────────┘
#[derive(Debug)]
enum Answer {
    Awaited(ResponseFuture),
    /// The call is begun once more (A6, "Transparent Retries").
    Begins,
    Came(Result<Response<RecvStream>, Status>),
    Taken,
}

/// A streamed request on its way.
#[derive(Debug)]
pub(super) struct Outbound {
    state: State,
    /// Here, and not in the receiving half, because a call that has to be begun once more may have nobody who reads it yet.
    answer: Answer,
    /// The receiving half, asleep.
    receiver: Option<Waker>,
    /// Whether the call was begun once more.
    again: bool,
    stream: Option<SendStream<Bytes>>,
    outgoing: Outgoing,
    encoding: Encoding,
    /// The task that pumps, asleep.
    pump: Option<Waker>,
    deadline: Option<Instant>,
}

impl Outbound {
    fn poll_send<T: Codec>(
        &mut self,
        message: &T,
        compressed: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        self.writable()?;
        if self.outgoing.is_full() {
            self.push();
            self.writable()?;
            if self.outgoing.poll_room(cx).is_pending() {
                self.wake_pump();
                return Poll::Pending;
            }
        }
        let encoding = match compressed {
            true => self.encoding,
            false => Encoding::Identity,
        };
        self.outgoing.encode(message, encoding)?;
        if self.outgoing.is_full() {
            self.push();
        }
        self.wake_pump();
        Poll::Ready(Ok(()))
    }

    /// Sends what there is, and the end when it is due. Ready when nothing is left to do, for ever.
    ///
    /// Pending, it has asked h2 to wake the task for capacity and for a reset.
    pub(super) fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_gone(cx) {
            return Poll::Ready(());
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(());
        };
        match (&self.state, self.outgoing.poll_push(stream, cx)) {
            (State::Finishing, Poll::Ready(Ok(()))) => {
                // Fails only when the stream is closed, and then the response says why.
                let _ = self.outgoing.finish(stream);
                self.close(State::Finished);
                return Poll::Ready(());
            }
            (_, Poll::Ready(Err(status))) => {
                self.break_off(status);
                return Poll::Ready(());
            }
            (_, Poll::Ready(Ok(())) | Poll::Pending) => {}
        }
        match stream.poll_reset(cx) {
            Poll::Pending => {
                self.pump = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(Ok(reason)) => {
                self.end_by(reason);
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                self.break_off(status_of(&error));
                Poll::Ready(())
            }
        }
    }

    /// Whether the connection has gone before anything of the request has left, so that the call is to be begun once more.
    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        // A reset alone does not say whether the server has seen the call.
        if self.outgoing.handed_bytes() > 0 || stream.poll_reset(cx).is_pending() {
            return false;
        }
        self.look(cx);
        self.wake_receiver();
        matches!(self.answer, Answer::Begins)
    }

    /// Looks for the answer, and whether it is that the server goes and never saw the call. All of the request is here then,
    /// if h2 has taken nothing: it takes nothing of a stream that waits for its turn.
    fn look(&mut self, cx: &mut Context<'_>) {
        let Answer::Awaited(response) = &mut self.answer else {
            return;
        };
        let Poll::Ready(answer) = Pin::new(response).poll(cx) else {
            return;
        };
        let whole = matches!(self.state, State::Open | State::Finishing)
            && self.outgoing.handed_bytes() == 0;
        self.answer = match answer {
            Err(error) if is_unseen(&error) && error.is_go_away() && whole && !self.again => {
                self.again = true;
                self.stream = None;
                self.wake_pump();
                Answer::Begins
            }
            Err(error) if is_unseen(&error) => Answer::Came(Err(untaken(&error))),
            answer => Answer::Came(answer.map_err(|error| status_of(&error))),
        };
    }

    /// The response's headers, once.
    pub(super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Status>> {
        self.look(cx);
        match mem::replace(&mut self.answer, Answer::Taken) {
            Answer::Came(answer) => Poll::Ready(answer),
            answer => {
                self.answer = answer;
                self.receiver = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The call has been begun once more, or could not be.
    fn begin_again(&mut self, opened: Result<Opened, Status>) {
        if !matches!(self.answer, Answer::Begins) {
            // It has ended meanwhile: dropped, the new stream is reset.
            return;
        }
        match opened {
            Ok((response, stream)) => {
                self.answer = Answer::Awaited(response);
                self.stream = Some(stream);
            }
            Err(status) => self.close(State::Failed(status)),
        }
        self.wake_receiver();
    }

    /// Nobody waits for the answer any more.
    pub(super) fn forget(&mut self) {
        self.answer = Answer::Taken;
    }

    /// Ends the call from this side, unless its request is finished: CANCEL.
    fn cancel(&mut self, status: Status) {
        self.stop(Reason::CANCEL, status);
    }

    /// Ends the stream for `reason`, unless its request is finished. Whoever sends more is told `status`.
    pub(super) fn stop(&mut self, reason: Reason, status: Status) {
        if let Some(mut stream) = self.stream.take() {
            stream.send_reset(reason);
        } else if !matches!(self.answer, Answer::Begins) {
            return;
        }
        self.close(State::Failed(status));
    }

    fn push(&mut self) {
        if let Some(stream) = &mut self.stream
            && let Err(status) = self.outgoing.push(stream)
        {
            self.break_off(status);
        }
    }

    /// The server has reset the stream: NO_ERROR when it has answered, and the receiving half has its status.
    fn end_by(&mut self, reason: Reason) {
        match reason {
            Reason::NO_ERROR => {
                let text = "the server ended the call before the request";
                self.close(State::Failed(Status::cancelled(text)));
            }
            reason => self.break_off(Status::new(
                code_of(reason),
                format!("the server reset the stream with {reason:?}"),
            )),
        }
    }

    fn break_off(&mut self, status: Status) {
        self.close(State::Failed(broken_off(status, self.deadline)));
    }

    fn finish(&mut self) {
        if matches!(self.state, State::Open) {
            self.state = State::Finishing;
            self.wake_pump();
        }
    }

    fn writable(&self) -> Result<(), Status> {
        match &self.state {
            State::Open => Ok(()),
            State::Failed(status) => Err(status.clone()),
            State::Finishing | State::Finished => {
                Err(Status::internal("the request was finished already"))
            }
        }
    }

    fn close(&mut self, state: State) {
        if let (Answer::Begins, State::Failed(status)) = (&self.answer, &state) {
            self.answer = Answer::Came(Err(status.clone()));
            self.wake_receiver();
        }
        self.state = state;
        self.stream = None;
        self.outgoing.close();
        self.wake_pump();
    }

    fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
    }

    fn wake_pump(&mut self) {
        if let Some(waker) = self.pump.take() {
            waker.wake();
        }
    }
}

/// The one message of a request on its way.
#[derive(Debug)]
pub(super) struct Body {
    stream: Option<SendStream<Bytes>>,
    rest: Bytes,
}

impl Body {
    pub(super) fn new(stream: SendStream<Bytes>, message: Bytes) -> Self {
        Self {
            stream: Some(stream),
            rest: message,
        }
    }

    /// Sends what h2 has room for. Ready when nothing is left to do, for ever.
    pub(super) fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(stream) = &mut self.stream {
            stream.reserve_capacity(self.rest.len());
            let room = stream.capacity().min(self.rest.len());
            let last = room == self.rest.len();
            if room > 0 || last {
                // Fails only when the stream is closed, and then the response says why.
                let sent = stream.send_data(self.rest.split_to(room), last);
                if last || sent.is_err() {
                    self.stream = None;
                }
            } else if let Some(Err(_)) | None = ready!(stream.poll_capacity(cx)) {
                self.stream = None;
            }
        }
        Poll::Ready(())
    }

    /// Ends the stream for `reason`, unless everything is sent.
    pub(super) fn stop(&mut self, reason: Reason) {
        if let Some(mut stream) = self.stream.take() {
            stream.send_reset(reason);
        }
    }
}

/// What both halves of a call and its pump share.
#[derive(Clone, Debug)]
pub(super) struct SharedOutbound(Arc<Mutex<Outbound>>);

impl SharedOutbound {
    pub(super) fn lock(&self) -> MutexGuard<'_, Outbound> {
        // Nothing that could panic and leave the state half changed runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the messages of a request. Dropped before [`Requests::finish`], it cancels the call.
pub struct Requests<T> {
    shared: SharedOutbound,
    compressed: bool,
    pump: Pump,
    message: PhantomData<fn(&T)>,
}

/// The task of a request. It ends by itself once the request is finished or failed, so only a request that is dropped
/// before has to end it.
#[derive(Debug)]
struct Pump(AbortHandle);

impl<T> Requests<T> {
    pub(super) fn new((response, stream): Opened, dial: Dial) -> Self {
        let shared = SharedOutbound(Arc::new(Mutex::new(Outbound {
            state: State::Open,
            answer: Answer::Awaited(response),
            receiver: None,
            again: false,
            stream: Some(stream),
            outgoing: Outgoing::new(dial.options.limits),
            encoding: dial.options.encoding,
            pump: None,
            deadline: dial.options.deadline,
        })));
        let pump = tokio::spawn(pump(shared.clone(), dial));
        Self {
            shared,
            compressed: true,
            pump: Pump(pump.abort_handle()),
            message: PhantomData,
        }
    }

    /// Whether more messages can be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.shared.lock().state, State::Open)
    }

    pub(super) fn shared(&self) -> SharedOutbound {
        self.shared.clone()
    }

    /// Tells the server that there are no more messages. Returns at once; what was sent before goes first.
    pub fn finish(self) {
        self.shared.lock().finish();
    }

    /// Chooses whether the messages from here on are compressed, when the call has an encoding. They are, unless told
    /// otherwise.
    pub fn compress(&mut self, compression: Compression) {
        self.compressed = compression == Compression::On;
    }
}

impl<T: Codec> Requests<T> {
    /// Sends one message; waits while the server or the network is slow.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED over the send limit; the call goes on. When the call has ended, why: the server's own status
    /// is at the receiving half.
    ///
    /// # Cancel safety
    /// A dropped future sent either the whole message or nothing of it.
    pub async fn send(&mut self, message: &T) -> Result<(), Status> {
        let compressed = self.compressed;
        poll_fn(|cx| self.shared.lock().poll_send(message, compressed, cx)).await
    }
}

/// Sends what is buffered whenever the caller pauses, until the request has ended.
async fn pump(shared: SharedOutbound, dial: Dial) {
    let expiry = async {
        match dial.options.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let mut expiry = pin!(expiry);
    loop {
        poll_fn(|cx| {
            if shared.lock().poll_pump(cx).is_ready() {
                return Poll::Ready(());
            }
            expiry
                .as_mut()
                .poll(cx)
                .map(|()| shared.lock().cancel(expired()))
        })
        .await;
        if !matches!(shared.lock().answer, Answer::Begins) {
            return;
        }
        let opened = dial.open().await;
        shared.lock().begin_again(opened);
    }
}

impl<T> Drop for Requests<T> {
    fn drop(&mut self) {
        let mut outbound = self.shared.lock();
        if matches!(outbound.state, State::Open) {
            outbound.cancel(Status::cancelled("the request was dropped"));
            self.pump.0.abort();
        }
    }
}

impl<T> fmt::Debug for Requests<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
