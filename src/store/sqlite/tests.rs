use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::status::Code;
use crate::store::date::Date;
use crate::store::{PAGE_ROWS, Rest};

/// A store that lives as long as the test, and where it is.
struct Fixture {
    store: SqliteStore,
    file: PathBuf,
    _dir: TempDir,
}

fn fixture(orders: u32) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    Fixture {
        store: SqliteStore::open(&folder, orders).unwrap(),
        file: folder.path().join(FILE_NAME),
        _dir: dir,
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

type Owned = (i32, String, String);

/// Everything a search finds, read in pages of `rows`.
async fn read(store: &SqliteStore, mut search: Search, rows: usize) -> Result<Vec<Owned>, Status> {
    let mut all = Vec::new();
    loop {
        let page = store.page(search, rows).await?;
        let orders = page.orders();
        all.extend(orders.map(|o| (o.id, o.order_sn.to_owned(), o.date.to_owned())));
        match page.rest() {
            Rest::After(id) => search.after = Some(id),
            Rest::Nothing => return Ok(all),
        }
    }
}

fn read_all(store: &SqliteStore) -> Result<Vec<Owned>, Status> {
    block_on(read(store, Search::default(), PAGE_ROWS))
}

/// The sample orders, made another way than the store makes them.
fn samples(orders: u32) -> Vec<Owned> {
    let order = |id: u32| {
        let (day, second) = (id / 86_400 + 1, id % 86_400);
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        (
            i32::try_from(id).unwrap(),
            format!("202401{day:02}{h:02}{m:02}{s:02}order_sn"),
            format!("2024-01-{day:02} {h:02}:{m:02}:{s:02}"),
        )
    };
    (0..orders).map(order).collect()
}

#[test]
fn a_new_store_has_the_sample_orders() {
    for orders in [0, 1, 15_999, 16_000, 16_001, 100_000] {
        let fixture = fixture(orders);
        assert_eq!(block_on(fixture.store.count()).unwrap(), u64::from(orders));
        assert_eq!(read_all(&fixture.store).unwrap(), samples(orders));
    }
}

#[test]
fn a_store_that_is_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    drop(SqliteStore::open(&folder, 10).unwrap());
    let store = SqliteStore::open(&folder, 20).unwrap();
    assert_eq!(read_all(&store).unwrap(), samples(10));
}

#[test]
fn a_store_that_was_not_finished_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    drop(SqliteStore::open(&folder, 5000).unwrap());
    let path = folder.path().join(FILE_NAME);
    // As a crash leaves it: half a file under the other name, and what SQLite keeps beside it.
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(
        folder.path().join("orders.db.new"),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    fs::write(folder.path().join("orders.db.new-journal"), b"left").unwrap();
    fs::write(
        folder.path().join("orders.db-wal"),
        b"of a store moved away",
    )
    .unwrap();
    let store = SqliteStore::open(&folder, 3000).unwrap();
    assert_eq!(read_all(&store).unwrap(), samples(3000));
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("new") || name.contains("journal"))
        .collect();
    left.sort();
    assert_eq!(left, [""; 0]);
}

#[test]
fn more_orders_than_ids_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    let status = SqliteStore::open(&folder, u32::MAX).unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

/// Kept for all cases of the properties: each only reads.
static MANY: LazyLock<Fixture> = LazyLock::new(|| fixture(600));

fn a_date() -> impl Strategy<Value = Option<Date>> {
    proptest::option::of((0u32..700).prop_map(|second| {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Date::parse(&format!("2024-01-01 {hour:02}:{minute:02}:{second:02}")).unwrap()
    }))
}

proptest! {
    #[test]
    fn any_search_in_pages_of_any_size_finds_exactly_what_it_should(
        after in proptest::option::of(prop_oneof![-2i32..602, any::<i32>()]),
        rows in prop_oneof![1usize..8, 1usize..700],
        from_date in a_date(),
        to_date in a_date(),
    ) {
        let search = Search { after, from_date, to_date };
        let found = block_on(read(&MANY.store, search, rows)).unwrap();
        let mut expected = samples(600);
        expected.retain(|(id, _, date)| {
            after.is_none_or(|after| *id > after)
                && from_date.is_none_or(|from| from.as_str() <= date.as_str())
                && to_date.is_none_or(|to| date.as_str() <= to.as_str())
        });
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_search_that_finds_little_gives_way_and_goes_on() {
    let fixture = fixture(120_000);
    let late = Date::parse("2024-01-02 09:00:00").unwrap();
    let search = Search {
        from_date: Some(late),
        ..Search::default()
    };
    let first = block_on(fixture.store.page(search, PAGE_ROWS)).unwrap();
    assert!(first.is_empty());
    assert_eq!(first.rest(), Rest::After(49_999));
    let found = block_on(read(&fixture.store, search, PAGE_ROWS)).unwrap();
    assert_eq!(found, samples(120_000)[118_800..]);
}

#[test]
fn what_another_program_adds_is_read_too() {
    let fixture = fixture(2);
    let other = Connection::open(&fixture.file).unwrap();
    let insert =
        "INSERT INTO orders (id, order_sn, date) VALUES (-5, 'früh', '2023-01-01 00:00:00')";
    other.execute(insert, []).unwrap();
    let orders = read_all(&fixture.store).unwrap();
    assert_eq!(orders.len(), 3);
    assert_eq!(orders[0].1, "früh");
}

#[test]
fn a_row_that_is_no_order_is_data_loss_and_no_order() {
    for values in [
        "(7, x'00', '2023-01-01 00:00:00', NULL)",
        "(7, 'sn', x'00', NULL)",
        "(7, CAST(x'FF' AS TEXT), '2023-01-01 00:00:00', NULL)",
        "(7, 'sn', '2023-01-01 00:00:00', 'text')",
        "(7, 'sn', '2023-01-01 00:00:00', 1)",
        "(2147483648, 'sn', '2023-01-01 00:00:00', NULL)",
        "(7, printf('%.2000000c', 'x'), '2023-01-01 00:00:00', NULL)",
    ] {
        let fixture = fixture(3);
        let other = Connection::open(&fixture.file).unwrap();
        other
            .execute(&format!("INSERT INTO orders VALUES {values}"), [])
            .unwrap();
        let status = read_all(&fixture.store).unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{values}: {status}");
    }
}

fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn bytes_that_change_in_the_middle_of_the_file_are_data_loss_and_never_other_orders() {
    let expected = samples(20_000);
    for bytes in [
        &[0xFF; 3000][..],
        &[0; 3000],
        &[b'1'; 3000],
        b"9",
        b"\0",
        b"\xFF\xFF",
    ] {
        let fixture = fixture(20_000);
        let middle = fs::metadata(&fixture.file).unwrap().len() / 2;
        for at in [middle, middle + 5001, middle + 5002, middle + 5003] {
            overwrite(&fixture.file, at, bytes);
        }
        let status = read_all(&fixture.store).unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{status}");
        assert!(status.message().contains("restore it"), "{status}");
        // What comes before the damage is still there, and right.
        let begun = block_on(fixture.store.page(Search::default(), 1000)).unwrap();
        let first = begun
            .orders()
            .map(|o| (o.id, o.order_sn.into(), o.date.into()));
        assert_eq!(first.collect::<Vec<Owned>>(), expected[..1000]);
    }
}

/// A store of 150 orders, as bytes.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| fs::read(fixture(150).file).unwrap());

proptest! {
    #[test]
    fn a_changed_bit_among_the_orders_never_makes_another_order(
        position in 0.0f64..1.0,
        bit in 0u8..8,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(dir.path()).unwrap();
        let mut content = WHOLE.clone();
        // Within the only leaf, beyond its header and its cell pointers: where the orders are.
        let orders = content.len() - 150 * 50..content.len();
        let at = orders.start + (orders.len() as f64 * position) as usize;
        content[at] ^= 1 << bit;
        fs::write(folder.path().join(FILE_NAME), content).unwrap();
        match SqliteStore::open(&folder, 0).and_then(|store| read_all(&store)) {
            Ok(orders) => prop_assert_eq!(orders, samples(150)),
            Err(status) => prop_assert_eq!(status.code(), Code::DataLoss),
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_data_loss() {
    let fixture = fixture(20_000);
    let file = fs::File::options().write(true).open(&fixture.file).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let status = read_all(&fixture.store).unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
}

#[test]
fn a_file_that_is_no_store_is_not_opened_and_not_touched() {
    let empty_database = {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.db");
        let other = Connection::open(&path).unwrap();
        other.execute("CREATE TABLE t (a)", []).unwrap();
        drop(other);
        fs::read(path).unwrap()
    };
    for (content, code) in [
        (vec![b'x'; 100_000], Code::DataLoss),
        (Vec::new(), Code::FailedPrecondition),
        (empty_database, Code::FailedPrecondition),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(dir.path()).unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, &content).unwrap();
        let status = SqliteStore::open(&folder, 10).unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains("move it away"), "{status}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_file_that_another_program_keeps_locked_is_unavailable_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    drop(SqliteStore::open(&folder, 10).unwrap());
    let other = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .unwrap();
    let status = SqliteStore::open(&folder, 10).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    drop(other);
    let store = SqliteStore::open(&folder, 10).unwrap();
    assert_eq!(read_all(&store).unwrap(), samples(10));
}

#[tokio::test]
async fn reads_whose_futures_are_dropped_give_their_threads_back() {
    let fixture = fixture(20_000);
    for _ in 0..READERS * 50 {
        let mut page = Box::pin(fixture.store.page(Search::default(), PAGE_ROWS));
        // The first poll puts the read in the queue.
        let _ = futures_util::poll!(&mut page);
    }
    let page = fixture.store.page(Search::default(), PAGE_ROWS).await;
    assert_eq!(page.unwrap().len(), PAGE_ROWS);
}
