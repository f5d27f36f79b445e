//! A call's head: what the headers of a request and of a response say, read once into types.
//!
//! In: the header block of one stream. Out: [`RequestHead`], [`ResponseHead`], or why there is no call. And the
//! way back. Not here: trailers (`status::wire`), messages (`codec`), streams (`call`).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod content_type;
mod request;
mod response;
pub(crate) mod timeout;

pub(crate) use self::content_type::ContentType;
pub(crate) use self::request::{NotGrpc, Rejection, RequestHead, exact_path};
pub(crate) use self::response::{
    HEAD_BYTES, Head as ResponseHead, HeadError as ResponseError, trailers_only,
};

use http::header::HeaderName;

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
