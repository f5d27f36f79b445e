//! RST_STREAM with every error code, at every moment of a response.

use streamway::Code;

use super::super::{good, head, message, trailers};
use super::Row;
use crate::raw;
use crate::raw::frame::{Frame, error};

/// PROTOCOL-HTTP2.md, "Errors"; a code that is not in its table is an INTERNAL_ERROR (section 7).
const CODES: [(&str, u32, Code); 15] = [
    ("NO_ERROR", error::NO_ERROR, Code::Internal),
    ("PROTOCOL_ERROR", error::PROTOCOL_ERROR, Code::Internal),
    ("INTERNAL_ERROR", error::INTERNAL_ERROR, Code::Internal),
    (
        "FLOW_CONTROL_ERROR",
        error::FLOW_CONTROL_ERROR,
        Code::Internal,
    ),
    ("SETTINGS_TIMEOUT", error::SETTINGS_TIMEOUT, Code::Internal),
    ("STREAM_CLOSED", error::STREAM_CLOSED, Code::Internal),
    ("FRAME_SIZE_ERROR", error::FRAME_SIZE_ERROR, Code::Internal),
    ("REFUSED_STREAM", error::REFUSED_STREAM, Code::Unavailable),
    ("CANCEL", error::CANCEL, Code::Cancelled),
    (
        "COMPRESSION_ERROR",
        error::COMPRESSION_ERROR,
        Code::Internal,
    ),
    ("CONNECT_ERROR", error::CONNECT_ERROR, Code::Internal),
    (
        "ENHANCE_YOUR_CALM",
        error::ENHANCE_YOUR_CALM,
        Code::ResourceExhausted,
    ),
    (
        "INADEQUATE_SECURITY",
        error::INADEQUATE_SECURITY,
        Code::PermissionDenied,
    ),
    (
        "HTTP_1_1_REQUIRED",
        error::HTTP_1_1_REQUIRED,
        Code::Internal,
    ),
    ("an unknown code", 0xbeef, Code::Internal),
];

/// What the server has sent before the reset.
type Before = fn(u32) -> Vec<Frame>;

const MOMENTS: [(&str, Before); 4] = [
    ("at once", |_| Vec::new()),
    ("after headers", |stream| vec![head(stream)]),
    ("during data", |stream| {
        vec![
            head(stream),
            Frame::data(stream, raw::prefixed(0, 10, b"half")),
        ]
    }),
    ("after data", |stream| vec![head(stream), message(stream)]),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, error, code) in CODES {
        for (moment, before) in MOMENTS {
            if error == error::REFUSED_STREAM && moment == "at once" {
                // Makes the client try again: `streams`.
                continue;
            }
            let what = format!("RST_STREAM({name}) {moment}");
            let response =
                move |stream| [before(stream), vec![Frame::reset(stream, error)]].concat();
            rows.push(Row::new("rules 52 and 53", what, Err(code), response));
        }
        let what = format!("RST_STREAM({name}) after trailers with OK");
        let after_ok = move |stream| [good(stream), vec![Frame::reset(stream, error)]].concat();
        rows.push(Row::new("rule 48", what, Ok(()), after_ok));
    }
    rows.push(Row::new(
        "rule 48",
        "RST_STREAM(NO_ERROR) after trailers with an error",
        Err(Code::NotFound),
        |stream| {
            let end = trailers(stream, &[("grpc-status", "5")]);
            vec![head(stream), end, Frame::reset(stream, error::NO_ERROR)]
        },
    ));
    rows
}
