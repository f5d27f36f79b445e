//! What can go wrong with the file, and the status each becomes.
//!
//! In: SQLite's errors and rows that are not orders. Out: a [`Status`] that says what to do. It names the file but not
//! the folder: the text travels to clients. Not here: the log line, which has both (`mod`).

use std::fmt;
use std::io;

use rusqlite::{ErrorCode, ffi};

use super::FILE_NAME;
use crate::status::Status;
use crate::store::PageError;

#[derive(Debug)]
pub(super) enum SqliteError {
    Sqlite(rusqlite::Error),
    File(io::Error),
    /// The file is a database, but none of ours.
    SchemaVersion(i32),
    /// The row is not an order.
    Row {
        id: i64,
        fault: RowFault,
    },
    Page(PageError),
    /// More orders asked for than there are ids.
    TooManyOrders(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowFault {
    /// A number where text belongs, or the other way round.
    Type,
    /// The id is no `int32`.
    Id,
    /// The row is not what it was when its sum was made.
    Checksum,
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<io::Error> for SqliteError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<PageError> for SqliteError {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => write!(f, "{error}"),
            Self::File(error) => write!(f, "{error}"),
            Self::SchemaVersion(version) => write!(f, "its schema version is {version}"),
            Self::Row { id, fault } => match fault {
                RowFault::Type => write!(f, "row {id} has a column of the wrong type"),
                RowFault::Id => write!(f, "row {id} has an id that is no int32"),
                RowFault::Checksum => write!(f, "row {id} does not match its checksum"),
            },
            Self::Page(error) => write!(f, "{error}"),
            Self::TooManyOrders(orders) => {
                write!(f, "{orders} orders need more ids than int32 has")
            }
        }
    }
}

impl From<&SqliteError> for Status {
    fn from(error: &SqliteError) -> Self {
        match error {
            SqliteError::Sqlite(error) => from_sqlite(error),
            SqliteError::File(error) => Self::internal(format!(
                "{FILE_NAME} cannot be made ({error}): see to the data folder"
            )),
            SqliteError::SchemaVersion(_) => Self::failed_precondition(format!(
                "{FILE_NAME} is no order store that this version can read ({error}): move it away, and a new one is \
                 made at the next start"
            )),
            SqliteError::Row { .. } | SqliteError::Page(_) => damaged(error),
            SqliteError::TooManyOrders(_) => Self::invalid_argument(error.to_string()),
        }
    }
}

fn from_sqlite(error: &rusqlite::Error) -> Status {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return Status::internal(format!("{FILE_NAME} cannot be read ({error})"));
    };
    match (failure.code, failure.extended_code) {
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TooBig, _)
        | (
            ErrorCode::SystemIoFailure,
            ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_DATA | ffi::SQLITE_IOERR_CORRUPTFS,
        ) => damaged(error),
        (
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
            _,
        ) => Status::unavailable(format!(
            "{FILE_NAME} is locked by another program ({error}): try again, or end that program"
        )),
        (ErrorCode::DiskFull, _) => Status::resource_exhausted(format!(
            "{FILE_NAME} has no room ({error}): make room on the disk of the data folder"
        )),
        (ErrorCode::OutOfMemory, _) => Status::resource_exhausted(format!(
            "{FILE_NAME} cannot be read ({error}): try again when the server has less to do"
        )),
        _ => Status::internal(format!(
            "{FILE_NAME} cannot be read ({error}): see to the data folder and its disk"
        )),
    }
}

fn damaged(error: &dyn fmt::Display) -> Status {
    Status::data_loss(format!(
        "{FILE_NAME} is damaged ({error}): restore it from a backup, or move it away, and a new one is made at the \
         next start"
    ))
}
