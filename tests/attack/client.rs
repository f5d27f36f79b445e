//! What an attacker sends, and what it sees: calls as frames, floods, answers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::pending;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::time::timeout;

use crate::raw::frame::{Frame, error, flag, kind};
use crate::raw::hpack;
use crate::raw::peer::{Input, Peer};

pub(crate) const SUM: &str = "/proto.StreamService/SumData";
pub(crate) const EXPORT: &str = "/proto.StreamService/OrderList";
pub(crate) const UPLOAD: &str = "/proto.StreamService/UploadFile";
/// Not served.
pub(crate) const NOTHING: &str = "/proto.StreamService/Nothing";

/// Longer than anything takes that is not timed by the server.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What every call has.
const HEADERS: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
];

/// The header block of a call, with more headers or others in their place.
pub(crate) fn block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut headers = vec![(":path", path)];
    headers.extend(HEADERS);
    headers.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    // Pseudo-headers have to come first.
    let pseudo = |header: &&(&str, &str)| header.0.starts_with(':');
    let (first, rest): (Vec<_>, Vec<_>) = more.iter().partition(pseudo);
    let headers = [first, headers, rest].concat();
    // An empty value leaves the header out.
    let there: Vec<_> = headers
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    hpack::block(&there)
}

/// The beginning of a call.
pub(crate) fn call(stream: u32, path: &str) -> Frame {
    call_with(stream, path, &[])
}

/// The beginning of a call with more headers, or others in the place of those that it has; an empty one takes one away.
pub(crate) fn call_with(stream: u32, path: &str, more: &[(&str, &str)]) -> Frame {
    Frame::block(stream, block(path, more)).with(flag::END_HEADERS)
}

/// The streams that a client opens, in their order.
pub(crate) fn stream(n: usize) -> u32 {
    2 * u32::try_from(n).expect("few enough") + 1
}

/// What a server has sent so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: BTreeMap<u32, Answer>,
    /// The last stream and the error of a GOAWAY.
    pub(crate) goaway: Option<(u32, u32)>,
    pub(crate) pongs: usize,
    pub(crate) settings_acks: usize,
    pub(crate) resets: usize,
    /// The connection has ended.
    pub(crate) ended: bool,
}

/// What a server has answered on one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) http_status: u32,
    /// `grpc-status`.
    pub(crate) code: Option<u32>,
    pub(crate) message: String,
    /// It has headers, and then others with the status.
    pub(crate) has_trailers: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) reset: Option<u32>,
    pub(crate) ended: bool,
}

impl Seen {
    /// Reads until it is so, or the connection ends: whether it is so.
    pub(crate) async fn read_until<Io: AsyncRead + Unpin>(
        &mut self,
        input: &mut Input<Io>,
        so: impl Fn(&Self) -> bool,
    ) -> bool {
        while !so(self) && !self.ended {
            match input.next().await {
                Some(frame) => self.enter(&frame, input).await,
                None => self.ended = true,
            }
        }
        so(self)
    }

    /// Reads until this stream has its answer.
    pub(crate) async fn answer<Io: AsyncRead + Unpin>(
        &mut self,
        input: &mut Input<Io>,
        stream: u32,
    ) -> Answer {
        self.answer_within(input, stream, LONG).await
    }

    /// The same of what takes long.
    pub(crate) async fn answer_within<Io: AsyncRead + Unpin>(
        &mut self,
        input: &mut Input<Io>,
        stream: u32,
        limit: Duration,
    ) -> Answer {
        let answered = self.read_until(input, |seen| {
            let answer = seen.answers.get(&stream);
            answer.is_some_and(|answer| answer.ended || answer.reset.is_some())
        });
        let answered = timeout(limit, answered).await;
        assert_eq!(answered, Ok(true), "stream {stream}: {:?}", self.goaway);
        self.answers.remove(&stream).expect("just seen")
    }

    async fn enter<Io: AsyncRead + Unpin>(&mut self, frame: &Frame, input: &mut Input<Io>) {
        match frame.kind {
            kind::GOAWAY => self.goaway = frame.number(0).zip(frame.error()),
            kind::PING if frame.is_ack() => self.pongs += 1,
            kind::SETTINGS if frame.is_ack() => self.settings_acks += 1,
            kind::HEADERS => {
                let headers = input.headers(frame).await.expect("HPACK");
                let answer = self.answers.entry(frame.stream).or_default();
                let number = |name| headers.get(name).and_then(|text| text.parse().ok());
                match number(":status") {
                    Some(status) => answer.http_status = status,
                    None => answer.has_trailers = true,
                }
                answer.code = answer.code.or(number("grpc-status"));
                let message = headers.get("grpc-message").unwrap_or_default();
                message.clone_into(&mut answer.message);
                answer.ended |= frame.is_end_stream();
            }
            kind::DATA => {
                let answer = self.answers.entry(frame.stream).or_default();
                answer.body.extend_from_slice(&frame.content());
                answer.ended |= frame.is_end_stream();
            }
            kind::RST_STREAM => {
                self.resets += 1;
                self.answers.entry(frame.stream).or_default().reset = frame.error();
            }
            _ => {}
        }
    }
}

/// How a flood ended.
pub(crate) struct Flooded {
    pub(crate) seen: Seen,
    /// How many turns had been sent when the GOAWAY was read. The server has taken fewer.
    pub(crate) turns: usize,
    /// From the first frame to the GOAWAY.
    pub(crate) told_after: Duration,
}

impl Flooded {
    /// Requires that the client was told to calm down and that the connection has ended; returns the last stream that the
    /// server has taken.
    pub(crate) fn calmed_down(&self) -> u32 {
        let (last, why) = self.seen.goaway.expect("a GOAWAY");
        assert_eq!(
            why,
            error::ENHANCE_YOUR_CALM,
            "after stream {last} and {} turns",
            self.turns
        );
        assert!(self.seen.ended, "the connection goes on");
        last
    }
}

/// When the next turn of a flood is due.
pub(crate) enum Pace {
    /// At once.
    Burst,
    /// So long after the one before.
    Every(Duration),
}

/// Sends what `turn` makes, at most so many times, until the server ends the connection.
pub(crate) async fn flood<Io: AsyncRead + AsyncWrite>(
    peer: Peer<Io>,
    pace: Pace,
    most: usize,
    mut turn: impl FnMut(usize) -> Vec<Frame>,
) -> Flooded {
    let Peer {
        mut input,
        mut output,
    } = peer;
    let (sent, started) = (Cell::new(0), Instant::now());
    let write = async {
        let mut ticks = match pace {
            Pace::Burst => None,
            Pace::Every(period) => Some(tokio::time::interval(period)),
        };
        for n in 0..most {
            match &mut ticks {
                Some(ticks) => drop(ticks.tick().await),
                // So that the reader has its turn too.
                None => tokio::task::yield_now().await,
            }
            if output.send_all(&turn(n)).await.is_err() {
                break;
            }
            sent.set(n + 1);
        }
        // What the server says of it may be still to come.
        pending::<()>().await;
    };
    let read = read_to_the_end(&mut input, &sent, started);
    tokio::select! {
        flooded = timeout(LONG, read) => flooded.unwrap_or_else(|_| panic!("{} turns, and it lives", sent.get())),
        () = write => unreachable!("it never ends"),
    }
}

async fn read_to_the_end<Io: AsyncRead + AsyncWrite>(
    input: &mut Input<ReadHalf<Io>>,
    sent: &Cell<usize>,
    started: Instant,
) -> Flooded {
    let mut seen = Seen::default();
    seen.read_until(input, |seen| seen.goaway.is_some()).await;
    let (turns, told_after) = (sent.get(), started.elapsed());
    seen.read_until(input, |_| false).await;
    Flooded {
        seen,
        turns,
        told_after,
    }
}
