//! The HTTP front, seen by a raw HTTP client.

use std::time::Duration;

use futures_util::FutureExt;
use streamway::gateway::{Front, MAX_CONNECTIONS};
use streamway::proto::UploadResponse;
use streamway::server::Drained;
use streamway::transport::ClientTls;
use streamway::{Code, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backend::{Backend, End, Script, Seen, line};

/// Long enough for any call to be noticed, on the slowest machine.
const SOON: Duration = Duration::from_secs(30);

/// A front in this runtime, before a backend of its own.
struct Fronted {
    backend: Backend,
    address: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Drained>,
}

impl Fronted {
    async fn start(script: Script) -> Self {
        Self::with_drain_timeout(script, SOON).await
    }

    async fn with_drain_timeout(script: Script, limit: Duration) -> Self {
        let backend = Backend::start(script);
        let front = Front::new(&backend.address, ClientTls::new()).expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let (stop, stopped) = oneshot::channel();
        let served = front.drain_timeout(limit).serve(listener, async {
            let _ = stopped.await;
        });
        Self {
            backend,
            address,
            stop: Some(stop),
            served: tokio::spawn(served),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.expect("listening")
    }

    /// Sends a request, and reads until the front closes the connection.
    async fn ask(&self, request: &str) -> Answer {
        let mut socket = self.connect().await;
        let request = format!("{request}\r\nhost: front\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("taken");
        Answer::read(&mut socket).await
    }

    /// Begins the drain.
    fn stop(&mut self) {
        self.stop = None;
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1")).await
    }
}

impl Drop for Fronted {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// A response, and its body without the marks of chunks.
struct Answer {
    head: String,
    body: String,
    /// Whether the body came to its end.
    complete: bool,
}

impl Answer {
    async fn read(socket: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.expect("closed well");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, mut rest) = text.split_once("\r\n\r\n").expect("a whole head");
        let head = head.to_lowercase();
        if !head.contains("transfer-encoding: chunked") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|text| text.lines().next()?.parse().ok());
            return Self {
                complete: length == Some(rest.len()),
                body: rest.to_owned(),
                head,
            };
        }
        let mut body = String::new();
        let complete = loop {
            let Some((size, chunk)) = rest.split_once("\r\n") else {
                break false;
            };
            let size = usize::from_str_radix(size, 16).expect("a size");
            if size == 0 {
                break true;
            }
            body.push_str(&chunk[..size]);
            rest = &chunk[size + 2..];
        };
        Self {
            head,
            body,
            complete,
        }
    }

    fn status(&self) -> u16 {
        self.head[9..12].parse().expect("a status")
    }
}

fn lines(ids: std::ops::Range<i32>) -> String {
    ids.map(line).collect()
}

#[tokio::test]
async fn orders_are_the_lines_that_the_command_line_prints() {
    let front = Fronted::start(Script {
        orders: 20_000,
        ..Script::default()
    })
    .await;
    let answer = front.get("/testOrderList").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.head.contains("content-type: application/x-ndjson"));
    assert!(answer.complete);
    assert!(answer.body == lines(0..20_000));
}

#[tokio::test]
async fn orders_can_be_searched_for() {
    let front = Fronted::start(Script {
        orders: 9,
        ..Script::default()
    })
    .await;
    let answer = front.get("/testOrderList?afterId=3&limit=2").await;
    assert_eq!(answer.body, lines(4..6));
    let nothing = front.get("/testOrderList?afterId=8").await;
    assert_eq!((nothing.status(), nothing.body.as_str()), (200, ""));
    assert!(nothing.complete);
    let wrong = front.get("/testOrderList?afterId=three").await;
    assert_eq!(wrong.status(), 400);
    assert_eq!(
        wrong.body,
        "{\"err\":\"afterId=\\\"three\\\": invalid digit found in string\"}\n"
    );
}

#[tokio::test]
async fn images_are_uploaded_and_the_receipt_is_passed_on() {
    let front = Fronted::start(Script::default()).await;
    let answer = front.get("/testUploadImage").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.head.contains("content-type: application/json"));
    let value: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(value["message"], "success");
    assert_eq!(value["result"]["fileCount"], 10);
    assert_eq!(value["result"]["byteCount"], 90);
    let files = value["result"]["files"].as_array().expect("files");
    let names: Vec<_> = files.iter().map(|file| &file["name"]).collect();
    let expected: Vec<_> = (1..=10).map(|n| format!("image{n}")).collect();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    assert_eq!(files[9]["size"], 9);
    assert_eq!(files[9]["url"], "test:///image10");
}

#[tokio::test]
async fn a_server_that_says_nothing_of_the_files_is_not_put_words_in_its_mouth() {
    let front = Fronted::start(Script {
        receipt: |_| UploadResponse::default(),
        ..Script::default()
    })
    .await;
    let answer = front.get("/testUploadImage").await;
    assert_eq!(answer.body, "{\"message\":\"success\",\"result\":{}}\n");
}

#[tokio::test]
async fn numbers_are_summed_in_lock_step() {
    let front = Fronted::start(Script::default()).await;
    let answer = front.get("/testSumData").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body, "{\"numbers\":[0,1,2,3,4,5,6,7,8,9]}\n");
}

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() {
    let front = Fronted::start(Script::default()).await;
    let mut socket = front.connect().await;
    let request = "GET /testSumData HTTP/1.1\r\nhost: front\r\n\r\n";
    for _ in 0..3 {
        socket.write_all(request.as_bytes()).await.expect("taken");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            assert_ne!(socket.read_buf(&mut answer).await.expect("open"), 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn a_head_is_asked_for_without_its_body() {
    let front = Fronted::start(Script::default()).await;
    for path in ["/testOrderList", "/testSumData"] {
        let answer = front.ask(&format!("HEAD {path} HTTP/1.1")).await;
        assert_eq!((answer.status(), answer.body.as_str()), (200, ""));
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_possible_is_told_in_json() {
    let front = Fronted::start(Script::default()).await;
    for (request, status, says) in [
        (
            "GET / HTTP/1.1",
            404,
            "there is no /; there are /testOrderList,",
        ),
        (
            "GET /testSumData/ HTTP/1.1",
            404,
            "there is no /testSumData/",
        ),
        (
            "POST /testSumData HTTP/1.1\r\ncontent-length: 0",
            405,
            "POST is not possible",
        ),
        (
            "GET /testSumData HTTP/1.1\r\ncontent-length: 1025",
            413,
            "1024 bytes",
        ),
        (
            "GET /testSumData HTTP/1.1\r\ntransfer-encoding: chunked",
            413,
            "1024 bytes",
        ),
        ("GET /testOrderList HTTP/1.0", 505, "needs HTTP/1.1"),
    ] {
        let answer = front.ask(request).await;
        assert_eq!(answer.status(), status, "{request}");
        assert!(answer.head.contains("content-type: application/json"));
        let value: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let err = value["err"].as_str().expect("a text");
        assert!(err.contains(says), "{request}: {err}");
        assert_eq!(status == 405, answer.head.contains("allow: get, head"));
    }
    assert!(front.backend.seen.try_recv().is_err());
}

#[tokio::test]
async fn an_export_that_fails_at_once_has_the_http_status_of_its_code() {
    for (code, status) in [
        (Code::InvalidArgument, 400),
        (Code::NotFound, 404),
        (Code::ResourceExhausted, 429),
        (Code::Unavailable, 503),
        (Code::Unimplemented, 501),
    ] {
        let front = Fronted::start(Script {
            orders: 0,
            end: End::Fail(Status::new(code, "no")),
            ..Script::default()
        })
        .await;
        let answer = front.get("/testOrderList").await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.body, format!("{{\"err\":\"{code}: no\"}}\n"));
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_unavailable() {
    let front = Front::new("http://127.0.0.1:1", ClientTls::new()).expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let mut socket = TcpStream::connect(listener.local_addr().expect("bound"))
        .await
        .expect("listening");
    tokio::spawn(front.serve(listener, std::future::pending()));
    for path in ["/testOrderList", "/testUploadImage", "/testSumData"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: front\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("taken");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            assert_ne!(socket.read_buf(&mut answer).await.expect("open"), 0);
        }
        let answer = String::from_utf8(answer).expect("UTF-8");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("{\"err\":\"UNAVAILABLE: "), "{answer}");
    }
}

#[tokio::test]
async fn an_export_that_fails_later_breaks_its_body_off() {
    let front = Fronted::start(Script {
        orders: 20_000,
        end: End::Fail(Status::data_loss("a bad page")),
        ..Script::default()
    })
    .await;
    let answer = front.get("/testOrderList").await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.complete);
    assert!(lines(0..20_000).starts_with(&answer.body));
}

#[tokio::test]
async fn an_order_is_passed_on_when_it_arrives() {
    let front = Fronted::start(Script {
        end: End::Hang,
        ..Script::default()
    })
    .await;
    let mut socket = front.connect().await;
    let request = b"GET /testOrderList HTTP/1.1\r\nhost: front\r\n\r\n";
    socket.write_all(request).await.expect("taken");
    let mut answer = Vec::new();
    let wanted = line(2);
    while !answer
        .windows(wanted.len())
        .any(|part| part == wanted.as_bytes())
    {
        assert_ne!(socket.read_buf(&mut answer).await.expect("open"), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call() {
    for orders in [0, 3, i32::MAX] {
        let front = Fronted::start(Script {
            orders,
            end: End::Hang,
            ..Script::default()
        })
        .await;
        let mut socket = front.connect().await;
        let request = b"GET /testOrderList HTTP/1.1\r\nhost: front\r\n\r\n";
        socket.write_all(request).await.expect("taken");
        if orders > 0 {
            // The body has begun.
            assert_ne!(socket.read(&mut [0; 100]).await.expect("open"), 0);
        }
        assert_eq!(seen(&front).await, Seen::Export);
        drop(socket);
        assert_eq!(seen(&front).await, Seen::ExportDropped);
    }
}

/// What the backend has seen; the front goes on meanwhile.
async fn seen(front: &Fronted) -> Seen {
    let deadline = Instant::now() + SOON;
    loop {
        if let Ok(seen) = front.backend.seen.try_recv() {
            return seen;
        }
        assert!(Instant::now() < deadline, "the backend sees nothing");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn readers_who_do_not_read_stop_nobody_else() {
    /// More than their share of a channel's usual window is good for.
    const READERS: usize = 24;
    let front = Fronted::start(Script {
        orders: i32::MAX,
        ..Script::default()
    })
    .await;
    let address = front.address.parse().expect("an address");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Little room between, so that it is soon full.
        socket.set_recv_buffer_size(4096).expect("a size");
        let mut socket = socket.connect(address).await.expect("listening");
        let request = b"GET /testOrderList HTTP/1.1\r\nhost: front\r\n\r\n";
        socket.write_all(request).await.expect("taken");
        assert_ne!(socket.read(&mut [0; 100]).await.expect("open"), 0);
        readers.push(socket);
    }
    for _ in 0..5 {
        let answer = front.get("/testOrderList?limit=5000").await;
        assert!(answer.complete);
        assert!(answer.body == lines(0..5000));
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_until_another_one_ends() {
    let front = Fronted::start(Script::default()).await;
    let mut taken = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut socket = front.connect().await;
        let request = b"GET /none HTTP/1.1\r\nhost: front\r\n\r\n";
        socket.write_all(request).await.expect("taken");
        assert_ne!(socket.read(&mut [0; 1000]).await.expect("open"), 0);
        taken.push(socket);
    }
    let mut waiting = Box::pin(front.get("/testSumData"));
    // Time for the front to answer, if it would.
    for _ in 0..1000 {
        assert!(waiting.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    taken.pop();
    assert_eq!(waiting.await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_header_too_slowly_is_cut() {
    for begun in ["", "GET /testSumData HTTP/1.1\r\nhost: fr"] {
        let front = Front::new("http://127.0.0.1:1", ClientTls::new()).expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(front.serve(listener, std::future::pending()));
        let start = Instant::now();
        let mut socket = TcpStream::connect(address).await.expect("listening");
        socket.write_all(begun.as_bytes()).await.expect("taken");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.expect("closed well");
        assert!(!answer.starts_with(b"HTTP/1.1 2"));
        assert!(start.elapsed() >= Duration::from_secs(5));
    }
}

/// A gRPC client with the address of the front, or curl with `--http2-prior-knowledge`.
#[tokio::test]
async fn a_client_that_speaks_http_2_is_told_what_the_port_speaks() {
    let front = Fronted::start(Script::default()).await;
    let mut socket = front.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    socket.write_all(preface).await.expect("taken");
    let mut answer = String::new();
    let read = tokio::time::timeout(SOON, socket.read_to_string(&mut answer)).await;
    read.expect("in time").expect("no reset");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an empty line");
    assert!(head.starts_with("HTTP/1.1 505 "), "{head}");
    let length = format!("\r\ncontent-length: {}", body.len());
    assert!(head.contains(&length), "{head}");
    assert!(body.contains("HTTP/1.1"), "{body}");
}

#[tokio::test]
async fn a_drain_lets_the_request_in_flight_end_and_takes_no_more() {
    let mut front = Fronted::start(Script {
        orders: 200_000,
        ..Script::default()
    })
    .await;
    let mut idle = front.connect().await;
    let request = b"GET /none HTTP/1.1\r\nhost: front\r\n\r\n";
    idle.write_all(request).await.expect("taken");
    assert_ne!(idle.read(&mut [0; 1000]).await.expect("open"), 0);
    let mut socket = front.connect().await;
    let request = b"GET /testOrderList HTTP/1.1\r\nhost: front\r\n\r\n";
    socket.write_all(request).await.expect("taken");
    assert_eq!(seen(&front).await, Seen::Export);
    front.stop();
    // Without waiting for the other one.
    assert_eq!(idle.read(&mut [0; 1]).await.expect("closed well"), 0);
    let answer = Answer::read(&mut socket).await;
    assert!(answer.complete);
    assert!(answer.body == lines(0..200_000));
    assert_eq!((&mut front.served).await.expect("served"), Drained::Clean);
    assert!(TcpStream::connect(&front.address).await.is_err());
}

#[tokio::test]
async fn at_the_drain_limit_what_is_left_is_cut() {
    let mut front = Fronted::with_drain_timeout(
        Script {
            end: End::Hang,
            ..Script::default()
        },
        Duration::ZERO,
    )
    .await;
    let mut socket = front.connect().await;
    let request = b"GET /testOrderList HTTP/1.1\r\nhost: front\r\n\r\n";
    socket.write_all(request).await.expect("taken");
    let mut answer = Vec::new();
    assert_ne!(socket.read_buf(&mut answer).await.expect("open"), 0);
    front.stop();
    assert_eq!((&mut front.served).await.expect("served"), Drained::Cut);
    socket.read_to_end(&mut answer).await.expect("closed well");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with(b"0\r\n\r\n"));
}
