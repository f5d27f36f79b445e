//! Our server on HTTP/2 frames as no client of ours writes them; `h2` is on the server's side alone.

use std::time::Duration;

use bytes::Bytes;
use streamway::server::{Config, Server};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::raw::frame::{Frame, error, flag, kind, setting};
use crate::raw::peer::Peer;
use crate::raw::{hpack, message};
use crate::support::{Fixture, LONG, Served};

/// The largest stream there can be: what a GOAWAY names that closes nothing yet (RFC 9113, section 6.8).
const LAST: u32 = 0x7fff_ffff;

async fn connect(settings: &[(u16, u32)]) -> (Served, Peer<TcpStream>) {
    connect_to(Server::new(), settings).await
}

async fn connect_to(server: Server, settings: &[(u16, u32)]) -> (Served, Peer<TcpStream>) {
    let served = Fixture::default().serve(server).await;
    let socket = TcpStream::connect(served.socket_address()).await;
    let peer = Peer::connect(socket.expect("served"), settings).await;
    (served, peer.expect("an HTTP/2 server"))
}

fn head(path: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "t"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

/// Waits until the server has seen what was sent.
async fn settled(peer: &mut Peer<TcpStream>) {
    peer.send(&Frame::ping(*b"settled?")).await.expect("open");
    let pong = timeout(LONG, peer.next_of_ack(kind::PING)).await;
    pong.expect("in time").expect("an answer");
}

/// The messages of `stream` and its `grpc-status`.
async fn answer(peer: &mut Peer<TcpStream>, stream: u32) -> (Bytes, String) {
    let mut body = Vec::new();
    let read = async {
        loop {
            let frame = peer.next().await.expect("an answer");
            let headers = match frame.kind {
                kind::HEADERS => peer.headers(&frame).await.expect("HPACK"),
                kind::DATA if frame.stream == stream => {
                    body.extend_from_slice(&frame.content());
                    continue;
                }
                kind::RST_STREAM | kind::GOAWAY if [0, stream].contains(&frame.stream) => {
                    unreachable!("the server broke off: {frame:?}")
                }
                _ => continue,
            };
            if frame.stream == stream && frame.is_end_stream() {
                return headers.get("grpc-status").unwrap_or_default().to_owned();
            }
        }
    };
    let status = timeout(LONG, read).await.expect("no hang");
    (body.into(), status)
}

/// Rules 18 and 64: HTTP/2 in odd pieces is the same call.
#[tokio::test]
async fn however_a_request_is_cut_into_frames_it_is_the_same_call() {
    let (_served, mut peer) = connect(&[(setting::UNKNOWN, 7)]).await;
    let block = hpack::block(&head("/t.T/Echo"));
    let sent = [message(0, b"one"), message(0, b""), message(0, b"three")].concat();
    let whole = vec![Frame::data(1, sent.clone())];
    let bytes = sent.iter().map(|byte| Frame::data(3, vec![*byte]));
    let padded = sent
        .iter()
        .map(|byte| Frame::data(5, vec![*byte]).padded(255));
    let empty = sent
        .iter()
        .flat_map(|byte| [Frame::data(7, vec![*byte]), Frame::data(7, "").padded(0)]);
    for (stream, body) in [
        (1, whole),
        (3, bytes.collect()),
        (5, padded.collect()),
        (7, empty.collect()),
    ] {
        // The head in pieces, the last of them empty.
        let (first, rest) = block.split_at(7);
        let (second, third) = rest.split_at(1);
        let mut frames = vec![
            Frame::block(stream, first.to_vec()).padded(9),
            Frame::continuation(stream, second.to_vec()),
            Frame::continuation(stream, third.to_vec()),
            Frame::continuation(stream, "").with(flag::END_HEADERS),
            Frame::new(kind::UNKNOWN, 0xff, stream, "anything"),
            Frame::new(kind::UNKNOWN, 0xff, 0, ""),
            Frame::new(kind::PRIORITY, 0, stream, vec![0, 0, 0, 0, 1]),
        ];
        for frame in body {
            frames.extend([frame, Frame::new(kind::UNKNOWN, 0, stream, "between")]);
        }
        frames.push(Frame::data(stream, "").end_stream());
        peer.send_all(&frames).await.expect("open");
        let (body, status) = answer(&mut peer, stream).await;
        assert_eq!(
            (body, status.as_str()),
            (sent.clone().into(), "0"),
            "{stream}"
        );
    }
}

/// Rule 63: padding costs window, and the window comes back.
#[tokio::test]
async fn padding_costs_window_and_gives_it_back() {
    const PADDED: u32 = 1 + 255 + 1;
    let (_served, mut peer) = connect(&[]).await;
    peer.send(&Frame::headers(1, &head("/t.T/Join")))
        .await
        .expect("open");
    // A message of a byte a frame, whose padding alone is twice the connection's window.
    let frames = 2 * 1024 * 1024 / PADDED;
    let payload = vec![7; frames as usize];
    let wire = message(0, &payload);
    // Of the connection, as every connection begins, and of the stream, as the server's SETTINGS say.
    let mut windows = [65_535, Config::default().stream_window_bytes];
    let mut sent = wire.iter();
    let sending = async {
        for byte in sent.by_ref() {
            while windows.iter().any(|window| *window < PADDED) {
                let frame = peer.next().await.expect("window");
                let more = frame.number(0).unwrap_or_default();
                match (frame.kind, frame.stream) {
                    (kind::WINDOW_UPDATE, stream) => windows[usize::from(stream == 1)] += more,
                    (kind::RST_STREAM | kind::GOAWAY, _) => panic!("{frame:?}"),
                    _ => {}
                }
            }
            windows = windows.map(|window| window - PADDED);
            let frame = Frame::data(1, vec![*byte]).padded(255);
            peer.send(&frame).await.expect("open");
        }
    };
    timeout(LONG, sending).await.expect("the window comes back");
    peer.send(&Frame::data(1, "").end_stream())
        .await
        .expect("open");
    let (body, status) = answer(&mut peer, 1).await;
    assert_eq!((body == wire, status.as_str()), (true, "0"));
}

/// Rule 63: a client that takes nothing yet.
#[tokio::test]
async fn an_answer_waits_for_a_window_that_begins_at_zero() {
    let (_served, mut peer) = connect(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
    let request = |stream| {
        let last = Frame::data(stream, message(0, b"abc")).end_stream();
        [Frame::headers(stream, &head("/t.T/Reverse")), last]
    };
    peer.send_all(&request(1)).await.expect("open");
    peer.send_all(&request(3)).await.expect("open");
    // What there is to say to these has come when the ping is answered.
    peer.send(&Frame::ping(*b"settled?")).await.expect("open");
    while let Some(frame) = peer.next().await {
        match frame.kind {
            kind::HEADERS => {
                peer.headers(&frame).await.expect("HPACK");
                assert!(!frame.is_end_stream(), "{frame:?}");
            }
            kind::PING => break,
            kind::DATA | kind::RST_STREAM | kind::GOAWAY => panic!("{frame:?}"),
            _ => {}
        }
    }
    for stream in [3, 1] {
        let window = Frame::window_update(stream, 100);
        peer.send(&window).await.expect("open");
        let (body, status) = answer(&mut peer, stream).await;
        assert_eq!(body, message(0, b"cba"));
        assert_eq!(status, "0");
    }
}

/// Rule 59.
#[tokio::test]
async fn a_ping_is_answered_with_what_it_said() {
    let (_served, mut peer) = connect(&[]).await;
    for payload in [*b"pingpong", [0; 8], [255; 8]] {
        peer.send(&Frame::ping(payload)).await.expect("open");
        let pong = timeout(LONG, peer.next_of_ack(kind::PING)).await;
        let pong = pong.expect("in time").expect("an answer");
        assert_eq!(pong.payload[..], payload);
    }
}

/// Rule 60.
#[tokio::test]
async fn a_client_that_does_nothing_but_ping_is_sent_away() {
    let (_served, mut peer) = connect(&[]).await;
    for n in 1.. {
        // Fails once the server has closed.
        let _ = peer.send(&Frame::ping(*b"again!!!")).await;
        let told = async {
            loop {
                let frame = peer.next().await.expect("it is told why");
                if matches!(frame.kind, kind::PING | kind::GOAWAY) {
                    return frame;
                }
            }
        };
        let frame = timeout(LONG, told).await.expect("in time");
        if frame.kind == kind::GOAWAY {
            assert_eq!(frame.error(), Some(error::ENHANCE_YOUR_CALM));
            // Three, and as many more for what the server said when the connection began.
            assert!((4..=7).contains(&n), "at ping {n}");
            break;
        }
    }
    while timeout(LONG, peer.next()).await.expect("in time").is_some() {}
}

/// Rule 57: first that a GOAWAY is coming, so that no call that is on its way is lost, then from where on.
#[tokio::test]
async fn a_drain_says_goaway_twice_and_a_call_in_between_is_served() {
    let (served, mut peer) = connect(&[]).await;
    peer.send(&Frame::headers(1, &head("/t.T/Echo")))
        .await
        .expect("open");
    settled(&mut peer).await;
    served.stop();
    let first = timeout(LONG, peer.next_of(kind::GOAWAY)).await;
    let first = first.expect("in time").expect("a GOAWAY");
    assert_eq!(
        (first.number(0), first.error()),
        (Some(LAST), Some(error::NO_ERROR))
    );

    peer.send_all(&[
        Frame::headers(3, &head("/t.T/Echo")),
        Frame::data(3, message(0, b"late")).end_stream(),
    ])
    .await
    .expect("open");
    let ping = timeout(LONG, peer.next_of(kind::PING)).await;
    let ping = ping.expect("in time").expect("a PING");
    peer.send(&ping.with(flag::ACK)).await.expect("open");
    let mut gone = false;
    let mut ended = 0;
    while ended < 2 {
        let frame = timeout(LONG, peer.next()).await.expect("in time");
        let frame = frame.expect("calls end before the connection");
        match frame.kind {
            kind::GOAWAY => {
                assert_eq!(
                    (frame.number(0), frame.error()),
                    (Some(3), Some(error::NO_ERROR))
                );
                gone = true;
                let last = Frame::data(1, message(0, b"last")).end_stream();
                peer.send(&last).await.expect("open");
            }
            kind::HEADERS => {
                let headers = peer.headers(&frame).await.expect("HPACK");
                if frame.is_end_stream() {
                    assert_eq!(headers.get("grpc-status"), Some("0"));
                    ended += 1;
                }
            }
            kind::RST_STREAM => panic!("{frame:?}"),
            _ => {}
        }
    }
    assert!(gone);
    timeout(LONG, served.ended()).await.expect("drained");
}

/// RFC 9110, section 9.3.2: as GET would be answered, but for the body.
#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let (_served, mut peer) = connect(&[]).await;
    for (stream, verb) in [(1, "GET"), (3, "HEAD")] {
        let mut headers = head("/t.T/Echo");
        headers[0].1 = verb;
        let request = Frame::headers(stream, &headers).end_stream();
        peer.send(&request).await.expect("open");
        let answer = timeout(LONG, peer.next_of(kind::HEADERS)).await;
        let answer = answer.expect("in time").expect("an answer");
        let headers = peer.headers(&answer).await.expect("HPACK");
        assert_eq!(headers.get(":status"), Some("405"), "{verb}");
        assert_eq!(answer.is_end_stream(), verb == "HEAD", "{verb}");
    }
}

/// RFC 9113, section 6.9: no more than the window takes, and what it takes at once.
#[tokio::test]
async fn an_answer_to_what_is_no_grpc_comes_as_the_window_takes_it() {
    let (_served, mut peer) = connect(&[(setting::INITIAL_WINDOW_SIZE, 1)]).await;
    let mut headers = head("/t.T/Echo");
    headers[0].1 = "GET";
    let request = Frame::headers(1, &headers).end_stream();
    peer.send(&request).await.expect("open");
    let mut text = Vec::new();
    // What may come, whether it is the last of it, and by how much the window grows then.
    for (window, last, more) in [(1, false, 10), (10, false, 1000), (1000, true, 1)] {
        let part = timeout(LONG, peer.next_of(kind::DATA)).await;
        let part = part.expect("in time").expect("a part of the text");
        assert!(part.payload.len() <= window, "{}", part.payload.len());
        assert_eq!(part.is_end_stream(), last);
        text.extend_from_slice(&part.payload);
        let next = Frame::window_update(1, more);
        peer.send(&next).await.expect("open");
    }
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.contains("speaks gRPC"), "{text}");
}

/// As when the deadlines of many calls pass together.
#[tokio::test]
async fn a_client_that_gives_up_on_many_calls_at_once_keeps_its_connection() {
    let (_served, mut peer) = connect(&[]).await;
    let frames: Vec<_> = (0..150)
        .map(|call| 2 * call + 1)
        .flat_map(|stream| {
            let request = Frame::headers(stream, &head("/t.T/Hang"));
            [request, Frame::reset(stream, error::CANCEL)]
        })
        .collect();
    peer.send_all(&frames).await.expect("open");
    let echo = message(0, b"still here");
    let request = [
        Frame::headers(301, &head("/t.T/Echo")),
        Frame::data(301, echo.clone()).end_stream(),
    ];
    peer.send_all(&request).await.expect("open");
    let (body, status) = answer(&mut peer, 301).await;
    assert_eq!((&body[..], status.as_str()), (&echo[..], "0"));
}

/// RFC 9113, section 5.1: as when many uploads are refused on a slow link, whose bytes were on their way. They are more than h2 lets
/// a connection make breaches, and come after the second for which it remembers a stream unless told otherwise.
#[tokio::test]
async fn what_still_comes_for_calls_that_were_answered_early_costs_no_other_call() {
    let mut config = Config::default();
    config.max_concurrent_streams = 1_200;
    let (_served, mut peer) = connect_to(Server::new().config(config), &[]).await;
    let streams: Vec<u32> = (0..1_100).map(|call| 2 * call + 1).collect();
    for stream in &streams {
        let request = Frame::headers(*stream, &head("/t.T/NotThere"));
        peer.send(&request).await.expect("open");
        let (_, status) = answer(&mut peer, *stream).await;
        assert_eq!(status, "12");
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = streams.iter().map(|stream| Frame::data(*stream, "late"));
    let stream = 2 * 1_100 + 1;
    let request = [
        Frame::headers(stream, &head("/t.T/Echo")),
        Frame::data(stream, message(0, b"in time")).end_stream(),
    ];
    let frames: Vec<_> = late.chain(request).collect();
    peer.send_all(&frames).await.expect("open");
    let (body, status) = answer(&mut peer, stream).await;
    let whole = message(0, b"in time");
    assert_eq!((&body[..], status.as_str()), (&whole[..], "0"));
}
