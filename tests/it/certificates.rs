//! Authorities and the certificates that they vouch for. `tests/interop` uses them too.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Who vouches for certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("random");
        Self(CertifiedIssuer::self_signed(params, key).expect("a key"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn vouch(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("random");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a key");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// Writes both, each where it is told.
    pub(crate) fn write(&self, certificate: &Path, key: &Path) {
        fs::write(certificate, &self.certificate).expect("writable");
        fs::write(key, &self.key).expect("writable");
    }
}
