//! HTTP/2 by hand, for peers that do not keep to it: a server that misbehaves, a client that attacks.
//!
//! In: a socket, frames of any kind. Out: what the other side sent, frame by frame. Nothing here checks what it sends, keeps
//! a window or answers by itself: a test says all of it. `h2` has no part in it, so a mistake of ours and one of `h2` do not
//! hide each other.
//!
//! ```ignore
//! #[path = "../raw/mod.rs"]
//! mod raw;
//!
//! let mut peer = Peer::accept(socket, &[(setting::MAX_CONCURRENT_STREAMS, 1)]).await?;   // or Peer::connect
//! let request = peer.input.next_of(kind::HEADERS).await.expect("a request");
//! let headers = peer.input.headers(&request).await.expect("HPACK");
//! peer.send(&Frame::headers(request.stream, &[(":status", "200")]).end_stream()).await?;
//! ```
#![allow(
    dead_code,
    reason = "every test binary that includes this uses a part of it"
)]

pub(crate) mod frame;
pub(crate) mod hpack;
mod huffman;
pub(crate) mod peer;

/// A gRPC frame: any flag, and a length that is true.
pub(crate) fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("less than 4 GiB");
    prefixed(flag, length, payload)
}

/// A gRPC frame whose prefix promises `length` bytes, whatever follows.
pub(crate) fn prefixed(flag: u8, length: u32, payload: &[u8]) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes(), payload].concat()
}
