//! The release binary and the stock tools of other implementations, as separate processes on loopback.
//!
//! Not run by a plain `cargo test`: `tests/check.sh interop` builds the programs and names them in the environment.
#![expect(clippy::panic, reason = "these are tests, only not marked one by one")]

#[path = "../it/certificates.rs"]
mod certificates;
mod drain;
mod exports;
mod faults;
mod judges;
mod limits;
mod memory;
mod nginx;
mod proxies;
mod records;
mod servers;
mod service;
mod soak;
mod streams;
mod support;
mod uploads;
