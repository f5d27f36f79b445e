//! TLS below HTTP/2: rustls, with ALPN `h2` required on both sides (PROTOCOL-HTTP2.md, "Security").
//!
//! In: a connected socket, certificates in PEM. Out: an encrypted stream that speaks h2. Not here: names of hosts in
//! addresses (`client`), when a connection is served (`server`).

mod client;
mod pem;
mod server;
mod watched;

pub use self::client::ClientTls;
pub(crate) use self::client::Connector;
pub use self::server::ServerTls;

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

/// The only protocol that is offered and taken.
const ALPN_H2: &[u8] = b"h2";

/// Named in every configuration: a program may have linked another provider too.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn invalid(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}
