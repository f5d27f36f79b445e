//! Orders in SQLite, in one file of the data folder.
//!
//! In: a [`DataFolder`]. Out: an [`OrderStore`]. Made at the first start and filled with sample orders; from then on
//! only read, with nothing locked between two pages, so that any other program may add orders. Not here: what a page
//! is (`store`).

mod checksum;
mod error;
mod fill;
mod pool;
mod reader;

use self::error::SqliteError;
use self::pool::Pool;
use self::reader::Reader;
use super::{OrderStore, Page, Search};
use crate::status::Status;
use crate::store::folder::DataFolder;

/// The file, in the data folder.
const FILE_NAME: &str = "orders.db";

/// Which tables the file has: `user_version` in its header.
const SCHEMA_VERSION: i32 = 1;

/// Threads that read, each with its connection: more would only wait for the same disk.
const READERS: usize = 4;

/// Memory for pages of the file, for each connection. The inner nodes of the tree and the leaves being read; a scan
/// gains nothing from keeping more.
const PAGE_CACHE_KIB: u32 = 256;

/// Orders in SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    pool: Pool,
    folder: DataFolder,
}

impl SqliteStore {
    /// Opens the store of the data folder. When there is none, makes it, with `sample_orders` orders. Blocks.
    ///
    /// A store appears whole or not at all: one that was not finished, because the process or the machine ended, is
    /// made anew.
    ///
    /// # Errors
    /// DATA_LOSS when the file is damaged, FAILED_PRECONDITION when it is no order store, INVALID_ARGUMENT for more
    /// sample orders than there are ids, INTERNAL and RESOURCE_EXHAUSTED when it cannot be made.
    pub fn open(folder: &DataFolder, sample_orders: u32) -> Result<Self, Status> {
        Self::try_open(folder, sample_orders).map_err(|error| Status::from(&error))
    }

    fn try_open(folder: &DataFolder, sample_orders: u32) -> Result<Self, SqliteError> {
        let path = folder.path().join(FILE_NAME);
        fill::clear_unfinished(&path)?;
        if !path.try_exists()? {
            fill::fill(&path, sample_orders)?;
        }
        let readers: Result<Vec<_>, _> = (0..READERS).map(|_| Reader::open(&path)).collect();
        Ok(Self {
            pool: Pool::new(readers?)?,
            folder: folder.clone(),
        })
    }

    fn status(&self, error: &SqliteError) -> Status {
        let status = Status::from(error);
        let folder = self.folder.path().display();
        tracing::error!(%folder, file = FILE_NAME, code = %status.code(), %error, "orders cannot be read");
        status
    }
}

impl OrderStore for SqliteStore {
    async fn page(&self, search: Search, rows: usize) -> Result<Page, Status> {
        let read = move |reader: &mut Reader, wanted: &_| reader.page(search, rows, wanted);
        match self.pool.run(read).await {
            Some(Ok(Some(page))) => Ok(page),
            // Unwanted only when this future is gone; then no one reads this.
            Some(Ok(None)) | None => Err(read_panicked()),
            Some(Err(error)) => Err(self.status(&error)),
        }
    }

    async fn count(&self) -> Result<u64, Status> {
        match self.pool.run(|reader, _| reader.count()).await {
            Some(result) => result.map_err(|error| self.status(&error)),
            None => Err(read_panicked()),
        }
    }
}

fn read_panicked() -> Status {
    Status::internal(format!("reading {FILE_NAME} failed: see the server's log"))
}

#[cfg(test)]
mod tests;
