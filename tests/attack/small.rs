//! Small frames are legal: nobody is sent away for them, on either side.

use std::time::Duration;

use streamway::Channel;
use streamway::proto::OrderSearchParams;
use streamway::proto::stream_service::StreamServiceClient;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::client::{LONG, SUM, Seen, call};
use crate::raw::frame::{Frame, kind, setting};
use crate::raw::message;
use crate::raw::peer::Peer;
use crate::server::{Attacked, Price};

const FRAMES: usize = 20_000;

/// `StreamSumData { number: 1 }`.
const ONE: [u8; 2] = [0x08, 1];

/// The largest window there is.
const WIDE: u32 = u32::MAX >> 1;

/// Sends `body` cut into frames of so many bytes, all at once, and returns how many answers came before the OK.
async fn pipelined(attacked: &Attacked, body: &[u8], size: usize) -> usize {
    let peer = attacked
        .connect(&[(setting::INITIAL_WINDOW_SIZE, WIDE)])
        .await;
    let mut frames = vec![Frame::window_update(0, WIDE - 65_535), call(1, SUM)];
    frames.extend(body.chunks(size).map(|part| Frame::data(1, part.to_vec())));
    let last = frames.pop().expect("there are some");
    frames.push(last.end_stream());
    let Peer {
        mut input,
        mut output,
    } = peer;
    let mut seen = Seen::default();
    let (sent, answer) = tokio::join!(output.send_all(&frames), seen.answer(&mut input, 1));
    sent.expect("open");
    assert_eq!(answer.code, Some(0), "{}", answer.message);
    let mut messages = 0;
    let mut rest = &answer.body[..];
    while let [0, a, b, c, d, behind @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        rest = behind.get(length..).expect("whole messages");
        messages += 1;
    }
    assert!(rest.is_empty());
    messages
}

#[tokio::test]
async fn twenty_thousand_small_messages_at_once_are_all_answered() {
    let attacked = Attacked::start(&[]);
    let body = message(0, &ONE).repeat(FRAMES);
    let answers = pipelined(&attacked, &body, body.len() / FRAMES).await;
    attacked.held(
        "20,000 small messages",
        format_args!("{answers} answers"),
        Price::default(),
    );
    // The first is sent before anything is received.
    assert_eq!(answers, FRAMES + 1);
}

#[tokio::test]
async fn twenty_thousand_frames_of_one_byte_are_all_read() {
    let attacked = Attacked::start(&[]);
    let body = message(0, &ONE).repeat(FRAMES / 7);
    let answers = pipelined(&attacked, &body, 1).await;
    attacked.held(
        "20,000 frames of one byte",
        format_args!("{answers} answers"),
        Price::default(),
    );
    assert_eq!(answers, FRAMES / 7 + 1);
}

/// As grpc-go sends an export, and the consumer has something else to do.
#[tokio::test]
async fn our_client_pauses_for_a_second_while_twenty_thousand_small_frames_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = async {
        let (socket, _) = listener.accept().await.expect("a connection");
        let mut peer = Peer::accept(socket, &[]).await.expect("an HTTP/2 client");
        let request = peer.next_of(kind::HEADERS).await.expect("a request");
        let stream = request.stream;
        let head = [(":status", "200"), ("content-type", "application/grpc")];
        let mut frames = vec![Frame::headers(stream, &head)];
        // An order that is empty; they all fit the client's window.
        let order = message(0, &[0x0a, 0]);
        frames.extend((0..FRAMES).map(|_| Frame::data(stream, order.clone())));
        frames.push(Frame::headers(stream, &[("grpc-status", "0")]).end_stream());
        peer.send_all(&frames).await.expect("open");
        peer
    };
    let reading = async {
        let channel = Channel::connect(&address).expect("an address");
        let call = StreamServiceClient::new(channel).order_list(OrderSearchParams::default());
        let mut orders = call.start().await.expect("a call");
        let mut count = 0;
        while orders.message().await.expect("OK").is_some() {
            count += 1;
            if count == 1 {
                sleep(Duration::from_secs(1)).await;
            }
        }
        count
    };
    let both = async { tokio::join!(serving, reading) };
    let (_peer, count) = timeout(LONG, both).await.expect("no hang");
    println!("attack, held: small frames while a client pauses: {count} messages after a second");
    assert_eq!(count, FRAMES);
}
