//! Calls that wait until the server takes more of them (MAX_CONCURRENT_STREAMS).

use std::time::Duration;

use futures_util::future::join_all;
use streamway::Code;
use tokio::sync::Notify;

use super::{EXCHANGE, Server, UNARY, UPLOAD, assert_good, case, raw_message, unary};
use crate::raw;
use crate::raw::frame::{Frame, error, setting};

#[tokio::test]
async fn fifteen_calls_go_one_at_a_time_when_the_server_takes_one() {
    case("rule 58, section 5.1.2: MAX_CONCURRENT_STREAMS 1", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[(setting::MAX_CONCURRENT_STREAMS, 1)]).await;
            for _ in 0..15 {
                let call = connection.request().await.expect("a call");
                connection.assert_no_call().await;
                connection.answer(call.stream).await;
            }
            connection
        };
        let calls = join_all((0..15).map(|_| unary(&channel).send()));
        let (_, outcomes) = tokio::join!(serving, calls);
        outcomes.into_iter().for_each(assert_good);
    })
    .await;
}

#[tokio::test]
async fn calls_wait_for_a_server_that_takes_none_yet() {
    case(
        "rule 58, section 6.5.2: MAX_CONCURRENT_STREAMS 0, then 2",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[(setting::MAX_CONCURRENT_STREAMS, 0)]).await;
                connection.assert_no_call().await;
                connection.assert_no_call().await;
                let two = Frame::settings(&[(setting::MAX_CONCURRENT_STREAMS, 2)]);
                connection.send(&[two]).await;
                let one = connection.request().await.expect("a call").stream;
                let two = connection.request().await.expect("another").stream;
                connection.assert_no_call().await;
                connection.answer(one).await;
                let three = connection.request().await.expect("the last").stream;
                connection.answer(two).await;
                connection.answer(three).await;
                connection
            };
            let calls = join_all((0..3).map(|_| unary(&channel).send()));
            let (_, outcomes) = tokio::join!(serving, calls);
            outcomes.into_iter().for_each(assert_good);
        },
    )
    .await;
}

#[tokio::test]
async fn a_lower_limit_spares_the_calls_that_are_open() {
    case(
        "rule 58, section 5.1.2: MAX_CONCURRENT_STREAMS from 3 to 1",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[(setting::MAX_CONCURRENT_STREAMS, 3)]).await;
                let mut open = Vec::new();
                for _ in 0..3 {
                    open.push(connection.request().await.expect("a call").stream);
                }
                let one = Frame::settings(&[(setting::MAX_CONCURRENT_STREAMS, 1)]);
                connection.send(&[one]).await;
                for stream in open {
                    connection.assert_no_call().await;
                    connection.answer(stream).await;
                }
                let last = connection.request().await.expect("the fourth").stream;
                connection.answer(last).await;
                connection
            };
            let calls = join_all((0..4).map(|_| unary(&channel).send()));
            let (_, outcomes) = tokio::join!(serving, calls);
            outcomes.into_iter().for_each(assert_good);
        },
    )
    .await;
}

#[tokio::test]
async fn a_call_that_waits_in_vain_ends_at_its_deadline_and_is_never_sent() {
    case("rules 49 and 58: a deadline in the queue", async {
        let (server, channel) = Server::bind().await;
        let queued = Notify::new();
        let late = Notify::new();
        let serving = async {
            let mut connection = server.accept(&[(setting::MAX_CONCURRENT_STREAMS, 1)]).await;
            let first = connection.request().await.expect("a call").stream;
            queued.notify_one();
            late.notified().await;
            connection.assert_no_call().await;
            connection.answer(first).await;
            let next = connection.request().await.expect("the one after");
            assert_eq!(next.body, raw::message(0, b"next"));
            connection.answer(next.stream).await;
            connection
        };
        let queue = async {
            queued.notified().await;
            let call = unary(&channel).timeout(Duration::from_millis(50));
            let status = call.send().await.expect_err("there is no room for it");
            assert_eq!(status.code(), Code::DeadlineExceeded);
            late.notify_one();
            let next = channel.unary(UNARY, raw_message(b"next"));
            assert_good(next.send().await);
        };
        let (_, first, ()) = tokio::join!(serving, unary(&channel).send(), queue);
        assert_good(first);
    })
    .await;
}

/// What a server that goes says, which has taken the calls up to `last`.
fn goodbye(last: u32) -> [Frame; 2] {
    [i32::MAX as u32, last].map(|last| Frame::go_away(last, error::NO_ERROR, b""))
}

/// They were never sent, whatever their callers have said so far.
#[tokio::test]
async fn streamed_calls_that_wait_at_a_goaway_are_made_on_the_next_connection() {
    case(
        "rules 54, 57 and 58: GOAWAY to streamed calls in the queue",
        async {
            let (server, channel) = Server::bind().await;
            let queued = Notify::new();
            let serving = async {
                let mut old = server.accept(&[(setting::MAX_CONCURRENT_STREAMS, 1)]).await;
                let first = old.request().await.expect("a call").stream;
                queued.notify_one();
                old.assert_no_call().await;
                old.send(&goodbye(first)).await;
                let mut new = server.accept(&[]).await;
                let mut bodies = Vec::new();
                for _ in 0..2 {
                    let call = new.request().await.expect("one that waited");
                    bodies.push(call.body);
                    new.answer(call.stream).await;
                }
                bodies.sort();
                let long = [raw::message(0, &LONG), raw::message(0, &LONG)].concat();
                let whole = bodies == [raw::message(0, b"said"), long];
                assert!(whole, "what they said is not all of it");
                old.answer(first).await;
                old.ended().await;
                new
            };
            let waiting = async {
                queued.notified().await;
                let mut exchange = channel.bidi(EXCHANGE).start().await.expect("connected");
                exchange.send(&raw_message(b"said")).await.expect("open");
                let mut upload = channel
                    .client_streaming(UPLOAD)
                    .start()
                    .await
                    .expect("connected");
                // The second has to wait until the first leaves.
                for _ in 0..2 {
                    upload.send(&raw_message(&LONG)).await.expect("open");
                }
                assert_good(upload.finish().await);
                let mut responses = exchange.finish();
                assert_good(responses.only().await);
            };
            let (_, first, ()) = tokio::join!(serving, unary(&channel).send(), waiting);
            assert_good(first);
        },
    )
    .await;
}

/// More than the client gathers.
static LONG: [u8; 20_000] = [1; 20_000];

#[tokio::test]
async fn a_streamed_call_that_waits_at_two_goaways_is_unavailable() {
    case("rule 54: a streamed call is retried once", async {
        let (server, channel) = Server::bind().await;
        let queued = Notify::new();
        let serving = async {
            let one = [(setting::MAX_CONCURRENT_STREAMS, 1)];
            let mut first = server.accept(&one).await;
            let call = first.request().await.expect("a call").stream;
            queued.notify_one();
            first.assert_no_call().await;
            first.send(&goodbye(call)).await;
            first.answer(call).await;
            let none = [(setting::MAX_CONCURRENT_STREAMS, 0)];
            let mut second = server.accept(&none).await;
            second.assert_no_call().await;
            second.send(&goodbye(0)).await;
            second.ended().await;
        };
        let waiting = async {
            queued.notified().await;
            let call = channel.client_streaming::<_, streamway::codec::RawMessage>(UPLOAD);
            let mut upload = call.start().await.expect("connected");
            upload.send(&raw_message(b"said")).await.expect("open");
            upload.finish().await.expect_err("nobody took it")
        };
        let ((), first, status) = tokio::join!(serving, unary(&channel).send(), waiting);
        assert_good(first);
        assert_eq!(status.code(), Code::Unavailable);
    })
    .await;
}
