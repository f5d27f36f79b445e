//! The data folder: everything a server keeps, and the lock that makes it one server's.
//!
//! In: a path. Out: a [`DataFolder`] that exists and is held by this process alone. Not here: what lies in it
//! (`sqlite`, `objects`).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that is locked. It stays behind, empty; the lock ends with the process, however it ends.
const LOCK_FILE: &str = "lock";

/// A data folder, held by this process until the last clone is dropped.
///
/// What is left of a crash is cleared at start; the lock keeps a second server from taking the uploads of a first,
/// which are under way, for such leftovers.
#[derive(Clone, Debug)]
pub struct DataFolder(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder when it is missing, and takes it.
    ///
    /// # Errors
    /// When it cannot be made, is no folder, or another process holds it (`ErrorKind::ResourceBusy`).
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path)?;
        // Absolute, so that a later change of the working directory changes nothing, and URLs are whole.
        let path = path.canonicalize()?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self(Arc::new(Held { path, _lock: lock }))),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "another server holds the data folder {}: stop it, or choose another folder",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// Makes what was renamed or created in `folder` last through a loss of power.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix opens a folder as a file; elsewhere the file system itself orders what belongs together.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/yet/there");
        let first = DataFolder::open(&path).unwrap();
        let clone = first.clone();
        drop(first);
        let error = DataFolder::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("another server"), "{error}");
        drop(clone);
        assert!(DataFolder::open(&path).unwrap().path().is_absolute());
    }
}
