//! The sending half of a call as its handler sees it.
//!
//! In: messages. Out: frames in the response's buffer. `send` never asks h2 to wake its task: the task that drives
//! the call does, and it flushes when the handler pauses. So small messages coalesce while the handler keeps
//! producing, and leave at once when it does not; no timer.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Poll, ready};

use super::Shared;
use crate::codec::Codec;
use crate::status::Status;

/// Sends the messages of a response.
pub struct Sender<T> {
    shared: Arc<Shared>,
    message: PhantomData<fn(&T)>,
}

impl<T: Codec> Sender<T> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            message: PhantomData,
        }
    }

    /// Sends one message; waits while the client or the network is slow.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED over the send limit: the call ends with it, and what was sent before still arrives.
    /// CANCELLED when the client has left, and when the handler has ended without this sender.
    ///
    /// # Cancel safety
    /// A dropped future sent either the whole message or nothing of it.
    #[inline]
    pub fn send(&mut self, message: &T) -> impl Future<Output = Result<(), Status>> {
        poll_fn(|cx| self.shared.respond().poll_send(message, cx))
    }

    /// Sends one message after another, each of them in `message`, until `fill` returns false instead of filling it; waits as
    /// [`Sender::send`] does. For what is at hand already, such as a page of rows: less CPU than to send each.
    ///
    /// `fill` is asked only when there is room for what it fills. The end of a call waits for it until a DATA frame is full.
    /// [`Call::compress`](super::Call::compress) in it counts from the next DATA frame, and
    /// [`Call::set_encoding`](super::Call::set_encoding) fails.
    ///
    /// # Errors
    /// As [`Sender::send`], for the messages from the one on that is over the limit, or that the call did not live to send.
    ///
    /// # Cancel safety
    /// A dropped future sent whatever `fill` has filled, and nothing of what it would have.
    pub fn send_while(
        &mut self,
        message: &mut T,
        mut fill: impl FnMut(&mut T) -> bool,
    ) -> impl Future<Output = Result<(), Status>> {
        poll_fn(move |cx| {
            loop {
                let mut lent = ready!(self.shared.respond().poll_lend(cx))?;
                let filled = AssertUnwindSafe(|| lent.fill(message, &mut fill));
                let (filled, panic) = match catch_unwind(filled) {
                    Ok(filled) => (filled, None),
                    // What was filled before is sent.
                    Err(panic) => (Ok(false), Some(panic)),
                };
                let more = matches!(filled, Ok(true));
                let returned = self.shared.respond().returned(lent, filled.map(drop), cx);
                if let Some(panic) = panic {
                    resume_unwind(panic);
                }
                returned?;
                if !more {
                    return Poll::Ready(Ok(()));
                }
            }
        })
    }

    /// As [`Call::compress`](super::Call::compress).
    pub fn compress(&mut self, compression: Compression) {
        self.shared.respond().compress(compression);
    }
}

/// Whether a message is compressed with the encoding of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// With the stream's encoding; identity when there is none.
    #[default]
    On,
    /// Never.
    Off,
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("shared", &self.shared)
            .finish()
    }
}
