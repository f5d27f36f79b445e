//! A client that must not notice: small calls on a connection of its own, one after the other.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use streamway::client::Config;
use streamway::proto::OrderSearchParams;
use streamway::proto::stream_service::StreamServiceClient;
use streamway::transport::ClientTls;
use streamway::{Channel, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// A call that takes longer has failed. Far more than one takes on a machine that does other things too.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the slowest call may take. Most take a few milliseconds; this is what other tests on the same two cores, and the
/// start of a thousand calls, make of it.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(5);

/// Orders of each call.
const ORDERS: u32 = 3;

/// Calls until it is told to stop.
pub(crate) struct Canary {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Song, String>>,
}

/// How the calls went: all well.
#[derive(Debug, Default)]
pub(crate) struct Song {
    pub(crate) calls: usize,
    pub(crate) slowest: Duration,
}

impl Song {
    /// Requires that there were calls, and that none had to wait.
    pub(crate) fn assert_undisturbed(&self) {
        assert!(self.calls > 0);
        assert!(self.slowest <= UNDISTURBED, "{:?}", self.slowest);
    }
}

impl Canary {
    /// A client of this host and port, over TLS when it is told whom to trust. Its first call has ended when this returns.
    pub(crate) fn start(addr: &str, ca: Option<&Path>) -> Self {
        let (mut config, mut address) = (Config::default(), format!("http://{addr}"));
        if let Some(ca) = ca {
            config.tls = ClientTls::new().ca_file(ca).expect("a certificate");
            address = format!("https://{addr}");
        }
        Self::sing(async move || {
            let channel = Channel::with_config(&address, config).expect("an address");
            let client = StreamServiceClient::new(channel);
            async move || call(&client).await.map_err(|status| status.to_string())
        })
    }

    /// The same of the HTTP front, on one connection.
    pub(crate) fn start_http(addr: &str) -> Self {
        let addr = addr.to_owned();
        Self::sing(async move || {
            let mut socket = TcpStream::connect(&addr).await.expect("it listens");
            async move || request(&mut socket).await
        })
    }

    /// `tune` comes with the tune, which is sung again and again.
    fn sing<Tuning, Tune>(tune: impl FnOnce() -> Tuning + Send + 'static) -> Self
    where
        Tuning: Future<Output = Tune>,
        Tune: AsyncFnMut() -> Result<(), String>,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (begun, begins) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut tune = tune().await;
                let mut song = Song::default();
                loop {
                    // The last call begins when the attack is over.
                    let last = stopped.load(Ordering::Relaxed);
                    let started = Instant::now();
                    tune().await?;
                    song.slowest = song.slowest.max(started.elapsed());
                    song.calls += 1;
                    // Nobody listens after the first.
                    let _ = begun.send(());
                    if last {
                        return Ok(song);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            })
        });
        // An error means that the first call has failed, which its end tells.
        let _ = begins.recv();
        Self { stop, thread }
    }

    /// Its calls until now.
    pub(crate) fn stop(self) -> Song {
        self.stop.store(true, Ordering::Relaxed);
        let song = self.thread.join().expect("no panic");
        song.expect("the canary notices nothing")
    }
}

async fn call(client: &StreamServiceClient) -> Result<(), Status> {
    let search = OrderSearchParams {
        limit: ORDERS,
        ..OrderSearchParams::default()
    };
    let call = client.order_list(search).timeout(CALL_TIMEOUT).start();
    let mut orders = call.await?;
    let mut count = 0;
    while orders.message().await?.is_some() {
        count += 1;
    }
    assert_eq!(count, ORDERS);
    Ok(())
}

/// One export over HTTP/1.1.
async fn request(socket: &mut TcpStream) -> Result<(), String> {
    const END: &[u8] = b"\r\n0\r\n\r\n";
    let line = format!("GET /testOrderList?limit={ORDERS} HTTP/1.1\r\nhost: canary\r\n\r\n");
    let mut answer = Vec::new();
    let exchange = async {
        socket.write_all(line.as_bytes()).await?;
        while !answer.ends_with(END) {
            if socket.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(())
    };
    let exchanged = timeout(CALL_TIMEOUT, exchange).await;
    let answer = String::from_utf8_lossy(&answer);
    match exchanged {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(format!("{error} after {answer:?}")),
        Err(_) => return Err(format!("nothing in {CALL_TIMEOUT:?} after {answer:?}")),
    }
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(
        answer.matches("\"id\":").count(),
        ORDERS as usize,
        "{answer}"
    );
    Ok(())
}
