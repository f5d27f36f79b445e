//! Behaviour of the client: all four shapes, their limits, deadlines and ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamway::call::Compression;
use streamway::client::{Config, Requests};
use streamway::codec::RawMessage;
use streamway::server::{Drained, Server};
use streamway::transport::in_process;
use streamway::{Channel, Code, Encoding, MessageLimits, Metadata, Status};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{
    COUNT, EARLY, ECHO, FOREVER, Fixture, HANG, JOIN, LONG, PANIC, REFUSE, REVERSE, channel,
    channel_to, raw,
};

#[tokio::test]
async fn a_unary_call_is_answered_with_metadata_in_headers_and_trailers() {
    let (_served, channel) = channel().await;
    let mut metadata = Metadata::new();
    metadata.append("x-echo", "one").expect("legal");
    metadata.append("x-echo", "two").expect("legal");
    metadata.append_bin("x-echo-bin", [0, 255]).expect("legal");
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"abc"));
    let answer = call.metadata(metadata).response().await.expect("OK");
    assert_eq!(answer.message, raw(b"cba"));
    for metadata in [&answer.headers, &answer.trailers] {
        let echoed: Vec<_> = metadata.get_all("x-echo").collect();
        assert_eq!(echoed, ["one", "two"]);
        assert_eq!(
            metadata.get_bin("x-echo-bin").as_deref(),
            Some(&[0, 255][..])
        );
    }
}

#[tokio::test]
async fn a_large_message_passes_windows_smaller_than_itself_both_ways() {
    let (_served, channel) = channel().await;
    let large: Bytes = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut exchange = channel
        .bidi::<RawMessage, RawMessage>(ECHO)
        .start()
        .await
        .expect("served");
    exchange
        .send(&RawMessage(large.clone()))
        .await
        .expect("open");
    let back = exchange.message().await.expect("OK").expect("a message");
    assert!(back.0 == large);
    let reversed = channel.unary::<_, RawMessage>(REVERSE, RawMessage(large.clone()));
    assert_eq!(reversed.send().await.expect("OK").0.len(), large.len());
}

#[tokio::test]
async fn a_stream_over_the_servers_send_limit_gives_all_before_it_then_resource_exhausted() {
    let server = Server::new().method_limits("/t.T/Count", MessageLimits::default().send(16));
    let (_served, channel) = channel_to(server, Fixture::default()).await;
    for _ in 0..2 {
        let call = channel.server_streaming::<_, RawMessage>(COUNT, raw(&[0; 16]));
        let mut responses = call.start().await.expect("served");
        let mut count = 0u32;
        let status = loop {
            match responses.message().await {
                Ok(Some(message)) => {
                    assert_eq!(message.0[..4], count.to_be_bytes());
                    count += 1;
                }
                Ok(None) => unreachable!("the last message is over the limit"),
                Err(status) => break status,
            }
        };
        assert_eq!(count, 20_000);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(
            status.message(),
            "trying to send message larger than max (17 vs. 16)"
        );
    }
}

#[tokio::test]
async fn limits_of_the_client_hold_in_both_directions_and_the_connection_goes_on() {
    let (_served, channel) = channel().await;
    let limits = MessageLimits::default().recv(16).send(16);
    for (message, code) in [
        (&[1; 16][..], None),
        (&[1; 17][..], Some(Code::ResourceExhausted)),
    ] {
        let call = channel.unary::<_, RawMessage>(REVERSE, RawMessage(Bytes::from(message)));
        let outcome = call.limits(MessageLimits::default().recv(16)).send().await;
        assert_eq!(outcome.err().map(|status| status.code()), code);
        let call = channel.unary::<_, RawMessage>(REVERSE, RawMessage(Bytes::from(message)));
        let outcome = call.limits(limits).send().await;
        assert_eq!(outcome.err().map(|status| status.code()), code);
    }
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(&[1; 17]));
    let status = call.limits(limits).send().await.expect_err("too large");
    assert_eq!(
        status.message(),
        "trying to send message larger than max (17 vs. 16)"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_does_not_end_a_streamed_request() {
    let (_served, channel) = channel().await;
    let call = channel.client_streaming::<_, RawMessage>(JOIN);
    let mut upload = call
        .limits(MessageLimits::default().send(2))
        .start()
        .await
        .expect("served");
    upload.send(&raw(b"ab")).await.expect("within the limit");
    let status = upload.send(&raw(b"abc")).await.expect_err("over the limit");
    assert_eq!(status.code(), Code::ResourceExhausted);
    upload.send(&raw(b"cd")).await.expect("the call goes on");
    assert_eq!(upload.finish().await.expect("OK"), raw(b"abcd"));
}

#[tokio::test]
async fn an_upload_is_answered_once_it_is_finished() {
    let (_served, channel) = channel().await;
    let mut upload = channel
        .client_streaming::<_, RawMessage>(JOIN)
        .start()
        .await
        .expect("served");
    for _ in 0..50_000 {
        upload.send(&raw(b"0123456789")).await.expect("open");
    }
    assert_eq!(upload.finish().await.expect("OK").0.len(), 500_000);
    let empty = channel.client_streaming::<RawMessage, RawMessage>(JOIN);
    let empty = empty.start().await.expect("served");
    assert_eq!(empty.finish().await.expect("OK"), raw(b""));
}

#[tokio::test]
async fn an_upload_that_is_refused_says_why() {
    let (_served, channel) = channel().await;
    let call = channel.client_streaming::<_, RawMessage>(REFUSE);
    let mut upload = call.start().await.expect("served");
    let status = timeout(LONG, async {
        loop {
            if let Err(status) = upload.send(&raw(b"more")).await {
                return status;
            }
            tokio::task::yield_now().await;
        }
    });
    let status = status.await.expect("the refusal arrives");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "not today");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_an_upload_is_not_lost() {
    let (_served, channel) = channel().await;
    let call = channel.client_streaming::<_, RawMessage>(EARLY);
    let mut upload = call.start().await.expect("served");
    let status = timeout(LONG, async {
        loop {
            if let Err(status) = upload.send(&raw(b"more")).await {
                return status;
            }
            tokio::task::yield_now().await;
        }
    });
    let status = status.await.expect("the answer arrives");
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(upload.finish().await.expect("OK"), raw(b"early"));
}

#[tokio::test]
async fn both_halves_of_an_exchange_work_at_once_and_messages_leave_when_the_sender_pauses() {
    let (_served, channel) = channel().await;
    let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO).start();
    let (mut tx, mut rx) = exchange.await.expect("served").split();
    for text in [&b"one"[..], b"two", b""] {
        let message = RawMessage(Bytes::from_static(text));
        tx.send(&message).await.expect("open");
        let back = timeout(LONG, rx.message()).await.expect("in lock-step");
        assert_eq!(back.expect("OK"), Some(message));
    }
    let sending = tokio::spawn(async move {
        for n in 0..100_000u32 {
            let message = RawMessage(Bytes::copy_from_slice(&n.to_be_bytes()));
            tx.send(&message).await.expect("open");
        }
        tx.finish();
    });
    for n in 0..100_000u32 {
        let message = rx.message().await.expect("OK").expect("not yet the end");
        assert_eq!(message.0[..], n.to_be_bytes());
    }
    assert_eq!(rx.message().await.expect("OK"), None);
    sending.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_multi_thread_runtime_calls_stream_end_and_are_dropped_as_well() {
    let fixture = Fixture::default();
    let dropped = Arc::clone(&fixture.dropped);
    let server = Server::new().drain_timeout(Duration::ZERO);
    let (served, channel) = channel_to(server, fixture).await;
    let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO).start();
    let (mut tx, mut rx) = exchange.await.expect("served").split();
    let sending = tokio::spawn(async move {
        for n in 0..100_000u32 {
            let message = RawMessage(Bytes::copy_from_slice(&n.to_be_bytes()));
            tx.send(&message).await.expect("open");
        }
        tx.finish();
    });
    for n in 0..100_000u32 {
        let message = rx.message().await.expect("OK").expect("not yet the end");
        assert_eq!(message.0[..], n.to_be_bytes());
    }
    assert_eq!(rx.message().await.expect("OK"), None);
    sending.await.expect("no panic");
    timeout(LONG, dropped.notified()).await.expect("dropped");

    let call = channel.server_streaming::<_, RawMessage>(FOREVER, raw(b""));
    let mut responses = call.start().await.expect("served");
    responses.message().await.expect("OK").expect("endless");
    served.stop();
    timeout(LONG, dropped.notified()).await.expect("dropped");
    timeout(LONG, served.ended()).await.expect("drained");
}

#[tokio::test]
async fn every_encoding_is_negotiated_and_a_bomb_is_cut_at_the_limit() {
    for &encoding in &Encoding::SUPPORTED[1..] {
        negotiates(encoding).await;
    }
}

async fn negotiates(encoding: Encoding) {
    let mut config = streamway::server::Config::default();
    config.encoding = encoding;
    // The size of the plain message, and a byte less: compressed it has a small part of either.
    let (enough, less) = (
        MessageLimits::default().recv(100_000),
        MessageLimits::default().recv(99_999),
    );
    for (server_limits, limits, code) in [
        (enough, enough, None),
        (enough, less, Some(Code::ResourceExhausted)),
        (less, enough, Some(Code::ResourceExhausted)),
    ] {
        config.limits = server_limits;
        let server = Server::new().config(config.clone());
        let (_served, channel) = channel_to(server, Fixture::default()).await;
        let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO);
        let exchange = exchange.encoding(encoding).limits(limits).start();
        let (mut requests, mut responses) = exchange.await.expect("served").split();
        for size in [1, 100_000] {
            let zeros = RawMessage(Bytes::from(vec![0; size]));
            requests.send(&zeros).await.expect("open");
            let answer = responses.message().await;
            let expected = match code {
                Some(code) if size > 1 => Err(code),
                _ => Ok(Some(zeros)),
            };
            let answer = answer.map_err(|status| status.code());
            assert_eq!(answer, expected, "{encoding:?}");
            assert!(responses.compressed(), "{encoding:?}");
        }
    }
}

/// compression.md: for each message.
#[tokio::test]
async fn a_handler_sees_and_chooses_whether_each_message_is_compressed() {
    let mut config = streamway::server::Config::default();
    config.encoding = Encoding::Gzip;
    let (_served, channel) = channel_to(Server::new().config(config), Fixture::default()).await;
    for (encoding, compressed) in [(Encoding::Gzip, true), (Encoding::Identity, false)] {
        let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
        let mut responses = call.encoding(encoding).start().await.expect("served");
        assert_eq!(responses.only().await.expect("OK"), raw(b"ba"));
        assert_eq!(responses.compressed(), compressed);
    }
    let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO);
    let exchange = exchange.encoding(Encoding::Gzip).start().await;
    let (mut requests, mut responses) = exchange.expect("served").split();
    for (compression, compressed) in [
        (Compression::Off, false),
        (Compression::On, true),
        (Compression::Off, false),
    ] {
        requests.compress(compression);
        requests.send(&raw(b"ab")).await.expect("open");
        assert_eq!(responses.message().await.expect("OK"), Some(raw(b"ab")));
        assert_eq!(responses.compressed(), compressed);
    }
}

#[tokio::test]
async fn statuses_of_the_server_arrive_as_they_are() {
    let (_served, channel) = channel().await;
    let status = channel
        .unary::<_, RawMessage>(PANIC, raw(b""))
        .send()
        .await
        .expect_err("it panics");
    assert_eq!(status.code(), Code::Internal);
    let unknown = streamway::Method::new("/t.T/Nothing", streamway::MethodKind::Unary);
    let status = channel
        .unary::<_, RawMessage>(unknown, raw(b""))
        .send()
        .await
        .expect_err("there is none");
    assert_eq!(status.code(), Code::Unimplemented);
    // A stream where one message is expected: cardinality violation.
    let status = channel
        .unary::<_, RawMessage>(COUNT, raw(b"1234"))
        .send()
        .await
        .expect_err("20,000 answers");
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn headers_are_there_before_the_message_and_when_the_call_fails_after_them() {
    let (_served, channel) = channel().await;
    let mut metadata = Metadata::new();
    metadata.append("x-echo", "one").expect("legal");
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"abc"));
    let call = call
        .metadata(metadata.clone())
        .limits(MessageLimits::default().recv(2));
    let mut responses = call.start().await.expect("served");
    let before = responses.headers().await.expect("they come first").clone();
    assert_eq!(before.get("x-echo"), Some("one"));
    let status = responses.only().await.expect_err("over the limit");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(responses.headers().await.expect("they stay"), &before);

    let call = channel.client_streaming::<RawMessage, RawMessage>(REFUSE);
    let (requests, mut responses) = call.start().await.expect("served").split();
    requests.finish();
    let status = responses.headers().await.expect_err("Trailers-Only");
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_on_both_sides() {
    let fixture = Fixture::default();
    let dropped = Arc::clone(&fixture.dropped);
    let (_served, channel) = channel_to(Server::new(), fixture).await;
    let call = channel.unary::<_, RawMessage>(HANG, raw(b""));
    let status = call.timeout(Duration::from_millis(50)).send().await;
    assert_eq!(status.expect_err("it hangs").code(), Code::DeadlineExceeded);
    timeout(LONG, dropped.notified())
        .await
        .expect("the handler is dropped");

    let call = channel.client_streaming::<RawMessage, RawMessage>(JOIN);
    let upload = call
        .timeout(Duration::from_millis(50))
        .start()
        .await
        .expect("served");
    let status = upload_after_the_deadline(upload).await;
    assert_eq!(status, Code::DeadlineExceeded);
}

async fn upload_after_the_deadline(
    mut upload: streamway::client::Upload<RawMessage, RawMessage>,
) -> Code {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if let Err(status) = upload.send(&raw(b"x")).await {
            return status.code();
        }
    }
}

#[tokio::test]
async fn dropping_a_call_cancels_it_on_the_server() {
    let fixture = Fixture::default();
    let dropped = Arc::clone(&fixture.dropped);
    let (_served, channel) = channel_to(Server::new(), fixture).await;

    let mut responses = channel
        .server_streaming::<_, RawMessage>(FOREVER, raw(b""))
        .start()
        .await
        .expect("served");
    responses.message().await.expect("OK").expect("endless");
    drop(responses);
    timeout(LONG, dropped.notified()).await.expect("dropped");

    let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO).start();
    let (mut tx, mut rx) = exchange.await.expect("served").split();
    tx.send(&raw(b"x")).await.expect("open");
    rx.message().await.expect("OK").expect("an echo");
    drop::<Requests<_>>(tx);
    timeout(LONG, dropped.notified()).await.expect("dropped");
    let status = rx.message().await.expect_err("the call is over");
    assert_eq!(status.code(), Code::Cancelled);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_waiting_for_ready_finds_it_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    let channel = Channel::connect(&format!("http://{addr}")).expect("an address");
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
    let status = timeout(LONG, call.send()).await.expect("at once");
    assert_eq!(status.expect_err("nobody there").code(), Code::Unavailable);

    let waiting = channel
        .unary::<_, RawMessage>(REVERSE, raw(b"ab"))
        .wait_for_ready()
        .send();
    let serving = async {
        let listener = TcpListener::bind(addr).await.expect("still free");
        let server = Server::new().add_service(Fixture::default());
        server.serve(listener, std::future::pending()).await
    };
    let answer = tokio::select! {
        answer = timeout(LONG, waiting) => answer.expect("it comes up"),
        ended = serving => unreachable!("{ended:?}"),
    };
    assert_eq!(answer.expect("OK"), raw(b"ba"));
}

#[tokio::test]
async fn a_drain_lets_calls_end_and_a_channel_connects_anew() {
    let fixture = Fixture::default();
    let (served, channel) = channel_to(Server::new(), fixture.clone()).await;
    let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO).start();
    let (mut tx, mut rx) = exchange.await.expect("served").split();
    tx.send(&raw(b"before")).await.expect("open");
    assert_eq!(rx.message().await.expect("OK"), Some(raw(b"before")));
    served.stop();
    tx.send(&raw(b"during")).await.expect("open");
    assert_eq!(rx.message().await.expect("OK"), Some(raw(b"during")));
    tx.finish();
    assert_eq!(rx.message().await.expect("OK"), None);
    let addr = served.socket_address().to_owned();
    let drained = timeout(LONG, served.ended()).await;
    assert_eq!(drained.expect("drained"), Drained::Clean);

    let listener = TcpListener::bind(&addr).await.expect("free again");
    let again = Server::new().add_service(fixture);
    let again = tokio::spawn(again.serve(listener, std::future::pending()));
    let call = channel
        .unary::<_, RawMessage>(REVERSE, raw(b"ab"))
        .wait_for_ready();
    let answer = timeout(LONG, call.send()).await.expect("connected anew");
    assert_eq!(answer.expect("OK"), raw(b"ba"));
    again.abort();
}

#[tokio::test(start_paused = true)]
async fn at_the_drain_limit_calls_in_flight_end_with_unavailable() {
    let fixture = Fixture::default();
    let server = Server::new().drain_timeout(Duration::from_secs(3));
    let (served, channel) = channel_to(server, fixture.clone()).await;
    let call = channel.unary::<_, RawMessage>(HANG, raw(b""));
    let call = tokio::spawn(call.send());
    fixture.hanging.notified().await;
    served.stop();
    let status = call.await.expect("no panic").expect_err("it hangs");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the server is shutting down");
    let drained = timeout(LONG, served.ended()).await;
    assert_eq!(drained.expect("drained"), Drained::Cut);
}

/// The limit alone tells nothing: it can pass while a client does not close its connection.
#[tokio::test]
async fn a_drain_without_calls_is_clean_whatever_its_limit() {
    let server = Server::new().drain_timeout(Duration::ZERO);
    let (served, channel) = channel_to(server, Fixture::default()).await;
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
    assert_eq!(call.send().await.expect("OK"), raw(b"ba"));
    served.stop();
    let drained = timeout(LONG, served.ended()).await;
    assert_eq!(drained.expect("drained"), Drained::Clean);
}

#[tokio::test]
async fn a_deadline_in_the_midst_of_a_stream_reads_deadline_exceeded_wherever_it_cuts() {
    let (_served, channel) = channel().await;
    for n in 0..40 {
        let call = channel.server_streaming::<_, RawMessage>(FOREVER, raw(b""));
        let call = call.timeout(Duration::from_millis(5 + n % 7));
        let ended = async {
            // On a busy machine it may be late already.
            let mut responses = call.start().await?;
            while responses.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        let status = ended.await.expect_err("it never ends well");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
}

#[tokio::test]
async fn the_drain_limit_in_the_midst_of_a_stream_reads_unavailable_wherever_it_cuts() {
    for n in 0..10 {
        let server = Server::new().drain_timeout(Duration::from_millis(n));
        let (served, channel) = channel_to(server, Fixture::default()).await;
        let call = channel.server_streaming::<_, RawMessage>(FOREVER, raw(b""));
        let mut responses = call.start().await.expect("served");
        responses.message().await.expect("OK").expect("endless");
        served.stop();
        let status = loop {
            match responses.message().await {
                Ok(message) => assert!(message.is_some(), "it never ends well"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
}

#[tokio::test]
async fn a_channel_reaches_a_server_in_its_own_process_for_as_long_as_it_listens() {
    let (reach, listener) = in_process();
    let server = Server::new().add_service(Fixture::default());
    let stop = Notify::new();
    let served = server.serve(listener, stop.notified());
    let calls = async {
        let channel = Channel::in_process(reach.clone(), Config::default());
        let message = RawMessage(Bytes::from(vec![7; 1024 * 1024]));
        let answer = channel.unary::<_, RawMessage>(REVERSE, message.clone());
        assert_eq!(answer.send().await.expect("served"), message);
        stop.notify_one();
    };
    let (served, ()) = tokio::join!(served, calls);
    served.expect("legal services");

    let channel = Channel::in_process(reach, Config::default());
    let message = RawMessage(Bytes::new());
    let call = channel.unary::<_, RawMessage>(REVERSE, message);
    let status = call.send().await.expect_err("nobody listens");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// A connection's window is 1 MiB, which 65 messages of 16 KB fill.
#[tokio::test]
async fn messages_that_were_read_hold_no_window_of_their_connection() {
    let (_served, channel) = channel().await;
    let message = RawMessage(vec![7; 16_000].into());
    let mut calls = Vec::new();
    for _ in 0..100 {
        let call = async {
            let mut echo = channel.bidi::<_, RawMessage>(ECHO).start().await?;
            echo.send(&message).await?;
            assert_eq!(echo.message().await?.as_ref(), Some(&message));
            Ok::<_, Status>(echo)
        };
        let begun = timeout(LONG, call).await;
        // It asks for nothing more, and stays.
        calls.push(begun.expect("there is window").expect("served"));
    }
}
