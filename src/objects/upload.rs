//! One upload, from its first byte to its publication or to nothing.
//!
//! In: pieces of files, one file after the other. Out: what was stored. Not here: what a name may be (`name`), where
//! things lie (`folder`).

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinSet, spawn_blocking};

use super::cleaner::Leftover;
use super::folder::{ImageFolder, SYNC_THREADS};
use super::{Inner, MAX_DESCRIPTION_BYTES, MAX_FILES, PART_BYTES, UploadError, name};

/// Something the storage does, with all it needs; what it gives back is the file it was given, if that goes on.
///
/// It is kept in the upload and not in the future that waits for it, so that whoever removes a dropped upload can wait
/// for it too.
pub(super) type Step = BoxFuture<'static, Result<Parts, UploadError>>;

type Parts = Option<Box<dyn MultipartUpload>>;

/// What an answer says about a file besides its name and URL: sum, size, and what goes between fields.
const DESCRIPTION_BYTES: usize = 96;

/// A file that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The name the client gave it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Where it is found.
    pub url: String,
}

/// An upload that is under way. Dropping it removes all of it, unless [`Upload::finish`] has succeeded.
pub struct Upload {
    images: Arc<Inner>,
    permit: Option<OwnedSemaphorePermit>,
    id: String,
    state: State,
    /// What the storage is doing.
    step: Option<Step>,
    arriving: Option<Arriving>,
    stored: Vec<StoredFile>,
    names: HashSet<Box<str>>,
    description_bytes: usize,
}

/// Empty ──first file──▶ Staged ──finish──▶ Settled
///                          └─────discard──────▲
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is written.
    Empty,
    /// What is written must not stay.
    Staged,
    /// What is written stays, or nothing is left.
    Settled,
}

/// The file that is arriving.
struct Arriving {
    name: String,
    url: String,
    size: u64,
    sum: Sha256,
    /// What is not written yet.
    buffer: BytesMut,
    /// The file in the storage, once it is too large to be written at once.
    parts: Parts,
}

impl Upload {
    pub(super) fn new(images: Arc<Inner>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            images,
            permit: Some(permit),
            id: new_id(),
            state: State::Empty,
            step: None,
            arriving: None,
            stored: Vec::new(),
            names: HashSet::new(),
            description_bytes: 0,
        }
    }

    /// Appends bytes to the file `name`, which begins with its first bytes, also when these are none, and ends when
    /// another begins. Waits while the storage is slow.
    ///
    /// # Errors
    /// When the name is none, comes back after another, or is one too many, and when the storage fails. The upload has
    /// failed then: discard it.
    ///
    /// # Cancel safety
    /// Not safe: how much was written is unknown. Drop the upload as well.
    pub async fn write(&mut self, name: &str, bytes: Bytes) -> Result<(), UploadError> {
        if self.arriving.as_ref().is_none_or(|file| file.name != name) {
            self.end_file().await?;
            self.begin_file(name).await?;
        }
        let file = self.arriving.as_mut().expect("begun above, or before");
        file.size += bytes.len() as u64;
        file.sum.update(&bytes);
        if file.buffer.len() + bytes.len() < PART_BYTES {
            file.buffer.extend_from_slice(&bytes);
            return Ok(());
        }
        let store = Arc::clone(&self.images.store);
        let path = ImageFolder::part(&self.id);
        let payload = PutPayload::from_iter([file.buffer.split().freeze(), bytes]);
        let parts = file.parts.take();
        let folder = self.images.folder.clone();
        let write = async move {
            spawn_blocking(move || folder.check_room()).await??;
            write_part(store, path, parts, payload).await
        };
        let parts = self.run(write.boxed()).await?;
        self.arriving.as_mut().expect("nothing ended it").parts = parts;
        Ok(())
    }

    /// Publishes the files. When this returns, they are there, and on the disk.
    ///
    /// # Errors
    /// When the storage fails. The upload has failed then: discard it.
    ///
    /// # Cancel safety
    /// Not safe: drop the upload as well, which removes the files even when they were published meanwhile.
    pub async fn finish(&mut self) -> Result<Vec<StoredFile>, UploadError> {
        self.end_file().await?;
        if self.state == State::Staged {
            let names = mem::take(&mut self.names);
            let publish = publish(self.images.folder.clone(), self.id.clone(), names);
            self.run(publish.boxed()).await?;
        }
        self.state = State::Settled;
        Ok(mem::take(&mut self.stored))
    }

    /// Removes everything, and returns when nothing is left.
    ///
    /// # Cancel safety
    /// Safe: dropping the future removes everything too, a little later.
    pub async fn discard(mut self) {
        if self.state != State::Staged {
            return;
        }
        let parts = self.arriving.take().and_then(|file| file.parts);
        let folder = self.images.folder.clone();
        let id = self.id.clone();
        let remove = async move {
            // Removes its temporary file; before the folder goes, so that it need not fail.
            drop(parts);
            spawn_blocking(move || folder.remove(&id)).await??;
            Ok(None)
        };
        match self.run(remove.boxed()).await {
            Ok(_) => self.state = State::Settled,
            // Once more, when it is dropped.
            Err(error) => tracing::warn!(upload = self.id, %error, "an upload cannot be removed"),
        }
    }

    async fn begin_file(&mut self, name: &str) -> Result<(), UploadError> {
        name::check(name).map_err(|error| UploadError::Name {
            name: name.into(),
            error,
        })?;
        if !self.names.insert(name.into()) {
            return Err(UploadError::Returned { name: name.into() });
        }
        if self.names.len() > MAX_FILES {
            return Err(UploadError::TooManyFiles);
        }
        let url = self.images.folder.url(&self.id, name);
        self.description_bytes += name.len() + url.len() + DESCRIPTION_BYTES;
        if self.description_bytes > MAX_DESCRIPTION_BYTES {
            return Err(UploadError::TooLongAnswer);
        }
        if self.state == State::Empty {
            // Before the folder is there: the future may be dropped while it is made.
            self.state = State::Staged;
            let folder = self.images.folder.clone();
            let id = self.id.clone();
            let begin = async move {
                spawn_blocking(move || folder.begin(&id)).await??;
                Ok(None)
            };
            self.run(begin.boxed()).await?;
        }
        self.arriving = Some(Arriving {
            name: name.into(),
            url,
            size: 0,
            sum: Sha256::new(),
            buffer: BytesMut::new(),
            parts: None,
        });
        Ok(())
    }

    async fn end_file(&mut self) -> Result<(), UploadError> {
        let Some(file) = self.arriving.take() else {
            return Ok(());
        };
        let stored = StoredFile {
            name: file.name,
            size: file.size,
            sha256: file.sum.finalize().into(),
            url: file.url,
        };
        let store = Arc::clone(&self.images.store);
        let folder = self.images.folder.clone();
        let (id, name) = (self.id.clone(), stored.name.clone());
        let (parts, buffer) = (file.parts, file.buffer.freeze());
        let end = async move {
            let path = ImageFolder::part(&id);
            write_last(store, path, parts, buffer).await?;
            spawn_blocking(move || folder.keep(&id, &name)).await??;
            Ok(None)
        };
        self.run(end.boxed()).await?;
        self.stored.push(stored);
        Ok(())
    }

    async fn run(&mut self, step: Step) -> Result<Parts, UploadError> {
        let result = self.step.insert(step).await;
        self.step = None;
        result
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.state == State::Staged {
            self.images.cleaner.remove(Leftover {
                id: mem::take(&mut self.id),
                step: self.step.take(),
                parts: self.arriving.take().and_then(|file| file.parts),
                permit: self.permit.take(),
            });
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("arriving", &self.arriving.as_ref().map(|file| &file.name))
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

async fn write_part(
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts: Parts,
    payload: PutPayload,
) -> Result<Parts, UploadError> {
    let mut parts = match parts {
        Some(parts) => parts,
        None => store.put_multipart(&path).await?,
    };
    parts.put_part(payload).await?;
    Ok(Some(parts))
}

async fn write_last(
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts: Parts,
    rest: Bytes,
) -> Result<(), UploadError> {
    let Some(mut parts) = parts else {
        store.put(&path, rest.into()).await?;
        return Ok(());
    };
    if !rest.is_empty() {
        parts.put_part(rest.into()).await?;
    }
    parts.complete().await?;
    Ok(())
}

async fn publish(
    folder: ImageFolder,
    id: String,
    names: HashSet<Box<str>>,
) -> Result<Parts, UploadError> {
    let names: Vec<_> = names.into_iter().collect();
    let names: Arc<[_]> = names.into();
    let mut syncs = JoinSet::new();
    for thread in 0..SYNC_THREADS.min(names.len()) {
        let (folder, id, names) = (folder.clone(), id.clone(), Arc::clone(&names));
        syncs.spawn_blocking(move || {
            let names = names.iter().skip(thread).step_by(SYNC_THREADS);
            folder.sync(&id, names.map(AsRef::as_ref))
        });
    }
    while let Some(synced) = syncs.join_next().await {
        synced??;
    }
    spawn_blocking(move || folder.publish(&id)).await??;
    Ok(None)
}

/// Unlike that of any other upload, and in the order of time for who looks at the folder.
fn new_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 costs the order, nothing else.
    let millis = now.map_or(0, |now| now.as_millis());
    let random = RandomState::new().hash_one(millis);
    format!("{millis:013}-{random:016x}")
}
