//! Values of flags that are more than a word or a number: sizes and times, with their units.
//!
//! In: text. Out: bytes, durations. Not here: which flag has which.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use humantime::format_duration;

/// Largest message, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageBytes(u32);

impl MessageBytes {
    /// As much as a gRPC frame can say: 4 GiB - 1.
    pub(super) const UNLIMITED: Self = Self(u32::MAX);

    /// The library's own default for what is received: 4 MiB.
    pub(super) const DEFAULT_RECV: Self = Self(4 * 1024 * 1024);

    pub(super) const fn get(self) -> usize {
        self.0 as usize
    }
}

impl FromStr for MessageBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNLIMITED {
            return Ok(Self::UNLIMITED);
        }
        u32::try_from(bytes(text)?)
            .map(Self)
            .map_err(|_| format!("more than {} bytes, the largest message of gRPC", u32::MAX))
    }
}

impl fmt::Display for MessageBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNLIMITED => f.write_str(UNLIMITED),
            Self(bytes) => write!(f, "{bytes}"),
        }
    }
}

const UNLIMITED: &str = "unlimited";

/// Reads a number of bytes such as `16` or `4MiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        unit => {
            return Err(format!(
                "no such unit: {unit:?}; there are B, KiB, MiB, GiB"
            ));
        }
    };
    let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("more than {} bytes", u64::MAX))
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout(Option<Duration>);

impl Timeout {
    pub(super) const fn new(duration: Duration) -> Self {
        Self(Some(duration))
    }

    /// `None`: as long as it takes.
    pub(super) const fn get(self) -> Option<Duration> {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            OFF => Ok(Self(None)),
            text => duration(text).map(Self::new),
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str(OFF),
            Some(duration) => format_duration(duration).fmt(f),
        }
    }
}

/// Reads a duration such as `30s`, `1m 30s` or `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}, as in 30s, 5m, 500ms"))
}

/// Where to serve HTTP, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HttpAddress {
    Off,
    At(String),
}

impl FromStr for HttpAddress {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            OFF => Self::Off,
            text => Self::At(text.to_owned()),
        })
    }
}

const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MessageLimits;

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("16", 16),
            ("16B", 16),
            ("4KiB", 4096),
            ("4MiB", 4_194_304),
            ("3GiB", 3_221_225_472),
            ("4294967295", 4_294_967_295),
            ("unlimited", 4_294_967_295),
        ] {
            assert_eq!(text.parse().map(MessageBytes::get), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "KiB",
            "-1",
            "1.5MiB",
            "4MB",
            "4 MiB",
            "4GiB",
            "4294967296",
            "é",
            "1é",
        ] {
            assert!(text.parse::<MessageBytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_the_library_s_own() {
        let limits = MessageLimits::default();
        assert_eq!(MessageBytes::DEFAULT_RECV.get(), limits.max_recv_bytes);
        assert_eq!(MessageBytes::UNLIMITED.get(), limits.max_send_bytes);
    }

    #[test]
    fn a_size_is_printed_as_it_is_read() {
        for text in ["16", "4194304", "unlimited"] {
            assert_eq!(
                text.parse().map(|size: MessageBytes| size.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn a_timeout_is_a_duration_or_off() {
        for (text, timeout) in [
            ("30s", Some(Duration::from_secs(30))),
            ("500ms", Some(Duration::from_millis(500))),
            ("1m 30s", Some(Duration::from_secs(90))),
            ("off", None),
        ] {
            let read: Timeout = text.parse().unwrap();
            assert_eq!(read.get(), timeout);
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "30", "s", "-1s", "30x"] {
            assert!(text.parse::<Timeout>().is_err(), "{text}");
        }
    }
}
