//! One call on one h2 stream, seen from a handler.
//!
//! In: an h2 stream and its parsed head. Out: messages, and one status at the end.

mod recv;
mod send;

pub(crate) use self::recv::Inbound;
pub use self::recv::Streaming;
pub use self::send::Sender;
pub(crate) use self::send::{Outgoing, SharedOutgoing};

use h2::Reason;

use crate::status::{Code, Status};

/// The code of an h2 error (PROTOCOL-HTTP2.md, "Errors").
pub(crate) fn status_of(error: &h2::Error) -> Status {
    match error.reason() {
        Some(reason) => Status::new(
            code_of(reason),
            format!("the stream ended with {reason:?}: {error}"),
        ),
        // The connection broke: a server's handler sees CANCELLED (statuscodes.md).
        None => Status::cancelled(format!("the connection broke: {error}")),
    }
}

fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::REFUSED_STREAM => Code::Unavailable,
        Reason::CANCEL => Code::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    }
}
