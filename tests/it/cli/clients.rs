//! The smaller commands: `upload`, `sum`, `health`, and what all have in common.

use std::fs;
use std::path::Path;
use std::time::Duration;

use streamway::health::ServingStatus;
use streamway::proto::UploadResponse;

use super::process::{Ended, Process, run, streamway};
use crate::backend::{Backend, Script, Seen, receipt};

const SOON: Duration = Duration::from_secs(30);

/// `sha256sum` of "hello\n" and of nothing.
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn upload(backend: &Backend, folder: &Path, files: &[&str]) -> Ended {
    let paths: Vec<_> = files.iter().map(|file| folder.join(file)).collect();
    let mut args = vec!["upload", "--addr", &backend.address];
    args.extend(paths.iter().map(|path| path.to_str().expect("UTF-8")));
    run(&args)
}

#[test]
fn an_upload_prints_a_line_for_each_file_that_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("hello"), "hello\n").expect("a file");
    fs::write(folder.path().join("nothing"), "").expect("a file");
    let backend = Backend::start(Script::default());
    let ended = upload(&backend, folder.path(), &["hello", "nothing"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        format!(
            "{{\"name\":\"hello\",\"size\":6,\"sha256\":\"{HELLO}\",\"url\":\"test:///hello\"}}\n\
             {{\"name\":\"nothing\",\"size\":0,\"sha256\":\"{NOTHING}\",\"url\":\"test:///nothing\"}}\n"
        )
    );
}

#[test]
fn a_file_larger_than_a_message_is_sent_in_parts() {
    const PART: usize = 64 * 1024;
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start(Script::default());
    for (size, parts) in [(PART - 1, 1), (PART, 1), (PART + 1, 2), (100 * PART, 100)] {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        fs::write(folder.path().join("large"), bytes).expect("a file");
        // The checksum is compared by the command itself.
        let ended = upload(&backend, folder.path(), &["large"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains(&format!("\"size\":{size},")));
        assert_eq!(backend.seen.recv_timeout(SOON), Ok(Seen::Upload(parts)));
    }
}

#[test]
fn what_cannot_be_read_is_an_error_before_anything_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("there"), "").expect("a file");
    fs::create_dir(folder.path().join("sub")).expect("a folder");
    fs::write(folder.path().join("sub/there"), "").expect("a file");
    let backend = Backend::start(Script::default());
    for (file, says) in [
        ("missing", "missing: No such file"),
        ("sub", "sub is a folder"),
        ("sub/there", "several files have the name \"there\""),
    ] {
        let ended = upload(&backend, folder.path(), &["there", file]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    assert!(backend.seen.try_recv().is_err());
}

#[test]
fn a_server_that_stored_something_else_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("hello"), "hello\n").expect("a file");
    let backend = Backend::start(Script {
        receipt: |mut files| {
            files[0].sha256 = NOTHING.to_owned();
            receipt(files)
        },
        ..Script::default()
    });
    let ended = upload(&backend, folder.path(), &["hello"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended.stderr.contains("stored something else"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_server_that_says_nothing_of_the_files_is_believed_with_a_remark() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("hello"), "hello\n").expect("a file");
    let backend = Backend::start(Script {
        receipt: |_| UploadResponse::default(),
        ..Script::default()
    });
    let ended = upload(&backend, folder.path(), &["hello"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.stdout,
        format!("{{\"name\":\"hello\",\"size\":6,\"sha256\":\"{HELLO}\"}}\n")
    );
    assert!(ended.stderr.contains("does not say"), "{}", ended.stderr);
}

#[test]
fn numbers_are_added_in_lock_step_negative_ones_too() {
    let backend = Backend::start(Script::default());
    let ended = run(&["sum", "--addr", &backend.address, "5", "-7", "0"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "{\"number\":0,\"sum\":0,\"total\":0}\n\
         {\"number\":1,\"sum\":5,\"total\":5}\n\
         {\"number\":2,\"sum\":-6,\"total\":-2}\n\
         {\"number\":3,\"sum\":2,\"total\":-2}\n"
    );
}

#[test]
fn a_sum_that_fails_gives_the_lines_before_and_the_status() {
    let backend = Backend::start(Script::default());
    let ended = run(&["sum", "--addr", &backend.address, "5", "2147483647", "1"]);
    assert_eq!(ended.code, Some(64 + 11));
    assert_eq!(ended.stdout.lines().count(), 2);
    assert_eq!(ended.stderr, "error: OUT_OF_RANGE: too much\n");
}

#[test]
fn the_exit_code_of_health_is_zero_only_for_a_server_that_serves() {
    for (health, code, word) in [
        (ServingStatus::Serving, 0, "SERVING\n"),
        (ServingStatus::NotServing, 1, "NOT_SERVING\n"),
        (ServingStatus::Unknown, 1, "UNKNOWN\n"),
    ] {
        let backend = Backend::start(Script {
            health,
            ..Script::default()
        });
        let ended = run(&["health", "--addr", &backend.address]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), word));
        assert_eq!(ended.stderr, "");
    }
    let backend = Backend::start(Script::default());
    let ended = run(&["health", "--addr", &backend.address, "no.Such"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(64 + 5), ""));
    assert!(
        ended.stderr.starts_with("error: NOT_FOUND: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_server_that_is_not_there_is_unavailable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = format!("http://{}", nobody.local_addr().expect("bound"));
    drop(nobody);
    for command in [&["orders"][..], &["sum", "1"], &["health"]] {
        let ended = run(&[command, &["--addr", &address]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(64 + 14), ""));
        assert!(
            ended.stderr.starts_with("error: UNAVAILABLE: "),
            "{}",
            ended.stderr
        );
        // Nobody who would read the error either.
        let mut process =
            Process::start(&mut streamway(&[command, &["--addr", &address]].concat()));
        drop(process.stderr());
        assert_eq!(process.ended().code, Some(64 + 14));
    }
}

#[test]
fn arguments_that_make_no_sense_are_errors_of_usage() {
    for args in [
        &[][..],
        &["orders", "--after-id", "x"],
        &["orders", "--max-recv-message-bytes", "4MB"],
        &["orders", "--timeout", "30"],
        &["orders", "--format", "xml"],
        &["orders", "--addr", "127.0.0.1:9528"],
        &["orders", "--log", "loud=maybe"],
        &["sum"],
        &["sum", "2147483648"],
        &["upload"],
        &["gateway", "--backend", "nowhere"],
    ] {
        let ended = run(args);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{args:?}"
        );
        assert!(!ended.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_is_data_and_nobody_has_to_read_it() {
    for args in [&["--help"][..], &["orders", "--help"], &["--version"]] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains("streamway"), "{}", ended.stdout);
        let mut process = Process::start(&mut streamway(args));
        drop(process.stdout());
        let ended = process.ended();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
}
