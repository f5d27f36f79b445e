//! The integration tests: one binary, a file for each behaviour.
//!
//! - `client`: our client against our server and against a raw h2 peer
//! - `server`: our server, seen by a raw h2 client

mod client;
mod server;
mod support;
