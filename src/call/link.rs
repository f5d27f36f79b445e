//! A connection, as its calls know it.
//!
//! In: how the connection fares. Out: why a call that is cut off ends, and when the place of a call that has ended is free:
//! h2 keeps what it sent last until the client takes it, which may be never.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::{Phase, Watched};
use crate::status::Status;

/// What the calls of a connection share.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Option<SocketAddr>,
    /// How far the server is in going down.
    pub(crate) phase: Watched<Phase>,
    /// Whether this connection's own time is over.
    pub(crate) expired: AtomicBool,
    /// What h2 holds of one call, at most: its messages, headers and trailers.
    call_bytes: u64,
    /// What the socket has taken so far.
    written: AtomicU64,
    leaving: Mutex<VecDeque<Leaving>>,
}

/// A call that has ended and whose last bytes may not have left.
#[derive(Debug)]
struct Leaving {
    _place: OwnedSemaphorePermit,
    /// Once the socket has taken so many bytes, those of the call are among them.
    out_at: u64,
}

impl Link {
    pub(crate) fn new(
        peer: Option<SocketAddr>,
        phase: Watched<Phase>,
        max_send_buffer_bytes: usize,
    ) -> Self {
        Self {
            peer,
            phase,
            expired: AtomicBool::new(false),
            call_bytes: 2 * max_send_buffer_bytes as u64,
            written: AtomicU64::new(0),
            leaving: Mutex::new(VecDeque::new()),
        }
    }

    /// The status of a call that is cut off now.
    pub(crate) fn cut_off(&self) -> Status {
        match (self.phase.get(), self.expired.load(Ordering::Relaxed)) {
            (Phase::Ending, _) => Status::unavailable("the server is shutting down"),
            (_, true) => Status::unavailable("the connection has reached its age"),
            (_, false) => Status::cancelled("the call was dropped"),
        }
    }

    /// A call has ended: its place is free when its last bytes have left.
    pub(super) fn leave(self: &Arc<Self>, place: OwnedSemaphorePermit) {
        let mut leaving = self.leaving();
        // h2 sends a frame of each stream in turn, so nothing of this call comes behind as much as all may have there. Each
        // call that is under way holds the link.
        let before = (Arc::strong_count(self) + leaving.len() + 1) as u64;
        let out_at = self.written.load(Ordering::Relaxed) + before * self.call_bytes;
        leaving.push_back(Leaving {
            _place: place,
            out_at,
        });
    }

    /// The socket has taken `written` bytes by now, and whether these are `all` there were.
    pub(crate) fn wrote(&self, written: u64, all: bool) {
        self.written.store(written, Ordering::Relaxed);
        let mut leaving = self.leaving();
        match all {
            true => leaving.clear(),
            false => {
                while leaving.front().is_some_and(|call| call.out_at <= written) {
                    leaving.pop_front();
                }
            }
        }
    }

    fn leaving(&self) -> MutexGuard<'_, VecDeque<Leaving>> {
        // Nothing that could panic runs under the lock.
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    const BUFFER: usize = 1000;

    #[test]
    fn the_place_of_a_call_is_free_when_its_last_bytes_have_left() {
        let places = Arc::new(Semaphore::new(10));
        let take = || Arc::clone(&places).try_acquire_owned().expect("free");
        let link = Arc::new(Link::new(None, Watched::new(Phase::Serving), BUFFER));
        let under_way = Arc::clone(&link);
        link.leave(take());
        link.leave(take());
        assert_eq!(places.available_permits(), 8);
        // Two that hold the link and the call itself, then one more.
        let (first, second) = (3 * 2 * BUFFER as u64, 4 * 2 * BUFFER as u64);
        link.wrote(first - 1, false);
        assert_eq!(places.available_permits(), 8);
        link.wrote(first, false);
        assert_eq!(places.available_permits(), 9);
        link.wrote(second, false);
        assert_eq!(places.available_permits(), 10);

        link.leave(take());
        link.wrote(second, true);
        assert_eq!(places.available_permits(), 10);
        link.leave(take());
        drop((link, under_way));
        assert_eq!(places.available_permits(), 10);
    }
}
