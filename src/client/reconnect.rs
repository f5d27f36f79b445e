//! When to try again after a connection could not be made (grpc/doc/connection-backoff.md).
//!
//! In: failures. Out: how long to wait. Not here: sockets, sleeping, the clock.

use std::time::Duration;

/// The delays of one channel: 1 s, then 1.6 times more after each failure, at most 120 s, each 20 % more or less.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);
const FACTOR: f64 = 1.6;
const JITTER: f64 = 0.2;

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The delay after one more failure. `random` is from 0 to 1, so that many clients do not come back together.
    pub(crate) fn on_failure(&mut self, random: f64) -> Duration {
        let delay = self.next;
        self.next = delay.mul_f64(FACTOR).min(LONGEST);
        delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
    }

    /// A connection was made: the next failure begins anew.
    pub(crate) const fn on_success(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new();
        let seconds: Vec<f64> = (0..12)
            .map(|_| backoff.on_failure(0.5).as_secs_f64())
            .collect();
        assert!((seconds[0] - 1.0).abs() < 1e-6 && (seconds[1] - 1.6).abs() < 1e-6);
        assert!(seconds.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!((seconds[11] - 120.0).abs() < 1e-6);
        backoff.on_success();
        assert_eq!(backoff.on_failure(0.5), FIRST);
    }

    #[test]
    fn the_jitter_is_a_fifth_each_way() {
        assert_eq!(Backoff::new().on_failure(0.0), Duration::from_millis(800));
        assert_eq!(Backoff::new().on_failure(1.0), Duration::from_millis(1200));
    }
}
