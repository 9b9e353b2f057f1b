//! Which moments of schedules have been: a pure function. `fire.lua` mirrors it.

use std::collections::BTreeMap;

use super::super::firing::{Fired, Firing, KEEP_SCHEDULES};
use super::{QueueState, RETENTION, Told};
use crate::clock::Micros;

/// The schedules of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedules {
    /// The last moment of each.
    last: BTreeMap<String, Micros>,
    /// How long they are remembered, all together.
    until: Micros,
    /// Those that were fired or forgotten since this was last asked.
    changed: Vec<String>,
}

impl Schedules {
    #[cfg(feature = "file")]
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    pub(super) const fn until(&self) -> Micros {
        self.until
    }

    pub(super) const fn changed(&mut self) -> &mut Vec<String> {
        &mut self.changed
    }

    /// The last moment of one.
    pub(super) fn get(&self, name: &str) -> Option<Micros> {
        self.last.get(name).copied()
    }

    /// Takes note of what was known of one.
    #[cfg(feature = "file")]
    pub(super) fn put_back(&mut self, name: &str, moment: Micros, until: Micros) {
        self.last.insert(name.to_owned(), moment);
        self.until = self.until.max(until);
    }

    fn forget_outdated(&mut self, now: Micros) {
        if self.until <= now {
            self.changed
                .extend(std::mem::take(&mut self.last).into_keys());
        }
    }
}

impl QueueState {
    /// Queues what a schedule says for a moment, if that is the next one and has come.
    pub(in crate::queue) fn fire(&mut self, now: Micros, firing: Firing) -> Told<Fired> {
        self.schedules.forget_outdated(now);
        let last = self.schedules.get(&firing.schedule);
        if last != firing.after {
            return (Fired::Other(last), Vec::new());
        }
        let moment = firing.moment.unwrap_or(now);
        if moment > now {
            return (Fired::NotYet(moment.since(now)), Vec::new());
        }
        self.until = self.until.max(now.plus(RETENTION));
        self.schedules.until = now.plus(KEEP_SCHEDULES);
        self.schedules.changed.push(firing.schedule.clone());
        self.schedules.last.insert(firing.schedule, moment);
        let Some(job) = firing.job else {
            return (Fired::Done(None), Vec::new());
        };
        let (pushed, news) = self.push(now, vec![job]);
        (Fired::Done(pushed.first().copied()), news)
    }

    /// The schedules and the last moment of each, in the order of their names.
    pub(in crate::queue) fn schedules(&self, now: Micros) -> Vec<(String, Micros)> {
        if self.schedules.until <= now {
            return Vec::new();
        }
        let last = self.schedules.last.iter();
        last.map(|(name, moment)| (name.clone(), *moment)).collect()
    }

    /// Forgets a schedule. Returns whether there was one.
    pub(in crate::queue) fn unschedule(&mut self, now: Micros, name: &str) -> bool {
        self.schedules.forget_outdated(now);
        let is_known = self.schedules.last.remove(name).is_some();
        if is_known {
            self.schedules.changed.push(name.to_owned());
        }
        is_known
    }
}
