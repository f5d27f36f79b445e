//! The built binary, as a user runs it. Every process ends with its test.

mod clients;
mod orders;
mod process;
mod serve;
mod serving;
mod tls;
