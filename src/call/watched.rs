//! A value that tasks wait for, and that wakes them in the order in which they came.
//!
//! In: changes. Out: wake-ups. tokio's `watch` leaves their order to chance: calls that wait for a connection would
//! overtake each other, and a simulation could not be repeated.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Clones are handles to the same value.
pub(crate) struct Watched<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Inner {
            value: Mutex::new(value),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn set(&self, value: T) {
        *self.lock() = value;
        self.0.changed.notify_waiters();
    }

    /// Sets the value when it is such a one.
    pub(crate) fn set_if(&self, is: impl FnOnce(&T) -> bool, value: T) {
        let mut current = self.lock();
        if is(&current) {
            *current = value;
            drop(current);
            self.0.changed.notify_waiters();
        }
    }

    /// Looks at the value, which stays as it is meanwhile.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Looks at the value now and after each change, until there is something to return.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn until<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // First, so that no change comes between the look and the wait.
            changed.as_mut().enable();
            if let Some(found) = self.look(&mut look) {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until the value is such a one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn wait_for(&self, is: impl Fn(&T) -> bool) {
        self.until(|value| is(value).then_some(())).await;
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // A value is set whole, or not at all.
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Copy> Watched<T> {
    pub(crate) fn get(&self) -> T {
        *self.lock()
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.0.value).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let value = Watched::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = JoinSet::new();
        // Fewer than a runtime polls in one go.
        for n in 0..20 {
            let (value, woken) = (value.clone(), Arc::clone(&woken));
            waiting.spawn(async move {
                value.wait_for(|value| *value == 2).await;
                woken.lock().expect("no panic").push(n);
            });
        }
        tokio::task::yield_now().await;
        value.set(1);
        tokio::task::yield_now().await;
        value.set_if(|value| *value == 0, 3);
        assert!(woken.lock().expect("no panic").is_empty());
        value.set_if(|value| *value == 1, 2);
        waiting.join_all().await;
        let woken = woken.lock().expect("no panic");
        assert!(woken.iter().copied().eq(0..20), "{woken:?}");
        assert_eq!(value.get(), 2);
    }
}
