//! Handlers that do more with their call than read and answer in their own task: who leaves still ends them, and what
//! they send still leaves.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use streamway::call::Compression;
use streamway::client::{Requests, Responses};
use streamway::codec::{Encoding, RawMessage};
use streamway::server::{CallFuture, Config, Rpc, Server, Service};
use streamway::{Call, Channel, Code, Metadata, Method, MethodKind, Sender, Status, Streaming};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{LONG, OnDrop, Served, raw, serve};

/// Long enough for others to have their turn.
pub(crate) const A_WHILE: Duration = Duration::from_millis(20);

/// A message of which two are more than a DATA frame takes.
static MANY: [u8; 10_000] = [1; 10_000];

const ODD: Method = Method::new("/t.T/Odd", MethodKind::Bidi);

pub(crate) type Ending = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

pub(crate) type Rx = Streaming<RawMessage>;

pub(crate) type Tx = Sender<RawMessage>;

pub(crate) type Handler = fn(Call, Rx, Tx) -> Ending;

/// A service of one method.
pub(crate) struct Odd(Arc<dyn Fn(Rpc) -> CallFuture + Send + Sync>);

impl Odd {
    /// Runs `handler`.
    pub(crate) fn new(handler: impl Fn(Call, Rx, Tx) -> Ending + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |rpc| {
            let (call, rx, tx, runner) = rpc.open();
            Box::pin(runner.run(handler(call, rx, tx)))
        }))
    }

    /// Runs `handler`, and tells when it is dropped.
    pub(crate) fn of(handler: Handler, dropped: &Arc<Notify>) -> Self {
        let dropped = Arc::clone(dropped);
        Self::new(move |call, rx, tx| {
            let on_drop = OnDrop(Arc::clone(&dropped));
            Box::pin(async move {
                let _on_drop = on_drop;
                handler(call, rx, tx).await
            })
        })
    }
}

impl Service for Odd {
    fn methods(&self) -> &'static [Method] {
        &[ODD]
    }

    fn call(&self, _: usize, rpc: Rpc) -> CallFuture {
        (self.0)(rpc)
    }
}

/// Polls `future` once.
async fn once(mut future: Pin<&mut impl Future>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "nothing was sent");
        Poll::Ready(())
    })
    .await;
}

/// Answers two messages, of which the second cannot be there when the call begins: a call that waits has a task of its own.
async fn answer(rx: &mut Rx, tx: &mut Tx) -> Result<(), Status> {
    for _ in 0..2 {
        rx.message().await?;
        tx.send(&raw(b"here")).await?;
    }
    Ok(())
}

/// Answers, and begins to wait for a message.
async fn answer_and_wait(rx: &mut Rx, tx: &mut Tx) -> Result<(), Status> {
    answer(rx, tx).await?;
    once(pin!(rx.message())).await;
    Ok(())
}

/// Has another task send until the call has ended: soon it waits for the client's window.
fn have_another_send_much(mut tx: Tx) {
    tokio::spawn(async move { while tx.send(&raw(&MANY)).await.is_ok() {} });
}

/// Holds a message that it has begun to wait for, and waits for something else.
fn holds(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        let mut message = pin!(rx.message());
        once(message.as_mut()).await;
        pending().await
    })
}

/// The same, and is polled again for another reason in between.
fn holds_and_wakes(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        let mut message = pin!(rx.message());
        once(message.as_mut()).await;
        sleep(A_WHILE / 2).await;
        once(message.as_mut()).await;
        sleep(A_WHILE).await;
        pending().await
    })
}

/// Gives a message up that it has begun to wait for.
fn gives_up(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer_and_wait(&mut rx, &mut tx).await?;
        pending().await
    })
}

/// Begins to wait for a message, then has another task wait for it, which tells nobody.
fn hands_on(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer_and_wait(&mut rx, &mut tx).await?;
        tokio::spawn(async move {
            let _ = rx.message().await;
            pending::<()>().await;
        });
        pending().await
    })
}

/// Waits for a message among other things, which are woken each for itself.
fn waits_among_others(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        let mut all: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>> =
            FuturesUnordered::new();
        all.push(Box::pin(pending()));
        all.push(Box::pin(async move {
            let _ = rx.message().await;
        }));
        while all.next().await.is_some() {}
        Ok(())
    })
}

/// Gives a message up, and everything else of its call.
fn drops_all(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer_and_wait(&mut rx, &mut tx).await?;
        drop((rx, tx));
        pending().await
    })
}

/// Has another task send more than the client's window, and waits for nothing.
fn has_another_blocked(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer_and_wait(&mut rx, &mut tx).await?;
        have_another_send_much(tx);
        pending().await
    })
}

/// The same, and reads.
fn reads_beside_another_blocked(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        have_another_send_much(tx);
        while rx.message().await?.is_some() {}
        pending().await
    })
}

/// A call, its server, and the connection, which outlives it.
pub(crate) struct Called {
    pub(crate) requests: Requests<RawMessage>,
    pub(crate) responses: Responses<RawMessage>,
    channel: Channel,
    served: Served,
}

pub(crate) async fn call(odd: Odd, encoding: Encoding) -> Called {
    let mut config = Config::default();
    config.limits = config.limits.send(2 * MANY.len());
    // Each time that it looks after a stall, a call would find what nobody has told it.
    config.stall_timeout = 100 * LONG;
    let served = serve(Server::new().config(config).add_service(odd)).await;
    let channel = Channel::connect(&served.address).expect("an address");
    let call = channel.bidi(ODD).encoding(encoding);
    let (requests, responses) = call.start().await.expect("served").split();
    Called {
        requests,
        responses,
        channel,
        served,
    }
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    /// It resets the stream.
    Reset,
    /// It ends its half, and resets the stream later.
    EndAndReset,
    /// It sends something more before it resets the stream.
    SendAndReset,
    /// Its connection is closed.
    Disconnect,
}

impl Leave {
    /// Leaves. What is returned lives on: its end would tell the handler too.
    async fn act(self, call: Called) -> (Option<Channel>, Served) {
        let Called {
            mut requests,
            responses,
            channel,
            served,
        } = call;
        match self {
            Self::Reset => drop(requests),
            Self::EndAndReset => {
                requests.finish();
                sleep(A_WHILE).await;
            }
            Self::SendAndReset => {
                requests.send(&raw(b"more")).await.expect("open");
                sleep(A_WHILE).await;
            }
            Self::Disconnect => return (None, served),
        }
        drop(responses);
        (Some(channel), served)
    }
}

async fn leave_each_handler() {
    let handlers: [(&str, Handler); 8] = [
        ("holds", holds),
        ("holds and wakes", holds_and_wakes),
        ("gives up", gives_up),
        ("hands on", hands_on),
        ("waits among others", waits_among_others),
        ("drops all", drops_all),
        ("has another blocked", has_another_blocked),
        ("reads beside another blocked", reads_beside_another_blocked),
    ];
    let ways = [
        Leave::Reset,
        Leave::EndAndReset,
        Leave::SendAndReset,
        Leave::Disconnect,
    ];
    let mut leaving = JoinSet::new();
    for (name, handler) in handlers {
        for way in ways {
            for after in [Duration::ZERO, A_WHILE, 2 * A_WHILE] {
                leaving.spawn(async move {
                    let dropped = Arc::new(Notify::new());
                    let mut call = call(Odd::of(handler, &dropped), Encoding::Identity).await;
                    for _ in 0..2 {
                        call.requests.send(&raw(b"are you")).await.expect("open");
                        let here = call.responses.message().await.expect("OK");
                        assert_eq!(here, Some(raw(b"here")), "{name}");
                    }
                    sleep(after).await;
                    let _alive = way.act(call).await;
                    let left = timeout(LONG, dropped.notified()).await;
                    assert!(left.is_ok(), "{name}, {way:?} after {after:?}");
                });
            }
        }
    }
    leaving.join_all().await;
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_client_leaves_however_it_reads() {
    leave_each_handler().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_is_dropped_when_its_client_leaves_on_any_runtime() {
    leave_each_handler().await;
}

/// For a handler whose end nobody waits for.
pub(crate) fn nobody() -> Arc<Notify> {
    Arc::new(Notify::new())
}

/// Has another task send, and waits for it.
fn has_another_send(_: Call, rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let sending = tokio::spawn(async move {
            loop {
                sleep(A_WHILE / 4).await;
                if tx.send(&raw(b"tick")).await.is_err() {
                    break;
                }
            }
        });
        let _ = sending.await;
        drop(rx);
        Ok(())
    })
}

async fn hear_ticks(odd: Odd, ticks: usize) {
    let mut call = call(odd, Encoding::Identity).await;
    for n in 0..ticks {
        let tick = timeout(LONG / 10, call.responses.message()).await;
        let tick = tick.expect("it leaves").expect("OK");
        assert_eq!(tick, Some(raw(b"tick")), "{n}");
    }
}

#[tokio::test]
async fn what_another_task_sends_for_a_handler_leaves_at_once() {
    hear_ticks(Odd::of(has_another_send, &nobody()), 10).await;
}

#[tokio::test]
async fn what_is_sent_beside_a_handler_in_its_task_leaves_at_once() {
    let beside = |rpc: Rpc| -> CallFuture {
        Box::pin(async move {
            let (_call, mut rx, mut tx, runner) = rpc.open::<RawMessage, RawMessage>();
            let run = runner.run(async move {
                while rx.message().await?.is_some() {}
                Ok(())
            });
            let tick = async move {
                sleep(A_WHILE).await;
                tx.send(&raw(b"tick")).await.expect("open");
                // What comes later would take it along.
                pending::<()>().await;
            };
            // In this order: the handler has been polled when there is a tick.
            tokio::select! { biased; () = run => {}, () = tick => {} }
        })
    };
    hear_ticks(Odd(Arc::new(beside)), 1).await;
}

/// Has another task send more than the limit, and waits for nothing.
fn has_another_send_too_much(_: Call, rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        tokio::spawn(async move {
            sleep(A_WHILE).await;
            let more = RawMessage(Bytes::from(vec![0; 2 * MANY.len() + 1]));
            tx.send(&more).await.expect_err("over the limit");
            drop(rx);
        });
        pending().await
    })
}

/// Has another task set trailers that do not fit, and waits for nothing.
fn has_another_set_too_much(call: Call, rx: Rx, tx: Tx) -> Ending {
    Box::pin(async move {
        tokio::spawn(async move {
            sleep(A_WHILE).await;
            let mut trailers = Metadata::new();
            trailers
                .append("much", &"x".repeat(64 * 1024))
                .expect("legal");
            call.set_trailers(trailers);
            drop((rx, tx));
        });
        pending().await
    })
}

#[tokio::test]
async fn a_call_ends_at_once_with_what_another_task_does_wrong() {
    let wrongs: [(Handler, Code); 2] = [
        (has_another_send_too_much, Code::ResourceExhausted),
        (has_another_set_too_much, Code::Internal),
    ];
    for (handler, code) in wrongs {
        let mut call = call(Odd::of(handler, &nobody()), Encoding::Identity).await;
        let end = timeout(LONG, call.responses.message()).await;
        let status = end.expect("it ends").expect_err("wrong");
        assert_eq!(status.code(), code);
    }
}

/// Sends a message over the limit, and sets trailers that do not fit.
fn does_wrong_twice(call: Call, _rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let more = RawMessage(Bytes::from(vec![0; 2 * MANY.len() + 1]));
        tx.send(&more).await.expect_err("over the limit");
        let mut trailers = Metadata::new();
        let appended = trailers.append("much", &"x".repeat(64 * 1024));
        appended.expect("legal");
        call.set_trailers(trailers);
        Ok(())
    })
}

#[tokio::test]
async fn a_call_ends_with_what_went_wrong_first() {
    let mut call = call(Odd::of(does_wrong_twice, &nobody()), Encoding::Identity).await;
    let status = call.responses.message().await.expect_err("wrong");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

/// Hands its call to a task that speaks when it has ended.
fn speaks_too_late(call: Call, _rx: Rx, _tx: Tx) -> Ending {
    Box::pin(async move {
        tokio::spawn(async move {
            call.cancelled().await;
            let late = [
                call.send_headers(),
                call.set_headers(Metadata::new()),
                call.set_encoding(Encoding::Gzip),
            ];
            let late = late.map(|late| late.map_err(|status| status.code()));
            assert_eq!(late, [Err(Code::Cancelled); 3]);
            SPOKEN.notify_one();
        });
        Ok(())
    })
}

static SPOKEN: Notify = Notify::const_new();

#[tokio::test]
async fn whoever_speaks_for_a_call_that_has_ended_is_told_so() {
    let mut call = call(Odd::of(speaks_too_late, &nobody()), Encoding::Identity).await;
    assert_eq!(call.responses.message().await.expect("it ends"), None);
    timeout(LONG, SPOKEN.notified()).await.expect("told");
}

/// Sends more than the client's window while it reads, in one task.
fn sends_much_while_it_reads(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        let send = async {
            for _ in 0..1000 {
                tx.send(&raw(&MANY)).await?;
            }
            Ok(())
        };
        tokio::try_join!(send, rx.message())?;
        Ok(())
    })
}

#[tokio::test]
async fn what_waits_for_the_window_leaves_when_it_opens_while_the_handler_reads() {
    let mut call = call(
        Odd::of(sends_much_while_it_reads, &nobody()),
        Encoding::Identity,
    )
    .await;
    // The window is full, and the handler waits.
    sleep(A_WHILE).await;
    for n in 0..1000 {
        let message = timeout(LONG, call.responses.message()).await;
        let message = message.expect("it leaves").expect("OK");
        assert_eq!(message, Some(raw(&MANY)), "{n}");
    }
}

/// Hands its call to another task, which sends until it may not, and then tells whether the call is known to have ended.
fn is_outlived(call: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        let ended = OUTLIVED.get_or_init(Notify::new);
        tokio::spawn(async move {
            let cancelled = call.cancelled();
            while tx.send(&raw(&MANY)).await.is_ok() {
                sleep(A_WHILE / 20).await;
            }
            tx.send(&raw(&MANY)).await.expect_err("it has ended");
            cancelled.await;
            // Also for who asks only now.
            call.cancelled().await;
            ended.notify_one();
        });
        pending().await
    })
}

static OUTLIVED: OnceLock<Notify> = OnceLock::new();

#[tokio::test]
async fn who_outlives_a_call_learns_that_it_has_ended() {
    let dropped = nobody();
    let mut call = call(Odd::of(is_outlived, &dropped), Encoding::Identity).await;
    for _ in 0..2 {
        call.requests.send(&raw(b"are you")).await.expect("open");
        call.responses.message().await.expect("OK");
    }
    let _alive = Leave::Reset.act(call).await;
    timeout(LONG, dropped.notified()).await.expect("dropped");
    let told = OUTLIVED.get().expect("handled").notified();
    timeout(LONG, told).await.expect("told");
}

/// Begins to wait for a message that is to be unfolded after much was unfolded, and polls it no more.
fn holds_what_is_to_be_unfolded(_: Call, mut rx: Rx, mut tx: Tx) -> Ending {
    Box::pin(async move {
        rx.message().await?;
        // Both of the next are there.
        sleep(A_WHILE).await;
        let plain = rx.message().now_or_never().expect("not compressed")?;
        assert_eq!(plain, Some(raw(b"plain")));
        let mut next = pin!(rx.message());
        once(next.as_mut()).await;
        tx.send(&raw(b"held")).await?;
        // Others have theirs meanwhile.
        sleep(LONG / 2).await;
        next.await?;
        Ok(())
    })
}

#[tokio::test]
async fn who_holds_what_is_to_be_unfolded_keeps_nobody_from_it() {
    let handler = Odd::of(holds_what_is_to_be_unfolded, &nobody());
    let mut first = call(handler, Encoding::Gzip).await;
    let much = RawMessage(Bytes::from(vec![7; 1 << 20]));
    first.requests.send(&much).await.expect("open");
    first.requests.compress(Compression::Off);
    first.requests.send(&raw(b"plain")).await.expect("open");
    first.requests.compress(Compression::On);
    first.requests.send(&much).await.expect("open");
    let held = first.responses.message().await.expect("OK");
    assert_eq!(held, Some(raw(b"held")));

    let other = Odd::of(
        |_, mut rx, mut tx| Box::pin(async move { answer(&mut rx, &mut tx).await }),
        &nobody(),
    );
    let mut other = call(other, Encoding::Gzip).await;
    for _ in 0..2 {
        other.requests.send(&much).await.expect("open");
        let here = timeout(LONG / 10, other.responses.message()).await;
        assert_eq!(here.expect("its turn").expect("OK"), Some(raw(b"here")));
    }
}
