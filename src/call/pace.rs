//! How much of a thread's time goes into messages that come compressed: a few bytes of them may be much work, and others wait.
//!
//! In: how large such messages were. Out: when the next may be unfolded. The queue of a runtime is fair to tasks and not to
//! connections: of a thousand calls that are ready each would unfold its message before anybody else's turn.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::yield_now;

/// What a thread unfolds before everything else that is ready has its turn. 256 KiB, and the message that goes over it: two
/// milliseconds of the smallest fields; of the largest message that a default server takes, 25, and 360 when it is blocks that
/// hold nothing.
const ROUND_BYTES: usize = 256 * 1024;

/// What a message counts at least. 4 KiB take about as long as preparing to unfold.
const LEAST_BYTES: usize = 4 * 1024;

/// Who came first, whatever the thread.
static TICKETS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static ROUNDS: Cell<Rounds> = const { Cell::new(Rounds::NONE) };
}

/// How far a thread is. A lap is how long the runtime's queue takes to come to everything that was ready: it ends when
/// somebody who waits is polled for the second time in it.
#[derive(Clone, Copy)]
struct Rounds {
    /// In this round.
    unfolded: usize,
    lap: u64,
    /// Who has waited longest of those that were polled in this lap.
    first: u64,
    /// The same of the lap before: it begins the next round. None who is not polled any more is in the way.
    next: u64,
}

impl Rounds {
    const NONE: Self = Self {
        unfolded: 0,
        lap: 0,
        first: u64::MAX,
        next: 0,
    };

    /// Whether who waits with `ticket`, and was polled last in the lap `seen`, has its turn.
    fn poll(&mut self, ticket: u64, seen: &mut Option<u64>) -> bool {
        if self.unfolded < ROUND_BYTES {
            return true;
        }
        if *seen == Some(self.lap) {
            self.lap = self.lap.wrapping_add(1);
            self.next = self.first;
            self.first = u64::MAX;
        }
        if ticket <= self.next {
            self.unfolded = 0;
            self.next = 0;
            return true;
        }
        *seen = Some(self.lap);
        self.first = self.first.min(ticket);
        false
    }
}

/// Waits until one more message may be unfolded on this thread. Nothing is held for whoever waits.
///
/// # Cancel safety
/// Dropping the future gives up its place among those who wait.
pub(super) async fn turn() {
    if ROUNDS.get().unfolded < ROUND_BYTES {
        return;
    }
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    let mut seen = None;
    loop {
        let mut rounds = ROUNDS.get();
        let turn = rounds.poll(ticket, &mut seen);
        ROUNDS.set(rounds);
        if turn {
            return;
        }
        // Behind all that is ready, and the runtime looks for I/O first.
        yield_now().await;
    }
}

/// So many bytes were unfolded on this thread, or read to find that there are none.
pub(super) fn unfolded(bytes: usize) {
    let mut rounds = ROUNDS.get();
    rounds.unfolded = rounds.unfolded.saturating_add(bytes.max(LEAST_BYTES));
    ROUNDS.set(rounds);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use tokio::task::JoinSet;

    use super::*;

    /// Unfolds `bytes` three times, and writes `name` down each time.
    async fn unfold(name: char, bytes: usize, seen: Arc<Mutex<String>>) {
        for _ in 0..3 {
            turn().await;
            seen.lock().expect("no panic").push(name);
            unfolded(bytes);
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
            for _ in 0..4 {
                other.lock().expect("no panic").push('.');
                yield_now().await;
            }
        });
        tasks.join_all().await;
        let seen = seen.lock().expect("no panic");
        seen.clone()
    }

    #[tokio::test]
    async fn those_who_unfold_much_do_it_by_turns_and_others_have_theirs_between() {
        assert_eq!(seen(ROUND_BYTES).await, "a..ab..abb");
    }

    #[tokio::test]
    async fn those_who_unfold_little_do_not_wait() {
        assert_eq!(seen(ROUND_BYTES / 7).await, "aaabbb....");
    }

    #[tokio::test]
    async fn who_unfolds_much_in_little_pieces_waits_as_well() {
        for _ in 0..ROUND_BYTES / LEAST_BYTES {
            assert_eq!(turn().now_or_never(), Some(()));
            unfolded(1);
        }
        assert_eq!(turn().now_or_never(), None);
    }

    #[tokio::test]
    async fn who_waits_and_is_not_polled_any_more_keeps_nobody_from_it() {
        unfolded(ROUND_BYTES);
        let mut held = pin!(turn());
        assert_eq!(held.as_mut().now_or_never(), None);
        turn().await;
        unfolded(ROUND_BYTES);
        turn().await;
        held.await;
    }
}
