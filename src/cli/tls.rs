//! Certificates on the command line: whom a client trusts and what it shows, what a server shows and whom it lets in.
//!
//! In: paths of PEM files. Out: settings of TLS, or which flag cannot be used. Not here: what is in the files
//! (`transport`).

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::client::{Address, Scheme};
use crate::transport::{ClientTls, ServerTls};

/// For a command that connects to a server.
#[derive(Args, Debug)]
pub(super) struct Client {
    /// Certificates, in PEM, that vouch for an https:// server [default: those that the system trusts]
    #[arg(long, env = "STREAMWAY_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Certificate, in PEM, to show an https:// server that asks for one [default: none]
    #[arg(long, env = "STREAMWAY_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The key of --cert, in PEM [default: none]
    #[arg(long, env = "STREAMWAY_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// For a server.
#[derive(Args, Debug)]
pub(super) struct Server {
    /// Serve gRPC over TLS with this certificate, in PEM; a changed file is taken up [default: cleartext]
    #[arg(
        long,
        env = "STREAMWAY_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, in PEM [default: none]
    #[arg(
        long,
        env = "STREAMWAY_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// Let in only clients whose certificate one of these, in PEM, vouches for [default: all clients]
    #[arg(
        long,
        env = "STREAMWAY_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_client_ca: Option<PathBuf>,
}

/// Who gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    Cleartext,
    Tls,
    MutualTls,
}

impl Client {
    /// The settings for a server at `address`, the value of `flag`.
    ///
    /// # Errors
    /// When certificates are named and the server is not asked over TLS, which would send in the clear what was to be
    /// encrypted; when a file cannot be read.
    pub(super) fn settings(&self, address: &Address, flag: &str) -> Result<ClientTls, Failure> {
        let named = [
            ("--ca (STREAMWAY_CA)", &self.ca),
            ("--cert (STREAMWAY_CERT)", &self.cert),
            ("--key (STREAMWAY_KEY)", &self.key),
        ];
        let named = named.into_iter().find(|(_, file)| file.is_some());
        if let (Scheme::Cleartext, Some((name, _))) = (address.scheme(), named) {
            return Err(Failure::usage(format!(
                "{name} is for an https:// server, and {flag} is {address}"
            )));
        }
        let mut tls = ClientTls::new();
        if let Some(ca) = &self.ca {
            let trusting = tls.ca_file(ca);
            tls = trusting.map_err(|error| Failure::io("cannot use --ca", &error))?;
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let showing = tls.identity_files(cert, key);
            tls = showing.map_err(|error| Failure::io("cannot use --cert with --key", &error))?;
        }
        Ok(tls)
    }
}

impl Server {
    /// The certificate that is served, if one is.
    pub(super) fn settings(&self) -> Result<Option<ServerTls>, Failure> {
        let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let tls = ServerTls::from_files(cert, key, self.tls_client_ca.as_deref());
        tls.map(Some).map_err(|error| {
            let what = match self.tls_client_ca {
                None => "cannot use --tls-cert with --tls-key",
                Some(_) => "cannot use --tls-cert with --tls-key and --tls-client-ca",
            };
            Failure::io(what, &error)
        })
    }

    pub(super) fn security(&self) -> Security {
        match (&self.tls_cert, &self.tls_client_ca) {
            (None, _) => Security::Cleartext,
            (Some(_), None) => Security::Tls,
            (Some(_), Some(_)) => Security::MutualTls,
        }
    }
}
