//! How many frames of a kind a client may send: a few at once, a few more with time, and more with the work that makes
//! them needed.
//!
//! In: what each frame costs and earns. Out: whether it was left. Not here: the frames (`guard`).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use tokio::time::Instant;

/// Resets: a client that cancels more than half of its calls may do so 200 times, and 50 times a second. CVE-2023-44487
/// costs the attacker one of these for each call.
pub(super) const RESETS: Allowance = Allowance {
    burst: 2 * 200,
    every: Duration::from_millis(10),
    bytes: u64::MAX,
};

/// Pings: three at once and one every five seconds, where clients send keepalives no faster than every ten. And three
/// for whatever was sent since: a client that measures its bandwidth pings once for each round trip with data.
pub(super) const PINGS: Allowance = Allowance {
    burst: 3,
    every: Duration::from_secs(5),
    bytes: 1,
};

/// Settings: clients send them once, and some again when they tune their windows.
pub(super) const SETTINGS: Allowance = Allowance {
    burst: 20,
    every: Duration::from_secs(1),
    bytes: 16 * 1024,
};

/// Window updates: two, for the stream and for the connection, follow each frame of data at most. With its head and a
/// prefix, a frame with a message of 18 bytes is worth them; the frames of one byte that a window opened byte by byte
/// makes us send are not.
pub(super) const WINDOW_UPDATES: Allowance = Allowance {
    burst: 1000,
    every: Duration::from_millis(10),
    bytes: 16,
};

/// Everything that asks for nothing: PRIORITY, and frames that are unknown.
pub(super) const OTHERS: Allowance = Allowance {
    burst: 200,
    every: Duration::from_millis(100),
    bytes: u64::MAX,
};

/// How many frames of a kind a client may send.
#[derive(Debug)]
pub(super) struct Allowance {
    /// At once.
    burst: u64,
    /// One more with each of these.
    every: Duration,
    /// And one more for so many bytes that were sent to the client.
    bytes: u64,
}

/// What is left of an allowance.
#[derive(Debug)]
pub(super) struct Balance {
    left: u64,
    /// When and at how many useful bytes something was last added.
    counted_at: Instant,
    counted_bytes: u64,
}

impl Balance {
    pub(super) fn new(allowance: &Allowance, now: Instant) -> Self {
        Self {
            left: allowance.burst,
            counted_at: now,
            counted_bytes: 0,
        }
    }

    /// Whether `cost` was left.
    pub(super) fn spend(&mut self, cost: u64, allowance: &Allowance, useful: u64) -> bool {
        if self.left < cost {
            // Only now, so that a client who behaves never costs a look at the clock.
            self.refill(allowance, useful);
        }
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    pub(super) fn earn(&mut self, more: u64, allowance: &Allowance) {
        self.left = self.left.saturating_add(more).min(allowance.burst);
    }

    fn refill(&mut self, allowance: &Allowance, useful: u64) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.counted_at);
        let periods = elapsed.as_nanos().checked_div(allowance.every.as_nanos());
        let periods = u32::try_from(periods.unwrap_or(0)).unwrap_or(u32::MAX);
        // What is left of an unfinished period counts towards the next.
        let counted = allowance.every.saturating_mul(periods).min(elapsed);
        self.counted_at = self.counted_at.checked_add(counted).unwrap_or(now);
        let written = useful.saturating_sub(self.counted_bytes);
        let earned = written.checked_div(allowance.bytes).unwrap_or(0);
        let counted = allowance.bytes.saturating_mul(earned);
        self.counted_bytes = self.counted_bytes.saturating_add(counted);
        self.earn(u64::from(periods).saturating_add(earned), allowance);
    }
}
