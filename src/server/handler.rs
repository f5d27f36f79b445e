//! One call from its first header to its trailers, whatever the handler does.
//!
//! In: a routed stream. Out: its handler's parts, and a status on the wire in every case: it ended, it panicked, the
//! deadline passed, the client left, the server goes down.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use super::CallFuture;
use crate::call::{Call, Inbound, Phase, Sender, Shared, Streaming, expired};
use crate::codec::Codec;
use crate::status::Status;

/// A call that was routed and not yet run.
pub struct Rpc {
    shared: Arc<Shared>,
    inbound: Inbound,
}

/// Runs a handler and ends its call.
#[derive(Debug)]
pub struct Runner {
    shared: Arc<Shared>,
}

impl Rpc {
    pub(super) fn new(shared: Arc<Shared>, inbound: Inbound) -> Self {
        Self { shared, inbound }
    }

    /// The call's parts: what is known of it, both directions, and what runs its handler.
    pub fn open<Req: Codec, Res: Codec>(self) -> (Call, Streaming<Req>, Sender<Res>, Runner) {
        let Self { shared, inbound } = self;
        (
            Call::new(Arc::clone(&shared)),
            Streaming::new(inbound, Arc::clone(&shared)),
            Sender::new(Arc::clone(&shared)),
            Runner { shared },
        )
    }

    /// Ends the call with UNIMPLEMENTED.
    pub fn unimplemented(self) -> CallFuture {
        Box::pin(async move {
            let status = Status::unimplemented("the service does not have this method");
            self.shared.respond().end(Err(status));
        })
    }
}

impl Runner {
    /// Polls `handler` until it ends, the deadline passes or the client leaves; then flushes and sends the status.
    ///
    /// A handler that panics costs its own call, which ends with INTERNAL.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler and ends the call: with UNAVAILABLE when the server goes down, with
    /// CANCELLED otherwise.
    pub async fn run(self, handler: impl Future<Output = Result<(), Status>>) {
        let sleep = self.shared.facts().deadline.map(tokio::time::sleep_until);
        let mut deadline = pin!(sleep);
        let ended = {
            let mut handler = pin!(handler);
            poll_fn(|cx| self.poll_handler(handler.as_mut(), deadline.as_mut(), cx)).await
            // The handler is dropped here: what it holds is free before the client learns of the end.
        };
        let outcome = match ended {
            Ended::Handler(outcome) => {
                let flushed = poll_fn(|cx| {
                    let flushed = self.shared.respond().poll_flush(cx);
                    if flushed.is_pending() && poll_deadline(deadline.as_mut(), cx).is_ready() {
                        return Poll::Ready(Err(expired()));
                    }
                    flushed
                });
                flushed.await.and(outcome)
            }
            // What was not sent yet is of no use to the client any more.
            Ended::CutOff(status) => Err(status),
        };
        self.shared.respond().end(outcome);
    }

    fn poll_handler(
        &self,
        handler: Pin<&mut impl Future<Output = Result<(), Status>>>,
        deadline: Pin<&mut Option<Sleep>>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended> {
        match catch_unwind(AssertUnwindSafe(|| handler.poll(cx))) {
            Ok(Poll::Ready(outcome)) => return Poll::Ready(Ended::Handler(outcome)),
            Ok(Poll::Pending) => {}
            Err(_) => {
                let status = Status::internal("the handler panicked");
                return Poll::Ready(Ended::Handler(Err(status)));
            }
        }
        if poll_deadline(deadline, cx).is_ready() {
            return Poll::Ready(Ended::CutOff(expired()));
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
}

/// Why a handler is not polled any more.
enum Ended {
    /// By itself.
    Handler(Result<(), Status>),
    /// By the deadline or the client.
    CutOff(Status),
}

fn poll_deadline(deadline: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    match deadline.as_pin_mut() {
        Some(sleep) => sleep.poll(cx),
        None => Poll::Pending,
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Without effect when the call has ended, as it usually has.
        let mut respond = self.shared.respond();
        if !respond.is_closed() {
            let ending = *self.shared.facts().phase.borrow() >= Phase::Ending;
            respond.end(Err(match ending {
                true => Status::unavailable("the server is shutting down"),
                false => Status::cancelled("the call was dropped"),
            }));
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
