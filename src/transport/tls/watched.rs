//! Settings of TLS that come from files, and new ones when the files change.
//!
//! In: settings. Out: what is made of the last ones that could be used, at once. Not here: what that is (`server`,
//! `client`).
//!
//! ```text
//!   using some ──a look, the files are the same──▶ using them
//!              ──they have changed and fit───────▶ using the new ones
//!              ──changed, and cannot be used─────▶ using the old ones; the log says why, once
//! ```
//!
//! A disk may keep its reader waiting for as long as it likes. So a thread of its own looks: no task of a runtime, and none
//! of a runtime's threads for what blocks, whose end a program waits for.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often files are looked at. One second: soon for whoever has changed one, and next to nothing for three small files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the files may go without a look before the log says so. Ten seconds: no disk that works takes that long.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// What can be read again, and made something of.
pub(super) trait Settings: Clone + PartialEq + Send + 'static {
    type Made: Clone + Send + 'static;

    /// The files that it comes from.
    fn files(&self) -> Vec<&Path>;

    /// The same, as the files are now. May block.
    fn read_again(&self) -> io::Result<Self>;

    fn make(&self) -> io::Result<Self::Made>;
}

/// What was made of settings.
pub(super) struct Watched<Made> {
    files: Arc<[PathBuf]>,
    current: Arc<Mutex<Current<Made>>>,
    /// The end of its other end is the thread's.
    _alive: Option<Sender<Infallible>>,
}

struct Current<Made> {
    made: Made,
    looked_at: Instant,
    /// The log was told that there has been no look for long.
    told: bool,
}

impl<Made: Clone + Send + 'static> Watched<Made> {
    /// Makes it, and looks at the files from now on.
    ///
    /// # Errors
    /// When the settings do not fit, or there can be no more threads.
    pub(super) fn new(settings: impl Settings<Made = Made>) -> io::Result<Self> {
        let files: Arc<[_]> = settings.files().into_iter().map(Path::to_owned).collect();
        let current = Arc::new(Mutex::new(Current {
            made: settings.make()?,
            looked_at: Instant::now(),
            told: false,
        }));
        let mut alive = None;
        if !files.is_empty() {
            let (sender, ended) = mpsc::channel();
            alive = Some(sender);
            let (files, current) = (Arc::clone(&files), Arc::clone(&current));
            thread::Builder::new()
                .name("certificates".into())
                .spawn(move || watch(Looks::new(settings), &files, &current, &ended))?;
        }
        Ok(Self {
            files,
            current,
            _alive: alive,
        })
    }

    /// What is used now. Waits for no disk.
    pub(super) fn current(&self) -> Made {
        let mut current = lock(&self.current);
        if !self.files.is_empty() && current.is_overdue(Instant::now()) {
            let files = &self.files;
            tracing::warn!(
                ?files,
                "the certificate files cannot be looked at: something keeps their reader waiting; \
                 those that were read before are still used"
            );
        }
        current.made.clone()
    }
}

impl<Made> Current<Made> {
    /// Whether the last look was too long ago, and nobody has been told.
    fn is_overdue(&mut self, now: Instant) -> bool {
        let overdue = now.saturating_duration_since(self.looked_at) > LOOK_TIMEOUT;
        overdue && !std::mem::replace(&mut self.told, true)
    }
}

/// Looks until nobody uses what is made.
fn watch<S: Settings>(
    mut looks: Looks<S>,
    files: &[PathBuf],
    current: &Mutex<Current<S::Made>>,
    ended: &Receiver<Infallible>,
) {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
        let look = looks.look();
        let mut current = lock(current);
        current.looked_at = Instant::now();
        current.told = false;
        match look {
            Look::Same => {}
            Look::New(made) => {
                current.made = made;
                tracing::info!(?files, "the certificate files have changed and are used");
            }
            Look::Back => tracing::info!(?files, "the certificate files are what is used, again"),
            Look::Unusable(error) => tracing::warn!(
                ?files,
                error,
                "the certificate files have changed and cannot be used; the old ones still are"
            ),
        }
    }
}

/// What the files were, look by look.
struct Looks<S> {
    used: S,
    /// What they held when they were last looked at, or why they could not be read.
    seen: Result<S, String>,
}

#[derive(Debug, PartialEq)]
enum Look<Made> {
    Same,
    New(Made),
    /// What is used already, after something that could not be.
    Back,
    Unusable(String),
}

impl<S: Settings> Looks<S> {
    fn new(settings: S) -> Self {
        Self {
            seen: Ok(settings.clone()),
            used: settings,
        }
    }

    fn look(&mut self) -> Look<S::Made> {
        let now = self.used.read_again().map_err(|error| error.to_string());
        if now == self.seen {
            return Look::Same;
        }
        self.seen.clone_from(&now);
        let settings = match now {
            Ok(settings) if settings == self.used => return Look::Back,
            Ok(settings) => settings,
            Err(error) => return Look::Unusable(error),
        };
        match settings.make() {
            Ok(made) => {
                self.used = settings;
                Look::New(made)
            }
            Err(error) => Look::Unusable(error.to_string()),
        }
    }
}

fn lock<Made>(current: &Mutex<Current<Made>>) -> MutexGuard<'_, Current<Made>> {
    // A panic leaves nothing half changed.
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Made> fmt::Debug for Watched<Made> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.files).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose contents and faults a test decides; each read waits until it is told.
    #[derive(Clone)]
    struct Slow {
        text: &'static str,
        reads: Arc<Mutex<Receiver<Result<&'static str, &'static str>>>>,
    }

    impl PartialEq for Slow {
        fn eq(&self, other: &Self) -> bool {
            self.text == other.text
        }
    }

    impl Settings for Slow {
        type Made = String;

        fn files(&self) -> Vec<&Path> {
            vec![Path::new("/slow")]
        }

        fn read_again(&self) -> io::Result<Self> {
            let read = self.reads.lock().unwrap().recv().unwrap();
            Ok(Self {
                text: read.map_err(io::Error::other)?,
                reads: Arc::clone(&self.reads),
            })
        }

        fn make(&self) -> io::Result<String> {
            match self.text.strip_prefix("bad") {
                None => Ok(self.text.to_uppercase()),
                Some(_) => Err(io::Error::other(self.text)),
            }
        }
    }

    fn slow() -> (Slow, Sender<Result<&'static str, &'static str>>) {
        let (tell, reads) = mpsc::channel();
        let reads = Arc::new(Mutex::new(reads));
        (Slow { text: "one", reads }, tell)
    }

    #[test]
    fn each_change_is_told_once_and_one_that_cannot_be_used_changes_nothing() {
        let (settings, tell) = slow();
        let mut looks = Looks::new(settings);
        let unusable = |text: &str| Look::Unusable(text.to_owned());
        for (read, look) in [
            (Ok("one"), Look::Same),
            (Ok("two"), Look::New("TWO".to_owned())),
            (Ok("two"), Look::Same),
            (Ok("bad 1"), unusable("bad 1")),
            (Ok("bad 1"), Look::Same),
            (Ok("bad 2"), unusable("bad 2")),
            (Ok("two"), Look::Back),
            (Ok("two"), Look::Same),
            (Err("no file"), unusable("no file")),
            (Err("no file"), Look::Same),
            (Err("no right"), unusable("no right")),
            (Ok("one"), Look::New("ONE".to_owned())),
        ] {
            tell.send(read).unwrap();
            assert_eq!(looks.look(), look, "{read:?}");
        }
    }

    #[test]
    fn what_is_used_is_there_at_once_while_a_look_hangs_and_changes_when_it_has_ended() {
        let (settings, tell) = slow();
        let watched = Watched::new(settings).unwrap();
        // The look hangs until it is told something, or is about to begin.
        assert_eq!(watched.current(), "ONE");
        tell.send(Ok("two")).unwrap();
        let started = Instant::now();
        while watched.current() == "ONE" {
            assert!(started.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
        assert_eq!(watched.current(), "TWO");
    }

    #[test]
    fn a_look_that_does_not_end_is_told_once() {
        let looked_at = Instant::now();
        let mut current = Current {
            made: (),
            looked_at,
            told: false,
        };
        assert!(!current.is_overdue(looked_at + LOOK_TIMEOUT));
        let late = looked_at + LOOK_TIMEOUT + Duration::from_nanos(1);
        assert!(current.is_overdue(late));
        assert!(!current.is_overdue(late));
    }

    #[test]
    fn the_thread_ends_with_what_it_watches_for() {
        let (settings, _tell) = slow();
        let watched = Watched::new(settings).unwrap();
        let current = Arc::downgrade(&watched.current);
        drop(watched);
        let started = Instant::now();
        while current.strong_count() > 0 {
            assert!(started.elapsed() < Duration::from_secs(60));
            thread::yield_now();
        }
    }
}
