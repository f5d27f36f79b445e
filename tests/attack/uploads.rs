//! Uploads that go beyond what they may: names that are paths, too many files, too many at once, and none that ends.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message;
use streamway::objects::{MAX_DESCRIPTION_BYTES, MAX_FILES, MAX_UPLOADS, PART_BYTES};
use streamway::proto::{Image, UploadResponse};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::client::{Answer, LONG, Seen, UPLOAD, call, stream};
use crate::held::{BESIDE_KIB, FREE_KIB, STATE_KIB};
use crate::paced::Paced;
use crate::raw::frame::{Frame, setting};
use crate::raw::message;
use crate::raw::peer::Peer;
use crate::server::{Attacked, Price};

/// INVALID_ARGUMENT, RESOURCE_EXHAUSTED and INTERNAL.
const INVALID: Option<u32> = Some(3);
const EXHAUSTED: Option<u32> = Some(8);
const INTERNAL: Option<u32> = Some(13);

/// A message of an upload. The name is bytes, because not all of them are text.
fn image(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut image = Image {
        content: content.to_vec(),
        ..Image::default()
    }
    .encode_to_vec();
    // Field 1, with a length.
    image.push(0x0a);
    prost::encoding::encode_varint(name.len() as u64, &mut image);
    image.extend_from_slice(name);
    let mut list = vec![0x0a];
    prost::encoding::encode_varint(image.len() as u64, &mut list);
    message(0, &[list, image].concat())
}

/// A whole upload of one file.
async fn upload(peer: &mut Peer<TcpStream>, seen: &mut Seen, stream: u32, name: &[u8]) -> Answer {
    let data = Frame::data(stream, image(name, b"content")).end_stream();
    peer.send_all(&[call(stream, UPLOAD), data])
        .await
        .expect("open");
    seen.answer(&mut peer.input, stream).await
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.to_string_lossy().into_owned()),
        }
    }
    found.sort();
    found
}

fn staged(attacked: &Attacked) -> usize {
    let staging = fs::read_dir(attacked.data().join("staging"));
    staging.expect("a folder").count()
}

/// Waits until uploads that were cut have left nothing, and returns how long that took.
async fn nothing_left(attacked: &Attacked) -> Duration {
    let started = Instant::now();
    while staged(attacked) > 0 {
        assert!(started.elapsed() < LONG, "{} are left", staged(attacked));
        sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn names_that_are_paths_store_nothing_and_names_that_are_names_stay_in_their_folder() {
    let attacked = Attacked::start(&[]);
    let mut peer = attacked.connect(&[]).await;
    let mut seen = Seen::default();
    let before = files(attacked.folder());
    let long = [b'a'; 256];
    let paths: [&[u8]; 16] = [
        b"..",
        b".",
        b"",
        b"/",
        b"/etc/passwd",
        b"../escaped",
        b"../../escaped",
        b"a/../../escaped",
        b"..\\escaped",
        b"C:\\escaped",
        b"a/",
        b"nul\0",
        b"line\n",
        b"\x1b[31m",
        b"\xc2\x85",
        &long,
    ];
    for (n, name) in paths.iter().enumerate() {
        let answer = upload(&mut peer, &mut seen, stream(n), name).await;
        assert_eq!(answer.code, INVALID, "{name:?}: {}", answer.message);
    }
    // No text at all, so no message.
    let answer = upload(&mut peer, &mut seen, stream(paths.len()), b"\xff\xfe").await;
    assert_eq!(answer.code, INTERNAL, "{}", answer.message);
    assert_eq!(files(attacked.folder()), before, "something was stored");

    // What the server itself calls its files, what a shell or a URL would read, and the longest.
    let names: [&[u8]; 10] = [
        b"part",
        b"files",
        b"staging",
        b"orders.db",
        b"%2e%2e%2fescaped",
        b"...",
        b"-rf",
        b"$(id)",
        "\u{202e}gnp.exe".as_bytes(),
        &long[..255],
    ];
    let mut expected = before;
    for (n, name) in (paths.len() + 1..).zip(names) {
        let answer = upload(&mut peer, &mut seen, stream(n), name).await;
        assert_eq!(answer.code, Some(0), "{name:?}: {}", answer.message);
        let response = UploadResponse::decode(&answer.body[5..]).expect("a response");
        let folder = response.files[0].url.rsplit('/').nth(1).expect("its id");
        let file = attacked.data().join("images").join(folder);
        let file = file.join(String::from_utf8_lossy(name).as_ref());
        expected.push(file.to_string_lossy().into_owned());
    }
    expected.sort();
    assert_eq!(files(attacked.folder()), expected);
    let figure = format_args!(
        "{} refused, {} stored under their names",
        paths.len() + 1,
        names.len()
    );
    attacked.held("names of files", figure, Price::default());
}

#[tokio::test]
async fn an_upload_of_files_without_end_is_refused_and_leaves_nothing() {
    let attacked = Attacked::start(&[]);
    let mut paced = Paced::new(attacked.connect(&[]).await);
    paced.send_frame(call(1, UPLOAD)).await;
    // All of them fit the window of the stream.
    let files = (0..MAX_FILES + 100).map(|n| image(n.to_string().as_bytes(), b"x"));
    let started = Instant::now();
    paced.send(1, &files.collect::<Vec<_>>().concat()).await;
    let mut seen = Seen::default();
    let answer = seen.answer_within(&mut paced.peer.input, 1, 3 * LONG).await;
    let took = started.elapsed();
    assert_eq!(answer.code, EXHAUSTED, "{}", answer.message);
    assert_eq!(staged(&attacked), 0, "left when the client knows of it");
    let figure = format_args!("{} after {} ms", answer.message, took.as_millis());
    let described = 3 * MAX_DESCRIPTION_BYTES / 2;
    let price = Price {
        growth_kib: ((described + PART_BYTES) / 1024 + BESIDE_KIB) as u64,
        // Nearly all of it is the file system's, and four times as much when as many files were deleted a moment before.
        cpu: Duration::from_secs(30),
    };
    attacked.held("an upload of many files", figure, price);
}

#[tokio::test]
async fn uploads_that_are_held_all_at_once_are_bounded_and_leave_nothing_when_they_are_cut() {
    let attacked = Attacked::start(&[]);
    let window = [(setting::INITIAL_WINDOW_SIZE, u32::MAX >> 1)];
    let mut paced = Paced::new(attacked.connect(&window).await);
    // Nearly as much as is gathered before it is written, and then half a message.
    let begun = image(b"begun", &vec![7; PART_BYTES - 1]);
    let half = &image(b"begun", &[7; 1000])[..500];
    for n in 0..MAX_UPLOADS {
        paced.send_frame(call(stream(n), UPLOAD)).await;
        paced.send(stream(n), &[&begun, half].concat()).await;
    }
    let (mut peer, mut seen) = (paced.peer, Seen::default());
    let refused = upload(&mut peer, &mut seen, stream(MAX_UPLOADS), b"another").await;
    assert_eq!(refused.code, EXHAUSTED, "{}", refused.message);
    assert_eq!(staged(&attacked), MAX_UPLOADS);
    let growth = attacked.growth_kib();

    // Half of them one by one, the rest with their connection.
    for n in 0..MAX_UPLOADS / 2 {
        let reset = Frame::reset(stream(n), crate::raw::frame::error::CANCEL);
        peer.send(&reset).await.expect("open");
    }
    drop(peer);
    let took = nothing_left(&attacked).await;
    let mut peer = attacked.connect(&[]).await;
    let next = upload(&mut peer, &mut Seen::default(), 1, b"next").await;
    assert_eq!(next.code, Some(0), "{}", next.message);
    assert_eq!(files(&attacked.data().join("images")).len(), 1);
    let figure = format_args!(
        "{MAX_UPLOADS} held, +{} MiB; cut, nothing left after {} ms",
        growth / 1024,
        took.as_millis()
    );
    let each = PART_BYTES / 1024 + STATE_KIB + FREE_KIB;
    let price = Price {
        growth_kib: (MAX_UPLOADS * each + BESIDE_KIB) as u64,
        cpu: Duration::from_secs(3),
    };
    attacked.held("uploads that are held", figure, price);
}
