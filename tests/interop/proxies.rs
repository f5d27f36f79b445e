//! nginx in between: what works on a straight connection works through `grpc_pass` too, in cleartext and over TLS.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use streamway::Channel;
use streamway::health::proto::HealthCheckRequest;
use streamway::health::proto::health::HealthClient;
use tokio::task::JoinSet;

use super::nginx::{Nginx, Wire};
use super::records::{ORDER_LIST, assert_same, compact, export, stored};
use super::servers::Serve;
use super::support::{Running, program, run};

/// `streamway serve`, and nginx before it.
struct Proxied<'a> {
    serve: Serve,
    nginx: Nginx,
    wire: &'a Wire,
}

impl<'a> Proxied<'a> {
    fn start(data: &Path, wire: &'a Wire, more: &[&str]) -> Self {
        let tls = wire.serve();
        let flags = tls.iter().map(String::as_str).chain(more.iter().copied());
        let serve = Serve::start(data, &flags.collect::<Vec<_>>());
        let nginx = Nginx::before(&serve.addr, wire);
        Self { serve, nginx, wire }
    }

    /// A command of ours, under way.
    fn streamway(&self, args: &[&str]) -> Running {
        let mut command = program("STREAMWAY", args);
        command.args(self.wire.streamway(&self.nginx.addr));
        Running::start(command)
    }

    /// What grpcurl prints, one line for each message.
    fn grpcurl(&self, data: &str, method: &str) -> Vec<String> {
        let flags = ["-emit-defaults", "-max-time", "120", "-d", data];
        let mut command = program("GRPCURL", &flags);
        command
            .args(self.wire.grpcurl())
            .args([&self.nginx.addr, method]);
        let printed = Running::start(command).finish().success();
        compact(&printed.join("\n"))
    }
}

#[test]
fn the_interop_cases_pass_through_nginx() {
    for wire in Wire::all() {
        let mut server = program("INTEROP_SERVER", &["--port=0"]);
        server.args(wire.interop_server());
        let server = Running::start(server);
        let line = server.line();
        let upstream = line.strip_prefix("listening on ").expect("its first line");
        let nginx = Nginx::before(upstream, &wire);
        let over = match wire {
            Wire::Cleartext => "",
            Wire::Tls(_) => ", TLS",
        };
        let pass = |name: &str, client: (&str, &[&str]), array: &str, expected: usize| {
            let passed = names(array).filter(|case| passes(client, case, &nginx, &wire));
            let passed = passed.count();
            println!("{name}, our server behind nginx{over}: {passed} of {expected}");
            assert_eq!((names(array).count(), passed), (expected, expected));
        };
        pass("grpc-go's client", ("GRPC_GO_CLIENT", &[]), "CASES", 17);
        pass("our client", ("INTEROP_CLIENT", &[]), "CASES", 17);
        let ours = "our client, compression";
        pass(ours, ("INTEROP_CLIENT", &[]), "COMPRESSION", 4);
        if let Wire::Cleartext = wire {
            let go = "grpc-go's library, compression";
            pass(go, ("INTEROP", &["compression"]), "COMPRESSION", 4);
        }
    }
}

/// Whether one of the cases passes; says why not.
fn passes(client: (&str, &[&str]), case: &str, nginx: &Nginx, wire: &Wire) -> bool {
    let (host, port) = nginx.addr.split_once(':').expect("a port");
    let mut command = program(client.0, client.1);
    command.args(wire.interop_client()).args([
        format!("--server_host={host}"),
        format!("--server_port={port}"),
        format!("--test_case={case}"),
    ]);
    let finished = Running::start(command).finish();
    let passes = finished.status.success();
    if !passes {
        println!("{case}: {finished:#?}");
    }
    passes
}

/// The names of cases in an array of `cases.sh`.
fn names(array: &str) -> impl Iterator<Item = &'static str> {
    let from = include_str!("cases.sh").split_once(&format!("readonly {array}=("));
    let names = from.and_then(|(_, from)| from.split_once(')'));
    names.expect("an array").0.split_whitespace()
}

#[test]
fn a_whole_export_passes_through_nginx() {
    for wire in Wire::all() {
        let data = tempfile::tempdir().expect("a folder");
        let proxied = Proxied::start(data.path(), &wire, &[]);
        let orders = stored(data.path());
        assert_eq!(orders.len(), 200_000);
        let ours = proxied.streamway(&["orders", "--timeout", "150s"]);
        assert_same(&ours.finish().success(), &orders);
        assert_same(&proxied.grpcurl("{}", ORDER_LIST), &orders);
    }
}

#[test]
fn an_export_that_is_not_read_waits_behind_nginx_and_comes_whole() {
    let data = tempfile::tempdir().expect("a folder");
    let proxied = Proxied::start(data.path(), &Wire::Cleartext, &[]);
    let slow = export(&proxied.nginx.addr, &[]);
    let mut orders = vec![slow.line()];
    // A pause as long as another export takes.
    export(&proxied.nginx.addr, &[]).finish().success();
    orders.extend(slow.finish().success());
    assert_same(&orders, &stored(data.path()));
}

#[test]
fn uploads_pass_through_nginx() {
    for wire in Wire::all() {
        let data = tempfile::tempdir().expect("a folder");
        let proxied = Proxied::start(data.path(), &wire, &["--sample-orders", "3"]);
        let file = data.path().join("large.bin");
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(&file, bytes).expect("writable");
        // The command compares the sums of what it sent and what is stored.
        let upload = proxied.streamway(&["upload", file.to_str().expect("UTF-8")]);
        let stored = upload.finish().success().concat();
        assert!(stored.contains(r#""size":20000000,"#), "{stored}");

        let images = r#"{"image":{"fileName":"a.txt","file":"file "}}
            {"image":{"fileName":"a.txt","file":"data"}} {"image":{"fileName":"b.txt"}}"#;
        let receipt = proxied.grpcurl(images, "proto.StreamService/UploadFile");
        let begin = r#"{"fileCount":"2","byteCount":"9","files":[{"name":"a.txt","size":"9","#;
        assert!(receipt.concat().starts_with(begin), "{receipt:?}");
    }
}

#[test]
fn numbers_pass_through_nginx_in_lock_step() {
    for wire in Wire::all() {
        let data = tempfile::tempdir().expect("a folder");
        let proxied = Proxied::start(data.path(), &wire, &["--sample-orders", "3"]);
        let sums = proxied.streamway(&["sum", "5", "7"]).finish().success();
        let expected = [
            r#"{"number":0,"sum":0,"total":0}"#,
            r#"{"number":1,"sum":5,"total":5}"#,
            r#"{"number":2,"sum":8,"total":12}"#,
        ];
        assert_eq!(sums, expected);
        let numbers = r#"{"number":5}{"number":7}"#;
        let sums = proxied.grpcurl(numbers, "proto.StreamService/SumData");
        assert_eq!(sums.len(), 3);
        assert_eq!(sums[2], r#"{"number":2,"sum":"8","total":"12"}"#);
    }
}

#[test]
fn long_streams_of_small_messages_pass_through_nginx() {
    let data = tempfile::tempdir().expect("a folder");
    let proxied = Proxied::start(data.path(), &Wire::Cleartext, &["--sample-orders", "3"]);
    for (args, expected) in [
        (&["sum", "-count", "200000"][..], "ok 200001"),
        (&["sum", "-count", "20000", "-window", "1"], "ok 20001"),
        (&["upload", "-count", "200000", "-files", "10"], "ok"),
        (&["deadline", "-timeout", "60s"], "ok"),
    ] {
        let args = [args, &["-addr", &proxied.nginx.addr]].concat();
        assert_eq!(run("INTEROP", &args).success(), [expected], "{args:?}");
    }
}

#[test]
fn a_cancel_passes_through_nginx() {
    let data = tempfile::tempdir().expect("a folder");
    let proxied = Proxied::start(data.path(), &Wire::Cleartext, &[]);
    let cancel = ["cancel", "-addr", &proxied.nginx.addr];
    assert_eq!(run("INTEROP", &cancel).success(), ["ok"]);
    let ended = proxied.serve.running.said("/proto.StreamService/OrderList");
    assert!(ended.contains("CANCELLED"), "{ended}");
}

#[test]
fn a_failure_passes_through_nginx_with_its_status_and_text() {
    for wire in Wire::all() {
        let data = tempfile::tempdir().expect("a folder");
        let limits = [
            "--max-recv-message-bytes=16",
            "--max-send-message-bytes=16",
            "--sample-orders=3",
        ];
        let proxied = Proxied::start(data.path(), &wire, &limits);
        // Ended by the server while the client has more to send.
        let file = data.path().join("large.bin");
        fs::write(&file, vec![7; 5_000_000]).expect("writable");
        let upload = proxied.streamway(&["upload", file.to_str().expect("UTF-8")]);
        let (_, said) = upload.finish().exit_code(64 + 8);
        let text = "error: RESOURCE_EXHAUSTED: received message larger than max (";
        assert!(said.starts_with(text), "{said}");
        // Ended with headers only.
        let (_, said) = proxied.streamway(&["orders"]).finish().exit_code(64 + 8);
        let text = "error: RESOURCE_EXHAUSTED: trying to send message larger than max (47 vs. 16)";
        assert_eq!(said, text);

        // Nobody is behind nginx.
        let Proxied { serve, nginx, wire } = proxied;
        drop(serve);
        let mut health = program("STREAMWAY", &["health"]);
        health.args(wire.streamway(&nginx.addr));
        let (_, said) = Running::start(health).finish().exit_code(64 + 14);
        assert!(said.contains("502"), "{said}");
    }
}

#[test]
fn an_export_in_flight_through_nginx_ends_whole_when_the_server_drains() {
    let data = tempfile::tempdir().expect("a folder");
    let drain = ["--drain-timeout", "150s"];
    let proxied = Proxied::start(data.path(), &Wire::Cleartext, &drain);
    let slow = export(&proxied.nginx.addr, &[]);
    let first = slow.line();
    proxied.serve.running.signal("TERM");
    proxied.serve.running.said("SIGTERM: draining");
    let rest = slow.finish().success();
    assert_same(&[vec![first], rest].concat(), &stored(data.path()));
    proxied.serve.running.finish().success();
}

/// Calls at once, on one channel. Each next one waits for its answer.
const WORKERS: usize = 16;

/// Together many times what nginx takes on one connection.
const CALLS: usize = 250;

#[tokio::test]
async fn a_long_run_of_calls_survives_each_goaway_of_nginx() {
    let data = tempfile::tempdir().expect("a folder");
    let proxied = Proxied::start(data.path(), &Wire::Cleartext, &["--sample-orders", "3"]);
    let url = format!("http://{}", proxied.nginx.addr);
    let client = HealthClient::new(Channel::connect(&url).expect("an address"));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let client = client.clone();
        workers.spawn(async move {
            let mut connections = HashSet::new();
            for _ in 0..CALLS {
                let call = client.check(HealthCheckRequest::default()).response().await;
                let answer = call.expect("answered, over one connection or the next");
                let connection = answer.headers.get("x-connection").expect("nginx adds it");
                connections.insert(connection.to_owned());
            }
            connections
        });
    }
    let connections: HashSet<_> = workers.join_all().await.into_iter().flatten().collect();
    println!(
        "one channel, our server behind nginx: {} calls on {} connections",
        WORKERS * CALLS,
        connections.len()
    );
    assert!(connections.len() >= WORKERS * CALLS / 50, "{connections:?}");
}
