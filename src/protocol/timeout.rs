//! `grpc-timeout`: at most 8 digits and a unit (PROTOCOL-HTTP2.md, "Timeout").
//!
//! In: header bytes. Out: a [`Duration`]; and the way back.

use std::time::Duration;

/// "TimeoutValue → {positive integer as ASCII string of at most 8 digits}".
const MAX_DIGITS: usize = 8;
const MAX_VALUE: u64 = 99_999_999;

/// Units from fine to coarse: the letter, and how many nanoseconds it is.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3_600 * 1_000_000_000),
];

/// Reads the header's value; `None` when it is malformed.
///
/// Never overflows: 99,999,999 hours are 3.6 * 10^11 seconds, and a [`Duration`] counts seconds in a `u64`.
pub(crate) fn parse(value: &[u8]) -> Option<Duration> {
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = u64::from(std::str::from_utf8(digits).ok()?.parse::<u32>().ok()?);
    match unit {
        b'n' => Some(Duration::from_nanos(n)),
        b'u' => Some(Duration::from_micros(n)),
        b'm' => Some(Duration::from_millis(n)),
        b'S' => Some(Duration::from_secs(n)),
        b'M' => Some(Duration::from_secs(n.saturating_mul(60))),
        b'H' => Some(Duration::from_secs(n.saturating_mul(3_600))),
        _ => None,
    }
}

/// Writes `timeout` in the finest unit that holds it, rounded up so that the peer never gives up first.
///
/// A live deadline is never sent as 0: under a nanosecond is `1n`. The longest possible is `99999999H`.
pub(crate) fn format(timeout: Duration) -> String {
    let nanos = timeout.as_nanos().max(1);
    for (letter, unit) in UNITS {
        let value = nanos.div_ceil(u128::from(unit));
        if value <= u128::from(MAX_VALUE) {
            return format!("{value}{}", char::from(letter));
        }
    }
    format!("{MAX_VALUE}H")
}

/// The fuzz target `timeout`: any bytes are read without a panic, and what is read survives the way there and back
/// rounded up by less than one part in 10^5.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    let Some(timeout) = parse(data) else { return };
    let wire = format(timeout);
    assert!(
        (2..=MAX_DIGITS.saturating_add(1)).contains(&wire.len()),
        "{wire}"
    );
    let back = parse(wire.as_bytes()).expect("what we write we read");
    let live = timeout.max(Duration::from_nanos(1));
    assert!(back >= live, "{back:?} is shorter than {live:?}");
    assert!(
        back.saturating_sub(live).as_secs_f64() <= live.as_secs_f64() / 1e5,
        "{live:?} became {back:?}"
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (wire, expected) in [
            ("1n", Duration::from_nanos(1)),
            ("82u", Duration::from_micros(82)),
            ("82m", Duration::from_millis(82)),
            ("10S", Duration::from_secs(10)),
            ("2M", Duration::from_secs(120)),
            ("1H", Duration::from_secs(3600)),
            ("00000001S", Duration::from_secs(1)),
            ("0n", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(wire.as_bytes()), Some(expected), "{wire}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for wire in [
            "",
            "S",
            "1",
            "1s",
            "1h",
            "-1S",
            "+1S",
            " 1S",
            "1S ",
            "1 S",
            "123456789S",
            "1.5S",
            "0x1S",
            "1SS",
        ] {
            assert_eq!(parse(wire.as_bytes()), None, "{wire:?}");
        }
    }

    #[test]
    fn a_timeout_moves_to_a_coarser_unit_and_is_rounded_up() {
        for (timeout, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(format(timeout), expected, "{timeout:?}");
        }
    }

    proptest! {
        #[test]
        fn any_timeout_survives_the_header(digits in "[0-9]{1,8}", unit in "[HMSmun]") {
            fuzz(format!("{digits}{unit}").as_bytes());
        }
    }
}
