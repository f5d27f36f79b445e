//! The integration tests: one binary, a file for each behaviour.
//!
//! - `batches`: messages that are sent as long as there is room
//! - `bounds`: clients that stall, calls that are too many
//! - `cancels`: calls that are cancelled or late at every point of their lives
//! - `cli`: the built binary, as a user runs it
//! - `client`: our client against our server and against a raw h2 peer
//! - `drain`: connections that were told to go, whatever their clients do
//! - `faults`: connections that break at every byte of a call, on `faulty` streams
//! - `gateway`: the HTTP front, seen by a raw HTTP client
//! - `handlers`: handlers that do more than read and answer in their own task
//! - `health`: health checking, as a load balancer sees it
//! - `peers`: our client against servers that misbehave
//! - `piped`: our server on pipes in memory, for a clock that does not wait
//! - `raw`: HTTP/2 by hand, which other tests use
//! - `reflection`: server reflection, asked in both of its versions
//! - `rules`: rules of gRPC that no public suite asks for; docs/spec-map.md names each
//! - `server`: our server, seen by a raw h2 client
//! - `service`: the streaming service, on a store and a folder of its own
//! - `support`: a service of every shape, and how to serve it
//! - `tls`: certificates on both sides
//! - `wire`: a raw h2 client, which other tests use
//! - `writes`: how much goes into one write

#[cfg(feature = "app")]
mod backend;
mod batches;
mod bounds;
mod cancels;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "app")]
mod cli;
mod client;
mod drain;
#[cfg(feature = "app")]
mod faults;
mod faulty;
#[cfg(feature = "app")]
mod gateway;
mod handlers;
mod health;
mod peers;
mod piped;
#[path = "../raw/mod.rs"]
mod raw;
mod reflection;
mod rules;
mod server;
#[cfg(feature = "app")]
mod service;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod wire;
mod writes;
