//! A server's side of TLS: its certificate and key, and whom it lets in.
//!
//! In: a socket. Out: one that speaks h2, encrypted, or none. Not here: new files (`watched`).

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::server::TlsStream;

use super::pem::Pem;
use super::watched::{Settings, Watched};
use super::{ALPN_H2, invalid, provider};
use crate::transport::io::linger;
use crate::transport::{CLOSE_GRACE, HANDSHAKE_TIMEOUT};

/// A server's certificate and key, and which clients it lets in. Clones share it.
///
/// Made of files, they are looked at once a second, by a thread that lasts as long as the clones: new ones are used from
/// then on, for new connections, and ones that cannot be used change nothing but a line in the log. No handshake waits
/// for a file.
#[derive(Clone)]
pub struct ServerTls(Arc<Watched<TlsAcceptor>>);

#[derive(Clone, PartialEq)]
struct Pems {
    certificate: Pem,
    key: Pem,
    client_ca: Option<Pem>,
}

impl ServerTls {
    /// Serves with the certificate, followed by those that vouch for it if there are any, and the key of these files, in
    /// PEM. With `client_ca`, clients must show a certificate that one in this file vouches for.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not fit together.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        client_ca: Option<&Path>,
    ) -> io::Result<Self> {
        Self::new(Pems {
            certificate: Pem::of_file(CERTIFICATE, certificate)?,
            key: Pem::of_file(KEY, key)?,
            client_ca: client_ca
                .map(|path| Pem::of_file(CLIENT_CA, path))
                .transpose()?,
        })
    }

    /// As [`ServerTls::from_files`], of what such files hold.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn from_pem(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> io::Result<Self> {
        Self::new(Pems {
            certificate: Pem::new(CERTIFICATE, certificate),
            key: Pem::new(KEY, key),
            client_ca: client_ca.map(|pem| Pem::new(CLIENT_CA, pem)),
        })
    }

    fn new(pems: Pems) -> io::Result<Self> {
        Ok(Self(Arc::new(Watched::new(pems)?)))
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// When the client is not let in, does not offer `h2`, or takes too long.
    pub(crate) async fn accept<Io>(&self, socket: Io) -> io::Result<TlsStream<Io>>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let accept = self.0.current().accept(socket).into_fallible();
        let stream = match timeout(HANDSHAKE_TIMEOUT, accept).await? {
            Ok(stream) => stream,
            Err((error, socket)) => {
                // The client is to read the alert that says why.
                let _ = timeout(CLOSE_GRACE, linger(socket)).await;
                return Err(error);
            }
        };
        // rustls refuses a client that offers other protocols only; this one offered none at all.
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_H2) => Ok(stream),
            _ => {
                let _ = timeout(CLOSE_GRACE, linger(stream)).await;
                Err(io::Error::other("the client did not ask for h2"))
            }
        }
    }
}

impl Settings for Pems {
    type Made = TlsAcceptor;

    fn files(&self) -> Vec<&Path> {
        let pems = [&self.certificate, &self.key].into_iter();
        pems.chain(&self.client_ca).filter_map(Pem::file).collect()
    }

    fn read_again(&self) -> io::Result<Self> {
        Ok(Self {
            certificate: self.certificate.read_again()?,
            key: self.key.read_again()?,
            client_ca: self.client_ca.as_ref().map(Pem::read_again).transpose()?,
        })
    }

    fn make(&self) -> io::Result<TlsAcceptor> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(invalid)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(client_ca) => {
                let roots = Arc::new(client_ca.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                builder.with_client_cert_verifier(verifier.build().map_err(invalid)?)
            }
        };
        // A pair that is half written does not fit.
        let mut config = builder
            .with_single_cert(self.certificate.certificates()?, self.key.private_key()?)
            .map_err(|error| self.key.no_pair(&self.certificate, error))?;
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

const CERTIFICATE: &str = "the certificate";
const KEY: &str = "the key";
const CLIENT_CA: &str = "the clients' CA";

/// The files, and nothing that is in them.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.0).finish()
    }
}
