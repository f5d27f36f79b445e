//! Sizes that are not what they seem: no memory on a promise, the right code, and the connection lives.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use tokio::net::TcpStream;

use crate::client::{SUM, Seen, UPLOAD, call, call_with, stream};
use crate::raw::frame::{Frame, flag, setting};
use crate::raw::peer::Peer;
use crate::raw::{hpack, message, prefixed};
use crate::server::{Attacked, Price};

/// RESOURCE_EXHAUSTED and INTERNAL.
const EXHAUSTED: Option<u32> = Some(8);
const INTERNAL: Option<u32> = Some(13);

/// What a message may have.
const LIMIT: u32 = 4 * 1024 * 1024;

/// A lie may cost its own bytes, and not what it promises.
const LITTLE: Price = Price {
    growth_kib: 8 * 1024,
    cpu: std::time::Duration::from_secs(1),
};

/// A whole call on the same connection, which goes well.
async fn still_serves(peer: &mut Peer<TcpStream>, seen: &mut Seen, stream: u32) {
    peer.send(&call(stream, SUM).end_stream())
        .await
        .expect("open");
    let answer = seen.answer(&mut peer.input, stream).await;
    assert_eq!(answer.code, Some(0), "{}", answer.message);
}

#[tokio::test]
async fn a_prefix_of_four_gigabytes_is_refused_at_once() {
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    let lie = prefixed(0, u32::MAX, b"abc");
    peer.send_all(&[call(1, SUM), Frame::data(1, lie)])
        .await
        .expect("open");
    let answer = seen.answer(&mut peer.input, 1).await;
    still_serves(&mut peer, &mut seen, 3).await;
    attacked.held("a prefix of 4 GiB", &answer.message, LITTLE);
    assert_eq!(answer.code, EXHAUSTED);
    assert!(answer.has_trailers);
}

#[tokio::test]
async fn five_hundred_streams_that_claim_four_mebibytes_each_get_none() {
    const STREAMS: usize = 500;
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    for n in 0..STREAMS {
        let stream = stream(n);
        let claim = prefixed(0, LIMIT, b"abc");
        peer.send_all(&[call(stream, SUM), Frame::data(stream, claim)])
            .await
            .expect("open");
    }
    still_serves(&mut peer, &mut seen, stream(STREAMS)).await;
    let growth = attacked.growth_kib();
    // Then they end, which breaks the promise.
    for n in 0..STREAMS {
        peer.send(&Frame::data(stream(n), &b"d"[..]).end_stream())
            .await
            .expect("open");
    }
    for n in 0..STREAMS {
        let answer = seen.answer(&mut peer.input, stream(n)).await;
        assert_eq!(answer.code, INTERNAL, "{n}: {}", answer.message);
    }
    attacked.held(
        "500 claims of 4 MiB",
        format_args!("+{growth} KiB while they were open"),
        LITTLE,
    );
    assert!(growth < LITTLE.growth_kib, "{growth} KiB");
}

/// 1 GiB of zeros: a mebibyte that ends on a byte, a thousand times.
fn gzip_bomb() -> Vec<u8> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(&vec![0; 1 << 20]).expect("in memory");
    deflate.flush().expect("in memory");
    let part = deflate.get_ref().clone();
    // RFC 1952, section 2.3: deflate, no flags, no time, no system.
    [
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..],
        &part.repeat(1024),
    ]
    .concat()
}

/// As much, in frames one behind the other, as the format allows (RFC 8878, section 3).
fn zstd_bomb() -> Vec<u8> {
    let part = zstd::encode_all(&vec![0; 1 << 20][..], 19).expect("in memory");
    part.repeat(1024)
}

async fn bomb(encoding: &str, bomb: &[u8]) {
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    let wire = message(1, bomb);
    assert!(wire.len() < LIMIT as usize);
    const BOMBS: usize = 5;
    let mut text = String::new();
    for n in 0..BOMBS {
        let stream = stream(n);
        peer.send(&call_with(stream, UPLOAD, &[("grpc-encoding", encoding)]))
            .await
            .expect("open");
        // Slower than the server reads: what is over its windows is an error of ours.
        for part in wire.chunks(16_384) {
            peer.send(&Frame::data(stream, part.to_vec()))
                .await
                .expect("open");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let answer = seen.answer(&mut peer.input, stream).await;
        assert_eq!(answer.code, EXHAUSTED, "{}", answer.message);
        text = answer.message;
    }
    still_serves(&mut peer, &mut seen, stream(BOMBS)).await;
    let kib = wire.len() / 1024;
    attacked.held(
        &format!("{encoding} bomb"),
        format_args!("{BOMBS} times {kib} KiB for 1 GiB: {text}"),
        Price {
            // The limit of one message, and as much while it grows.
            growth_kib: 3 * 4 * 1024,
            ..LITTLE
        },
    );
}

#[tokio::test]
async fn a_gzip_bomb_is_cut_at_the_limit() {
    bomb("gzip", &gzip_bomb()).await;
}

#[tokio::test]
async fn a_zstd_bomb_is_cut_at_the_limit() {
    bomb("zstd", &zstd_bomb()).await;
}

/// A header that asks for 128 MiB to decompress into, and one byte.
#[tokio::test]
async fn a_zstd_frame_that_wants_a_large_window_gets_none() {
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    const CALLS: usize = 100;
    for n in 0..CALLS {
        let stream = stream(n);
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x09, 0x00, 0x00, b'x'];
        peer.send_all(&[
            call_with(stream, UPLOAD, &[("grpc-encoding", "zstd")]),
            Frame::data(stream, message(1, &frame)).end_stream(),
        ])
        .await
        .expect("open");
        let answer = seen.answer(&mut peer.input, stream).await;
        assert_eq!(answer.code, INTERNAL, "{}", answer.message);
    }
    still_serves(&mut peer, &mut seen, stream(CALLS)).await;
    attacked.held(
        "zstd windows of 128 MiB",
        format_args!("{CALLS} refused"),
        LITTLE,
    );
}

#[tokio::test]
async fn metadata_of_24_kib_are_answered_with_431_and_the_connection_lives() {
    const CALLS: usize = 1000;
    let attacked = Attacked::start(&[]);
    // Its answers need no window.
    let mut peer = attacked.connect(&[(setting::HEADER_TABLE_SIZE, 0)]).await;
    let mut seen = Seen::default();
    let value = "a".repeat(1000);
    let metadata = hpack::literal(b"x-large", value.as_bytes()).repeat(24);
    for n in 0..CALLS {
        let stream = stream(n);
        let block = [crate::client::block(SUM, &[]), metadata.clone()].concat();
        let (first, rest) = block.split_at(16_000);
        peer.send_all(&[
            Frame::block(stream, first.to_vec()),
            Frame::continuation(stream, rest.to_vec()).with(flag::END_HEADERS),
        ])
        .await
        .expect("open");
        let answer = seen.answer(&mut peer.input, stream).await;
        assert_eq!(answer.http_status, 431, "{n}: {answer:?}");
    }
    still_serves(&mut peer, &mut seen, stream(CALLS)).await;
    attacked.held(
        "24 KiB of metadata",
        format_args!("{CALLS} answered with 431"),
        LITTLE,
    );
}
