//! Calls that are wrong: each has the answer that the rules of gRPC give it, and costs nothing but itself.

use Expected::{Code, Http, Reset};

use crate::client::{EXPORT, SUM, Seen, block, call, call_with};
use crate::raw::frame::{Frame, error, flag};
use crate::raw::{message, prefixed};
use crate::server::{Attacked, Price};

/// What a call is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// A `grpc-status`.
    Code(u32),
    /// An HTTP status, and no `grpc-status`.
    Http(u32),
    /// A reset, because the request is no HTTP.
    Reset(u32),
}

const OK: Expected = Code(0);
const DEADLINE_EXCEEDED: Expected = Code(4);
const EXHAUSTED: Expected = Code(8);
const UNIMPLEMENTED: Expected = Code(12);
const INTERNAL: Expected = Code(13);

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Heads, each of an empty request to SumData.
const HEADS: &[(Headers<'_>, Expected)] = &[
    (&[], OK),
    // Verbs.
    (&[(":method", "GET")], Http(405)),
    (&[(":method", "PUT")], Http(405)),
    (&[(":method", "post")], Http(405)),
    // Content types.
    (&[("content-type", "")], Http(415)),
    (&[("content-type", "application/json")], Http(415)),
    (&[("content-type", "application/grpcfoo")], Http(415)),
    (&[("content-type", "application/grpc-web")], Http(415)),
    (&[("content-type", "application/grpc+json")], UNIMPLEMENTED),
    (&[("content-type", "application/grpc+")], Http(415)),
    (&[("content-type", "application/grpc+proto")], OK),
    (&[("content-type", "application/grpc; charset=utf-8")], OK),
    // Timeouts.
    (&[("grpc-timeout", "5")], INTERNAL),
    (&[("grpc-timeout", "S")], INTERNAL),
    (&[("grpc-timeout", "5X")], INTERNAL),
    (&[("grpc-timeout", "-5S")], INTERNAL),
    (&[("grpc-timeout", "+5S")], INTERNAL),
    (&[("grpc-timeout", "5 S")], INTERNAL),
    (&[("grpc-timeout", "123456789S")], INTERNAL),
    (&[("grpc-timeout", "99999999H")], OK),
    // Encodings.
    (&[("grpc-encoding", "lzma")], UNIMPLEMENTED),
    (&[("grpc-encoding", "gzip,gzip")], UNIMPLEMENTED),
    (&[("grpc-encoding", "identity")], OK),
    (&[("grpc-accept-encoding", "lzma,,;q=1")], OK),
    // Metadata: none of these is for us to judge.
    (&[("x-odd-bin", "!!!")], OK),
    (&[("x-odd-bin", "=")], OK),
    (&[("x-odd-bin", "YQ,YR==,,")], OK),
    (&[("x-odd", "\u{e9}\t\u{2028}")], OK),
    (&[("grpc-status", "7")], OK),
    (&[("te", "")], OK),
    (&[("te", "gzip")], Reset(error::PROTOCOL_ERROR)),
    // h2 lets it through, and nothing is served there.
    (&[(":path", "")], UNIMPLEMENTED),
    // No HTTP.
    (&[(":scheme", "")], Reset(error::PROTOCOL_ERROR)),
    (&[(":method", "")], Reset(error::PROTOCOL_ERROR)),
    (&[("connection", "close")], Reset(error::PROTOCOL_ERROR)),
    (&[("content-length", "x")], Reset(error::PROTOCOL_ERROR)),
];

const PATHS: &[&str] = &[
    "/",
    "//",
    "/proto.StreamService",
    "/proto.StreamService/",
    "/proto.StreamService/SumData/",
    "/proto.StreamService//SumData",
    "//proto.StreamService/SumData",
    "/proto.streamservice/SumData",
    "/proto.StreamService/sumData",
    "/proto.StreamService/SumData?",
    "/proto.StreamService/SumData?x=1",
    "/proto.StreamService/SumDat%61",
    "/proto.StreamService/./SumData",
    "/proto.StreamService/../proto.StreamService/SumData",
    "/StreamService/SumData",
    "/proto.StreamService/SumData;x",
];

/// Bodies, and what their call has for encoding.
const BODIES: &[(&str, &[u8], Expected)] = &[
    ("", b"\0\0\0\0\x02\x08\x01", OK),
    // Flags.
    ("", b"\x02\0\0\0\0", INTERNAL),
    ("", b"\xff\0\0\0\0", INTERNAL),
    ("", b"\x01\0\0\0\0", INTERNAL),
    ("identity", b"\x01\0\0\0\0", INTERNAL),
    ("gzip", b"\x03\0\0\0\0", INTERNAL),
    // Compressed wrongly.
    ("gzip", b"\x01\0\0\0\x04junk", INTERNAL),
    ("zstd", b"\x01\0\0\0\x04junk", INTERNAL),
    // No protobuf: a tag of zero, a length beyond the end, a varint without an end, a group without one, a wrong type.
    ("", b"\0\0\0\0\x01\x00", INTERNAL),
    ("", b"\0\0\0\0\x02\x12\x7f", INTERNAL),
    (
        "",
        b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        INTERNAL,
    ),
    ("", b"\0\0\0\0\x01\x0b", INTERNAL),
    ("", b"\0\0\0\0\x03\x0a\x01a", INTERNAL),
    // Fields that are not known are passed over.
    ("", b"\0\0\0\0\x03\xf8\x07\x01", OK),
    // Cut.
    ("", b"\0", INTERNAL),
    ("", b"\0\0\0\0", INTERNAL),
    ("", b"\0\0\0\0\x05ab", INTERNAL),
    ("", b"\0\0\0\0\x02\x08\x01\0\0", INTERNAL),
    // Larger than a message may be, by one byte.
    ("", b"\0\0\x40\0\x01", EXHAUSTED),
];

#[tokio::test]
async fn every_call_that_is_wrong_gets_the_code_of_its_rule() {
    let attacked = Attacked::start(&[]);
    let mut cases: Vec<(String, Vec<Frame>, Expected)> = Vec::new();
    for (headers, expected) in HEADS {
        let frames = vec![call_with(0, SUM, headers).end_stream()];
        cases.push((format!("{headers:?}"), frames, *expected));
    }
    let long = format!("/{}", "a".repeat(4000));
    for path in PATHS.iter().copied().chain([&*long]) {
        let frames = vec![call(0, path).end_stream()];
        cases.push((path.to_owned(), frames, UNIMPLEMENTED));
    }
    for (encoding, body, expected) in BODIES {
        let call = call_with(0, SUM, &[("grpc-encoding", encoding)]);
        let frames = vec![call, Frame::data(0, *body).end_stream()];
        cases.push((format!("{encoding:?} {body:?}"), frames, *expected));
    }
    let (none, two) = (Vec::new(), message(0, b"").repeat(2));
    for body in [none, two] {
        let frames = vec![call(0, EXPORT), Frame::data(0, body.clone()).end_stream()];
        cases.push((format!("an export of {body:?}"), frames, UNIMPLEMENTED));
    }
    let expired = call_with(0, SUM, &[("grpc-timeout", "1n")]);
    cases.push((
        "a deadline that has passed".into(),
        vec![expired],
        DEADLINE_EXCEEDED,
    ));
    let promise = Frame::data(0, prefixed(0, 3, b"a"));
    let cut_by_trailers = vec![
        call(0, SUM),
        promise,
        Frame::headers(0, &[("x-a", "b")]).end_stream(),
    ];
    cases.push((
        "trailers within a message".into(),
        cut_by_trailers,
        INTERNAL,
    ));
    let in_three = block(SUM, &[]);
    let parts = in_three.chunks(in_three.len().div_ceil(3));
    let mut blocks: Vec<_> = parts
        .map(|part| Frame::continuation(0, part.to_vec()))
        .collect();
    blocks[0].kind = crate::raw::frame::kind::HEADERS;
    blocks[0].flags |= flag::END_STREAM;
    blocks[2].flags |= flag::END_HEADERS;
    cases.push(("a header block in three frames".into(), blocks, OK));

    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    let mut wrong = Vec::new();
    for (n, (name, mut frames, expected)) in cases.iter().cloned().enumerate() {
        let stream = crate::client::stream(n);
        for frame in &mut frames {
            frame.stream = stream;
        }
        peer.send_all(&frames).await.expect("open");
        let answer = seen.answer(&mut peer.input, stream).await;
        let got = match (answer.code, answer.http_status) {
            (Some(code), 200) => Code(code),
            (None, status @ 1..) => Http(status),
            (_, _) => Reset(answer.reset.unwrap_or_default()),
        };
        if got != expected {
            wrong.push(format!(
                "{name}: {got:?}, not {expected:?}: {}",
                answer.message
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    attacked.held(
        "malformed calls",
        format_args!(
            "{} on one connection, each answered by its rule",
            cases.len()
        ),
        Price::default(),
    );
    let said = attacked.end().stderr;
    assert!(!said.contains("panicked"), "{said}");
}
