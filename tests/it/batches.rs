//! Messages that a handler has at hand and sends as long as there is room: `Sender::send_while`.

use std::future::pending;

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use streamway::call::Compression;
use streamway::codec::{Encoding, RawMessage};
use streamway::{Call, Code, Status};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::handlers::{A_WHILE, Called, Ending, Handler, Odd, Rx, Tx, call, nobody};
use crate::support::LONG;

/// More than h2 takes at once, whatever the client reads.
const MANY: usize = 1000;

/// The message `n` of a batch: no two are alike, and a thousand are 5 MB.
fn message(n: usize) -> RawMessage {
    let mut bytes = vec![0; 5000];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    RawMessage(Bytes::from(bytes))
}

/// Fills the messages `from..to`.
fn each(from: usize, to: usize) -> impl FnMut(&mut RawMessage) -> bool + Send {
    let mut numbers = from..to;
    move |filled| {
        let next = numbers.next();
        if let Some(n) = next {
            *filled = message(n);
        }
        next.is_some()
    }
}

async fn serve(handler: Handler) -> Called {
    call(Odd::of(handler, &nobody()), Encoding::Identity).await
}

async fn next(call: &mut Called) -> Result<Option<RawMessage>, Code> {
    let next = timeout(LONG, call.responses.message()).await;
    let next = next.expect("it leaves, or ends");
    next.map_err(|status| status.code())
}

/// Receives the messages `0..to`, and what comes then.
async fn receive(call: &mut Called, to: usize) -> Result<Option<RawMessage>, Code> {
    for n in 0..to {
        assert_eq!(next(call).await, Ok(Some(message(n))), "{n}");
    }
    next(call).await
}

fn sends_each_way(_: Call, _rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let mut filled = RawMessage::default();
        tx.send(&message(0)).await?;
        tx.send_while(&mut filled, each(1, 1)).await?;
        tx.send_while(&mut filled, each(1, MANY)).await?;
        tx.send(&message(MANY)).await?;
        tx.send_while(&mut filled, each(MANY + 1, MANY + 3)).await
    })
}

#[tokio::test]
async fn what_is_sent_as_long_as_there_is_room_arrives_whole_and_in_order() {
    let mut call = serve(sends_each_way).await;
    assert_eq!(receive(&mut call, MANY + 3).await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_as_long_as_there_is_room_arrives_whole_on_any_runtime() {
    let mut call = serve(sends_each_way).await;
    assert_eq!(receive(&mut call, MANY + 3).await, Ok(None));
}

#[tokio::test]
async fn a_batch_of_nothing_is_no_message() {
    let handler: Handler = |_, _rx, mut tx| {
        Box::pin(async move {
            let mut filled = RawMessage::default();
            tx.send_while(&mut filled, each(0, 0)).await?;
            Err(Status::not_found("nothing"))
        })
    };
    let mut call = serve(handler).await;
    assert_eq!(next(&mut call).await, Err(Code::NotFound));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_a_batch_behind_those_before_it() {
    let handler: Handler = |_, _rx, mut tx| {
        Box::pin(async move {
            let mut filled = RawMessage::default();
            let mut fill = each(0, MANY);
            let mut left = 7;
            let sent = tx.send_while(&mut filled, |filled| {
                let more = fill(filled);
                if left == 0 {
                    filled.0 = Bytes::from(vec![0; 1 << 20]);
                }
                left -= 1;
                more
            });
            let status = sent.await.expect_err("over the limit");
            assert_eq!(status.code(), Code::ResourceExhausted);
            let again = tx.send_while(&mut filled, each(0, 1)).await;
            again.expect_err("the call has failed");
            // It does not make the call succeed.
            Ok(())
        })
    };
    let mut call = serve(handler).await;
    assert_eq!(receive(&mut call, 7).await, Err(Code::ResourceExhausted));
}

#[tokio::test]
async fn a_batch_of_another_task_leaves_at_once() {
    let handler: Handler = |_, rx, mut tx| {
        Box::pin(async move {
            tokio::spawn(async move {
                let mut filled = RawMessage::default();
                for n in 0..10 {
                    sleep(A_WHILE / 4).await;
                    let sent = tx.send_while(&mut filled, each(n, n + 1)).await;
                    sent.expect("open");
                }
                drop(rx);
                pending::<()>().await;
            });
            pending().await
        })
    };
    let mut call = serve(handler).await;
    for n in 0..10 {
        assert_eq!(next(&mut call).await, Ok(Some(message(n))), "{n}");
    }
}

/// How many messages a handler has filled.
static FILLED: AtomicUsize = AtomicUsize::new(0);

/// Gives a batch up while it waits for the client, and sends on.
fn gives_a_batch_up(_: Call, _rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let mut filled = RawMessage::default();
        let mut fill = each(0, MANY);
        let sent = tx.send_while(&mut filled, |filled| {
            FILLED.fetch_add(1, Ordering::Relaxed);
            fill(filled)
        });
        timeout(A_WHILE, sent).await.expect_err("nobody reads");
        let next = FILLED.load(Ordering::Relaxed);
        tx.send_while(&mut filled, each(next, MANY)).await
    })
}

#[tokio::test]
async fn a_batch_is_filled_as_the_client_reads_and_what_was_filled_is_sent_though_it_is_given_up() {
    let mut call = serve(gives_a_batch_up).await;
    sleep(2 * A_WHILE).await;
    let filled = FILLED.load(Ordering::Relaxed);
    // The client's window, what h2 holds, and what is gathered.
    assert!((1..MANY / 2).contains(&filled), "{filled}");
    assert_eq!(receive(&mut call, MANY).await, Ok(None));
}

#[tokio::test]
async fn a_task_that_panics_as_it_fills_a_message_loses_none_before_it() {
    let handler: Handler = |_, _rx, mut tx| {
        Box::pin(async move {
            let panicked = tokio::spawn(async move {
                let mut filled = RawMessage::default();
                tx.send(&message(0)).await.expect("open");
                let mut fill = each(1, 4);
                let sent = tx.send_while(&mut filled, |filled| {
                    assert!(fill(filled), "on purpose");
                    true
                });
                sent.await
            });
            let panicked = panicked.await;
            assert!(panicked.expect_err("on purpose").is_panic());
            Ok(())
        })
    };
    let mut call = serve(handler).await;
    assert_eq!(receive(&mut call, 4).await, Ok(None));
}

#[tokio::test]
async fn a_batch_that_outlives_its_call_ends_with_cancelled() {
    static TOLD: Notify = Notify::const_new();
    let handler: Handler = |_, _rx, mut tx| {
        Box::pin(async move {
            tokio::spawn(async move {
                sleep(A_WHILE).await;
                let sent = tx.send_while(&mut RawMessage::default(), each(0, 1)).await;
                let status = sent.expect_err("the call has ended");
                assert_eq!(status.code(), Code::Cancelled);
                TOLD.notify_one();
            });
            Ok(())
        })
    };
    let mut call = serve(handler).await;
    assert_eq!(next(&mut call).await, Ok(None));
    timeout(LONG, TOLD.notified()).await.expect("told");
}

#[tokio::test]
async fn a_batch_is_compressed_as_the_call_says() {
    let handler: Handler = |call, mut rx, mut tx| {
        Box::pin(async move {
            let mut filled = RawMessage::default();
            call.set_encoding(Encoding::Gzip)?;
            tx.compress(Compression::Off);
            tx.send_while(&mut filled, each(0, 3)).await?;
            tx.compress(Compression::On);
            tx.send_while(&mut filled, each(3, 6)).await?;
            while rx.message().await?.is_some() {}
            Ok(())
        })
    };
    let mut call = serve(handler).await;
    for n in 0..6 {
        assert_eq!(next(&mut call).await, Ok(Some(message(n))), "{n}");
        assert_eq!(call.responses.compressed(), n >= 3, "{n}");
    }
}
