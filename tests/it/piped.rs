//! Our server on pipes in memory, and its clients on raw frames: for a clock that does not wait.

use std::net::SocketAddr;
use std::sync::Arc;

use streamway::server::{Config, Drained, Server};
use streamway::transport::Listener;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::raw::frame::{Frame, kind};
use crate::raw::hpack::Headers;
use crate::raw::peer::Peer;
use crate::support::{Fixture, frame};

pub(crate) type Client = Peer<DuplexStream>;

/// Serves the fixture as long as the test runs, or until it is told to stop.
pub(crate) fn serve(config: Config) -> Serving {
    let (dialed, accepted) = mpsc::channel(1);
    let fixture = Fixture::default();
    let (hanging, dropped) = (Arc::clone(&fixture.hanging), Arc::clone(&fixture.dropped));
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let server = Server::new().config(config).add_service(fixture);
    let served = server.serve(Pipes(accepted), async move { stopped.notified().await });
    Serving {
        dialed,
        stop,
        hanging,
        dropped,
        task: tokio::spawn(async move { served.await.expect("legal services") }),
    }
}

/// A server that runs.
pub(crate) struct Serving {
    dialed: mpsc::Sender<DuplexStream>,
    stop: Arc<Notify>,
    pub(crate) hanging: Arc<Notify>,
    pub(crate) dropped: Arc<Notify>,
    task: JoinHandle<Drained>,
}

impl Serving {
    pub(crate) async fn connect(&self, settings: &[(u16, u32)]) -> Client {
        let (ours, theirs) = duplex(64 * 1024);
        self.dialed.send(theirs).await.expect("the server runs");
        Peer::connect(ours, settings).await.expect("HTTP/2")
    }

    /// Begins the drain.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits for the end of the drain.
    pub(crate) async fn ended(self) -> Drained {
        self.task.await.expect("the server does not panic")
    }
}

struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some(socket) => Ok((socket, None)),
            None => std::future::pending().await,
        }
    }
}

impl Client {
    /// Begins a call; with a `message` that is all of it.
    pub(crate) async fn call(
        &mut self,
        stream: u32,
        path: &str,
        more: &[(&str, &str)],
        message: Option<&[u8]>,
    ) {
        let mut headers = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "t"),
            ("content-type", "application/grpc"),
        ];
        headers.extend(more);
        let mut frames = vec![Frame::headers(stream, &headers)];
        frames.extend(message.map(|message| Frame::data(stream, frame(message)).end_stream()));
        self.send_all(&frames).await.expect("open");
    }

    /// The next header block that ends a stream.
    pub(crate) async fn status(&mut self) -> Headers {
        loop {
            if let (headers, true) = self.head().await {
                return headers;
            }
        }
    }

    /// The next header block, and whether it ends a stream.
    pub(crate) async fn head(&mut self) -> (Headers, bool) {
        let block = self.next_of(kind::HEADERS).await.expect("an answer");
        let headers = self.headers(&block).await.expect("HPACK");
        (headers, block.is_end_stream())
    }
}
