//! The time of one call: its deadline, and how long its client may neither take nor give a byte.
//!
//! In: whose turn it is. Out: the status of a call whose time is over. h2 has no clock: it keeps a stream whose window
//! nobody opens for ever.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::lifetime::later;
use crate::call::{Turn, expired};
use crate::status::Status;

/// How often in a stall timeout a call is looked at. Four: a stall is found at most a quarter late, and a call that moves
/// pays for a timer each 15 s, not for one with each message.
const LOOKS: u32 = 4;

pin_project! {
    /// Costs nothing before the first time that the call waits.
    pub(super) struct CallTimer {
        deadline: Option<Instant>,
        stall_timeout: Duration,
        // What had moved when the call was looked at last, and how often it was found so.
        moved: u64,
        stalled: u32,
        // Whom the timer wakes.
        waker: Option<Waker>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl CallTimer {
    pub(super) fn new(deadline: Option<Instant>, stall_timeout: Duration) -> Self {
        Self {
            deadline,
            stall_timeout,
            moved: 0,
            stalled: 0,
            waker: None,
            sleep: None,
        }
    }

    /// Whether the deadline has passed before the call has done anything.
    pub(super) fn is_late_to_begin(&self) -> bool {
        self.sleep.is_none() && has_passed(self.deadline)
    }

    /// Pending while the call has time. `turn` is asked when it is looked at.
    #[inline]
    pub(super) fn poll(
        self: Pin<&mut Self>,
        turn: impl Fn() -> Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Status> {
        // A call is polled for each message: to ask the timer again is 5 % of answering one.
        match self.is_armed(cx) {
            true => Poll::Pending,
            false => self.poll_timer(turn, cx),
        }
    }

    /// Whether the timer runs, and wakes whoever polls now.
    fn is_armed(&self, cx: &Context<'_>) -> bool {
        let waker = self.waker.as_ref();
        waker.is_some_and(|waker| waker.will_wake(cx.waker()))
            && self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed())
    }

    #[inline(never)]
    fn poll_timer(
        self: Pin<&mut Self>,
        turn: impl Fn() -> Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Status> {
        let mut this = self.project();
        if this.sleep.is_none() {
            let first = next(*this.deadline, *this.stall_timeout);
            this.sleep.set(Some(sleep_until(first)));
        }
        *this.waker = Some(cx.waker().clone());
        loop {
            let Some(mut sleep) = this.sleep.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            // Unconstrained: a poll that is only put off would not have armed it.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if has_passed(*this.deadline) {
                return Poll::Ready(expired());
            }
            let turn = turn();
            *this.stalled = match turn.clients && turn.moved == *this.moved {
                true => *this.stalled + 1,
                false => 0,
            };
            *this.moved = turn.moved;
            if *this.stalled == LOOKS {
                return Poll::Ready(stalled(*this.stall_timeout));
            }
            sleep.reset(next(*this.deadline, *this.stall_timeout));
        }
    }
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// When to look next.
fn next(deadline: Option<Instant>, stall_timeout: Duration) -> Instant {
    let look = later(Instant::now(), stall_timeout / LOOKS);
    deadline.map_or(look, |deadline| deadline.min(look))
}

fn stalled(timeout: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "the client neither took nor sent a byte for {timeout:?}"
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use super::*;
    use crate::status::Code;

    const STALL: Duration = Duration::from_secs(60);

    /// Polls until the time of a call is over whose turn is what `turn` says after so many looks.
    async fn over(deadline: Option<Duration>, turn: impl Fn(u64) -> Turn) -> (Status, Duration) {
        let begun = Instant::now();
        let mut timer = pin!(CallTimer::new(deadline.map(|after| begun + after), STALL));
        let looks = Cell::new(0);
        let turn = || {
            looks.set(looks.get() + 1);
            turn(looks.get())
        };
        let status = poll_fn(|cx| timer.as_mut().poll(turn, cx)).await;
        (status, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_nothing_has_the_stall_timeout() {
        let (status, after) = over(None, |_| Turn {
            clients: true,
            moved: 0,
        })
        .await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(
            status.message(),
            "the client neither took nor sent a byte for 60s"
        );
        assert_eq!(after, STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_in_each_look_is_enough_until_there_is_none() {
        let (_, after) = over(None, |look| Turn {
            clients: true,
            moved: look.min(100),
        })
        .await;
        assert_eq!(after, 100 * STALL / LOOKS + STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_takes_its_time_is_not_the_clients_fault() {
        let day = Duration::from_secs(86_400);
        let (status, after) = over(Some(day), |_| Turn {
            clients: false,
            moved: 0,
        })
        .await;
        assert_eq!(status.message(), expired().message());
        assert_eq!(after, day);
    }

    #[tokio::test(start_paused = true)]
    async fn the_turns_of_the_client_are_not_added_up() {
        // Three looks at a waiting call, then one at a handler that is busy, again and again.
        let day = Duration::from_secs(86_400);
        let turn = |look| Turn {
            clients: look % 4 != 0,
            moved: 7,
        };
        let (status, after) = over(Some(day), turn).await;
        assert_eq!(status.message(), expired().message());
        assert_eq!(after, day);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_kept_to_the_moment() {
        let deadline = Duration::from_millis(37);
        let (status, after) = over(Some(deadline), |_| Turn {
            clients: true,
            moved: 0,
        })
        .await;
        assert_eq!(status.message(), expired().message());
        assert_eq!(after, deadline);
    }
}
