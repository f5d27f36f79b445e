//! A process of the binary, which does not outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longer than any of these processes runs on the slowest machine. Then it is killed, and the test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// A running `streamway`.
pub(crate) struct Process(Child);

/// How a process ended, and what it has said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `streamway` with these arguments, and no variables of its own.
pub(crate) fn streamway(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamway"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STREAMWAY_") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `streamway` with these arguments to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Process::start(&mut streamway(args)).ended()
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the binary is built"))
    }

    /// Its stdout; it is closed when what is returned is dropped.
    pub(crate) fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("piped, and taken once"))
    }

    /// Its stderr; it is closed when what is returned is dropped.
    pub(crate) fn stderr(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.0.stderr.take().expect("piped, and taken once"))
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.0.id().to_string())
            .status();
        assert!(kill.expect("there is a kill").success());
    }

    /// Waits for the end. What was not taken of its output is read meanwhile.
    pub(crate) fn ended(mut self) -> Ended {
        let (done, ended) = mpsc::channel();
        let stdout = self.0.stdout.take();
        let stderr = self.0.stderr.take();
        let read = |source: Option<Box<dyn Read + Send>>| {
            let done = done.clone();
            thread::spawn(move || {
                let mut text = String::new();
                if let Some(mut source) = source {
                    source.read_to_string(&mut text).expect("UTF-8");
                }
                drop(done);
                text
            })
        };
        let stdout = read(stdout.map(|source| Box::new(source) as _));
        let stderr = read(stderr.map(|source| Box::new(source) as _));
        drop(done);
        // Told by nobody, and closed when both outputs are: the process has ended, or is about to.
        let closed: Result<(), _> = ended.recv_timeout(LIMIT);
        let late = closed == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            self.0.kill().expect("it runs");
        }
        let ended = Ended {
            code: self.0.wait().expect("a child of this process").code(),
            stdout: stdout.join().expect("read"),
            stderr: stderr.join().expect("read"),
        };
        assert!(!late, "it was killed after {LIMIT:?}: {ended:?}");
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads lines until `wanted` makes something of one.
pub(crate) fn find<T>(output: &mut impl BufRead, wanted: impl Fn(&str) -> Option<T>) -> T {
    let found = output
        .lines()
        .find_map(|line| wanted(&line.expect("UTF-8")));
    found.expect("a line that is wanted")
}
