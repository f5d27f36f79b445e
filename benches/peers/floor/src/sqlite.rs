//! The orders of a store, as the reader of streamway asks for them, in one scan: what SQLite and rusqlite take to hand each value over.
//! Not here: checking them, keeping them, another thread to send them.

use std::cell::Cell;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Result};

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Opens the store in `file`.
pub fn open(file: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.execute_batch("PRAGMA cache_size = -256")?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("visit", 4, flags, |row| {
        let bytes = (0..4).map(|column| match row.get_raw(column) {
            ValueRef::Text(text) => text.len(),
            _ => 0,
        });
        BYTES.set(BYTES.get() + bytes.sum::<usize>());
        Ok(false)
    })?;
    Ok(connection)
}

/// How many bytes of text all orders have so far.
pub fn read(connection: &Connection) -> Result<usize> {
    let mut orders = connection.prepare(
        "SELECT 1 FROM orders WHERE id >= ?1 AND visit(id, order_sn, date, checksum) ORDER BY id",
    )?;
    orders.exists([i64::MIN])?;
    Ok(BYTES.get())
}
