//! The integration tests: one binary, a file for each behaviour.
//!
//! - `client`: our client against our server and against a raw h2 peer
//! - `health`: health checking, as a load balancer sees it
//! - `reflection`: server reflection, asked in both of its versions
//! - `server`: our server, seen by a raw h2 client

mod client;
mod health;
mod reflection;
mod server;
mod support;
