//! Limits and contents of messages, on both sides.

use std::iter;

use bytes::Bytes;
use streamway::codec::RawMessage;
use streamway::health::Health;
use streamway::health::proto::HealthCheckResponse;
use streamway::server::{CallFuture, Config, Rpc, Server, Service};
use streamway::{Channel, Code, MessageLimits, Method, MethodKind};
use tokio::time::timeout;

use crate::support::{ECHO, Fixture, LONG, REVERSE, channel, channel_to, raw, serve};

const MIB: usize = 1024 * 1024;

/// Rule 23.
#[tokio::test]
async fn either_side_takes_four_mebibytes_and_no_byte_more_unless_told_otherwise() {
    let lenient = MessageLimits::default().recv(5 * MIB);
    for server in [Server::new(), Server::new().limits(lenient)] {
        let (_served, channel) = channel_to(server, Fixture::default()).await;
        for (bytes, code) in [
            (4 * MIB, None),
            (4 * MIB + 1, Some(Code::ResourceExhausted)),
        ] {
            let message = RawMessage(Bytes::from(vec![0; bytes]));
            let call = channel.unary::<_, RawMessage>(REVERSE, message);
            let outcome = call.send().await;
            assert_eq!(outcome.err().map(|status| status.code()), code, "{bytes}");
        }
    }
}

/// Rule 24.
#[tokio::test]
async fn bytes_that_are_no_such_message_are_internal_on_either_side() {
    const CHECK: Method = Method::new("/grpc.health.v1.Health/Check", MethodKind::Unary);
    let server = Server::new().add_service(Health::new().service());
    let (_served, channel) = channel_to(server, Fixture::default()).await;
    let call = channel.unary::<_, RawMessage>(CHECK, raw(b"\xff\xff\xff"));
    let status = call.send().await.expect_err("no HealthCheckRequest");
    assert_eq!(status.code(), Code::Internal);

    let call = channel.unary::<_, HealthCheckResponse>(REVERSE, raw(b"\xff\xff\xff"));
    let status = call.send().await.expect_err("no HealthCheckResponse");
    assert_eq!(status.code(), Code::Internal);
}

/// Rule 29.
#[tokio::test]
async fn data_that_cannot_be_decompressed_are_internal() {
    let client = crate::wire::serve_raw(Server::new(), Fixture::default()).await;
    let request = crate::wire::grpc(ECHO.path).header("grpc-encoding", "gzip");
    let corrupt = Bytes::from_static(b"\x01\0\0\0\x04\x1f\x8bxx");
    let request = request.body(()).expect("legal");
    let answer = crate::wire::call(&client, request, corrupt).await;
    assert_eq!(answer.status().0, "13");
}

/// Rule 63: the window of what a handler has read is the connection's again when it drops the stream, not when its call ends.
#[tokio::test]
async fn a_handler_that_reads_no_more_holds_no_window_of_its_connection() {
    const TAKE: Method = Method::new("/t.Deaf/Take", MethodKind::Bidi);
    struct Deaf;
    impl Service for Deaf {
        fn methods(&self) -> &'static [Method] {
            &[TAKE]
        }

        fn call(&self, _: usize, rpc: Rpc) -> CallFuture {
            let (_call, mut requests, mut responses, runner) = rpc.open();
            Box::pin(runner.run(async move {
                let message: Option<RawMessage> = requests.message().await?;
                assert!(message.is_some());
                drop(requests);
                responses.send(&raw(b"taken")).await?;
                std::future::pending().await
            }))
        }
    }
    let served = serve(Server::new().add_service(Deaf)).await;
    let channel = Channel::connect(&served.address).expect("an address");
    // Together more than a connection's window, each in one frame.
    let message = RawMessage(Bytes::from(vec![7; 16_000]));
    let calls = Config::default().connection_window_bytes / 16_000 + 10;
    let mut open = Vec::new();
    for _ in 0..calls {
        let exchange = channel.bidi::<RawMessage, RawMessage>(TAKE).start();
        let mut exchange = exchange.await.expect("served");
        exchange.send(&message).await.expect("open");
        let answer = timeout(LONG, exchange.message()).await;
        assert_eq!(answer.expect("no hang").expect("OK"), Some(raw(b"taken")));
        open.push(exchange);
    }
}

/// Rule 63, where windows are so small that what calls keep of them would be all.
#[tokio::test]
async fn calls_that_wait_for_their_next_message_leave_window_for_others() {
    let message = RawMessage(Bytes::from_static(&[7; 400]));
    let large = RawMessage(Bytes::from(vec![7; 60_000]));
    for (stream_window_bytes, connection_window_bytes) in [(100, 1 << 20), (1 << 18, 65_535)] {
        let mut config = Config::default();
        config.stream_window_bytes = stream_window_bytes;
        config.connection_window_bytes = connection_window_bytes;
        let server = Server::new().config(config);
        let (_served, channel) = channel_to(server, Fixture::default()).await;
        let mut waiting = Vec::new();
        for message in iter::repeat_n(&message, 300).chain([&large]) {
            let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO).start();
            let mut exchange = exchange.await.expect("served");
            exchange.send(message).await.expect("open");
            let answer = timeout(LONG, exchange.message()).await;
            assert_eq!(
                answer.expect("no hang").expect("OK").as_ref(),
                Some(message)
            );
            waiting.push(exchange);
        }
    }
}

/// Rule 19.
#[tokio::test]
async fn messages_without_a_byte_arrive_one_by_one() {
    let (_served, channel) = channel().await;
    let exchange = channel.bidi::<RawMessage, RawMessage>(ECHO).start();
    let mut exchange = exchange.await.expect("served");
    for _ in 0..3 {
        exchange.send(&raw(b"")).await.expect("open");
        assert_eq!(exchange.message().await.expect("OK"), Some(raw(b"")));
    }
    let mut responses = exchange.finish();
    assert_eq!(responses.message().await.expect("OK"), None);
}
