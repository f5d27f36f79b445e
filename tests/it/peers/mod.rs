//! Misbehaving servers: what our client makes of them. The server is raw frames; `h2` is on the client's side alone.
//!
//! In: what a server does wrong, or does as nobody expects. Out: the status that the rule asks for, and whether the connection
//! goes on. Rules by number are those of docs/spec-map.md; sections without a name are RFC 9113's.
//!
//! - `answers`: a table of responses to one unary call
//! - `connections`: GOAWAY, connections that break, servers that are no HTTP/2
//! - `flow`: windows, padding, frames of one byte
//! - `queue`: calls that wait until the server takes more
//! - `streams`: calls of more than one message, refused and cut

mod answers;
mod connections;
mod flow;
mod queue;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use streamway::client::{Config, Request as Call, Unary};
use streamway::codec::RawMessage;
use streamway::{Channel, Method, MethodKind, Status};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::raw;
use crate::raw::frame::{Frame, flag, kind};
use crate::raw::hpack::Headers;
use crate::raw::peer::Peer;

const UNARY: Method = Method::new("/t.T/Unary", MethodKind::Unary);
const DOWNLOAD: Method = Method::new("/t.T/Download", MethodKind::ServerStreaming);
const UPLOAD: Method = Method::new("/t.T/Upload", MethodKind::ClientStreaming);
const EXCHANGE: Method = Method::new("/t.T/Exchange", MethodKind::Bidi);

/// Longer than any case takes; one that hangs fails.
const LONG: Duration = Duration::from_secs(60);

/// Runs one case against its rule. tests/check.sh counts the lines.
async fn case(rule: impl Display, run: impl Future<Output = ()>) {
    let ended = timeout(LONG, run).await;
    assert!(ended.is_ok(), "{rule}: the case hangs");
    println!("misbehaving server, as the rule says: {rule}");
}

/// A listener on loopback, and a channel to it.
struct Server(TcpListener);

impl Server {
    async fn bind() -> (Self, Channel) {
        Self::bind_with(Config::default()).await
    }

    async fn bind_with(config: Config) -> (Self, Channel) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let channel = Channel::with_config(&format!("http://{addr}"), config);
        (Self(listener), channel.expect("an address"))
    }

    async fn socket(&self) -> TcpStream {
        let (socket, _) = self.0.accept().await.expect("a connection");
        socket.set_nodelay(true).expect("connected");
        socket
    }

    async fn accept(&self, settings: &[(u16, u32)]) -> Connection {
        let peer = Peer::accept(self.socket().await, settings).await;
        Connection::new(peer.expect("an HTTP/2 client"))
    }
}

/// The server's end of a connection.
struct Connection {
    peer: Peer<TcpStream>,
    /// Requests whose end has not come.
    open: BTreeMap<u32, Request>,
    /// Streams that nobody has asked [`Connection::begun`] for.
    begun: VecDeque<u32>,
    /// Streams that the client has reset, and why.
    resets: BTreeMap<u32, u32>,
}

struct Request {
    stream: u32,
    headers: Headers,
    body: Vec<u8>,
    ended: bool,
}

impl Connection {
    fn new(peer: Peer<TcpStream>) -> Self {
        Self {
            peer,
            open: BTreeMap::new(),
            begun: VecDeque::new(),
            resets: BTreeMap::new(),
        }
    }

    /// The next frame, entered in the books.
    async fn next(&mut self) -> Option<Frame> {
        let frame = self.peer.next().await?;
        let stream = frame.stream;
        match frame.kind {
            kind::HEADERS => {
                let headers = self.peer.headers(&frame).await.expect("HPACK");
                let request = Request {
                    stream,
                    headers,
                    body: Vec::new(),
                    ended: false,
                };
                self.begun.push_back(stream);
                self.open.insert(stream, request);
            }
            kind::DATA => {
                let request = self.open.get_mut(&stream).expect("headers come first");
                request.body.extend_from_slice(&frame.content());
            }
            kind::RST_STREAM => {
                let reason = frame.error().expect("four bytes");
                self.resets.insert(stream, reason);
                self.open.remove(&stream);
            }
            _ => {}
        }
        if frame.is_end_stream() {
            let request = self.open.get_mut(&stream).expect("headers come first");
            request.ended = true;
        }
        Some(frame)
    }

    /// The next request that has come whole; `None` when the connection has ended.
    async fn request(&mut self) -> Option<Request> {
        loop {
            let whole = self.open.values().find(|request| request.ended);
            if let Some(&Request { stream, .. }) = whole {
                self.begun.retain(|begun| *begun != stream);
                return self.open.remove(&stream);
            }
            self.next().await?;
        }
    }

    /// The stream of the next request, whose body may still be to come.
    async fn begun(&mut self) -> u32 {
        loop {
            if let Some(stream) = self.begun.pop_front() {
                return stream;
            }
            self.next().await.expect("a call");
        }
    }

    /// Why the client resets a stream.
    async fn reset(&mut self, stream: u32) -> u32 {
        loop {
            if let Some(reason) = self.resets.remove(&stream) {
                return reason;
            }
            self.next().await.expect("the client ends the stream");
        }
    }

    /// Waits until the client has seen what was sent, and everything that it makes of it has come.
    async fn settle(&mut self) {
        for _ in 0..SETTLED {
            self.send(&[Frame::ping(*b"anything")]).await;
            while !self.next().await.is_some_and(|frame| is_pong(&frame)) {}
        }
    }

    async fn assert_no_call(&mut self) {
        self.settle().await;
        assert!(self.begun.is_empty(), "more calls than are allowed");
    }

    async fn send(&mut self, frames: &[Frame]) {
        self.peer.send_all(frames).await.expect("the client reads");
    }

    /// Answers as a server should.
    async fn answer(&mut self, stream: u32) {
        self.send(&good(stream)).await;
    }

    /// The client's goodbye, and then no more.
    async fn ended(mut self) {
        while let Some(frame) = self.next().await {
            let new = frame.kind == kind::HEADERS;
            assert!(!new, "a call on a connection that should be over");
        }
    }
}

/// How many pings there and back it takes to be sure that the client has nothing more to say. One answers for what the
/// connection does, the others for the calls that it wakes.
const SETTLED: usize = 3;

fn is_pong(frame: &Frame) -> bool {
    frame.kind == kind::PING && frame.is_ack()
}

/// Headers, one message, OK.
fn good(stream: u32) -> Vec<Frame> {
    vec![head(stream), message(stream), ok(stream)]
}

fn head(stream: u32) -> Frame {
    Frame::headers(stream, GRPC)
}

/// What a response begins with.
const GRPC: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

fn message(stream: u32) -> Frame {
    Frame::data(stream, raw::message(0, MESSAGE))
}

const MESSAGE: &[u8] = b"an answer";

fn ok(stream: u32) -> Frame {
    trailers(stream, &[("grpc-status", "0")])
}

fn trailers(stream: u32, headers: &[(&str, &str)]) -> Frame {
    Frame::headers(stream, headers).with(flag::END_STREAM)
}

fn raw_message(bytes: &'static [u8]) -> RawMessage {
    RawMessage(Bytes::from_static(bytes))
}

/// A unary call.
fn unary(channel: &Channel) -> Call<Unary<RawMessage, RawMessage>> {
    channel.unary(UNARY, raw_message(b"a question"))
}

/// A call that a server answers as it should.
fn assert_good(outcome: Result<RawMessage, Status>) {
    assert_eq!(outcome.expect("OK"), raw_message(MESSAGE));
}
