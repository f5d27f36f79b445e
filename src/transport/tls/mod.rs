//! TLS below HTTP/2: rustls, with ALPN `h2` required on both sides (PROTOCOL-HTTP2.md, "Security").
//!
//! In: a connected socket, certificates in PEM. Out: an encrypted stream that speaks h2. Not here: names of hosts in
//! addresses (`client`), when a connection is served (`server`).

mod client;
mod server;

pub use self::client::ClientTls;
pub(crate) use self::client::Connector;
pub use self::server::ServerTls;

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

/// The only protocol that is offered and taken.
const ALPN_H2: &[u8] = b"h2";

/// Named in every configuration: a program may have linked another provider too.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of a PEM text: at least one.
fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(invalid("there is no certificate in it"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(invalid(error)),
    }
}

fn private_key(pem: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            invalid("there is no private key in it, or one behind a passphrase")
        }
        error => invalid(error),
    })
}

/// Why a certificate and a key make no pair.
fn no_pair(error: rustls::Error) -> io::Error {
    match error {
        rustls::Error::InconsistentKeys(_) => invalid("the key is not the certificate's"),
        error => invalid(error),
    }
}

/// What the certificates of a PEM text vouch for.
fn roots(pem: &[u8]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(invalid)?;
    }
    Ok(roots)
}

fn invalid(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

/// The error with where it came from.
fn about(what: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}
