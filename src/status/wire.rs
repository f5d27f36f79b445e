//! Status ⇄ trailers: `grpc-status`, `grpc-message`, `grpc-status-details-bin` (PROTOCOL-HTTP2.md, "Responses").
//!
//! In: a [`Status`] or a block of trailers. Out: the other one. Never fails: what a peer sends that cannot be
//! read becomes UNKNOWN with a text that says so.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

use super::{Code, Status};
use crate::metadata::{Metadata, base64_encode, decode_bin, header_list_bytes};

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// "Percent-Byte-Unencoded → 1*( %x20-%x24 / %x26-%x7E )": everything but `%` and what is not printable ASCII.
const MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');

/// The trailers of a call that ended with `outcome`: the application's `trailing` metadata, then the status.
pub(crate) fn to_trailers(outcome: Result<(), &Status>, trailing: Metadata) -> HeaderMap {
    let mut map = trailing.into_headers();
    match outcome {
        Ok(()) => drop(map.insert(GRPC_STATUS, HeaderValue::from_static(Code::Ok.decimal()))),
        Err(status) => {
            map.insert(
                GRPC_STATUS,
                HeaderValue::from_static(status.code().decimal()),
            );
            if !status.message().is_empty() {
                let text = cut(status.message(), MAX_MESSAGE_BYTES);
                map.insert(GRPC_MESSAGE, encode_message(text));
            }
            if !status.raw_details().is_empty() {
                let encoded = base64_encode(status.raw_details());
                map.insert(GRPC_DETAILS, encoded);
            }
            for (name, value) in status.metadata().headers() {
                map.append(name, value.clone());
            }
        }
    }
    map
}

/// As [`to_trailers`], in at most `max_bytes` of a header list. What a status has besides its code and its text is left
/// out when it does not fit, and the text says so: the code matters most, and a block that the peer does not take costs
/// the call, with some peers the connection.
pub(crate) fn to_trailers_within(
    max_bytes: usize,
    outcome: Result<(), &Status>,
    trailing: Metadata,
) -> HeaderMap {
    let map = to_trailers(outcome, trailing);
    let bytes = header_list_bytes(&map);
    match outcome {
        Err(status) if bytes > max_bytes => {
            let left_out = format!(
                " (details and metadata left out: trailers of {bytes} bytes, the limit is {max_bytes})"
            );
            let room = MAX_MESSAGE_BYTES.saturating_sub(left_out.len());
            let text = cut(status.message(), room).to_owned() + &left_out;
            to_trailers(Err(&Status::new(status.code(), text)), Metadata::new())
        }
        _ => map,
    }
}

/// What a block of trailers says, or `None` when it has no `grpc-status` at all.
///
/// The inner result is the call's outcome; the metadata is whatever else stood in the block.
pub(crate) fn from_trailers(mut map: HeaderMap) -> Option<(Result<(), Status>, Metadata)> {
    let code = map.remove(GRPC_STATUS)?;
    let message = map
        .remove(GRPC_MESSAGE)
        .map(|value| decode_message(value.as_bytes()).into_owned());
    let message = message.unwrap_or_default();
    let details = map.remove(GRPC_DETAILS);
    let trailing = Metadata::from_headers(map);
    let status = match parse_code(code.as_bytes()) {
        Some(Code::Ok) => return Some((Ok(()), trailing)),
        Some(code) => Status::new(code, message),
        None => Status::unknown(format!("unreadable grpc-status {code:?}: {message}")),
    };
    let details = details
        .and_then(|value| decode_bin(value.as_bytes()))
        .unwrap_or_else(Bytes::new);
    Some((
        Err(status
            .with_raw_details(details)
            .with_metadata(trailing.clone())),
        trailing,
    ))
}

/// Decimal, at most two digits; what else a peer sends is not a code (statuscodes.md: use UNKNOWN).
fn parse_code(text: &[u8]) -> Option<Code> {
    match text {
        [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] => {
            let digits = std::str::from_utf8(text).ok()?;
            Code::from_number(digits.parse().ok()?)
        }
        _ => None,
    }
}

/// Bytes of a status's text that travel, before escaping, which can triple them. 2 KiB: trailers have no flow control, and
/// a text often quotes what the peer sent. Header lists of 8 KiB are taken everywhere.
const MAX_MESSAGE_BYTES: usize = 2 * 1024;

/// At most the first `max_bytes` of a text, cut between two characters.
fn cut(message: &str, max_bytes: usize) -> &str {
    let end = message.floor_char_boundary(max_bytes);
    message.get(..end).unwrap_or(message)
}

pub(crate) fn encode_message(message: &str) -> HeaderValue {
    let encoded: Cow<'_, str> = percent_encode(message.as_bytes(), MESSAGE_ESCAPES).into();
    HeaderValue::from_str(&encoded).expect("percent-encoded text is visible ASCII and space")
}

/// "When decoding invalid values, implementations MUST NOT error or throw away the message": a broken escape
/// stays as it is, and bytes that are not UTF-8 become U+FFFD.
pub(crate) fn decode_message(value: &[u8]) -> Cow<'_, str> {
    match percent_decode(value).into() {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The fuzz target `status`: any trailers give an outcome, and any message survives the way there and back.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    let mut map = HeaderMap::new();
    let mut parts = data.splitn(3, |&byte| byte == 0);
    for name in [GRPC_STATUS, GRPC_MESSAGE, GRPC_DETAILS] {
        if let Some(value) = parts
            .next()
            .and_then(|part| HeaderValue::from_bytes(part).ok())
        {
            map.append(name, value);
        }
    }
    let had_status = map.contains_key(GRPC_STATUS);
    assert_eq!(
        from_trailers(map).is_some(),
        had_status,
        "grpc-status alone decides whether there is a status"
    );

    let message = String::from_utf8_lossy(data).into_owned();
    let wire = encode_message(&message);
    assert!(
        wire.as_bytes()
            .iter()
            .all(|byte| (0x20..=0x7e).contains(byte))
    );
    assert_eq!(decode_message(wire.as_bytes()), message);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_quotes_megabytes_is_cut_between_two_characters() {
        let status = Status::invalid_argument("é".repeat(2_000_000) + "x");
        let back = round_trip(&status);
        assert_eq!(back.message(), "é".repeat(MAX_MESSAGE_BYTES / 2));
        let short = Status::invalid_argument("x".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(round_trip(&short).message(), short.message());
    }

    #[test]
    fn what_does_not_fit_in_the_trailers_is_left_out_and_the_code_stays() {
        let mut metadata = Metadata::new();
        metadata.append("x-why", "one").expect("a legal name");
        let status = Status::aborted("é".repeat(2000))
            .with_raw_details(vec![7; 300])
            .with_metadata(metadata.clone());
        let whole = to_trailers(Err(&status), metadata.clone());
        let bytes = header_list_bytes(&whole);
        let within = |max_bytes| to_trailers_within(max_bytes, Err(&status), metadata.clone());
        assert_eq!(within(bytes), whole);

        let (outcome, trailing) = from_trailers(within(bytes - 1)).expect("grpc-status is there");
        let cut = outcome.expect_err("the code is not OK");
        assert_eq!(cut.code(), Code::Aborted);
        let (text, left_out) = cut.message().split_once(" (").expect("it is said");
        assert!(text.len() > MAX_MESSAGE_BYTES / 2 && text.chars().all(|c| c == 'é'));
        let expected = format!("trailers of {bytes} bytes, the limit is {})", bytes - 1);
        assert!(left_out.ends_with(&expected), "{left_out}");
        assert!(cut.raw_details().is_empty() && trailing.is_empty());
    }

    fn round_trip(status: &Status) -> Status {
        let map = to_trailers(Err(status), Metadata::new());
        from_trailers(map)
            .expect("grpc-status is there")
            .0
            .expect_err("the code is not OK")
    }

    #[test]
    fn all_codes_travel() {
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Ok) {
            let back = round_trip(&Status::new(code, "why"));
            assert_eq!((back.code(), back.message()), (code, "why"));
        }
        let (outcome, _) =
            from_trailers(to_trailers(Ok(()), Metadata::new())).expect("grpc-status: 0");
        assert!(outcome.is_ok());
    }

    #[test]
    fn a_message_is_percent_encoded_with_upper_case_hex_outside_printable_ascii() {
        let wire = encode_message("\t100 % of\r\nthe ☃ \u{1F600}");
        assert_eq!(wire, "%09100 %25 of%0D%0Athe %E2%98%83 %F0%9F%98%80");
    }

    #[test]
    fn a_broken_escape_is_kept_as_it_is() {
        for (wire, text) in [
            ("50%", "50%"),
            ("%zz", "%zz"),
            ("a%2", "a%2"),
            ("%41%4", "A%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode_message(wire.as_bytes()), text);
        }
    }

    #[test]
    fn an_unreadable_code_is_unknown_and_keeps_the_message() {
        for code in ["", "17", "01", "-1", "+1", "1 ", "OK", "1000000000000"] {
            let mut map = HeaderMap::new();
            map.insert(GRPC_STATUS, HeaderValue::from_static(code));
            map.insert(GRPC_MESSAGE, HeaderValue::from_static("why"));
            let status = from_trailers(map)
                .expect("grpc-status is there")
                .0
                .expect_err("not OK");
            assert_eq!(status.code(), Code::Unknown, "{code:?}");
            assert!(status.message().contains("why"));
        }
    }

    #[test]
    fn details_and_trailing_metadata_travel_with_the_status() {
        let mut metadata = Metadata::new();
        metadata.append("x-why", "one").expect("a legal name");
        metadata.append("x-why", "two").expect("a legal name");
        let status = Status::aborted("no")
            .with_raw_details(vec![1, 2, 255])
            .with_metadata(metadata);
        let back = round_trip(&status);
        assert_eq!(back.raw_details().as_ref(), [1, 2, 255]);
        assert_eq!(
            back.metadata().get_all("x-why").collect::<Vec<_>>(),
            ["one", "two"]
        );
    }

    proptest! {
        #[test]
        fn any_message_survives_the_trailers(message in any::<String>()) {
            fuzz(message.as_bytes());
        }

        #[test]
        fn any_bytes_in_the_trailers_give_an_outcome(data in any::<Vec<u8>>()) {
            fuzz(&data);
        }
    }
}
