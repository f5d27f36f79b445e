//! nginx between client and server: all in cleartext, or all over TLS, where the server asks nginx for a certificate.
//!
//! In: where the server is. Out: where nginx is, and the flags of both ends. What of its settings is the same for every
//! test is in `nginx.conf`. Not here: the tests (`proxies`).

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::certificates::Authority;
use super::support::{Running, program};

/// How client, nginx and server speak with each other.
pub(crate) enum Wire {
    Cleartext,
    /// A folder of PEM files: `ca`, and pairs for the server, for nginx as a server, for nginx as a client.
    Tls(TempDir),
}

/// A running nginx. Dropped, it is killed.
pub(crate) struct Nginx {
    /// Host and port.
    pub(crate) addr: String,
    _running: Running,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it before the server at `upstream`. It listens when this returns.
    pub(crate) fn before(upstream: &str, wire: &Wire) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let addr = format!("127.0.0.1:{}", free_port());
        fs::create_dir(path("temp")).expect("writable");
        fs::write(path("nginx.conf"), include_str!("nginx.conf")).expect("writable");
        fs::write(path("server.conf"), wire.server(&addr, upstream)).expect("writable");
        let mut nginx = program("NGINX", &["-e", "stderr", "-p"]);
        nginx.arg(folder.path()).arg("-c").arg(path("nginx.conf"));
        let running = Running::start(nginx);
        // The last thing that it says before it serves.
        running.said("getrlimit(RLIMIT_NOFILE)");
        Self {
            addr,
            _running: running,
            _folder: folder,
        }
    }
}

impl Wire {
    /// Each of the two.
    pub(crate) fn all() -> [Self; 2] {
        [Self::Cleartext, Self::tls()]
    }

    fn tls() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let authority = Authority::new("interop");
        fs::write(path("ca.pem"), authority.pem()).expect("writable");
        for (name, host) in [
            ("server", "orders.example"),
            ("nginx", "127.0.0.1"),
            ("client", "nginx"),
        ] {
            let [certificate, key] = [".pem", ".key"].map(|end| path(&format!("{name}{end}")));
            authority.vouch(host).write(&certificate, &key);
        }
        Self::Tls(folder)
    }

    /// The part of nginx's settings that says where it listens, and where the server is.
    fn server(&self, addr: &str, upstream: &str) -> String {
        let (listen, scheme, certificates) = match self {
            Self::Cleartext => ("", "grpc", String::new()),
            Self::Tls(folder) => ("ssl ", "grpcs", tls(folder.path())),
        };
        // `http2` stands behind `listen` for versions up to 1.25; later ones still take it. Connections to the server
        // are kept and used again, as it should be; each call has one for itself.
        format!(
            "upstream service {{ server {upstream}; keepalive 16; }}
             server {{
               listen {addr} {listen}http2;
               {certificates}
               add_header x-connection $connection;
               location / {{ grpc_pass {scheme}://service; }}
             }}"
        )
    }

    /// For `streamway serve`.
    pub(crate) fn serve(&self) -> Vec<String> {
        self.flags(&[], |file| {
            vec![
                format!("--tls-cert={}", file("server.pem")),
                format!("--tls-key={}", file("server.key")),
                format!("--tls-client-ca={}", file("ca.pem")),
            ]
        })
    }

    /// For `streamway`'s commands, to reach nginx at `addr`.
    pub(crate) fn streamway(&self, addr: &str) -> Vec<String> {
        let cleartext = format!("--addr=http://{addr}");
        self.flags(&[&cleartext], |file| {
            let ca = format!("--ca={}", file("ca.pem"));
            vec![format!("--addr=https://{addr}"), ca]
        })
    }

    /// For grpcurl.
    pub(crate) fn grpcurl(&self) -> Vec<String> {
        self.flags(&["-plaintext"], |file| {
            vec![format!("-cacert={}", file("ca.pem"))]
        })
    }

    /// For the servers of the interop cases.
    pub(crate) fn interop_server(&self) -> Vec<String> {
        self.flags(&[], |file| {
            vec![
                "--use_tls".to_owned(),
                format!("--tls_cert_file={}", file("server.pem")),
                format!("--tls_key_file={}", file("server.key")),
            ]
        })
    }

    /// For their clients.
    pub(crate) fn interop_client(&self) -> Vec<String> {
        self.flags(&[], |file| {
            let ca = format!("--ca_file={}", file("ca.pem"));
            vec!["--use_tls".to_owned(), "--use_test_ca".to_owned(), ca]
        })
    }

    fn flags(
        &self,
        cleartext: &[&str],
        tls: impl Fn(&dyn Fn(&str) -> String) -> Vec<String>,
    ) -> Vec<String> {
        match self {
            Self::Cleartext => cleartext.iter().map(|&flag| flag.to_owned()).collect(),
            Self::Tls(folder) => tls(&|name| folder.path().join(name).display().to_string()),
        }
    }
}

/// nginx's settings of certificates, which are in this folder.
fn tls(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "ssl_certificate {folder}/nginx.pem;
         ssl_certificate_key {folder}/nginx.key;
         grpc_ssl_certificate {folder}/client.pem;
         grpc_ssl_certificate_key {folder}/client.key;
         grpc_ssl_trusted_certificate {folder}/ca.pem;
         grpc_ssl_verify on;
         grpc_ssl_name orders.example;"
    )
}

/// nginx takes no port 0. These are not among those that the system chooses for others, which begin at 32768.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = process::id() % 100 * 100;
    let mut ports = std::iter::from_fn(|| {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        Some((20_000 + (first + next) % 10_000) as u16)
    });
    let free = ports.find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    free.expect("ports without end")
}
