//! The integration tests: one binary, a file for each behaviour.
//!
//! - `client`: our client against our server and against a raw h2 peer
//! - `health`: health checking, as a load balancer sees it
//! - `reflection`: server reflection, asked in both of its versions
//! - `server`: our server, seen by a raw h2 client
//! - `service`: the streaming service, on a store and a folder of its own
//! - `tls`: certificates on both sides

mod client;
mod health;
mod reflection;
mod server;
#[cfg(feature = "app")]
mod service;
mod support;
#[cfg(feature = "tls")]
mod tls;
