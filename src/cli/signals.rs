//! SIGINT and SIGTERM: the first one drains a server, the second one ends it at once.
//!
//! In: signals. Out: which one, and the exit code that says so. Not here: what a drain is.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Failure, say};
use crate::server::Drained;

/// The signals that end a command. While it lives they do not end the process by themselves.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// A signal to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager.
    Terminate,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::io("cannot listen for signals", &error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// Dropping the future loses no signal.
    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Stop::Interrupt,
            Some(()) = self.terminate.recv() => Stop::Terminate,
            // Neither stream ends in a running process.
            else => std::future::pending().await,
        }
    }
}

impl Stop {
    /// 128 and the signal's number, as shells say it.
    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        })
    }
}

/// Runs a server: until a signal, and then until it has drained, which `drain` begins.
///
/// # Errors
/// The second signal, which does not wait for the end.
pub(super) async fn until_drained<T>(
    signals: &mut Signals,
    served: impl Future<Output = T>,
    drain: impl FnOnce(),
) -> Result<T, Failure> {
    let mut served = pin!(served);
    tokio::select! {
        biased;
        stop = signals.next() => {
            say(format_args!("{stop}: draining; once more to end at once"));
            drain();
        }
        // By itself it ends only when it could not begin.
        ended = &mut served => return Ok(ended),
    }
    tokio::select! {
        biased;
        stop = signals.next() => Err(Failure::Stopped(stop, None)),
        ended = &mut served => Ok(ended),
    }
}

/// A drain that had to cut calls is no success.
pub(super) fn exit_code(drained: Drained) -> ExitCode {
    match drained {
        Drained::Clean => ExitCode::SUCCESS,
        Drained::Cut => {
            say("error: calls were still in flight at the drain limit, and were cut");
            ExitCode::FAILURE
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}
