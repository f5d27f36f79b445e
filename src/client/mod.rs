//! A gRPC client: a channel to a server, and calls of all four shapes on it.
//!
//! In: an address, methods, messages. Out: messages and statuses. The mirror of `server`, which it never names.
//!
//! | call | made with | then |
//! |---|---|---|
//! | unary | [`Channel::unary`] | [`Request::send`] |
//! | server streaming | [`Channel::server_streaming`] | `start`, [`Responses::message`] |
//! | client streaming | [`Channel::client_streaming`] | `start`, [`Upload::send`], [`Upload::finish`] |
//! | bidi | [`Channel::bidi`] | `start`, [`Exchange::split`] |
//!
//! Generated clients call these. Dropping a call cancels it, at any moment.

mod address;
mod channel;
mod config;
mod connection;
mod exchange;
mod greeting;
mod reconnect;
mod request;
mod requests;
mod responses;

pub use self::address::AddressError;
#[cfg(feature = "app")]
pub(crate) use self::address::{Address, Scheme};
pub use self::channel::Channel;
pub use self::config::Config;
pub use self::exchange::{Exchange, Upload};
pub use self::request::{Bidi, ClientStreaming, Request, Response, ServerStreaming, Unary};
pub use self::requests::Requests;
pub use self::responses::Responses;
