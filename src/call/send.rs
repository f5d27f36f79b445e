//! The sending half of a call: messages → frames, coalesced → capacity → h2 DATA, and trailers at the end.
//!
//! `send` only fills a buffer and hands h2 what it has room for at once. The task that drives the call polls h2:
//! it alone waits for capacity and for a reset, and it flushes when the handler pauses, so small messages
//! coalesce while the handler keeps producing and leave at once when it does not. No timer.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::SendStream;
use h2::server::SendResponse;

use crate::codec::frame::encode_frame;
use crate::codec::{Codec, Encoding, MessageLimits};
use crate::metadata::Metadata;
use crate::protocol::{ContentType, ResponseHead, trailers_only};
use crate::status::{Status, wire};

/// How much is gathered before h2 is asked to send: one DATA frame of the default largest size.
const COALESCE_BYTES: usize = 16 * 1024;

/// Sends the messages of a response.
#[derive(Debug)]
pub struct Sender<T> {
    outgoing: SharedOutgoing,
    limits: MessageLimits,
    message: PhantomData<fn(&T)>,
}

impl<T: Codec> Sender<T> {
    pub(crate) fn new(outgoing: SharedOutgoing, limits: MessageLimits) -> Self {
        Self {
            outgoing,
            limits,
            message: PhantomData,
        }
    }

    /// Sends one message; waits while the client or the network is slow.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED over the send limit; what was sent before still arrives. CANCELLED when the client has
    /// left.
    ///
    /// # Cancel safety
    /// A dropped future sent either the whole message or nothing of it.
    pub async fn send(&mut self, message: &T) -> Result<(), Status> {
        poll_fn(|cx| self.outgoing.lock().poll_room(cx)).await?;
        let mut outgoing = self.outgoing.lock();
        let encoding = outgoing.encoding;
        encode_frame(message, encoding, self.limits, &mut outgoing.buffer)?;
        outgoing.open()?;
        if outgoing.buffer.len() >= COALESCE_BYTES {
            outgoing.push()?;
        }
        Ok(())
    }
}

/// What the handler's [`Sender`] and the task that drives the call share.
#[derive(Clone, Debug)]
pub(crate) struct SharedOutgoing(Arc<Mutex<Outgoing>>);

impl SharedOutgoing {
    pub(crate) fn new(outgoing: Outgoing) -> Self {
        Self(Arc::new(Mutex::new(outgoing)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Outgoing> {
        // Nothing that can leave the state half changed runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    state: State,
    content_type: ContentType,
    encoding: Encoding,
    buffer: BytesMut,
    /// The handler, waiting in `send` for room in the buffer.
    room: Option<Waker>,
}

/// Idle ──first message──▶ Open ──trailers──▶ Closed
///   └─────────────trailers-only──────────────▲
#[derive(Debug)]
enum State {
    Idle(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
    Closed,
}

impl Outgoing {
    pub(crate) fn new(respond: SendResponse<Bytes>, content_type: ContentType) -> Self {
        Self {
            state: State::Idle(respond),
            content_type,
            encoding: Encoding::Identity,
            buffer: BytesMut::new(),
            room: None,
        }
    }

    /// Drives the call: hands h2 what it takes and learns of a reset. Pending until one of these changes.
    ///
    /// Ready with an error when the client has left.
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        loop {
            if let Err(status) = self.push() {
                return Poll::Ready(status);
            }
            let reset = match &mut self.state {
                State::Idle(respond) => respond.poll_reset(cx),
                State::Open(stream) => stream.poll_reset(cx),
                State::Closed => return Poll::Pending,
            };
            match reset {
                Poll::Ready(Ok(reason)) => {
                    return Poll::Ready(super::status_of(&reason.into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(super::status_of(&error)),
                Poll::Pending => {}
            }
            let State::Open(stream) = &mut self.state else {
                return Poll::Pending;
            };
            if self.buffer.is_empty() || stream.poll_capacity(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Pending until everything buffered is h2's; an error when the client has left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match self.poll_drive(cx) {
            Poll::Ready(status) => Poll::Ready(Err(status)),
            Poll::Pending if self.buffer.is_empty() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ends the call: trailers, or one header block when nothing was sent before.
    pub(crate) fn end(
        &mut self,
        outcome: Result<(), &Status>,
        trailing: Metadata,
    ) -> Result<(), h2::Error> {
        let trailers = wire::to_trailers(outcome, trailing);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Idle(mut respond) => respond
                .send_response(trailers_only(self.content_type, trailers), true)
                .map(drop),
            State::Open(mut stream) => {
                // Capacity that is reserved and not used is taken from sibling streams.
                stream.reserve_capacity(0);
                stream.send_trailers(trailers)
            }
            State::Closed => Ok(()),
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if self.buffer.len() >= COALESCE_BYTES {
            self.push()?;
        }
        if self.buffer.len() >= COALESCE_BYTES {
            self.room = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the response's headers, once.
    fn open(&mut self) -> Result<(), Status> {
        let State::Idle(respond) = &mut self.state else {
            return Ok(());
        };
        let head = ResponseHead {
            encoding: self.encoding,
            metadata: Metadata::new(),
        };
        let stream = respond
            .send_response(head.into_response(self.content_type), false)
            .map_err(|error| super::status_of(&error))?;
        self.state = State::Open(stream);
        Ok(())
    }

    /// Hands h2 as much of the buffer as it has capacity for now; registers no waker.
    fn push(&mut self) -> Result<(), Status> {
        let State::Open(stream) = &mut self.state else {
            return Ok(());
        };
        while !self.buffer.is_empty() {
            stream.reserve_capacity(self.buffer.len());
            let ready = stream.capacity().min(self.buffer.len());
            if ready == 0 {
                return Ok(());
            }
            let data = self.buffer.split_to(ready).freeze();
            stream
                .send_data(data, false)
                .map_err(|error| super::status_of(&error))?;
        }
        if let Some(waker) = self.room.take() {
            waker.wake();
        }
        Ok(())
    }
}
