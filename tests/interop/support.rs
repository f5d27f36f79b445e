//! Programs as children: their lines as they come, their end, and that they end with the test at the latest.
#![expect(clippy::panic, reason = "these are tests, only not marked one by one")]

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Longest life of a program: far more than any needs, far less than a run of all tests may take.
const LONGEST_LIFE: Duration = Duration::from_secs(180);

/// A running program. Dropped, it is killed.
pub(crate) struct Running {
    name: String,
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    until: Instant,
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) name: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

/// The command of a program that tests/check.sh has built or installed, and named in `variable`.
pub(crate) fn program(variable: &str, args: &[&str]) -> Command {
    let path =
        env::var_os(variable).expect("tests/check.sh interop sets STREAMWAY, GRPCURL and INTEROP");
    let mut command = Command::new(path);
    command.args(args);
    command
}

/// Runs a program to its end.
pub(crate) fn run(variable: &str, args: &[&str]) -> Finished {
    Running::start(program(variable, args)).finish()
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect(&name);
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Self {
            name,
            child,
            stdout,
            stderr,
            until: Instant::now() + LONGEST_LIFE,
        }
    }

    /// The next line on stdout.
    pub(crate) fn line(&self) -> String {
        match self.next(&self.stdout) {
            Some(line) => line,
            None => panic!(
                "{} ended without the line: {:?}",
                self.name,
                self.stderr.try_iter().collect::<Vec<_>>()
            ),
        }
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        // Both pipes first: who has closed them is at its end.
        let stdout = std::iter::from_fn(|| self.next(&self.stdout)).collect();
        let stderr: Vec<_> = std::iter::from_fn(|| self.next(&self.stderr)).collect();
        let status = self.child.wait().expect("a child");
        Finished {
            name: self.name.clone(),
            status,
            stdout,
            stderr: stderr.join("\n"),
        }
    }

    /// The next line of a stream, `None` at its end.
    fn next(&self, lines: &Receiver<String>) -> Option<String> {
        match lines.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("{} takes longer than {LONGEST_LIFE:?}", self.name)
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The lines on stdout of a program that has to succeed.
    pub(crate) fn success(self) -> Vec<String> {
        assert!(
            self.status.success(),
            "{}: {}\n{}",
            self.name,
            self.status,
            self.stderr
        );
        self.stdout
    }
}

/// Reads a pipe to its end, so that the program never waits for us.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines();
        for line in lines {
            if tx.send(line.expect("text")).is_err() {
                break;
            }
        }
    });
    rx
}

/// grpc-go's server of the service.
pub(crate) struct GrpcGo {
    pub(crate) addr: String,
    _running: Running,
}

impl GrpcGo {
    pub(crate) fn serve(orders: u32) -> Self {
        let running = Running::start(program(
            "INTEROP",
            &["server", "-orders", &orders.to_string()],
        ));
        let line = running.line();
        let addr = line
            .strip_prefix("listening ")
            .expect("its first line")
            .to_owned();
        Self {
            addr,
            _running: running,
        }
    }
}

/// What grpcurl prints, one line for each message, without the white space and with every field.
pub(crate) fn grpcurl(args: &[&str]) -> Vec<String> {
    let mut all = vec!["-plaintext", "-emit-defaults", "-max-time", "120"];
    all.extend(args);
    compact(&run("GRPCURL", &all).success().join("\n"))
}

/// The JSON values of a text, one a line.
fn compact(json: &str) -> Vec<String> {
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
