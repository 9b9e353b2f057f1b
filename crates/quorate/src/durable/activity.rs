//! What a run does at present: whether it only waits, so that it need not stay in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a run does at present.
#[derive(Debug, Default)]
pub(super) struct Activity {
    // A short lock.
    state: Mutex<State>,
    /// It may have begun to do nothing but wait.
    pub(super) changed: Notify,
    /// Nothing is under way any more.
    quiet: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What is under way.
    busy: usize,
    /// What is waited for, and until when.
    waits: BTreeMap<u64, Option<Instant>>,
    next: u64,
    /// Since when it does nothing but wait.
    idle_since: Option<Instant>,
}

/// That a run does nothing but wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) since: Instant,
    /// Until when at the latest.
    pub(super) until: Option<Instant>,
}

/// Something is under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

/// Something is waited for, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Activity>, u64);

impl Activity {
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut state = self.state.lock();
        state.busy += 1;
        state.idle_since = None;
        Busy(self.clone())
    }

    pub(super) fn waiting(self: &Arc<Self>, until: Option<Instant>) -> Waiting {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.waits.insert(number, until);
        state.settle();
        drop(state);
        self.changed.notify_one();
        Waiting(self.clone(), number)
    }

    /// `None` while something is under way, and while nothing is waited for that is known of here.
    pub(super) fn idle(&self) -> Option<Idle> {
        let state = self.state.lock();
        let since = state.idle_since?;
        let until = state.waits.values().filter_map(|until| *until).min();
        Some(Idle { since, until })
    }

    /// Waits until nothing is under way.
    pub(super) async fn quiet(&self) {
        loop {
            let mut quiet = std::pin::pin!(self.quiet.notified());
            // What ends behind the look is not missed.
            quiet.as_mut().enable();
            if self.state.lock().busy == 0 {
                return;
            }
            quiet.await;
        }
    }
}

impl State {
    /// Takes note of when it began to do nothing but wait.
    fn settle(&mut self) {
        if self.busy > 0 || self.waits.is_empty() {
            self.idle_since = None;
        } else if self.idle_since.is_none() {
            self.idle_since = Some(Instant::now());
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy -= 1;
        let (waits, is_quiet) = (!state.waits.is_empty(), state.busy == 0);
        state.settle();
        drop(state);
        if waits {
            self.0.changed.notify_one();
        }
        if is_quiet {
            self.0.quiet.notify_waiters();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waits.remove(&self.1);
        state.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_is_idle_when_it_waits_and_nothing_is_under_way() {
        let activity = Arc::new(Activity::default());
        assert_eq!(activity.idle(), None);
        let busy = activity.busy();
        let begun = Instant::now();
        let soon = begun + Duration::from_secs(5);
        let (long, short) = (activity.waiting(None), activity.waiting(Some(soon)));
        assert_eq!(activity.idle(), None);
        assert!(activity.quiet().now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(busy);
        let since = begun + Duration::from_secs(1);
        let idle = |until| Some(Idle { since, until });
        assert_eq!(activity.idle(), idle(Some(soon)));
        drop(short);
        assert_eq!(activity.idle(), idle(None));
        drop(long);
        assert_eq!(activity.idle(), None);
        assert!(activity.quiet().now_or_never().is_some());
    }
}
