//! What is subscribed to, and what the server knows of it.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::error::LinkError;
use crate::push::SubscriptionKind;

/// One subscription's name.
pub(crate) type Key = (SubscriptionKind, Bytes);

/// How far a subscription has come.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Not acknowledged on the present connection.
    Pending,
    /// Acknowledged.
    Acknowledged,
    /// The server refused it.
    Refused(LinkError),
    /// The link was closed.
    Closed,
}

/// What the push connection has to send.
#[derive(Debug)]
pub(crate) enum Change {
    Subscribe(Key, u64),
    Unsubscribe(Key, oneshot::Sender<()>),
}

#[derive(Debug)]
struct Wanted {
    /// Tells this subscription from an earlier one of the same name.
    id: u64,
    progress: watch::Sender<Progress>,
    /// Calls waiting for the first acknowledgement.
    waiting: usize,
    /// Some call was told that it is subscribed: from then on it is kept whatever happens.
    promised: bool,
}

#[derive(Debug, Default)]
struct State {
    wanted: HashMap<Key, Wanted>,
    changes: VecDeque<Change>,
    connected: bool,
    closed: bool,
    next_id: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    // One lock, so that what is wanted and what is still to be sent never disagree.
    state: Mutex<State>,
    /// There are changes to send.
    changed: Notify,
}

impl Subscriptions {
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().wanted.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().wanted.len()
    }

    // ── callers ──────────────────────────────────────────────────────────────────────────────

    /// Wants a subscription, and watches how far it comes.
    pub(crate) fn want(&self, key: Key) -> Result<Wish<'_>, LinkError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LinkError::closed());
        }
        let State {
            wanted,
            changes,
            connected,
            next_id,
            ..
        } = &mut *state;
        let entry = wanted.entry(key.clone()).or_insert_with(|| {
            *next_id += 1;
            if *connected {
                changes.push_back(Change::Subscribe(key.clone(), *next_id));
            }
            Wanted {
                id: *next_id,
                progress: watch::Sender::new(Progress::Pending),
                waiting: 0,
                promised: false,
            }
        });
        entry.waiting += 1;
        let (id, progress) = (entry.id, entry.progress.subscribe());
        drop(state);
        self.changed.notify_one();
        Ok(Wish {
            all: self,
            key,
            id,
            progress,
            kept: false,
        })
    }

    /// Wants it no more. The receiver resolves when the server has acknowledged that, or when there
    /// is nothing to acknowledge.
    pub(crate) fn forget(&self, key: &Key) -> Result<oneshot::Receiver<()>, LinkError> {
        let (done, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return Err(LinkError::closed());
        }
        if state.wanted.remove(key).is_some() && state.connected {
            state
                .changes
                .push_back(Change::Unsubscribe(key.clone(), done));
            drop(state);
            self.changed.notify_one();
        }
        Ok(receiver)
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.changes.clear();
        for (_, wanted) in state.wanted.drain() {
            wanted.progress.send_replace(Progress::Closed);
        }
    }

    // ── the push connection ──────────────────────────────────────────────────────────────────

    /// Connected: everything wanted has to be sent. Returns what that is.
    pub(crate) fn connected(&self) -> HashSet<(Key, u64)> {
        let mut state = self.state.lock();
        let State {
            wanted,
            changes,
            connected,
            ..
        } = &mut *state;
        *connected = true;
        changes.clear();
        changes.extend(
            wanted
                .iter()
                .map(|(key, w)| Change::Subscribe(key.clone(), w.id)),
        );
        let all = wanted.iter().map(|(key, w)| (key.clone(), w.id)).collect();
        drop(state);
        self.changed.notify_one();
        all
    }

    /// Disconnected: nothing is acknowledged any more, and nothing need be unsubscribed.
    pub(crate) fn disconnected(&self) {
        let mut state = self.state.lock();
        state.connected = false;
        state.changes.clear();
        for wanted in state.wanted.values() {
            wanted.progress.send_replace(Progress::Pending);
        }
    }

    /// Sends a refused subscription again, if it is still wanted.
    pub(crate) fn again(&self, key: &Key, id: u64) -> bool {
        let mut state = self.state.lock();
        let wanted = state.connected && state.wanted.get(key).is_some_and(|w| w.id == id);
        if wanted {
            state.changes.push_back(Change::Subscribe(key.clone(), id));
            drop(state);
            self.changed.notify_one();
        }
        wanted
    }

    /// The next thing to send.
    pub(crate) async fn next_change(&self) -> Change {
        loop {
            if let Some(change) = self.state.lock().changes.pop_front() {
                // Another may be behind it, and the permit below is used up.
                self.changed.notify_one();
                return change;
            }
            self.changed.notified().await;
        }
    }

    pub(crate) fn acknowledged(&self, key: &Key, id: u64) {
        self.settle(key, id, Progress::Acknowledged);
    }

    /// The server refused. Returns whether it was promised before, and so must be tried again.
    pub(crate) fn refused(&self, key: &Key, id: u64, error: LinkError) -> bool {
        self.settle(key, id, Progress::Refused(error))
    }

    fn settle(&self, key: &Key, id: u64, progress: Progress) -> bool {
        let state = self.state.lock();
        match state.wanted.get(key) {
            Some(wanted) if wanted.id == id => {
                wanted.progress.send_replace(progress);
                wanted.promised
            }
            _ => false, // forgotten meanwhile, or wanted anew
        }
    }
}

/// A call's interest in one subscription. Dropped before it was kept, it takes the subscription back
/// unless another call shares it.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    all: &'a Subscriptions,
    key: Key,
    id: u64,
    progress: watch::Receiver<Progress>,
    kept: bool,
}

impl Wish<'_> {
    /// Waits until the server has answered.
    pub(crate) async fn settled(&mut self) -> Result<(), LinkError> {
        let answer = self
            .progress
            .wait_for(|p| !matches!(p, Progress::Pending))
            .await;
        match answer.as_deref() {
            Ok(Progress::Acknowledged) => {}
            Ok(Progress::Refused(error)) => return Err(error.clone()),
            Ok(Progress::Closed | Progress::Pending) => return Err(LinkError::closed()),
            // Unsubscribed by somebody else while we waited.
            Err(_) => {
                return Err(super::shared::disconnected(
                    "unsubscribed before the server had acknowledged the subscription".to_owned(),
                ));
            }
        }
        drop(answer);
        self.kept = true;
        Ok(())
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mut state = self.all.state.lock();
        let Some(wanted) = state.wanted.get_mut(&self.key) else {
            return;
        };
        if wanted.id != self.id {
            return;
        }
        wanted.waiting -= 1;
        wanted.promised |= self.kept;
        if wanted.waiting > 0 || wanted.promised {
            return;
        }
        state.wanted.remove(&self.key);
        if state.connected {
            let (done, _) = oneshot::channel();
            state
                .changes
                .push_back(Change::Unsubscribe(self.key.clone(), done));
            drop(state);
            self.all.changed.notify_one();
        }
    }
}
