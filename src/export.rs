//! Orders as text while they arrive: one JSON object a line, or CSV.
//!
//! In: the answers of an `OrderList` call. Out: pieces of text, each of whole lines. Not here: making the call, writing
//! the text. The HTTP front and `streamway orders` share it, so that both give the same bytes.

use std::fmt;
use std::mem;

use futures_util::FutureExt;
use serde::Serialize;

use crate::client::Responses;
use crate::proto::{Order, StreamOrderList};
use crate::status::Status;

/// Text in one piece, at most, and a line more. 32 KiB: few enough writes, and little to hold for each reader.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// How orders are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line: {"order":{"id":1,"orderSn":"…","date":"…"}}
    Ndjson,
    /// A header id,orderSn,date and one line for each order.
    Csv,
}

/// The text of an export. Dropped before the end, it cancels the call.
pub struct Export {
    orders: Responses<StreamOrderList>,
    rows: Rows,
    received: u64,
    last_id: Option<i32>,
}

impl Export {
    /// Writes `orders` as `format`.
    pub fn new(orders: Responses<StreamOrderList>, format: Format) -> Self {
        Self {
            orders,
            rows: Rows::new(format),
            received: 0,
            last_id: None,
        }
    }

    /// Waits for an order, and gives it and those that are there already; `None` only when the call has ended with OK.
    ///
    /// # Errors
    /// The status that the call ended with. Every order that came before was given.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        match self.orders.message().await? {
            Some(message) => self.push(&message),
            None => return Ok(self.rows.end()),
        }
        // The end of the call, good or bad, is found again by the next message.
        while self.rows.len() < CHUNK_BYTES
            && let Some(Ok(Some(message))) = self.orders.message().now_or_never()
        {
            self.push(&message);
        }
        Ok(Some(self.rows.take()))
    }

    /// How many orders were given.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The id of the last order that was given, after which another export can go on.
    pub fn last_id(&self) -> Option<i32> {
        self.last_id
    }

    fn push(&mut self, message: &StreamOrderList) {
        self.rows.push(message.order.as_ref());
        self.received += 1;
        if let Some(order) = &message.order {
            self.last_id = Some(order.id);
        }
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("received", &self.received)
            .field("last_id", &self.last_id)
            .finish_non_exhaustive()
    }
}

/// Lines, as they are put together.
enum Rows {
    Ndjson(Vec<u8>),
    /// The header is still to come.
    CsvBegin,
    Csv(Box<csv::Writer<Vec<u8>>>),
}

/// The columns of CSV, named as the fields of the message are.
const CSV_HEADER: [&str; 3] = ["id", "orderSn", "date"];

#[derive(Serialize)]
struct Line<'a> {
    order: Option<OrderLine<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderLine<'a> {
    id: i32,
    order_sn: &'a str,
    date: &'a str,
}

impl Rows {
    fn new(format: Format) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson(Vec::new()),
            Format::Csv => Self::CsvBegin,
        }
    }

    /// Adds a line. A message without an order is one too: as many lines as messages.
    fn push(&mut self, order: Option<&Order>) {
        match self {
            Self::Ndjson(text) => {
                let line = Line {
                    order: order.map(|order| OrderLine {
                        id: order.id,
                        order_sn: &order.order_sn,
                        date: &order.date,
                    }),
                };
                serde_json::to_writer(&mut *text, &line).expect("a Vec takes every line");
                text.push(b'\n');
            }
            Self::CsvBegin => {
                self.begin_csv();
                self.push(order);
            }
            Self::Csv(writer) => match order {
                Some(order) => writer.serialize((order.id, &order.order_sn, &order.date)),
                None => writer.write_record([""; CSV_HEADER.len()]),
            }
            .expect("a Vec takes every line, and all have as many columns"),
        }
    }

    fn begin_csv(&mut self) {
        let mut writer = csv_writer();
        let written = writer.write_record(CSV_HEADER);
        written.expect("a Vec takes the header");
        *self = Self::Csv(Box::new(writer));
    }

    /// How much text there is; of CSV a little less.
    fn len(&self) -> usize {
        match self {
            Self::Ndjson(text) => text.len(),
            Self::CsvBegin => 0,
            Self::Csv(writer) => writer.get_ref().len(),
        }
    }

    /// The text.
    fn take(&mut self) -> Vec<u8> {
        let mut text = match self {
            Self::Ndjson(text) => mem::take(text),
            Self::CsvBegin => Vec::new(),
            Self::Csv(writer) => {
                let full = mem::replace(&mut **writer, csv_writer());
                full.into_inner().expect("a Vec takes every line")
            }
        };
        // A slow reader holds several: without the room that it grew by.
        text.shrink_to_fit();
        text
    }

    /// What there is to say when there are no more orders: the header, when there was none at all.
    fn end(&mut self) -> Option<Vec<u8>> {
        if !matches!(self, Self::CsvBegin) {
            return None;
        }
        self.begin_csv();
        Some(self.take())
    }
}

fn csv_writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: i32, order_sn: &str, date: &str) -> Order {
        Order {
            id,
            order_sn: order_sn.to_owned(),
            date: date.to_owned(),
        }
    }

    fn text(format: Format, orders: &[Option<Order>]) -> String {
        let mut rows = Rows::new(format);
        let mut text = Vec::new();
        for order in orders {
            rows.push(order.as_ref());
            text.extend(rows.take());
        }
        text.extend(rows.end().unwrap_or_default());
        assert_eq!(rows.end(), None);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_json_line_has_every_field_and_escapes_what_must_be() {
        let orders = [
            Some(order(0, "20240101000000order_sn", "2024-01-01 00:00:00")),
            Some(order(-1, "a\"b\nc", "")),
            None,
        ];
        assert_eq!(
            text(Format::Ndjson, &orders),
            "{\"order\":{\"id\":0,\"orderSn\":\"20240101000000order_sn\",\"date\":\"2024-01-01 00:00:00\"}}\n\
             {\"order\":{\"id\":-1,\"orderSn\":\"a\\\"b\\nc\",\"date\":\"\"}}\n\
             {\"order\":null}\n"
        );
        assert_eq!(text(Format::Ndjson, &[]), "");
    }

    #[test]
    fn csv_has_one_header_and_quotes_what_must_be() {
        let orders = [
            Some(order(0, "sn", "2024-01-01 00:00:00")),
            Some(order(7, "a,b", "\"now\"")),
            None,
        ];
        assert_eq!(
            text(Format::Csv, &orders),
            "id,orderSn,date\n0,sn,2024-01-01 00:00:00\n7,\"a,b\",\"\"\"now\"\"\"\n,,\n"
        );
    }

    #[test]
    fn csv_without_orders_is_its_header() {
        assert_eq!(text(Format::Csv, &[]), "id,orderSn,date\n");
    }

    #[test]
    fn text_is_counted_so_that_a_piece_can_end() {
        for format in [Format::Ndjson, Format::Csv] {
            let mut rows = Rows::new(format);
            let line = order(1, &"x".repeat(1000), "");
            let pushed = (1..)
                .find(|_| {
                    rows.push(Some(&line));
                    rows.len() >= CHUNK_BYTES
                })
                .unwrap();
            assert!((30..50).contains(&pushed), "{format:?}: {pushed}");
        }
    }
}
