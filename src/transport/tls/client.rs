//! A client's side of TLS: whom it trusts, and the certificate that it shows.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, InvalidMessage, RootCertStore};

use super::pem::Pem;
use super::watched::{Settings, Watched};
use super::{ALPN_H2, invalid, provider};

/// Whom a client trusts, and the certificate that it shows. By default it trusts what the system trusts (on Unix the
/// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` say what that is) and shows none.
///
/// A channel looks at the files that these came from once a second, by a thread that lasts as long as the channel: new
/// ones are used from then on, for new connections, and ones that cannot be used change nothing but a line in the log.
#[derive(Clone, Default)]
pub struct ClientTls {
    pems: Pems,
    server_name: Option<String>,
}

#[derive(Clone, Default, PartialEq)]
struct Pems {
    /// In place of the system's.
    ca: Option<Pem>,
    identity: Option<Identity>,
}

#[derive(Clone, PartialEq)]
struct Identity {
    certificate: Pem,
    key: Pem,
}

/// A client's side, checked and ready for one server.
#[derive(Debug)]
pub(crate) struct Connector {
    tls: Watched<TlsConnector>,
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
        self.pems.ca = Some(Pem::new(CA, pem));
        self
    }

    /// As [`ClientTls::ca_pem`], of a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ca_file(mut self, path: &Path) -> io::Result<Self> {
        self.pems.ca = Some(Pem::of_file(CA, path)?);
        Ok(self)
    }

    /// Shows a server that asks this certificate, followed by those that vouch for it if there are any. Both are PEM.
    #[must_use]
    pub fn identity_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.pems.identity = Some(Identity {
            certificate: Pem::new(CERTIFICATE, certificate),
            key: Pem::new(KEY, key),
        });
        self
    }

    /// As [`ClientTls::identity_pem`], of files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn identity_files(mut self, certificate: &Path, key: &Path) -> io::Result<Self> {
        self.pems.identity = Some(Identity {
            certificate: Pem::of_file(CERTIFICATE, certificate)?,
            key: Pem::of_file(KEY, key)?,
        });
        Ok(self)
    }

    /// The name that the server's certificate must have, in place of the host in its address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Checks everything, for a server at `host`.
    pub(crate) fn connector(&self, host: &str) -> io::Result<Connector> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        Ok(Connector {
            server_name: ServerName::try_from(name).map_err(invalid)?,
            tls: Watched::new(self.pems.clone())?,
        })
    }
}

impl Settings for Pems {
    type Made = TlsConnector;

    fn files(&self) -> Vec<&Path> {
        let identity = self.identity.iter();
        let pair = identity.flat_map(|pair| [&pair.certificate, &pair.key]);
        self.ca.iter().chain(pair).filter_map(Pem::file).collect()
    }

    fn read_again(&self) -> io::Result<Self> {
        let identity = self.identity.as_ref();
        Ok(Self {
            ca: self.ca.as_ref().map(Pem::read_again).transpose()?,
            identity: identity.map(Identity::read_again).transpose()?,
        })
    }

    fn make(&self) -> io::Result<TlsConnector> {
        let roots = match &self.ca {
            Some(ca) => ca.roots()?,
            None => system_roots()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => builder
                .with_client_auth_cert(certificate.certificates()?, key.private_key()?)
                .map_err(|error| key.no_pair(certificate, error))?,
        };
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Identity {
    fn read_again(&self) -> io::Result<Self> {
        Ok(Self {
            certificate: self.certificate.read_again()?,
            key: self.key.read_again()?,
        })
    }
}

impl Connector {
    /// Shakes hands with the server.
    ///
    /// # Errors
    /// When the server's certificate is not trusted, or it does not take `h2`.
    pub(crate) async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let tls = self.tls.current();
        let shaken = tls.connect(self.server_name.clone(), socket).await;
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

const CA: &str = "the CA";
const CERTIFICATE: &str = "the certificate";
const KEY: &str = "the key";

/// Without the key.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("system_roots", &self.pems.ca.is_none())
            .field("identity", &self.pems.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}
