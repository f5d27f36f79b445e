//! Orders as records, one line of JSON each, whoever tells of them: grpcurl, our own clients, the store.
//!
//! In: where to ask. Out: lines that can be compared. Not here: the programs (`support`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::support::{LONGEST_LIFE, Running, program, run};

pub(crate) const ORDER_LIST: &str = "proto.StreamService/OrderList";

/// What grpcurl prints, one line for each message, without the white space and with every field.
pub(crate) fn grpcurl(args: &[&str]) -> Vec<String> {
    let mut all = vec!["-plaintext", "-emit-defaults", "-max-time", "120"];
    all.extend(args);
    compact(&run("GRPCURL", &all).success().join("\n"))
}

/// `streamway orders`, under way.
pub(crate) fn export(addr: &str, more: &[&str]) -> Running {
    let url = format!("http://{addr}");
    let args = ["orders", "--addr", &url, "--timeout", "150s"];
    Running::start(program("STREAMWAY", &[&args[..], more].concat()))
}

/// The same to its end.
pub(crate) fn exported(addr: &str, more: &[&str]) -> Vec<String> {
    export(addr, more).finish().success()
}

/// The orders in the data folder, read past the server.
pub(crate) fn stored(data: &Path) -> Vec<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = Connection::open_with_flags(data.join("orders.db"), flags).expect("a store");
    let mut select = store
        .prepare("SELECT id, order_sn, date FROM orders ORDER BY id")
        .expect("its table");
    let rows = select.query_map([], |row| {
        let (id, sn, date): (i32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!(
            r#"{{"order":{{"id":{id},"orderSn":"{sn}","date":"{date}"}}}}"#
        ))
    });
    rows.and_then(Iterator::collect).expect("orders")
}

/// The lines that a GET is answered with: HTTP/1.1 by hand, in chunks or at once, whole in either case.
pub(crate) fn get(host: &str, path: &str) -> Vec<String> {
    let mut socket = TcpStream::connect(host).expect("it listens");
    let life = Some(LONGEST_LIFE);
    socket.set_read_timeout(life).expect("a socket");
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = BufReader::new(socket);
    let mut line = || {
        let mut line = String::new();
        answer.read_line(&mut line).expect("text");
        line.trim_end().to_ascii_lowercase()
    };
    assert_eq!(line(), "http/1.1 200 ok");
    let head: Vec<_> =
        std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
    let chunked = head.contains(&"transfer-encoding: chunked".to_owned());
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = Vec::new();
    let mut part = |answer: &mut BufReader<TcpStream>, bytes: u64| {
        let read = answer.take(bytes).read_to_end(&mut body).expect("a body");
        assert_eq!(read as u64, bytes, "the body is cut");
    };
    if chunked {
        loop {
            let mut size = String::new();
            answer.read_line(&mut size).expect("the size of a chunk");
            let size = u64::from_str_radix(size.trim_end(), 16).expect("the body is cut");
            part(&mut answer, size);
            answer
                .read_line(&mut String::new())
                .expect("the end of a chunk");
            if size == 0 {
                break;
            }
        }
    } else {
        part(
            &mut answer,
            length
                .and_then(|length| length.parse().ok())
                .expect("a length"),
        );
    }
    let text = String::from_utf8(body).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// That these are the same lines; what differs first, and not megabytes, when they are not.
#[track_caller]
pub(crate) fn assert_same(left: &[String], right: &[String]) {
    let first = left.iter().zip(right).find(|(left, right)| left != right);
    assert_eq!(first, None, "the first difference");
    assert_eq!(left.len(), right.len());
}

/// The JSON values of a text, one a line.
pub(crate) fn compact(json: &str) -> Vec<String> {
    let (mut values, mut value) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for char in json.chars() {
        if quoted || !char.is_whitespace() {
            value.push(char);
        }
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 && !value.is_empty() {
            values.push(std::mem::take(&mut value));
        }
    }
    values
}

#[test]
fn json_values_are_told_apart() {
    let text = "{\n  \"a\": \"x } \\\" y\"\n}\n{ \"b\": {} }\n";
    assert_eq!(compact(text), ["{\"a\":\"x } \\\" y\"}", "{\"b\":{}}"]);
}
