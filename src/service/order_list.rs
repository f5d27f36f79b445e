//! OrderList: the orders of the store, one message each.
//!
//! In: what to search. Out: orders, page after page; the next page is read while one is sent. Not here: how a page is
//! read (`store`), what makes sending wait (`call`).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::{MaybeDone, maybe_done};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::Sender;
use crate::proto::{Order, OrderSearchParams, StreamOrderList};
use crate::status::Status;
use crate::store::date::Date;
use crate::store::{OrderStore, PAGE_ROWS, Page, Rest, Search};

/// Orders of a page that any export may have: of the first, and of those for which there is no place among
/// [`LARGE_PLACES`]. About 5 KB: an export that nobody reads holds two.
const SMALL_PAGE_ROWS: usize = 64;

/// Places for large pages, of all exports together, each for [`PLACE_ROWS`] orders. 32: 4 MB, and twice that when
/// orders are so long and so short that pieces of a page fill up in text here and in orders there. However many exports stand still, they hold no
/// more than that and small pages, which cost more hand-overs.
pub(super) const LARGE_PLACES: usize = 32;

/// Orders of a page with one place.
const PLACE_ROWS: usize = 2000;

/// The part of the free places that one page takes, at most. A quarter: an export that is alone has pages of
/// [`PAGE_ROWS`], which cost a tenth less of its CPU than those of one place, and six more that stand still have places too.
const SHARE: usize = 4;

/// Dropping the future ends the read that is under way.
pub(super) async fn order_list<S: OrderStore>(
    store: &S,
    large_places: &Semaphore,
    params: &OrderSearchParams,
    tx: &mut Sender<StreamOrderList>,
) -> Result<(), Status> {
    let mut export = Export::new(store, large_places, search(params)?, limit(params));
    // One message for all orders: its text is written anew and not allocated anew.
    let mut message = StreamOrderList {
        order: Some(Order::default()),
    };
    while let Some(held) = export.next_page().await? {
        let mut rows = held.page.orders();
        let sent = tx.send_while(&mut message, |message| {
            let Some(row) = rows.next() else { return false };
            let order = message.order.get_or_insert_default();
            order.id = row.id;
            order.order_sn.clear();
            order.order_sn.push_str(row.order_sn);
            order.date.clear();
            order.date.push_str(row.date);
            true
        });
        export.read_while(sent).await?;
    }
    Ok(())
}

fn search(params: &OrderSearchParams) -> Result<Search, Status> {
    let search = Search {
        after: params.after_id,
        from_date: date("fromDate", &params.from_date)?,
        to_date: date("toDate", &params.to_date)?,
    };
    if let (Some(from), Some(to)) = (search.from_date, search.to_date)
        && from > to
    {
        // Nothing lies between them: a client that asks for it has mixed them up, and an empty export would hide that.
        return Err(Status::invalid_argument(format!(
            "fromDate {from} is after toDate {to}"
        )));
    }
    Ok(search)
}

fn date(field: &str, text: &str) -> Result<Option<Date>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let date = Date::parse(text);
    date.map(Some)
        .map_err(|error| Status::invalid_argument(format!("{field} {text:?} is {error}")))
}

fn limit(params: &OrderSearchParams) -> usize {
    match params.limit {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// An export: its pages, one read ahead of the one that is sent.
struct Export<'s, S> {
    store: &'s S,
    large_places: &'s Semaphore,
    search: Search,
    /// Orders still wanted.
    wanted: usize,
    /// The page after the last one given; `None` when there is none.
    ahead: Option<MaybeDone<Read<'s>>>,
}

/// A page in memory.
struct Held<'s> {
    page: Page,
    /// Those of a large one.
    _places: Option<SemaphorePermit<'s>>,
}

type Read<'s> = Pin<Box<dyn Future<Output = Result<Held<'s>, Status>> + Send + 's>>;

impl<'s, S: OrderStore> Export<'s, S> {
    fn new(store: &'s S, large_places: &'s Semaphore, search: Search, limit: usize) -> Self {
        let mut export = Self {
            store,
            large_places,
            search,
            wanted: limit,
            ahead: None,
        };
        export.ahead = Some(export.read(None));
        export
    }

    /// The next page with orders.
    async fn next_page(&mut self) -> Result<Option<Held<'s>>, Status> {
        while let Some(mut read) = self.ahead.take() {
            (&mut read).await;
            let held = Pin::new(&mut read).take_output();
            let held = held.expect("awaited above, taken once")?;
            self.wanted = self.wanted.saturating_sub(held.page.len());
            if let Rest::After(id) = held.page.rest()
                && self.wanted > 0
            {
                self.search.after = Some(id);
                self.ahead = Some(begun(self.read(self.places())).await);
            }
            if !held.page.is_empty() {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    /// Those of the next page; `None` when it is small.
    fn places(&self) -> Option<SemaphorePermit<'s>> {
        if self.wanted <= SMALL_PAGE_ROWS {
            return None;
        }
        let wanted = self.wanted.div_ceil(PLACE_ROWS);
        let share = self.large_places.available_permits() / SHARE;
        let places = share.min(wanted).clamp(1, PAGE_ROWS / PLACE_ROWS);
        let places = u32::try_from(places).expect("a page has few");
        self.large_places.try_acquire_many(places).ok()
    }

    /// Waits for `sent`, and reads on while it does. A read that has begun must not stand still: what it holds or has been
    /// given, its place among those who wait for the store, nobody else can have.
    async fn read_while<T>(&mut self, sent: impl Future<Output = T>) -> T {
        let mut sent = pin!(sent);
        poll_fn(|cx| {
            let done = sent.as_mut().poll(cx);
            if done.is_pending()
                && let Some(ahead) = &mut self.ahead
            {
                let _ = ahead.poll_unpin(cx);
            }
            done
        })
        .await
    }

    fn read(&self, places: Option<SemaphorePermit<'s>>) -> MaybeDone<Read<'s>> {
        let most = match &places {
            Some(places) => places.num_permits() * PLACE_ROWS,
            None => SMALL_PAGE_ROWS,
        };
        let page = self.store.page(self.search, self.wanted.min(most));
        let read: Read<'s> = Box::pin(async {
            Ok(Held {
                page: page.await?,
                _places: places,
            })
        });
        maybe_done(read)
    }
}

/// Begins a read, which goes on on another thread while the page before is sent.
async fn begun(mut read: MaybeDone<Read<'_>>) -> MaybeDone<Read<'_>> {
    poll_fn(|cx| {
        let _ = read.poll_unpin(cx);
        Poll::Ready(())
    })
    .await;
    read
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::status::Code;
    use crate::store::PageBuilder;

    /// Orders in memory: these ids, in pages of at most so many.
    struct InMemory {
        ids: Vec<i32>,
        page_rows: usize,
        reads: AtomicUsize,
    }

    impl InMemory {
        fn new(ids: impl IntoIterator<Item = i32>, page_rows: usize) -> Self {
            Self {
                ids: ids.into_iter().collect(),
                page_rows,
                reads: AtomicUsize::new(0),
            }
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::Relaxed)
        }
    }

    impl OrderStore for InMemory {
        async fn page(&self, search: Search, rows: usize) -> Result<Page, Status> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let mut page = PageBuilder::new(rows.min(self.page_rows));
            let after = |id: &i32| search.after.is_none_or(|after| *id > after);
            for id in self.ids.iter().copied().filter(after) {
                page.push(id, b"sn", b"date").unwrap();
                if page.is_full() {
                    return Ok(page.finish(Rest::After(id)).unwrap());
                }
            }
            Ok(page.finish(Rest::Nothing).unwrap())
        }

        async fn count(&self) -> Result<u64, Status> {
            Ok(self.ids.len() as u64)
        }
    }

    async fn ids(store: &InMemory, params: &OrderSearchParams) -> Vec<i32> {
        let places = Semaphore::new(LARGE_PLACES);
        let mut export = Export::new(store, &places, search(params).unwrap(), limit(params));
        let mut ids = Vec::new();
        while let Some(held) = export.next_page().await.unwrap() {
            ids.extend(held.page.orders().map(|order| order.id));
        }
        ids
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        future.now_or_never().expect("nothing waits in memory")
    }

    proptest! {
        #[test]
        fn an_export_cut_anywhere_resumes_with_exactly_the_rest(
            orders in proptest::collection::btree_set(any::<i32>(), 0..60),
            page_rows in 1usize..10,
            cut in any::<prop::sample::Index>(),
            limit in 0u32..70,
        ) {
            let store = InMemory::new(orders.iter().copied(), page_rows);
            let all = block_on(ids(&store, &OrderSearchParams::default()));
            prop_assert_eq!(&all, &orders.iter().copied().collect::<Vec<_>>());

            let limited = OrderSearchParams { limit, ..Default::default() };
            let first = block_on(ids(&store, &limited));
            let expected = if limit == 0 { all.len() } else { all.len().min(limit as usize) };
            prop_assert_eq!(&first[..], &all[..expected]);

            if !all.is_empty() {
                let cut = cut.index(all.len());
                let after_id = Some(all[cut]);
                let rest = OrderSearchParams { after_id, ..Default::default() };
                prop_assert_eq!(&block_on(ids(&store, &rest))[..], &all[cut + 1..]);
            }
        }
    }

    #[test]
    fn no_more_than_one_page_is_read_ahead() {
        let store = InMemory::new(0..100, 10);
        let places = Semaphore::new(LARGE_PLACES);
        let mut export = Export::new(&store, &places, Search::default(), usize::MAX);
        assert_eq!(store.reads(), 0);
        for page in 1..=10 {
            let held = block_on(export.next_page()).unwrap().unwrap();
            assert_eq!(held.page.len(), 10);
            assert_eq!(store.reads(), page + 1);
        }
        assert!(block_on(export.next_page()).unwrap().is_none());
        assert!(block_on(export.next_page()).unwrap().is_none());
        assert_eq!(store.reads(), 11);
    }

    #[test]
    fn pages_are_small_at_first_and_when_there_is_no_place_for_large_ones() {
        let store = InMemory::new(0..10_000, usize::MAX);
        let places = Semaphore::new(3);
        let exports = (0..2).map(|_| {
            let mut export = Export::new(&store, &places, Search::default(), usize::MAX);
            let pages: Vec<_> = (0..3)
                .map(|_| block_on(export.next_page()).unwrap().unwrap())
                .collect();
            (pages, export)
        });
        let exports: Vec<_> = exports.collect();
        let sizes = |n: usize| exports[n].0.iter().map(|held| held.page.len());
        // The third place is that of the page that the first has read ahead.
        let (small, large) = (SMALL_PAGE_ROWS, PLACE_ROWS);
        assert!(sizes(0).eq([small, large, large]));
        assert!(sizes(1).eq([small, small, small]));
        drop(exports);
        assert_eq!(places.available_permits(), 3);
    }

    #[test]
    fn an_export_that_is_alone_has_the_largest_pages_and_those_beside_it_have_smaller_ones() {
        let store = InMemory::new(0..100_000, usize::MAX);
        let places = Semaphore::new(LARGE_PLACES);
        let exports: Vec<_> = (0..12)
            .map(|_| {
                let mut export = Export::new(&store, &places, Search::default(), usize::MAX);
                block_on(export.next_page()).unwrap();
                let held = block_on(export.next_page()).unwrap().unwrap();
                (held.page.len() / PLACE_ROWS, held, export)
            })
            .collect();
        // Each has read a page ahead, too.
        let large = exports.iter().map(|(places, ..)| *places);
        assert_eq!(
            large.collect::<Vec<_>>(),
            [8, 4, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0]
        );
        drop(exports);
        assert_eq!(places.available_permits(), LARGE_PLACES);

        // Nobody takes more than is left to read.
        let params = OrderSearchParams {
            limit: 3_000,
            ..Default::default()
        };
        let mut export = Export::new(&store, &places, Search::default(), limit(&params));
        block_on(export.next_page()).unwrap();
        assert_eq!(places.available_permits(), LARGE_PLACES - 2);
    }

    /// A store that reads one page at a time, and lets whoever waits take turns.
    struct OneByOne(Semaphore);

    impl OrderStore for OneByOne {
        async fn page(&self, search: Search, _: usize) -> Result<Page, Status> {
            let _turn = self.0.acquire().await.unwrap();
            let id = search.after.map_or(0, |after| after + 1);
            let mut page = PageBuilder::new(1);
            page.push(id, b"sn", b"date").unwrap();
            Ok(page.finish(Rest::After(id)).unwrap())
        }

        async fn count(&self) -> Result<u64, Status> {
            Ok(u64::MAX)
        }
    }

    #[test]
    fn a_read_ahead_goes_on_while_the_client_does_not_read() {
        let store = OneByOne(Semaphore::new(1));
        let places = Semaphore::new(LARGE_PLACES);
        let export = || Export::new(&store, &places, Search::default(), usize::MAX);
        let mut stalled = export();
        block_on(stalled.next_page()).unwrap();
        let turn = store.0.try_acquire().unwrap();
        // The page that was read ahead; the next has to wait for its turn.
        block_on(stalled.next_page()).unwrap();
        let mut sent = pin!(stalled.read_while(std::future::pending::<()>()));
        assert!(sent.as_mut().now_or_never().is_none());
        drop(turn);
        // It was given the turn, and woken.
        assert!(sent.as_mut().now_or_never().is_none());
        assert!(block_on(export().next_page()).unwrap().is_some());
    }

    #[test]
    fn nothing_is_read_that_the_limit_leaves_out() {
        let store = InMemory::new(0..100, 10);
        let params = OrderSearchParams {
            limit: 20,
            ..Default::default()
        };
        assert_eq!(block_on(ids(&store, &params)).len(), 20);
        assert_eq!(store.reads(), 2);
    }

    #[test]
    fn dates_are_read_strictly_and_in_order() {
        let params = |from: &str, to: &str| OrderSearchParams {
            from_date: from.into(),
            to_date: to.into(),
            ..Default::default()
        };
        let day = "2024-01-01 00:00:00";
        for (from, to) in [("", ""), (day, ""), ("", day), (day, day)] {
            search(&params(from, to)).unwrap();
        }
        for (from, to, says) in [
            (
                "2024-01-01",
                "",
                "fromDate \"2024-01-01\" is not of the form YYYY-MM-DD hh:mm:ss",
            ),
            (
                "",
                "2024-02-30 00:00:00",
                "toDate \"2024-02-30 00:00:00\" is a day that does not exist",
            ),
            (
                "2024-01-01 00:00:01",
                day,
                "fromDate 2024-01-01 00:00:01 is after toDate 2024-01-01 00:00:00",
            ),
        ] {
            let status = search(&params(from, to)).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert_eq!(status.message(), says);
        }
    }
}
