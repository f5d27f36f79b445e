//! What our client says, frame by frame; `h2` is on the client's side alone.

use std::time::Duration;

use streamway::codec::RawMessage;
use streamway::{Channel, Code, Metadata};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::raw::frame::{Frame, flag, kind};
use crate::raw::message;
use crate::raw::peer::Peer;
use crate::support::{JOIN, LONG, REVERSE, raw};

/// A channel, and the listener that it connects to.
async fn listen() -> (TcpListener, Channel) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let channel = Channel::connect(&format!("http://{addr}")).expect("an address");
    (listener, channel)
}

async fn accept(listener: &TcpListener) -> Peer<TcpStream> {
    let (socket, _) = listener.accept().await.expect("a connection");
    Peer::accept(socket, &[]).await.expect("an HTTP/2 client")
}

/// Answers `stream` with nothing, well.
async fn answer(peer: &mut Peer<TcpStream>, stream: u32) {
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    peer.send_all(&[
        Frame::headers(stream, &head),
        Frame::data(stream, message(0, b"")),
        Frame::headers(stream, &[("grpc-status", "0")]).end_stream(),
    ])
    .await
    .expect("open");
}

/// Rules 1, 2, 3, 8 and 16.
#[tokio::test]
async fn headers_stand_in_the_order_of_the_specification() {
    let (listener, channel) = listen().await;
    let serving = async {
        let mut peer = accept(&listener).await;
        let first = peer.next_of(kind::HEADERS).await.expect("a request");
        let headers = peer.headers(&first).await.expect("HPACK");
        answer(&mut peer, first.stream).await;
        (peer, headers)
    };
    let mut metadata = Metadata::new();
    metadata.append("a-custom", "value").expect("legal");
    let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
    let call = call.metadata(metadata).timeout(Duration::from_secs(100));
    let both = async { tokio::join!(serving, call.send()) };
    let ((_peer, headers), outcome) = timeout(LONG, both).await.expect("no hang");
    outcome.expect("OK");

    let names: Vec<_> = headers.0.iter().map(|(name, _)| name.as_str()).collect();
    let pseudo = names
        .iter()
        .take_while(|name| name.starts_with(':'))
        .count();
    let mut before = names[..pseudo].to_vec();
    before.sort_unstable();
    assert_eq!(before, [":authority", ":method", ":path", ":scheme"]);
    assert_eq!(names[pseudo], "grpc-timeout");
    assert_eq!(names.last(), Some(&"a-custom"));
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/t.T/Reverse"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ] {
        assert_eq!(headers.get(name), Some(value), "{name}");
    }
    let timeout = headers.get("grpc-timeout").expect("there is one");
    // Of 100 s a little was used, and microseconds are the finest unit that holds the rest.
    let digits = timeout.strip_suffix('u').expect("microseconds");
    let micros: u32 = digits.parse().expect("digits");
    assert!((1..100_000_000).contains(&micros), "{timeout}");
    let agent = headers.get("user-agent").expect("there is one");
    assert!(agent.starts_with("grpc-rust-streamway/"), "{agent}");
}

/// Rule 21: END_STREAM is on the last DATA, or on an empty one when nothing is left.
#[tokio::test]
async fn a_request_ends_with_its_last_data_or_with_an_empty_one() {
    let (listener, channel) = listen().await;
    let serving = async {
        let mut peer = accept(&listener).await;
        let mut bodies = Vec::new();
        for _ in ["unary", "upload of two", "upload of none"] {
            let first = peer.next_of(kind::HEADERS).await.expect("a request");
            peer.headers(&first).await.expect("HPACK");
            assert!(!first.is_end_stream());
            let mut body = Vec::new();
            loop {
                let data = peer.next_of(kind::DATA).await.expect("a body");
                body.extend_from_slice(&data.payload);
                if data.flags & flag::END_STREAM != 0 {
                    break;
                }
                assert!(!data.payload.is_empty(), "an empty frame that ends nothing");
            }
            answer(&mut peer, first.stream).await;
            bodies.push(body);
        }
        (peer, bodies)
    };
    let calling = async {
        let call = channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
        call.send().await.expect("OK");
        let upload = channel.client_streaming::<_, RawMessage>(JOIN).start();
        let mut upload = upload.await.expect("connected");
        upload.send(&raw(b"a")).await.expect("open");
        upload.send(&raw(b"b")).await.expect("open");
        upload.finish().await.expect("OK");
        let upload = channel
            .client_streaming::<RawMessage, RawMessage>(JOIN)
            .start();
        upload.await.expect("connected").finish().await.expect("OK");
    };
    let both = async { tokio::join!(serving, calling) };
    let ((_peer, bodies), ()) = timeout(LONG, both).await.expect("no hang");
    let two = [message(0, b"a"), message(0, b"b")].concat();
    assert_eq!(bodies, [message(0, b"ab"), two, Vec::new()]);
}

/// Rule 51: the server's clock runs a little faster, or the network a little slower.
#[tokio::test]
async fn cancelled_after_the_deadline_is_deadline_exceeded() {
    for (late, code) in [(true, Code::DeadlineExceeded), (false, Code::Cancelled)] {
        let (listener, channel) = listen().await;
        let call = channel.server_streaming::<_, RawMessage>(REVERSE, raw(b""));
        let call = call.timeout(Duration::from_secs(3600));
        let serving = async {
            let mut peer = accept(&listener).await;
            let first = peer.next_of(kind::HEADERS).await.expect("a request");
            peer.headers(&first).await.expect("HPACK");
            let head = [(":status", "200"), ("content-type", "application/grpc")];
            // In one write, so that the client has the status when it has the headers.
            peer.send_all(&[
                Frame::headers(first.stream, &head),
                Frame::headers(first.stream, &[("grpc-status", "1")]).end_stream(),
            ])
            .await
            .expect("open");
            peer
        };
        let calling = async {
            let mut responses = call.start().await.expect("connected");
            responses.headers().await.expect("they come first");
            responses
        };
        let both = async { tokio::join!(serving, calling) };
        let (_peer, mut responses) = timeout(LONG, both).await.expect("no hang");
        tokio::time::pause();
        if late {
            tokio::time::advance(Duration::from_secs(3601)).await;
        }
        let status = responses.message().await.expect_err("it is over");
        tokio::time::resume();
        assert_eq!(status.code(), code);
    }
}
