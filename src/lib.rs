//! gRPC by hand on raw `h2` streams.
//!
//! So far the vocabulary, the framing codec, one call on one stream, and the server. No client yet.
#![allow(
    dead_code,
    unused_imports,
    reason = "the client, which uses what nothing uses yet, comes next"
)]

// Generated code says `::streamway` wherever it is included, here too.
extern crate self as streamway;

pub mod call;
pub mod client;
pub mod codec;
#[cfg(feature = "codegen")]
pub mod codegen;
pub mod health;
pub mod metadata;
pub mod method;
#[cfg(feature = "app")]
pub mod proto;
mod protocol;
pub mod reflection;
pub mod server;
pub mod status;
pub mod transport;

pub use self::call::{Call, Sender, Streaming};
pub use self::client::Channel;
pub use self::codec::{Codec, Encoding, MessageLimits};
pub use self::metadata::Metadata;
pub use self::method::{Method, MethodKind};
pub use self::server::Server;
pub use self::status::{Code, Status};
