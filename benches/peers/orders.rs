//! The strings of an order, written alike by every Rust server that is measured; go/orders.go is the same in Go.
//!
//! In: an id. Out: two new strings, or their bytes written anew into strings that are there. Pairs of digits from a table
//! instead of `format!`, so that a server is measured and not its formatting.
#![allow(dead_code, reason = "each program writes them in one of the two ways")]

/// How many orders a search for 0 finds.
const DEFAULT_COUNT: i32 = 200_000;

/// How many orders a search asks for.
pub(crate) fn count(asked: i32) -> i32 {
    if asked == 0 { DEFAULT_COUNT } else { asked }
}

/// 22 characters: a day and the id.
pub(crate) fn order_sn(id: i32) -> String {
    let mut text = String::with_capacity(22);
    write_order_sn(&mut text, id);
    text
}

/// As [`order_sn`], in place of what `text` was.
pub(crate) fn write_order_sn(text: &mut String, id: i32) {
    let id = id.unsigned_abs();
    text.clear();
    text.push_str("202401010000");
    for scale in [100_000_000, 1_000_000, 10_000, 100, 1] {
        pair(text, id / scale);
    }
}

/// 19 characters: the id as seconds of a day.
pub(crate) fn date(id: i32) -> String {
    let mut text = String::with_capacity(19);
    write_date(&mut text, id);
    text
}

/// As [`date`], in place of what `text` was.
pub(crate) fn write_date(text: &mut String, id: i32) {
    let id = id.unsigned_abs();
    text.clear();
    text.push_str("2024-01-01 ");
    pair(text, id / 3600 % 24);
    text.push(':');
    pair(text, id / 60 % 60);
    text.push(':');
    pair(text, id % 60);
}

/// The last two digits of `value`.
fn pair(text: &mut String, value: u32) {
    let at = (value % 100) as usize * 2;
    text.push_str(&PAIRS[at..at + 2]);
}

/// "00" to "99": text already, so that nothing checks the strings for being UTF-8, which cost more than the rest.
const PAIRS: &str = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
    5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
