//! Under HTTP/2: sockets, and how they are read and written. Shared by both roles.

mod allowance;
mod dialer;
mod guard;
mod in_process;
mod io;
mod listener;
pub(crate) mod tcp;
#[cfg(feature = "tls")]
mod tls;

pub use self::dialer::Dialer;
pub(crate) use self::guard::{Guarded, Violation};
pub use self::in_process::{InProcess, InProcessListener, in_process};
#[cfg(feature = "app")]
pub(crate) use self::io::linger;
pub(crate) use self::io::{Flush, Gathered, gather};
pub(crate) use self::listener::AcceptFailures;
pub use self::listener::Listener;
#[cfg(feature = "tls")]
pub(crate) use self::tls::Connector;
#[cfg(feature = "tls")]
pub use self::tls::{ClientTls, ServerTls};

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// How long a new client may take for its TLS handshake, and then for its preface. Five seconds each: a few round trips of a
/// bad link; a client that connects and says nothing holds a socket no longer.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may stay that has nothing more to do: what was said last leaves, and the client closes. One second:
/// a few round trips anywhere.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// Whatever [`random`] is made of. The hasher's keys are random, and more is not needed.
    static CHANCE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// Makes what this thread leaves to chance (when it connects again, when its connections are old) the same for the same
/// `seed`: so a simulation can be repeated.
pub fn seed_chance(seed: u64) {
    CHANCE.set(seed);
}

/// From 0 to 1, to spread reconnects and ends of connections. Splitmix64: no secret depends on it.
pub(crate) fn random() -> f64 {
    let state = CHANCE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    CHANCE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}
