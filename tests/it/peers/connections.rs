//! Connections that go away, break, or never come to be.

use std::time::Duration;

use streamway::client::Config;
use streamway::codec::RawMessage;
use streamway::{Channel, Code};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{
    Connection, DOWNLOAD, MESSAGE, Server, UPLOAD, assert_good, case, good, head, message, ok,
    raw_message, unary,
};
use crate::raw;
use crate::raw::frame::{Frame, error};
use crate::raw::peer::Peer;

/// The last stream of a server that does not know yet (section 6.8).
const NOT_YET: u32 = i32::MAX as u32;

async fn call(channel: &Channel, text: &'static [u8]) -> Result<(), Code> {
    let call = channel.unary(super::UNARY, raw_message(text)).send().await;
    call.map(|answer| assert_good(Ok(answer)))
        .map_err(|status| status.code())
}

/// The request that carries `text`.
async fn expect(connection: &mut Connection, text: &[u8]) -> u32 {
    let request = connection.request().await.expect("a call");
    assert_eq!(request.body, raw::message(0, text));
    request.stream
}

#[tokio::test]
async fn after_a_goaway_the_next_call_gets_a_new_connection() {
    for error in [
        error::NO_ERROR,
        error::INTERNAL_ERROR,
        error::ENHANCE_YOUR_CALM,
    ] {
        case(
            format!("rule 57, section 6.8: GOAWAY({error}) between calls"),
            async {
                let (server, channel) = Server::bind().await;
                let gone = Notify::new();
                let serving = async {
                    let mut connection = server.accept(&[]).await;
                    let stream = expect(&mut connection, b"one").await;
                    connection.answer(stream).await;
                    connection
                        .send(&[Frame::go_away(stream, error, b"bye")])
                        .await;
                    // Idle, it is of no use to the client any more.
                    connection.ended().await;
                    gone.notify_one();
                    let mut connection = server.accept(&[]).await;
                    let stream = expect(&mut connection, b"two").await;
                    connection.answer(stream).await;
                    connection
                };
                let calling = async {
                    assert_eq!(call(&channel, b"one").await, Ok(()));
                    gone.notified().await;
                    assert_eq!(call(&channel, b"two").await, Ok(()));
                };
                let _ = tokio::join!(serving, calling);
            },
        )
        .await;
    }
}

/// The client may have sent the next call when the GOAWAY comes: then it is above the last stream.
#[tokio::test]
async fn a_goaway_that_crosses_a_call_loses_none() {
    case(
        "rules 54 and 57, section 6.8: 50 connections of one call each",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut old = Vec::new();
                for _ in 0..50 {
                    let mut connection = server.accept(&[]).await;
                    let stream = expect(&mut connection, b"again").await;
                    let goodbye = vec![Frame::go_away(stream, error::NO_ERROR, b"")];
                    connection.send(&[good(stream), goodbye].concat()).await;
                    old.push(connection);
                }
                old
            };
            let calling = async {
                for _ in 0..50 {
                    assert_eq!(call(&channel, b"again").await, Ok(()));
                }
            };
            let _ = tokio::join!(serving, calling);
        },
    )
    .await;
}

#[tokio::test]
async fn calls_up_to_the_last_of_a_goaway_finish_and_those_above_are_made_again() {
    case("rules 54 and 57, section 6.8: GOAWAY during calls", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut old = server.accept(&[]).await;
            let mut calls = Vec::new();
            for _ in 0..3 {
                calls.push(old.request().await.expect("a call"));
            }
            calls.sort_by_key(|call| call.stream);
            let (one, two, three) = (calls[0].stream, calls[1].stream, &calls[2]);
            // Gracefully: first that there will be an end, then where it is.
            let soon = Frame::go_away(NOT_YET, error::NO_ERROR, b"");
            old.send(&[head(one), soon]).await;
            old.send(&[Frame::go_away(two, error::NO_ERROR, b"")]).await;
            let mut new = server.accept(&[]).await;
            let again = new.request().await.expect("the one above");
            assert_eq!(again.body, three.body);
            new.answer(again.stream).await;
            old.answer(two).await;
            old.send(&[message(one), ok(one)]).await;
            old.ended().await;
            new
        };
        let calling = async {
            tokio::join!(
                call(&channel, b"one"),
                call(&channel, b"two"),
                call(&channel, b"three")
            )
        };
        let (_, outcomes) = tokio::join!(serving, calling);
        assert_eq!(outcomes, (Ok(()), Ok(()), Ok(())));
    })
    .await;
}

/// The server may have begun with it, so that making it again could do it twice.
#[tokio::test]
async fn a_call_that_a_goaway_covers_is_unavailable_when_the_connection_ends() {
    for error in [
        error::NO_ERROR,
        error::INTERNAL_ERROR,
        error::ENHANCE_YOUR_CALM,
    ] {
        case(
            format!("rules 54 and 55: GOAWAY({error}), then the end"),
            async {
                let (server, channel) = Server::bind().await;
                let serving = async {
                    let mut connection = server.accept(&[]).await;
                    let stream = expect(&mut connection, b"one").await;
                    connection
                        .send(&[Frame::go_away(stream, error, b"bye")])
                        .await;
                    connection.peer.output.shutdown().await.expect("open");
                    connection.ended().await;
                    let mut connection = server.accept(&[]).await;
                    let stream = expect(&mut connection, b"two").await;
                    connection.answer(stream).await;
                    connection
                };
                let calling = async {
                    assert_eq!(call(&channel, b"one").await, Err(Code::Unavailable));
                    assert_eq!(call(&channel, b"two").await, Ok(()));
                };
                let _ = tokio::join!(serving, calling);
            },
        )
        .await;
    }
}

#[tokio::test]
async fn what_two_connections_did_not_take_is_unavailable() {
    case("rule 54: transparently retried once", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            for _ in 0..2 {
                let mut connection = server.accept(&[]).await;
                expect(&mut connection, b"one").await;
                connection
                    .send(&[Frame::go_away(0, error::NO_ERROR, b"bye")])
                    .await;
                connection.ended().await;
            }
        };
        let call = channel.unary::<_, RawMessage>(super::UNARY, raw_message(b"one"));
        let call = call.send();
        let (outcome, ()) = tokio::join!(call, serving);
        let status = outcome.expect_err("nobody took it");
        assert_eq!(status.code(), Code::Unavailable);
        let text =
            "the call was not taken: the server closed the connection with NO_ERROR (b\"bye\")";
        assert_eq!(status.message(), text);
    })
    .await;
}

/// Its messages are gone from the client's memory.
#[tokio::test]
async fn an_upload_above_the_last_of_a_goaway_is_unavailable() {
    case("rules 54 and 57: a streamed request", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let call = connection.request().await.expect("a call");
            assert_eq!(call.stream, 1);
            connection
                .send(&[Frame::go_away(0, error::NO_ERROR, b"")])
                .await;
            connection.ended().await;
        };
        let calling = async {
            let call = channel.client_streaming::<_, RawMessage>(UPLOAD);
            let mut upload = call.start().await.expect("connected");
            upload.send(&raw_message(b"a part")).await.expect("open");
            upload.finish().await.expect_err("it was not taken").code()
        };
        let ((), code) = tokio::join!(serving, calling);
        assert_eq!(code, Code::Unavailable);
    })
    .await;
}

#[tokio::test]
async fn a_response_that_is_cut_anywhere_is_unavailable_and_the_next_call_connects_anew() {
    case("rule 55: cut after each byte of a response", async {
        let mut wire = Vec::new();
        good(1).iter().for_each(|frame| frame.encode(&mut wire));
        for cut in 0..=wire.len() {
            let expected = match cut == wire.len() {
                true => Ok(()),
                false => Err(Code::Unavailable),
            };
            let outcome = cut_short(&wire[..cut]).await;
            assert_eq!(outcome, expected, "cut after {cut} bytes");
        }
    })
    .await;
}

/// What comes of a call whose response is all that comes on the connection; checks that the next one is answered.
async fn cut_short(response: &[u8]) -> Result<(), Code> {
    let (server, channel) = Server::bind().await;
    let serving = async {
        let mut connection = server.accept(&[]).await;
        assert_eq!(expect(&mut connection, b"one").await, 1);
        let sent = connection.peer.send_raw(response).await;
        sent.expect("open");
        connection.peer.output.shutdown().await.expect("open");
        connection.ended().await;
        let mut connection = server.accept(&[]).await;
        let stream = expect(&mut connection, b"two").await;
        connection.answer(stream).await;
        connection
    };
    let calling = async {
        let outcome = call(&channel, b"one").await;
        assert_eq!(call(&channel, b"two").await, Ok(()));
        outcome
    };
    let (_, outcome) = tokio::join!(serving, calling);
    outcome
}

#[tokio::test]
async fn a_stream_that_is_cut_gives_its_messages_and_then_unavailable() {
    case("rule 55: cut between two messages", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.request().await.expect("a call").stream;
            connection
                .send(&[head(stream), message(stream), message(stream)])
                .await;
            connection.peer.output.shutdown().await.expect("open");
            connection.ended().await;
        };
        let calling = async {
            let call = channel.server_streaming(DOWNLOAD, raw_message(b""));
            let mut responses = call.start().await.expect("connected");
            for _ in 0..2 {
                let message = responses.message().await.expect("it came before the cut");
                assert_eq!(message, Some(raw_message(MESSAGE)));
            }
            responses.message().await.expect_err("cut").code()
        };
        let ((), code) = tokio::join!(serving, calling);
        assert_eq!(code, Code::Unavailable);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_speak_http2_is_unavailable() {
    let mut half = Vec::new();
    Frame::settings(&[(1, 1)]).encode(&mut half);
    half.pop();
    for (what, bytes) in [
        ("nothing", &b""[..]),
        (
            "HTTP/1.1",
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
        ),
        ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x46"),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("half of SETTINGS", &half),
    ] {
        case(
            format!("rule 65, section 3.4: a server that says {what}"),
            async {
                let (server, channel) = Server::bind().await;
                let serving = async {
                    let mut socket = server.socket().await;
                    socket.write_all(bytes).await.expect("open");
                    socket.shutdown().await.expect("open");
                    socket
                };
                let (_, outcome) = tokio::join!(serving, unary(&channel).send());
                let status = outcome.expect_err("nobody there");
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                assert!(status.message().contains("cannot connect"), "{status}");
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_preface_is_unavailable_after_the_connect_timeout() {
    case("rule 65, section 3.4: no SETTINGS", async {
        // The system takes the connection, and nobody ever reads it.
        let (_server, channel) = Server::bind().await;
        let began = Instant::now();
        let hurried = unary(&channel).timeout(Duration::from_secs(5)).send();
        let (hurried, patient) = tokio::join!(hurried, unary(&channel).send());
        let status = hurried.expect_err("it waits for the server");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        let status = patient.expect_err("it gives up");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let limit = Config::default().connect_timeout;
        assert!((limit..limit * 2).contains(&began.elapsed()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drops_every_connection_is_not_asked_more_often_than_the_backoff_says() {
    case("connection-backoff.md: 100 calls are one attempt", async {
        let (server, channel) = Server::bind().await;
        let began = Instant::now();
        let dropping = async {
            for attempt in 1.. {
                drop(server.socket().await);
                assert!(attempt == 1 || began.elapsed() >= Duration::from_millis(800));
            }
        };
        let calling = async {
            for _ in 0..100 {
                assert_eq!(call(&channel, b"one").await, Err(Code::Unavailable));
            }
        };
        tokio::select! {
            () = dropping => {}
            () = calling => {}
        }
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.request().await.expect("a call").stream;
            connection.answer(stream).await;
            connection
        };
        let (outcome, _) = tokio::join!(unary(&channel).wait_for_ready().send(), serving);
        assert_good(outcome);
    })
    .await;
}

/// Section 3.4: the client speaks first, and the server may wait for it.
#[tokio::test]
async fn a_server_that_waits_for_the_preface_gets_it() {
    case("section 3.4", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut peer = Peer::new(server.socket().await);
            peer.input.preface().await.expect("the client speaks first");
            peer.next().await.expect("its SETTINGS");
            peer.send(&Frame::settings(&[])).await.expect("open");
            let mut connection = Connection::new(peer);
            let stream = connection.request().await.expect("a call").stream;
            connection.answer(stream).await;
            connection
        };
        let (outcome, _) = tokio::join!(unary(&channel).send(), serving);
        assert_good(outcome);
    })
    .await;
}
