//! The strings of an order, written alike by every Rust server that is measured; go/orders.go is the same in Go.
//!
//! In: an id. Out: two new strings. Digits into a template instead of `format!`, so that a server is measured and not
//! its formatting.

/// How many orders a search for 0 finds.
const DEFAULT_COUNT: i32 = 200_000;

/// How many orders a search asks for.
pub(crate) fn count(asked: i32) -> i32 {
    if asked == 0 { DEFAULT_COUNT } else { asked }
}

/// 22 characters: a day and the id.
pub(crate) fn order_sn(id: i32) -> String {
    let mut text = *b"2024010100000000000000";
    digits(&mut text[12..], id.unsigned_abs());
    owned(&text)
}

/// 19 characters: the id as seconds of a day.
pub(crate) fn date(id: i32) -> String {
    let id = id.unsigned_abs();
    let mut text = *b"2024-01-01 00:00:00";
    digits(&mut text[11..13], id / 3600 % 24);
    digits(&mut text[14..16], id / 60 % 60);
    digits(&mut text[17..19], id % 60);
    owned(&text)
}

/// Fills `text` from the right.
fn digits(text: &mut [u8], mut value: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn owned(text: &[u8]) -> String {
    std::str::from_utf8(text)
        .expect("digits and punctuation are ASCII")
        .to_owned()
}
