//! A client that must not notice: small calls on a connection of its own, one after the other.

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
use tokio::runtime::Builder;

/// A call that takes longer has failed. Far more than one takes on a machine that does other things too.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two calls.
const PAUSE: Duration = Duration::from_millis(5);

/// Orders of each call.
const ORDERS: u32 = 3;

/// Calls until it is told to stop.
pub(crate) struct Canary {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Song, Status>>,
}

/// How the calls went: all well.
#[derive(Debug, Default)]
pub(crate) struct Song {
    pub(crate) calls: usize,
    pub(crate) slowest: Duration,
}

impl Canary {
    /// A client of this host and port, over TLS when it is told whom to trust. Its first call has ended when this returns.
    pub(crate) fn start(addr: &str, ca: Option<&Path>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (mut config, mut address) = (Config::default(), format!("http://{addr}"));
        if let Some(ca) = ca {
            config.tls = ClientTls::new().ca_file(ca).expect("a certificate");
            address = format!("https://{addr}");
        }
        let (begun, begins) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let channel = Channel::with_config(&address, config).expect("an address");
                let client = StreamServiceClient::new(channel);
                let mut song = Song::default();
                loop {
                    // The last call begins when the attack is over.
                    let last = stopped.load(Ordering::Relaxed);
                    let started = Instant::now();
                    call(&client).await?;
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
