//! Messages that a handler has at hand and sends as long as there is room: `Sender::send_while`.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use streamway::call::Compression;
use streamway::codec::{Encoding, RawMessage};
use streamway::{Call, Code, Metadata, Status};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
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

/// Fills messages of which the one `AT` is over the limit.
fn fills_too_much<const AT: usize>(_: Call, _rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let mut filled = RawMessage::default();
        let mut next = 0;
        let sent = tx.send_while(&mut filled, |filled| {
            *filled = match next == AT {
                true => RawMessage(Bytes::from(vec![0; 1 << 20])),
                false => message(next),
            };
            next += 1;
            true
        });
        let status = sent.await.expect_err("over the limit");
        assert_eq!(status.code(), Code::ResourceExhausted);
        let again = tx.send_while(&mut filled, each(0, 1)).await;
        again.expect_err("the call has failed");
        // It does not make the call succeed.
        Ok(())
    })
}

#[tokio::test]
async fn a_message_over_the_limit_ends_a_batch_behind_those_before_it() {
    let handlers: [(Handler, usize); 3] = [
        (fills_too_much::<0>, 0),
        (fills_too_much::<1>, 1),
        (fills_too_much::<7>, 7),
    ];
    for (handler, before) in handlers {
        let mut call = serve(handler).await;
        let end = receive(&mut call, before).await;
        assert_eq!(end, Err(Code::ResourceExhausted), "{before}");
    }
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

/// Sends `0..2` and panics instead of filling the next.
async fn send_two_and_panic(mut tx: Tx) -> Result<(), Status> {
    let mut fill = each(0, 2);
    let mut filled = RawMessage::default();
    let sent = tx.send_while(&mut filled, |filled| {
        assert!(fill(filled), "on purpose");
        true
    });
    sent.await
}

#[tokio::test]
async fn a_handler_that_panics_as_it_fills_a_message_has_sent_those_before() {
    let handler: Handler = |_, _rx, tx| Box::pin(send_two_and_panic(tx));
    let mut call = serve(handler).await;
    assert_eq!(receive(&mut call, 2).await, Err(Code::Internal));
}

#[tokio::test]
async fn a_task_that_panics_as_it_fills_a_message_has_sent_those_before_at_once() {
    let handler: Handler = |_, rx, tx| {
        Box::pin(async move {
            tokio::spawn(async move {
                sleep(A_WHILE).await;
                send_two_and_panic(tx).await
            });
            let _rx = rx;
            pending().await
        })
    };
    let mut call = serve(handler).await;
    for n in 0..2 {
        assert_eq!(next(&mut call).await, Ok(Some(message(n))), "{n}");
    }
}

type Sent = JoinHandle<Result<(), Status>>;

/// Has another thread send a message and what `fill` fills, and blocks until it fills: a handler that ends then does so in its first poll,
/// which is not made by the task that makes the others.
fn fill_elsewhere(
    mut tx: Tx,
    mut fill: impl FnMut(&mut RawMessage) -> bool + Send + 'static,
) -> Sent {
    let (begun, filling) = mpsc::channel();
    let sent = spawn_blocking(move || {
        Handle::current().block_on(async move {
            tx.send(&message(0)).await.expect("open");
            let mut filled = RawMessage::default();
            let sent = tx.send_while(&mut filled, |filled| {
                let _ = begun.send(());
                fill(filled)
            });
            sent.await
        })
    });
    filling.recv().expect("it fills");
    sent
}

async fn a_handler_ends_while_another_thread_fills() {
    let handler: Handler = |_, _rx, tx| {
        Box::pin(async move {
            let mut fill = each(1, 2);
            fill_elsewhere(tx, move |filled| {
                thread::sleep(A_WHILE);
                fill(filled)
            });
            Ok(())
        })
    };
    let mut call = serve(handler).await;
    assert_eq!(receive(&mut call, 2).await, Ok(None));
}

#[tokio::test]
async fn a_handler_that_ends_while_another_thread_fills_has_sent_what_was_sent_before() {
    a_handler_ends_while_another_thread_fills().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_ends_while_another_thread_fills_has_sent_what_was_sent_before_on_any_runtime()
 {
    a_handler_ends_while_another_thread_fills().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_ends_does_not_make_a_call_succeed_for_which_another_thread_has_filled_too_much()
 {
    let handler: Handler = |_, _rx, tx| {
        Box::pin(async move {
            fill_elsewhere(tx, |filled| {
                thread::sleep(A_WHILE / 10);
                *filled = RawMessage(Bytes::from(vec![0; 1 << 20]));
                true
            });
            Ok(())
        })
    };
    for _ in 0..100 {
        let mut call = serve(handler).await;
        assert_eq!(receive(&mut call, 1).await, Err(Code::ResourceExhausted));
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_call_whose_handler_has_ended_while_another_thread_fills() {
    static OVER: Notify = Notify::const_new();
    static GO_ON: AtomicBool = AtomicBool::new(false);
    let handler: Handler = |call, _rx, tx| {
        Box::pin(async move {
            let over = call.cancelled();
            tokio::spawn(async move {
                over.await;
                OVER.notify_one();
            });
            fill_elsewhere(tx, |_| {
                while !GO_ON.load(Ordering::Relaxed) {
                    thread::sleep(A_WHILE);
                }
                false
            });
            Ok(())
        })
    };
    let call = serve(handler).await;
    sleep(A_WHILE).await;
    drop((call.requests, call.responses));
    let over = timeout(LONG, OVER.notified()).await;
    GO_ON.store(true, Ordering::Relaxed);
    over.expect("told");
}

/// Receives the messages from 0 on until the call ends with ABORTED, and counts them.
async fn receive_until_aborted(call: &mut Called) -> usize {
    for n in 0.. {
        match next(call).await {
            Ok(Some(received)) => assert_eq!(received, message(n)),
            end => {
                assert_eq!(end, Err(Code::Aborted));
                return n;
            }
        }
    }
    unreachable!("there are more numbers than messages")
}

/// How many messages were taken of a task that sends on.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn a_call_ends_with_its_handler_though_another_task_sends_on_as_the_client_reads() {
    let handler: Handler = |_, _rx, mut tx| {
        Box::pin(async move {
            tokio::spawn(async move {
                for n in 0.. {
                    tx.send(&message(n)).await?;
                    TAKEN.store(n + 1, Ordering::Relaxed);
                }
                Ok::<_, Status>(())
            });
            sleep(A_WHILE).await;
            Err(Status::aborted("enough"))
        })
    };
    let mut call = serve(handler).await;
    let received = timeout(LONG, receive_until_aborted(&mut call)).await;
    assert_eq!(received.expect("it ends"), TAKEN.load(Ordering::Relaxed));
}

/// Sends in every way until it is told that the call has ended; how many messages were taken.
async fn send_until_told(mut tx: Tx, mut dice: u64) -> usize {
    let (mut taken, mut filled) = (0, RawMessage::default());
    loop {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let roll = dice >> 33;
        let sent = if roll.is_multiple_of(3) {
            let sent = tx.send(&message(taken)).await;
            taken += usize::from(sent.is_ok());
            sent
        } else {
            let end = taken + roll as usize % 40;
            let sent = tx.send_while(&mut filled, |filled| {
                let more = taken < end;
                if more {
                    *filled = message(taken);
                    taken += 1;
                }
                more
            });
            match roll % 3 {
                1 => sent.await,
                _ => timeout(Duration::from_micros(roll % 300), sent)
                    .await
                    .unwrap_or(Ok(())),
            }
        };
        if let Err(status) = sent {
            assert_eq!(status.code(), Code::Cancelled);
            return taken;
        }
    }
}

/// A call whose handler ends, in its first poll or later, while another thread or task sends.
async fn a_handler_ends_at_some_moment(dice: u64) {
    let (report, mut reported) = unbounded_channel();
    let odd = Odd::new(move |_, _rx, tx| {
        let report = report.clone();
        let sending = async move {
            let _ = report.send(send_until_told(tx, dice).await);
        };
        let pause = Duration::from_micros(dice * 997 % 5000);
        Box::pin(async move {
            match dice.is_multiple_of(2) {
                true => drop(spawn_blocking(|| Handle::current().block_on(sending))),
                false => drop(tokio::spawn(sending)),
            }
            match dice % 3 {
                0 => thread::sleep(pause),
                _ => sleep(pause).await,
            }
            Err(Status::aborted("enough"))
        })
    });
    let mut call = call(odd, Encoding::Identity).await;
    let received = receive_until_aborted(&mut call).await;
    let taken = timeout(LONG, reported.recv()).await.expect("told");
    assert_eq!(Some(received), taken, "{dice}");
}

#[tokio::test]
async fn all_that_was_taken_arrives_and_no_more_whenever_the_handler_ends() {
    for dice in 0..60 {
        a_handler_ends_at_some_moment(dice).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_taken_arrives_and_no_more_whenever_the_handler_ends_on_any_runtime() {
    for dice in 0..60 {
        a_handler_ends_at_some_moment(dice).await;
    }
}

/// How often a batch that does not end was filled.
static FILLED_ON: AtomicUsize = AtomicUsize::new(0);

#[tokio::test]
async fn a_call_ends_with_its_handler_though_another_thread_would_fill_for_ever() {
    static TOLD: Notify = Notify::const_new();
    let handler: Handler = |_, _rx, tx| {
        Box::pin(async move {
            let sent = fill_elsewhere(tx, |filled| {
                let n = FILLED_ON.fetch_add(1, Ordering::Relaxed);
                *filled = message(n + 1);
                thread::sleep(A_WHILE / 20);
                n < MANY
            });
            tokio::spawn(async move {
                let status = sent.await.expect("no panic").expect_err("it has ended");
                assert_eq!(status.code(), Code::Cancelled);
                TOLD.notify_one();
            });
            Err(Status::aborted("enough"))
        })
    };
    let mut call = serve(handler).await;
    let received = receive_until_aborted(&mut call).await;
    timeout(LONG, TOLD.notified()).await.expect("told");
    // What was filled has arrived: a DATA frame, or a second one that had begun.
    assert_eq!(received, 1 + FILLED_ON.load(Ordering::Relaxed));
    assert!(received < MANY / 10, "{received}");
}

#[tokio::test]
async fn a_call_says_more_of_itself_while_a_message_is_filled() {
    let handler: Handler = |call, _rx, mut tx| {
        Box::pin(async move {
            let mut fill = each(0, 3);
            let mut filled = RawMessage::default();
            let sent = tx.send_while(&mut filled, |filled| {
                let late = call.set_encoding(Encoding::Gzip);
                late.expect_err("messages are in the buffer that are not compressed");
                call.compress(Compression::Off);
                // More than there may be.
                let mut trailers = Metadata::new();
                let appended = trailers.append("much", &"x".repeat(64 * 1024));
                appended.expect("legal");
                call.set_trailers(trailers);
                fill(filled)
            });
            let told = sent.await.map_err(|status| status.code());
            match told {
                Err(Code::Internal) => Err(Status::aborted("told of it")),
                told => Err(Status::unknown(format!("{told:?}"))),
            }
        })
    };
    let mut call = serve(handler).await;
    assert_eq!(receive(&mut call, 3).await, Err(Code::Aborted));
}

/// Has another task send batches of all sizes, some of which are given up while they wait.
fn gives_many_batches_up(_: Call, _rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let sending = tokio::spawn(async move {
            let mut filled = RawMessage::default();
            let mut next = 0;
            while next < MANY {
                let end = MANY.min(next + 1 + next * 7 % 93);
                let sent = tx.send_while(&mut filled, |filled| {
                    let more = next < end;
                    if more {
                        *filled = message(next);
                        next += 1;
                    }
                    more
                });
                match end % 3 {
                    0 => drop(timeout(A_WHILE / 100, sent).await),
                    _ => sent.await?,
                }
            }
            Ok(())
        });
        sending.await.expect("no panic")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_another_thread_sends_and_gives_up_arrive_whole_and_in_order() {
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        calls.spawn(async {
            let mut call = serve(gives_many_batches_up).await;
            assert_eq!(receive(&mut call, MANY).await, Ok(None));
        });
    }
    calls.join_all().await;
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
