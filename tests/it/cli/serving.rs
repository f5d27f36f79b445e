//! `streamway serve` as a fixture: started, ready, ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ChildStderr;

use streamway::Channel;
use tempfile::TempDir;

use super::process::{Process, find, streamway};

/// A server on ports and in a folder of its own.
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) stderr: BufReader<ChildStderr>,
    /// Up to where the server was ready.
    pub(crate) banner: String,
    pub(crate) grpc: String,
}

impl Serving {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let mut all = vec!["serve", "--grpc-addr", "127.0.0.1:0"];
        for unless_told in [["--http-addr", "127.0.0.1:0"], ["--log", "off"]] {
            if !args.contains(&unless_told[0]) {
                all.extend(unless_told);
            }
        }
        all.extend(args);
        let mut process = Process::start(streamway(&all).current_dir(folder));
        let mut stderr = process.stderr();
        let mut banner = String::new();
        while !banner.contains("grpcurl") {
            let read = stderr.read_line(&mut banner).expect("UTF-8");
            assert_ne!(read, 0, "it ended: {banner}");
        }
        let grpc = after(&banner, "gRPC    ");
        let scheme = match banner.contains(", over ") {
            true => "https",
            false => "http",
        };
        Self {
            process,
            stderr,
            grpc: format!("{scheme}://{grpc}"),
            banner,
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::connect(&self.grpc).expect("an address")
    }

    /// Waits until the server says that it drains.
    pub(crate) fn draining(&mut self) {
        find(&mut self.stderr, |line| {
            line.contains("draining").then_some(())
        });
    }

    /// Ends it well.
    pub(crate) fn stop(self) {
        self.process.signal("TERM");
        assert_eq!(self.process.ended().code, Some(0));
    }
}

/// The word after `label`.
pub(crate) fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let rest = text.split(label).nth(1).expect(label);
    rest.split_whitespace().next().expect("a word")
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A sample order, by the rule of the service: an id from 0, and a second for each.
pub(crate) fn sample(id: u32) -> String {
    let (minute, second) = (id / 60, id % 60);
    format!(
        "{{\"order\":{{\"id\":{id},\"orderSn\":\"2024010100{minute:02}{second:02}order_sn\",\
         \"date\":\"2024-01-01 00:{minute:02}:{second:02}\"}}}}\n"
    )
}

/// The body of a response of the HTTP front, as chunks or in one.
pub(crate) fn get(banner: &str, path: &str) -> String {
    let url = after(banner, "HTTP    http://");
    let address = url.split('/').next().expect("a host and a port");
    let mut socket = TcpStream::connect(address).expect("listening");
    let request = format!("GET {path} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer
}
