//! Makes a store and fills it with sample orders.
//!
//! In: where, and how many. Out: a file that is whole and on the disk, or none: it is made under another name, and
//! renamed when complete. Not here: reading it (`reader`).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::checksum::checksum;
use super::error::SqliteError;
use super::{PAGE_CACHE_KIB, SCHEMA_VERSION};
use crate::store::date::Date;
use crate::store::folder::sync_folder;

/// Fewer, larger reads for a scan than with SQLite's 4 KiB, and a tree of two levels for 200,000 orders.
const PAGE_SIZE_BYTES: u32 = 16 * 1024;

/// When order 0 was placed; every other follows a second after the one before it.
const FIRST_ORDER: &str = "2024-01-01 00:00:00";

/// `checksum` may be NULL: another program that adds orders need not know how it is made.
const SCHEMA: &str = "
    CREATE TABLE orders (
        id       INTEGER PRIMARY KEY,
        order_sn TEXT NOT NULL,
        date     TEXT NOT NULL,
        checksum INTEGER
    )";

/// What SQLite puts beside a database, after its name.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Removes what a start that was cut left unfinished.
pub(super) fn clear_unfinished(path: &Path) -> io::Result<()> {
    let unfinished = beside(path, ".new");
    remove_companions(&unfinished)?;
    remove_if_there(&unfinished)
}

/// Makes the store at `path`, where there is none.
pub(super) fn fill(path: &Path, orders: u32) -> Result<(), SqliteError> {
    let unfinished = beside(path, ".new");
    write(&unfinished, orders)?;
    File::open(&unfinished)?.sync_all()?;
    // SQLite would take the log of a store that was moved away for the log of this one.
    remove_companions(path)?;
    fs::rename(&unfinished, path)?;
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    Ok(())
}

fn write(path: &Path, orders: u32) -> Result<(), SqliteError> {
    let ids = 0..i64::from(orders);
    if orders > 0 && i32::try_from(ids.end - 1).is_err() {
        return Err(SqliteError::TooManyOrders(orders));
    }
    let mut connection = Connection::open(path)?;
    // No journal and no waiting for the disk: a file that was not finished is thrown away. Pages over the cache go
    // to the file early, so memory does not grow with the number of orders.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_SIZE_BYTES};
         PRAGMA cache_size = -{PAGE_CACHE_KIB};
         PRAGMA journal_mode = OFF;
         PRAGMA synchronous = OFF;
         PRAGMA user_version = {SCHEMA_VERSION};"
    ))?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    {
        let mut insert = transaction.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4)")?;
        let mut date = Date::parse(FIRST_ORDER).expect("the first order has a date");
        let mut order_sn = String::new();
        for id in ids {
            order_sn.clear();
            order_sn.extend(date.digits());
            order_sn.push_str("order_sn");
            let sum = checksum(id, order_sn.as_bytes(), date.as_str().as_bytes());
            insert.execute(params![id, order_sn, date.as_str(), sum])?;
            date = date.next_second();
        }
    }
    transaction.commit()?;
    // Kept in the file: a program that adds orders later does not make readers wait.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn remove_companions(path: &Path) -> io::Result<()> {
    COMPANIONS
        .iter()
        .try_for_each(|suffix| remove_if_there(&beside(path, suffix)))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
