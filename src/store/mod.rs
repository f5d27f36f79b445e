//! Where orders are kept, and how an export reads them: in pages, by id.
//!
//! In: a [`Search`]. Out: [`Page`]s. Between two pages a store keeps nothing for the reader: no cursor, no
//! transaction, no lock, however slow the reader is. Not here: messages and streams (`service`).

pub mod date;
pub mod folder;
pub mod sqlite;

use std::error::Error;
use std::fmt;
use std::mem;

use self::date::Date;
use crate::status::Status;

/// Orders in one page, at most: about 1 MB, and so many that the hand-over between threads costs little.
/// An export holds two pages: the one it sends and the one it reads ahead.
pub const PAGE_ROWS: usize = 16_000;

/// Bytes of text in one page, at most, for each order that it may have: what bounds a page when orders are long. Usual ones
/// have 41.
pub const ROW_BYTES: usize = 48;

/// Bytes of text that any page may have, and one order more, whatever it has.
const LEAST_BYTES: usize = 4096;

/// Orders in one piece of a page, at most: their text is less than 128 KiB unless they are long. From there on glibc asks the system for what
/// it gives out, and once it was freed keeps as much to itself, for each thread anew: a server under mixed load grew by that.
const PIECE_ROWS: usize = 2000;

/// Bytes of text in one order, at most. None is near it: more is damage, and must not be held to find that out.
pub const ORDER_BYTES: usize = 1024 * 1024;

/// Orders with ascending ids, read in pages.
pub trait OrderStore: Send + Sync + 'static {
    /// The first orders that `search` finds, in the order of their ids: at most `rows`, and fewer when they are long
    /// or hard to find. [`Page::rest`] says where to go on.
    ///
    /// # Errors
    /// DATA_LOSS when the store is damaged: a page is right or it is not given. UNAVAILABLE when the store cannot be
    /// read now, INTERNAL when it cannot be read until someone mends it.
    ///
    /// # Cancel safety
    /// Dropping the future stops the read.
    fn page(
        &self,
        search: Search,
        rows: usize,
    ) -> impl Future<Output = Result<Page, Status>> + Send;

    /// How many orders there are.
    ///
    /// # Errors
    /// As [`OrderStore::page`].
    ///
    /// # Cancel safety
    /// As [`OrderStore::page`].
    fn count(&self) -> impl Future<Output = Result<u64, Status>> + Send;
}

/// Which orders to read. The default finds all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Only greater ids.
    pub after: Option<i32>,
    /// Only orders placed at this time or later.
    pub from_date: Option<Date>,
    /// Only orders placed at this time or earlier.
    pub to_date: Option<Date>,
}

/// An order, as it lies in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// Unique; pages are sorted by it.
    pub id: i32,
    /// The order's number.
    pub order_sn: &'a str,
    /// When it was placed, as [`Date`] writes it.
    pub date: &'a str,
}

/// Orders in the order of their ids.
///
/// They lie in a few pieces: two allocations for each of these, and not two for each order, and a page can be dropped on
/// another thread than the one that made it at no cost.
#[derive(Clone, Debug)]
pub struct Page {
    pieces: Vec<Piece>,
    rest: Rest,
}

/// Orders that follow each other, and all their text.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: i32,
    /// Where the order's number ends in the text; it begins where the row before it ends.
    order_sn_end: u32,
    date_end: u32,
}

/// What follows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There may be orders after this id. It can be greater than the last of the page, which can even be empty: a
    /// store reads only so far for orders of the dates asked for.
    After(i32),
    /// No more orders.
    Nothing,
}

impl Page {
    /// The orders.
    pub fn orders(&self) -> impl Iterator<Item = Order<'_>> {
        self.pieces.iter().flat_map(Piece::orders)
    }

    /// How many orders there are.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.rows.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What follows.
    pub fn rest(&self) -> Rest {
        self.rest
    }
}

impl Piece {
    fn orders(&self) -> impl Iterator<Item = Order<'_>> {
        let mut begin = 0;
        self.rows.iter().map(move |row| {
            let order = Order {
                id: row.id,
                order_sn: &self.text[begin..row.order_sn_end as usize],
                date: &self.text[row.order_sn_end as usize..row.date_end as usize],
            };
            begin = row.date_end as usize;
            order
        })
    }
}

/// A page in the making.
#[derive(Debug)]
pub struct PageBuilder {
    full: Vec<PieceBuilder>,
    piece: PieceBuilder,
    last: Option<i32>,
    rows_left: usize,
    bytes_left: usize,
}

impl PageBuilder {
    /// A page of at most `max_rows` orders, and of [`PAGE_ROWS`] whatever is asked.
    pub fn new(max_rows: usize) -> Self {
        let rows_left = max_rows.min(PAGE_ROWS);
        let bytes_left = LEAST_BYTES.max(rows_left * ROW_BYTES);
        Self {
            full: Vec::new(),
            piece: PieceBuilder::new(rows_left, bytes_left),
            last: None,
            rows_left,
            bytes_left,
        }
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.rows_left == 0 || self.bytes_left == 0
    }

    /// Appends an order.
    ///
    /// # Errors
    /// When its id is not greater than the one before, or it has more than [`ORDER_BYTES`] of text.
    pub fn push(&mut self, id: i32, order_sn: &[u8], date: &[u8]) -> Result<(), PageError> {
        if self.last.is_some_and(|last| last >= id) {
            return Err(PageError::Unsorted { id });
        }
        let bytes = order_sn.len() + date.len();
        if bytes > ORDER_BYTES {
            return Err(PageError::TooLong { id });
        }
        if self.piece.is_full() {
            let next = PieceBuilder::new(self.rows_left, self.bytes_left);
            self.full.push(mem::replace(&mut self.piece, next));
        }
        self.piece.push(id, order_sn, date);
        self.last = Some(id);
        self.rows_left = self.rows_left.saturating_sub(1);
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        Ok(())
    }

    /// The page.
    ///
    /// # Errors
    /// When what was pushed is not UTF-8.
    pub fn finish(self, rest: Rest) -> Result<Page, PageError> {
        let pieces = self.full.into_iter().chain([self.piece]);
        let pieces: Result<_, _> = pieces.map(PieceBuilder::finish).collect();
        Ok(Page {
            pieces: pieces?,
            rest,
        })
    }
}

/// A piece in the making.
#[derive(Debug)]
struct PieceBuilder {
    text: Vec<u8>,
    rows: Vec<Row>,
}

impl PieceBuilder {
    /// A piece for what a page has room for, or a part of it.
    fn new(rows_left: usize, bytes_left: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes_left.min(PIECE_ROWS * ROW_BYTES)),
            rows: Vec::with_capacity(rows_left.min(PIECE_ROWS)),
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= PIECE_ROWS || self.text.len() >= PIECE_ROWS * ROW_BYTES
    }

    fn push(&mut self, id: i32, order_sn: &[u8], date: &[u8]) {
        // The last one may be longer than the room that is left; it gets what it needs, and not twice that.
        self.text.reserve_exact(order_sn.len() + date.len());
        self.text.extend_from_slice(order_sn);
        let order_sn_end = self.end();
        self.text.extend_from_slice(date);
        let date_end = self.end();
        self.rows.push(Row {
            id,
            order_sn_end,
            date_end,
        });
    }

    fn end(&self) -> u32 {
        u32::try_from(self.text.len()).expect("a piece that is not full has little")
    }

    fn finish(self) -> Result<Piece, PageError> {
        // One check for the whole piece costs a tenth of one for each text; then none may end inside a character.
        let first = self.rows.first().map_or(0, |row| row.id);
        let text = String::from_utf8(self.text).map_err(|_| PageError::NotText { first })?;
        let split = self.rows.iter().find(|row| {
            !text.is_char_boundary(row.order_sn_end as usize)
                || !text.is_char_boundary(row.date_end as usize)
        });
        match split {
            Some(row) => Err(PageError::NotText { first: row.id }),
            None => Ok(Piece {
                text,
                rows: self.rows,
            }),
        }
    }
}

/// Why orders are no page. All of these say that the store is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// An id that is not greater than the one before it.
    Unsorted {
        /// The id.
        id: i32,
    },
    /// An order with more text than fits.
    TooLong {
        /// Its id.
        id: i32,
    },
    /// Bytes that are no UTF-8.
    NotText {
        /// The order, or the first of its piece of the page when it is not known which.
        first: i32,
    },
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsorted { id } => write!(f, "order {id} does not follow the one before it"),
            Self::TooLong { id } => {
                write!(f, "order {id} has more than {ORDER_BYTES} bytes of text")
            }
            Self::NotText { first } => {
                write!(
                    f,
                    "the text of order {first} or one soon after is not UTF-8"
                )
            }
        }
    }
}

impl Error for PageError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_back_what_was_put_in() {
        let mut page = PageBuilder::new(3);
        page.push(-7, "é".as_bytes(), b"").unwrap();
        page.push(i32::MAX, b"", "日付".as_bytes()).unwrap();
        assert!(!page.is_full());
        let page = page.finish(Rest::Nothing).unwrap();
        let orders: Vec<_> = page.orders().map(|o| (o.id, o.order_sn, o.date)).collect();
        assert_eq!(orders, [(-7, "é", ""), (i32::MAX, "", "日付")]);
        assert_eq!((page.len(), page.rest()), (2, Rest::Nothing));
    }

    #[test]
    fn a_page_is_bounded_in_rows_and_in_bytes() {
        for (max_rows, long, rows) in [
            (usize::MAX, 1024, PAGE_ROWS * ROW_BYTES / 1024),
            (2000, 1024, 94),
            (3, 1024, 3),
            (100, 1024, 5),
            (100, 5000, 1),
            (usize::MAX, 2, PAGE_ROWS),
            (2000, 2, 2000),
        ] {
            let mut page = PageBuilder::new(max_rows);
            let full = (0..).find(|id| {
                let full = page.is_full();
                if !full {
                    page.push(*id, &vec![b'a'; long - 1], b"b").unwrap();
                }
                full
            });
            assert_eq!(full, i32::try_from(rows).ok(), "{max_rows} of {long}");
            let page = page.finish(Rest::Nothing).unwrap();
            assert_eq!(page.len(), rows);
            assert!(page.orders().map(|order| order.id).eq(0..full.unwrap()));
            assert!(page.orders().all(|order| order.order_sn.len() == long - 1));
            for piece in &page.pieces {
                assert!(piece.rows.capacity() <= PIECE_ROWS);
                assert!(piece.text.capacity() <= PIECE_ROWS * ROW_BYTES + long);
            }
        }
    }

    #[test]
    fn what_is_not_text_or_not_sorted_is_no_page() {
        let mut page = PageBuilder::new(3);
        page.push(1, b"\xC3", b"\xA9").unwrap();
        let error = page.finish(Rest::Nothing).unwrap_err();
        assert_eq!(error, PageError::NotText { first: 1 });

        let mut page = PageBuilder::new(3);
        page.push(1, b"\xFF", b"").unwrap();
        assert!(page.finish(Rest::Nothing).is_err());

        let mut page = PageBuilder::new(PAGE_ROWS);
        page.push(-1, b"\xFF", b"").unwrap();
        for id in 0..2 * PIECE_ROWS as i32 {
            page.push(id, b"", b"").unwrap();
        }
        let error = page.finish(Rest::Nothing).unwrap_err();
        assert_eq!(error, PageError::NotText { first: -1 });

        let mut page = PageBuilder::new(3);
        page.push(1, b"", b"").unwrap();
        assert_eq!(page.push(1, b"", b""), Err(PageError::Unsorted { id: 1 }));
    }
}
