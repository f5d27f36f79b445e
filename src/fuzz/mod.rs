//! The bodies of the fuzz targets in `fuzz/`: what holds for every sequence of bytes.
//!
//! In: bytes. Out: nothing, or a panic that says which invariant is broken. A target is named like its function, and
//! its seeds stand in `fuzz/seeds/`; the tests below replay them, so that stable checks them too. Not here: the
//! bodies that look inside a private type, which stand beside it.

mod connections;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method as Verb, Request, Response, StatusCode, Uri};

use crate::codec::compression::decompress;
use crate::codec::frame::{self, FrameDecoder, encode_frame};
use crate::codec::{Encoding, MessageLimits, RawMessage};
use crate::metadata::{self, Metadata};
use crate::protocol::{
    ContentType, Rejection, RequestHead, ResponseError, ResponseHead, exact_path, timeout,
};
use crate::status::{Code, Status, wire};

/// What a target does with bytes.
pub type Body = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Body); 8] = [
    ("frame", frame),
    ("codec", codec),
    ("head", head),
    ("timeout", timeout),
    ("status", status),
    ("metadata", metadata),
    ("server", server),
    ("client", client),
];

/// Bytes of a stream, cut anywhere, are the same frames.
pub fn frame(data: &[u8]) {
    frame::fuzz(data);
}

/// A `grpc-timeout`.
pub fn timeout(data: &[u8]) {
    timeout::fuzz(data);
}

/// Trailers, and a message in them.
pub fn status(data: &[u8]) {
    wire::fuzz(data);
}

/// Header blocks, and bytes in a `-bin` value.
pub fn metadata(data: &[u8]) {
    metadata::fuzz(data);
}

/// A whole connection of a server, and whatever its client sends.
pub fn server(data: &[u8]) {
    connections::server(data);
}

/// A whole connection of a client, and whatever its server sends.
pub fn client(data: &[u8]) {
    connections::client(data);
}

/// A message goes through frames in every encoding and comes back, unless it is over a limit, which is told; and bytes
/// that only claim to be compressed give no more than the limit.
///
/// The first byte chooses the receive limit, the second how the frames are cut.
pub fn codec(data: &[u8]) {
    let [limit, cut, payload @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit) * 16;
    for &encoding in Encoding::SUPPORTED {
        if let Ok(plain) = decompress(encoding, &Bytes::copy_from_slice(payload), limit) {
            assert!(
                plain.len() <= limit,
                "{encoding:?} gave {} of {limit} bytes",
                plain.len()
            );
        }
        there_and_back(payload, encoding, limit, usize::from(*cut) + 1);
    }
}

fn there_and_back(payload: &[u8], encoding: Encoding, limit: usize, step: usize) {
    let message = RawMessage(Bytes::copy_from_slice(payload));
    let mut wire = BytesMut::new();
    let too_small = MessageLimits::default().send(payload.len().saturating_sub(1));
    if encode_frame(&message, encoding, too_small, &mut wire).is_err() {
        assert!(
            !payload.is_empty() && wire.is_empty(),
            "a refused message leaves nothing behind"
        );
    }
    wire.clear();
    encode_frame(&message, encoding, MessageLimits::default(), &mut wire)
        .expect("4 GiB - 1 is enough");

    let mut decoder = FrameDecoder::new(limit);
    let mut outcome = Ok(None);
    for chunk in wire.chunks(step) {
        decoder.push(Bytes::copy_from_slice(chunk));
        outcome = decoder.next_frame();
        if outcome != Ok(None) {
            break;
        }
    }
    let packed_len = wire.len() - frame::PREFIX_LEN;
    let received: Result<Bytes, Status> = match outcome {
        Ok(frame) => {
            let frame = frame.expect("a whole frame went in");
            assert_eq!(frame.compressed, encoding != Encoding::Identity);
            decompress(encoding, &frame.payload, limit).map_err(Status::from)
        }
        Err(error) => Err(error.into()),
    };
    match received {
        Ok(plain) => {
            assert!(payload.len() <= limit, "over the limit of {limit}");
            assert_eq!(plain, payload);
        }
        Err(status) => {
            assert!(
                payload.len().max(packed_len) > limit,
                "{status} within the limit of {limit}"
            );
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        }
    }
}

/// The headers of a request and of a response, and a path: read without a panic, and what is read survives the way
/// out and back in.
///
/// The first line is the path, the second the verb or the HTTP status; a header stands in each line after them.
pub fn head(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let path = lines.next().unwrap_or_default();
    let start = lines.next().unwrap_or_default();
    let headers = header_lines(lines);
    request_path(path);
    if let Ok(verb) = Verb::from_bytes(start) {
        request(&verb, headers.clone());
    }
    if let Ok(status) = StatusCode::from_bytes(start) {
        response(status, &headers);
    }
}

fn header_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let mut part = || parts.next().unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(part()),
            HeaderValue::from_bytes(part()),
        ) {
            map.append(name, value);
        }
    }
    map
}

fn request_path(path: &[u8]) {
    let Ok(uri) = Uri::try_from(path) else {
        return;
    };
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let (parts, ()) = request.into_parts();
    // A fragment is gone before anyone but `http` sees it.
    let sent = path.split(|&byte| byte == b'#').next().unwrap_or_default();
    if let Some(exact) = exact_path(&parts) {
        assert!(!exact.contains(['?', '#']), "{exact}");
        assert!(
            sent.ends_with(exact.as_bytes()) || exact == "/",
            "{exact} was not sent"
        );
    }
}

fn request(verb: &Verb, headers: HeaderMap) {
    let head = match RequestHead::parse(verb, &headers) {
        Ok(head) => head,
        Err(Rejection::NotGrpc(why)) => {
            let (response, text) = why.into_response();
            assert!(response.status().is_client_error() && text.ends_with('\n'));
            return;
        }
        Err(Rejection::Status(_, status)) => {
            assert!(
                matches!(status.code(), Code::Internal | Code::Unimplemented),
                "{status}"
            );
            return;
        }
    };
    assert_eq!(verb, Verb::POST);
    let metadata = Metadata::from_headers(headers);
    only_custom(&metadata);
    let uri = Uri::from_static("http://h/a.B/C");
    let (parts, ()) = head.into_request(uri, metadata.clone()).into_parts();
    let back = RequestHead::parse(&parts.method, &parts.headers).expect("what we build we read");
    assert_eq!(
        (back.content_type, back.encoding),
        (head.content_type, head.encoding)
    );
    assert_eq!(back.timeout.is_some(), head.timeout.is_some());
    assert!(back.timeout >= head.timeout, "a deadline became shorter");
    let back = Metadata::from_headers(parts.headers);
    for (name, value) in metadata.headers() {
        assert!(
            back.headers()
                .get_all(name)
                .iter()
                .any(|other| other == value),
            "{name} was lost"
        );
    }
}

fn response(status: StatusCode, headers: &HeaderMap) {
    for end_of_stream in [false, true] {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        let has_status = headers.contains_key(wire::GRPC_STATUS);
        match ResponseHead::parse(response.into_parts().0, end_of_stream) {
            Ok(head) => {
                assert!(!end_of_stream);
                assert_eq!(status == StatusCode::OK, head.unexplained().is_none());
                only_custom(&head.metadata);
                let (encoding, metadata) = (head.encoding, head.metadata.clone());
                let (parts, ()) = head.into_response(ContentType::Plain).into_parts();
                let back = ResponseHead::parse(parts, false).expect("what we build we read");
                assert_eq!((back.encoding, back.metadata), (encoding, metadata));
            }
            Err(ResponseError::TrailersOnly(outcome, metadata)) => {
                assert!(end_of_stream && has_status);
                assert!(outcome.is_ok() || outcome.is_err_and(|status| status.code() != Code::Ok));
                only_custom(&metadata);
            }
            Err(ResponseError::NotGrpc(status)) => assert!(
                !(end_of_stream && has_status) && status.code() != Code::Ok,
                "{status}"
            ),
        }
    }
}

fn only_custom(metadata: &Metadata) {
    for (name, _) in metadata.iter() {
        assert!(
            !name.starts_with("grpc-") && name != "content-type" && name != "te",
            "{name}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_seed_holds_and_every_target_has_seeds_and_a_program() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for (name, body) in TARGETS {
            assert!(
                fuzz.join(format!("fuzz_targets/{name}.rs")).exists(),
                "{name} has no program"
            );
            let seeds: Vec<_> = fs::read_dir(fuzz.join("seeds").join(name))
                .expect(name)
                .collect();
            assert!(seeds.len() > 2, "{name} has too few seeds");
            for seed in seeds {
                body(&fs::read(seed.expect(name).path()).expect(name));
            }
        }
        let programs = fs::read_dir(fuzz.join("fuzz_targets"))
            .expect("a folder")
            .count();
        assert_eq!(
            programs,
            TARGETS.len(),
            "a program without a row in TARGETS"
        );
    }

    proptest! {
        #[test]
        fn any_message_goes_through_every_encoding(data in any::<Vec<u8>>()) {
            codec(&data);
        }

        #[test]
        fn any_repetitive_message_goes_through_every_encoding(
            limit in any::<u8>(), cut in any::<u8>(), byte in any::<u8>(), len in 0usize..5000,
        ) {
            let mut data = vec![byte; len + 2];
            data[..2].copy_from_slice(&[limit, cut]);
            codec(&data);
        }

        #[test]
        fn any_client_is_survived(data in any::<Vec<u8>>()) {
            server(&data);
        }

        #[test]
        fn any_server_is_survived(data in any::<Vec<u8>>()) {
            client(&data);
        }

        #[test]
        fn any_head_is_read(
            path in "/?[a-zA-Z./?#%]{0,20}",
            start in "POST|GET|200|404|[0-9]{3}",
            headers in prop::collection::vec(
                "(content-type: ?application/grpc(\\+proto|\\+json|;x)?)|(grpc-[a-z-]{1,12}|x-a(-bin)?|te): ?[ -~]{0,20}|grpc-timeout:[0-9]{1,8}[HMSmun]|grpc-status:[0-9]{1,2}",
                0..8,
            ),
        ) {
            head(format!("{path}\n{start}\n{}", headers.join("\n")).as_bytes());
        }
    }
}
