//! A current-thread runtime for each core. A call never leaves its thread, which is the fastest shape measured.
//!
//! In: connections, accepted elsewhere. Out: each served on the thread that has the fewest. SO_REUSEPORT would spread
//! them by hash instead, so that two could share a core while another idles.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Serving, connection};
use crate::call::{Phase, Watched};

/// Connections that may wait for one thread to take them. 1024: the length of a listener's own queue.
const MAX_WAITING: usize = 1024;

/// The threads of a server. Dropping it ends their connections at once.
pub(super) struct Threads(Vec<Thread>);

struct Thread {
    sockets: mpsc::Sender<(std::net::TcpStream, Option<SocketAddr>, Counted)>,
    /// How many connections the thread has.
    load: Arc<AtomicUsize>,
    /// Closed when the thread has ended.
    ended: oneshot::Receiver<()>,
    /// Dropping it ends the thread.
    _keep: oneshot::Sender<()>,
}

/// One connection of a thread's load.
struct Counted(Arc<AtomicUsize>);

impl Threads {
    pub(super) fn start(
        count: NonZeroUsize,
        serving: &Arc<Serving>,
        phase: &Watched<Phase>,
    ) -> io::Result<Self> {
        let threads = (0..count.get()).map(|n| Thread::start(n, serving, phase));
        Ok(Self(threads.collect::<io::Result<_>>()?))
    }

    /// Hands a connection to the thread that has the fewest.
    pub(super) fn hand(&self, socket: TcpStream, peer: Option<SocketAddr>) -> io::Result<()> {
        let least = self
            .0
            .iter()
            .min_by_key(|thread| thread.load.load(Ordering::Relaxed));
        let thread = least.expect("there is at least one thread");
        let handed = (socket.into_std()?, peer, Counted::new(&thread.load));
        thread
            .sockets
            .try_send(handed)
            .map_err(|_| io::Error::other("too many connections wait for a thread"))
    }

    /// Waits until every connection has ended.
    pub(super) async fn join(self) {
        let ends: Vec<_> = self
            .0
            .into_iter()
            .map(|thread| (thread.ended, thread._keep))
            .collect();
        for (ended, _keep) in ends {
            // Closed without a value: the thread is gone.
            let _ = ended.await;
        }
    }
}

impl Thread {
    fn start(n: usize, serving: &Arc<Serving>, phase: &Watched<Phase>) -> io::Result<Self> {
        let (sockets, mut waiting) = mpsc::channel(MAX_WAITING);
        let (keep, dropped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let load = Arc::new(AtomicUsize::new(0));
        let (serving, phase) = (Arc::clone(serving), phase.clone());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            let mut connections = JoinSet::new();
            while let Some((socket, peer, counted)) = waiting.recv().await {
                while connections.try_join_next().is_some() {}
                match TcpStream::from_std(socket) {
                    Ok(socket) => {
                        let served =
                            connection::serve(socket, peer, Arc::clone(&serving), phase.clone());
                        connections.spawn(async move {
                            served.await;
                            drop(counted);
                        });
                    }
                    Err(error) => tracing::warn!(%error, "cannot serve a connection"),
                }
            }
            while connections.join_next().await.is_some() {}
        };
        thread::Builder::new()
            .name(format!("streamway-{n}"))
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve => {}
                        _ = dropped => {}
                    }
                });
                // Before the receiver is told: blocking work that a handler started may still run.
                runtime.shutdown_background();
                drop(end);
            })?;
        Ok(Self {
            sockets,
            load,
            ended,
            _keep: keep,
        })
    }
}

impl Counted {
    fn new(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Threads").field(&self.0.len()).finish()
    }
}
