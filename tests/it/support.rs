//! Fixtures: a service of every shape on raw messages, and how to serve it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use streamway::call::Compression;
use streamway::codec::RawMessage;
use streamway::server::{CallFuture, Drained, Rpc, Server, Service};
use streamway::{Call, Channel, Metadata, Method, MethodKind, Sender, Status, Streaming};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) const COUNT: Method = Method::new("/t.T/Count", MethodKind::ServerStreaming);
pub(crate) const ECHO: Method = Method::new("/t.T/Echo", MethodKind::Bidi);
pub(crate) const PANIC: Method = Method::new("/t.T/Panic", MethodKind::Unary);
pub(crate) const HANG: Method = Method::new("/t.T/Hang", MethodKind::Unary);
pub(crate) const JOIN: Method = Method::new("/t.T/Join", MethodKind::ClientStreaming);
pub(crate) const REVERSE: Method = Method::new("/t.T/Reverse", MethodKind::Unary);
pub(crate) const REFUSE: Method = Method::new("/t.T/Refuse", MethodKind::ClientStreaming);
pub(crate) const EARLY: Method = Method::new("/t.T/Early", MethodKind::ClientStreaming);
pub(crate) const FOREVER: Method = Method::new("/t.T/Forever", MethodKind::ServerStreaming);
pub(crate) const TRAIL: Method = Method::new("/t.T/Trail", MethodKind::Unary);
pub(crate) const BLOCK: Method = Method::new("/t.T/Block", MethodKind::Unary);
pub(crate) const BOMB: Method = Method::new("/t.T/Bomb", MethodKind::Unary);
pub(crate) const GRENADE: Method = Method::new("/t.T/Grenade", MethodKind::Unary);

const METHODS: &[Method] = &[
    COUNT, ECHO, PANIC, HANG, JOIN, REVERSE, REFUSE, FOREVER, EARLY, TRAIL, BLOCK, BOMB, GRENADE,
];

/// For how long a handler of `Block` has the thread for itself.
const BLOCKED: Duration = Duration::from_millis(100);

/// Longer than anything takes; a test that hangs fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A service of every shape.
#[derive(Clone, Default)]
pub(crate) struct Fixture {
    /// Told by a handler of `Hang` when it begins.
    pub(crate) hanging: Arc<Notify>,
    /// Told by a handler of `Hang` and `Forever` when it is dropped.
    pub(crate) dropped: Arc<Notify>,
}

/// Tells when it is dropped.
pub(crate) struct OnDrop(pub(crate) Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Fixture {
    /// Serves on loopback, for as long as the handle lives.
    pub(crate) async fn serve(self, server: Server) -> Served {
        serve(server.add_service(self)).await
    }

    async fn handle(
        &self,
        index: usize,
        call: &Call,
        rx: &mut Streaming<RawMessage>,
        tx: &mut Sender<RawMessage>,
    ) -> Result<(), Status> {
        let _on_drop = OnDrop(Arc::clone(&self.dropped));
        let Some(method) = METHODS.get(index) else {
            return Err(Status::internal("no such index"));
        };
        match *method {
            // 20,000 messages of the size of the request, and one a byte larger.
            COUNT => {
                let size = rx.only().await?.0.len();
                for n in 0..20_000u32 {
                    let mut message = n.to_be_bytes().to_vec();
                    message.resize(size, 0);
                    tx.send(&RawMessage(message.into())).await?;
                }
                let last = vec![0; size + 1];
                tx.send(&RawMessage(last.into())).await
            }
            ECHO => {
                while let Some(message) = rx.message().await? {
                    mirror_compression(call);
                    tx.send(&message).await?;
                }
                Ok(())
            }
            PANIC => panic_on_purpose(),
            JOIN => {
                let mut joined = BytesMut::new();
                while let Some(message) = rx.message().await? {
                    joined.extend_from_slice(&message.0);
                }
                tx.send(&RawMessage(joined.freeze())).await
            }
            // The metadata `x-echo` and `x-echo-bin` come back in headers and in trailers.
            REVERSE => {
                let echoed = echoed(call);
                call.set_headers(echoed.clone())?;
                call.set_trailers(echoed);
                let mut bytes = rx.only().await?.0.to_vec();
                mirror_compression(call);
                bytes.reverse();
                tx.send(&RawMessage(bytes.into())).await
            }
            // The same metadata in trailers alone. A message becomes the details of a failure.
            TRAIL => {
                call.set_trailers(echoed(call));
                let message = rx.only().await?;
                if message.0.is_empty() {
                    return tx.send(&message).await;
                }
                Err(Status::aborted("as asked").with_raw_details(message.0))
            }
            REFUSE => {
                rx.message().await?;
                Err(Status::failed_precondition("not today"))
            }
            // Answers the first message and reads no more.
            EARLY => {
                rx.message().await?;
                tx.send(&RawMessage(Bytes::from_static(b"early"))).await
            }
            FOREVER => {
                let message = RawMessage(Bytes::from_static(&[7; 1000]));
                loop {
                    tx.send(&message).await?;
                }
            }
            BLOCK => {
                std::thread::sleep(BLOCKED);
                tx.send(&rx.only().await?).await
            }
            // Hangs, and panics when it is dropped, and when what it has panicked with is.
            BOMB => {
                let _bomb = Bomb;
                std::future::pending().await
            }
            // Panics, and again when what it has panicked with is dropped.
            GRENADE => throw(Bomb),
            _ => {
                self.hanging.notify_one();
                std::future::pending().await
            }
        }
    }
}

/// The metadata `x-echo` and `x-echo-bin` of a call.
fn echoed(call: &Call) -> Metadata {
    let mut echoed = Metadata::new();
    for value in call.metadata().get_all("x-echo") {
        echoed.append("x-echo", value).expect("came as such");
    }
    for value in call.metadata().get_all_bin("x-echo-bin") {
        let appended = echoed.append_bin("x-echo-bin", value);
        appended.expect("came as such");
    }
    echoed
}

/// Compresses what is sent next if what was received last was compressed.
fn mirror_compression(call: &Call) {
    call.compress(match call.compressed() {
        true => Compression::On,
        false => Compression::Off,
    });
}

/// Panics when it is dropped, with another of its kind.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        let _ = throw(Self);
    }
}

#[expect(clippy::panic, reason = "to show that it costs only its own call")]
fn throw(what: impl Send + 'static) -> Result<(), Status> {
    std::panic::panic_any(what)
}

#[expect(clippy::panic, reason = "to show that it costs only its own call")]
fn panic_on_purpose() -> Result<(), Status> {
    panic!("on purpose")
}

impl Service for Fixture {
    fn methods(&self) -> &'static [Method] {
        METHODS
    }

    fn call(&self, index: usize, rpc: Rpc) -> CallFuture {
        let service = self.clone();
        // As generated code does.
        let (call, mut rx, mut tx, runner) = rpc.open();
        Box::pin(runner.run(async move { service.handle(index, &call, &mut rx, &mut tx).await }))
    }
}

/// A fixture that is served with all defaults, and a channel to it.
pub(crate) async fn channel() -> (Served, Channel) {
    channel_to(Server::new(), Fixture::default()).await
}

/// The fixture behind `server`, and a channel to it.
pub(crate) async fn channel_to(server: Server, fixture: Fixture) -> (Served, Channel) {
    let served = fixture.serve(server).await;
    let channel = Channel::connect(&served.address).expect("an address");
    (served, channel)
}

pub(crate) fn raw(bytes: &'static [u8]) -> RawMessage {
    RawMessage(Bytes::from_static(bytes))
}

/// Serves on loopback, for as long as the handle lives.
pub(crate) async fn serve(server: Server) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let served = server.serve(listener, async move {
        stopped.notified().await;
    });
    Served {
        address: format!("http://{addr}"),
        stop,
        task: tokio::spawn(async move { served.await.expect("legal services") }),
    }
}

/// A server in this process.
pub(crate) struct Served {
    pub(crate) address: String,
    stop: Arc<Notify>,
    task: JoinHandle<Drained>,
}

impl Served {
    /// Begins the drain.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits for the end of the drain.
    pub(crate) async fn ended(mut self) -> Drained {
        (&mut self.task).await.expect("the server does not panic")
    }

    /// Where to connect, without the scheme.
    pub(crate) fn socket_address(&self) -> &str {
        self.address.trim_start_matches("http://")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One gRPC frame, uncompressed.
pub(crate) fn frame(payload: &[u8]) -> Bytes {
    let mut wire = BytesMut::from(&[0][..]);
    wire.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
    wire.extend_from_slice(payload);
    wire.freeze()
}
