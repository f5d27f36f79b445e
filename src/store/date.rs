//! The time an order was placed: `YYYY-MM-DD hh:mm:ss`.
//!
//! In: text. Out: a [`Date`] that is known to be a real one. Its text sorts as time does, so a store compares text.
//! Not here: time zones; orders are placed in the time of whoever placed them.

use std::error::Error;
use std::fmt;

/// How long the text is, in bytes.
const LEN: usize = 19;

/// A date with its time, as text that is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date([u8; LEN]);

impl Date {
    /// Before every other.
    pub const MIN: Self = Self(*b"0000-01-01 00:00:00");
    /// After every other.
    pub const MAX: Self = Self(*b"9999-12-31 23:59:59");

    /// Reads `YYYY-MM-DD hh:mm:ss`.
    ///
    /// # Errors
    /// When the text has another form, or names a day or a time that does not exist.
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let bytes: [u8; LEN] = text.as_bytes().try_into().map_err(|_| DateError::Form)?;
        let date = Self(bytes);
        let formed = bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b' ',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
        if !formed {
            return Err(DateError::Form);
        }
        let [year, month, day, hour, minute, second] = date.fields();
        if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
            return Err(DateError::NoSuchDay);
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err(DateError::NoSuchTime);
        }
        Ok(date)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a date is ASCII")
    }

    /// The digits alone, `YYYYMMDDhhmmss`.
    pub(crate) fn digits(&self) -> impl Iterator<Item = char> {
        self.0
            .iter()
            .filter(|byte| byte.is_ascii_digit())
            .map(|byte| char::from(*byte))
    }

    /// A second later; [`Date::MAX`] stays.
    #[must_use]
    pub(crate) fn next_second(self) -> Self {
        let [
            mut year,
            mut month,
            mut day,
            mut hour,
            mut minute,
            mut second,
        ] = self.fields();
        second += 1;
        if second == 60 {
            (minute, second) = (minute + 1, 0);
        }
        if minute == 60 {
            (hour, minute) = (hour + 1, 0);
        }
        if hour == 24 {
            (day, hour) = (day + 1, 0);
        }
        if day > days_in(year, month) {
            (month, day) = (month + 1, 1);
        }
        if month == 13 {
            (year, month) = (year + 1, 1);
        }
        if year == 10_000 {
            return self;
        }
        let mut text = self.0;
        write_digits(&mut text[0..4], year);
        write_digits(&mut text[5..7], month);
        write_digits(&mut text[8..10], day);
        write_digits(&mut text[11..13], hour);
        write_digits(&mut text[14..16], minute);
        write_digits(&mut text[17..19], second);
        Self(text)
    }

    fn fields(&self) -> [u32; 6] {
        [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].map(|range| read_digits(&self.0[range]))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateError {
    /// Not of the form `YYYY-MM-DD hh:mm:ss`.
    Form,
    /// Such a day is in no calendar.
    NoSuchDay,
    /// Such a time is on no clock.
    NoSuchTime,
}

impl fmt::Display for DateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "not of the form YYYY-MM-DD hh:mm:ss",
            Self::NoSuchDay => "a day that does not exist",
            Self::NoSuchTime => "a time that does not exist",
        })
    }
}

impl Error for DateError {}

fn read_digits(text: &[u8]) -> u32 {
    text.iter()
        .fold(0, |number, byte| number * 10 + u32::from(byte & 0xF))
}

fn write_digits(text: &mut [u8], mut number: u32) {
    for byte in text.iter_mut().rev() {
        *byte = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_date_in_the_one_form_is_a_date() {
        for text in [
            "2024-01-01 00:00:00",
            "2024-02-29 23:59:59",
            "2000-02-29 12:00:00",
            Date::MIN.as_str(),
            Date::MAX.as_str(),
        ] {
            assert_eq!(
                Date::parse(text).map(|date| date.to_string()),
                Ok(text.into())
            );
        }
        for (text, error) in [
            ("", DateError::Form),
            ("2024-01-01", DateError::Form),
            ("2024-01-01T00:00:00", DateError::Form),
            ("2024-1-01 00:00:000", DateError::Form),
            ("2024-01-01 00:00:00 ", DateError::Form),
            ("2024-01-01 00:00:0\u{664}", DateError::Form),
            ("+024-01-01 00:00:00", DateError::Form),
            ("2024-00-01 00:00:00", DateError::NoSuchDay),
            ("2024-13-01 00:00:00", DateError::NoSuchDay),
            ("2023-02-29 00:00:00", DateError::NoSuchDay),
            ("1900-02-29 00:00:00", DateError::NoSuchDay),
            ("2024-04-31 00:00:00", DateError::NoSuchDay),
            ("2024-01-01 24:00:00", DateError::NoSuchTime),
            ("2024-01-01 00:60:00", DateError::NoSuchTime),
            ("2024-01-01 00:00:60", DateError::NoSuchTime),
        ] {
            assert_eq!(Date::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_second_later_carries_as_far_as_it_must() {
        for (now, later) in [
            ("2024-01-01 00:00:00", "2024-01-01 00:00:01"),
            ("2024-01-01 00:00:59", "2024-01-01 00:01:00"),
            ("2024-01-01 00:59:59", "2024-01-01 01:00:00"),
            ("2024-01-01 23:59:59", "2024-01-02 00:00:00"),
            ("2024-02-28 23:59:59", "2024-02-29 00:00:00"),
            ("2023-02-28 23:59:59", "2023-03-01 00:00:00"),
            ("2024-12-31 23:59:59", "2025-01-01 00:00:00"),
            ("9999-12-31 23:59:59", "9999-12-31 23:59:59"),
        ] {
            let date = Date::parse(now).unwrap();
            assert_eq!(date.next_second().as_str(), later);
        }
    }

    #[test]
    fn later_is_greater() {
        let mut date = Date::parse("2023-12-31 22:00:00").unwrap();
        for _ in 0..10_000 {
            let next = date.next_second();
            assert!(date < next);
            date = next;
        }
        assert_eq!(date.digits().collect::<String>(), "20240101004640");
    }
}
