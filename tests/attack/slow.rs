//! Clients that do not read: what they make the server keep, in its process and in the kernel.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::client::{EXPORT, NOTHING, Pace, Seen, UPLOAD, call, flood, stream};
use crate::raw::frame::{Frame, setting};
use crate::raw::message;
use crate::raw::peer::Peer;
use crate::server::{Attacked, Price};
use crate::support::run;

const CONNECTIONS: usize = 50;
const EXPORTS: usize = 20;

/// What all of them together may cost, in the process and in the kernel.
const MAX_RSS_KIB: u64 = 64 * 1024;
const MAX_KERNEL_KIB: u64 = 64 * 1024;

/// What the whole export beside them takes: readers that begin, pages of the full size.
const BESIDE_KIB: u64 = 16 * 1024;

/// How long the CPU time is watched once everything stands still, and how much may be taken then. The canary calls go on.
const WATCHED: Duration = Duration::from_secs(3);
const MAX_CPU_WATCHED: Duration = Duration::from_millis(600);

/// How much longer a whole export may take beside them: the pages are small then, and other tests run on the same cores.
const MAX_TIMES: u32 = 4;
const MAX_MORE: Duration = Duration::from_secs(1);

/// The largest window there is.
const WIDE: u32 = u32::MAX >> 1;

/// Opens all exports; the client's window for each stream is this large.
async fn open_exports(attacked: &Attacked, window: u32) -> Vec<Peer<TcpStream>> {
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = attacked.narrow_socket().await;
        let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
        let mut peer = Peer::connect(socket, &settings)
            .await
            .expect("an HTTP/2 server");
        let mut frames = vec![Frame::window_update(0, WIDE - 65_535)];
        for n in 0..EXPORTS {
            frames.push(call(stream(n), EXPORT));
            frames.push(Frame::data(stream(n), message(0, b"")).end_stream());
        }
        peer.send_all(&frames).await.expect("open");
        peers.push(peer);
    }
    peers
}

/// What the kernel keeps for the server's sockets to send, in KiB (proc(5), `/proc/net/tcp`).
pub(crate) fn unsent_kib(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let unsent = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?.rsplit_once(':')?.1;
        let queues = fields.nth(2)?;
        let ours = u16::from_str_radix(local, 16) == Ok(port);
        let unsent = u64::from_str_radix(queues.split_once(':')?.0, 16).ok()?;
        ours.then_some(unsent)
    });
    unsent.sum::<u64>() / 1024
}

/// The memory that the kernel has for all TCP sockets of the machine, in KiB (`/proc/net/sockstat`, in pages of 4 KiB).
fn kernel_kib() -> u64 {
    let stat = fs::read_to_string("/proc/net/sockstat").expect("Linux");
    let tcp = stat.lines().find(|line| line.starts_with("TCP:"));
    let words: Vec<_> = tcp.expect("a line").split_whitespace().skip(1).collect();
    let pairs = words.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let pages = pairs.collect::<HashMap<_, _>>()["mem"];
    4 * pages.parse::<u64>().expect("a number")
}

/// How long a whole export takes.
fn whole_export(attacked: &Attacked) -> Duration {
    let orders = attacked.data().join("orders.ndjson");
    let (addr, output) = (
        format!("http://{}", attacked.addr),
        orders.to_str().expect("UTF-8"),
    );
    let started = Instant::now();
    run(
        "STREAMWAY",
        &["orders", "--addr", &addr, "--output", output],
    )
    .success();
    started.elapsed()
}

async fn cost_little(attack: &str, window: u32) {
    let attacked = Attacked::start(&["--sample-orders", "200000"]);
    let alone = whole_export(&attacked);
    attacked.begin_again();
    let before = kernel_kib();
    let peers = open_exports(&attacked, window).await;
    // What can be sent has been.
    attacked.settled(|| unsent_kib(attacked.port())).await;
    let started = attacked.running.cpu();
    sleep(WATCHED).await;
    let cpu = attacked.running.cpu().saturating_sub(started);
    let growth = attacked.growth_kib();
    let (unsent, kernel) = (
        unsent_kib(attacked.port()),
        kernel_kib().saturating_sub(before),
    );
    let beside = whole_export(&attacked);
    let figure = format!(
        "{} exports, RSS +{} MiB, {} MiB unsent in the kernel, which took {} MiB, CPU {} ms in 3 s; a whole \
         export takes {} ms, {} ms before",
        CONNECTIONS * EXPORTS,
        growth / 1024,
        unsent / 1024,
        kernel / 1024,
        cpu.as_millis(),
        beside.as_millis(),
        alone.as_millis(),
    );
    let price = Price {
        growth_kib: MAX_RSS_KIB + BESIDE_KIB,
        cpu: Duration::from_secs(5),
    };
    attacked.held(attack, &figure, price);
    assert!(growth <= MAX_RSS_KIB, "{figure}");
    assert!(kernel <= MAX_KERNEL_KIB, "{figure}");
    assert!(cpu <= MAX_CPU_WATCHED, "{figure}");
    assert!(beside <= MAX_TIMES * alone + MAX_MORE, "{figure}");
    drop(peers);
}

#[tokio::test]
async fn a_thousand_exports_whose_clients_stop_reading_cost_little() {
    cost_little("1,000 exports that nobody reads", WIDE).await;
}

#[tokio::test]
async fn a_thousand_exports_without_a_window_cost_little() {
    cost_little("1,000 exports without a window", 0).await;
}

#[tokio::test]
async fn calls_whose_clients_stall_are_ended_and_the_connection_lives() {
    const LIMIT: Duration = Duration::from_secs(2);
    let attacked = Attacked::start(&["--stall-timeout", "2s"]);
    let mut peer = attacked.connect(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
    let started = Instant::now();
    for n in 0..EXPORTS {
        // Exports without a window, and uploads that never come.
        let frames = match n % 2 {
            0 => vec![
                call(stream(n), EXPORT),
                Frame::data(stream(n), message(0, b"")).end_stream(),
            ],
            _ => vec![call(stream(n), UPLOAD)],
        };
        peer.send_all(&frames).await.expect("open");
    }
    let mut seen = Seen::default();
    for n in 0..EXPORTS {
        let answer = seen.answer(&mut peer.input, stream(n)).await;
        assert_eq!(answer.code, Some(4), "{n}: {answer:?}");
    }
    let ended = started.elapsed();
    peer.send(&call(stream(EXPORTS), NOTHING).end_stream())
        .await
        .expect("open");
    let answer = seen.answer(&mut peer.input, stream(EXPORTS)).await;
    assert_eq!(answer.code, Some(12), "{answer:?}");
    let figure = format_args!(
        "{EXPORTS} ended with DEADLINE_EXCEEDED after {:.1} s, the limit is {} s",
        ended.as_secs_f64(),
        LIMIT.as_secs(),
    );
    attacked.held("calls that stall", figure, Price::default());
    assert!((LIMIT..3 * LIMIT).contains(&ended), "{ended:?}");
}

/// CVE-2019-9511: a window that opens byte by byte makes the server send frame by frame.
#[tokio::test]
async fn a_window_that_opens_byte_by_byte_ends_the_connection() {
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[(setting::INITIAL_WINDOW_SIZE, 0)]).await;
    let export = Frame::data(1, message(0, b"")).end_stream();
    peer.send_all(&[call(1, EXPORT), export])
        .await
        .expect("open");
    let flooded = flood(peer, Pace::Burst, 100_000, |_| {
        vec![Frame::window_update(1, 1)]
    })
    .await;
    flooded.calmed_down();
    let figure = format_args!("closed after fewer than {} bytes", flooded.turns);
    attacked.held("a window that opens byte by byte", figure, Price::default());
}
