//! A client's side of TLS: whom it trusts, and the certificate that it shows.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, InvalidMessage, RootCertStore};

use super::{ALPN_H2, about, certificates, invalid, no_pair, private_key, provider, roots};

/// Whom a client trusts, and the certificate that it shows. By default it trusts what the system trusts (on Unix the
/// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` say what that is) and shows none.
#[derive(Clone, Default)]
pub struct ClientTls {
    /// PEM, in place of the system's.
    ca: Option<Vec<u8>>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

#[derive(Clone)]
struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A client's side, checked and ready for one server.
pub(crate) struct Connector {
    tls: TlsConnector,
    server_name: ServerName<'static>,
}

impl ClientTls {
    /// Trusts what the system trusts, shows no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts what the certificates in this PEM text vouch for, and nothing else.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// As [`ClientTls::ca_pem`], of a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_file(self, path: &Path) -> io::Result<Self> {
        Ok(self.ca_pem(fs::read(path).map_err(about(path.display()))?))
    }

    /// Shows a server that asks this certificate, followed by those that vouch for it if there are any. Both are PEM.
    #[must_use]
    pub fn identity_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some(Identity {
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// As [`ClientTls::identity_pem`], of files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn identity_files(self, certificate: &Path, key: &Path) -> io::Result<Self> {
        let read = |path: &Path| fs::read(path).map_err(about(path.display()));
        Ok(self.identity_pem(read(certificate)?, read(key)?))
    }

    /// The name that the server's certificate must have, in place of the host in its address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Checks everything, for a server at `host`.
    pub(crate) fn connector(&self, host: &str) -> io::Result<Connector> {
        let roots = match &self.ca {
            Some(pem) => roots(pem).map_err(about("the CA"))?,
            None => system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate =
                    certificates(&identity.certificate).map_err(about("the certificate"))?;
                let key = private_key(&identity.key).map_err(about("the key"))?;
                builder
                    .with_client_auth_cert(certificate, key)
                    .map_err(no_pair)?
            }
        };
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        Ok(Connector {
            tls: TlsConnector::from(Arc::new(config)),
            server_name: ServerName::try_from(name).map_err(invalid)?,
        })
    }
}

impl Connector {
    /// Shakes hands with the server.
    ///
    /// # Errors
    /// When the server's certificate is not trusted, or it does not take `h2`.
    pub(crate) async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let shaken = self.tls.connect(self.server_name.clone(), socket).await;
        let stream = shaken.map_err(explain)?;
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_H2) => Ok(stream),
            _ => Err(io::Error::other(
                "the server does not speak HTTP/2 here: it did not choose h2",
            )),
        }
    }
}

/// A server that does not speak TLS answers in what it speaks, which rustls calls an invalid content type, or not at all.
fn explain(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let text = match cause {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "the server does not speak TLS here; its address begins with http://"
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection in the TLS handshake; \
             if it does not speak TLS here, its address begins with http://"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

fn system_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems have some that no longer can be read; the others count.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match found.errors.first() {
        _ if added > 0 => Ok(roots),
        Some(error) => Err(invalid(format!(
            "no certificates that the system trusts: {error}"
        ))),
        None => Err(invalid("the system trusts no certificates; name a CA")),
    }
}

/// Without the key.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("system_roots", &self.ca.is_none())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.server_name).finish()
    }
}
