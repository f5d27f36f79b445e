//! What only a local folder can do: take names as they are, make what it has last, and publish an upload in one
//! rename. A bucket would have another of this, with a list of the files written last in the place of the rename.
//!
//! In: ids and names that are checked. Out: files. Every method blocks.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::UploadError;
use crate::store::folder::{DataFolder, sync_folder};

const STAGING: &str = "staging";
const IMAGES: &str = "images";

/// What a path in a URL needs no escape for (RFC 3986, "unreserved"), and the separator.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Threads that bring files to the disk at once. A disk does many small writes together nearly as fast as one.
pub(super) const SYNC_THREADS: usize = 8;

/// The folders of uploads and images.
#[derive(Clone, Debug)]
pub(super) struct ImageFolder {
    data: DataFolder,
    /// The URL of `images`, without a separator at the end.
    url: Arc<str>,
    /// What uploads leave free on the disk.
    min_free_bytes: u64,
}

impl ImageFolder {
    /// Makes the folders, and removes what a crash left of uploads.
    pub(super) fn open(data: &DataFolder, min_free_bytes: u64) -> io::Result<Self> {
        let images = data.path().join(IMAGES);
        let path = percent_encode(images.as_os_str().as_encoded_bytes(), ESCAPED);
        let folder = Self {
            data: data.clone(),
            url: format!("file://{path}").into(),
            min_free_bytes,
        };
        fs::create_dir_all(&images)?;
        fs::create_dir_all(folder.staging())?;
        for entry in fs::read_dir(folder.staging())? {
            let entry = entry?;
            tracing::info!(leftover = %entry.path().display(), "an upload was cut by a crash, its files are removed");
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        sync_folder(data.path())?;
        Ok(folder)
    }

    /// Where object_store writes the file that is arriving.
    pub(super) fn part(id: &str) -> Path {
        Path::from_iter([STAGING, id, "part"])
    }

    /// The URL under which a file will be found.
    pub(super) fn url(&self, id: &str, name: &str) -> String {
        let name = percent_encode(name.as_bytes(), ESCAPED);
        format!("{}/{id}/{name}", self.url)
    }

    /// Whether uploads may take more of the disk.
    pub(super) fn check_room(&self) -> Result<(), UploadError> {
        let disk = rustix::fs::statvfs(self.data.path()).map_err(io::Error::from)?;
        // What root keeps for itself is not free.
        match disk.f_bavail.saturating_mul(disk.f_frsize) < self.min_free_bytes {
            true => Err(UploadError::NoRoom),
            false => Ok(()),
        }
    }

    /// Makes the folders of an upload.
    pub(super) fn begin(&self, id: &str) -> Result<(), UploadError> {
        self.check_room()?;
        // Not `create_dir_all`: an upload that has the same id must not be joined.
        fs::create_dir(self.staging().join(id))?;
        fs::create_dir(self.files(id))?;
        Ok(())
    }

    /// Gives the file that has arrived its name.
    pub(super) fn keep(&self, id: &str, name: &str) -> Result<(), UploadError> {
        self.check_room()?;
        let file = self.files(id).join(name);
        // A rename would replace it. Nobody else writes here, so nothing can come in between.
        match fs::symlink_metadata(&file) {
            Ok(_) => return Err(UploadError::SameName { name: name.into() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        fs::rename(self.staging().join(id).join("part"), file)?;
        Ok(())
    }

    /// Brings files that are kept to the disk.
    pub(super) fn sync<'a>(
        &self,
        id: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> io::Result<()> {
        let files = self.files(id);
        names.try_for_each(|name| File::open(files.join(name))?.sync_all())
    }

    /// Makes the files that are kept, and synced, the images of the upload. From here on they are there.
    pub(super) fn publish(&self, id: &str) -> io::Result<()> {
        sync_folder(&self.files(id))?;
        let images = self.data.path().join(IMAGES);
        fs::rename(self.files(id), images.join(id))?;
        sync_folder(&images)?;
        fs::remove_dir(self.staging().join(id))
    }

    /// Removes what there is of an upload, published or not.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        // First what can be seen.
        for folder in [
            self.data.path().join(IMAGES).join(id),
            self.staging().join(id),
        ] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn staging(&self) -> PathBuf {
        self.data.path().join(STAGING)
    }

    fn files(&self, id: &str) -> PathBuf {
        self.staging().join(id).join("files")
    }
}
