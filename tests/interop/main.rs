//! The release binary and the stock tools of other implementations, as separate processes on loopback.
//!
//! Not run by a plain `cargo test`: `tests/check.sh interop` builds the programs and names them in the environment.

mod judges;
mod support;
