//! Answers that are HTTP/2, and wrong or unusual as gRPC.

use streamway::Code;

use super::super::{GRPC, MESSAGE, head, message, ok, trailers};
use super::Row;
use crate::raw;
use crate::raw::frame::Frame;

pub(super) fn rows() -> Vec<Row> {
    [http(), heads(), ends(), messages()]
        .into_iter()
        .flatten()
        .collect()
}

/// A response of one header block.
fn alone(headers: &'static [(&str, &str)]) -> impl Fn(u32) -> Vec<Frame> {
    move |stream| vec![trailers(stream, headers)]
}

/// A message and then these trailers.
fn ended(headers: &'static [(&str, &str)]) -> impl Fn(u32) -> Vec<Frame> {
    move |stream| vec![head(stream), message(stream), trailers(stream, headers)]
}

/// These headers and then a message and OK.
fn begun(headers: &'static [(&str, &str)]) -> impl Fn(u32) -> Vec<Frame> {
    move |stream| {
        let head = Frame::headers(stream, headers);
        vec![head, message(stream), ok(stream)]
    }
}

/// This body and then OK.
fn body(body: Vec<u8>) -> impl Fn(u32) -> Vec<Frame> {
    move |stream| vec![head(stream), Frame::data(stream, body.clone()), ok(stream)]
}

/// Answers of something else than a gRPC server, such as a proxy.
fn http() -> Vec<Row> {
    const RULE: &str = "rule 38, http-grpc-status-mapping.md";
    let mut rows = Vec::new();
    for (http, code) in [
        ("204", Code::Unknown),
        ("302", Code::Unknown),
        ("400", Code::Internal),
        ("401", Code::Unauthenticated),
        ("403", Code::PermissionDenied),
        ("404", Code::Unimplemented),
        ("408", Code::Unknown),
        ("409", Code::Unknown),
        ("413", Code::Unknown),
        ("415", Code::Unknown),
        ("429", Code::Unavailable),
        ("431", Code::Unknown),
        ("500", Code::Unknown),
        ("501", Code::Unknown),
        ("502", Code::Unavailable),
        ("503", Code::Unavailable),
        ("504", Code::Unavailable),
        ("505", Code::Unknown),
        ("599", Code::Unknown),
    ] {
        let alone = move |stream| vec![trailers(stream, &[(":status", http)])];
        let what = format!("HTTP {http} without grpc-status");
        rows.push(Row::new(RULE, what, Err(code), alone).saying(http));
        let page = move |stream| {
            vec![
                Frame::headers(stream, &[(":status", http), ("content-type", "text/html")]),
                Frame::data(stream, "<html>No</html>").end_stream(),
            ]
        };
        let what = format!("HTTP {http} with a page");
        rows.push(Row::new(RULE, what, Err(code), page).saying(http));
    }
    rows
}

fn heads() -> Vec<Row> {
    const TYPE: &str = "rule 4, PROTOCOL-HTTP2.md, Content-Type";
    const WINS: &str = "rule 39, http-grpc-status-mapping.md";
    vec![
        Row::new(
            TYPE,
            "no content-type",
            Err(Code::Unknown),
            begun(&[(":status", "200")]),
        ),
        Row::new(
            TYPE,
            "a page",
            Err(Code::Unknown),
            begun(&[(":status", "200"), ("content-type", "text/html")]),
        )
        .saying("text/html"),
        Row::new(
            TYPE,
            "application/grpcfoo",
            Err(Code::Unknown),
            begun(&[(":status", "200"), ("content-type", "application/grpcfoo")]),
        ),
        Row::new(
            TYPE,
            "application/grpc-web",
            Err(Code::Unknown),
            begun(&[(":status", "200"), ("content-type", "application/grpc-web")]),
        ),
        Row::new(
            "rule 5",
            "another sub-format than asked for",
            Err(Code::Internal),
            begun(&[
                (":status", "200"),
                ("content-type", "application/grpc+json"),
            ]),
        ),
        Row::new(
            TYPE,
            "application/grpc+proto",
            Ok(()),
            begun(&[
                (":status", "200"),
                ("content-type", "application/grpc+proto"),
            ]),
        ),
        Row::new(
            TYPE,
            "parameters",
            Ok(()),
            begun(&[
                (":status", "200"),
                ("content-type", "application/grpc; charset=utf-8"),
            ]),
        ),
        Row::new(
            "rule 10, PROTOCOL-HTTP2.md, Custom-Metadata",
            "values that are no ASCII-Value and no base64",
            Ok(()),
            begun(&[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("x-latin", "caf\u{e9}"),
                ("x-broken-bin", "!!!"),
            ]),
        ),
        Row::new(
            "rule 41: no trailers",
            "grpc-status before a body that no trailers follow",
            Err(Code::Internal),
            |stream| {
                let headers = [GRPC, &[("grpc-status", "0")]].concat();
                let body = raw::message(0, MESSAGE);
                vec![
                    Frame::headers(stream, &headers),
                    Frame::data(stream, body).end_stream(),
                ]
            },
        ),
        Row::new(
            WINS,
            "HTTP 503 with a grpc-status",
            Err(Code::NotFound),
            alone(&[
                (":status", "503"),
                ("content-type", "application/grpc"),
                ("grpc-status", "5"),
                ("grpc-message", "no such thing"),
            ]),
        )
        .saying("no such thing"),
        Row::new(
            WINS,
            "HTTP 503 and a grpc-status in the trailers",
            Err(Code::NotFound),
            |stream| {
                let headers = [(":status", "503"), ("content-type", "application/grpc")];
                vec![
                    Frame::headers(stream, &headers),
                    trailers(stream, &[("grpc-status", "5")]),
                ]
            },
        ),
        Row::new(
            "rule 38",
            "HTTP 503 and trailers without a grpc-status",
            Err(Code::Unavailable),
            |stream| {
                let headers = [(":status", "503"), ("content-type", "application/grpc")];
                vec![
                    Frame::headers(stream, &headers),
                    Frame::data(stream, "no gRPC frame"),
                    trailers(stream, &[("x-why", "tired")]),
                ]
            },
        ),
    ]
}

fn ends() -> Vec<Row> {
    const CODE: &str = "rule 42, statuscodes.md";
    const MESSAGE: &str = "rule 37, PROTOCOL-HTTP2.md, Status-Message";
    let unreadable = [
        ("abc", "abc", &[("grpc-status", "abc")]),
        ("99", "99", &[("grpc-status", "99")]),
        ("-1", "-1", &[("grpc-status", "-1")]),
        ("empty", "", &[("grpc-status", "")]),
        ("00", "00", &[("grpc-status", "00")]),
        (
            "2^64",
            "18446744073709551616",
            &[("grpc-status", "18446744073709551616")],
        ),
    ];
    let unreadable = unreadable.into_iter().map(|(name, text, headers)| {
        let what = format!("a grpc-status of {name}");
        Row::new(CODE, what, Err(Code::Unknown), ended(headers)).saying(text)
    });
    let mut rows: Vec<Row> = unreadable.collect();
    rows.extend([
        Row::new(
            CODE,
            "an unreadable grpc-status alone",
            Err(Code::Unknown),
            alone(&[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "x"),
            ]),
        ),
        Row::new(
            "rule 41: trailers without a grpc-status",
            "trailers that say something else",
            Err(Code::Unknown),
            ended(&[("x-other", "1")]),
        ),
        Row::new(
            "rule 41: trailers without a grpc-status",
            "one header block and nothing more",
            Err(Code::Unknown),
            alone(GRPC),
        ),
        Row::new(
            "rule 41: no trailers",
            "END_STREAM on the last DATA",
            Err(Code::Internal),
            |stream| vec![head(stream), message(stream).end_stream()],
        ),
        Row::new(
            "rule 41: no trailers",
            "END_STREAM on an empty DATA",
            Err(Code::Internal),
            |stream| {
                let last = Frame::data(stream, "").end_stream();
                vec![head(stream), message(stream), last]
            },
        ),
        Row::new(
            "rule 41: no trailers",
            "END_STREAM before any message",
            Err(Code::Internal),
            |stream| vec![head(stream), Frame::data(stream, "").end_stream()],
        ),
        Row::new(
            "rule 33: Trailers-Only",
            "an error alone",
            Err(Code::DataLoss),
            alone(&[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "15"),
                ("grpc-message", "lost%20%F0%9F%98%80"),
            ]),
        )
        .saying("lost \u{1F600}"),
        Row::new(
            "rule 33",
            "an error after a message",
            Err(Code::Aborted),
            ended(&[("grpc-status", "10"), ("grpc-message", "changed my mind")]),
        )
        .saying("changed my mind"),
        Row::new(
            MESSAGE,
            "broken escapes",
            Err(Code::Aborted),
            ended(&[("grpc-status", "10"), ("grpc-message", "50% %zz %4 %41")]),
        )
        .saying("50% %zz %4 A"),
        Row::new(
            MESSAGE,
            "escapes that are no UTF-8",
            Err(Code::Aborted),
            ended(&[("grpc-status", "10"), ("grpc-message", "why%ff?")]),
        )
        .saying("why\u{fffd}?"),
        Row::new(
            MESSAGE,
            "UTF-8 that is not escaped",
            Err(Code::Aborted),
            ended(&[("grpc-status", "10"), ("grpc-message", "caf\u{e9}")]),
        )
        .saying("caf"),
        Row::new(
            "rule 47",
            "details that are no base64",
            Err(Code::Aborted),
            ended(&[("grpc-status", "10"), ("grpc-status-details-bin", "!!!")]),
        ),
    ]);
    rows
}

fn messages() -> Vec<Row> {
    const CARDINALITY: &str = "rule 43, statuscodes.md";
    vec![
        Row::new(
            CARDINALITY,
            "no message and OK",
            Err(Code::Unimplemented),
            |stream| vec![head(stream), ok(stream)],
        ),
        Row::new(
            CARDINALITY,
            "OK alone",
            Err(Code::Unimplemented),
            alone(&[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "0"),
            ]),
        ),
        Row::new(
            CARDINALITY,
            "two messages and OK",
            Err(Code::Unimplemented),
            |stream| vec![head(stream), message(stream), message(stream), ok(stream)],
        ),
        Row::new(
            "rule 26, compression.md",
            "the compressed flag without an encoding",
            Err(Code::Internal),
            body(raw::message(1, MESSAGE)),
        ),
        Row::new(
            "rule 26, compression.md",
            "the compressed flag with the encoding identity",
            Err(Code::Internal),
            |stream| {
                let headers = [GRPC, &[("grpc-encoding", "identity")]].concat();
                let body = Frame::data(stream, raw::message(1, MESSAGE));
                vec![Frame::headers(stream, &headers), body, ok(stream)]
            },
        ),
        Row::new(
            "rule 28, compression.md",
            "an encoding that nobody has heard of",
            Err(Code::Internal),
            begun(&[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-encoding", "lzma"),
            ]),
        ),
        Row::new(
            "rule 29, statuscodes.md",
            "compressed data that are none",
            Err(Code::Internal),
            |stream| {
                let headers = [GRPC, &[("grpc-encoding", "gzip")]].concat();
                let body = Frame::data(stream, raw::message(1, MESSAGE));
                vec![Frame::headers(stream, &headers), body, ok(stream)]
            },
        ),
        Row::new(
            "rule 17",
            "a flag of 2",
            Err(Code::Internal),
            body(raw::message(2, MESSAGE)),
        ),
        Row::new(
            "rule 20",
            "half a prefix and OK",
            Err(Code::Internal),
            body(vec![0, 0, 0]),
        ),
        Row::new(
            "rule 20",
            "half a message and OK",
            Err(Code::Internal),
            body(raw::prefixed(0, 10, b"half")),
        ),
        Row::new(
            "rule 20",
            "half a message and an error, which says why",
            Err(Code::Unavailable),
            |stream| {
                let body = Frame::data(stream, raw::prefixed(0, 10, b"half"));
                vec![
                    head(stream),
                    body,
                    trailers(stream, &[("grpc-status", "14")]),
                ]
            },
        ),
        Row::new(
            "rule 20",
            "half a message and no trailers",
            Err(Code::Internal),
            |stream| {
                let body = Frame::data(stream, raw::prefixed(0, 10, b"half"));
                vec![head(stream), body.end_stream()]
            },
        ),
        Row::new(
            "rule 22",
            "a promise of 4 GiB",
            Err(Code::ResourceExhausted),
            body(raw::prefixed(0, u32::MAX, b"")),
        ),
    ]
}
