//! One connection that reads.
//!
//! In: a search. Out: one page, every row of it checked. Not here: threads and waiting (`pool`).

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::checksum::checksum;
use super::error::{RowFault, SqliteError};
use super::{PAGE_CACHE_KIB, SCHEMA_VERSION};
use crate::store::{ORDER_BYTES, Page, PageBuilder, Rest, Search};

/// How long a read waits for a program that has locked the file. Long enough for a checkpoint, short enough for the
/// other exports that wait for this reader.
const BUSY_WAIT: Duration = Duration::from_millis(250);

/// Rows looked at for one page, at most: some milliseconds. A search for dates that few orders have gives way to other
/// exports after that.
const SCAN_ROWS: usize = 50_000;

/// Rows between two looks at whether someone still waits for the page: about 20 µs.
const CANCEL_CHECK_ROWS: usize = 256;

/// `visit` is [`Visit::row`]: SQLite calls it for each row, and stops at the first for which it is true. That is half
/// the cost of stepping from row to row, which leaves and enters SQLite's machine once and asks it nine questions
/// about each.
const PAGE: &str = "
    SELECT 1 FROM orders
    WHERE id >= ?1 AND visit(id, order_sn, date, checksum)
    ORDER BY id";

/// Whether someone still waits for the answer: the future that waits holds the other end.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Weak<()>);

impl Wanted {
    pub(super) fn new() -> (Arc<()>, Self) {
        let waiting = Arc::new(());
        let wanted = Self(Arc::downgrade(&waiting));
        (waiting, wanted)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }
}

thread_local! {
    /// The page that this thread reads. SQLite calls `visit` in the thread that asked, and a lock for each row is a twentieth of an
    /// export.
    static VISIT: RefCell<Option<Visit>> = const { RefCell::new(None) };
}

/// A connection that can only read.
#[derive(Debug)]
pub(super) struct Reader(Connection);

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, SqliteError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_WAIT)?;
        let length = i32::try_from(ORDER_BYTES).expect("an order is short");
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, length)?;
        // Without a map a file that shrinks is an error, and not a signal that ends the process.
        connection.execute_batch(&format!(
            "PRAGMA cache_size = -{PAGE_CACHE_KIB};
             PRAGMA mmap_size = 0;
             PRAGMA trusted_schema = OFF;"
        ))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != SCHEMA_VERSION {
            return Err(SqliteError::SchemaVersion(version));
        }
        connection.create_scalar_function(
            "visit",
            4,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY,
            |row| {
                VISIT.with_borrow_mut(|visit| Ok(visit.as_mut().is_none_or(|visit| visit.row(row))))
            },
        )?;
        Ok(Self(connection))
    }

    /// The page, or `None` when nobody wants it any more.
    pub(super) fn page(
        &mut self,
        search: Search,
        rows: usize,
        wanted: &Wanted,
    ) -> Result<Option<Page>, SqliteError> {
        let first = search
            .after
            .map_or(i64::from(i32::MIN), |id| i64::from(id) + 1);
        let stopped = {
            let mut page = self.0.prepare_cached(PAGE)?;
            VISIT.set(Some(Visit::new(search, rows, wanted.clone())));
            page.exists([first])
        };
        let visit = VISIT.take().expect("put there above");
        match (stopped?, visit.stop) {
            (_, Some(Stop::Fault(error))) => Err(*error),
            (_, Some(Stop::Unwanted)) => Ok(None),
            (_, Some(Stop::Full { last })) => Ok(Some(visit.page.finish(Rest::After(last))?)),
            (_, None) => Ok(Some(visit.page.finish(Rest::Nothing)?)),
        }
    }

    pub(super) fn count(&mut self) -> Result<u64, SqliteError> {
        let mut count = self.0.prepare_cached("SELECT count(*) FROM orders")?;
        let count: i64 = count.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}

/// A page that is being read.
#[derive(Debug)]
struct Visit {
    search: Search,
    page: PageBuilder,
    wanted: Wanted,
    looked_at: usize,
    stop: Option<Stop>,
}

/// Why the read ended before the last row.
#[derive(Debug)]
enum Stop {
    Full {
        last: i32,
    },
    Unwanted,
    /// Boxed, since what is made for every row must be small.
    Fault(Box<SqliteError>),
}

impl Visit {
    fn new(search: Search, rows: usize, wanted: Wanted) -> Self {
        Self {
            search,
            page: PageBuilder::new(rows),
            wanted,
            looked_at: 0,
            stop: None,
        }
    }

    /// Takes a row; true when it was the last to read.
    fn row(&mut self, row: &Context<'_>) -> bool {
        match self.take(row) {
            Ok(()) => false,
            Err(stop) => {
                self.stop = Some(stop);
                true
            }
        }
    }

    fn take(&mut self, row: &Context<'_>) -> Result<(), Stop> {
        let ValueRef::Integer(id) = row.get_raw(0) else {
            return Err(fault(0, RowFault::Type));
        };
        let (ValueRef::Text(order_sn), ValueRef::Text(date)) = (row.get_raw(1), row.get_raw(2))
        else {
            return Err(fault(id, RowFault::Type));
        };
        match row.get_raw(3) {
            ValueRef::Integer(sum) if sum == checksum(id, order_sn, date) => {}
            ValueRef::Integer(_) => return Err(fault(id, RowFault::Checksum)),
            // Made by another program.
            ValueRef::Null => {}
            ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => {
                return Err(fault(id, RowFault::Type));
            }
        }
        let last = i32::try_from(id).map_err(|_| fault(id, RowFault::Id))?;
        if self.is_searched(date) {
            let pushed = self.page.push(last, order_sn, date);
            pushed.map_err(|error| Stop::Fault(Box::new(error.into())))?;
        }
        self.looked_at += 1;
        if self.page.is_full() || self.looked_at == SCAN_ROWS {
            return Err(Stop::Full { last });
        }
        if self.looked_at.is_multiple_of(CANCEL_CHECK_ROWS) && !self.wanted.is_wanted() {
            return Err(Stop::Unwanted);
        }
        Ok(())
    }

    /// Whether the dates are those asked for. Here, and not in the query, so that damage to a date is seen and does
    /// not make its order disappear.
    fn is_searched(&self, date: &[u8]) -> bool {
        let Search {
            from_date, to_date, ..
        } = &self.search;
        from_date.is_none_or(|from| from.as_str().as_bytes() <= date)
            && to_date.is_none_or(|to| date <= to.as_str().as_bytes())
    }
}

#[cold]
fn fault(id: i64, fault: RowFault) -> Stop {
    Stop::Fault(Box::new(SqliteError::Row { id, fault }))
}
