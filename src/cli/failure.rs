//! Why a command did not succeed, and the exit code of that.
//!
//! In: statuses, errors, signals. Out: a line on stderr, an exit code.

use std::fmt::Display;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use super::signals::Stop;
use crate::status::Status;

/// A failed call exits with this and its code: above what shells and clap use, as sysexits.h begins here too.
const CALL_EXIT_CODE: u8 = 64;

/// As clap exits when a single argument makes no sense.
const USAGE_EXIT_CODE: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A call ended with a status; what the user can do then.
    Call(Status, Option<String>),
    /// A signal came; what the user can do then.
    Stopped(Stop, Option<String>),
    /// Whoever read stdout wants no more: no failure at all.
    ClosedPipe,
    /// The arguments make no sense together.
    Usage(String),
    /// Anything else.
    Other(String),
}

impl Failure {
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// An error of the file or pipe that `what` names.
    pub(super) fn io(what: impl Display, error: &io::Error) -> Self {
        Self::Other(format!("{what}: {error}"))
    }

    /// Adds what the user can do.
    pub(super) fn hint(self, hint: Option<String>) -> Self {
        match self {
            Self::Call(status, _) => Self::Call(status, hint),
            Self::Stopped(stop, _) => Self::Stopped(stop, hint),
            Self::ClosedPipe | Self::Usage(_) | Self::Other(_) => self,
        }
    }

    /// Says it on stderr.
    pub(super) fn report(&self) -> ExitCode {
        let (text, hint) = match self {
            Self::Call(status, hint) => (status.to_string(), hint.as_ref()),
            Self::Stopped(stop, hint) => (format!("stopped by {stop}"), hint.as_ref()),
            Self::ClosedPipe => return ExitCode::SUCCESS,
            Self::Usage(text) | Self::Other(text) => (text.clone(), None),
        };
        say(format_args!("error: {text}"));
        if let Some(hint) = hint {
            say(format_args!("{hint}"));
        }
        self.exit_code()
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Call(status, _) => ExitCode::from(CALL_EXIT_CODE + status.code().number()),
            Self::Stopped(stop, _) => stop.exit_code(),
            Self::ClosedPipe => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(USAGE_EXIT_CODE),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(status, None)
    }
}

/// Writes a line to stderr. `eprintln!` would panic when nobody reads it.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
