//! Room for unfinished messages, shared by all calls of a server.
//!
//! In: how much a call holds of a message that has not arrived whole. Out: whether there is room. What is held has really
//! arrived; but a client with many calls can send of each message all but the last byte, and the receive limit bounds
//! one message only.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metadata::Metadata;
use crate::status::Status;

/// What a call may hold without asking, and how much it asks for at a time. 64 KiB: most messages never come to it, and
/// of what a call may hold in its window it is a quarter.
pub(crate) const FREE_BYTES: usize = 64 * 1024;

/// When a client may try again what there was no room for. One second: room comes free all the time.
pub(crate) const PUSHBACK: Duration = Duration::from_secs(1);

/// The room of a server.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// What one call has taken of it; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Room,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// For one call.
    pub(crate) fn take(&self) -> Taken {
        Taken {
            room: self.clone(),
            permit: None,
        }
    }
}

impl Taken {
    /// Takes what is missing, so that there is room for `bytes`. Gives back only when none is needed: a call that has held a
    /// large message is likely to hold another.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when the other calls have it.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Status> {
        if bytes <= FREE_BYTES {
            self.permit = None;
            return Ok(());
        }
        let taken = self
            .permit
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.next_multiple_of(FREE_BYTES) - FREE_BYTES;
        let more = u32::try_from(wanted.saturating_sub(taken)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let permit = Arc::clone(&self.room.0).try_acquire_many_owned(more);
        let permit = permit.map_err(|_| {
            Status::resource_exhausted("the server holds as many unfinished messages as it takes")
                .with_metadata(Metadata::pushback(PUSHBACK))
        })?;
        match &mut self.permit {
            Some(taken) => taken.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    #[test]
    fn calls_share_the_room_and_give_it_back() {
        let room = Room::new(4 * FREE_BYTES);
        let (mut one, mut other) = (room.take(), room.take());
        for bytes in [0, 1, FREE_BYTES, FREE_BYTES + 1, 4 * FREE_BYTES] {
            one.resize(bytes).expect("there is room");
        }
        other.resize(2 * FREE_BYTES).expect("the last of it");
        let full = other.resize(2 * FREE_BYTES + 1).expect_err("no room");
        assert_eq!(full.code(), Code::ResourceExhausted);
        one.resize(5 * FREE_BYTES).expect_err("no room");

        one.resize(0).expect("less");
        other
            .resize(4 * FREE_BYTES)
            .expect("what the first gave back");
        drop(other);
        one.resize(5 * FREE_BYTES)
            .expect("all of it, and what is free");
    }
}
