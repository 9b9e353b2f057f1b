//! What others have told a run, as far as its owner knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::entry::Outcome;
use super::message::{Message, Says};
use super::workflow::Parent;
use crate::clock::Micros;
use crate::queue::JobId;

/// What others have told a run.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    // A short lock.
    state: Mutex<State>,
    /// Something came that somebody may wait for.
    changed: Notify,
    /// Somebody waits for what may have come before its owner listened.
    pub(super) wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many messages were read.
    seen: u64,
    was_read: bool,
    /// What no other message is called.
    ids: HashSet<String>,
    /// Signals that nobody has taken, by their place.
    signals: BTreeMap<u64, Signal>,
    /// Those that were taken, as the journal has it, of messages that were not read yet.
    taken: HashSet<u64>,
    /// Who waits for it beside who started it.
    parents: Vec<Parent>,
    /// Children that have ended.
    ended: HashMap<JobId, Outcome>,
    cancelled: Option<Arc<str>>,
    paused: bool,
}

/// Something that the run may wait for.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    name: String,
    /// When it came.
    when: Micros,
    pub(super) value: Box<RawValue>,
}

/// Whether a run may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Paused,
    /// It was asked to stop, for this reason.
    Cancelled(Arc<str>),
}

impl Inbox {
    /// How many messages were read.
    pub(super) fn seen(&self) -> u64 {
        self.state.lock().seen
    }

    /// Takes note that the journal has this message as taken, or as given back.
    pub(super) fn replay(&self, message: u64, is_taken: bool) {
        let mut state = self.state.lock();
        if is_taken {
            state.taken.insert(message);
        } else {
            state.taken.remove(&message);
        }
    }

    /// Takes in what was read, in order. Returns what is wrong with those that are no messages.
    pub(super) fn read(&self, messages: &[(Micros, Bytes)]) -> Vec<String> {
        let mut state = self.state.lock();
        let mut wrong = Vec::new();
        state.was_read = true;
        for (when, message) in messages {
            let place = state.seen;
            state.seen += 1;
            match Message::decode(message) {
                Ok(message) => state.take_in(place, *when, message),
                Err(error) => wrong.push(format!("message {place} of its inbox: {error}")),
            }
        }
        drop(state);
        self.changed.notify_waiters();
        wrong
    }

    /// The first signal of this name that nobody has taken, if it came before `ends`.
    pub(super) fn take(&self, name: &str, ends: Option<Micros>) -> Option<(u64, Signal)> {
        let mut state = self.state.lock();
        let mut signals = state.signals.iter();
        let (place, signal) = signals.find(|(_, signal)| signal.name == name)?;
        if ends.is_some_and(|ends| signal.when > ends) {
            return None;
        }
        let place = *place;
        Some((place, state.signals.remove(&place)?))
    }

    /// Who waits for it beside who started it.
    pub(super) fn parents(&self) -> Vec<Parent> {
        self.state.lock().parents.clone()
    }

    /// What became of a child, if that is known.
    pub(super) fn take_ended(&self, job: JobId) -> Option<Outcome> {
        self.state.lock().ended.remove(&job)
    }

    /// Gives one back that was taken.
    pub(super) fn give_back(&self, message: u64, signal: Signal) {
        self.state.lock().signals.insert(message, signal);
        self.changed.notify_waiters();
    }

    /// Has it read, unless that was done.
    pub(super) fn want(&self) {
        if !self.state.lock().was_read {
            self.wanted.notify_one();
        }
    }

    /// Whether the run may go on.
    pub(super) fn gate(&self) -> Gate {
        let state = self.state.lock();
        match &state.cancelled {
            Some(reason) => Gate::Cancelled(reason.clone()),
            None if state.paused => Gate::Paused,
            None => Gate::Open,
        }
    }

    /// Waits until something is found that is looked for.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // What changes behind the look is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until the run is asked to stop.
    pub(super) async fn cancelled(&self) -> Arc<str> {
        self.until(|inbox| match inbox.gate() {
            Gate::Cancelled(reason) => Some(reason),
            Gate::Open | Gate::Paused => None,
        })
        .await
    }
}

impl State {
    fn take_in(&mut self, place: u64, when: Micros, message: Message) {
        if !self.ids.insert(message.id.into_owned()) {
            return;
        }
        match message.says {
            Says::Signal { name, value } => {
                if !self.taken.contains(&place) {
                    self.signals.insert(place, Signal { name, when, value });
                }
            }
            Says::Cancel { reason } => {
                self.cancelled.get_or_insert_with(|| reason.into());
            }
            Says::Parent(parent) => self.parents.push(parent),
            Says::Ended { job, outcome } => {
                self.ended.insert(job, outcome);
            }
            Says::Pause => self.paused = true,
            Says::Resume => self.paused = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::to_raw_value;

    fn signal(id: &'static str, name: &str, value: u32) -> (Micros, Bytes) {
        let message = Message {
            id: id.into(),
            says: Says::Signal {
                name: name.to_owned(),
                value: to_raw_value(&value).unwrap(),
            },
        };
        (Micros::new(value.into()), message.encode())
    }

    fn taken(inbox: &Inbox, name: &str) -> Option<(u64, String)> {
        let taken = inbox.take(name, None);
        taken.map(|(place, signal)| (place, signal.value.get().to_owned()))
    }

    #[test]
    fn signals_are_taken_in_order_once_each() {
        let inbox = Inbox::default();
        let messages = [
            signal("1", "a", 10),
            signal("2", "b", 20),
            signal("3", "a", 30),
        ];
        assert!(inbox.read(&messages).is_empty());
        // The same again, after a reply was lost.
        inbox.read(&[signal("1", "a", 10)]);
        assert!(inbox.take("a", Some(Micros::new(9))).is_none());
        assert_eq!(taken(&inbox, "a"), Some((0, "10".into())));
        let (place, last) = inbox.take("a", Some(Micros::new(30))).unwrap();
        assert_eq!(taken(&inbox, "a"), None);
        inbox.give_back(place, last);
        assert_eq!(taken(&inbox, "a"), Some((2, "30".into())));
        assert_eq!(
            (taken(&inbox, "b"), inbox.seen()),
            (Some((1, "20".into())), 4)
        );
    }

    #[test]
    fn what_the_journal_has_as_taken_is_not_there_again() {
        let inbox = Inbox::default();
        inbox.replay(0, true);
        inbox.replay(1, true);
        inbox.replay(1, false);
        let wrong = (Micros::new(30), Bytes::from_static(b"?"));
        let messages = [signal("1", "a", 10), signal("2", "a", 20), wrong];
        assert_eq!(inbox.read(&messages).len(), 1);
        assert_eq!(taken(&inbox, "a"), Some((1, "20".into())));
        assert_eq!(taken(&inbox, "a"), None);
    }

    #[test]
    fn it_goes_on_until_it_is_cancelled() {
        let inbox = Inbox::default();
        let tell = |says| {
            inbox.read(&[(Micros::default(), Message::new(says).encode())]);
            inbox.gate()
        };
        let cancel = |reason: &str| Says::Cancel {
            reason: reason.to_owned(),
        };
        assert_eq!(tell(Says::Pause), Gate::Paused);
        assert_eq!(tell(Says::Resume), Gate::Open);
        assert_eq!(tell(cancel("sold out")), Gate::Cancelled("sold out".into()));
        assert_eq!(tell(cancel("again")), Gate::Cancelled("sold out".into()));
        assert_eq!(tell(Says::Pause), Gate::Cancelled("sold out".into()));
    }
}
