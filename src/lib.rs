//! gRPC by hand on raw `h2` streams.
//!
//! So far the layers without I/O: statuses, metadata, the framing codec, the heads of requests and responses.
#![allow(
    dead_code,
    unused_imports,
    reason = "the call layer, which uses what nothing uses yet, comes next"
)]

pub mod call;
pub mod codec;
pub mod metadata;
pub mod method;
mod protocol;
pub mod status;

pub use self::codec::{Codec, MessageLimits};
pub use self::metadata::Metadata;
pub use self::method::{Method, MethodKind};
pub use self::status::{Code, Status};
