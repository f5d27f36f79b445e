//! How much of a thread's time goes into messages that come compressed: a few bytes of them may be much work, and others wait.
//!
//! In: messages that are to be unfolded, and how large they were. Out: when the next may be. The queue of a runtime is fair to
//! tasks and not to connections: of a thousand calls that are ready each would unfold its message before anybody else's turn.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// What a thread unfolds before it looks at everything else that is ready. 64 KiB, and the message that goes over it: half a
/// millisecond of the smallest fields; of the largest message that a default server takes, 25.
const ROUND_BYTES: usize = 64 * 1024;

/// What a message counts at least. 4 KiB take about as long as preparing to unfold.
const LEAST_BYTES: usize = 4 * 1024;

thread_local! {
    /// The right to unfold on this thread. Those who wait for it get it in the order in which they came.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    /// What was unfolded in this round.
    static UNFOLDED: Cell<usize> = const { Cell::new(0) };
}

/// The right to unfold one message.
#[derive(Debug)]
pub(super) struct Pace {
    _turn: OwnedSemaphorePermit,
}

impl Pace {
    /// Waits for it.
    ///
    /// # Cancel safety
    /// Dropping the future gives up its place among those who wait.
    pub(super) async fn wait() -> Self {
        let turn = TURN.with(Arc::clone).acquire_owned().await;
        Self {
            _turn: turn.expect("it is never closed"),
        }
    }

    /// So many bytes were unfolded. From [`ROUND_BYTES`] on everything that is ready now has its turn before the next.
    pub(super) fn unfolded(self, bytes: usize) {
        let unfolded = UNFOLDED.get().saturating_add(bytes.max(LEAST_BYTES));
        if unfolded < ROUND_BYTES {
            UNFOLDED.set(unfolded);
            return;
        }
        UNFOLDED.set(0);
        // It stands in the queue behind all of it, and lets the runtime look for I/O as well.
        tokio::spawn(async move {
            yield_now().await;
            drop(self);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::JoinSet;

    use super::*;

    /// Unfolds `bytes` three times, and writes `name` down each time.
    async fn unfold(name: char, bytes: usize, seen: Arc<Mutex<String>>) {
        for _ in 0..3 {
            let pace = Pace::wait().await;
            seen.lock().expect("no panic").push(name);
            pace.unfolded(bytes);
        }
    }

    async fn seen(bytes: usize) -> String {
        let seen = Arc::new(Mutex::new(String::new()));
        let mut tasks = JoinSet::new();
        for name in ['a', 'b'] {
            tasks.spawn(unfold(name, bytes, Arc::clone(&seen)));
        }
        let other = Arc::clone(&seen);
        tasks.spawn(async move {
            for _ in 0..2 {
                other.lock().expect("no panic").push('.');
                yield_now().await;
            }
        });
        tasks.join_all().await;
        UNFOLDED.set(0);
        let seen = seen.lock().expect("no panic");
        seen.clone()
    }

    #[tokio::test]
    async fn those_who_unfold_much_do_it_by_turns_and_others_have_theirs_between() {
        assert_eq!(seen(ROUND_BYTES).await, "a..ababb");
    }

    #[tokio::test]
    async fn those_who_unfold_little_do_not_wait() {
        assert_eq!(seen(ROUND_BYTES / 7).await, "aaabbb..");
    }

    #[tokio::test]
    async fn who_unfolds_much_in_little_pieces_waits_as_well() {
        for _ in 0..ROUND_BYTES / LEAST_BYTES - 1 {
            Pace::wait().await.unfolded(1);
        }
        assert_eq!(TURN.with(|turn| turn.available_permits()), 1);
        Pace::wait().await.unfolded(1);
        assert_eq!(TURN.with(|turn| turn.available_permits()), 0);
        drop(Pace::wait().await);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_keeps_nobody_from_it() {
        let first = Pace::wait().await;
        let mut waiting = JoinSet::new();
        waiting.spawn(async { drop(Pace::wait().await) });
        yield_now().await;
        waiting.shutdown().await;
        drop(first);
        drop(Pace::wait().await);
        assert_eq!(TURN.with(|turn| turn.available_permits()), 1);
    }
}
