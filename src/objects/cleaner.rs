//! Removes what uploads leave behind when they are dropped.
//!
//! In: uploads that nobody waits for any more, dropped on any thread, within a runtime or without. Out: nothing left of
//! them. A thread of its own, so that it outlives the runtimes of the calls, and a shutdown can wait for it.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use object_store::MultipartUpload;
use tokio::runtime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::folder::ImageFolder;
use super::upload::Step;

/// How long a write that had begun is waited for. It runs on a blocking thread and cannot be stopped; one that comes after
/// the removal could make a file anew.
const STEP_WAIT: Duration = Duration::from_secs(10);

/// What is left of an upload.
pub(super) struct Leftover {
    pub(super) id: String,
    /// What the storage was doing.
    pub(super) step: Option<Step>,
    /// The file that was arriving; dropping it removes its temporary file.
    pub(super) parts: Option<Box<dyn MultipartUpload>>,
    /// Bounds the queue: an upload counts until nothing is left of it.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// The thread. Dropping it waits until everything left behind is removed.
#[derive(Debug)]
pub(super) struct Cleaner {
    /// `None` only while it is dropped.
    leftovers: Option<mpsc::Sender<Leftover>>,
    thread: Option<JoinHandle<()>>,
}

impl Cleaner {
    pub(super) fn new(folder: ImageFolder) -> io::Result<Self> {
        let (leftovers, queue) = mpsc::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let thread = thread::Builder::new()
            .name("uploads".into())
            .spawn(move || {
                for leftover in queue {
                    runtime.block_on(remove(&folder, leftover));
                }
            })?;
        Ok(Self {
            leftovers: Some(leftovers),
            thread: Some(thread),
        })
    }

    pub(super) fn remove(&self, leftover: Leftover) {
        let Some(queue) = &self.leftovers else {
            return;
        };
        if let Err(mpsc::SendError(leftover)) = queue.send(leftover) {
            // The thread panicked.
            tracing::error!(
                upload = leftover.id,
                "an upload that was cut is not removed before the next start"
            );
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.leftovers = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

async fn remove(folder: &ImageFolder, leftover: Leftover) {
    let Leftover {
        id,
        step,
        parts,
        permit,
    } = leftover;
    if let Some(step) = step {
        // How it ends is of no interest, and neither is a write that hangs for so long.
        let _ = timeout(STEP_WAIT, step).await;
    }
    drop(parts);
    if let Err(error) = folder.remove(&id) {
        tracing::error!(upload = id, %error, "an upload that was cut is not removed before the next start");
    }
    drop(permit);
}
