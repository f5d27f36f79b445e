//! Clients that say nothing, or the half of it; and more of them than there are descriptors.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client::{LONG, SUM, block, call};
use crate::raw::frame::{Frame, PREFACE, flag};
use crate::server::{Attacked, Price};

/// How long a connection may live that says nothing.
const GONE: Duration = Duration::from_secs(10);

/// A limit of the server is five seconds. So much sooner would be another limit.
const FIVE_SECONDS: Duration = Duration::from_millis(4900);

/// Says `first`, then a byte of `rest` each second, until the server ends the connection: after how long it did, and what it said.
pub(crate) async fn trickle(
    mut socket: TcpStream,
    first: &[u8],
    rest: &[u8],
) -> (Duration, String) {
    let started = Instant::now();
    socket.write_all(first).await.expect("open");
    let (mut input, mut output) = socket.split();
    let write = async {
        for byte in rest {
            sleep(Duration::from_secs(1)).await;
            // Fails when the server has ended it, which the reader sees too.
            let _ = output.write_all(&[*byte]).await;
        }
        std::future::pending::<()>().await;
    };
    let mut heard = Vec::new();
    tokio::select! {
        // It may end with an error too: what was sent in vain takes the place of the end.
        _ = input.read_to_end(&mut heard) => {}
        () = write => {}
        () = sleep(LONG) => {}
    }
    let heard = String::from_utf8_lossy(&heard).into_owned();
    (started.elapsed(), heard)
}

async fn is_gone(attack: &str, attacked: &Attacked, first: &[u8], rest: &[u8]) {
    let (lived, _) = trickle(attacked.socket().await, first, rest).await;
    attacked.held(
        attack,
        format_args!("closed after {:.1} s", lived.as_secs_f64()),
        Price::default(),
    );
    assert!((FIVE_SECONDS..GONE).contains(&lived), "{lived:?}");
}

#[tokio::test]
async fn a_client_that_sends_no_preface_is_gone() {
    is_gone("no preface", &Attacked::start(&[]), b"", b"").await;
}

#[tokio::test]
async fn a_client_that_sends_half_a_preface_is_gone() {
    is_gone("half a preface", &Attacked::start(&[]), &PREFACE[..12], b"").await;
}

#[tokio::test]
async fn a_client_that_sends_its_preface_byte_by_byte_is_gone() {
    is_gone(
        "a preface byte by byte",
        &Attacked::start(&[]),
        b"",
        PREFACE,
    )
    .await;
}

/// The SETTINGS frame belongs to the preface (RFC 9113, section 3.4).
#[tokio::test]
async fn a_client_that_sends_no_settings_is_gone() {
    is_gone("no SETTINGS", &Attacked::start(&[]), PREFACE, b"").await;
}

#[tokio::test]
async fn a_client_that_sends_no_hello_is_gone() {
    is_gone("no TLS hello", &Attacked::start_with_tls(), b"", b"").await;
}

#[tokio::test]
async fn a_client_that_sends_half_a_hello_is_gone() {
    // A record of 512 bytes with a ClientHello, of which 16 come.
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 5]].concat();
    is_gone(
        "half a TLS hello",
        &Attacked::start_with_tls(),
        &hello,
        &[7; 20],
    )
    .await;
}

/// What a client says that begins well.
fn begun() -> Vec<u8> {
    let mut wire = PREFACE.to_vec();
    Frame::settings(&[]).encode(&mut wire);
    wire
}

#[tokio::test]
async fn a_header_block_that_is_never_finished_is_gone() {
    let mut wire = begun();
    Frame::block(1, block(SUM, &[])).encode(&mut wire);
    is_gone(
        "a header block without an end",
        &Attacked::start(&[]),
        &wire,
        b"",
    )
    .await;
}

#[tokio::test]
async fn a_header_block_of_many_small_frames_is_gone() {
    let mut wire = begun();
    Frame::block(1, block(SUM, &[])).encode(&mut wire);
    let mut rest = Vec::new();
    Frame::continuation(1, &b"\0\x01a\x01b"[..]).encode(&mut rest);
    is_gone(
        "CONTINUATION byte by byte",
        &Attacked::start(&[]),
        &wire,
        &rest,
    )
    .await;
}

#[tokio::test]
async fn a_header_block_in_one_frame_that_comes_byte_by_byte_is_gone() {
    // Beside a call that is open, so that the connection is not idle.
    let (mut wire, mut slow) = (begun(), Vec::new());
    call(1, SUM).encode(&mut wire);
    Frame::block(3, block(SUM, &[]))
        .with(flag::END_HEADERS)
        .encode(&mut slow);
    let (first, rest) = slow.split_at(20);
    wire.extend_from_slice(first);
    is_gone("HEADERS byte by byte", &Attacked::start(&[]), &wire, rest).await;
}

#[tokio::test]
async fn a_server_out_of_descriptors_waits_and_goes_on() {
    const MOST: u32 = 128;
    let attacked = Attacked::start_with_descriptors(MOST, &["--threads", "2"]);
    let mut sockets = Vec::new();
    for _ in 0..MOST {
        // The kernel takes them, the server cannot: they wait in its queue.
        sockets.push(attacked.socket().await);
    }
    let (mut refused, before) = (0, attacked.running.cpu());
    sleep(Duration::from_secs(2)).await;
    let spent = attacked.running.cpu().saturating_sub(before);
    for socket in &sockets {
        let mut byte = [0];
        // One that was accepted has nothing to read: the server speaks when the client has.
        refused += usize::from(
            !matches!(socket.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock),
        );
    }
    drop(sockets);
    // One that comes after is served.
    let mut peer = timeout(LONG, attacked.connect(&[]))
        .await
        .expect("the loop goes on");
    peer.send(&call(1, SUM)).await.expect("open");
    let mut seen = crate::client::Seen::default();
    let answered = seen.read_until(&mut peer.input, |seen| seen.answers.contains_key(&1));
    assert_eq!(timeout(LONG, answered).await, Ok(true));
    attacked.held(
        "no descriptors left",
        format_args!(
            "{MOST} connections, CPU {} ms in 2 s, then served on",
            spent.as_millis()
        ),
        Price::default(),
    );
    assert!(spent < Duration::from_millis(500), "{spent:?}");
    assert_eq!(refused, 0);
    let said = attacked.end().stderr;
    let told = said
        .lines()
        .filter(|line| line.contains("cannot accept"))
        .count();
    assert!((1..=100).contains(&told), "{told} lines");
}
