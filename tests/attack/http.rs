//! The HTTP front under attack: HTTP/1.1 by hand, slow, too large, without end, unread. Its own canary must not notice.

use std::time::{Duration, Instant};

use streamway::gateway::MAX_CONNECTIONS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::client::LONG;
use crate::held::BESIDE_KIB;
use crate::server::{Attacked, Front, Price};
use crate::silence::trickle;
use crate::slow::unsent_kib;

/// How long a connection may live that does not finish the header of a request.
const GONE: Duration = Duration::from_secs(10);

/// A limit of the front is five seconds. So much sooner would be another limit.
const FIVE_SECONDS: Duration = Duration::from_millis(4900);

const EXPORT: &str = "GET /testOrderList HTTP/1.1\r\nhost: a\r\n\r\n";
const SUM: &str = "GET /testSumData HTTP/1.1\r\nhost: a\r\n\r\n";

/// What one of its connections may hold, in KiB: a call within the process and the window of its client, an answer and what hyper
/// has of it.
const CONNECTION_KIB: usize = 300;

/// What a server may take all of whose connections hold that.
const HELD: Price = Price {
    growth_kib: (MAX_CONNECTIONS * CONNECTION_KIB + BESIDE_KIB) as u64,
    cpu: Duration::from_secs(3),
};

/// What the kernel may hold for them: of each `UNSENT_BYTES`, and what is on its way.
const MAX_UNSENT_KIB: u64 = MAX_CONNECTIONS as u64 * 256;

/// How much CPU time may be taken in two seconds in which nothing moves. The canaries go on.
const MAX_CPU_WATCHED: Duration = Duration::from_millis(600);

fn start(more: &[&str]) -> (Attacked, Front) {
    let attacked = Attacked::start(&[&["--http-addr", "127.0.0.1:0"], more].concat());
    let front = attacked.front();
    (attacked, front)
}

async fn connect(front: &Front) -> TcpStream {
    let socket = TcpStream::connect(&front.addr).await;
    socket.expect("it listens")
}

/// Reads what comes until the connection ends.
async fn to_the_end(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset is an end too: what was sent in vain takes the place of the end.
    let read = timeout(LONG, socket.read_to_end(&mut heard)).await;
    assert!(
        read.is_ok(),
        "it lives: {}",
        String::from_utf8_lossy(&heard)
    );
    String::from_utf8_lossy(&heard).into_owned()
}

async fn is_gone(attack: &str, first: &str, rest: &[u8]) {
    let (attacked, front) = start(&[]);
    let (lived, heard) = trickle(connect(&front).await, first.as_bytes(), rest).await;
    let figure = format!("closed after {:.1} s{}", lived.as_secs_f64(), front.held());
    attacked.held(attack, figure, Price::default());
    assert!((FIVE_SECONDS..GONE).contains(&lived), "{lived:?}: {heard}");
}

#[tokio::test]
async fn a_client_of_the_front_that_says_nothing_is_gone() {
    is_gone("HTTP: nothing said", "", b"").await;
}

#[tokio::test]
async fn a_client_of_the_front_whose_header_comes_byte_by_byte_is_gone() {
    is_gone(
        "HTTP: a header byte by byte",
        "GET / HTTP/1.1\r\nx: ",
        &[b'a'; 20],
    )
    .await;
}

#[tokio::test]
async fn a_client_of_the_front_that_says_nothing_more_is_gone() {
    is_gone("HTTP: nothing after an answer", SUM, b"").await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let (attacked, front) = start(&[]);
    let head = "GET /testSumData HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
    let (lived, heard) = trickle(connect(&front).await, head.as_bytes(), &[b'a'; 20]).await;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    // And one without a length.
    let chunked = head.replace("content-length: 1000", "transfer-encoding: chunked");
    let (lived_too, heard) = trickle(connect(&front).await, chunked.as_bytes(), &[b'a'; 20]).await;
    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    let lived = lived.max(lived_too);
    let figure = format!("closed after {:.1} s{}", lived.as_secs_f64(), front.held());
    attacked.held("HTTP: a body that never comes", figure, Price::default());
    assert!(lived < GONE, "{lived:?}");
}

#[tokio::test]
async fn a_header_without_an_end_is_cut_before_128_kib() {
    let (attacked, front) = start(&[]);
    let lines = ["x-long: ".to_owned(), "x: a\r\n".to_owned()];
    let mut most = 0;
    for line in lines {
        let mut socket = connect(&front).await;
        let begin = "GET /testSumData HTTP/1.1\r\nhost: a\r\n";
        socket.write_all(begin.as_bytes()).await.expect("open");
        // The reader has its turn after each of these.
        let part = line.repeat(4096 / line.len());
        let mut taken = 0;
        while socket.write_all(part.as_bytes()).await.is_ok() {
            taken += part.len();
            assert!(taken < 1024 * 1024, "{line:?} has no end");
            sleep(Duration::from_millis(10)).await;
        }
        most = most.max(taken);
    }
    let figure = format!("fewer than {} KiB taken{}", most / 1024, front.held());
    attacked.held("HTTP: a header without an end", figure, Price::default());
    assert!(most < 128 * 1024, "{most}");
}

#[tokio::test]
async fn connections_that_are_held_are_gone_when_they_say_nothing_and_the_next_is_served() {
    let (attacked, front) = start(&[]);
    let mut held = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        held.push(connect(&front).await);
    }
    let started = Instant::now();
    // It waits for all that came before it, in two turns.
    let mut next = connect(&front).await;
    let request = SUM.replace("host: a", "host: a\r\nconnection: close");
    next.write_all(request.as_bytes()).await.expect("open");
    let answer = to_the_end(&mut next).await;
    let waited = started.elapsed();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let figure = format!(
        "{} connections that say nothing; the next is served after {:.1} s{}",
        held.len(),
        waited.as_secs_f64(),
        front.held()
    );
    attacked.held("HTTP: connections that are held", figure, Price::default());
    assert!(waited < 2 * GONE, "{waited:?}");
}

#[tokio::test]
async fn requests_that_are_pipelined_are_answered_one_after_the_other() {
    const REQUESTS: usize = 20_000;
    let (attacked, front) = start(&[]);
    let mut socket = connect(&front).await;
    let not_there = "GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut input, mut output) = socket.split();
    let write = async {
        let wire =
            not_there.repeat(REQUESTS - 1) + &SUM.replace("host", "connection: close\r\nhost");
        let _ = output.write_all(wire.as_bytes()).await;
    };
    let read = async {
        // Nobody reads at first: the front has to stop.
        sleep(Duration::from_secs(1)).await;
        let growth = attacked.growth_kib();
        let mut heard = String::new();
        let read = timeout(2 * LONG, input.read_to_string(&mut heard)).await;
        read.expect("in time").expect("to the end");
        (heard, growth)
    };
    let (_, (heard, growth)) = tokio::join!(write, read);
    let answers = heard.matches("HTTP/1.1 404 ").count();
    let figure = format!(
        "{answers} answers, +{growth} KiB while unread{}",
        front.held()
    );
    let price = Price {
        cpu: Duration::from_secs(5),
        ..Price::default()
    };
    attacked.held("HTTP: pipelined requests", figure, price);
    assert_eq!(answers, REQUESTS - 1);
    assert_eq!(heard.matches("HTTP/1.1 200 ").count(), 1);
}

#[tokio::test]
async fn exports_over_http_that_nobody_reads_cost_little() {
    // The canary has one.
    const READERS: usize = MAX_CONNECTIONS - 1;
    let (attacked, front) = start(&["--sample-orders", "200000"]);
    attacked.begin_again();
    let mut sockets = Vec::new();
    for _ in 0..READERS {
        let socket = TcpSocket::new_v4().expect("a socket");
        // The kernel makes it as small as it can.
        socket.set_recv_buffer_size(1).expect("a socket");
        let addr = front.addr.parse().expect("an address");
        let mut socket = socket.connect(addr).await.expect("it listens");
        socket.write_all(EXPORT.as_bytes()).await.expect("open");
        sockets.push(socket);
    }
    // What can be sent has been.
    let (unsent, growth) = attacked.settled(|| unsent_kib(front.port())).await;
    let before = attacked.running.cpu();
    sleep(Duration::from_secs(2)).await;
    let spent = attacked.running.cpu().saturating_sub(before);
    let figure = format!(
        "{READERS} exports, +{} MiB, {} MiB unsent in the kernel, CPU {} ms in 2 s{}",
        growth / 1024,
        unsent / 1024,
        spent.as_millis(),
        front.held()
    );
    attacked.held("HTTP: exports that nobody reads", &figure, HELD);
    assert!(unsent <= MAX_UNSENT_KIB, "{figure}");
    assert!(spent < MAX_CPU_WATCHED, "{figure}");
    drop(sockets);
}
