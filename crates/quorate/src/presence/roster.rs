//! A roster as a pure function of its state and the time. `scripts/*.lua` mirror it line by line.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

use super::announcement::{Announcement, Change};
use super::member::{InstanceId, Member, RosterVersion};
use crate::clock::Micros;

/// How long a roster outlives its last lease. Longer than any lease, so that no lease outlives its roster.
pub(crate) const RETENTION: Duration = Duration::from_secs(3600);

/// Members that one page holds, give or take what the server's own steps hold.
pub(crate) const PAGE: usize = 256;

/// Everything remembered of one roster.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct RosterState {
    version: RosterVersion,
    instances: BTreeMap<InstanceId, Instance>,
    kept_until: Micros,
}

/// What one instance put there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Instance {
    ends: Micros,
    /// The version after the last change of its members.
    at: u64,
    members: BTreeMap<String, Bytes>,
}

/// The answer to every transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The roster's version afterwards.
    pub version: RosterVersion,
    /// The version after the last change of the instance's members; `None` if it has none on the roster, or
    /// its lease has ended.
    pub at: Option<u64>,
    /// The same before this transition: whoever remembers another has missed something, or was given
    /// something that was taken back.
    pub before: Option<u64>,
    /// How many members the instance has there.
    pub members: u64,
    /// The lease of another instance that ends first.
    pub next: Option<Ending>,
}

impl Standing {
    /// Of an instance that is not on the roster; for backends of your own, which set the other fields.
    #[must_use]
    pub const fn new(version: RosterVersion) -> Self {
        Self {
            version,
            at: None,
            before: None,
            members: 0,
            next: None,
        }
    }
}

/// When a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whose, and when")]
pub struct Ending {
    /// Whose lease.
    pub instance: InstanceId,
    /// How much longer it runs, unless it is renewed; zero if it has ended.
    pub remaining: Duration,
}

/// One instance on a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct OnRoster {
    /// Which.
    pub instance: InstanceId,
    /// How much longer its lease runs; zero if it has ended.
    pub remaining: Duration,
    /// How many members it has there.
    pub members: u64,
}

/// Who is on a roster, without the members themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct Look {
    /// The roster's version.
    pub version: RosterVersion,
    /// Its instances, those whose lease has ended and who were not removed yet included.
    pub instances: Vec<OnRoster>,
}

/// A part of a roster's members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct Page {
    /// The roster's version when the page was read.
    pub version: RosterVersion,
    /// Whether the lease of an instance on the roster has ended: then its members may be among these.
    pub ended: bool,
    /// Some members. One that changed while pages were read may be missing, or be there twice.
    pub members: Vec<Member>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Cursor>,
}

/// A place between two pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct Cursor {
    /// Which of the instances given is being read, from 0.
    pub nth: usize,
    /// The place within it, in the backend's own terms.
    pub within: String,
}

/// Which leases a removal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a lease has ended or has not")]
pub enum Removal {
    /// Only one that has ended.
    IfEnded,
    /// Any: the instance itself asks.
    Now,
}

type Changed = (Standing, Option<Announcement>);

impl RosterState {
    /// Puts members of `instance` there, or replaces their info, and lets its lease end `lease` from now.
    /// Changes nothing, and says so with `at: None`, if its lease has ended: it has to be removed first.
    pub(crate) fn join(
        &mut self,
        now: Micros,
        instance: InstanceId,
        lease: Duration,
        members: &[(String, Bytes)],
    ) -> Changed {
        let prior = self.at(now, instance);
        if self.has_ended(now, instance) {
            return (self.standing(now, instance, prior), None);
        }
        if self.version.epoch == 0 {
            self.version.epoch = now.get();
        }
        let before = self.version;
        let ends = now.plus(lease);
        let own = self.instances.entry(instance).or_insert_with(|| Instance {
            ends,
            at: 0,
            members: BTreeMap::new(),
        });
        own.ends = ends;
        let mut changes = Vec::new();
        for (id, info) in members {
            if own.members.get(id) != Some(info) {
                own.members.insert(id.clone(), info.clone());
                changes.push(Change::Joined {
                    id: id.clone(),
                    info: info.clone(),
                });
            }
        }
        self.kept_until = ends.plus(RETENTION);
        let announced = self.changed(before, instance, changes);
        (self.standing(now, instance, prior), announced)
    }

    /// Takes members of `instance` off. Without any left it is not on the roster any more.
    pub(crate) fn leave(&mut self, now: Micros, instance: InstanceId, ids: &[String]) -> Changed {
        let prior = self.at(now, instance);
        if self.has_ended(now, instance) {
            return (self.standing(now, instance, prior), None);
        }
        let before = self.version;
        let mut changes = Vec::new();
        if let Some(own) = self.instances.get_mut(&instance) {
            for id in ids {
                if own.members.remove(id).is_some() {
                    changes.push(Change::Left { id: id.clone() });
                }
            }
        }
        let announced = self.changed(before, instance, changes);
        (self.standing(now, instance, prior), announced)
    }

    /// Lets the lease of `instance` end `lease` from now, unless it has ended.
    pub(crate) fn renew(&mut self, now: Micros, instance: InstanceId, lease: Duration) -> Standing {
        if !self.has_ended(now, instance)
            && let Some(own) = self.instances.get_mut(&instance)
        {
            own.ends = now.plus(lease);
            self.kept_until = own.ends.plus(RETENTION);
        }
        let prior = self.at(now, instance);
        self.standing(now, instance, prior)
    }

    /// Takes all members of `instance` off at once.
    pub(crate) fn remove(
        &mut self,
        now: Micros,
        instance: InstanceId,
        removal: Removal,
    ) -> Changed {
        let (prior, before) = (self.at(now, instance), self.version);
        let mut announced = None;
        let may = removal == Removal::Now || self.has_ended(now, instance);
        if may && let Some(removed) = self.instances.remove(&instance) {
            let members = removed.members.len() as u64;
            announced = self.changed(before, instance, vec![Change::Gone { members }]);
        }
        (self.standing(now, instance, prior), announced)
    }

    /// Who is on the roster.
    pub(crate) fn look(&self, now: Micros) -> Look {
        let instances = self.instances.iter().map(|(instance, it)| OnRoster {
            instance: *instance,
            remaining: it.ends.since(now),
            members: it.members.len() as u64,
        });
        Look {
            version: self.version,
            instances: instances.collect(),
        }
    }

    /// Members of `instances` from a place on: one after the other, by id.
    pub(crate) fn page(
        &self,
        now: Micros,
        instances: &[InstanceId],
        cursor: Option<&Cursor>,
    ) -> Page {
        let mut page = Page {
            version: self.version,
            ended: self.instances.values().any(|it| it.ends <= now),
            members: Vec::new(),
            next: None,
        };
        let begin = cursor.map_or(0, |cursor| cursor.nth);
        let mut after = cursor.map(|cursor| &*cursor.within);
        for (nth, instance) in instances.iter().enumerate().skip(begin) {
            let from = after.take().map_or(Bound::Unbounded, Bound::Excluded);
            let Some(it) = self.instances.get(instance) else {
                continue;
            };
            for (id, info) in it.members.range::<str, _>((from, Bound::Unbounded)) {
                page.members.push(Member::new(id, info.clone(), *instance));
                if page.members.len() == PAGE {
                    let within = id.clone();
                    page.next = Some(Cursor { nth, within });
                    return page;
                }
            }
        }
        page
    }

    /// Until when it is worth keeping.
    pub(crate) const fn kept_until(&self) -> Micros {
        self.kept_until
    }

    /// Counts `changes`, and makes their announcement.
    fn changed(
        &mut self,
        before: RosterVersion,
        instance: InstanceId,
        changes: Vec<Change>,
    ) -> Option<Announcement> {
        if changes.is_empty() {
            return None;
        }
        let announcement = Announcement::new(before, instance, changes);
        self.version = announcement.after();
        if let Some(own) = self.instances.get_mut(&instance) {
            own.at = self.version.number;
            if own.members.is_empty() {
                self.instances.remove(&instance);
            }
        }
        Some(announcement)
    }

    fn has_ended(&self, now: Micros, instance: InstanceId) -> bool {
        let own = self.instances.get(&instance);
        own.is_some_and(|own| own.ends <= now)
    }

    /// The version after the last change of an instance's members, while its lease runs.
    fn at(&self, now: Micros, instance: InstanceId) -> Option<u64> {
        let own = self.instances.get(&instance);
        own.filter(|own| own.ends > now).map(|own| own.at)
    }

    fn standing(&self, now: Micros, instance: InstanceId, before: Option<u64>) -> Standing {
        let at = self.at(now, instance);
        let own = self.instances.get(&instance).filter(|_| at.is_some());
        let others = self.instances.iter().filter(|(it, _)| **it != instance);
        let first = others.min_by_key(|(instance, it)| (it.ends, **instance));
        Standing {
            version: self.version,
            at,
            before,
            members: own.map_or(0, |own| own.members.len() as u64),
            next: first.map(|(instance, it)| Ending {
                instance: *instance,
                remaining: it.ends.since(now),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Join(usize, Vec<(u8, u8)>, u16),
        Leave(usize, Vec<u8>),
        Renew(usize, u16),
        Remove(usize, bool),
        Wait(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let members = proptest::collection::vec((0..6_u8, 0..3_u8), 1..4);
        let ids = proptest::collection::vec(0..6_u8, 1..4);
        let step = prop_oneof![
            3 => (0..3_usize, members, 1..500_u16).prop_map(|(a, b, c)| Step::Join(a, b, c)),
            2 => (0..3_usize, ids).prop_map(|(a, b)| Step::Leave(a, b)),
            1 => (0..3_usize, 1..500_u16).prop_map(|(a, b)| Step::Renew(a, b)),
            1 => (0..3_usize, any::<bool>()).prop_map(|(a, b)| Step::Remove(a, b)),
            1 => (0..300_u16).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..80)
    }

    fn all(state: &RosterState, now: Micros) -> Vec<Member> {
        let instances: Vec<_> = state.instances.keys().copied().collect();
        state.page(now, &instances, None).members
    }

    proptest! {
        /// Versions count changed members, announcements join without a hole, and applying them to the
        /// roster before gives the roster after.
        #[test]
        fn announcements_are_the_difference(steps in steps()) {
            let who: Vec<_> = (0..3).map(|_| InstanceId::random()).collect();
            let micros = |it: u16| Duration::from_micros(it.into());
            let mut state = RosterState::default();
            let mut now = Micros::new(1_000);
            for step in steps {
                let before = state.clone();
                let known = all(&state, now);
                let announced = match step {
                    Step::Wait(it) => { now = now.plus(micros(it)); None }
                    Step::Renew(it, lease) => { state.renew(now, who[it], micros(lease)); None }
                    Step::Join(it, members, lease) => {
                        let members: BTreeMap<_, _> = members.into_iter().collect();
                        let members: Vec<_> = members.iter()
                            .map(|(id, info)| (id.to_string(), Bytes::from(vec![*info]))).collect();
                        let ended = before.has_ended(now, who[it]);
                        let (standing, announced) = state.join(now, who[it], micros(lease), &members);
                        prop_assert_eq!(standing.at.is_none(), ended);
                        let again = state.join(now, who[it], micros(lease), &members);
                        prop_assert_eq!(again, (Standing { before: standing.at, ..standing }, None));
                        announced
                    }
                    Step::Leave(it, ids) => {
                        let ids: Vec<_> = ids.iter().map(u8::to_string).collect();
                        let announced = state.leave(now, who[it], &ids).1;
                        prop_assert_eq!(state.leave(now, who[it], &ids).1, None);
                        announced
                    }
                    Step::Remove(it, ended) => {
                        let removal = if ended { Removal::IfEnded } else { Removal::Now };
                        let lives = before.instances.get(&who[it]).is_some_and(|it| it.ends > now);
                        let (standing, announced) = state.remove(now, who[it], removal);
                        prop_assert_eq!(standing.at.is_some(), ended && lives);
                        announced
                    }
                };
                let mut model: BTreeMap<_, _> = known.into_iter()
                    .map(|it| ((it.instance, it.id), it.info)).collect();
                if let Some(announcement) = announced {
                    prop_assert_eq!(announcement.before.number, before.version.number);
                    prop_assert_eq!(announcement.after(), state.version);
                    prop_assert!(announcement.after() > announcement.before);
                    let instance = announcement.instance;
                    for change in announcement.changes {
                        match change {
                            Change::Joined { id, info } => { model.insert((instance, id), info); }
                            Change::Left { id } => {
                                prop_assert!(model.remove(&(instance, id)).is_some());
                            }
                            Change::Gone { members } => {
                                let held = model.len();
                                model.retain(|(it, _), _| *it != instance);
                                prop_assert_eq!(held - model.len(), usize::try_from(members).unwrap());
                            }
                        }
                    }
                } else {
                    prop_assert_eq!(state.version.number, before.version.number);
                }
                let after: BTreeMap<_, _> = all(&state, now).into_iter()
                    .map(|it| ((it.instance, it.id), it.info)).collect();
                prop_assert_eq!(&model, &after);
                let look = state.look(now);
                prop_assert_eq!(look.instances.iter().map(|it| it.members).sum::<u64>(), after.len() as u64);
                prop_assert!(look.instances.iter().all(|it| it.members > 0));
            }
        }
    }

    #[test]
    fn pages_are_bounded_and_together_complete() {
        let (a, b) = (InstanceId::random(), InstanceId::random());
        let mut state = RosterState::default();
        let now = Micros::new(1);
        let members: Vec<_> = (0..700).map(|n| (format!("m{n}"), Bytes::new())).collect();
        state.join(now, a, RETENTION, &members);
        state.join(now, b, RETENTION, &members[..3]);
        let (mut cursor, mut found) = (None, Vec::new());
        loop {
            let page = state.page(now, &[a, b], cursor.as_ref());
            assert!(page.members.len() <= PAGE);
            found.extend(page.members);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 703);
        assert_eq!(found.iter().filter(|it| it.instance == b).count(), 3);
    }

    #[test]
    fn a_lease_that_has_ended_is_removed_and_not_revived() {
        let (a, b) = (InstanceId::random(), InstanceId::random());
        let mut state = RosterState::default();
        let (second, info) = (Duration::from_secs(1), Bytes::new());
        let start = Micros::new(1);
        state.join(start, a, second, &[("ada".into(), info.clone())]);
        let (standing, _) = state.join(start, b, second * 5, &[("bob".into(), info.clone())]);
        let next = Ending {
            instance: a,
            remaining: second,
        };
        assert_eq!(standing.next, Some(next));
        assert_eq!(state.remove(start, a, Removal::IfEnded).1, None);
        let late = start.plus(second);
        assert_eq!(state.renew(late, a, second).at, None);
        assert!(state.page(late, &[a, b], None).ended);
        let (standing, announced) = state.remove(late, a, Removal::IfEnded);
        assert_eq!(announced.unwrap().changes, [Change::Gone { members: 1 }]);
        assert_eq!(standing.version.number, 3);
        assert!(!state.page(late, &[a, b], None).ended);
    }
}
