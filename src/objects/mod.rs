//! Where images are kept: uploads in, files out, each upload whole or not at all.
//!
//! In: pieces of named files. Out: what was stored, and where. Not here: messages and streams (`service`).
//!
//! ```text
//! staging/<upload>/part            the file that is arriving, written by object_store
//! staging/<upload>/files/<name>    the files that have arrived
//! images/<upload>/<name>           what the client was told is stored
//! ```
//!
//! When the client has finished, the files are brought to the disk and `staging/<upload>/files` becomes
//! `images/<upload>` in one rename: there is no moment at which some files of an upload are there and others are not.
//! What is under `staging/` at start belongs to uploads that a crash cut, and is removed.
//!
//! **What is promised.** An upload that was answered is there, also after a loss of power. An upload that failed, was
//! cut or expired leaves nothing: before the answer when the server refuses it, soon after when the client has gone,
//! at the next start after a crash. An upload whose answer was lost on the way may be there or not.

mod cleaner;
mod error;
mod folder;
mod name;
mod upload;

use std::io;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tokio::sync::Semaphore;

use self::cleaner::Cleaner;
pub use self::error::UploadError;
use self::folder::ImageFolder;
pub use self::name::NameError;
pub use self::upload::{StoredFile, Upload};
use crate::store::folder::DataFolder;

/// Uploads under way at once, at most; more are refused with RESOURCE_EXHAUSTED. Each holds up to [`PART_BYTES`] and
/// the descriptions of its files.
pub const MAX_UPLOADS: usize = 128;

/// Files in one upload, at most: a client that needs more makes several uploads.
pub const MAX_FILES: usize = 10_000;

/// Bytes that describe the files of one upload in its answer, at most. 2 MiB: enough for [`MAX_FILES`] with names of fifty
/// bytes, and half of what a client receives unless told otherwise.
pub const MAX_DESCRIPTION_BYTES: usize = 2 * 1024 * 1024;

/// Bytes gathered before they are written: enough that the hand-over to a blocking thread does not count. A bucket would
/// need 5 MiB, the least that S3 takes as a part.
pub const PART_BYTES: usize = 256 * 1024;

/// The images of a data folder. Clones share them.
///
/// The last one to be dropped, uploads included, waits until what uploads left behind is removed.
#[derive(Clone, Debug)]
pub struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    folder: ImageFolder,
    /// One permit for each upload, which it keeps until nothing is left of it.
    uploads: Arc<Semaphore>,
    cleaner: Cleaner,
}

impl Images {
    /// Opens the images of the data folder, and removes what a crash left of uploads. Uploads leave `min_free_bytes` on its
    /// disk, give or take [`PART_BYTES`] of each: the orders, the log and everybody else need some. Blocks.
    ///
    /// # Errors
    /// When the folders cannot be made or cleared.
    pub fn open(folder: &DataFolder, min_free_bytes: u64) -> io::Result<Self> {
        let store = LocalFileSystem::new_with_prefix(folder.path()).map_err(io::Error::other)?;
        Self::on(Arc::new(store), folder, min_free_bytes)
    }

    fn on(
        store: Arc<dyn ObjectStore>,
        folder: &DataFolder,
        min_free_bytes: u64,
    ) -> io::Result<Self> {
        let folder = ImageFolder::open(folder, min_free_bytes)?;
        Ok(Self(Arc::new(Inner {
            store,
            uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
            cleaner: Cleaner::new(folder.clone())?,
            folder,
        })))
    }

    /// Begins an upload. Nothing is written before its first file.
    ///
    /// # Errors
    /// [`UploadError::TooManyUploads`].
    pub fn upload(&self) -> Result<Upload, UploadError> {
        let permit = Arc::clone(&self.0.uploads).try_acquire_owned();
        let permit = permit.map_err(|_| UploadError::TooManyUploads)?;
        Ok(Upload::new(Arc::clone(&self.0), permit))
    }
}

#[cfg(test)]
mod tests;
