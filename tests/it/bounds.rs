//! What a server does to clients that stall, to calls that are too many and to those that hold what others need: mostly on raw frames, with
//! a clock that does not wait.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use streamway::client::Responses;
use streamway::codec::RawMessage;
use streamway::server::{Config, Server};
use streamway::{Channel, Method, MethodKind};
use tokio::time::{Instant, timeout};

use crate::handlers::Odd;
use crate::piped::serve;
use crate::raw::frame::{Frame, kind, setting};
use crate::support::{self, LONG, frame, raw};

/// RFC 9113, section 7.
const CANCEL: u32 = 8;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_no_window_loses_its_call_and_the_next_is_served() {
    // Nothing of the first message, and half of it.
    for window in [0, 500] {
        let server = serve(Config::default());
        let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
        let mut client = server.connect(&settings).await;
        let begun = Instant::now();
        client.call(1, "/t.T/Forever", &[], Some(b"x")).await;
        match window {
            0 => assert_eq!(client.status().await.get("grpc-status"), Some("4")),
            _ => {
                client.head().await;
                let reset = client.next_of(kind::RST_STREAM).await;
                assert_eq!(reset.and_then(|reset| reset.error()), Some(CANCEL));
            }
        }
        let took = begun.elapsed();
        assert!((MINUTE..=MINUTE + MINUTE / 4).contains(&took), "{took:?}");
        server.dropped.notified().await;

        client.call(3, "/t.T/Refuse", &[], Some(b"x")).await;
        assert_eq!(client.status().await.get("grpc-status"), Some("9"));
    }
}

/// A status behind half a message would not be read: whoever reads finds the message broken.
#[tokio::test(start_paused = true)]
async fn a_deadline_behind_half_a_message_is_a_reset_and_no_status() {
    let server = serve(Config::default());
    let mut client = server.connect(&[(setting::INITIAL_WINDOW_SIZE, 7)]).await;
    let deadline = [("grpc-timeout", "300m")];
    client.call(1, "/t.T/Forever", &deadline, Some(b"x")).await;
    let (_, ended) = client.head().await;
    assert!(!ended);
    let mut frames = Vec::new();
    while frames.last() != Some(&kind::RST_STREAM) {
        let frame = client.next().await.expect("a reset");
        if frame.stream == 1 {
            frames.push(frame.kind);
        }
        assert!(frame.kind != kind::RST_STREAM || frame.error() == Some(CANCEL));
    }
    assert_eq!(frames, [kind::DATA, kind::RST_STREAM]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_go_on_sending_loses_its_call() {
    for sent in [None, Some(&b"\0\0\0\0\x05hal"[..])] {
        let server = serve(Config::default());
        let mut client = server.connect(&[]).await;
        let begun = Instant::now();
        client.call(1, "/t.T/Join", &[], None).await;
        if let Some(half) = sent {
            client.send(&Frame::data(1, half)).await.expect("open");
        }
        let status = client.status().await;
        assert_eq!(status.get("grpc-status"), Some("4"));
        let text = "the client neither took nor sent a byte for 60s";
        assert_eq!(status.get("grpc-message"), Some(text));
        assert!(
            begun.elapsed() <= MINUTE + MINUTE / 4,
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_slowly_keeps_its_call() {
    let server = serve(Config::default());
    let mut client = server.connect(&[]).await;
    client.call(1, "/t.T/Join", &[], None).await;
    for byte in &frame(&[7; 20])[..] {
        tokio::time::sleep(MINUTE - MINUTE / 4).await;
        client
            .send(&Frame::data(1, vec![*byte]))
            .await
            .expect("open");
    }
    client
        .send(&Frame::data(1, &b""[..]).end_stream())
        .await
        .expect("open");
    let answer = client.next_of(kind::DATA).await.expect("an answer");
    assert_eq!(answer.payload, frame(&[7; 20]));
    assert_eq!(client.status().await.get("grpc-status"), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_longer_than_a_client_may_keeps_its_call() {
    let mut config = Config::default();
    config.keepalive_interval = Duration::MAX;
    let server = serve(config);
    let mut client = server.connect(&[]).await;
    let begun = Instant::now();
    client
        .call(1, "/t.T/Hang", &[("grpc-timeout", "1H")], Some(b"x"))
        .await;
    assert_eq!(
        client.status().await.get("grpc-message"),
        Some("the deadline passed")
    );
    assert_eq!(begun.elapsed(), 60 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_byte_is_closed_although_it_sends() {
    let mut config = Config::default();
    // The call by itself would end as late as the connection.
    config.max_send_buffer_bytes = 1024 * 1024;
    let server = serve(config);
    let window = (setting::INITIAL_WINDOW_SIZE, 1 << 30);
    let mut client = server.connect(&[window]).await;
    client
        .send(&Frame::window_update(0, 1 << 30))
        .await
        .expect("open");
    let begun = Instant::now();
    client.call(1, "/t.T/Forever", &[], Some(b"x")).await;
    server.dropped.notified().await;
    while client.send(&Frame::ping([0; 8])).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let took = begun.elapsed();
    assert!((MINUTE..MINUTE + MINUTE / 4).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_too_many_for_the_server_is_unavailable_with_pushback_until_a_place_is_free() {
    let mut config = Config::default();
    config.max_concurrent_calls = 2;
    let server = serve(config);
    let mut clients = [server.connect(&[]).await, server.connect(&[]).await];
    for client in &mut clients {
        client.call(1, "/t.T/Hang", &[], Some(b"x")).await;
        server.hanging.notified().await;
    }
    let [first, second] = &mut clients;
    first.call(3, "/t.T/Refuse", &[], Some(b"x")).await;
    let status = first.status().await;
    assert_eq!(status.get("grpc-status"), Some("14"));
    assert_eq!(status.get("grpc-retry-pushback-ms"), Some("1000"));

    second.send(&Frame::reset(1, CANCEL)).await.expect("open");
    server.dropped.notified().await;
    first.call(5, "/t.T/Refuse", &[], Some(b"x")).await;
    assert_eq!(first.status().await.get("grpc-status"), Some("9"));
}

#[tokio::test(start_paused = true)]
async fn messages_of_which_the_last_byte_is_missing_share_what_the_server_has_for_them() {
    const HALF: usize = 512 * 1024;
    let mut config = Config::default();
    config.limits = config.limits.recv(2 * HALF);
    config.max_unfinished_bytes = 3 * HALF;
    // So that nobody waits for a window.
    config.stream_window_bytes = 1 << 22;
    config.connection_window_bytes = 1 << 23;
    let server = serve(config);
    let mut client = server.connect(&[]).await;
    let message = frame(&[7; 2 * HALF]);
    let (almost, rest) = message.split_at(2 * HALF);
    for stream in [1, 3] {
        client.call(stream, "/t.T/Refuse", &[], None).await;
        for part in almost.chunks(8 * 1024) {
            client
                .send(&Frame::data(stream, part.to_vec()))
                .await
                .expect("open");
        }
    }
    let status = client.status().await;
    assert_eq!(status.get("grpc-status"), Some("8"));
    let text = "the server holds as many unfinished messages as it takes";
    assert_eq!(status.get("grpc-message"), Some(text));
    assert_eq!(status.get("grpc-retry-pushback-ms"), Some("1000"));

    // The first call goes on, and what the second held is free.
    let rest = Frame::data(1, rest.to_vec());
    client.send(&rest.end_stream()).await.expect("open");
    assert_eq!(client.status().await.get("grpc-status"), Some("9"));
}

/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test(start_paused = true)]
async fn frames_of_a_byte_that_nobody_reads_end_the_connection() {
    let server = serve(Config::default());
    let mut client = server.connect(&[]).await;
    client.call(1, "/t.T/Hang", &[], None).await;
    let mut sent = 0;
    // h2 takes its time, as on a socket: what it has read is not to wait here.
    let frames: Vec<_> = (0..500).map(|_| Frame::data(1, vec![7])).collect();
    while client.send_all(&frames).await.is_ok() && sent < 1_000_000 {
        sent += frames.len();
        tokio::task::yield_now().await;
    }
    let bye = client.next_of(kind::GOAWAY).await.expect("it is told");
    assert_eq!(bye.error(), Some(ENHANCE_YOUR_CALM));
    // Sixteen windows of 1 MiB, 255 bytes for each; then a MiB that is read and thrown away; and what was on its way.
    let most = 16 * 1024 * 1024 / 255 + 1024 * 1024 / 10 + 20_000;
    assert!((50_000..most).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlives_its_connection_is_unavailable() {
    let mut config = Config::default();
    config.max_connection_age = MINUTE;
    config.max_connection_age_grace = MINUTE;
    config.keepalive_interval = Duration::MAX;
    let server = serve(config);
    let mut client = server.connect(&[]).await;
    client.call(1, "/t.T/Hang", &[], Some(b"x")).await;
    let status = client.status().await;
    assert_eq!(status.get("grpc-status"), Some("14"));
    assert_eq!(
        status.get("grpc-message"),
        Some("the connection has reached its age")
    );
}

/// Makes so many calls that take `message`, answer once and do not end: each is answered.
async fn subscribe(config: Config, message: RawMessage, calls: usize) {
    // Its only message and the end come together, unlike those of a bidi call.
    const SUBSCRIBE: Method = Method::new("/t.T/Odd", MethodKind::ServerStreaming);
    let odd = Odd::new(|_, mut rx, mut tx| {
        Box::pin(async move {
            drop(rx.only().await?);
            tx.send(&raw(b"here")).await?;
            pending().await
        })
    });
    let served = support::serve(Server::new().config(config).add_service(odd)).await;
    let channel = Channel::connect(&served.address).expect("an address");
    let mut open = Vec::new();
    for n in 0..calls {
        let call = channel.server_streaming(SUBSCRIBE, message.clone());
        let mut call: Responses<RawMessage> = call.start().await.expect("open");
        let answer = timeout(LONG, call.message()).await.expect("answered");
        let answer = answer.map_err(|status| status.to_string());
        assert_eq!(answer, Ok(Some(raw(b"here"))), "{n}");
        open.push(call);
    }
}

#[tokio::test]
async fn a_call_whose_request_has_come_whole_takes_no_room_of_those_that_have_not() {
    const MIB: usize = 1024 * 1024;
    let mut config = Config::default();
    config.limits = config.limits.recv(MIB);
    config.max_unfinished_bytes = MIB;
    subscribe(config, RawMessage(Bytes::from(vec![7; MIB])), 4).await;
}

#[tokio::test]
async fn a_call_that_has_read_its_request_holds_nothing_of_its_connections_window() {
    let mut config = Config::default();
    config.connection_window_bytes = 65_535;
    subscribe(config, RawMessage(Bytes::from(vec![7; 500])), 300).await;
}
