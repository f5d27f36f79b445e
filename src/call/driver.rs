//! The task that drives a call: it polls the handler, hands h2 what the handler has sent, and learns when the client leaves.
//!
//! In: who polls, and where. Out: whether that task is woken as it has to be. A handler usually reads and sends in that very
//! task; it may as well hand its call's parts to others.

use std::task::{Context, Waker};

/// What a call knows of its driver.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    /// How to wake it; known once it has polled the handler.
    waker: Option<Waker>,
    /// It polls the handler now, and will look at what was sent.
    polling: bool,
    reading: Reading,
}

/// How far the driver may rely on the reader: h2 wakes whoever waits for DATA when the client leaves, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    /// Nobody waits, or some other task does.
    #[default]
    Elsewhere,
    /// The driver waits for DATA, since it polled the handler last.
    Here,
    /// So it does, and has not asked h2 for anything else.
    Relied,
}

impl Driver {
    /// The driver is about to poll the handler.
    #[inline]
    pub(crate) fn polls(&mut self, cx: &Context<'_>) {
        self.polling = true;
        self.reading = Reading::Elsewhere;
        if !self.is(cx) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// The handler was polled; the driver looks at what it sent.
    #[inline]
    pub(crate) fn polled(&mut self) {
        self.polling = false;
    }

    /// There is no handler any more, and the driver, in `cx`, waits for whoever still sends.
    pub(crate) fn waits(&mut self, cx: &Context<'_>) {
        self.polls(cx);
        self.polled();
    }

    /// Whoever polls in `cx` has been put off until there is DATA.
    #[inline]
    pub(crate) fn reads(&mut self, cx: &Context<'_>) {
        let relied = self.reading == Reading::Relied;
        self.reading = match self.is(cx) {
            true => Reading::Here,
            false => Reading::Elsewhere,
        };
        if relied && self.reading == Reading::Elsewhere {
            // h2 wakes one task, and from now on another.
            self.wake();
        }
    }

    /// Whoever polls in `cx` has sent something: if that is not the handler, the driver is to come and hand it over. Its task
    /// may poll other things beside it.
    pub(crate) fn sends(&self, cx: &Context<'_>) {
        if !(self.polling && self.is(cx)) {
            self.wake();
        }
    }

    /// Whether the driver, which has polled the handler, is woken when the client leaves although it does not ask for it.
    pub(crate) fn may_rely(&self) -> bool {
        self.reading == Reading::Here
    }

    /// It does not ask for it.
    pub(crate) fn relies(&mut self) {
        self.reading = Reading::Relied;
    }

    /// The call is over.
    pub(crate) fn rests(&mut self) {
        *self = Self::default();
    }

    fn is(&self, cx: &Context<'_>) -> bool {
        let waker = self.waker.as_ref();
        waker.is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    /// There is something to look at.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn new() -> (Arc<Self>, Waker) {
            let task = Arc::new(Self::default());
            (Arc::clone(&task), Waker::from(task))
        }

        fn woken(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_reader_is_relied_on_only_when_it_waits_in_the_driver_since_the_handler_was_polled() {
        let ((_, own), (_, other)) = (Task::new(), Task::new());
        let (own, other) = (&Context::from_waker(&own), &Context::from_waker(&other));
        let mut driver = Driver::default();
        driver.polls(own);
        assert!(!driver.may_rely(), "nobody reads");
        driver.reads(own);
        assert!(driver.may_rely());
        driver.reads(other);
        assert!(!driver.may_rely(), "h2 wakes the other");
        driver.reads(own);
        driver.polls(own);
        assert!(!driver.may_rely(), "it may not read any more");
        driver.reads(own);
        driver.polls(other);
        driver.reads(own);
        assert!(!driver.may_rely(), "the other drives now");
    }

    #[test]
    fn a_driver_that_relies_on_the_reader_is_woken_when_another_task_becomes_it() {
        let ((task, own), (_, other)) = (Task::new(), Task::new());
        let (own, other) = (&Context::from_waker(&own), &Context::from_waker(&other));
        let mut driver = Driver::default();
        driver.polls(own);
        driver.reads(own);
        driver.relies();
        driver.reads(other);
        assert_eq!(task.woken(), 1);
        driver.reads(other);
        assert_eq!(task.woken(), 1, "it has been told");
    }

    #[test]
    fn a_driver_is_woken_for_what_others_send_and_not_for_what_its_handler_sends() {
        let ((task, own), (_, other)) = (Task::new(), Task::new());
        let (own, other) = (&Context::from_waker(&own), &Context::from_waker(&other));
        let mut driver = Driver::default();
        driver.polls(own);
        driver.sends(own);
        assert_eq!(task.woken(), 0);
        driver.sends(other);
        assert_eq!(task.woken(), 1);
        driver.polled();
        driver.sends(own);
        assert_eq!(task.woken(), 2, "beside the handler, in the same task");
        driver.rests();
        driver.sends(other);
        assert_eq!(task.woken(), 2, "the call is over");
    }
}
