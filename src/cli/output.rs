//! Where a command's data goes: stdout, or a file that appears when it is complete.
//!
//! In: pieces of text. Out: written by another thread while the next piece is made, at most one waiting. Not here: what
//! the text is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, spawn_blocking};

use super::failure::Failure;

/// Data on its way. Dropped before [`Output::finish`], it leaves no new file, and an old one as it was.
#[derive(Debug)]
pub(super) struct Output {
    state: State,
    name: String,
}

#[derive(Debug)]
enum State {
    Idle(Sink),
    Writing(JoinHandle<(Sink, io::Result<()>)>),
    /// A write failed, or is under way and its result will not be asked for.
    Broken,
}

#[derive(Debug)]
enum Sink {
    /// Stdout, or what is there and is no plain file: a pipe, a terminal.
    Open(File),
    /// A file under a temporary name, and its own.
    New(NamedTempFile, PathBuf),
}

impl Output {
    /// Stdout.
    pub(super) fn stdout() -> Result<Self, Failure> {
        const NAME: &str = "stdout";
        // Not `io::stdout()` itself, which takes a stdout that cannot be written to for one that nobody reads.
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = stdout.map_err(|error| cannot_write(NAME, &error))?;
        Ok(Self {
            state: State::Idle(Sink::Open(stdout.into())),
            name: NAME.to_owned(),
        })
    }

    /// The file at `path`; stdout when there is none.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Self::stdout();
        };
        let sink = open(path).map_err(|error| cannot_write(path.display(), &error))?;
        Ok(Self {
            state: State::Idle(sink),
            name: path.display().to_string(),
        })
    }

    /// Waits until what was written last is.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let State::Writing(writing) = &mut self.state else {
            return Ok(());
        };
        match writing.await {
            Ok((sink, Ok(()))) => {
                self.state = State::Idle(sink);
                Ok(())
            }
            Ok((sink, Err(error))) => {
                self.state = State::Broken;
                match (sink, error.kind()) {
                    (Sink::Open(_), io::ErrorKind::BrokenPipe) => Err(Failure::ClosedPipe),
                    _ => Err(cannot_write(&self.name, &error)),
                }
            }
            Err(error) => {
                self.state = State::Broken;
                Err(Failure::other(format!(
                    "cannot write {}: {error}",
                    self.name
                )))
            }
        }
    }

    /// Begins to write `text`; to be called when [`Output::ready`] is.
    pub(super) fn start(&mut self, text: Vec<u8>) {
        if let State::Idle(mut sink) = std::mem::replace(&mut self.state, State::Broken) {
            self.state = State::Writing(spawn_blocking(move || {
                let written = sink.write(&text);
                (sink, written)
            }));
        }
    }

    /// Waits until all is written; a file has its own name then.
    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        self.ready().await?;
        if let State::Idle(Sink::New(file, path)) = self.state {
            let named = spawn_blocking(move || name(file, &path)).await;
            return match named {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(cannot_write(&self.name, &error)),
                Err(error) => Err(Failure::other(format!(
                    "cannot write {}: {error}",
                    self.name
                ))),
            };
        }
        Ok(())
    }
}

impl Sink {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Open(file) => file.write_all(text),
            Self::New(file, _) => file.write_all(text),
        }
    }
}

fn open(path: &Path) -> io::Result<Sink> {
    let path = match fs::metadata(path) {
        // A folder cannot be written to, and says so.
        Ok(there) if !there.is_file() => {
            return OpenOptions::new().write(true).open(path).map(Sink::Open);
        }
        // Of a link, the file that it leads to is replaced, and not the link.
        Ok(_) => fs::canonicalize(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".streamway-").suffix(".partial");
    #[cfg(unix)]
    {
        // As any new file: the umask takes away what others may not.
        use std::os::unix::fs::PermissionsExt;
        temporary.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = temporary.tempfile_in(folder)?;
    Ok(Sink::New(file, path))
}

/// Gives a complete file its own name, once it is on the disk.
fn name(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn cannot_write(name: impl std::fmt::Display, error: &io::Error) -> Failure {
    Failure::io(format_args!("cannot write {name}"), error)
}
