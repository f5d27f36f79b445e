//! A PEM text, and the file that it came from.
//!
//! In: a text, or a path. Out: what is in it; what is wrong with it, with its name. Not here: when a file is read again
//! (`watched`).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use super::invalid;

/// The most that is read of a file. 4 MiB: all that a system trusts is a quarter of one.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A PEM text.
#[derive(Clone, PartialEq)]
pub(super) struct Pem {
    what: &'static str,
    text: Vec<u8>,
    /// Where it can be read again.
    file: Option<PathBuf>,
}

impl Pem {
    /// `what` names it in errors.
    pub(super) fn new(what: &'static str, text: impl Into<Vec<u8>>) -> Self {
        Self {
            what,
            text: text.into(),
            file: None,
        }
    }

    /// The text in a file. A pipe gives its text once, and is then a text without a file.
    pub(super) fn of_file(what: &'static str, path: &Path) -> io::Result<Self> {
        let read = || Ok((read(path)?, is_regular(path)?));
        let (text, regular) = read().map_err(about(path.display()))?;
        Ok(Self {
            what,
            text,
            file: regular.then(|| path.to_owned()),
        })
    }

    /// What the file holds now; the same, if there is none.
    pub(super) fn read_again(&self) -> io::Result<Self> {
        let Some(path) = &self.file else {
            return Ok(self.clone());
        };
        // Nobody need ever write to a pipe.
        let read = || match is_regular(path)? {
            true => read(path),
            false => Err(invalid("no regular file")),
        };
        Ok(Self {
            text: read().map_err(about(path.display()))?,
            ..self.clone()
        })
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The certificates in it: at least one.
    pub(super) fn certificates(&self) -> io::Result<Vec<CertificateDer<'static>>> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        match read {
            Ok(certificates) if certificates.is_empty() => {
                Err(self.unusable("there is no certificate in it"))
            }
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.unusable(error)),
        }
    }

    /// The first private key in it.
    pub(super) fn private_key(&self) -> io::Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| match error {
            Error::NoItemsFound => {
                self.unusable("there is no private key in it, or one behind a passphrase")
            }
            error => self.unusable(error),
        })
    }

    /// What the certificates in it vouch for.
    pub(super) fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.unusable(error))?;
        }
        Ok(roots)
    }

    /// Why this key makes no pair with `certificate`.
    pub(super) fn no_pair(&self, certificate: &Self, error: rustls::Error) -> io::Error {
        match error {
            rustls::Error::InconsistentKeys(_) => self.unusable("the key is not the certificate's"),
            rustls::Error::InvalidCertificate(_) => certificate.unusable(error),
            error => self.unusable(error),
        }
    }

    fn unusable(&self, error: impl fmt::Display) -> io::Error {
        match &self.file {
            Some(path) => about(path.display())(invalid(error)),
            None => about(self.what)(invalid(error)),
        }
    }
}

fn is_regular(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.is_file())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(invalid(format!("more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// The error with where it came from.
fn about(what: impl fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_read_again_as_it_is_now_and_nothing_but_a_file_of_some_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "one").unwrap();
        let pem = Pem::of_file("the CA", &path).unwrap();
        assert!(pem.read_again().unwrap() == pem);
        fs::write(&path, "two").unwrap();
        assert_eq!(pem.read_again().unwrap().text, b"two");

        let told = |pem: &Pem| pem.read_again().err().unwrap().to_string();
        File::create(&path)
            .unwrap()
            .set_len(MAX_FILE_BYTES + 1)
            .unwrap();
        assert!(told(&pem).ends_with("ca.pem: more than 4194304 bytes"));
        fs::remove_file(&path).unwrap();
        assert!(told(&pem).contains("ca.pem: No such file"));
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let (tell, is_told) = mpsc::channel();
        thread::spawn(move || tell.send(told(&pem)));
        let text = is_told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(text.ends_with("ca.pem: no regular file"), "{text}");
    }

    #[test]
    fn a_text_and_what_a_device_says_are_read_once() {
        let text = Pem::new("the CA", "one");
        assert!(text.read_again().unwrap() == text && text.file().is_none());
        let device = Pem::of_file("the CA", Path::new("/dev/null")).unwrap();
        assert!(device.read_again().unwrap() == device && device.file().is_none());
        let error = device.certificates().unwrap_err().to_string();
        assert_eq!(error, "the CA: there is no certificate in it");
    }
}
