//! The calls of one connection, and who polls them.
//!
//! In: the futures of calls. Out: when they have ended. Every call is polled first by the connection's own task, once
//! everything that came has been read: a unary call usually ends there. What does not end becomes a task on a
//! current-thread runtime, where tasks are cheap and local; on a multi-thread runtime, where a task would wander between
//! threads, the connection goes on polling it. docs/decisions/0002 has the figures.

use std::mem;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinSet;

use super::CallFuture;

/// Owns the calls: dropping it, or [`Calls::clear`], drops them.
pub(super) struct Calls {
    /// Not polled yet.
    fresh: Vec<CallFuture>,
    waiting: Waiting,
}

/// The calls that did not end at once.
enum Waiting {
    Tasks(JoinSet<()>),
    Inline(FuturesUnordered<CallFuture>),
}

impl Calls {
    /// No calls yet, on the runtime of the calling task.
    pub(super) fn new() -> Self {
        let waiting = match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => Waiting::Tasks(JoinSet::new()),
            _ => Waiting::Inline(FuturesUnordered::new()),
        };
        Self {
            fresh: Vec::new(),
            waiting,
        }
    }

    pub(super) fn extend(&mut self, calls: impl IntoIterator<Item = CallFuture>) {
        self.fresh.extend(calls);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty()
            && match &self.waiting {
                Waiting::Tasks(tasks) => tasks.is_empty(),
                Waiting::Inline(calls) => calls.is_empty(),
            }
    }

    pub(super) fn clear(&mut self) {
        self.fresh.clear();
        match &mut self.waiting {
            // Each is dropped as soon as the runtime comes to it.
            Waiting::Tasks(tasks) => tasks.abort_all(),
            Waiting::Inline(calls) => calls.clear(),
        }
    }

    /// Ready when a call has ended, so that there may be something to write.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ended = false;
        let mut fresh = mem::take(&mut self.fresh);
        for mut call in fresh.drain(..) {
            match call.as_mut().poll(cx) {
                Poll::Ready(()) => ended = true,
                Poll::Pending => self.waiting.push(call),
            }
        }
        // Its allocation serves the next calls.
        self.fresh = fresh;
        if self.waiting.poll_ended(cx).is_ready() || ended {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Waiting {
    fn push(&mut self, call: CallFuture) {
        match self {
            // The task is polled at once, which asks for the wake-ups anew.
            Self::Tasks(tasks) => drop(tasks.spawn(call)),
            Self::Inline(calls) => calls.push(call),
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match self {
            Self::Tasks(tasks) => tasks.poll_join_next(cx).map(|ended| ended.map(drop)),
            Self::Inline(calls) => calls.poll_next_unpin(cx),
        };
        match ended {
            Poll::Ready(Some(())) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
