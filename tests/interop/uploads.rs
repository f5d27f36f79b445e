//! Uploads that are cut with SIGKILL: nothing of them is to be seen, and nothing is left at the next start.

use std::fs;
use std::path::Path;

use super::servers::Serve;
use super::support::{Running, program, run, until};

/// An upload by grpc-go that never ends: files of 100,000 parts, which are a megabyte each.
fn endless(addr: &str) -> Running {
    let parts = ["-count", "2000000000", "-files", "20000"];
    let args = [&["upload", "-addr", addr][..], &parts].concat();
    Running::start(program("INTEROP", &args))
}

/// The sizes of all files in a folder and the folders in it. What vanishes meanwhile does not count.
pub(crate) fn sizes(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.metadata() {
            Ok(there) if there.is_dir() => sizes(&entry.path()),
            Ok(there) => vec![there.len()],
            Err(_) => Vec::new(),
        })
        .collect()
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}

#[test]
fn an_upload_whose_server_is_killed_leaves_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let (images, staging) = (data.path().join("images"), data.path().join("staging"));
    // At once, at the first bytes, in the first file, and in the fourth.
    for bytes in [0, 1, 500_000, 3_500_000] {
        let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
        let upload = endless(&serve.addr);
        until("the upload has come so far", || {
            !is_empty(&staging) && sizes(&staging).iter().sum::<u64>() >= bytes
        });
        drop(serve);
        assert!(!is_empty(&staging), "killed in its midst");
        assert!(is_empty(&images), "after {bytes} bytes");
        let (_, said) = upload.finish().exit_code(1);
        assert!(said.contains("status Unavailable"), "{said}");

        let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
        assert!(
            is_empty(&staging) && is_empty(&images),
            "after {bytes} bytes"
        );
        drop(serve);
    }
    let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
    run("INTEROP", &["upload", "-addr", &serve.addr, "-count", "10"]).success();
    assert_eq!(sizes(&images), [100]);
}

#[test]
fn an_upload_whose_server_is_killed_at_its_end_is_there_whole_or_not_at_all() {
    const FILES: usize = 200;
    let data = tempfile::tempdir().expect("a folder");
    let (images, staging) = (data.path().join("images"), data.path().join("staging"));
    let there = |folder: &Path| sizes(folder).len();
    // When the last file has arrived, and when the first can be seen.
    for folder in [&staging, &images] {
        let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
        let args = [
            "upload",
            "-addr",
            &serve.addr,
            "-count",
            "2000",
            "-files",
            "200",
        ];
        let upload = Running::start(program("INTEROP", &args));
        until("the upload is near its end", || {
            there(folder) >= FILES || there(&images) >= FILES
        });
        drop(serve);
        drop(upload);
        let visible = there(&images);
        assert!(visible == 0 || visible == FILES, "{visible} files");

        let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
        assert_eq!(sizes(&images), vec![100; visible]);
        assert!(is_empty(&staging));
        drop(serve);
        fs::remove_dir_all(&images).expect("a folder");
    }
}

#[test]
fn an_upload_whose_client_is_killed_leaves_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let (images, staging) = (data.path().join("images"), data.path().join("staging"));
    let serve = Serve::start(data.path(), &["--sample-orders", "3"]);
    for bytes in [1, 1_500_000] {
        let upload = endless(&serve.addr);
        until("the upload has come so far", || {
            sizes(&staging).iter().sum::<u64>() >= bytes
        });
        drop(upload);
        let ended = serve.running.said("/proto.StreamService/UploadFile");
        assert!(!ended.contains("\"OK\""), "{ended}");
        until("nothing is left", || is_empty(&staging));
        assert!(is_empty(&images));
    }
}
