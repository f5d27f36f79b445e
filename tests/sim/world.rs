//! One simulation: a server, its clients, the faults that its seed decides, and what must hold at the end.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamway::server::{Config, Server};
use streamway::transport::seed_chance;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use turmoil::{Builder, Sim};

use crate::caller::{self, Checked, Sent};
use crate::chance::{Chance, Trace};
use crate::network::{Port, elapsed};
use crate::service::{Books, Simulated};

/// How far the simulation goes with each step. Messages move between steps, timers within them.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Longer than any simulation takes: deadlines are at most 15 s, and a client has up to 12 calls, five at once.
const END: Duration = Duration::from_secs(300);

/// How long a server may take to stop after its drain limit: a second for the statuses of what it cut off, and one for
/// what it says last.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// What all hosts of a simulation share.
#[derive(Debug)]
pub(crate) struct World {
    /// Without faults: every call ends well, or at its deadline.
    pub(crate) calm: bool,
    pub(crate) sent: Mutex<Vec<Sent>>,
    books: Arc<Books>,
    trace: Mutex<Trace>,
    stop: Notify,
    /// The next stop of the server is the last.
    over: AtomicBool,
    starts: AtomicUsize,
}

impl World {
    pub(crate) fn event(&self, text: fmt::Arguments<'_>) {
        self.event_at(elapsed(), text);
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.trace.lock().expect("one thread").bytes(bytes);
    }

    fn event_at(&self, at: Duration, text: fmt::Arguments<'_>) {
        self.trace.lock().expect("one thread").event(at, text);
    }
}

/// Something that befalls the network or the server.
#[derive(Clone, Debug)]
enum Fault {
    /// Nothing arrives until it all does.
    Hold(String),
    Release(String),
    /// What is sent is lost. Whatever connection lost something hears no more.
    Partition(String),
    /// As above, in one direction.
    Deaf(String),
    Mute(String),
    Repair(String),
    Latency(String, Duration),
    Crash,
    Restart,
    Drain,
}

/// Runs a seed to its end. The same seed has the same hash.
pub(crate) fn simulate(seed: u64, printed: bool) -> Result<u64, String> {
    seed_chance(seed);
    let mut chance = Chance::new(seed);
    let calm = seed.is_multiple_of(4);
    let world = Arc::new(World {
        calm,
        sent: Mutex::default(),
        books: Arc::default(),
        trace: Mutex::new(Trace::new(printed)),
        stop: Notify::new(),
        over: AtomicBool::new(false),
        starts: AtomicUsize::new(0),
    });
    let mut sim = Builder::new()
        .rng_seed(chance.next())
        .tick_duration(TICK)
        .simulation_duration(END)
        .max_message_latency(chance.millis(1..100))
        .tcp_capacity(chance.pick(&[4, 16, 64]))
        .build();
    let config = config(&mut chance, calm);
    let (shared, server_seed) = (Arc::clone(&world), chance.next());
    sim.host("server", move || {
        serve(Arc::clone(&shared), config.clone(), server_seed)
    });
    let clients: Vec<String> = (0..chance.within(1..4))
        .map(|n| format!("client{n}"))
        .collect();
    for name in &clients {
        let client = caller::run(name.clone(), Arc::clone(&world), chance.fork());
        sim.client(name.as_str(), async move { Ok(client.await?) });
    }
    let mut faults = match calm {
        true => Vec::new(),
        false => faults(&mut chance, &clients),
    };
    // The first comes last, to be taken from the end.
    faults.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    loop {
        while let Some((_, fault)) = faults.pop_if(|(at, _)| *at <= sim.elapsed()) {
            world.event_at(sim.elapsed(), format_args!("{fault:?}"));
            befall(&mut sim, &world, &fault);
        }
        if sim.step().map_err(|error| error.to_string())? {
            break;
        }
    }
    end(&mut sim, &world)?;
    Ok(world.trace.lock().expect("one thread").hash())
}

fn config(chance: &mut Chance, calm: bool) -> Config {
    let mut config = Config::default();
    config.drain_timeout = chance.millis(0..5000);
    config.stream_window_bytes = chance.pick(&[65_535, 256 * 1024]);
    config.idle_timeout = chance.pick(&[500, 300_000, 300_000].map(Duration::from_millis));
    config.max_connection_age =
        chance.pick(&[1500, 7_200_000, 7_200_000].map(Duration::from_millis));
    if !calm {
        // Either ends calls with UNAVAILABLE: a call that waits for a stream when its connection ends, and one whose slow
        // client does not come to the PING in time.
        config.max_concurrent_streams = chance.pick(&[1, 3, 1000]) as u32;
        config.keepalive_interval = chance.millis(2000..60_000);
        config.keepalive_timeout = chance.millis(2000..20_000);
    }
    config
}

/// The server, started again after each drain until the world is over.
async fn serve(world: Arc<World>, config: Config, seed: u64) -> turmoil::Result {
    while !world.over.load(Ordering::Relaxed) {
        let start = world.starts.fetch_add(1, Ordering::Relaxed);
        let port = Port::bind(&world, Chance::new(seed + start as u64)).await?;
        let server = Server::new().config(config.clone());
        let server = server.add_service(Simulated(Arc::clone(&world.books)));
        let stopped = Mutex::new(None);
        let stop = async {
            world.stop.notified().await;
            *stopped.lock().expect("one thread") = Some(Instant::now());
        };
        let drained = server.serve(port, stop).await?;
        world.event(format_args!("drained: {drained:?}"));
        let since = stopped.lock().expect("one thread").take();
        let took = since.ok_or("the server stopped by itself")?.elapsed();
        if took > config.drain_timeout + STOP_GRACE {
            let limit = config.drain_timeout;
            return Err(format!("a drain took {took:?}, its limit is {limit:?}").into());
        }
        // Tasks that were aborted go when the runtime comes to them.
        sleep(Duration::from_millis(1)).await;
        let tasks = Handle::current().metrics().num_alive_tasks();
        let handlers = world.books.handlers.load(Ordering::Relaxed);
        if tasks + handlers > 0 {
            let text = format!("{tasks} tasks and {handlers} handlers are left of a server");
            return Err(text.into());
        }
    }
    Ok(())
}

fn faults(chance: &mut Chance, clients: &[String]) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..chance.within(1..8) {
        let at = chance.millis(0..15_000);
        let until = at + chance.millis(10..6000);
        let client = clients[chance.within(0..clients.len() as u64) as usize].clone();
        faults.extend(match chance.within(0..9) {
            0 | 1 => vec![
                (at, Fault::Hold(client.clone())),
                (until, Fault::Release(client)),
            ],
            2 => vec![
                (at, Fault::Partition(client.clone())),
                (until, Fault::Repair(client)),
            ],
            3 => vec![
                (at, Fault::Deaf(client.clone())),
                (until, Fault::Repair(client)),
            ],
            4 => vec![
                (at, Fault::Mute(client.clone())),
                (until, Fault::Repair(client)),
            ],
            5 => vec![(at, Fault::Crash), (until, Fault::Restart)],
            6 => vec![(at, Fault::Crash), (at, Fault::Restart)],
            7 => vec![(at, Fault::Latency(client, chance.millis(1..1000)))],
            _ => vec![(at, Fault::Drain)],
        });
    }
    faults
}

fn befall(sim: &mut Sim<'_>, world: &World, fault: &Fault) {
    const SERVER: &str = "server";
    match fault {
        Fault::Hold(client) => sim.hold(client.as_str(), SERVER),
        Fault::Release(client) => sim.release(client.as_str(), SERVER),
        Fault::Partition(client) => sim.partition(client.as_str(), SERVER),
        Fault::Deaf(client) => sim.partition_oneway(SERVER, client.as_str()),
        Fault::Mute(client) => sim.partition_oneway(client.as_str(), SERVER),
        Fault::Repair(client) => sim.repair(client.as_str(), SERVER),
        Fault::Latency(client, most) => {
            sim.set_link_max_message_latency(client.as_str(), SERVER, *most);
        }
        Fault::Crash => sim.crash(SERVER),
        Fault::Restart => sim.bounce(SERVER),
        Fault::Drain => world.stop.notify_one(),
    }
}

/// Stops the server for good, and looks at what is left.
fn end(sim: &mut Sim<'_>, world: &World) -> Checked {
    world.over.store(true, Ordering::Relaxed);
    world.stop.notify_one();
    while sim.is_host_running("server") {
        sim.step().map_err(|error| error.to_string())?;
        if sim.elapsed() > END {
            return Err("the server does not stop".to_owned());
        }
    }
    let handlers = world.books.handlers.load(Ordering::Relaxed);
    if handlers > 0 {
        return Err(format!("{handlers} handlers are left"));
    }
    let stored = world.books.stored.lock().expect("one thread");
    for sent in world.sent.lock().expect("one thread").iter() {
        let honest = match stored.get(&sent.name) {
            Some(whole) => sent.finished && *whole == sent.whole,
            None => !sent.acknowledged,
        };
        if !honest {
            let there = stored.get(&sent.name).map(|whole| whole.len());
            return Err(format!(
                "{} bytes of an upload are stored: {sent:?}",
                there.unwrap_or(0)
            ));
        }
    }
    Ok(())
}
