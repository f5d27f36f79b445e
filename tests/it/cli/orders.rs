//! `streamway orders`: exact output, honest ends, files that are whole or not there.

use std::fs;
use std::io::{BufRead, Read};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use streamway::Status;

use super::process::{Ended, Process, find, streamway};
use crate::backend::{Backend, End, Script, Seen, line};

/// Long enough for any call to be noticed, on the slowest machine.
const SOON: Duration = Duration::from_secs(30);

fn lines(ids: std::ops::Range<i32>) -> String {
    ids.map(line).collect()
}

fn export(backend: &Backend, args: &[&str]) -> Ended {
    exporting(backend, args).ended()
}

fn exporting(backend: &Backend, args: &[&str]) -> Process {
    Process::start(&mut command(backend, args))
}

fn command(backend: &Backend, args: &[&str]) -> Command {
    streamway(&[&["orders", "--addr", &backend.address], args].concat())
}

/// The names of what is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("readable").file_name());
    names
        .map(|name| name.into_string().expect("UTF-8"))
        .collect()
}

#[test]
fn orders_are_lines_of_json_and_nothing_else_is_said() {
    let backend = Backend::start(Script::default());
    let ended = export(&backend, &[]);
    assert_eq!(ended.stdout, lines(0..3));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn orders_are_csv_with_a_header_when_asked() {
    let backend = Backend::start(Script::default());
    let ended = export(&backend, &["--format", "csv", "--after-id", "1"]);
    assert_eq!(
        ended.stdout,
        "id,orderSn,date\n2,sn-2,2024-01-01 00:00:00\n"
    );
    let ended = export(&backend, &["--format", "csv", "--after-id", "2"]);
    assert_eq!(ended.stdout, "id,orderSn,date\n");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn many_orders_come_whole_and_in_order() {
    let backend = Backend::start(Script {
        orders: 20_000,
        ..Script::default()
    });
    let ended = export(&backend, &[]);
    assert!(ended.stdout == lines(0..20_000));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn flags_have_variables() {
    let backend = Backend::start(Script::default());
    let mut command = streamway(&["orders", "--limit", "1"]);
    command
        .env("STREAMWAY_ADDR", &backend.address)
        .env("STREAMWAY_AFTER_ID", "0")
        .env("STREAMWAY_LIMIT", "7");
    let ended = Process::start(&mut command).ended();
    assert_eq!(ended.stdout, line(1), "{}", ended.stderr);
}

#[test]
fn an_order_is_printed_when_it_arrives_and_not_when_a_buffer_is_full() {
    let backend = Backend::start(Script {
        end: End::Hang,
        ..Script::default()
    });
    let mut process = exporting(&backend, &[]);
    let mut stdout = process.stdout();
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    assert_eq!(first, line(0));
}

#[test]
fn a_reader_who_has_read_enough_is_no_error_and_ends_the_call() {
    let backend = Backend::start(Script {
        orders: i32::MAX,
        ..Script::default()
    });
    let mut process = exporting(&backend, &[]);
    let mut stdout = process.stdout();
    assert_eq!(
        find(&mut stdout, |line| Some(line.to_owned())) + "\n",
        line(0)
    );
    drop(stdout);
    let ended = process.ended();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::Export));
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::ExportDropped));
}

#[test]
fn an_export_that_fails_gives_what_came_and_says_how_to_go_on() {
    let backend = Backend::start(Script {
        orders: 5,
        end: End::Fail(Status::unavailable("gone away")),
        ..Script::default()
    });
    let ended = export(&backend, &["--limit", "9"]);
    assert_eq!(ended.code, Some(64 + 14));
    assert_eq!(ended.stdout, lines(0..5));
    assert_eq!(
        ended.stderr,
        "error: UNAVAILABLE: gone away\n\
         5 orders were received; go on with --after-id 4 --limit 4\n"
    );

    let whole = Backend::start(Script {
        orders: 20,
        ..Script::default()
    });
    let rest = export(&whole, &["--after-id", "4", "--limit", "4"]);
    assert_eq!(ended.stdout + &rest.stdout, lines(0..9));
}

#[test]
fn an_export_that_fails_at_once_says_only_that() {
    let backend = Backend::start(Script {
        orders: 0,
        end: End::Fail(Status::invalid_argument("no such day")),
        ..Script::default()
    });
    for format in ["ndjson", "csv"] {
        let ended = export(&backend, &["--format", format]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64 + 3), ""));
        assert_eq!(ended.stderr, "error: INVALID_ARGUMENT: no such day\n");
    }
}

#[test]
fn the_deadline_covers_the_whole_export() {
    let backend = Backend::start(Script {
        end: End::Hang,
        ..Script::default()
    });
    let ended = export(&backend, &["--timeout", "1s"]);
    assert_eq!(ended.code, Some(64 + 4));
    assert_eq!(ended.stdout, lines(0..3));
    assert!(
        ended.stderr.starts_with("error: DEADLINE_EXCEEDED: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_message_over_the_receive_limit_is_resource_exhausted() {
    let backend = Backend::start(Script::default());
    let ended = export(&backend, &["--max-recv-message-bytes", "16"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(64 + 8), ""));
    let text = "error: RESOURCE_EXHAUSTED: received message larger than max (";
    assert!(ended.stderr.starts_with(text), "{}", ended.stderr);
    assert!(ended.stderr.ends_with(" vs. 16)\n"), "{}", ended.stderr);
}

#[test]
fn ctrl_c_gives_what_came_cancels_the_call_and_says_how_to_go_on() {
    let backend = Backend::start(Script {
        end: End::Hang,
        ..Script::default()
    });
    let mut process = exporting(&backend, &[]);
    let mut stdout = process.stdout();
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    process.signal("INT");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!(first + &rest, lines(0..3));
    let ended = process.ended();
    assert_eq!(ended.code, Some(130));
    assert_eq!(
        ended.stderr,
        "error: stopped by SIGINT\n3 orders were received; go on with --after-id 2\n"
    );
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::Export));
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::ExportDropped));
}

#[test]
fn a_second_signal_does_not_wait_for_a_reader_who_does_not_read() {
    // One order is more than any pipe holds.
    let backend = Backend::start(Script {
        padding: 2 * 1024 * 1024,
        end: End::Hang,
        ..Script::default()
    });
    let mut process = exporting(&backend, &[]);
    let mut stdout = process.stdout();
    // It is on its way out, and stays there.
    stdout.read_exact(&mut [0]).expect("a byte");
    process.signal("TERM");
    // The call is over, so the first signal was taken.
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::Export));
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::ExportDropped));
    process.signal("INT");
    let ended = process.ended();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
}

#[test]
fn a_file_appears_when_it_is_complete() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("orders.ndjson");
    let output = file.to_str().expect("UTF-8");
    let failing = Backend::start(Script {
        end: End::Fail(Status::data_loss("a bad page")),
        ..Script::default()
    });
    let ended = export(&failing, &["--output", output]);
    assert_eq!(ended.code, Some(64 + 15));
    assert_eq!(
        ended.stderr,
        format!("error: DATA_LOSS: a bad page\n{output} was not written\n")
    );
    assert_eq!(names(folder.path()), [""; 0]);

    fs::write(&file, "old").expect("a file");
    export(&failing, &["--output", output]);
    assert_eq!(fs::read_to_string(&file).expect("a file"), "old");
    assert_eq!(names(folder.path()), ["orders.ndjson"]);

    let backend = Backend::start(Script::default());
    let ended = export(&backend, &["--output", output]);
    assert_eq!(ended.code, Some(0));
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(&file).expect("a file"), lines(0..3));
    assert_eq!(names(folder.path()), ["orders.ndjson"]);
}

#[test]
fn a_signal_leaves_the_old_file_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("orders.ndjson");
    fs::write(&file, "old").expect("a file");
    let backend = Backend::start(Script {
        end: End::Hang,
        ..Script::default()
    });
    let output = file.to_str().expect("UTF-8");
    let process = exporting(&backend, &["--output", output]);
    assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::Export));
    assert_eq!(names(folder.path()).len(), 2);
    process.signal("TERM");
    assert_eq!(process.ended().code, Some(143));
    assert_eq!(fs::read_to_string(&file).expect("a file"), "old");
    assert_eq!(names(folder.path()), ["orders.ndjson"]);
}

#[test]
fn a_dash_is_stdout_and_never_called_a_file() {
    let backend = Backend::start(Script {
        end: End::Fail(Status::unavailable("gone away")),
        ..Script::default()
    });
    let plain = export(&backend, &[]);
    let dash = export(&backend, &["--output", "-"]);
    assert_eq!(dash.stdout, lines(0..3));
    assert_eq!((dash.code, dash.stderr), (plain.code, plain.stderr));
}

#[cfg(unix)]
#[test]
fn a_stdout_that_cannot_be_written_is_an_error() {
    let backend = Backend::start(Script::default());
    for (stdout, says) in [
        // Open, but to be read.
        (fs::File::open("/dev/null"), "Bad file descriptor"),
        (fs::File::create("/dev/full"), "No space left on device"),
    ] {
        let mut command = command(&backend, &[]);
        command.stdout(stdout.expect("there is one"));
        let ended = Process::start(&mut command).ended();
        assert_eq!(ended.code, Some(1));
        let text = format!("error: cannot write stdout: {says}");
        assert!(ended.stderr.starts_with(&text), "{}", ended.stderr);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_plain_file_is_written_to_and_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start(Script::default());

    // A link stays, and the file behind it is replaced.
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "old").expect("a file");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let ended = export(&backend, &["--output", link.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&file).expect("a file"), lines(0..3));

    // A pipe that has a name.
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("there is a mkfifo").success());
    let name = pipe.to_str().expect("UTF-8");
    let process = exporting(&backend, &["--output", name]);
    assert_eq!(fs::read_to_string(&pipe).expect("a pipe"), lines(0..3));
    assert_eq!(process.ended().code, Some(0));
    assert!(pipe.exists());

    let ended = export(
        &backend,
        &["--output", folder.path().to_str().expect("UTF-8")],
    );
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot write"), "{}", ended.stderr);
}
