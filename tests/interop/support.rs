//! Programs as children: their lines as they come, their end, and that they end with the test at the latest.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Longest life of a program: far more than any needs, far less than a run of all tests may take.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(180);

/// Lines on stdout that wait for the test. After these the program has to wait, when it has filled its pipe too.
const WAITING_LINES: usize = 64;

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
    let path = env::var_os(variable).expect("tests/check.sh names the programs");
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
        let (tx, stdout) = mpsc::sync_channel(WAITING_LINES);
        each_line(child.stdout.take().expect("piped"), move |line| {
            tx.send(line).is_ok()
        });
        let (tx, stderr) = mpsc::channel();
        each_line(child.stderr.take().expect("piped"), move |line| {
            tx.send(line).is_ok()
        });
        Self {
            name,
            child,
            stdout,
            stderr,
            until: Instant::now() + LONGEST_LIFE,
        }
    }

    /// Adds to its longest life.
    pub(crate) fn live_longer(&mut self, time: Duration) {
        self.until += time;
    }

    /// The next line on stdout.
    pub(crate) fn line(&self) -> String {
        self.lines()
            .next()
            .unwrap_or_else(|| self.missing("a line"))
    }

    /// The lines on stdout that are not read yet. As long as nobody reads them, the program is held up.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        std::iter::from_fn(|| self.next(&self.stdout))
    }

    /// What follows `begin` in the next line on stderr that has it.
    pub(crate) fn said(&self, begin: &str) -> String {
        std::iter::from_fn(|| self.next(&self.stderr))
            .find_map(|line| Some(line.split_once(begin)?.1.to_owned()))
            .unwrap_or_else(|| self.missing(begin))
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(kill.expect("there is a kill").success());
    }

    /// A number that Linux says of it, such as `VmHWM`, in KiB when it is of memory.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(':')?
                    .split_whitespace()
                    .next()
            })
            .and_then(|kib| kib.parse().ok())
            .expect("a number of kB")
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).expect("it runs").count()
    }

    /// How much CPU time it has taken.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        // The name, the second field, may hold anything; behind it time as a user is the 12th, as the system the 13th.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Finished {
        // Both pipes first: who has closed them is at its end.
        let stdout = self.lines().collect();
        let stderr: Vec<_> = std::iter::from_fn(|| self.next(&self.stderr)).collect();
        let status = self.child.wait().expect("a child");
        Finished {
            name: self.name.clone(),
            status,
            stdout,
            stderr: stderr.join("\n"),
        }
    }

    fn missing(&self, what: &str) -> ! {
        let said = self.stderr.try_iter().collect::<Vec<_>>();
        panic!("{} ended without {what:?}: {said:?}", self.name)
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
        self.exit_code(0).0
    }

    /// The lines on stdout, and the text on stderr, of a program that has to end with this code.
    pub(crate) fn exit_code(self, code: i32) -> (Vec<String>, String) {
        let Self { name, status, .. } = self;
        assert_eq!(
            status.code(),
            Some(code),
            "{name}: {status}\n{}",
            self.stderr
        );
        (self.stdout, self.stderr)
    }
}

/// Reads a pipe to its end, or until `take` takes no more.
fn each_line(pipe: impl Read + Send + 'static, take: impl Fn(String) -> bool + Send + 'static) {
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines();
        lines.map(|line| line.expect("text")).all(take)
    });
}

/// Looks until it is so.
pub(crate) fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + LONGEST_LIFE;
    while !so() {
        assert!(Instant::now() < end, "not in {LONGEST_LIFE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
