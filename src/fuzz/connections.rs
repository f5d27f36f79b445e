//! Whole connections: our server and our client on an in-memory pipe, against a peer that says what the bytes say.
//!
//! In: bytes, read as a script. Out: a panic when a call or a task outlives its time. The clock is paused: it moves only
//! when nothing is left to do. Not here: what the answers are.
//!
//! Most of a script's steps are whole frames, some broken; so bytes get past the first check of HTTP/2.

use std::future::pending;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Channel, Config};
use crate::codec::RawMessage;
use crate::method::{Method, MethodKind};
use crate::server::{CallFuture, Rpc, Server, Service};
use crate::status::Status;
use crate::transport::{Dialer, Listener, in_process, seed_chance};

const ECHO: Method = Method::new("/f.F/Echo", MethodKind::Bidi);
const JOIN: Method = Method::new("/f.F/Join", MethodKind::ClientStreaming);

/// Steps of a script, at most: the rest of the bytes is ignored.
const MAX_STEPS: usize = 200;

/// The deadline of each call that a client makes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than a server takes to end a connection that its peer has left or keeps silent on: the drain limit, and what it
/// gives to be read.
const ENDED: Duration = Duration::from_secs(40);

/// A server that any client talks to ends with it: no panic, no task left.
pub(super) fn server(data: &[u8]) {
    run(async {
        let (reach, listener) = in_process();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = Server::new().add_service(Echo).serve(listener, async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(served);
        let mut socket = reach.dial().await.expect("it listens");
        let hello = socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        hello.await.expect("there is room");
        speak(socket, data, &request).await;
        drop(stop);
        let ended = timeout(ENDED, served).await.expect("the server ends");
        ended.expect("no panic").expect("legal services");
    });
}

/// A client that any server talks to ends its calls by their deadline and leaves no task.
pub(super) fn client(data: &[u8]) {
    run(async {
        let (reach, mut listener) = in_process();
        let channel = Channel::in_process(reach, Config::default());
        let mut calls = JoinSet::new();
        for n in 0..3 {
            calls.spawn(call(channel.clone(), n));
        }
        let (socket, _) = listener.accept().await.expect("it dials");
        // Whoever comes later is not let in.
        drop(listener);
        speak(socket, data, &response).await;
        while let Some(ended) = calls.join_next().await {
            ended.expect("the call ends in time");
        }
    });
}

async fn call(channel: Channel, n: usize) {
    let began = Instant::now();
    let message = RawMessage(Bytes::from_static(b"message"));
    let made = async {
        if n == 0 {
            let call = channel.unary::<_, RawMessage>(ECHO, message);
            call.timeout(DEADLINE).send().await.map(drop)
        } else if n == 1 {
            let call = channel.client_streaming::<_, RawMessage>(JOIN);
            let mut upload = call.timeout(DEADLINE).start().await?;
            for _ in 0..10 {
                upload.send(&message).await?;
            }
            upload.finish().await.map(drop)
        } else {
            let call = channel.bidi::<_, RawMessage>(ECHO).timeout(DEADLINE);
            let (mut tx, mut rx) = call.start().await?.split();
            tx.send(&message).await?;
            while rx.message().await?.is_some() {}
            Ok::<_, Status>(())
        }
    };
    // Whatever it ends with.
    let _ = timeout(ENDED, made).await.expect("it ends");
    assert!(began.elapsed() <= DEADLINE + Duration::from_secs(1));
}

/// Runs a future and looks for tasks that it leaves.
fn run(body: impl Future<Output = ()>) {
    seed_chance(0);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        body.await;
        // What was told to end does so when it is polled, or a second later.
        sleep(Duration::from_secs(5)).await;
        let left = Handle::current().metrics().num_alive_tasks();
        assert_eq!(left, 0, "tasks are left");
    });
}

/// Does what the script says, and leaves. What comes back is read, or not.
async fn speak(socket: DuplexStream, data: &[u8], head: &dyn Fn(u8) -> Bytes) {
    let (reads, mut writes) = split(socket);
    let mut script = Script(data);
    let reads = match script.byte() % 4 {
        0 => {
            // Held, so that nothing is read and the connection is not closed.
            tokio::spawn(hold(reads))
        }
        _ => tokio::spawn(drain(reads)),
    };
    if script.byte() % 8 > 0 {
        send(&mut writes, &frame(4, 0, 0, &[])).await;
    }
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        step(&mut script, &mut writes, head).await;
    }
    // Both halves are needed to close it.
    reads.abort();
    let _ = reads.await;
}

async fn hold(reads: ReadHalf<DuplexStream>) {
    pending::<()>().await;
    drop(reads);
}

async fn drain(mut reads: ReadHalf<DuplexStream>) {
    let mut waste = [0; 4096];
    while matches!(reads.read(&mut waste).await, Ok(1..)) {}
}

async fn send(writes: &mut WriteHalf<DuplexStream>, bytes: &[u8]) {
    // A peer that does not read any more is left alone.
    let _ = timeout(Duration::from_secs(1), writes.write_all(bytes)).await;
}

async fn step(
    script: &mut Script<'_>,
    writes: &mut WriteHalf<DuplexStream>,
    head: &dyn Fn(u8) -> Bytes,
) {
    let (what, flags) = (script.byte(), script.byte());
    let stream = u32::from(script.byte() % 6) * 2 + 1;
    let bytes = match what % 16 {
        0 | 1 => frame(1, flags | 4, stream, &head(script.byte())),
        // One that goes on in a CONTINUATION.
        2 => frame(1, flags & !4, stream, &head(script.byte())),
        3 => frame(9, flags, stream, script.bytes()),
        4 | 5 => frame(0, flags & 1, stream, &message(flags, script.bytes())),
        6 => frame(0, flags & 9, stream, script.bytes()),
        7 => frame(3, 0, stream, &u32::from(flags).to_be_bytes()),
        8 => {
            let stream = [0, stream][usize::from(flags & 1)];
            let by = u32::from(script.byte()) << (flags % 24);
            frame(8, 0, stream, &by.to_be_bytes())
        }
        9 => {
            let mut setting = vec![0, flags % 8];
            setting.put_u32(u32::from(script.byte()) << (script.byte() % 24));
            frame(4, 0, 0, &setting)
        }
        10 => frame(4, 1, 0, &[]),
        11 => frame(6, flags & 1, 0, &[flags; 8]),
        12 => frame(7, 0, 0, &[[0, 0, 0, flags], [0, 0, 0, 0]].concat()),
        13 => frame(script.byte(), flags, stream, script.bytes()),
        14 => Bytes::copy_from_slice(script.bytes()),
        _ => {
            sleep(Duration::from_millis(u64::from(flags) * 40)).await;
            return;
        }
    };
    send(writes, &bytes).await;
}

/// A gRPC message in a frame, now and then of another length than it says.
fn message(flags: u8, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(flags >> 7);
    let promised = payload.len() as u32 + u32::from(flags >> 6 & 1) * 1000;
    message.put_u32(promised);
    message.put_slice(payload);
    message.freeze()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_uint(payload.len() as u64, 3);
    frame.put_u8(kind);
    frame.put_u8(flags);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame.freeze()
}

/// The headers of a request, with one that the byte chooses.
fn request(byte: u8) -> Bytes {
    let path = [ECHO.path, JOIN.path, "/f.F/Unknown", "*"][usize::from(byte % 4)];
    let more = [
        ("te", "trailers"),
        ("grpc-timeout", "100m"),
        ("grpc-timeout", "tomorrow"),
        ("grpc-encoding", "gzip"),
        ("grpc-encoding", "unheard"),
        ("x-bin", "AAA"),
        ("content-type", "text/html"),
        ("content-length", "7"),
    ][usize::from(byte / 4 % 8)];
    headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "fuzz"),
        ("content-type", "application/grpc"),
        more,
    ])
}

/// The headers of a response, or trailers.
fn response(byte: u8) -> Bytes {
    let status = [":status", "grpc-status"][usize::from(byte & 1)];
    let code = ["200", "0", "503", "5", "100", "204"][usize::from(byte / 2 % 6)];
    let more = [
        ("content-type", "application/grpc"),
        ("content-type", "text/html"),
        ("grpc-encoding", "gzip"),
        ("grpc-message", "%zz"),
        ("grpc-status", "0"),
        ("x-bin", "AAA"),
    ][usize::from(byte / 12 % 6)];
    headers(&[(status, code), ("content-type", "application/grpc"), more])
}

/// HPACK without its tables: each name and value as it is.
fn headers(headers: &[(&str, &str)]) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in headers {
        block.put_u8(0);
        for text in [name, value] {
            block.put_u8(text.len() as u8);
            block.put_slice(text.as_bytes());
        }
    }
    block.freeze()
}

/// The bytes that are left.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// The next one; 0 at the end.
    fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.0 else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// As many as the next one says.
    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}

/// One method that says what it hears, and one that hears it all first.
struct Echo;

impl Service for Echo {
    fn methods(&self) -> &'static [Method] {
        &[ECHO, JOIN]
    }

    fn call(&self, index: usize, rpc: Rpc) -> CallFuture {
        let (_call, mut rx, mut tx, runner) = rpc.open::<RawMessage, RawMessage>();
        Box::pin(runner.run(async move {
            let mut last = RawMessage(Bytes::new());
            while let Some(message) = rx.message().await? {
                if index == 0 {
                    tx.send(&message).await?;
                }
                last = message;
            }
            if index == 1 {
                tx.send(&last).await?;
            }
            Ok(())
        }))
    }
}
