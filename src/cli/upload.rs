//! `streamway upload`: sends files in parts, all or none, and checks what the server says it has stored.
//!
//! In: paths. Out: a line of JSON for each stored file. Not here: which names the server takes.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::Outcome;
use super::address::Server;
use super::failure::{Failure, say};
use super::output::Output;
use crate::client;
use crate::codec::MessageLimits;
use crate::proto::stream_service::StreamServiceClient;
use crate::proto::{Image, StreamImageList, UploadResponse};

/// Bytes of a file in one message. 64 KiB: far below any receive limit, and enough to make messages cheap.
const PART_BYTES: usize = 64 * 1024;

/// Upload files: all of them, or none
#[derive(Args, Debug)]
pub(super) struct Upload {
    #[command(flatten)]
    server: Server,

    /// The files. Each is stored under its name without the folder
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A file to send.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    name: String,
}

/// A file that was sent, or stored: the same when all went well.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Stored {
    name: String,
    size: u64,
    sha256: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
}

type Sending = client::Upload<StreamImageList, UploadResponse>;

impl Upload {
    pub(super) async fn run(self) -> Outcome {
        // Before anything is sent: a missing file is found here.
        let sources = sources(&self.files)?;
        let channel = self.server.channel(MessageLimits::default())?;
        let mut upload = StreamServiceClient::new(channel)
            .upload_file()
            .start()
            .await?;
        let mut sent = Vec::new();
        for source in sources {
            sent.push(send(&mut upload, source).await?);
        }
        let response = upload.finish().await?;
        let stored = compare(sent, response)?;
        let mut text = Vec::new();
        for file in &stored {
            serde_json::to_writer(&mut text, file).expect("texts and numbers have a JSON form");
            text.push(b'\n');
        }
        let mut output = Output::stdout()?;
        output.start(text);
        output.finish().await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut names = HashSet::new();
    paths
        .iter()
        .map(|path| {
            let source = Source::new(path)?;
            match names.insert(source.name.clone()) {
                true => Ok(source),
                false => Err(Failure::other(format!(
                    "several files have the name {:?}, and can only be stored under different ones",
                    source.name
                ))),
            }
        })
        .collect()
}

impl Source {
    fn new(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
        if metadata.is_dir() {
            return Err(Failure::other(format!("{shown} is a folder")));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) => Ok(Self {
                path: path.to_owned(),
                name: name.to_owned(),
            }),
            None => Err(Failure::other(format!("{shown} has no name in UTF-8"))),
        }
    }
}

/// Sends one file, in parts; an empty one in one.
async fn send(upload: &mut Sending, source: Source) -> Result<Stored, Failure> {
    let Source { path, name } = source;
    let opened = path.clone();
    let mut file = blocking(&path, move || File::open(opened)).await?;
    let mut hash = Sha256::new();
    let mut size = 0;
    loop {
        let (rest, part) = blocking(&path, move || read_part(file)).await?;
        file = rest;
        let last = part.len() < PART_BYTES;
        if last && part.is_empty() && size > 0 {
            break;
        }
        hash.update(&part);
        size += part.len() as u64;
        let image = Image {
            file_name: name.clone(),
            content: part,
            ..Image::default()
        };
        upload.send(&StreamImageList { image: Some(image) }).await?;
        if last {
            break;
        }
    }
    Ok(Stored {
        name,
        size,
        sha256: hex(&hash.finalize()),
        url: String::new(),
    })
}

/// Runs `read`, which reads the file at `path`, on another thread: signals and the connection go on meanwhile.
async fn blocking<T: Send + 'static>(
    path: &Path,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let read = spawn_blocking(read).await.map_err(io::Error::other);
    read.flatten().map_err(|error| cannot_read(path, &error))
}

/// Reads the next part: a full one, unless the file ends.
fn read_part(file: File) -> io::Result<(File, Vec<u8>)> {
    let mut part = Vec::with_capacity(PART_BYTES);
    let mut limited = file.take(PART_BYTES as u64);
    limited.read_to_end(&mut part)?;
    Ok((limited.into_inner(), part))
}

/// What the server has stored, when it is what was sent.
fn compare(sent: Vec<Stored>, response: UploadResponse) -> Result<Vec<Stored>, Failure> {
    if response == UploadResponse::default() {
        say("the server does not say what it has stored; this is what was sent");
        return Ok(sent);
    }
    let stored: Vec<_> = response
        .files
        .into_iter()
        .map(|file| Stored {
            name: file.name,
            size: file.size,
            sha256: file.sha256,
            url: file.url,
        })
        .collect();
    let same = |(sent, stored): (&Stored, &Stored)| {
        (&sent.name, sent.size, &sent.sha256) == (&stored.name, stored.size, &stored.sha256)
    };
    if stored.len() != sent.len() || !sent.iter().zip(&stored).all(same) {
        return Err(Failure::other(format!(
            "the server has stored something else than was sent\n  sent: {sent:?}\nstored: {stored:?}"
        )));
    }
    Ok(stored)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot read {}", path.display()), error)
}
