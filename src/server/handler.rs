//! One call from its first header to its trailers, whatever the handler does.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::call::{Inbound, Sender, SharedOutgoing, Streaming};
use crate::codec::{Codec, MessageLimits};
use crate::metadata::Metadata;
use crate::protocol::RequestHead;
use crate::status::Status;

/// A call that was routed and not yet run.
#[derive(Debug)]
pub struct Rpc {
    metadata: Metadata,
    timeout: Option<Duration>,
    inbound: Inbound,
    outgoing: SharedOutgoing,
    limits: MessageLimits,
}

/// Runs a handler and ends its call.
#[derive(Debug)]
pub struct Runner {
    timeout: Option<Duration>,
    outgoing: SharedOutgoing,
}

impl Rpc {
    pub(super) fn new(
        head: RequestHead,
        inbound: Inbound,
        outgoing: SharedOutgoing,
        limits: MessageLimits,
    ) -> Self {
        Self {
            metadata: head.metadata,
            timeout: head.timeout,
            inbound,
            outgoing,
            limits,
        }
    }

    /// The call's parts: its metadata, both directions, and what runs its handler.
    pub fn open<Req: Codec, Res: Codec>(self) -> (Metadata, Streaming<Req>, Sender<Res>, Runner) {
        let sender = Sender::new(self.outgoing.clone(), self.limits);
        let runner = Runner {
            timeout: self.timeout,
            outgoing: self.outgoing,
        };
        (self.metadata, Streaming::new(self.inbound), sender, runner)
    }
}

impl Runner {
    /// Polls `handler` until it ends, the deadline passes or the client leaves; then flushes and sends the status.
    ///
    /// A handler that panics costs its own call, which ends with INTERNAL.
    pub async fn run(self, handler: impl Future<Output = Result<(), Status>>) {
        let deadline = async {
            match self.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let mut deadline = pin!(deadline);
        // Ok: what the handler said. Err: the deadline or the client cut it off.
        let ended = {
            let mut handler = pin!(handler);
            poll_fn(|cx| {
                match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
                    Ok(Poll::Ready(outcome)) => return Poll::Ready(Ok(outcome)),
                    Ok(Poll::Pending) => {}
                    Err(_) => {
                        return Poll::Ready(Ok(Err(Status::internal("the handler panicked"))));
                    }
                }
                if deadline.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(expired()));
                }
                // The handler pauses: what it has sent leaves now.
                self.outgoing.lock().poll_drive(cx).map(Err)
            })
            .await
        };
        let outcome = match ended {
            Ok(outcome) => {
                let flushed = poll_fn(|cx| {
                    if deadline.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(expired()));
                    }
                    self.outgoing.lock().poll_flush(cx)
                });
                flushed.await.and(outcome)
            }
            // What was not sent yet is of no use to the client any more.
            Err(status) => Err(status),
        };
        // Fails only when the client has left.
        let _ = self
            .outgoing
            .lock()
            .end(outcome.as_ref().map(|&()| ()), Metadata::new());
    }
}

fn expired() -> Status {
    Status::deadline_exceeded("the deadline passed")
}
