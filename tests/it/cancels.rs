//! Calls that are cancelled or late, at every point of their lives: the right code on both ends, and nothing is left.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use streamway::client::{Config, Requests, Responses};
use streamway::codec::RawMessage;
use streamway::server::{Config as ServerConfig, Server};
use streamway::transport::Dialer;
use streamway::{Channel, Code, Method, MethodKind, Status};
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::faulty::{Near, Plan};
use crate::support::{ECHO, FOREVER, Fixture, HANG, JOIN, LONG, REVERSE, frame, raw};
use crate::wire::{call, grpc, serve_raw};

/// A handler that reads nothing, asked by a client that streams.
const DEAF: Method = Method::new(HANG.path, MethodKind::ClientStreaming);

const DEADLINE: Duration = Duration::from_millis(50);

/// Within this of its deadline a call has ended.
const PROMPT: Duration = Duration::from_millis(50);

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Lets whatever is ready run.
async fn settle() {
    sleep(Duration::from_millis(100)).await;
}

async fn reverse(channel: &Channel, bytes: usize) {
    let message = RawMessage(vec![7; bytes].into());
    let call = channel.unary::<_, RawMessage>(REVERSE, message.clone());
    let answer = timeout(LONG, call.send()).await.expect("in time");
    assert_eq!(answer.expect("OK"), message);
}

/// A call of one of the shapes, as far as it goes.
async fn some_call(channel: Channel, shape: u64) -> Result<(), Status> {
    match shape {
        0 => {
            let call = channel.unary::<_, RawMessage>(REVERSE, raw(&[7; 1000]));
            call.send().await.map(drop)
        }
        1 => {
            let call = channel.unary::<_, RawMessage>(HANG, raw(b""));
            call.send().await.map(drop)
        }
        2 => {
            let call = channel.server_streaming::<_, RawMessage>(FOREVER, raw(b""));
            let mut rows = call.start().await?;
            for _ in 0..100 {
                rows.message().await?;
            }
            // From here on it is read no more: the window closes.
            pending().await
        }
        3 => {
            let call = channel.client_streaming::<_, RawMessage>(JOIN);
            let mut upload = call.start().await?;
            for _ in 0..20 {
                upload.send(&raw(&[7; 1000])).await?;
                sleep(Duration::from_millis(10)).await;
            }
            upload.finish().await.map(drop)
        }
        4 => {
            let call = channel.client_streaming::<_, RawMessage>(DEAF);
            let mut upload = call.start().await?;
            loop {
                upload.send(&raw(&[7; 10_000])).await?;
            }
        }
        _ => {
            let call = channel.bidi::<_, RawMessage>(ECHO);
            let (mut tx, mut rx) = call.start().await?.split();
            loop {
                tx.send(&raw(&[7; 1000])).await?;
                rx.message().await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_cancelled_at_random_leave_nothing() {
    const BATCH: u64 = 20;
    let mut numbers = Numbers(1);
    let near = Near::serve(Server::new(), Fixture::default());
    let channel = near.channel(Plan::NONE);
    reverse(&channel, 10).await;
    settle().await;
    let before = tasks();
    let (mut made, mut cancelled) = (0, 0);
    while cancelled < 10_000 {
        made += BATCH;
        let mut calls = JoinSet::new();
        for _ in 0..BATCH {
            let (channel, shape) = (channel.clone(), numbers.below(6));
            let polls = numbers.below(4);
            let after = Duration::from_millis(numbers.below(400));
            calls.spawn(async move {
                let mut call = Box::pin(some_call(channel, shape));
                // Some after a poll or two, others after a time.
                for _ in 0..polls {
                    let once = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx)));
                    if once.await.is_ready() {
                        return false;
                    }
                    tokio::task::yield_now().await;
                }
                polls > 2 || timeout(after, call).await.is_err()
            });
        }
        cancelled += calls.join_all().await.iter().filter(|cut| **cut).count();
        // The server takes so many cancels in a second, and not more.
        sleep(Duration::from_millis(200)).await;
    }
    settle().await;
    assert_eq!(tasks(), before, "tasks are left");
    // Four times the connection's window, in each direction.
    reverse(&channel, 4_000_000).await;
    assert_eq!(
        near.dialed.load(Ordering::Relaxed),
        1,
        "one connection served them all"
    );
    println!("cancels: {cancelled} of {made} calls, {before} tasks before and after");
}

/// A server that takes connections and says nothing, or does not even take them.
struct Mute(Option<std::sync::Mutex<Vec<DuplexStream>>>);

impl Dialer for Mute {
    type Io = DuplexStream;

    async fn dial(&self) -> io::Result<DuplexStream> {
        let Some(taken) = &self.0 else {
            return pending().await;
        };
        let (ours, theirs) = duplex(64 * 1024);
        taken.lock().expect("no panic").push(theirs);
        Ok(ours)
    }
}

/// What a call of the client's ends with at its deadline, when it does so promptly.
async fn late<T>(call: impl Future<Output = Result<T, Status>>) -> Code {
    let began = Instant::now();
    let ended = timeout(LONG, call).await.expect("it ends");
    let took = began.elapsed();
    assert!(
        took >= DEADLINE && took < DEADLINE + PROMPT,
        "after {took:?}"
    );
    ended.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test(start_paused = true)]
async fn a_deadline_and_a_cancel_end_a_call_that_connects_or_shakes_hands() {
    for mute in [None, Some(Default::default())] {
        let before = tasks();
        let channel = Channel::with_dialer("http://mute", Mute(mute), Config::default());
        let channel = channel.expect("an address");
        for wait in [false, true] {
            let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
            let call = match wait {
                true => call.wait_for_ready(),
                false => call,
            };
            assert_eq!(
                late(call.timeout(DEADLINE).send()).await,
                Code::DeadlineExceeded
            );
            let call = channel.client_streaming::<RawMessage, RawMessage>(JOIN);
            assert_eq!(
                late(call.timeout(DEADLINE).start()).await,
                Code::DeadlineExceeded
            );
        }
        let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
        assert!(timeout(DEADLINE, call.send()).await.is_err(), "it connects");
        drop(channel);
        settle().await;
        assert_eq!(tasks(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_and_a_cancel_end_a_call_that_waits_for_a_stream() {
    let mut config = ServerConfig::default();
    config.max_concurrent_streams = 1;
    let near = Near::serve(Server::new().config(config), Fixture::default());
    let channel = near.channel(Plan::NONE);
    reverse(&channel, 10).await;
    settle().await;
    let before = tasks();
    let hanging = tokio::spawn(some_call(channel.clone(), 1));
    settle().await;
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
    assert_eq!(
        late(call.timeout(DEADLINE).send()).await,
        Code::DeadlineExceeded
    );
    let call = channel.client_streaming::<RawMessage, RawMessage>(JOIN);
    let call = async { call.timeout(DEADLINE).start().await?.finish().await };
    assert_eq!(late(call).await, Code::DeadlineExceeded);
    for shape in 0..6 {
        let call = some_call(channel.clone(), shape);
        assert!(
            timeout(DEADLINE, call).await.is_err(),
            "there is no stream for {shape}"
        );
    }
    hanging.abort();
    settle().await;
    assert_eq!(tasks(), before);
    reverse(&channel, 10).await;
    assert_eq!(near.dialed.load(Ordering::Relaxed), 1);
}

/// A call that is open on both sides, at a phase of its life. What it holds is dropped with it.
struct Open {
    requests: Option<Requests<RawMessage>>,
    responses: Responses<RawMessage>,
}

/// The phases of a call that its server has taken.
const PHASES: [&str; 5] = ["body", "handler", "between", "blocked", "upload blocked"];

/// Opens a call and brings it to a phase.
async fn open(channel: &Channel, phase: &str, deadline: Duration) -> Open {
    let (requests, responses) = match phase {
        "body" => {
            let call = channel.client_streaming(JOIN).timeout(deadline);
            let (mut requests, responses) = call.start().await.expect("served").split();
            requests.send(&raw(b"part")).await.expect("open");
            (Some(requests), responses)
        }
        "handler" => {
            let call = channel
                .client_streaming::<RawMessage, _>(DEAF)
                .timeout(deadline);
            let (requests, responses) = call.start().await.expect("served").split();
            requests.finish();
            (None, responses)
        }
        "between" => {
            let call = channel.bidi(ECHO).timeout(deadline);
            let (mut requests, mut responses) = call.start().await.expect("served").split();
            requests.send(&raw(b"one")).await.expect("open");
            assert_eq!(responses.message().await.expect("OK"), Some(raw(b"one")));
            (Some(requests), responses)
        }
        "blocked" => {
            let call = channel
                .server_streaming(FOREVER, raw(b""))
                .timeout(deadline);
            (None, call.start().await.expect("served"))
        }
        _ => {
            let call = channel.client_streaming(DEAF).timeout(deadline);
            let (mut requests, responses) = call.start().await.expect("served").split();
            let full = async {
                loop {
                    requests.send(&raw(&[7; 10_000])).await.expect("open");
                }
            };
            let full = timeout(Duration::from_millis(5), full).await;
            assert!(full.is_err(), "there is no end to the window");
            (Some(requests), responses)
        }
    };
    Open {
        requests,
        responses,
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_and_a_cancel_end_a_call_on_both_sides_at_every_phase() {
    let fixture = Fixture::default();
    let dropped = Arc::clone(&fixture.dropped);
    let near = Near::serve(Server::new(), fixture);
    let channel = near.channel(Plan::NONE);
    reverse(&channel, 10).await;
    timeout(LONG, dropped.notified()).await.expect("it ended");
    settle().await;
    let before = tasks();
    for phase in PHASES {
        let began = Instant::now();
        let mut call = open(&channel, phase, DEADLINE).await;
        timeout(LONG, dropped.notified()).await.expect(phase);
        assert!(began.elapsed() < DEADLINE + PROMPT, "{phase}: the handler");
        let ended = async {
            loop {
                match call.responses.message().await {
                    Ok(message) => assert!(message.is_some(), "{phase}: it ended well"),
                    Err(status) => return status,
                }
            }
        };
        let status = timeout(LONG, ended).await.expect(phase);
        assert!(began.elapsed() < DEADLINE + PROMPT, "{phase}: the client");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{phase}: {status}");
        if let Some(requests) = &mut call.requests {
            let status = requests.send(&raw(b"more")).await.expect_err("it is over");
            let code = status.code();
            assert!(
                matches!(code, Code::DeadlineExceeded | Code::Cancelled),
                "{phase}: {status}"
            );
        }

        let call = open(&channel, phase, LONG).await;
        drop(call);
        let gone = timeout(PROMPT, dropped.notified()).await;
        gone.expect("the server learns of it");
    }
    settle().await;
    assert_eq!(tasks(), before);
    reverse(&channel, 4_000_000).await;
    assert_eq!(near.dialed.load(Ordering::Relaxed), 1);
}

/// What a raw client reads of a call whose deadline passes on the server's side alone.
#[tokio::test(start_paused = true)]
async fn the_server_itself_says_deadline_exceeded_at_every_phase() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    for (path, whole) in [
        (JOIN.path, false),
        (HANG.path, true),
        (ECHO.path, false),
        (HANG.path, false),
    ] {
        let mut client = client.clone().ready().await.expect("open");
        let request = grpc(path).header("grpc-timeout", "50m");
        let request = request.body(()).expect("legal");
        let began = Instant::now();
        let (response, mut stream) = client.send_request(request, false).expect("legal");
        stream.send_data(frame(b"one"), whole).expect("open");
        let (parts, mut body) = response.await.expect("headers").into_parts();
        while let Some(bytes) = body.data().await {
            let bytes = bytes.expect("whole frames");
            let _ = body.flow_control().release_capacity(bytes.len());
        }
        let trailers = body.trailers().await.expect("no reset");
        let status = |map: &HeaderMap| map.get("grpc-status").cloned();
        let status = status(&parts.headers).or_else(|| trailers.as_ref().and_then(status));
        assert_eq!(
            status.as_ref().map(|code| code.as_bytes()),
            Some(&b"4"[..]),
            "{path}"
        );
        assert!(began.elapsed() < DEADLINE + PROMPT, "{path}");
    }
    // Blocked on the window, inside a message: no status would be read behind the half of it.
    let mut other = client.clone().ready().await.expect("open");
    let request = grpc(FOREVER.path).header("grpc-timeout", "50m");
    let request = request.body(()).expect("legal");
    let (response, mut stream) = other.send_request(request, false).expect("legal");
    stream.send_data(frame(b""), true).expect("open");
    let mut body = response.await.expect("headers").into_body();
    sleep(DEADLINE + PROMPT).await;
    let ended = loop {
        match body.data().await {
            Some(Ok(bytes)) => {
                let _ = body.flow_control().release_capacity(bytes.len());
            }
            Some(Err(error)) => break error.reason(),
            None => break None,
        }
    };
    assert_eq!(ended, Some(h2::Reason::CANCEL));
    let request = grpc(REVERSE.path).body(()).expect("legal");
    let answer = call(&client, request, frame(b"ab")).await;
    assert_eq!(answer.status().0, "0", "the connection lives");
}

/// A handler has ended, and its last bytes and trailers wait for a client that does not read.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_whose_trailers_wait_for_the_window() {
    let near = Near::serve(Server::new(), Fixture::default());
    let channel = near.channel(Plan::NONE);
    reverse(&channel, 10).await;
    settle().await;
    let before = tasks();
    // More than the client's window of 256 KiB, which the handler gives in one message.
    let message = RawMessage(Bytes::from(vec![7; 1_000_000]));
    let call = channel.unary::<_, RawMessage>(REVERSE, message);
    let mut responses = call.timeout(DEADLINE).start().await.expect("served");
    responses.headers().await.expect("headers");
    assert!(tasks() > before, "the call waits");
    sleep(DEADLINE + PROMPT).await;
    assert_eq!(tasks(), before, "the server let it go");
    let status = responses.only().await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    reverse(&channel, 4_000_000).await;
    assert_eq!(near.dialed.load(Ordering::Relaxed), 1);
}
