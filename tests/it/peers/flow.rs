//! Windows, padding, frames of one byte, and what comes between them.

use std::time::Duration;

use bytes::Bytes;
use streamway::client::{Config, Responses};
use streamway::codec::RawMessage;
use streamway::{Channel, Code};

use super::{
    Connection, DOWNLOAD, MESSAGE, Server, UPLOAD, assert_good, case, good, head, message, ok,
    raw_message, unary,
};
use crate::raw;
use crate::raw::frame::{Frame, error, kind, setting};

/// What the client allows on the connection before it says otherwise (section 6.9.2).
const CONNECTION_WINDOW: usize = 65_535;

impl Connection {
    /// Waits for exactly this much of a request's body.
    async fn body(&mut self, stream: u32, length: usize) -> &[u8] {
        while self.open[&stream].body.len() < length {
            self.next().await.expect("open");
        }
        self.settle().await;
        let body = &self.open[&stream].body;
        assert_eq!(body.len(), length, "more than the window");
        body
    }
}

/// Sends DATA as far as the client's windows allow.
struct Paced {
    connection: Connection,
    stream: u32,
    room: usize,
    /// Of the stream alone.
    stream_room: usize,
    waiting: Vec<Frame>,
}

impl Paced {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            stream: 0,
            room: CONNECTION_WINDOW,
            stream_room: 0,
            waiting: Vec::new(),
        }
    }

    /// Waits for the next call.
    async fn call(&mut self) -> u32 {
        loop {
            let frame = self.connection.next().await.expect("open");
            self.credit(&frame);
            if frame.kind == kind::HEADERS {
                self.stream = frame.stream;
                self.stream_room = Config::default().stream_window_bytes as usize;
            }
            if frame.is_end_stream() {
                return self.stream;
            }
        }
    }

    /// Why the client resets a stream.
    async fn reset(&mut self, stream: u32) -> u32 {
        loop {
            if let Some(reason) = self.connection.resets.remove(&stream) {
                return reason;
            }
            let frame = self.connection.next().await.expect("open");
            self.credit(&frame);
        }
    }

    async fn send(&mut self, frame: Frame) {
        let length = match frame.kind {
            kind::DATA => frame.payload.len(),
            _ => 0,
        };
        while length > self.room.min(self.stream_room) {
            self.flush().await;
            let frame = self.connection.next().await.expect("open");
            self.credit(&frame);
        }
        self.room -= length;
        self.stream_room -= length;
        self.waiting.push(frame);
        if self.waiting.len() >= 500 {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.connection.send(&waiting).await;
    }

    fn credit(&mut self, frame: &Frame) {
        if frame.kind == kind::WINDOW_UPDATE {
            let more = frame.number(0).expect("four bytes") as usize;
            match frame.stream {
                0 => self.room += more,
                stream if stream == self.stream => self.stream_room += more,
                _ => {}
            }
        }
    }
}

async fn download(channel: &Channel) -> Responses<RawMessage> {
    let call = channel.server_streaming(DOWNLOAD, raw_message(b"")).start();
    call.await.expect("connected")
}

/// How many messages a download has.
async fn count(mut responses: Responses<RawMessage>) -> usize {
    let mut count = 0;
    while let Some(message) = responses.message().await.expect("OK") {
        assert_eq!(message, raw_message(MESSAGE));
        count += 1;
    }
    count
}

#[tokio::test]
async fn padding_costs_window_and_gives_it_back() {
    case(
        "rule 63, sections 6.1 and 6.9.1: three times 10,000 padded frames",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut paced = Paced::new(server.accept(&[]).await);
                for _ in 0..3 {
                    let stream = paced.call().await;
                    paced.send(head(stream)).await;
                    for n in 0..10_000 {
                        let padding = [0, 1, 255][n % 3];
                        paced.send(message(stream).padded(padding)).await;
                    }
                    paced.send(ok(stream)).await;
                    paced.flush().await;
                }
                paced
            };
            let calling = async {
                for _ in 0..3 {
                    assert_eq!(count(download(&channel).await).await, 10_000);
                }
            };
            let _ = tokio::join!(serving, calling);
        },
    )
    .await;
}

#[tokio::test]
async fn calls_that_are_given_up_give_back_the_window_of_the_connection() {
    case(
        "rule 63, section 6.9.1: 40 downloads of 100 KB, unread",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut paced = Paced::new(server.accept(&[]).await);
                for _ in 0..40 {
                    let stream = paced.call().await;
                    paced.send(head(stream)).await;
                    paced.send(message(stream)).await;
                    for _ in 0..20 {
                        let part = raw::message(0, &[0; 5_000]);
                        paced.send(Frame::data(stream, part).padded(100)).await;
                    }
                    paced.flush().await;
                }
                paced
            };
            let calling = async {
                for _ in 0..40 {
                    let mut responses = download(&channel).await;
                    let first = responses.message().await.expect("OK");
                    assert_eq!(first, Some(raw_message(MESSAGE)));
                }
            };
            let _ = tokio::join!(serving, calling);
        },
    )
    .await;
}

/// More calls than h2 lets a connection make breaches: what comes for a stream that it has forgotten, a second after the reset unless
/// told otherwise, is one, and has it remember the stream again.
#[tokio::test]
async fn what_still_comes_for_calls_that_were_given_up_costs_no_other_call() {
    case(
        "section 5.1: 1,100 downloads given up two seconds before their messages come",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[]).await;
                let mut streams = Vec::new();
                for _ in 0..1_100 {
                    let stream = connection.request().await.expect("a call").stream;
                    connection.send(&[head(stream)]).await;
                    streams.push(stream);
                }
                for stream in &streams {
                    assert_eq!(connection.reset(*stream).await, error::CANCEL);
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
                let late: Vec<_> = streams.iter().copied().map(message).collect();
                connection.send(&late).await;
                connection.settle().await;
                let stream = connection.request().await.expect("a call").stream;
                connection.answer(stream).await;
                connection
            };
            let calling = async {
                let mut given_up = Vec::new();
                for _ in 0..1_100 {
                    let mut responses = download(&channel).await;
                    responses.headers().await.expect("they came");
                    given_up.push(responses);
                }
                drop(given_up);
                tokio::time::sleep(Duration::from_secs(3)).await;
                assert_good(unary(&channel).send().await);
            };
            let _ = tokio::join!(serving, calling);
        },
    )
    .await;
}

/// As from a server that is far and writes a frame for each message, which fills the window of each call that is given up.
#[tokio::test]
async fn small_frames_for_calls_that_were_given_up_cost_no_other_call_however_many_come() {
    case(
        "section 5.1: 100 downloads given up, whose windows are full",
        async {
            let (server, channel) = Server::bind().await;
            let accepting = async {
                let mut paced = Paced::new(server.accept(&[]).await);
                let stream = paced.call().await;
                paced.connection.answer(stream).await;
                paced
            };
            let (mut paced, answer) = tokio::join!(accepting, unary(&channel).send());
            assert_good(answer);
            for _ in 0..100 {
                let begun = async {
                    let stream = paced.call().await;
                    paced.send(head(stream)).await;
                    paced.flush().await;
                    stream
                };
                let given_up = async {
                    let mut responses = download(&channel).await;
                    responses.headers().await.expect("they came");
                };
                let (stream, ()) = tokio::join!(begun, given_up);
                assert_eq!(paced.reset(stream).await, error::CANCEL);
                while paced.stream_room > 100 {
                    paced.send(Frame::data(stream, vec![7; 64])).await;
                }
                paced.flush().await;
            }
            let answering = async {
                let stream = paced.call().await;
                paced.connection.answer(stream).await;
            };
            let ((), answer) = tokio::join!(answering, unary(&channel).send());
            assert_good(answer);
        },
    )
    .await;
}

#[tokio::test]
async fn messages_arrive_in_frames_of_one_byte() {
    case("rule 18: 20,000 bytes, then 5,000 messages", async {
        let (server, channel) = Server::bind().await;
        let long: Bytes = (0..20_000u32).map(|n| n as u8).collect();
        let serving = async {
            let mut paced = Paced::new(server.accept(&[]).await);
            for message in [
                raw::message(0, &long),
                raw::message(0, MESSAGE).repeat(5_000),
            ] {
                let stream = paced.call().await;
                paced.send(head(stream)).await;
                for byte in message {
                    paced.send(Frame::data(stream, vec![byte])).await;
                }
                paced.send(ok(stream)).await;
                paced.flush().await;
            }
            paced
        };
        let calling = async {
            assert_eq!(unary(&channel).send().await.expect("OK").0, long);
            assert_eq!(count(download(&channel).await).await, 5_000);
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

#[tokio::test]
async fn a_window_of_0_holds_a_call_until_it_opens() {
    case("rule 63, section 6.9.2: INITIAL_WINDOW_SIZE 0", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
            let stream = connection.begun().await;
            connection.body(stream, 0).await;
            for length in 1..=3 {
                connection.send(&[Frame::window_update(stream, 1)]).await;
                connection.body(stream, length).await;
            }
            // Opens the streams that are there, too.
            let open = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1_000)]);
            connection.send(&[open]).await;
            let whole = raw::message(0, b"a question");
            assert_eq!(connection.body(stream, whole.len()).await, whole);
            connection.answer(stream).await;
            connection
        };
        let (_, outcome) = tokio::join!(serving, unary(&channel).send());
        assert_good(outcome);
    })
    .await;
}

#[tokio::test]
async fn an_upload_follows_a_window_that_opens_by_and_by_and_below_0() {
    case("rule 63, section 6.9.2: an upload of 20,000 bytes", async {
        let (server, channel) = Server::bind().await;
        let (part, parts) = ([7; 995], 20);
        let serving = async {
            let mut connection = server
                .accept(&[(setting::INITIAL_WINDOW_SIZE, 1_500)])
                .await;
            let stream = connection.begun().await;
            connection.body(stream, 1_500).await;
            // 500 less than nothing.
            let less = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1_000)]);
            let nothing = Frame::window_update(stream, 500);
            connection.send(&[less, nothing]).await;
            connection.body(stream, 1_500).await;
            let whole = raw::message(0, &part).repeat(parts);
            for length in (1_500..whole.len()).step_by(770).skip(1) {
                connection.send(&[Frame::window_update(stream, 770)]).await;
                connection.body(stream, length).await;
            }
            connection.send(&[Frame::window_update(stream, 770)]).await;
            assert_eq!(connection.body(stream, whole.len()).await, whole);
            connection.answer(stream).await;
            connection
        };
        let calling = async {
            let call = channel.client_streaming::<RawMessage, RawMessage>(UPLOAD);
            let mut upload = call.start().await.expect("connected");
            for _ in 0..parts {
                let part = RawMessage(Bytes::copy_from_slice(&part));
                upload.send(&part).await.expect("open");
            }
            assert_good(upload.finish().await);
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

#[tokio::test]
async fn a_window_that_never_opens_ends_at_the_deadline_and_costs_no_other_call() {
    case("rules 49 and 63: INITIAL_WINDOW_SIZE 0 for ever", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
            let shut = connection.begun().await;
            assert_eq!(connection.reset(shut).await, error::CANCEL);
            let stream = connection.begun().await;
            connection
                .send(&[Frame::window_update(stream, 1_000)])
                .await;
            let whole = raw::message(0, b"a question");
            assert_eq!(connection.body(stream, whole.len()).await, whole);
            connection.answer(stream).await;
            connection
        };
        let calling = async {
            let call = unary(&channel).timeout(Duration::from_millis(50));
            let status = call.send().await.expect_err("it cannot be sent");
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert_good(unary(&channel).send().await);
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}

#[tokio::test]
async fn a_window_that_overflows_costs_its_upload_alone() {
    case(
        "rule 52, section 6.9.1: a window of more than 2^31-1",
        async {
            let (server, channel) = Server::bind().await;
            let serving = async {
                let mut connection = server.accept(&[]).await;
                let stream = connection.begun().await;
                let more = Frame::window_update(stream, i32::MAX as u32);
                connection.send(&[more]).await;
                assert_eq!(connection.reset(stream).await, error::FLOW_CONTROL_ERROR);
                let stream = connection.request().await.expect("a call").stream;
                connection.answer(stream).await;
                connection
            };
            let calling = async {
                let call = channel.client_streaming::<RawMessage, RawMessage>(UPLOAD);
                let (_requests, mut responses) = call.start().await.expect("connected").split();
                let status = responses.only().await.expect_err("reset");
                assert_eq!(status.code(), Code::Internal, "{status}");
                assert_good(unary(&channel).send().await);
            };
            let _ = tokio::join!(serving, calling);
        },
    )
    .await;
}

#[tokio::test]
async fn data_beyond_the_window_of_a_stream_costs_the_stream() {
    case(
        "rule 52, section 6.9.1: 300 KB into 256 KiB that nobody reads",
        async {
            let (server, channel) = Server::bind().await;
            let sent = tokio::sync::Notify::new();
            let serving = async {
                let mut connection = server.accept(&[]).await;
                let stream = connection.request().await.expect("a call").stream;
                let part = Frame::data(stream, raw::message(0, &[0; 9_995]));
                connection
                    .send(&[vec![head(stream)], vec![part; 30]].concat())
                    .await;
                assert_eq!(connection.reset(stream).await, error::FLOW_CONTROL_ERROR);
                sent.notify_one();
                let stream = connection.request().await.expect("a call").stream;
                connection.answer(stream).await;
                connection
            };
            let calling = async {
                let mut responses = download(&channel).await;
                // Sends the request, and reads no message.
                responses.headers().await.expect("they came");
                sent.notified().await;
                let status = loop {
                    match responses.message().await {
                        Ok(message) => assert!(message.is_some(), "it never ends well"),
                        Err(status) => break status,
                    }
                };
                assert_eq!(status.code(), Code::Internal, "{status}");
                assert_good(unary(&channel).send().await);
            };
            let _ = tokio::join!(serving, calling);
        },
    )
    .await;
}

#[tokio::test]
async fn every_ping_and_every_settings_is_answered_between_messages() {
    case("rule 59, sections 6.5.3 and 6.7: 200 messages", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let stream = connection.request().await.expect("a call").stream;
            connection.send(&[head(stream)]).await;
            for n in 0..200u64 {
                let ping = Frame::ping(n.to_be_bytes());
                let settings = Frame::settings(&[(setting::MAX_FRAME_SIZE, 20_000)]);
                connection.send(&[ping, message(stream), settings]).await;
                let pong = connection.peer.next_of_ack(kind::PING).await;
                assert_eq!(pong.expect("open").payload[..], n.to_be_bytes());
                let ack = connection.peer.next_of_ack(kind::SETTINGS).await;
                assert!(ack.expect("open").payload.is_empty());
            }
            connection.send(&[ok(stream)]).await;
            connection
        };
        let calling = async { count(download(&channel).await).await };
        let (_, count) = tokio::join!(serving, calling);
        assert_eq!(count, 200);
    })
    .await;
}

#[tokio::test]
async fn a_server_without_a_header_table_is_written_to_without_one() {
    case("RFC 7541, section 4.2: HEADER_TABLE_SIZE 0", async {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[(setting::HEADER_TABLE_SIZE, 0)]).await;
            for _ in 0..3 {
                let call = connection.request().await.expect("a call");
                assert_eq!(call.headers.get(":path"), Some("/t.T/Unary"));
                assert_eq!(connection.peer.input.table_size(), 0);
                connection.send(&good(call.stream)).await;
            }
            connection
        };
        let calling = async {
            for _ in 0..3 {
                assert_good(unary(&channel).send().await);
            }
        };
        let _ = tokio::join!(serving, calling);
    })
    .await;
}
