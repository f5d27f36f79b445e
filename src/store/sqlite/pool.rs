//! A few threads that read, and the queue before them.
//!
//! In: jobs, from runtime threads that must not block. Out: each job run on the next thread that is free, with its
//! connection. Not here: what a job does (`reader`).

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, oneshot};

use super::reader::{Reader, Wanted};

/// Reads that wait for a thread, at most; whoever comes later waits before the queue. Two for each of as many exports
/// as read at once, and little memory.
const QUEUED_READS: usize = 64;

/// Threads with a connection each. Dropping it waits for the reads that have begun.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

#[derive(Debug)]
struct Queue {
    room: Semaphore,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (jobs, closed) = (self.jobs.len(), self.closed);
        write!(f, "State {{ jobs: {jobs}, closed: {closed} }}")
    }
}

impl Pool {
    /// One thread for each reader.
    pub(super) fn new(readers: Vec<Reader>) -> io::Result<Self> {
        let mut pool = Self {
            queue: Arc::new(Queue {
                room: Semaphore::new(QUEUED_READS),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            threads: Vec::with_capacity(readers.len()),
        };
        for (number, mut reader) in readers.into_iter().enumerate() {
            let queue = Arc::clone(&pool.queue);
            let thread = thread::Builder::new().name(format!("orders-{number}"));
            pool.threads.push(thread.spawn(move || {
                while let Some(job) = queue.next() {
                    // A panic costs its own read; the reader begins every read anew.
                    let _ = panic::catch_unwind(AssertUnwindSafe(|| job(&mut reader)));
                }
            })?);
        }
        Ok(pool)
    }

    /// Runs `read` on one of the threads; `None` when the read panicked.
    ///
    /// # Cancel safety
    /// When the future is dropped, a read that has not begun does not begin, and one that has is told by [`Wanted`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader, &Wanted) -> T + Send + 'static,
    ) -> Option<T> {
        let (_waiting, wanted) = Wanted::new();
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |reader: &mut Reader| {
            if wanted.is_wanted() {
                // Nobody may wait for it any more.
                let _ = reply.send(read(reader, &wanted));
            }
        });
        self.queue.push(job).await;
        answer.await.ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Queue {
    async fn push(&self, job: Job) {
        let room = self.room.acquire().await;
        // `next` gives it back.
        room.expect("never closed").forget();
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// The next job; `None` when there will be none. Blocks.
    fn next(&self) -> Option<Job> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| state.jobs.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop_front()?;
        self.room.add_permits(1);
        Some(job)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;
    use crate::store::folder::DataFolder;
    use crate::store::sqlite::SqliteStore;

    fn pool_of_one() -> (Pool, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(dir.path()).unwrap();
        drop(SqliteStore::open(&folder, 1).unwrap());
        let reader = Reader::open(&folder.path().join("orders.db")).unwrap();
        (Pool::new(vec![reader]).unwrap(), dir)
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_does_not_begin_and_one_that_has_begun_is_told() {
        let (pool, _dir) = pool_of_one();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (told, was_told) = mpsc::channel();
        let mut first = Box::pin(pool.run(move |_, wanted| {
            begun.send(wanted.is_wanted()).unwrap();
            may_go_on.recv().unwrap();
            told.send(wanted.is_wanted()).unwrap();
        }));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(has_begun.recv().unwrap());

        let (ran, has_run) = mpsc::channel::<()>();
        let mut second = Box::pin(pool.run(move |_, _| ran.send(()).unwrap()));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        drop(first);
        go_on.send(()).unwrap();
        assert!(!was_told.recv().unwrap());
        assert_eq!(pool.run(|reader, _| reader.count().unwrap()).await, Some(1));
        assert_eq!(has_run.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_next_read_wait() {
        let (pool, _dir) = pool_of_one();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let mut running = Box::pin(pool.run(move |_, _| {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        }));
        assert!(futures_util::poll!(&mut running).is_pending());
        has_begun.recv().unwrap();
        let mut queued: Vec<_> = (0..QUEUED_READS + 3)
            .map(|number| Box::pin(pool.run(move |_, _| number)))
            .collect();
        for read in &mut queued {
            assert!(futures_util::poll!(read).is_pending());
        }
        assert_eq!(pool.queue.lock().jobs.len(), QUEUED_READS);
        go_on.send(()).unwrap();
        for (number, read) in queued.into_iter().enumerate() {
            assert_eq!(read.await, Some(number));
        }
        assert_eq!(running.await, Some(()));
    }

    #[tokio::test]
    async fn a_read_that_panics_costs_only_itself() {
        let (pool, _dir) = pool_of_one();
        assert_eq!(pool.run(|_, _| -> u32 { panic!("on purpose") }).await, None);
        assert_eq!(pool.run(|_, _| 1).await, Some(1));
    }

    #[tokio::test]
    async fn dropping_the_pool_ends_its_threads() {
        let (pool, _dir) = pool_of_one();
        let queue = Arc::downgrade(&pool.queue);
        let mut read = Box::pin(pool.run(|_, _| ()));
        assert!(matches!(
            futures_util::poll!(&mut read),
            Poll::Pending | Poll::Ready(_)
        ));
        drop(read);
        drop(pool);
        assert_eq!(queue.strong_count(), 0);
    }
}
