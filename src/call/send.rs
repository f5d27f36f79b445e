//! The sending half of a call as its handler sees it.
//!
//! In: messages. Out: frames in the response's buffer. `send` never asks h2 to wake its task: the task that drives
//! the call does, and it flushes when the handler pauses. So small messages coalesce while the handler keeps
//! producing, and leave at once when it does not; no timer.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Shared;
use super::respond::Lent;
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
    /// CANCELLED when the client has left, and when the call has ended without this sender.
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
    /// `fill` is asked only when there is room for what it fills. [`Call::compress`](super::Call::compress) in it counts from the next
    /// DATA frame, and [`Call::set_encoding`](super::Call::set_encoding) fails.
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
                let filled = {
                    let mut loan = Loan {
                        lent: ready!(self.shared.respond().poll_lend(cx))?,
                        shared: &self.shared,
                        cx,
                    };
                    loan.lent.fill(message, &mut fill)
                };
                let more = matches!(filled, Ok(true));
                self.shared.respond().returned(filled.map(drop), cx)?;
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

/// Gives back what is lent, also when `fill` panics: messages before are in it.
struct Loan<'a, 'cx> {
    lent: Lent,
    shared: &'a Shared,
    cx: &'a Context<'cx>,
}

impl Drop for Loan<'_, '_> {
    fn drop(&mut self) {
        self.shared.respond().give_back(&mut self.lent, self.cx);
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
