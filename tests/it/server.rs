//! Behaviour of the server, seen by a raw h2 client.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use streamway::MessageLimits;
use streamway::server::{Config, Drained, Server};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::piped;
use crate::raw::frame::{Frame, kind};
use crate::support::{Fixture, frame};
use crate::wire::{call, connect_to, grpc, serve_raw};

#[tokio::test]
async fn a_stream_arrives_whole_and_an_oversize_message_ends_it_in_trailers_and_the_connection_lives()
 {
    let server = Server::new().limits(MessageLimits::default().send(16));
    let client = serve_raw(server, Fixture::default()).await;
    for _ in 0..2 {
        let request = grpc("/t.T/Count").body(()).expect("legal");
        let answer = call(&client, request, frame(&[0; 16])).await;
        assert_eq!(
            answer.status(),
            ("8", "trying to send message larger than max (17 vs. 16)")
        );
        assert!(
            answer.trailers.contains_key("grpc-status"),
            "the status is a trailer"
        );
        assert_eq!(answer.body.len(), 20_000 * 21);
        for (n, message) in (0u32..).zip(answer.body.chunks(21)) {
            assert_eq!(message[5..9], n.to_be_bytes());
        }
    }
}

#[tokio::test]
async fn a_request_over_the_receive_limit_is_refused_with_resource_exhausted() {
    let server = Server::new().limits(MessageLimits::default().recv(16));
    let client = serve_raw(server, Fixture::default()).await;
    for (size, code) in [(16, "0"), (17, "8")] {
        let request = grpc("/t.T/Echo").body(()).expect("legal");
        let answer = call(&client, request, frame(&vec![0; size])).await;
        assert_eq!(answer.status().0, code, "{}", answer.status().1);
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_gets_the_answer_of_the_rule() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    for (path, body, code) in [
        ("/t.T/Nothing", frame(b""), "12"),
        ("/t.T/Count?x=1", frame(b""), "12"),
        ("/t.T/Hang/", frame(b""), "12"),
        ("/t.T/Count", Bytes::new(), "12"),
        ("/t.T/Count", [frame(b""), frame(b"")].concat().into(), "12"),
        ("/t.T/Echo", Bytes::from_static(b"\x02\0\0\0\0"), "13"),
        ("/t.T/Echo", Bytes::from_static(b"\x01\0\0\0\0"), "13"),
        ("/t.T/Echo", Bytes::from_static(b"\0\0\0\0\x05ab"), "13"),
        ("/t.T/Echo", Bytes::from_static(b"\0\0"), "13"),
        ("/t.T/Panic", Bytes::new(), "13"),
    ] {
        let answer = call(&client, grpc(path).body(()).expect("legal"), body).await;
        assert_eq!(answer.status().0, code, "{path}: {}", answer.status().1);
    }
    let json = Request::post("http://t/t.T/Echo").header("content-type", "application/json");
    let answer = call(&client, json.body(()).expect("legal"), Bytes::new()).await;
    assert_eq!(answer.head.status(), 415);
    assert!(answer.body.starts_with(b"This port speaks gRPC"));
}

/// Both frames go in one write: the server has the second when it reads the first.
#[tokio::test]
async fn whatever_comes_behind_the_only_message_is_too_much_also_in_a_frame_of_its_own() {
    let server = piped::serve(Config::default());
    let mut client = server.connect(&[]).await;
    let behind = [
        (frame(b""), "12"),
        (frame(b"x"), "12"),
        (Bytes::from_static(b"\0\0"), "13"),
        (Bytes::from_static(b"\x02\0\0\0\0"), "13"),
        (Bytes::new(), "0"),
    ];
    for (stream, (behind, code)) in (1..).step_by(2).zip(behind) {
        client.call(stream, "/t.T/Reverse", &[], None).await;
        let message = Frame::data(stream, frame(b"x"));
        let last = Frame::data(stream, behind).end_stream();
        client.send_all(&[message, last]).await.expect("sent");
        let status = client.status().await;
        assert_eq!(status.get("grpc-status"), Some(code), "{stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_deadline_ends_a_call_that_hangs() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let request = grpc("/t.T/Hang")
        .header("grpc-timeout", "50m")
        .body(())
        .expect("legal");
    let answer = call(&client, request, frame(b"")).await;
    assert_eq!(answer.status(), ("4", "the deadline passed"));
}

/// Whatever the handler would do: this one answers at once.
#[tokio::test]
async fn a_call_whose_time_is_over_when_it_comes_is_not_begun() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    for timeout in ["0n", "0S", "00000000H", "1n"] {
        let request = grpc("/t.T/Echo").header("grpc-timeout", timeout);
        let request = request.body(()).expect("legal");
        let answer = call(&client, request, frame(b"x")).await;
        assert_eq!(answer.status(), ("4", "the deadline passed"), "{timeout}");
        assert_eq!(answer.body, b"", "{timeout}");
    }
}

/// Both come before the first is begun, which then has the thread until the time of the other is over.
#[tokio::test]
async fn a_call_whose_time_passes_while_others_are_begun_is_not_begun() {
    let server = piped::serve(Config::default());
    let mut client = server.connect(&[]).await;
    client.call(1, "/t.T/Block", &[], Some(b"x")).await;
    let short = ("grpc-timeout", "50m");
    client.call(3, "/t.T/Echo", &[short], Some(b"y")).await;
    let mut statuses = Vec::new();
    while statuses.len() < 2 {
        let block = client.next_of(kind::HEADERS).await.expect("an answer");
        let headers = client.headers(&block).await.expect("HPACK");
        if let Some(status) = headers.get("grpc-status") {
            statuses.push((block.stream, status.to_owned()));
        }
    }
    statuses.sort();
    assert_eq!(statuses, [(1, "0".to_owned()), (3, "4".to_owned())]);
}

/// The deadline ends the one, the drain the other.
async fn a_handler_that_panics_when_it_or_what_it_panicked_with_is_dropped() {
    let mut config = Config::default();
    config.drain_timeout = Duration::from_millis(300);
    let served = Fixture::default().serve(Server::new().config(config)).await;
    let client = connect_to(&served).await;
    let request = |path: &str| grpc(path).header("grpc-timeout", "1S");
    let bomb = request("/t.T/Bomb").body(()).expect("legal");
    let grenade = request("/t.T/Grenade").body(()).expect("legal");
    let hang = request("/t.T/Hang").body(()).expect("legal");
    let (bomb, grenade, hang) = tokio::join!(
        call(&client, bomb, frame(b"")),
        call(&client, grenade, frame(b"")),
        call(&client, hang, frame(b"")),
    );
    assert_eq!(bomb.status(), ("13", "the handler panicked"));
    assert_eq!(grenade.status(), ("13", "the handler panicked"));
    assert_eq!(hang.status(), ("4", "the deadline passed"));

    let cut_off = ["/t.T/Hang", "/t.T/Bomb", "/t.T/Hang"].map(|path| {
        let request = grpc(path).body(()).expect("legal");
        call(&client, request, frame(b""))
    });
    let cut_off = async move {
        for answer in futures_util::future::join_all(cut_off).await {
            assert_eq!(answer.status().0, "14", "{}", answer.status().1);
        }
    };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        served.stop();
        assert_eq!(served.ended().await, Drained::Cut);
    };
    tokio::join!(cut_off, stop);
}

#[tokio::test]
async fn a_handler_that_panics_when_it_or_what_it_panicked_with_is_dropped_costs_only_its_own_call()
{
    a_handler_that_panics_when_it_or_what_it_panicked_with_is_dropped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_when_it_or_what_it_panicked_with_is_dropped_costs_only_its_own_call_on_any_runtime()
 {
    a_handler_that_panics_when_it_or_what_it_panicked_with_is_dropped().await;
}

#[tokio::test]
async fn a_call_that_the_client_resets_drops_its_handler() {
    let fixture = Fixture::default();
    let dropped = Arc::clone(&fixture.dropped);
    let client = serve_raw(Server::new(), fixture).await;
    let mut client = client.ready().await.expect("open");
    let (response, mut stream) = client
        .send_request(grpc("/t.T/Hang").body(()).expect("legal"), false)
        .expect("legal");
    stream.send_data(frame(b""), true).expect("open");
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    timeout(Duration::from_secs(30), dropped.notified())
        .await
        .expect("the handler was dropped");
}

#[tokio::test]
async fn messages_leave_at_once_when_the_handler_pauses() {
    let client = serve_raw(Server::new(), Fixture::default()).await;
    let mut client = client.ready().await.expect("open");
    let (response, mut stream) = client
        .send_request(grpc("/t.T/Echo").body(()).expect("legal"), false)
        .expect("legal");
    stream.send_data(frame(b"one"), false).expect("open");
    let mut answers = timeout(Duration::from_secs(30), response)
        .await
        .expect("in time")
        .expect("headers")
        .into_body();
    let first = timeout(Duration::from_secs(30), answers.data())
        .await
        .expect("in time");
    assert_eq!(first.expect("a message").expect("whole"), frame(b"one"));
    stream.send_data(frame(b"two"), true).expect("open");
    let second = timeout(Duration::from_secs(30), answers.data())
        .await
        .expect("in time");
    assert_eq!(second.expect("a message").expect("whole"), frame(b"two"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_gone_after_five_seconds_and_delays_no_drain() {
    let served = Fixture::default().serve(Server::new()).await;
    let address = served.socket_address().to_owned();
    let mut silent = TcpStream::connect(&address).await.expect("served");
    let began = tokio::time::Instant::now();
    let mut settings = Vec::new();
    silent.read_to_end(&mut settings).await.expect("closed");
    let waited = began.elapsed();
    assert!(
        waited >= Duration::from_secs(5) && waited < Duration::from_secs(6),
        "{waited:?}"
    );

    let _silent = TcpStream::connect(&address).await.expect("served");
    // A call on another connection, so that the silent one has been accepted before it.
    let _client = connect_to(&served).await;
    served.stop();
    let ended = timeout(Duration::from_secs(3), served.ended()).await;
    ended.expect("the drain does not wait for it");
}
