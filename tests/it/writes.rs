//! How much goes into one write, on both sides of a call: what a stream of small messages costs is mostly that.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use streamway::Channel;
use streamway::client::Config;
use streamway::codec::RawMessage;
use streamway::server::Server;
use streamway::transport::{Dialer, InProcess, InProcessListener, Listener, in_process};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::support::{COUNT, Fixture, JOIN, raw};

/// Two DATA frames of the default largest size; a frame at a time is half.
const TWO_FRAMES: usize = 32 * 1024;

/// A message of which each side sends 20,000.
const MESSAGE: [u8; 100] = [7; 100];

/// Every write to one side's sockets.
#[derive(Clone, Default)]
struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    writes: AtomicUsize,
    bytes: AtomicUsize,
}

impl Tally {
    /// Bytes in a write, on average.
    fn mean(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed) / self.0.writes.load(Ordering::Relaxed)
    }

    fn count<S>(&self, socket: S) -> Counted<S> {
        Counted(socket, self.clone())
    }
}

/// A socket, or where sockets come from, whose writes are counted.
struct Counted<S>(S, Tally);

impl Dialer for Counted<InProcess> {
    type Io = Counted<DuplexStream>;

    async fn dial(&self) -> io::Result<Self::Io> {
        Ok(self.1.count(self.0.dial().await?))
    }
}

impl Listener for Counted<InProcessListener> {
    type Io = Counted<DuplexStream>;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        let (socket, peer) = self.0.accept().await?;
        Ok((self.1.count(socket), peer))
    }
}

impl AsyncRead for Counted<DuplexStream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted<DuplexStream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
        let Counts { writes, bytes } = &*self.1.0;
        writes.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(written, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A channel to a server of the fixture, and what is written by the server and by the client.
fn connect() -> (Channel, Tally, Tally) {
    let (reach, listener) = in_process();
    let (servers, clients) = (Tally::default(), Tally::default());
    let listener = servers.count(listener);
    let server = Server::new().add_service(Fixture::default());
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    let dialer = clients.count(reach);
    let channel = Channel::with_dialer("http://near", dialer, Config::default());
    (channel.expect("an address"), servers, clients)
}

#[tokio::test]
async fn a_server_writes_several_frames_of_an_export_at_a_time() {
    let (channel, server, _) = connect();
    let call = channel.server_streaming(COUNT, raw(&MESSAGE));
    let mut responses = call.start().await.expect("connected");
    let mut messages = 0;
    while let Some(RawMessage(_)) = responses.message().await.expect("OK") {
        messages += 1;
    }
    assert_eq!(messages, 20_001);
    let mean = server.mean();
    assert!(mean >= TWO_FRAMES, "{mean} bytes at a time");
}

#[tokio::test]
async fn a_client_writes_several_frames_of_an_upload_at_a_time() {
    let (channel, _, client) = connect();
    let call = channel.client_streaming::<RawMessage, RawMessage>(JOIN);
    let mut upload = call.start().await.expect("connected");
    for _ in 0..20_000 {
        upload.send(&raw(&MESSAGE)).await.expect("taken");
    }
    let joined = upload.finish().await.expect("OK");
    assert_eq!(joined.0.len(), 20_000 * MESSAGE.len());
    let mean = client.mean();
    assert!(mean >= TWO_FRAMES, "{mean} bytes at a time");
}
