//! What a queue has for others, until it was performed: a pure function. `outbox.lua` mirrors it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::super::group::{BRING_LEASE, Effect, EffectName, MemberEnd, MemberEnded, Work};
use super::super::job::JobId;
use super::QueueState;
use crate::clock::Micros;

/// Effects by their names, and when each is handed out next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outbox {
    effects: HashMap<EffectName, (Effect, Micros)>,
    due: BTreeSet<(Micros, EffectName)>,
    /// Those that came or went since this was last asked.
    changed: Vec<EffectName>,
}

impl Outbox {
    /// Takes one in, to be handed out from then on.
    pub(super) fn add(&mut self, due: Micros, effect: Effect) {
        let name = effect.name();
        self.remove(name);
        self.changed.push(name);
        self.due.insert((due, name));
        self.effects.insert(name, (effect, due));
    }

    /// It was performed, or need not be.
    pub(super) fn remove(&mut self, name: EffectName) {
        if let Some((_, due)) = self.effects.remove(&name) {
            self.due.remove(&(due, name));
            self.changed.push(name);
        }
    }

    /// Those that nobody is performing, the first ones. Nobody else gets them for a while.
    pub(super) fn hand_out(&mut self, now: Micros, most: usize) -> Vec<Effect> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<_> = due.take(most).copied().collect();
        let hand_out = |(nth, (at, name)): (usize, (Micros, EffectName))| {
            let (effect, due) = self.effects.get_mut(&name)?;
            // Should they come again, then in the same order.
            let until = now.plus(BRING_LEASE + Duration::from_micros(nth as u64));
            *due = until;
            self.due.remove(&(at, name));
            self.due.insert((until, name));
            Some(effect.clone())
        };
        due.into_iter().enumerate().filter_map(hand_out).collect()
    }

    /// When the next is handed out.
    pub(super) fn next_due(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.effects.len()
    }

    /// Whether it is still to be told that this job has ended.
    pub(super) fn tells_of(&self, id: JobId) -> bool {
        self.effects.contains_key(&EffectName::Ended(id))
    }

    /// Those that came or went since this was last asked.
    pub(super) const fn changed(&mut self) -> &mut Vec<EffectName> {
        &mut self.changed
    }

    #[cfg(any(test, feature = "file"))]
    pub(super) fn get(&self, name: EffectName) -> Option<&Effect> {
        self.effects.get(&name).map(|(effect, _)| effect)
    }
}

impl QueueState {
    /// Puts aside for its group that a job has ended, if it belongs to one or begins one.
    pub(super) fn tell_group(
        &mut self,
        now: Micros,
        id: JobId,
        end: MemberEnd,
        work: Option<Work>,
    ) {
        let member_of = self.jobs.get(&id).and_then(|job| job.member_of.clone());
        let Some(group) = member_of.or_else(|| work.as_ref().map(|it| it.group.clone())) else {
            return;
        };
        let (left, said) = work.map_or_else(Default::default, |it| (it.left, it.said));
        let ended = MemberEnded {
            group: group.group,
            id,
            end,
            left,
            said,
        };
        self.outbox.add(now, Effect::Ended(group.queue, ended));
    }
}
