//! Calls that wait until the server takes more of them (MAX_CONCURRENT_STREAMS).

use std::time::Duration;

use futures_util::future::join_all;
use streamway::Code;
use tokio::sync::Notify;

use super::{Server, UNARY, assert_good, case, raw_message, unary};
use crate::raw;
use crate::raw::frame::{Frame, setting};

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
