//! What a seed decides, and a hash of what came of it.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// Numbers from a seed: splitmix64.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self(seed);
        // So that neighbours among the seeds are no neighbours here.
        chance.0 = chance.next();
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Another source, so that what one part draws does not move what another does.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.within(0..n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.within(0..of.len() as u64) as usize]
    }

    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }
}

/// The hash of everything that happened, in its order: FNV-1a.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    printed: bool,
}

impl Trace {
    pub(crate) fn new(printed: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            printed,
        }
    }

    /// Bytes on a wire.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Something that happened.
    pub(crate) fn event(&mut self, at: Duration, text: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} s  {text}", at.as_secs_f64());
        if self.printed {
            eprintln!("{line}");
        }
        self.bytes(line.as_bytes());
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
