//! Calls that cost the server more than they cost the client: the others still get their turn.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;

use crate::client::{EXPORT, SUM, Seen, call, call_with, stream};
use crate::raw::frame::{Frame, error, setting};
use crate::raw::message;
use crate::raw::peer::Peer;
use crate::server::{Attacked, Price};

/// What a message may have.
const LIMIT: u32 = 4 * 1024 * 1024;

/// A client may have what it pays for with calls; the canary is what counts.
const ALL: Price = Price {
    growth_kib: 32 * 1024,
    cpu: Duration::from_secs(60),
};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Sends `packed` on many calls at once, on four connections.
async fn unfold(attack: &str, packed: &[u8]) {
    const CONNECTIONS: usize = 4;
    const CALLS: usize = 50;
    let wire = message(1, packed);
    let attacked = Attacked::start(&[]);
    let frames: Vec<_> = (0..CALLS)
        .flat_map(|n| {
            let call = call_with(stream(n), SUM, &[("grpc-encoding", "gzip")]);
            [call, Frame::data(stream(n), wire.clone()).end_stream()]
        })
        .collect();
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        peers.push(attacked.connect(&[]).await);
    }
    let started = Instant::now();
    let calls = peers.into_iter().map(async |peer| {
        let Peer {
            mut input,
            mut output,
        } = peer;
        let mut seen = Seen::default();
        let answers = async {
            for n in 0..CALLS {
                let answer = seen.answer(&mut input, stream(n)).await;
                assert_eq!(answer.code, Some(0), "{answer:?}");
            }
        };
        let (sent, ()) = tokio::join!(output.send_all(&frames), answers);
        sent.expect("open");
    });
    join_all(calls).await;
    let figure = format_args!(
        "{} times {} bytes, answered in {} ms",
        CONNECTIONS * CALLS,
        wire.len(),
        started.elapsed().as_millis()
    );
    attacked.held(attack, figure, ALL);
}

/// A field that nobody knows, nearly as large as a message may be: passed over at once.
#[tokio::test]
async fn messages_that_unfold_keep_nobody_waiting() {
    let mut plain = vec![0x08, 1, 0x7a];
    let rest = LIMIT - 16;
    prost::encoding::encode_varint(u64::from(rest), &mut plain);
    plain.resize(plain.len() + rest as usize, 0);
    unfold("messages that unfold", &gzip(&plain)).await;
}

/// Fields of two bytes that nobody knows, as many as a message may have: 25 ms of a core for each message.
#[tokio::test]
async fn messages_that_unfold_to_millions_of_fields_keep_nobody_waiting() {
    let field = [0x78, 0];
    let plain: Vec<u8> = field
        .into_iter()
        .cycle()
        .take(LIMIT as usize - 16)
        .collect();
    unfold("messages that unfold to millions of fields", &gzip(&plain)).await;
}

/// A DATA frame of blocks of RFC 1951 that hold nothing, of two kinds, and one of members without a byte.
#[tokio::test]
async fn messages_of_blocks_that_hold_nothing_keep_nobody_waiting() {
    const BYTES: usize = 15 * 1024;
    // Four blocks of fixed codes: a bit that says it is not the last, two for the kind, seven for the end.
    let fixed = [0x02, 0x08, 0x20, 0x80, 0x00];
    // A stored block of no bytes.
    let stored = [0x00, 0x00, 0x00, 0xff, 0xff];
    let last = [0x03, 0x00];
    let header = &gzip(&[])[..10];
    for (name, block) in [("fixed codes", fixed), ("no codes", stored)] {
        let blocks = block.repeat(BYTES / block.len());
        // CRC-32 and size of no bytes.
        let packed = [header, &blocks, &last, &[0; 8]].concat();
        unfold(&format!("blocks of {name} that hold nothing"), &packed).await;
    }
    let member = gzip(&[]);
    let members = member.repeat(BYTES / member.len());
    unfold("members that hold nothing", &members).await;
}

/// A client that opens the windows of all its calls with one frame, by a byte: each sends a frame for it.
#[tokio::test]
async fn windows_opened_by_a_byte_with_settings_end_the_connection() {
    const CALLS: usize = 900;
    let attacked = Attacked::start(&["--sample-orders", "200000"]);
    let mut peer = attacked.connect(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
    for n in 0..CALLS {
        let request = Frame::data(stream(n), message(0, b"")).end_stream();
        peer.send_all(&[call(stream(n), EXPORT), request])
            .await
            .expect("open");
    }
    let (mut seen, mut window) = (Seen::default(), 0);
    let started = Instant::now();
    // As fast as the server sends what it may.
    while seen.goaway.is_none() && started.elapsed() < crate::client::LONG {
        window += 1;
        let settings = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, window)]);
        // Fails when the server has ended it, which is read too.
        let _ = peer.send(&settings).await;
        let all = |seen: &Seen| {
            let sent = |answer: &&crate::client::Answer| answer.body.len() >= window as usize;
            seen.goaway.is_some() || seen.answers.values().filter(sent).count() == CALLS
        };
        seen.read_until(&mut peer.input, all).await;
    }
    let (_, why) = seen.goaway.expect("a GOAWAY");
    let figure = format_args!("{CALLS} calls, closed after {window} SETTINGS");
    let price = Price {
        growth_kib: 64 * 1024,
        ..Price::default()
    };
    attacked.held("windows opened by SETTINGS", figure, price);
    assert_eq!(why, error::ENHANCE_YOUR_CALM);
}
