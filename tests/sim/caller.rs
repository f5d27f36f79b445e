//! The clients: calls of every kind, cancelled, late, slow, and what must hold of each whatever the network does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use streamway::client::{Config, Request};
use streamway::codec::RawMessage;
use streamway::{Channel, Code, Status};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::chance::Chance;
use crate::network::Way;
use crate::service::{ECHO, EXPORT, Order, SUM, UPLOAD, numbers};
use crate::world::{TICK, World};

/// How long after its deadline a call may end.
const LATE: Duration = Duration::from_secs(1);

/// What is broken, in words.
pub(crate) type Checked = Result<(), String>;

/// An upload as its client knows it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: u64,
    pub(crate) whole: Bytes,
    /// The client said that this is all.
    pub(crate) finished: bool,
    /// The server said OK.
    pub(crate) acknowledged: bool,
}

/// One client from its first call to its last.
pub(crate) async fn run(name: String, world: Arc<World>, mut chance: Chance) -> Checked {
    let way = Way {
        world: Arc::clone(&world),
        chance: Mutex::new(chance.fork()),
    };
    let mut config = Config::default();
    config.stream_window_bytes = chance.pick(&[65_535, 256 * 1024]);
    config.connect_timeout = chance.millis(1000..20_000);
    let channel =
        Channel::with_dialer("http://server:9528", way, config).map_err(|e| e.to_string())?;
    let mut calls = JoinSet::new();
    for n in 0..chance.within(4..13) {
        let call = OneCall::new(&channel, format!("{name}/{n}"), &world, &mut chance);
        calls.spawn(call.run());
        if chance.one_in(3) {
            sleep(chance.millis(0..2000)).await;
        }
        while calls.len() > 4 {
            calls.join_next().await.expect("some").expect("no panic")?;
        }
    }
    while let Some(call) = calls.join_next().await {
        call.map_err(|panic| panic.to_string())??;
    }
    drop(channel);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    match Handle::current().metrics().num_alive_tasks() {
        0 => Ok(()),
        left => Err(format!(
            "{name}: {left} tasks are left of a dropped channel"
        )),
    }
}

struct OneCall {
    channel: Channel,
    label: String,
    world: Arc<World>,
    chance: Chance,
    deadline: Instant,
    wait_for_ready: bool,
}

impl OneCall {
    fn new(channel: &Channel, label: String, world: &Arc<World>, chance: &mut Chance) -> Self {
        let mut chance = chance.fork();
        let timeout = match chance.one_in(3) {
            true => chance.millis(1..500),
            false => chance.millis(500..15_000),
        };
        Self {
            channel: channel.clone(),
            label,
            world: Arc::clone(world),
            deadline: Instant::now() + timeout,
            wait_for_ready: world.calm || chance.one_in(2),
            chance,
        }
    }

    async fn run(mut self) -> Checked {
        let kind = self
            .chance
            .pick(&["export", "export", "upload", "upload", "sum", "echo"]);
        let cancel = match self.chance.one_in(5) {
            true => self.chance.millis(0..3000),
            false => Duration::MAX,
        };
        let (deadline, label) = (self.deadline, self.label.clone());
        let (world, calm) = (Arc::clone(&self.world), self.world.calm);
        world.event(format_args!("{label} {kind} begins"));
        let made = async {
            match kind {
                "export" => self.export().await,
                "upload" => self.upload().await,
                "sum" => self.sum().await,
                _ => self.echo().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = made => outcome.map_err(|wrong| format!("{label} {kind}: {wrong}"))?,
            () = sleep(cancel) => {
                world.event(format_args!("{label} {kind} is cancelled"));
                return Ok(());
            }
            () = sleep_until(deadline + LATE) => {
                return Err(format!("{label} {kind} goes on {LATE:?} after its deadline"));
            }
        };
        let code = outcome.as_ref().map_or_else(Status::code, |()| Code::Ok);
        world.event(format_args!("{label} {kind} ends with {code:?}"));
        let allowed = match code {
            Code::Ok => true,
            // By its own clock, or by the server's, which is up to a tick ahead.
            Code::DeadlineExceeded => Instant::now() + TICK >= deadline,
            Code::Unavailable => !calm,
            _ => false,
        };
        match allowed {
            true => Ok(()),
            false => Err(format!("{label} {kind} ended with {outcome:?}")),
        }
    }

    fn options<Shape>(&self, call: Request<Shape>) -> Request<Shape> {
        let call = call.deadline(self.deadline);
        match self.wait_for_ready {
            true => call.wait_for_ready(),
            false => call,
        }
    }

    /// Pauses now and then, as slow consumers and producers do; never past the deadline, which is the call's to notice.
    async fn pause(&mut self, slow: bool) {
        if slow && self.chance.one_in(4) {
            let until = Instant::now() + self.chance.millis(1..200);
            sleep_until(until.min(self.deadline)).await;
        }
    }

    async fn export(&mut self) -> Result<Result<(), Status>, String> {
        let order = Order {
            messages: self.chance.within(0..400),
            bytes: match self.chance.one_in(4) {
                true => self.chance.within(0..60_000),
                false => self.chance.within(0..300),
            },
            pause_millis: self.chance.pick(&[0, 0, 0, 20, 200]),
        };
        let slow = self.chance.one_in(3);
        let call = self.channel.server_streaming(EXPORT, order.message());
        let mut rows = match self.options(call).start().await {
            Ok(rows) => rows,
            Err(status) => return Ok(Err(status)),
        };
        for place in 0.. {
            self.pause(slow).await;
            match rows.message().await {
                Ok(Some(row)) if place < order.messages && order.row(place) == row => {}
                Ok(Some(row)) => return Err(wrong(place, &row)),
                Ok(None) if place == order.messages => break,
                Ok(None) => return Err(format!("OK after {place} of {}", order.messages)),
                Err(status) => return Ok(Err(status)),
            }
        }
        Ok(Ok(()))
    }

    async fn upload(&mut self) -> Result<Result<(), Status>, String> {
        let name = self.chance.next();
        let whole: Bytes = (0..match self.chance.one_in(3) {
            true => self.chance.within(0..600_000),
            false => self.chance.within(0..3000),
        })
            .map(|n| (n ^ name) as u8)
            .collect();
        let part_bytes = self.chance.within(1 + whole.len() as u64 / 100..100_000) as usize;
        let slow = self.chance.one_in(3);
        let book = Book::open(&self.world, name, whole.clone());
        let call = self.channel.client_streaming::<_, RawMessage>(UPLOAD);
        let mut upload = match self.options(call).start().await {
            Ok(upload) => upload,
            Err(status) => return Ok(Err(status)),
        };
        let name = numbers(&[name]);
        let parts = whole.chunks(part_bytes).map(Bytes::copy_from_slice);
        for part in std::iter::once(name).chain(parts.map(RawMessage)) {
            self.pause(slow).await;
            if let Err(status) = upload.send(&part).await {
                return Ok(Err(status));
            }
        }
        book.finished.store(true, Ordering::Relaxed);
        match upload.finish().await {
            Ok(answer) if answer == numbers(&[whole.len() as u64]) => {
                book.acknowledged.store(true, Ordering::Relaxed);
                Ok(Ok(()))
            }
            Ok(answer) => Err(format!("{answer:?} for {} bytes", whole.len())),
            Err(status) => Ok(Err(status)),
        }
    }

    async fn sum(&mut self) -> Result<Result<(), Status>, String> {
        let mut asked = vec![self.chance.pick(&[0, 0, 10, 1000])];
        let count = self.chance.within(0..3000);
        asked.extend((0..count).map(|_| self.chance.next()));
        let sum = asked
            .iter()
            .skip(1)
            .fold(0u64, |sum, n| sum.wrapping_add(*n));
        let call = self.channel.unary::<_, RawMessage>(SUM, numbers(&asked));
        match self.options(call).send().await {
            Ok(answer) if answer == numbers(&[sum]) => Ok(Ok(())),
            Ok(answer) => Err(format!("{answer:?} is not {sum}")),
            Err(status) => Ok(Err(status)),
        }
    }

    /// Asks and hears in turn, then says that this was all.
    async fn echo(&mut self) -> Result<Result<(), Status>, String> {
        let count = self.chance.within(0..30);
        let call = self.channel.bidi::<RawMessage, RawMessage>(ECHO);
        let exchange = match self.options(call).start().await {
            Ok(exchange) => exchange,
            Err(status) => return Ok(Err(status)),
        };
        let (mut tx, mut rx) = exchange.split();
        for n in 0..count {
            self.pause(true).await;
            let said = RawMessage(vec![n as u8; self.chance.within(0..5000) as usize].into());
            // When it fails, the answer says why.
            let sent = tx.send(&said).await;
            match rx.message().await {
                Ok(Some(heard)) if heard == said && sent.is_ok() => {}
                Ok(Some(heard)) => return Err(wrong(n, &heard)),
                Ok(None) => return Err(format!("OK after {n} of {count}")),
                Err(status) => return Ok(Err(status)),
            }
        }
        tx.finish();
        match rx.message().await {
            Ok(None) => Ok(Ok(())),
            Ok(Some(heard)) => Err(wrong(count, &heard)),
            Err(status) => Ok(Err(status)),
        }
    }
}

fn wrong(place: u64, message: &RawMessage) -> String {
    let start = &message.0[..message.0.len().min(16)];
    format!("message {place} is {} bytes, {start:?}…", message.0.len())
}

/// Enters an upload in the world when its call ends, however it does.
struct Book {
    world: Arc<World>,
    name: u64,
    whole: Bytes,
    finished: AtomicBool,
    acknowledged: AtomicBool,
}

impl Book {
    fn open(world: &Arc<World>, name: u64, whole: Bytes) -> Self {
        Self {
            world: Arc::clone(world),
            name,
            whole,
            finished: AtomicBool::new(false),
            acknowledged: AtomicBool::new(false),
        }
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.world.sent.lock().expect("one thread").push(Sent {
            name: self.name,
            whole: self.whole.clone(),
            finished: self.finished.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
        });
    }
}
