//! Under HTTP/2: sockets, and how they are read and written. Shared by both roles.

mod allowance;
mod guard;
mod in_process;
mod io;
mod listener;
pub(crate) mod tcp;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use self::guard::{Guarded, Violation};
pub use self::in_process::{InProcess, InProcessListener, in_process};
pub(crate) use self::io::{Flush, Gathered, gather};
pub use self::listener::Listener;
#[cfg(feature = "tls")]
pub(crate) use self::tls::Connector;
#[cfg(feature = "tls")]
pub use self::tls::{ClientTls, ServerTls};

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// From 0 to 1, to spread reconnects and ends of connections. The hasher's keys are random, and more is not needed.
pub(crate) fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
