//! The servers: ours, our gateway, and grpc-go's.
//!
//! In: how to start them. Out: where they listen. Each has any free port, and ends with its test.

use std::path::Path;
use std::process::Command;

use super::support::{Running, program};

/// `streamway serve`.
pub(crate) struct Serve {
    /// Host and port of gRPC.
    pub(crate) addr: String,
    /// Host and port of the HTTP front.
    pub(crate) http: String,
    pub(crate) running: Running,
}

impl Serve {
    /// Starts it on this data folder. It listens when this returns.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::within("", data, more)
    }

    /// The same behind what a shell does first, such as `ulimit -n 40`.
    pub(crate) fn within(limits: &str, data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("UTF-8");
        let ports = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
        let args = [&["serve", "--data-dir", data][..], &ports, more].concat();
        let serve = program("STREAMWAY", &args);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}\nexec \"$0\" \"$@\"")]);
        shell.arg(serve.get_program()).args(serve.get_args());
        let running = Running::start(shell);
        let addr = running.said("gRPC    ");
        let addr = addr.split_once(' ').expect("and its threads").0.to_owned();
        let http = host(&running.said("HTTP    "));
        Self {
            addr,
            http,
            running,
        }
    }
}

/// `streamway gateway`.
pub(crate) struct Gateway {
    /// Host and port.
    pub(crate) http: String,
    _running: Running,
}

impl Gateway {
    pub(crate) fn start(backend: &str) -> Self {
        let backend = format!("http://{backend}");
        let args = [
            "gateway",
            "--backend",
            &backend,
            "--http-addr",
            "127.0.0.1:0",
        ];
        let running = Running::start(program("STREAMWAY", &args));
        running.said("gateway");
        Self {
            http: host(&running.said("  ")),
            _running: running,
        }
    }
}

/// grpc-go's server of the service.
pub(crate) struct GrpcGo {
    pub(crate) addr: String,
    _running: Running,
}

impl GrpcGo {
    pub(crate) fn serve(orders: u32) -> Self {
        let running = Running::start(program(
            "INTEROP",
            &["server", "-orders", &orders.to_string()],
        ));
        let line = running.line();
        let addr = line
            .strip_prefix("listening ")
            .expect("its first line")
            .to_owned();
        Self {
            addr,
            _running: running,
        }
    }
}

/// Host and port of a URL.
fn host(url: &str) -> String {
    let host = url
        .strip_prefix("http://")
        .and_then(|url| url.split('/').next());
    host.expect("a URL").to_owned()
}
