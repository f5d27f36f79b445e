use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::status::{Code, Status};

struct Fixture {
    images: Images,
    path: PathBuf,
    dir: TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    Fixture {
        images: Images::open(&folder, 0).unwrap(),
        path: folder.path().to_owned(),
        dir,
    }
}

/// Every file and folder under `path`, sorted.
fn tree(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap().path();
            found.push(entry.strip_prefix(path).unwrap().display().to_string());
            if entry.is_dir() {
                folders.push(entry);
            }
        }
    }
    found.sort();
    found
}

const NOTHING: [&str; 3] = ["images", "lock", "staging"];

/// Waits until what was dropped is removed: the last of the images waits for it.
fn settle(fixture: Fixture) -> TempDir {
    drop(fixture.images);
    fixture.dir
}

/// What a client that has only the URL finds.
fn fetch(url: &str) -> Vec<u8> {
    let path = url.strip_prefix("file://").unwrap();
    let path = percent_decode_str(path).decode_utf8().unwrap();
    fs::read(path.as_ref()).unwrap()
}

async fn write(upload: &mut Upload, name: &str, bytes: &[u8]) -> Result<(), UploadError> {
    upload.write(name, Bytes::copy_from_slice(bytes)).await
}

#[tokio::test]
async fn files_are_found_under_their_urls_whatever_they_are_called() {
    let fixture = fixture();
    let longest = "%".repeat(255);
    let names = [
        "image1",
        "100%",
        "%2F",
        "%252e",
        "a#1",
        "a#1#2",
        "~",
        "日本.png",
        "a b+c&d=e?f",
        "...",
        "part",
        "files",
        "-",
        "[x]{y}^`|*<>\"'",
        "a:b",
        &longest,
    ];
    let mut upload = fixture.images.upload().unwrap();
    for name in names {
        write(&mut upload, name, name.as_bytes()).await.unwrap();
    }
    let files = upload.finish().await.unwrap();
    assert_eq!(files.len(), names.len());
    for (file, name) in files.iter().zip(names) {
        assert_eq!(file.name, name);
        assert_eq!(file.size, name.len() as u64);
        assert_eq!(file.sha256, *Sha256::digest(name));
        assert!(file.url.is_ascii());
        assert_eq!(fetch(&file.url), name.as_bytes());
        let on_disk = percent_decode_str(file.url.rsplit('/').next().unwrap());
        assert_eq!(on_disk.decode_utf8().unwrap(), name);
    }
    drop(upload);
    assert_eq!(tree(&fixture.path.join("staging")), [""; 0]);
}

#[tokio::test]
async fn an_upload_without_files_leaves_nothing() {
    let fixture = fixture();
    let mut upload = fixture.images.upload().unwrap();
    assert_eq!(upload.finish().await.unwrap(), []);
    drop(upload);
    assert_eq!(tree(&fixture.path), NOTHING);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn files_are_the_same_however_they_are_cut(
        sizes in proptest::collection::vec(0usize..3 * PART_BYTES, 1..4),
        cut in 1usize..2 * PART_BYTES,
    ) {
        let fixture = fixture();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let contents: Vec<Vec<u8>> = sizes
            .iter()
            .map(|size| (0..*size).map(|at| (at * 7 + at / 251 + size) as u8).collect())
            .collect();
        let cut = cut.max(sizes.iter().sum::<usize>() / 1000);
        let files = runtime.block_on(async {
            let mut upload = fixture.images.upload().unwrap();
            for (number, content) in contents.iter().enumerate() {
                let name = number.to_string();
                write(&mut upload, &name, b"").await.unwrap();
                for piece in content.chunks(cut) {
                    write(&mut upload, &name, piece).await.unwrap();
                }
            }
            upload.finish().await.unwrap()
        });
        for (file, content) in files.iter().zip(&contents) {
            prop_assert_eq!(file.size, content.len() as u64);
            prop_assert!(file.sha256 == *Sha256::digest(content));
            prop_assert!(fetch(&file.url) == *content);
        }
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_and_nothing_is_stored() {
    let fixture = fixture();
    for name in [
        "",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "a\0",
        "a\n",
        &"x".repeat(256),
    ] {
        for before in [false, true] {
            let mut upload = fixture.images.upload().unwrap();
            if before {
                write(&mut upload, "good", &[1; 2 * PART_BYTES])
                    .await
                    .unwrap();
            }
            let error = write(&mut upload, name, b"x").await.unwrap_err();
            let status = Status::from(&error);
            assert_eq!(status.code(), Code::InvalidArgument, "{status}");
            upload.discard().await;
            assert_eq!(tree(&fixture.path), NOTHING);
        }
    }
}

#[tokio::test]
async fn a_file_that_comes_back_is_refused() {
    let fixture = fixture();
    let mut upload = fixture.images.upload().unwrap();
    write(&mut upload, "a", b"1").await.unwrap();
    write(&mut upload, "a", b"2").await.unwrap();
    write(&mut upload, "b", b"3").await.unwrap();
    let error = write(&mut upload, "a", b"4").await.unwrap_err();
    assert!(error.to_string().contains("comes back"), "{error}");
    assert_eq!(Status::from(&error).code(), Code::InvalidArgument);
    upload.discard().await;
    assert_eq!(tree(&fixture.path), NOTHING);
}

#[tokio::test]
async fn one_file_too_many_and_one_upload_too_many_are_refused() {
    let fixture = fixture();
    let mut upload = fixture.images.upload().unwrap();
    for number in 0..MAX_FILES {
        write(&mut upload, &number.to_string(), b"").await.unwrap();
    }
    let error = write(&mut upload, "more", b"").await.unwrap_err();
    assert!(matches!(error, UploadError::TooManyFiles));
    assert_eq!(Status::from(&error).code(), Code::ResourceExhausted);
    upload.discard().await;

    let mut uploads: Vec<_> = (0..MAX_UPLOADS)
        .map(|_| fixture.images.upload().unwrap())
        .collect();
    let error = fixture.images.upload().unwrap_err();
    assert_eq!(Status::from(&error).code(), Code::ResourceExhausted);
    uploads.pop();
    fixture.images.upload().unwrap();
}

/// The images of a folder whose uploads have to leave so much.
fn leaving(min_free_bytes: impl FnOnce(u64) -> u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    let disk = rustix::fs::statvfs(dir.path()).unwrap();
    let min_free_bytes = min_free_bytes(disk.f_bavail * disk.f_frsize);
    Fixture {
        images: Images::open(&folder, min_free_bytes).unwrap(),
        path: folder.path().to_owned(),
        dir,
    }
}

async fn assert_no_room(fixture: Fixture, upload: Upload, error: UploadError) {
    assert!(matches!(error, UploadError::NoRoom), "{error}");
    assert_eq!(Status::from(&error).code(), Code::ResourceExhausted);
    upload.discard().await;
    let path = fixture.path.clone();
    let _dir = settle(fixture);
    assert_eq!(tree(&path), NOTHING);
}

#[tokio::test]
async fn an_upload_to_a_disk_without_room_is_refused_and_leaves_nothing() {
    let fixture = leaving(|_| u64::MAX);
    let mut upload = fixture.images.upload().unwrap();
    let error = write(&mut upload, "first", b"1").await.unwrap_err();
    assert_no_room(fixture, upload, error).await;
}

/// Others use the disk meanwhile: it takes more, or less, until there is no room.
#[tokio::test]
async fn a_file_that_takes_the_room_that_is_to_be_left_is_refused() {
    const MIB: usize = 1024 * 1024;
    let fixture = leaving(|free| free - 8 * MIB as u64);
    let mut upload = fixture.images.upload().unwrap();
    let mut written = 0;
    let error = loop {
        match write(&mut upload, "large", &[7; MIB]).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 2000, "{written} MiB are written");
    };
    assert_no_room(fixture, upload, error).await;
}

#[tokio::test]
async fn names_too_long_for_one_answer_are_refused() {
    let fixture = fixture();
    let mut upload = fixture.images.upload().unwrap();
    let mut number = 0;
    let error = loop {
        let name = format!("{number:04}{}", "%".repeat(251));
        match write(&mut upload, &name, b"").await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, UploadError::TooLongAnswer));
    assert_eq!(Status::from(&error).code(), Code::ResourceExhausted);
    assert!(number > 1500, "{number}");
}

/// A whole upload: files of one part and of several, and what comes of it.
async fn upload_all(images: &Images) {
    let mut upload = images.upload().unwrap();
    write(&mut upload, "small", b"1").await.unwrap();
    write(&mut upload, "large", &[2; PART_BYTES]).await.unwrap();
    write(&mut upload, "large", &[3; PART_BYTES + 1])
        .await
        .unwrap();
    write(&mut upload, "large", &[4; 10]).await.unwrap();
    write(&mut upload, "last", b"5").await.unwrap();
    upload.finish().await.unwrap();
}

/// Polls `future` at most `polls` times; whether it ended.
async fn cut<F: Future>(future: F, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(cx).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn an_upload_dropped_at_any_point_leaves_nothing() {
    let (mut polls, mut cuts) = (0, 0);
    // A fast disk makes do with few polls, and is asked once more.
    while cuts < 10 || polls > 0 {
        let fixture = fixture();
        let path = fixture.path.clone();
        let ended = cut(upload_all(&fixture.images), polls).await;
        let _dir = settle(fixture);
        if ended {
            assert_eq!(tree(&path.join("staging")), [""; 0]);
            assert_eq!(tree(&path.join("images")).len(), 4);
            polls = 0;
        } else {
            assert_eq!(tree(&path), NOTHING, "cut after {polls} polls");
            (polls, cuts) = (polls + 1, cuts + 1);
        }
    }
}

#[tokio::test]
async fn an_upload_can_be_dropped_outside_of_any_runtime_and_after_its_own() {
    let fixture = fixture();
    let path = fixture.path.clone();
    let images = fixture.images.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let upload = runtime.block_on(async {
            let mut upload = images.upload().unwrap();
            write(&mut upload, "large", &[2; 2 * PART_BYTES])
                .await
                .unwrap();
            let more = write(&mut upload, "large", &[2; 2 * PART_BYTES]);
            cut(more, 1).await;
            upload
        });
        drop(runtime);
        drop(upload);
    });
    thread.join().unwrap();
    let _dir = settle(fixture);
    assert_eq!(tree(&path), NOTHING);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start_and_what_was_published_stays() {
    let fixture = fixture();
    upload_all(&fixture.images).await;
    let published = tree(&fixture.path);
    let path = fixture.path.clone();
    let _dir = settle(fixture);
    // As a crash leaves them: a file that was arriving, with what object_store makes of it meanwhile, files that had
    // arrived, and an upload that was published an instant before.
    for (folder, file) in [
        ("1-a", "part#1"),
        ("1-a/files", "arrived"),
        ("1-b", "part"),
        ("1-c", ""),
        (".", "stray"),
    ] {
        let folder = path.join("staging").join(folder);
        fs::create_dir_all(&folder).unwrap();
        if !file.is_empty() {
            fs::write(folder.join(file), b"left").unwrap();
        }
    }
    let folder = DataFolder::open(&path).unwrap();
    let images = Images::open(&folder, 0).unwrap();
    assert_eq!(tree(&path), published);
    upload_all(&images).await;
}

#[tokio::test]
async fn a_storage_that_fails_is_told_and_leaves_nothing() {
    let fixture = fixture();
    let mut upload = fixture.images.upload().unwrap();
    write(&mut upload, "a", b"1").await.unwrap();
    let staging = fixture.path.join("staging");
    let id = tree(&staging)[0].clone();
    // The file cannot become `part` now.
    fs::create_dir_all(staging.join(id).join("part/in the way")).unwrap();
    let error = upload.finish().await.unwrap_err();
    let status = Status::from(&error);
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(!status.message().contains("staging"), "{status}");
    upload.discard().await;
    assert_eq!(tree(&fixture.path), NOTHING);
}
