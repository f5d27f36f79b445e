//! How long a connection lives: h2 has no clock.
//!
//! In: how much was read, whether there are calls, whether something short is unfinished. Out: what is due by now. Not
//! here: the doing (`connection`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Config;
use crate::transport::random;

/// How long a header block may take from its first frame to its last byte, and the first SETTINGS from the preface on.
/// Five seconds: they are a few packets.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(5);

/// A century, which is no limit.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What is known of a connection at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Bytes read so far.
    pub(super) read: u64,
    /// Bytes written so far.
    pub(super) written: u64,
    /// Whether more wait that the socket does not take.
    pub(super) unwritten: bool,
    /// Whether there are calls.
    pub(super) busy: bool,
    /// Since when the first SETTINGS or a header block is unfinished.
    pub(super) unfinished_since: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The client was silent: ask whether it is there.
    Ping,
    /// No new calls; those in flight may end.
    Leave(&'static str),
    /// The client is gone, or as good as.
    Close(&'static str),
}

/// The clock of a connection.
#[derive(Debug)]
pub(super) struct Lifetime {
    stall_timeout: Duration,
    idle_timeout: Duration,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
    /// When it is old.
    old_at: Instant,
    read: u64,
    read_at: Instant,
    /// When the client was asked and has sent nothing since.
    asked_at: Option<Instant>,
    idle_since: Option<Instant>,
    written: u64,
    stalled_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Lifetime {
    /// Of a connection that begins now.
    pub(super) fn new(config: &Config) -> Self {
        let now = Instant::now();
        Self {
            stall_timeout: config.stall_timeout,
            idle_timeout: config.idle_timeout,
            keepalive_interval: config.keepalive_interval,
            keepalive_timeout: config.keepalive_timeout,
            old_at: later(
                now,
                config
                    .max_connection_age
                    .min(FAR)
                    .mul_f64(0.9 + 0.2 * random()),
            ),
            read: 0,
            read_at: now,
            asked_at: None,
            idle_since: None,
            written: 0,
            stalled_since: None,
            timer: Box::pin(sleep_until(now + HEADERS_TIMEOUT)),
        }
    }

    /// The connection is told to go: how old or idle it is does not matter any more, what its client does still does.
    pub(super) fn leave(&mut self) {
        self.idle_timeout = FAR;
        self.old_at = later(Instant::now(), FAR);
    }

    /// Pending until something is due.
    pub(super) fn poll(&mut self, seen: Seen, cx: &mut Context<'_>) -> Poll<Due> {
        let mut now = Instant::now();
        if seen.read != self.read {
            self.read = seen.read;
            self.read_at = now;
            self.asked_at = None;
        }
        self.idle_since = match seen.busy {
            true => None,
            false => self.idle_since.or(Some(now)),
        };
        self.stalled_since = match seen.unwritten {
            true if seen.written == self.written => self.stalled_since.or(Some(now)),
            true => Some(now),
            false => None,
        };
        self.written = seen.written;
        loop {
            let (at, due) = self.next(seen.unfinished_since);
            if at <= now {
                if due == Due::Ping {
                    self.asked_at = Some(now);
                }
                return Poll::Ready(due);
            }
            // Usually what is next has only moved away; the timer then fires in vain, once.
            if at < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(at);
            }
            ready!(self.timer.as_mut().poll(cx));
            now = Instant::now();
        }
    }

    /// What is due next, and when.
    fn next(&self, unfinished_since: Option<Instant>) -> (Instant, Due) {
        let mut next = match self.asked_at {
            Some(at) => (
                later(at, self.keepalive_timeout),
                Due::Close("the client does not answer"),
            ),
            None => (later(self.read_at, self.keepalive_interval), Due::Ping),
        };
        let mut or = |at: Option<Instant>, due: Due| match at {
            Some(at) if at < next.0 => next = (at, due),
            Some(_) | None => {}
        };
        or(
            unfinished_since.map(|since| later(since, HEADERS_TIMEOUT)),
            Due::Close("SETTINGS or a header block take too long"),
        );
        or(
            self.idle_since.map(|since| later(since, self.idle_timeout)),
            Due::Leave("it is idle"),
        );
        or(
            self.stalled_since
                .map(|since| later(since, self.stall_timeout)),
            Due::Close("the client does not read"),
        );
        or(Some(self.old_at), Due::Leave("it is old"));
        next
    }
}

pub(super) fn later(at: Instant, duration: Duration) -> Instant {
    at + duration.min(FAR)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const QUIET: Seen = Seen {
        read: 0,
        written: 0,
        unwritten: false,
        busy: true,
        unfinished_since: None,
    };

    fn lifetime() -> (Lifetime, Instant) {
        (Lifetime::new(&Config::default()), Instant::now())
    }

    async fn due(lifetime: &mut Lifetime, seen: Seen) -> Due {
        poll_fn(|cx| lifetime.poll(seen, cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_asked_and_one_that_does_not_answer_is_left() {
        let (mut life, begun) = lifetime();
        assert_eq!(due(&mut life, QUIET).await, Due::Ping);
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
        let end = due(&mut life, QUIET).await;
        assert_eq!(end, Due::Close("the client does not answer"));
        assert_eq!(begun.elapsed(), Duration::from_secs(80));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_is_an_answer() {
        let (mut life, begun) = lifetime();
        for read in 0..10 {
            assert_eq!(due(&mut life, Seen { read, ..QUIET }).await, Due::Ping);
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_is_left_although_it_answers() {
        let (mut life, begun) = lifetime();
        let mut seen = Seen {
            busy: false,
            ..QUIET
        };
        while due(&mut life, seen).await == Due::Ping {
            seen.read += 17;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_block_has_five_seconds() {
        let (mut life, begun) = lifetime();
        let open = Seen {
            unfinished_since: Some(begun),
            ..QUIET
        };
        let end = due(&mut life, open).await;
        assert_eq!(end, Due::Close("SETTINGS or a header block take too long"));
        assert_eq!(begun.elapsed(), HEADERS_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_left_although_it_answers() {
        let (mut life, begun) = lifetime();
        let mut seen = Seen {
            unwritten: true,
            ..QUIET
        };
        let end = loop {
            // Ten times it takes a little.
            seen.read += 1;
            seen.written = seen.read.min(10);
            let second = tokio::time::timeout(Duration::from_secs(1), due(&mut life, seen));
            if let Ok(end) = second.await {
                break end;
            }
        };
        assert_eq!(end, Due::Close("the client does not read"));
        assert_eq!(begun.elapsed(), Duration::from_secs(9 + 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_grows_old() {
        let (mut life, begun) = lifetime();
        let mut seen = QUIET;
        let end = loop {
            seen.read += 1;
            match due(&mut life, seen).await {
                Due::Ping => {}
                end => break end,
            }
        };
        assert_eq!(end, Due::Leave("it is old"));
        let hours = begun.elapsed().as_secs_f64() / 3600.0;
        assert!((1.8..=2.2).contains(&hours), "{hours} h");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_told_to_go_grows_no_older_and_its_client_is_still_asked() {
        let (mut life, begun) = lifetime();
        life.leave();
        let mut seen = Seen {
            busy: false,
            ..QUIET
        };
        while begun.elapsed() < Duration::from_secs(4 * 60 * 60) {
            assert_eq!(due(&mut life, seen).await, Due::Ping);
            seen.read += 17;
        }
        due(&mut life, seen).await;
        let end = due(&mut life, seen).await;
        assert_eq!(end, Due::Close("the client does not answer"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_all_time_is_no_limit() {
        let config = Config {
            idle_timeout: Duration::MAX,
            max_connection_age: Duration::MAX,
            keepalive_interval: Duration::MAX,
            ..Config::default()
        };
        let mut life = Lifetime::new(&config);
        let week = tokio::time::timeout(Duration::from_secs(7 * 86_400), due(&mut life, QUIET));
        assert!(week.await.is_err());
    }
}
