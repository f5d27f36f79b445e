//! A server's side of TLS: its certificate and key, whom it lets in, and new files taken up as they come.
//!
//! ```text
//!   serving a pair ──handshake, the files are the same──▶ serving it
//!                  ──the files have changed and fit──────▶ serving the new pair
//!                  ──changed, and cannot be used─────────▶ serving the old pair; the log says why, once
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::server::TlsStream;

use super::{ALPN_H2, about, certificates, invalid, no_pair, private_key, provider, roots};
use crate::transport::io::linger;

/// How long a client may take for its handshake. 5 s: a few round trips anywhere; a client that connects and says nothing
/// holds a socket no longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client that is not let in may take to close. One second: a few round trips anywhere.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// A server's certificate and key, and which clients it lets in. Clones share it.
///
/// Made of files, it looks at them at each handshake: new ones are used from then on, for new connections, and ones that
/// cannot be used change nothing but a line in the log.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    files: Option<Files>,
    state: Mutex<State>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

struct State {
    /// What the files held when they were last looked at, or why they could not be read.
    seen: Result<Pem, String>,
    acceptor: TlsAcceptor,
}

#[derive(PartialEq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
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
        let files = Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_ca: client_ca.map(Path::to_owned),
        };
        Self::new(files.read()?, Some(files))
    }

    /// As [`ServerTls::from_files`], of what such files hold.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn from_pem(certificate: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> io::Result<Self> {
        let pem = Pem {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
            client_ca: client_ca.map(<[u8]>::to_vec),
        };
        Self::new(pem, None)
    }

    fn new(pem: Pem, files: Option<Files>) -> io::Result<Self> {
        let acceptor = pem.acceptor()?;
        Ok(Self(Arc::new(Inner {
            files,
            state: Mutex::new(State {
                seen: Ok(pem),
                acceptor,
            }),
        })))
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// When the client is not let in, does not offer `h2`, or takes too long.
    pub(crate) async fn accept<Io>(&self, socket: Io) -> io::Result<TlsStream<Io>>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let accept = self.acceptor().accept(socket).into_fallible();
        let stream = match timeout(HANDSHAKE_TIMEOUT, accept).await? {
            Ok(stream) => stream,
            Err((error, socket)) => {
                // The client is to read the alert that says why.
                let _ = timeout(LINGER_TIMEOUT, linger(socket)).await;
                return Err(error);
            }
        };
        // rustls refuses a client that offers other protocols only; this one offered none at all.
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_H2) => Ok(stream),
            _ => Err(io::Error::other("the client did not ask for h2")),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        // A panic leaves nothing half changed: the state is replaced whole.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &self.0.files {
            state.look_at(files);
        }
        state.acceptor.clone()
    }
}

impl State {
    fn look_at(&mut self, files: &Files) {
        let now = files.read().map_err(|error| error.to_string());
        if now == self.seen {
            return;
        }
        let acceptor = match &now {
            Ok(pem) => pem.acceptor().map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match acceptor {
            Ok(acceptor) => {
                tracing::info!(certificate = %files.certificate.display(), "a new certificate is served");
                self.acceptor = acceptor;
            }
            Err(error) => tracing::warn!(
                certificate = %files.certificate.display(),
                error,
                "the certificate files have changed and cannot be used; the old certificate is still served"
            ),
        }
        self.seen = now;
    }
}

impl Files {
    fn read(&self) -> io::Result<Pem> {
        let read = |path: &Path| fs::read(path).map_err(about(path.display()));
        Ok(Pem {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

impl Pem {
    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let certificate = certificates(&self.certificate).map_err(about("the certificate"))?;
        let key = private_key(&self.key).map_err(about("the key"))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(invalid)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(client_ca) => {
                let roots = roots(client_ca).map_err(about("the clients' CA"))?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build().map_err(invalid)?)
            }
        };
        // Fails when the key is not the certificate's.
        let mut config = builder
            .with_single_cert(certificate, key)
            .map_err(no_pair)?;
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Without the key.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ServerTls");
        if let Some(files) = &self.0.files {
            debug.field("certificate", &files.certificate);
            debug.field("client_ca", &files.client_ca);
        }
        debug.finish_non_exhaustive()
    }
}
