//! Rules of gRPC that no public suite asks for, by their numbers in docs/spec-map.md. What servers do wrong is in `peers`.
//!
//! - `answers`: what our server says to a request, header by header
//! - `blocks`: header blocks that are too large
//! - `frames`: our server on HTTP/2 frames as no client of ours writes them
//! - `messages`: limits and contents of messages, both sides
//! - `requests`: what our client says, frame by frame

mod answers;
mod blocks;
mod frames;
mod messages;
mod requests;
