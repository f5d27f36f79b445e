//! What a client makes the server hold: of each thing as much as it can get.
//!
//! Each test is a term of the formula in docs/operations.md, Memory, and fails when the term is too small. RSS counts what the
//! allocator keeps besides; so a term is measured many times over, and nothing is added for it.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::client::{LONG, NOTHING, Pace, SUM, Seen, UPLOAD, call, flood, stream};
use crate::paced::Paced;
use crate::raw::frame::{Frame, flag, setting};
use crate::raw::hpack;
use crate::raw::message;
use crate::raw::peer::Peer;
use crate::server::{Attacked, Price};

/// What a call may hold, in KiB: its state; what it has encoded and not sent, with one message of a few bytes.
pub(crate) const STATE_KIB: usize = 8;
const SENDS_KIB: usize = 20 + 16;

/// The largest header block, as it is counted, in KiB, and how often that is held.
const HEADERS_KIB: usize = 16;
const TIMES_HEADERS: usize = 3;

/// What a client may send that nobody reads, in KiB: of a connection; and of a message that is not whole.
const WINDOW_KIB: usize = 1024;
pub(crate) const FREE_KIB: usize = 64;

/// A connection whose frames are of a byte: sixteen windows beside its own.
const FRAMES_KIB: usize = 16 * WINDOW_KIB;

/// What is gathered for a socket, with one write, and h2's own.
const CONNECTION_KIB: usize = 64 + 16 + 32;

/// A call that was answered before its request ended, while the rest is passed over; and how many a connection has of them.
const OVER_KIB: usize = 1;
const CALLS_OVER: usize = 1000;

/// What a test needs that is not the attack's: the canary, threads that work for the first time.
pub(crate) const BESIDE_KIB: usize = 4 * 1024;

/// `StreamSumData { number: 1 }`, and what answers it is twice as long.
const ONE: [u8; 2] = [0x08, 1];

/// So many connections that open no window, so that what answers them stays where it is.
async fn deaf(attacked: &Attacked, connections: usize) -> Vec<Paced> {
    let mut peers = Vec::new();
    for _ in 0..connections {
        let peer = attacked.connect(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
        peers.push(Paced::new(peer));
    }
    peers
}

/// Sends frames a few at a time: what is measured is memory, and the others want their turn.
async fn send_by_and_by(peer: &mut Paced, frames: &[Frame]) {
    for some in frames.chunks(25) {
        peer.peer.send_all(some).await.expect("open");
        sleep(Duration::from_millis(5)).await;
    }
}

/// So many, at so much each, in KiB: what they may cost, and that they did cost some of it, or it was no attack.
fn price(held: usize, count: usize, each_kib: usize) -> Price {
    let most = count * each_kib;
    assert!(
        held > most / 8,
        "{held} KiB held, of {most}: is it held at all?"
    );
    Price {
        growth_kib: (most + BESIDE_KIB) as u64,
        cpu: Duration::from_secs(5),
    }
}

/// A header that enters the table of the connection: "Literal Header Field with Incremental Indexing" (RFC 7541, section
/// 6.2.1).
fn entered(name: &str, value: &str) -> Vec<u8> {
    let mut wire = hpack::literal(name.as_bytes(), value.as_bytes());
    wire[0] = 0x40;
    wire
}

/// Two blocks for a call: one that enters its headers, and one of a byte for each.
fn packed() -> [Vec<u8>; 2] {
    // `:method: POST` and `:scheme: http`, of the static table.
    let (mut enters, mut refers) = (vec![0x83, 0x86], vec![0x83, 0x86]);
    let call = [
        (":path", SUM),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let names: Vec<_> = ('a'..='z').map(String::from).collect();
    let fillers = names.iter().map(|name| (name.as_str(), "v"));
    let entries: Vec<_> = call.into_iter().chain(fillers).collect();
    for (name, value) in &entries {
        enters.extend(entered(name, value));
    }
    // The newest entry is the 62nd (RFC 7541, section 2.3.3).
    let reference = |n: usize| 0x80 | (62 + entries.len() - 1 - n) as u8;
    refers.extend((0..call.len()).map(reference));
    // Each counts 34 bytes.
    let most = (HEADERS_KIB * 1024 - 500) / 34;
    refers.extend((0..most).map(|n| reference(call.len() + n % names.len())));
    [enters, refers]
}

#[tokio::test]
async fn metadata_that_are_packed_cost_three_times_what_they_count_once_as_headers_and_once_as_trailers()
 {
    const CONNECTIONS: usize = 8;
    const CALLS: usize = 250;
    let attacked = Attacked::start(&[]);
    let [enters, refers] = packed();
    let mut peers = deaf(&attacked, CONNECTIONS).await;
    for peer in &mut peers {
        let head =
            |n, block: &[u8]| Frame::block(stream(n), block.to_vec()).with(flag::END_HEADERS);
        let calls = (1..CALLS).map(|n| head(n, &refers));
        let calls: Vec<_> = std::iter::once(head(0, &enters)).chain(calls).collect();
        send_by_and_by(peer, &calls).await;
    }
    let as_headers = attacked.settled_kib().await;
    for peer in &mut peers {
        // Without what only a head may have: `:method`, `:scheme`, `:path`.
        let trailers = |n| Frame::block(stream(n), refers[3..].to_vec());
        let trailers = (0..CALLS).map(|n| trailers(n).with(flag::END_HEADERS).end_stream());
        let trailers: Vec<_> = trailers.collect();
        // The handler would read them: it has the first answer to give, and then waits for what comes behind this.
        send_by_and_by(peer, &trailers).await;
    }
    let both = attacked.settled_kib().await;
    let calls = CONNECTIONS * CALLS;
    let figure = format_args!(
        "{calls} blocks of {} bytes that count 16 KiB, {} KiB each; {} with trailers",
        refers.len(),
        as_headers / calls,
        both / calls
    );
    let each = STATE_KIB + 2 * TIMES_HEADERS * HEADERS_KIB;
    attacked.held("packed metadata", figure, price(both, calls, each));
    assert!(as_headers / calls <= STATE_KIB + TIMES_HEADERS * HEADERS_KIB);
}

#[tokio::test]
async fn answers_that_nobody_takes_of_calls_that_have_ended_cost_what_a_call_may_send() {
    const CONNECTIONS: usize = 4;
    const CALLS: usize = 250;
    let attacked = Attacked::start(&[]);
    // Of each number 5 bytes and 2 or 3 of each of three fields: 14 KB of answers, for which no handler has to wait.
    let numbers = message(0, &ONE).repeat(1000);
    let mut peers = deaf(&attacked, CONNECTIONS).await;
    for n in 0..CALLS {
        for peer in &mut peers {
            peer.send_frame(call(stream(n), SUM)).await;
            peer.send(stream(n), &numbers).await;
            peer.send_frame(Frame::data(stream(n), Vec::new()).end_stream())
                .await;
        }
    }
    let held = attacked.settled_kib().await;
    let calls = CONNECTIONS * CALLS;
    let figure = format_args!("{calls} calls, {} KiB each", held / calls);
    let price = price(held, calls, STATE_KIB + SENDS_KIB);
    attacked.held("answers that nobody takes", figure, price);
}

#[tokio::test]
async fn messages_that_are_not_whole_cost_what_has_come() {
    const CONNECTIONS: usize = 4;
    const CALLS: usize = 250;
    let attacked = Attacked::start(&[]);
    let most = message(0, &vec![0; FREE_KIB * 1024 - 5]);
    let mut peers = deaf(&attacked, CONNECTIONS).await;
    for n in 0..CALLS {
        for peer in &mut peers {
            peer.send_frame(call(stream(n), SUM)).await;
            peer.send(stream(n), &most[..most.len() - 1]).await;
        }
    }
    let held = attacked.settled_kib().await;
    let calls = CONNECTIONS * CALLS;
    let figure = format_args!(
        "{calls} calls with all but a byte of 64 KiB, {} KiB each",
        held / calls
    );
    let price = price(held, calls, STATE_KIB + FREE_KIB);
    attacked.held("messages that are not whole", figure, price);
}

/// And over what there is room for, the next is refused.
#[tokio::test]
async fn large_messages_that_are_not_whole_cost_the_room_that_there_is_for_them() {
    const ROOM_KIB: usize = 256 * 1024;
    const MESSAGE_KIB: usize = 4 * 1024;
    const CALLS: usize = 72;
    let attacked = Attacked::start(&[]);
    let most = message(0, &vec![0; MESSAGE_KIB * 1024 - 5]);
    let mut peers = deaf(&attacked, 2).await;
    let mut refused = 0;
    for n in 0..CALLS / 2 {
        for peer in &mut peers {
            peer.send_frame(call(stream(n), UPLOAD)).await;
            let taken = peer.send(stream(n), &most[..most.len() - 1]).await;
            refused += usize::from(!taken);
        }
    }
    let held = attacked.settled_kib().await;
    let figure = format_args!(
        "{CALLS} calls with all but a byte of 4 MiB, {refused} refused, {} MiB held",
        held / 1024
    );
    let beside = CALLS * (STATE_KIB + FREE_KIB) + 2 * (WINDOW_KIB + CONNECTION_KIB);
    let price = price(held, 1, ROOM_KIB + beside);
    attacked.held("large messages that are not whole", figure, price);
    assert!((1..=CALLS / 4).contains(&refused), "{refused}");
}

/// A call whose handler reads no more, because nobody takes its answers.
async fn stuffed(peer: &mut Paced, stream: u32) {
    peer.send_frame(call(stream, SUM)).await;
    peer.send(stream, &message(0, &ONE).repeat(4000)).await;
}

#[tokio::test]
async fn a_window_that_nobody_reads_costs_what_it_holds() {
    const CONNECTIONS: usize = 20;
    const CALLS: usize = 4;
    let attacked = Attacked::start(&[]);
    let mut peers = deaf(&attacked, CONNECTIONS).await;
    for peer in &mut peers {
        for n in 0..CALLS {
            stuffed(peer, stream(n)).await;
            // A quarter of the window of the connection, less what stands in it already.
            let rest = message(0, &vec![0; (WINDOW_KIB / CALLS - 32) * 1024]);
            peer.send(stream(n), &rest).await;
        }
    }
    let held = attacked.settled_kib().await;
    let figure = format_args!("{CONNECTIONS} connections, {} KiB each", held / CONNECTIONS);
    let each = WINDOW_KIB + CONNECTION_KIB + CALLS * (STATE_KIB + SENDS_KIB);
    attacked.held(
        "windows that nobody reads",
        figure,
        price(held, CONNECTIONS, each),
    );
}

#[tokio::test]
async fn frames_of_a_byte_on_many_connections_cost_their_budget_each() {
    const CONNECTIONS: usize = 10;
    const CALLS: usize = 20;
    let attacked = Attacked::start(&[]);
    let mut peers = deaf(&attacked, CONNECTIONS).await;
    // Fewer than sixteen windows, at 256 bytes each.
    let count = (FRAMES_KIB * 4 - 1000) / CALLS;
    for peer in &mut peers {
        for n in 0..CALLS {
            stuffed(peer, stream(n)).await;
            let byte = Frame::data(stream(n), vec![0]);
            peer.peer.send_all(&vec![byte; count]).await.expect("open");
        }
    }
    let held = attacked.settled_kib().await;
    // One that goes on is sent away.
    let peer = peers.pop().expect("there are some");
    let flooded = flood(peer.peer, Pace::Burst, 1000, |_| {
        vec![Frame::data(1, vec![0]); 100]
    });
    flooded.await.calmed_down();
    let figure = format_args!(
        "{CONNECTIONS} connections with {} frames, {} KiB each",
        CALLS * count,
        held / CONNECTIONS
    );
    let each = FRAMES_KIB + WINDOW_KIB + CONNECTION_KIB + CALLS * (STATE_KIB + SENDS_KIB);
    attacked.held("frames of a byte", figure, price(held, CONNECTIONS, each));
}

#[tokio::test]
async fn calls_that_were_answered_early_cost_a_kilobyte_while_their_rest_is_passed_over() {
    const CONNECTIONS: usize = 20;
    let attacked = Attacked::start(&[]);
    let calls: Vec<_> = (0..CALLS_OVER).map(|n| call(stream(n), NOTHING)).collect();
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut peer = attacked.connect(&[]).await;
        peer.send_all(&calls).await.expect("open");
        let mut seen = Seen::default();
        let reset = seen.read_until(&mut peer.input, |seen| seen.resets == CALLS_OVER);
        assert_eq!(timeout(LONG, reset).await, Ok(true));
        peers.push(peer);
    }
    let held = attacked.settled_kib().await;
    let figure = format_args!(
        "{CONNECTIONS} connections with {CALLS_OVER} calls, {} KiB each",
        held / CONNECTIONS
    );
    let each = CONNECTION_KIB + CALLS_OVER * OVER_KIB;
    attacked.held(
        "calls answered early",
        figure,
        price(held, CONNECTIONS, each),
    );
}

/// What h2 answers by itself no call holds; but what it cannot write keeps it from reading more.
#[tokio::test]
async fn answers_of_431_that_nobody_takes_cost_nothing_and_end_the_connection() {
    let attacked = Attacked::start(&["--stall-timeout", "2s"]);
    let socket = attacked.narrow_socket().await;
    let mut peer = Peer::connect(socket, &[]).await.expect("an HTTP/2 server");
    // Eight references to 3 KB are more than a block may count, and eight bytes.
    let block = |entry: Vec<u8>| [crate::client::block(SUM, &[]), entry, vec![0xbe; 8]].concat();
    let frame = |n, block: Vec<u8>| Frame::block(stream(n), block).with(flag::END_HEADERS);
    let large = "a".repeat(3000);
    let mut sent = 1;
    peer.send(&frame(0, block(entered("x-large", &large))))
        .await
        .expect("open");
    while peer.send(&frame(sent, block(Vec::new()))).await.is_ok() {
        sent += 1;
        assert!(sent < 1_000_000, "it takes them all");
    }
    let mut seen = Seen::default();
    seen.read_until(&mut peer.input, |_| false).await;
    let figure = format_args!(
        "closed after fewer than {sent}, {} read",
        seen.answers.len()
    );
    attacked.held("431 that nobody takes", figure, Price::default());
}
