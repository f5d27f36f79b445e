//! Answers that break HTTP/2, or use what of it is rarely seen (RFC 9113).

use streamway::Code;

use super::super::{GRPC, MESSAGE, good, head, message, ok, trailers};
use super::Row;
use crate::raw;
use crate::raw::frame::{Frame, flag, kind, setting};
use crate::raw::hpack;

pub(super) fn rows() -> Vec<Row> {
    [unusual(), malformed(), connection_errors()]
        .into_iter()
        .flatten()
        .collect()
}

/// A row whose server does nothing wrong.
fn fine(
    rule: &'static str,
    what: &'static str,
    response: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static,
) -> Row {
    Row::new(rule, what, Ok(()), response)
}

/// `between` before, between and after the frames of a good answer.
fn strewn(between: impl Fn(u32) -> Frame) -> impl Fn(u32) -> Vec<Frame> {
    move |stream| {
        let frames = good(stream).into_iter();
        let mut strewn: Vec<Frame> = frames.flat_map(|frame| [between(stream), frame]).collect();
        strewn.push(between(stream));
        strewn
    }
}

/// Legal, and rarely seen.
fn unusual() -> Vec<Row> {
    vec![
        fine(
            "rule 64, section 5.5",
            "frames of an unknown kind",
            strewn(|stream| Frame::new(kind::UNKNOWN, 0xff, stream, "what?")),
        ),
        fine(
            "rule 64, section 6.5.2",
            "unknown settings",
            strewn(|_| Frame::settings(&[(setting::UNKNOWN, 7)])),
        ),
        fine(
            "section 6.3",
            "PRIORITY",
            strewn(|stream| Frame::new(kind::PRIORITY, 0, stream, vec![0, 0, 0, 0, 15])),
        ),
        fine("section 6.7", "PING", strewn(|_| Frame::ping(*b"are you?"))),
        fine(
            "section 6.9",
            "a larger window",
            strewn(|_| Frame::window_update(0, 1)),
        ),
        fine("rule 18, section 6.1", "empty DATA frames", |stream| {
            let empty = vec![Frame::data(stream, ""); 50];
            [
                vec![head(stream)],
                empty.clone(),
                vec![message(stream)],
                empty,
                vec![ok(stream)],
            ]
            .concat()
        }),
        fine(
            "rule 18, section 6.1",
            "DATA that is padding alone",
            |stream| {
                let padding = vec![Frame::data(stream, "").padded(255); 50];
                [
                    vec![head(stream)],
                    padding,
                    vec![message(stream), ok(stream)],
                ]
                .concat()
            },
        ),
        fine("rule 18, section 6.1", "DATA of one byte", |stream| {
            let bytes = raw::message(0, MESSAGE);
            let bytes = bytes.iter().map(|byte| Frame::data(stream, vec![*byte]));
            [vec![head(stream)], bytes.collect(), vec![ok(stream)]].concat()
        }),
        fine("section 6.2", "padded headers with a priority", |stream| {
            let block = [&[0, 0, 0, 0, 15][..], &hpack::block(GRPC)].concat();
            let head = Frame::block(stream, block).with(flag::PRIORITY | flag::END_HEADERS);
            vec![head.padded(100), message(stream), ok(stream)]
        }),
        fine(
            "rule 64, section 6.10",
            "headers and trailers over CONTINUATION",
            |stream| {
                let (head, end) = (hpack::block(GRPC), hpack::block(&[("grpc-status", "0")]));
                vec![
                    Frame::block(stream, head[..1].to_vec()),
                    Frame::continuation(stream, head[1..20].to_vec()),
                    Frame::continuation(stream, head[20..].to_vec()).with(flag::END_HEADERS),
                    message(stream),
                    Frame::block(stream, "").end_stream(),
                    Frame::continuation(stream, ""),
                    Frame::continuation(stream, end).with(flag::END_HEADERS),
                ]
            },
        ),
        fine("rule 15", "15 KiB of headers", |stream| {
            let long = "x".repeat(15 * 1024);
            let headers = [GRPC, &[("x-long", &long)]].concat();
            vec![
                Frame::headers(stream, &headers),
                message(stream),
                ok(stream),
            ]
        }),
        fine("rule 40, section 8.1", "interim responses", |stream| {
            let interim = |status| Frame::headers(stream, &[(":status", status)]);
            let interim = vec![interim("100"), interim("103"), interim("199")];
            [interim, good(stream)].concat()
        }),
        fine("section 8.1.1", "a content-length that is true", |stream| {
            let length = raw::message(0, MESSAGE).len().to_string();
            let headers = [GRPC, &[("content-length", &length)]].concat();
            vec![
                Frame::headers(stream, &headers),
                message(stream),
                ok(stream),
            ]
        }),
    ]
}

/// Malformed responses cost their stream (section 8.1.1): a PROTOCOL_ERROR, which is INTERNAL. Not here: pseudo-headers that
/// belong elsewhere, which `h2` takes off before anybody sees them.
fn malformed() -> Vec<Row> {
    let row = |rule, what, headers: &'static [(&str, &str)]| {
        Row::new(rule, what, Err(Code::Internal), move |stream| {
            vec![Frame::headers(stream, headers), message(stream), ok(stream)]
        })
    };
    vec![
        row(
            "section 8.3.2",
            "no :status",
            &[("content-type", "application/grpc")],
        ),
        row(
            "section 8.3",
            "two :status",
            &[
                (":status", "200"),
                (":status", "200"),
                ("content-type", "application/grpc"),
            ],
        ),
        row(
            "section 8.3",
            ":status after the headers",
            &[("content-type", "application/grpc"), (":status", "200")],
        ),
        row(
            "section 8.2.2",
            "a header of the connection",
            &[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("connection", "close"),
            ],
        ),
        row(
            "section 8.1.1",
            "a content-length that is less than the body",
            &[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("content-length", "3"),
            ],
        ),
        row(
            "section 8.1.1",
            "a content-length that is more than the body",
            &[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("content-length", "1000"),
            ],
        ),
        Row::new(
            "section 8.1",
            "trailers that do not end the stream",
            Err(Code::Internal),
            |stream| {
                let trailers = Frame::headers(stream, &[("grpc-status", "0")]);
                vec![head(stream), message(stream), trailers]
            },
        ),
        Row::new(
            "section 8.1",
            "an interim response that ends the stream",
            Err(Code::Internal),
            |stream| vec![trailers(stream, &[(":status", "103")])],
        ),
        Row::new(
            "rule 15, section 10.5.1",
            "17 KiB of headers",
            Err(Code::Internal),
            |stream| {
                let long = "x".repeat(6_000);
                let headers = [GRPC, &[("x-a", &long), ("x-b", &long), ("x-c", &long)]].concat();
                let block = hpack::block(&headers);
                let (first, rest) = block.split_at(16_000);
                vec![
                    Frame::block(stream, first.to_vec()),
                    Frame::continuation(stream, rest.to_vec()).with(flag::END_HEADERS),
                    message(stream),
                    ok(stream),
                ]
            },
        ),
    ]
}

/// What costs the connection (section 5.4.1): its calls are UNAVAILABLE, and the next one gets a new connection. To the last
/// four it need not, and may: "an endpoint MAY choose to treat a stream error as a connection error", and `h2` does.
fn connection_errors() -> Vec<Row> {
    let row = |rule, what, wrong: fn(u32) -> Frame| {
        let response = move |stream| vec![head(stream), wrong(stream), message(stream), ok(stream)];
        Row::new(rule, what, Err(Code::Unavailable), response).ending_the_connection()
    };
    vec![
        row("section 4.2", "a frame larger than allowed", |stream| {
            Frame::data(stream, vec![0; 16_385])
        }),
        row("section 6.1", "DATA on stream 0", |_| Frame::data(0, "x")),
        row(
            "section 6.1",
            "DATA with more padding than there is",
            |stream| Frame::new(kind::DATA, flag::PADDED, stream, vec![200, 0, 0]),
        ),
        row(
            "section 5.1",
            "DATA on a stream that nobody opened",
            |stream| Frame::data(stream + 2, "x"),
        ),
        row("section 6.2", "HEADERS on stream 0", |_| head(0)),
        row(
            "section 5.1",
            "HEADERS on a stream that nobody opened",
            |stream| head(stream + 2),
        ),
        row("section 5.1.1", "HEADERS on a stream of the server", |_| {
            head(2)
        }),
        row("section 4.3", "headers that are no HPACK", |stream| {
            Frame::block(stream, vec![0x80]).with(flag::END_HEADERS)
        }),
        row("section 6.10", "CONTINUATION of nothing", |stream| {
            Frame::continuation(stream, "")
        }),
        row(
            "section 6.10",
            "a header block with something in between",
            |stream| Frame::block(stream, ""),
        ),
        row("section 6.4", "RST_STREAM on stream 0", |_| {
            Frame::reset(0, 8)
        }),
        row("section 6.4", "RST_STREAM of three bytes", |stream| {
            Frame::new(kind::RST_STREAM, 0, stream, vec![0; 3])
        }),
        row(
            "section 6.4",
            "RST_STREAM of a stream that nobody opened",
            |stream| Frame::reset(stream + 2, 8),
        ),
        row("section 6.5", "SETTINGS on a stream", |stream| {
            Frame::new(kind::SETTINGS, 0, stream, "")
        }),
        row("section 6.5", "SETTINGS of five bytes", |_| {
            Frame::new(kind::SETTINGS, 0, 0, vec![0; 5])
        }),
        row(
            "section 6.5",
            "an ACK of SETTINGS with something in it",
            |_| Frame::settings(&[(setting::UNKNOWN, 1)]).with(flag::ACK),
        ),
        row("section 6.5.2", "a window of 2^31", |_| {
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)])
        }),
        row("section 6.5.2", "a largest frame of 0", |_| {
            Frame::settings(&[(setting::MAX_FRAME_SIZE, 0)])
        }),
        row("section 6.5.2", "ENABLE_PUSH of 2", |_| {
            Frame::settings(&[(setting::ENABLE_PUSH, 2)])
        }),
        row("section 8.4", "a push", |stream| {
            let block = hpack::block(&[(":method", "GET"), (":path", "/"), (":scheme", "http")]);
            let payload = [&[0, 0, 0, 2][..], &block].concat();
            Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, stream, payload)
        }),
        row("section 6.7", "PING of seven bytes", |_| {
            Frame::new(kind::PING, 0, 0, vec![0; 7])
        }),
        row("section 6.7", "PING on a stream", |stream| {
            Frame::new(kind::PING, 0, stream, vec![0; 8])
        }),
        row("section 6.8", "GOAWAY on a stream", |stream| {
            Frame::new(kind::GOAWAY, 0, stream, vec![0; 8])
        }),
        row(
            "section 6.9",
            "a window of the connection that grows by 0",
            |_| Frame::window_update(0, 0),
        ),
        row(
            "section 6.9.1",
            "a window of the connection that overflows",
            |_| Frame::window_update(0, i32::MAX as u32),
        ),
        row("section 6.9", "WINDOW_UPDATE of five bytes", |_| {
            Frame::new(kind::WINDOW_UPDATE, 0, 0, vec![0; 5])
        }),
        row(
            "section 6.9",
            "a window of a stream that grows by 0",
            |stream| Frame::window_update(stream, 0),
        ),
        row("section 8.3.2", "a :status that is no number", |stream| {
            Frame::headers(stream, &[(":status", "fine")])
        }),
        row("section 8.2.1", "a name with capitals", |stream| {
            Frame::headers(stream, &[("X-Loud", "1")])
        }),
        row("section 8.2.1", "a value with a line break", |stream| {
            Frame::headers(stream, &[("x-broken", "1\r\n2")])
        }),
    ]
}
