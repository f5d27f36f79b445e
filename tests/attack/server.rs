//! `streamway serve` under attack: what it costs the process, and the line that says so.

use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::canary::Canary;
use crate::certificates::Authority;
use crate::raw::peer::Peer;
use crate::support::{Finished, Running, program};

/// By how much one attack may let the server grow, unless it says otherwise. The buffers of a few connections, and what the
/// allocator keeps.
const MAX_GROWTH_KIB: u64 = 16 * 1024;

/// How much CPU time one attack may take from the server, the canary's calls included, unless it says otherwise. What an
/// attacker can have for as long as it pays for it is no attack; this is far from a core that spins.
const MAX_CPU: Duration = Duration::from_millis(1500);

/// What a test gets that wants nothing else: few orders, so that a start does not take long.
const DEFAULTS: [(&str, &str); 2] = [("--sample-orders", "1000"), ("--http-addr", "off")];

/// A server that is attacked, and its canary.
pub(crate) struct Attacked {
    /// Host and port.
    pub(crate) addr: String,
    pub(crate) running: Running,
    canary: Mutex<Option<Canary>>,
    /// Certificates, and what the server stores.
    folder: TempDir,
    before: Mutex<Cost>,
    started: Instant,
}

/// Its HTTP front, which has a canary of its own.
pub(crate) struct Front {
    /// Host and port.
    pub(crate) addr: String,
    canary: Canary,
}

/// What a process has taken so far.
#[derive(Clone, Copy, Debug)]
struct Cost {
    rss_kib: u64,
    cpu: Duration,
}

/// What an attack may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    pub(crate) growth_kib: u64,
    pub(crate) cpu: Duration,
}

impl Default for Price {
    fn default() -> Self {
        Self {
            growth_kib: MAX_GROWTH_KIB,
            cpu: MAX_CPU,
        }
    }
}

impl Attacked {
    /// A server with these arguments besides.
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_as(|args| program("STREAMWAY", args), more)
    }

    /// A server that may have no more than so many descriptors.
    pub(crate) fn start_with_descriptors(most: u32, more: &[&str]) -> Self {
        let limit = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        let shell = |args: &[&str]| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &limit]);
            shell
                .arg(program("STREAMWAY", &[]).get_program())
                .args(args);
            shell
        };
        Self::start_as(shell, more)
    }

    fn start_as(command: impl FnOnce(&[&str]) -> Command, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::start_in(folder, command, more, None)
    }

    /// A server over TLS, with a certificate of its own.
    pub(crate) fn start_with_tls() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key, ca] =
            ["server.pem", "server.key", "ca.pem"].map(|name| folder.path().join(name));
        let authority = Authority::new("of the attacked");
        authority.vouch("127.0.0.1").write(&certificate, &key);
        std::fs::write(&ca, authority.pem()).expect("writable");
        let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("UTF-8"));
        let tls = ["--tls-cert", certificate, "--tls-key", key];
        Self::start_in(folder, |args| program("STREAMWAY", args), &tls, Some(&ca))
    }

    fn start_in(
        folder: TempDir,
        command: impl FnOnce(&[&str]) -> Command,
        more: &[&str],
        ca: Option<&Path>,
    ) -> Self {
        let data = folder.path().join("data");
        let args = [
            &["serve", "--data-dir", data.to_str().expect("UTF-8")][..],
            &["--grpc-addr", "127.0.0.1:0"],
            more,
        ]
        .concat();
        let mut command = command(&args);
        for (flag, value) in DEFAULTS {
            if !more.contains(&flag) {
                command.args([flag, value]);
            }
        }
        let running = Running::start(command);
        let addr = running.said("gRPC    ");
        let addr = addr.split_once(' ').expect("and its threads").0.to_owned();
        let canary = Canary::start(&addr, ca);
        let before = Mutex::new(Cost::of(&running));
        Self {
            addr,
            running,
            canary: Mutex::new(Some(canary)),
            folder,
            before,
            started: Instant::now(),
        }
    }

    /// The front of a server that was started with one.
    pub(crate) fn front(&self) -> Front {
        let addr = self.running.said("HTTP    http://");
        let addr = addr.split_once('/').expect("a URL").0.to_owned();
        let canary = Canary::start_http(&addr);
        Front { addr, canary }
    }

    pub(crate) fn port(&self) -> u16 {
        port(&self.addr)
    }

    /// What belongs to the server, and nothing else.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is stored.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// A connection on which nothing was said.
    pub(crate) async fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.addr).await.expect("it listens");
        // An attack is sent when it is meant to.
        socket.set_nodelay(true).expect("a socket");
        socket
    }

    /// A connection that takes as little as it can.
    pub(crate) async fn narrow_socket(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        // The kernel makes it as small as it can.
        socket.set_recv_buffer_size(1).expect("a socket");
        let addr = self.addr.parse().expect("an address");
        socket.connect(addr).await.expect("it listens")
    }

    /// An HTTP/2 connection with these settings.
    pub(crate) async fn connect(&self, settings: &[(u16, u32)]) -> Peer<TcpStream> {
        let peer = Peer::connect(self.socket().await, settings).await;
        peer.expect("an HTTP/2 server")
    }

    /// By how much its RSS has grown since the attack began.
    pub(crate) fn growth_kib(&self) -> u64 {
        let now = self.running.memory_kib("VmRSS");
        now.saturating_sub(self.before().rss_kib)
    }

    /// Waits until neither its RSS nor the other figure moves any more, and returns both.
    pub(crate) async fn settled(&self, other: impl Fn() -> u64) -> (u64, u64) {
        let mut last = (other(), self.growth_kib());
        for _ in 0..40 {
            sleep(Duration::from_millis(250)).await;
            let now = (other(), self.growth_kib());
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    /// Waits until it takes no more memory, and returns how much it has taken.
    pub(crate) async fn settled_kib(&self) -> usize {
        self.settled(|| 0).await.1 as usize
    }

    /// What it has cost so far is not the attack's.
    pub(crate) fn begin_again(&self) {
        *self.before.lock().expect("no panic") = Cost::of(&self.running);
    }

    fn before(&self) -> Cost {
        *self.before.lock().expect("no panic")
    }

    /// Stops the canary, which has noticed nothing; prints the line; checks the price.
    pub(crate) fn held(&self, attack: &str, figure: impl Display, price: Price) {
        let after = Cost::of(&self.running);
        let elapsed = self.started.elapsed();
        let canary = self.canary.lock().expect("no panic").take();
        let song = canary.expect("stopped once").stop();
        let growth = after.rss_kib.saturating_sub(self.before().rss_kib);
        let cpu = after.cpu.saturating_sub(self.before().cpu);
        println!(
            "attack, held: {attack}: {figure}; {} ms, RSS +{:.1} MiB, CPU {} ms; canary {} calls, the slowest {} ms",
            elapsed.as_millis(),
            growth as f64 / 1024.0,
            cpu.as_millis(),
            song.calls,
            song.slowest.as_millis(),
        );
        song.assert_undisturbed();
        assert!(growth <= price.growth_kib, "{attack}: RSS +{growth} KiB");
        assert!(cpu <= price.cpu, "{attack}: {cpu:?} of CPU");
    }

    /// Ends the server, and tells what it said.
    pub(crate) fn end(self) -> Finished {
        self.running.signal("TERM");
        self.running.finish()
    }
}

impl Front {
    pub(crate) fn port(&self) -> u16 {
        port(&self.addr)
    }

    /// Stops its canary, which has noticed nothing, and says so for the figure.
    pub(crate) fn held(self) -> String {
        let song = self.canary.stop();
        song.assert_undisturbed();
        format!(
            "; {} calls over HTTP, the slowest {} ms",
            song.calls,
            song.slowest.as_millis()
        )
    }
}

impl Cost {
    fn of(running: &Running) -> Self {
        Self {
            rss_kib: running.memory_kib("VmRSS"),
            cpu: running.cpu(),
        }
    }
}

fn port(addr: &str) -> u16 {
    let port = addr.rsplit_once(':').expect("host and port").1;
    port.parse().expect("a number")
}
