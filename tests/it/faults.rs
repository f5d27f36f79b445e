//! Connections that break at every byte of a short call, and a disk that is slow: a call ends with the right answer or with a
//! status, in time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use streamway::client::Config;
use streamway::codec::RawMessage;
use streamway::objects::Images;
use streamway::proto::OrderSearchParams;
use streamway::proto::stream_service::{StreamServiceClient, StreamServiceServer};
use streamway::server::{Drained, Server};
use streamway::service::Streams;
use streamway::store::folder::DataFolder;
use streamway::store::{OrderStore, Page, PageBuilder, Rest, Search};
use streamway::transport::{Dialer, in_process};
use streamway::{Channel, Code, Status};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::faulty::{Fault, Near, Plan, Way};
use crate::raw::peer::Peer;
use crate::support::{COUNT, ECHO, Fixture, JOIN, LONG, REVERSE, raw};

/// How many offsets of each direction.
const OFFSETS: usize = 2000;

/// The payload of a short call. With the headers of both sides it ends some bytes before [`OFFSETS`], in each direction.
const PAYLOAD: usize = 1600;

const WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

const DEADLINE: Duration = Duration::from_secs(5);

/// Shakes hands and leaves, whoever comes.
#[derive(Clone, Default)]
struct Leaves(Arc<AtomicUsize>);

impl Dialer for Leaves {
    type Io = DuplexStream;

    async fn dial(&self) -> io::Result<DuplexStream> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(async move {
            let _peer = Peer::accept(theirs, &[]).await?;
            io::Result::Ok(())
        });
        Ok(ours)
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_as_soon_as_it_has_come_is_not_asked_again_and_again() {
    let leaves = Leaves::default();
    let channel = Channel::with_dialer("http://leaves", leaves.clone(), Config::default());
    let channel = channel.expect("an address");
    let call = || channel.unary::<_, RawMessage>(REVERSE, raw(b"ab"));
    let status = timeout(LONG, call().send()).await.expect("it ends");
    assert_eq!(status.expect_err("gone").code(), Code::Unavailable);
    let patient = call().wait_for_ready().timeout(Duration::from_secs(10));
    let status = timeout(LONG, patient.send()).await.expect("it ends");
    let code = status.expect_err("gone").code();
    assert!(
        matches!(code, Code::Unavailable | Code::DeadlineExceeded),
        "{code:?}"
    );
    let dialed = leaves.0.load(Ordering::Relaxed);
    assert!(dialed < 10, "{dialed} connections");
}

/// One call of each shape; `Err` when it ended with a status, and a panic when its answer is wrong.
async fn short_call(channel: &Channel, shape: usize) -> Result<(), Status> {
    let sent: Bytes = (0..PAYLOAD).map(|n| n as u8).collect();
    match shape {
        0 => {
            let call = channel.unary::<_, RawMessage>(REVERSE, RawMessage(sent.clone()));
            let answer = call.timeout(DEADLINE).send().await?;
            assert!(answer.0.iter().rev().eq(sent.iter()));
        }
        1 => {
            let call = channel.client_streaming::<_, RawMessage>(JOIN);
            let mut upload = call.timeout(DEADLINE).start().await?;
            for part in sent.chunks(500) {
                upload
                    .send(&RawMessage(Bytes::copy_from_slice(part)))
                    .await?;
            }
            assert_eq!(upload.finish().await?.0, sent);
        }
        _ => {
            let call = channel.bidi::<_, RawMessage>(ECHO);
            let (mut tx, mut rx) = call.timeout(DEADLINE).start().await?.split();
            for part in sent.chunks(500) {
                let part = RawMessage(Bytes::copy_from_slice(part));
                // When it fails, the answer says why.
                let _ = tx.send(&part).await;
                assert_eq!(rx.message().await?, Some(part), "too few came back");
            }
            tx.finish();
            assert_eq!(rx.message().await?, None, "more than was sent");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reset_at_each_of_the_first_2000_bytes_ends_a_call_rightly_or_with_unavailable() {
    let near = Near::serve(Server::new(), Fixture::default());
    for way in WAYS {
        for shape in 0..3 {
            let mut right = 0;
            for offset in 0..OFFSETS {
                let channel = near.channel(Plan::after(way, offset, Fault::Cut));
                let ended = timeout(LONG, short_call(&channel, shape)).await;
                match ended.expect("it ends") {
                    Ok(()) => right += 1,
                    Err(status) => assert_eq!(
                        status.code(),
                        Code::Unavailable,
                        "{way:?}, shape {shape}, offset {offset}: {status}"
                    ),
                }
            }
            assert!(
                (1..OFFSETS / 5).contains(&right),
                "{way:?}, {shape}: {right} right"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_after_some_bytes_ends_a_call_at_its_deadline() {
    let near = Near::serve(Server::new(), Fixture::default());
    for way in WAYS {
        for shape in 0..3 {
            let mut right = 0;
            for offset in (0..OFFSETS).step_by(7) {
                let channel = near.channel(Plan::after(way, offset, Fault::Silence));
                let began = Instant::now();
                let ended = timeout(LONG, short_call(&channel, shape)).await;
                match ended.expect("it ends") {
                    Ok(()) => right += 1,
                    Err(status) => {
                        let what = format!("{way:?}, shape {shape}, offset {offset}: {status}");
                        assert_eq!(status.code(), Code::DeadlineExceeded, "{what}");
                        assert!(
                            began.elapsed() < DEADLINE + Duration::from_millis(50),
                            "{what}"
                        );
                    }
                }
            }
            assert!(
                (1..OFFSETS / 35).contains(&right),
                "{way:?}, {shape}: {right} right"
            );
        }
    }
}

#[tokio::test]
async fn calls_pass_one_byte_at_a_time_in_both_directions() {
    let near = Near::serve(Server::new(), Fixture::default());
    let channel = near.channel(Plan {
        step: 1,
        ..Plan::NONE
    });
    for shape in 0..3 {
        short_call(&channel, shape)
            .await
            .expect("it takes its time");
    }
    let call = channel.server_streaming::<_, RawMessage>(COUNT, raw(b"four"));
    let mut count = 0u32;
    let mut rows = call.start().await.expect("served");
    while let Some(row) = rows.message().await.expect("OK") {
        if count < 20_000 {
            assert_eq!(row.0, count.to_be_bytes()[..]);
        }
        count += 1;
    }
    assert_eq!(count, 20_001);
}

/// A store whose disk takes its time for every page.
#[derive(Clone, Default)]
struct SlowDisk {
    /// Reads that have begun and neither ended nor been dropped.
    reading: Arc<AtomicUsize>,
}

/// Longer than a client may stall: that the disk is slow is not the client's fault.
const READ: Duration = Duration::from_secs(90);

/// More than a page.
const ORDERS: i32 = 100;

struct Reading<'a>(&'a AtomicUsize);

impl<'a> Reading<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OrderStore for SlowDisk {
    async fn page(&self, search: Search, rows: usize) -> Result<Page, Status> {
        let _reading = Reading::begin(&self.reading);
        sleep(READ).await;
        let mut page = PageBuilder::new(rows);
        let mut last = search.after.unwrap_or_default();
        while last < ORDERS && !page.is_full() {
            last += 1;
            page.push(last, b"number", b"2026-01-01 00:00:00")
                .expect("an order");
        }
        let rest = match last < ORDERS {
            true => Rest::After(last),
            false => Rest::Nothing,
        };
        Ok(page.finish(rest).expect("text"))
    }

    async fn count(&self) -> Result<u64, Status> {
        Ok(ORDERS as u64)
    }
}

#[tokio::test(start_paused = true)]
async fn an_export_from_a_slow_disk_is_whole_and_its_read_ends_with_the_call() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = DataFolder::open(dir.path()).expect("free");
    let images = Images::open(&folder, 0).expect("made");
    let disk = SlowDisk::default();
    let service = StreamServiceServer::new(Streams::new(disk.clone(), images));
    let (reach, listener) = in_process();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stopped = async move { drop(stopped.await) };
        Server::new()
            .add_service(service)
            .serve(listener, stopped)
            .await
    });
    let channel = Channel::in_process(reach, Config::default());
    let client = StreamServiceClient::new(channel);
    let export = || client.order_list(OrderSearchParams::default());
    let reading = async || {
        // Whatever a call holds is free by then.
        sleep(Duration::from_millis(100)).await;
        disk.reading.load(Ordering::Relaxed)
    };

    let mut orders = export().start().await.expect("served");
    let mut ids = Vec::new();
    while let Some(message) = orders.message().await.expect("slow, and nothing else") {
        ids.push(message.order.expect("every message has one").id);
    }
    assert!(ids.iter().copied().eq(1..=ORDERS), "{ids:?}");

    let began = Instant::now();
    let late = async { export().timeout(DEADLINE).start().await?.message().await };
    let status = late.await.expect_err("late");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let took = began.elapsed();
    assert!(took < DEADLINE + Duration::from_millis(50), "{took:?}");
    assert_eq!(reading().await, 0, "after the deadline");

    let cancelled = async { export().start().await?.message().await };
    timeout(DEADLINE, cancelled).await.expect_err("slow");
    assert_eq!(reading().await, 0, "after a cancel");

    let waits = async { export().start().await?.message().await };
    let drain = async {
        sleep(DEADLINE).await;
        assert_eq!(disk.reading.load(Ordering::Relaxed), 1);
        stop.send(()).expect("it serves");
    };
    let (status, ()) = tokio::join!(waits, drain);
    let status = status.expect_err("cut at the drain limit");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(reading().await, 0, "after the drain");
    let drained = serving.await.expect("no panic").expect("legal services");
    assert_eq!(drained, Drained::Cut);
}
