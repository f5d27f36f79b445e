//! Calls that a server refuses, cuts or ends before the client has finished.

use std::time::Duration;

use streamway::client::{Config, Exchange, Upload};
use streamway::codec::RawMessage;
use streamway::{Code, Status};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{
    DOWNLOAD, EXCHANGE, MESSAGE, Server, UPLOAD, assert_good, case, good, head, message,
    raw_message, trailers, unary,
};
use crate::raw;
use crate::raw::frame::{Frame, error, setting};

async fn upload(channel: &streamway::Channel) -> Upload<RawMessage, RawMessage> {
    let call = channel.client_streaming(UPLOAD).start().await;
    call.expect("connected")
}

async fn exchange(channel: &streamway::Channel) -> Exchange<RawMessage, RawMessage> {
    let call = channel.bidi(EXCHANGE).start().await;
    call.expect("connected")
}

#[tokio::test]
async fn a_refused_call_is_made_once_more_and_no_oftener() {
    case("rules 52 and 54: RST_STREAM(REFUSED_STREAM)", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let mut requests = Vec::new();
            for refused in [true, false, true, true] {
                let call = connection.request().await.expect("a call");
                match refused {
                    true => {
                        let refusal = Frame::reset(call.stream, error::REFUSED_STREAM);
                        connection.send(&[refusal]).await;
                    }
                    false => connection.answer(call.stream).await,
                }
                requests.push(call);
            }
            for again in &requests[1..] {
                assert_eq!(again.headers, requests[0].headers);
                assert_eq!(again.body, requests[0].body);
            }
            connection
        };
        let calling = async {
            assert_good(unary(&channel).send().await);
            let status = unary(&channel).send().await.expect_err("refused twice");
            assert_eq!(status.code(), Code::Unavailable);
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_refused_is_unavailable() {
    case(
        "rule 52: RST_STREAM(REFUSED_STREAM) of a streamed request",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[]).await;
                let stream = connection.begun().await;
                connection
                    .send(&[Frame::reset(stream, error::REFUSED_STREAM)])
                    .await;
                connection
            };
            let calling = async {
                let upload = upload(&channel).await;
                let (_requests, mut responses) = upload.split();
                responses.only().await.expect_err("refused").code()
            };
            let (_, code) = tokio::join!(serving, calling);
            assert_eq!(code, Code::Unavailable);
        },
    )
    .await;
}

#[tokio::test]
async fn a_download_that_is_reset_gives_its_messages_and_then_the_code() {
    case("rule 53: RST_STREAM(NO_ERROR) during data", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.request().await.expect("a call").stream;
            let half = Frame::data(stream, raw::prefixed(0, 10, b"half"));
            let frames = [
                head(stream),
                message(stream),
                message(stream),
                half,
                Frame::reset(stream, error::NO_ERROR),
            ];
            connection.send(&frames).await;
            connection
        };
        let calling = async {
            let call = channel.server_streaming(DOWNLOAD, raw_message(b""));
            let mut responses = call.start().await.expect("connected");
            for _ in 0..2 {
                let message = responses.message().await.expect("it came whole");
                assert_eq!(message, Some(raw_message(MESSAGE)));
            }
            for _ in 0..2 {
                let status = responses.message().await.expect_err("reset");
                assert_eq!(status.code(), Code::Internal);
            }
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

/// The call looks at its stream before it looks at the clock: a proxy that keeps the same deadline is a hair faster.
#[tokio::test]
async fn a_call_that_is_broken_off_after_its_deadline_is_late_whatever_broke_it() {
    for error in [error::NO_ERROR, error::INTERNAL_ERROR, error::CANCEL] {
        case(
            format!("rule 51: error {error} after the deadline"),
            async {
                let (server, channel) = Server::bind().await;
                let (seen, headers) = oneshot::channel();
                let serving = async {
                    let mut connection = server.accept(&[]).await;
                    let stream = connection.request().await.expect("a call").stream;
                    connection.send(&[head(stream)]).await;
                    headers.await.expect("the call goes on");
                    connection.send(&[Frame::reset(stream, error)]).await;
                    connection.settle().await;
                };
                let calling = async {
                    const DEADLINE: Duration = Duration::from_millis(500);
                    let call = channel.server_streaming(DOWNLOAD, raw_message(b""));
                    let started = Instant::now();
                    let mut responses = call.timeout(DEADLINE).start().await.expect("connected");
                    responses.headers().await.expect("in time");
                    seen.send(()).expect("the server waits");
                    sleep_until(started + 2 * DEADLINE).await;
                    let end: Result<Option<RawMessage>, Status> = responses.message().await;
                    end.expect_err("reset").code()
                };
                let ((), code) = tokio::join!(serving, calling);
                assert_eq!(code, Code::DeadlineExceeded);
            },
        )
        .await;
    }
}

/// Of what a server says wrong, a client that reads it late is told what is wrong.
#[tokio::test]
async fn a_call_that_fails_by_what_came_before_its_deadline_fails_by_that_however_late_it_is_read()
{
    let wrongs = [
        (
            "a message over the limit",
            b"\0\0\xFF\xFF\xFF",
            Code::ResourceExhausted,
        ),
        ("a message in no encoding", b"\x01\0\0\0\0", Code::Internal),
    ];
    for (name, wrong, expected) in wrongs {
        case(format!("rule 51: {name}, read after the deadline"), async {
            const DEADLINE: Duration = Duration::from_millis(500);
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[]).await;
                let stream = connection.request().await.expect("a call").stream;
                let wrong = Frame::data(stream, wrong.to_vec());
                connection.send(&[head(stream), wrong]).await;
                connection.settle().await;
            };
            let calling = async {
                let call = channel.server_streaming(DOWNLOAD, raw_message(b""));
                let started = Instant::now();
                let mut responses = call.timeout(DEADLINE).start().await.expect("connected");
                responses.headers().await.expect("in time");
                sleep_until(started + 2 * DEADLINE).await;
                let end: Result<Option<RawMessage>, Status> = responses.message().await;
                end.expect_err("wrong").code()
            };
            let ((), code) = tokio::join!(serving, calling);
            assert_eq!(code, expected);
        })
        .await;
    }
}

/// As above: the task that sends sees the reset and its deadline at once.
#[tokio::test]
async fn whoever_sends_is_told_the_same_when_its_call_is_broken_off_after_its_deadline() {
    case("rule 51: error 2 beside the deadline", async {
        const DEADLINE: Duration = Duration::from_millis(300);
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.begun().await;
            let reset = Frame::reset(stream, error::INTERNAL_ERROR);
            connection.send(&[reset]).await;
            // Nobody runs meanwhile.
            std::thread::sleep(DEADLINE);
            connection
        };
        let calling = async {
            let call = channel.bidi::<RawMessage, RawMessage>(EXCHANGE);
            let mut exchange = call.timeout(DEADLINE).start().await.expect("connected");
            loop {
                if let Err(status) = exchange.send(&raw_message(MESSAGE)).await {
                    break status.code();
                }
                tokio::task::yield_now().await;
            }
        };
        let (_connection, code) = tokio::join!(serving, calling);
        assert_eq!(code, Code::DeadlineExceeded);
    })
    .await;
}

/// With and without the RST_STREAM that the server should send.
#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_keeps_its_status_and_the_client_ends_with_no_error()
{
    for (what, reset_too) in [("and RST_STREAM(NO_ERROR)", true), ("alone", false)] {
        case(
            format!("rule 48: trailers in the midst of an upload {what}"),
            async {
                let (server, channel) = Server::bind().await;
                let serving = async {
                    let mut connection = server.accept(&[]).await;
                    let refused = connection.begun().await;
                    let end = [("grpc-status", "9"), ("grpc-message", "enough")];
                    let mut frames = vec![head(refused), trailers(refused, &end)];
                    if reset_too {
                        frames.push(Frame::reset(refused, error::NO_ERROR));
                    }
                    connection.send(&frames).await;
                    if !reset_too {
                        assert_eq!(connection.reset(refused).await, error::NO_ERROR);
                    }
                    let answered = connection.begun().await;
                    let mut frames = good(answered);
                    if reset_too {
                        frames.push(Frame::reset(answered, error::NO_ERROR));
                    }
                    connection.send(&frames).await;
                    if !reset_too {
                        assert_eq!(connection.reset(answered).await, error::NO_ERROR);
                    }
                    connection
                };
                let calling = async {
                    let mut refused = upload(&channel).await;
                    let status = loop {
                        if let Err(status) = refused.send(&raw_message(b"a part")).await {
                            break status;
                        }
                        tokio::task::yield_now().await;
                    };
                    assert_eq!(
                        (status.code(), status.message()),
                        (Code::FailedPrecondition, "enough")
                    );
                    let (_requests, mut responses) = upload(&channel).await.split();
                    assert_good(responses.only().await);
                };
                let _ = tokio::join!(serving, calling);
            },
        )
        .await;
    }
}

#[tokio::test]
async fn an_answer_to_a_call_that_could_not_be_sent_yet_is_taken() {
    case(
        "rule 48: trailers before the message of a unary call",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let shut = [(setting::INITIAL_WINDOW_SIZE, 0)];
                let mut connection = server.accept(&shut).await;
                let stream = connection.begun().await;
                connection.answer(stream).await;
                assert_eq!(connection.reset(stream).await, error::NO_ERROR);
                connection
            };
            let (_, outcome) = tokio::join!(serving, unary(&channel).send());
            assert_good(outcome);
        },
    )
    .await;
}

#[tokio::test]
async fn a_client_that_gives_up_says_cancel() {
    case("rule 49: RST_STREAM(CANCEL)", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            for _ in ["dropped", "late", "broken"] {
                let stream = connection.begun().await;
                let wrong = Frame::data(stream, raw::message(2, b""));
                connection
                    .send(&[head(stream), message(stream), wrong])
                    .await;
                assert_eq!(connection.reset(stream).await, error::CANCEL);
            }
            connection
        };
        let calling = async {
            let mut dropped = exchange(&channel).await;
            dropped.message().await.expect("OK");
            drop(dropped);
            let late = channel.bidi::<RawMessage, RawMessage>(EXCHANGE);
            let late = late.timeout(Duration::from_millis(50)).start().await;
            let (requests, responses) = late.expect("connected").split();
            let late = async {
                // Nobody reads the answer.
                let mut requests = requests;
                loop {
                    if let Err(status) = requests.send(&raw_message(b"")).await {
                        return status.code();
                    }
                    tokio::task::yield_now().await;
                }
            };
            assert_eq!(late.await, Code::DeadlineExceeded);
            drop(responses);
            let mut broken = exchange(&channel).await;
            broken.message().await.expect("OK");
            let status = broken.message().await.expect_err("a flag of 2");
            assert_eq!(status.code(), Code::Internal);
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

#[tokio::test]
async fn a_reset_ends_both_halves_of_an_exchange() {
    case("rules 52 and 53: an exchange", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.begun().await;
            let reset = Frame::reset(stream, error::ENHANCE_YOUR_CALM);
            connection
                .send(&[head(stream), message(stream), reset])
                .await;
            connection
        };
        let calling = async {
            let (mut requests, mut responses) = exchange(&channel).await.split();
            responses.message().await.expect("it came before");
            let status = responses.message().await.expect_err("reset");
            assert_eq!(status.code(), Code::ResourceExhausted);
            let status = requests.send(&raw_message(b"")).await;
            let status = status.expect_err("the call is over");
            assert!(
                matches!(status.code(), Code::ResourceExhausted | Code::Cancelled),
                "{status}"
            );
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

#[tokio::test]
async fn an_upload_with_no_or_two_answers_is_unimplemented() {
    for count in [0, 2] {
        case(format!("rule 43: {count} answers to an upload"), async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[]).await;
                let stream = connection.request().await.expect("a call").stream;
                let answers = vec![message(stream); count];
                let frames = [vec![head(stream)], answers, vec![super::ok(stream)]].concat();
                connection.send(&frames).await;
                connection
            };
            let calling = async {
                let outcome = upload(&channel).await.finish().await;
                outcome.expect_err("cardinality").code()
            };
            let (_, code) = tokio::join!(serving, calling);
            assert_eq!(code, Code::Unimplemented);
        })
        .await;
    }
}

/// h2 leaves out what goes beyond the limit, and does not say so.
#[tokio::test]
async fn a_status_beyond_the_limit_of_a_header_block_is_missed_with_the_limit() {
    case("rules 15 and 41: trailers over the limit", async {
        let mut config = Config::default();
        config.max_header_list_bytes = 1000;
        let (server, channel) = Server::bind_with(config).await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.request().await.expect("a call").stream;
            let long = "v".repeat(1500);
            let end = trailers(stream, &[("x-long", &long), ("grpc-status", "0")]);
            connection.send(&[head(stream), message(stream), end]).await;
            connection
        };
        let (_, outcome) = tokio::join!(serving, unary(&channel).send());
        let status = outcome.expect_err("no status");
        assert_eq!(status.code(), Code::Unknown);
        let text = "the trailers have no grpc-status within 1000 bytes";
        assert_eq!(status.message(), text);
    })
    .await;
}
