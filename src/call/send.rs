//! The sending half of a call as its handler sees it.
//!
//! In: messages. Out: frames in the response's buffer. `send` never asks h2 to wake its task: the task that drives
//! the call does, and it flushes when the handler pauses. So small messages coalesce while the handler keeps
//! producing, and leave at once when it does not; no timer.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;

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
    /// CANCELLED when the client has left, and when the call has ended without this sender.
    ///
    /// # Cancel safety
    /// A dropped future sent either the whole message or nothing of it.
    #[inline]
    pub fn send(&mut self, message: &T) -> impl Future<Output = Result<(), Status>> {
        poll_fn(|cx| self.shared.respond().poll_send(message, cx))
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
