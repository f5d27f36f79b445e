//! An attacker of our own against the release binary: frames by hand, no `h2` on its side.
//!
//! In: attacks, one for each row of docs/known-attacks.md. Out: for each what it cost the server, as a line `attack, held: …`
//! that `tests/check.sh attack` counts. Not here: what the parts do on their own, which their unit tests show.
//!
//! Each test has a server for itself, and a canary: another client with small calls, of which none may fail.
#![expect(clippy::panic, reason = "these are tests, only not marked one by one")]

mod canary;
#[path = "../it/certificates.rs"]
mod certificates;
mod client;
mod floods;
mod held;
mod http;
mod lies;
mod logs;
mod malformed;
mod paced;
#[path = "../raw/mod.rs"]
mod raw;
mod resets;
mod server;
mod silence;
mod slow;
mod small;
#[path = "../interop/support.rs"]
#[allow(dead_code, reason = "tests/interop uses all of it")]
mod support;
mod uploads;
mod work;
