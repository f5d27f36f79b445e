//! What a peer says reaches the log escaped and cut, and never as a line of its own.

use std::fs;

use prost::Message;
use streamway::proto::{Image, StreamImageList};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{LONG, Pace, SUM, Seen, UPLOAD, call, call_with, flood, stream};
use crate::raw::frame::{Frame, error, flag};
use crate::raw::message;
use crate::server::{Attacked, Price};

/// What a forger wants to see at the beginning of a line, behind what ends one, and what a terminal would obey.
const FORGED: &str = "\n\r\u{85}\u{2028}FORGED\u{1b}[31m\u{9b}31m\u{202e}";

/// Bytes of a line of the log, at most: a line of ours with every field at its limit.
const MAX_LINE: usize = 1024;

/// Says `bytes` and waits for the end, whatever is answered.
async fn say(addr: &str, bytes: &[u8]) {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let mut heard = Vec::new();
    // Both may fail, because the server may have heard enough.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let _ = timeout(LONG, socket.read_to_end(&mut heard)).await;
}

#[tokio::test]
async fn what_a_peer_says_is_escaped_and_cut_in_the_log() {
    let attacked = Attacked::start(&["--http-addr", "127.0.0.1:0", "--log", "debug"]);
    let long = "a".repeat(30_000);
    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    let mut n = 0;
    let names = ["../../FORGED", FORGED, &long, "a/b", "nul\0", ""];
    for name in names {
        let image = Image {
            file_name: name.to_owned(),
            ..Image::default()
        };
        let upload = StreamImageList { image: Some(image) }.encode_to_vec();
        let upload = Frame::data(stream(n), message(0, &upload));
        // In frames of a size that is legal.
        peer.send(&call(stream(n), UPLOAD)).await.expect("open");
        for part in upload.payload.chunks(16_000) {
            peer.send(&Frame::data(stream(n), part.to_vec()))
                .await
                .expect("open");
        }
        let answer = seen.answer(&mut peer.input, stream(n)).await;
        assert_eq!(answer.code, Some(3), "{name:?}: {}", answer.message);
        n += 1;
    }
    // Only these may stand in a header; what else may not, ends the connection.
    let forged = FORGED.replace(['\n', '\r', '\u{1b}'], "");
    for headers in [
        [("x-forged", &*forged)],
        [("user-agent", &forged)],
        [("grpc-timeout", &forged)],
        [("grpc-encoding", &forged)],
        [("content-type", &forged)],
        [("x-long", &long[..10_000])],
    ] {
        peer.send(&call_with(stream(n), SUM, &headers).end_stream())
            .await
            .expect("open");
        seen.answer(&mut peer.input, stream(n)).await;
        n += 1;
    }
    let path = format!("/{}", &long[..10_000]);
    peer.send(&call(stream(n), &path).end_stream())
        .await
        .expect("open");
    seen.answer(&mut peer.input, stream(n)).await;
    // What ends the connection.
    for headers in [[(":path", FORGED)], [("x-forged", FORGED)], [(FORGED, "x")]] {
        let peer = attacked.connect(&[]).await;
        let frame = call_with(1, SUM, &headers).end_stream();
        let _ = timeout(
            LONG / 20,
            flood(peer, Pace::Burst, 1, |_| vec![frame.clone()]),
        )
        .await;
    }
    let http = attacked.running.said("HTTP    http://");
    let http = http.split_once('/').expect("a URL").0;
    for line in [
        "GET /%0a%1b[31mFORGED HTTP/1.1".to_owned(),
        format!("GET /{FORGED} HTTP/1.1"),
        format!("GET /{long} HTTP/1.1"),
        format!("{} / HTTP/1.1", "A".repeat(10_000)),
        format!("GET /testOrderList?afterId={FORGED} HTTP/1.1"),
        format!("{FORGED} {FORGED}"),
    ] {
        for addr in [http, &attacked.addr] {
            say(
                addr,
                format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
            )
            .await;
        }
    }
    drop(peer);
    attacked.held(
        "names and headers for the log",
        format_args!("{} lines of attack", n + 15),
        Price::default(),
    );
    let images = fs::read_dir(attacked.data().join("images")).expect("a folder");
    assert_eq!(images.count(), 0, "something was stored");
    let said = attacked.end().stderr;
    let wrong: Vec<_> = said.lines().filter(|line| is_wrong(line)).collect();
    let cut = |line: &&str| line.chars().take(300).collect::<String>();
    assert!(
        wrong.is_empty(),
        "{} lines: {:#?}",
        wrong.len(),
        wrong.iter().map(cut).collect::<Vec<_>>()
    );
    assert!(said.contains("call ended"), "the log was not heard at all");
}

fn is_wrong(line: &str) -> bool {
    let obeyed = |letter: char| letter.is_control() || ('\u{2028}'..='\u{202e}').contains(&letter);
    line.len() > MAX_LINE || line.contains(obeyed) || line.starts_with("FORGED")
}

/// What is sent the n-th time.
type Turn = fn(usize) -> Vec<Frame>;

/// With what is logged unless told otherwise, nothing that a peer does reads like a fault of the server.
#[tokio::test]
async fn no_fault_of_a_peer_is_logged_above_info() {
    let attacked = Attacked::start(&[]);
    let kinds: [Turn; 4] = [
        |n| vec![call(stream(n), SUM), Frame::reset(stream(n), error::CANCEL)],
        |n| {
            let overflow = Frame::window_update(stream(n), u32::MAX >> 1);
            vec![call(stream(n), SUM), overflow]
        },
        // Answers to nothing.
        |_| vec![Frame::ping([7; 8]).with(flag::ACK)],
        // Messages that are cut, until the PINGs are too many.
        |n| {
            let cut = Frame::data(stream(n), &b"\0\0"[..]).end_stream();
            vec![call(stream(n), SUM), cut, Frame::ping([0; 8])]
        },
    ];
    for turn in kinds {
        let peer = attacked.connect(&[]).await;
        flood(peer, Pace::Burst, 50_000, turn).await;
    }
    attacked.held(
        "a log full of faults",
        format_args!("{} floods", kinds.len()),
        Price::default(),
    );
    let said = attacked.end().stderr;
    let loud: Vec<_> = said
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .collect();
    assert!(
        loud.is_empty(),
        "{} lines: {:#?}",
        loud.len(),
        &loud[..loud.len().min(5)]
    );
}
