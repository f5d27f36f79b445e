//! One call from its first header to its trailers, whatever the handler does.
//!
//! In: a routed stream. Out: its handler's parts, and a status on the wire in every case: it ended, it panicked, the
//! deadline passed, the client left or stalled, the server goes down.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::CallFuture;
use super::timer::CallTimer;
use crate::call::{Call, Inbound, Sender, Shared, Streaming, expired};
use crate::codec::Codec;
use crate::status::Status;

/// A call that was routed and not yet run.
pub struct Rpc {
    shared: Arc<Shared>,
    inbound: Inbound,
    stall_timeout: Duration,
}

/// Runs a handler and ends its call.
#[derive(Debug)]
pub struct Runner {
    shared: Arc<Shared>,
    stall_timeout: Duration,
}

impl Rpc {
    pub(super) fn new(shared: Arc<Shared>, inbound: Inbound, stall_timeout: Duration) -> Self {
        Self {
            shared,
            inbound,
            stall_timeout,
        }
    }

    /// The call's parts: what is known of it, both directions, and what runs its handler.
    pub fn open<Req: Codec, Res: Codec>(self) -> (Call, Streaming<Req>, Sender<Res>, Runner) {
        let Self {
            shared,
            inbound,
            stall_timeout,
        } = self;
        (
            Call::new(Arc::clone(&shared)),
            Streaming::new(inbound, Arc::clone(&shared)),
            Sender::new(Arc::clone(&shared)),
            Runner {
                shared,
                stall_timeout,
            },
        )
    }

    /// Ends the call with UNIMPLEMENTED.
    pub fn unimplemented(self) -> CallFuture {
        Box::pin(async move {
            let status = Status::unimplemented("the service does not have this method");
            self.shared.end(Err(status));
        })
    }
}

impl Runner {
    /// Polls `handler` until it ends, the deadline passes, the client leaves or stalls; then flushes and sends the status.
    ///
    /// A handler that panics costs its own call, which ends with INTERNAL.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler and ends the call: with UNAVAILABLE when the server goes down or ends the
    /// connection, with CANCELLED otherwise.
    pub fn run<H>(self, handler: H) -> impl Future<Output = ()>
    where
        H: Future<Output = Result<(), Status>>,
    {
        Running {
            handler: Some(handler),
            ended: Ended::Handler(Ok(())),
            timer: CallTimer::new(self.shared.facts().deadline, self.stall_timeout),
            runner: self,
        }
    }

    fn poll_handler(
        &self,
        handler: Pin<&mut impl Future<Output = Result<(), Status>>>,
        timer: Pin<&mut CallTimer>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended> {
        self.shared.respond().driver().polls(cx);
        match catch_unwind(AssertUnwindSafe(|| handler.poll(cx))) {
            Ok(Poll::Ready(outcome)) => return Poll::Ready(Ended::Handler(outcome)),
            Ok(Poll::Pending) => {}
            Err(panic) => {
                let_go(panic);
                return Poll::Ready(Ended::panicked());
            }
        }
        if let Poll::Ready(status) = self.poll_timer(timer, cx) {
            return Poll::Ready(Ended::CutOff(status));
        }
        // The handler pauses: what it has sent leaves now.
        let mut respond = self.shared.respond();
        respond.poll_drive(cx).map(|status| {
            match respond.failed() {
                // What was sent before a message over the limit still arrives.
                true => Ended::Handler(Err(status)),
                false => Ended::CutOff(status),
            }
        })
    }

    /// Pending until everything that was sent is h2's, an error when the client leaves or there is no time left.
    fn poll_flush(
        &self,
        timer: Pin<&mut CallTimer>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Status>> {
        let flushed = self.shared.respond().poll_flush(cx);
        match flushed.is_pending() {
            true => self.poll_timer(timer, cx).map(Err),
            false => flushed,
        }
    }

    fn poll_timer(&self, timer: Pin<&mut CallTimer>, cx: &mut Context<'_>) -> Poll<Status> {
        timer.poll(|| self.shared.turn(), cx)
    }
}

pin_project! {
    // By hand: an async function would have room for the handler twice, as its argument and where it is polled.
    // Dropped in this order.
    struct Running<H> {
        #[pin]
        handler: Option<H>,
        // How it has ended, once there is none.
        ended: Ended,
        #[pin]
        timer: CallTimer,
        runner: Runner,
    }

    impl<H> PinnedDrop for Running<H> {
        fn drop(this: Pin<&mut Self>) {
            // The connection drops its calls and goes on; `Runner` says how this one ended.
            let _ = drop_handler(this.project().handler);
        }
    }
}

/// False when it panicked.
fn drop_handler<H>(mut handler: Pin<&mut Option<H>>) -> bool {
    let dropped = catch_unwind(AssertUnwindSafe(|| handler.set(None)));
    dropped.map_err(let_go).is_ok()
}

/// Drops what a handler has panicked with. That may panic too; what it panics with is not dropped, there would be no end to it.
fn let_go(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        Box::leak(again);
    }
}

impl<H: Future<Output = Result<(), Status>>> Future for Running<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let runner = this.runner;
        if let Some(handler) = this.handler.as_mut().as_pin_mut() {
            // Such as `0n`, or a call that has waited for others: nobody waits for what the handler would do.
            *this.ended = match this.timer.is_late_to_begin() {
                true => Ended::CutOff(expired()),
                false => ready!(runner.poll_handler(handler, this.timer.as_mut(), cx)),
            };
            // What it holds is free before the client learns of the end.
            if !drop_handler(this.handler) {
                *this.ended = Ended::panicked();
            }
        }
        let outcome = match this.ended {
            Ended::Handler(outcome) => {
                let flushed = ready!(runner.poll_flush(this.timer, cx));
                flushed.and(mem::replace(outcome, Ok(())))
            }
            // What was not sent yet is of no use to the client any more.
            Ended::CutOff(status) => Err(status.clone()),
        };
        runner.shared.end(outcome);
        Poll::Ready(())
    }
}

/// Why a handler is not polled any more.
enum Ended {
    /// By itself.
    Handler(Result<(), Status>),
    /// By its time or the client.
    CutOff(Status),
}

impl Ended {
    fn panicked() -> Self {
        Self::Handler(Err(Status::internal("the handler panicked")))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Usually it has ended.
        if !self.shared.respond().is_closed() {
            self.shared.end(Err(self.shared.facts().link.cut_off()));
        }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
