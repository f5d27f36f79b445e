//! Handlers that do more with their call than read and answer in their own task: who leaves still ends them, and what
//! they send still leaves.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use streamway::client::{Requests, Responses};
use streamway::codec::RawMessage;
use streamway::server::{CallFuture, Config, Rpc, Server, Service};
use streamway::{Channel, Method, MethodKind, Sender, Status, Streaming};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::support::{LONG, OnDrop, Served, raw, serve};

/// Long enough for others to have their turn.
const A_WHILE: Duration = Duration::from_millis(20);

const ODD: Method = Method::new("/t.T/Odd", MethodKind::Bidi);

type Ending = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

type Handler = fn(Streaming<RawMessage>, Sender<RawMessage>) -> Ending;

/// A service of one method.
struct Odd {
    handler: Handler,
    /// Told when a handler is dropped.
    dropped: Arc<Notify>,
}

impl Service for Odd {
    fn methods(&self) -> &'static [Method] {
        &[ODD]
    }

    fn call(&self, _: usize, rpc: Rpc) -> CallFuture {
        let (handler, dropped) = (self.handler, Arc::clone(&self.dropped));
        Box::pin(async move {
            let (_call, rx, tx, runner) = rpc.open();
            let handler = async move {
                let _on_drop = OnDrop(dropped);
                handler(rx, tx).await
            };
            runner.run(handler).await;
        })
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
async fn answer(rx: &mut Streaming<RawMessage>, tx: &mut Sender<RawMessage>) -> Result<(), Status> {
    for _ in 0..2 {
        rx.message().await?;
        tx.send(&raw(b"here")).await?;
    }
    Ok(())
}

/// Holds a message that it has begun to wait for, and waits for something else.
fn holds(mut rx: Streaming<RawMessage>, mut tx: Sender<RawMessage>) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        let mut message = pin!(rx.message());
        once(message.as_mut()).await;
        pending().await
    })
}

/// The same, and is polled again for another reason in between.
fn holds_and_wakes(mut rx: Streaming<RawMessage>, mut tx: Sender<RawMessage>) -> Ending {
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
fn gives_up(mut rx: Streaming<RawMessage>, mut tx: Sender<RawMessage>) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        once(pin!(rx.message())).await;
        pending().await
    })
}

/// Begins to wait for a message, then has another task wait for it, which tells nobody.
fn hands_on(mut rx: Streaming<RawMessage>, mut tx: Sender<RawMessage>) -> Ending {
    Box::pin(async move {
        answer(&mut rx, &mut tx).await?;
        once(pin!(rx.message())).await;
        tokio::spawn(async move {
            let _ = rx.message().await;
            pending::<()>().await;
        });
        pending().await
    })
}

/// Waits for a message among other things, which are woken each for itself.
fn waits_among_others(mut rx: Streaming<RawMessage>, mut tx: Sender<RawMessage>) -> Ending {
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

/// A call, its server, and the connection, which outlives it.
struct Called {
    requests: Requests<RawMessage>,
    responses: Responses<RawMessage>,
    /// Told when the handler is dropped.
    dropped: Arc<Notify>,
    _alive: (Served, Channel),
}

async fn call(handler: Handler) -> Called {
    let dropped = Arc::new(Notify::new());
    let odd = Odd {
        handler,
        dropped: Arc::clone(&dropped),
    };
    let mut config = Config::default();
    // Each time that it looks after a stall, a call would find what nobody has told it.
    config.stall_timeout = 100 * LONG;
    let served = serve(Server::new().config(config).add_service(odd)).await;
    let channel = Channel::connect(&served.address).expect("an address");
    let call = channel.bidi(ODD).start().await.expect("served");
    let (requests, responses) = call.split();
    Called {
        requests,
        responses,
        dropped,
        _alive: (served, channel),
    }
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_client_leaves_however_it_reads() {
    let handlers: [(&str, Handler); 5] = [
        ("holds", holds),
        ("holds and wakes", holds_and_wakes),
        ("gives up", gives_up),
        ("hands on", hands_on),
        ("waits among others", waits_among_others),
    ];
    for (name, handler) in handlers {
        for after in [Duration::ZERO, A_WHILE, 2 * A_WHILE] {
            let mut call = call(handler).await;
            for _ in 0..2 {
                call.requests.send(&raw(b"are you")).await.expect("open");
                let here = call.responses.message().await.expect("OK");
                assert_eq!(here, Some(raw(b"here")), "{name}");
            }
            sleep(after).await;
            drop((call.requests, call.responses));
            timeout(LONG, call.dropped.notified()).await.expect(name);
        }
    }
}

/// Has another task send, and waits for it.
fn has_another_send(rx: Streaming<RawMessage>, mut tx: Sender<RawMessage>) -> Ending {
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

#[tokio::test]
async fn what_another_task_sends_for_a_handler_leaves_at_once() {
    let mut call = call(has_another_send).await;
    for n in 0..10 {
        let tick = timeout(LONG / 10, call.responses.message()).await;
        let tick = tick.expect("it leaves").expect("OK");
        assert_eq!(tick, Some(raw(b"tick")), "{n}");
    }
}
