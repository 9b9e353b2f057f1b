//! What may be begun, by the limits of whoever asks: a pure function. `limits.lua` mirrors it.
//!
//! A job whose fairness group has no room is set aside when it would be its turn, with its rank. Whoever makes room, or comes by when time
//! has, puts the first of the group back. Each group with jobs aside is looked at again and again, so what gets lost costs time only.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::super::ask::Ask;
use super::super::fairness::Rank;
use super::super::job::JobId;
use super::super::limits::{Begun, LOOK_AGAIN, QueueLimits};
use super::places::Place;
use super::{MOST_MOVED, QueueState};
use crate::clock::Micros;
use crate::limit::Rate;

/// Whose name is no group's: jobs without a group have no limits of their own.
const WHOLE_QUEUE: &str = "";
/// What was begun is not looked through for what counts no more while it is of so few.
const FEW: usize = 64;

/// What is counted for the limits of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limiting {
    groups: HashMap<String, OfGroup>,
    /// Groups of which jobs are aside, by when they are looked at again.
    looks: BTreeSet<(Micros, String)>,
    /// All that is aside.
    aside: BTreeSet<(Rank, JobId)>,
    /// Of each group, and of the whole queue.
    begun: HashMap<String, Begun>,
    /// At how many of those to look for some that count no more.
    sweep_at: usize,
    /// Whose counts of what was begun are others since this was last asked.
    changed: Vec<String>,
}

/// A fairness group of which jobs are active that count, or aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfGroup {
    active: HashSet<JobId>,
    aside: BTreeSet<(Rank, JobId)>,
    look_at: Option<Micros>,
}

/// The limits of who asks, in whole numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    limits: QueueLimits,
    of_queue: Option<Rate>,
    of_groups: Option<Rate>,
}

/// What the limits of the whole queue leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// How many may begin.
    pub(super) jobs: usize,
    /// Whether nothing may begin before something ends.
    pub(super) is_full: bool,
    /// How long it is until one may begin.
    pub(super) wait: Duration,
}

impl Limits {
    /// Of an [`Ask`] that was checked.
    pub(super) fn of(ask: &Ask) -> Self {
        let (of_queue, of_groups) = ask.limits.rates().unwrap_or_default();
        Self {
            limits: ask.limits,
            of_queue,
            of_groups,
        }
    }

    fn counts(&self, group: &str) -> bool {
        self.limits.active_per_group.is_some() && !group.is_empty()
    }
}

impl Limiting {
    /// All that is aside, by rank.
    pub(super) const fn aside(&self) -> &BTreeSet<(Rank, JobId)> {
        &self.aside
    }

    pub(super) const fn changed(&mut self) -> &mut Vec<String> {
        &mut self.changed
    }

    /// What counts of what was begun of a group.
    pub(super) fn begun(&self, group: &str) -> Begun {
        self.begun.get(group).copied().unwrap_or_default()
    }

    #[cfg(feature = "file")]
    pub(super) fn begun_row(&self, group: &str) -> Option<Begun> {
        self.begun.get(group).copied()
    }

    #[cfg(feature = "file")]
    pub(super) fn put_back(&mut self, group: &str, begun: Begun) {
        self.begun.insert(group.to_owned(), begun);
    }

    fn begin(&mut self, now: Micros, group: &str, rate: &Rate, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        if number > 0 {
            let begun = self.begun(group).after(now, rate, number);
            self.changed.push(group.to_owned());
            self.begun.insert(group.to_owned(), begun);
            self.forget_begun(now);
        }
    }

    /// Those that count no more, when there are twice as many as the last time.
    fn forget_begun(&mut self, now: Micros) {
        if self.begun.len() >= self.sweep_at.max(FEW) {
            let changed = &mut self.changed;
            self.begun.retain(|group, begun| {
                let counts = begun.0 > now;
                if !counts {
                    changed.push(group.clone());
                }
                counts
            });
            self.sweep_at = self.begun.len() * 2;
        }
    }

    /// A job is aside, and its group is looked at then at the latest.
    pub(super) fn put_aside(&mut self, group: &str, (rank, id): (Rank, JobId), look_at: Micros) {
        self.aside.insert((rank, id));
        let of_group = self.groups.entry(group.to_owned()).or_default();
        of_group.aside.insert((rank, id));
        self.look_at(group, look_at);
    }

    /// Nothing is aside.
    pub(super) fn clear_aside(&mut self) {
        self.aside.clear();
        self.looks.clear();
        self.groups.retain(|_, of_group| {
            (of_group.aside, of_group.look_at) = (BTreeSet::new(), None);
            !of_group.active.is_empty()
        });
    }

    /// A job is aside no more.
    pub(super) fn take_back(&mut self, group: &str, rank: Rank, id: JobId) {
        self.aside.remove(&(rank, id));
        if let Some(of_group) = self.groups.get_mut(group) {
            of_group.aside.remove(&(rank, id));
        }
        self.drop_if_idle(group);
        if self.aside.is_empty() {
            for (_, group) in std::mem::take(&mut self.looks) {
                if let Some(of_group) = self.groups.get_mut(&group) {
                    of_group.look_at = None;
                }
                self.drop_if_idle(&group);
            }
        }
    }

    /// A job is active no more. If it counted, its group is looked at.
    pub(super) fn stopped(&mut self, group: &str, id: JobId) {
        let Some(of_group) = self.groups.get_mut(group) else {
            return;
        };
        if of_group.active.remove(&id) {
            if of_group.look_at.is_some() {
                self.look_at(group, Micros::default());
            }
            self.drop_if_idle(group);
        }
    }

    /// Looks at a group then, unless sooner.
    fn look_at(&mut self, group: &str, at: Micros) {
        let Some(of_group) = self.groups.get_mut(group) else {
            return;
        };
        if of_group.look_at.is_none_or(|last| at < last) {
            if let Some(last) = of_group.look_at.replace(at) {
                self.looks.remove(&(last, group.to_owned()));
            }
            self.looks.insert((at, group.to_owned()));
        }
    }

    fn forget_look(&mut self, group: &str) {
        if let Some(of_group) = self.groups.get_mut(group)
            && let Some(last) = of_group.look_at.take()
        {
            self.looks.remove(&(last, group.to_owned()));
        }
    }

    fn drop_if_idle(&mut self, group: &str) {
        let of_group = self.groups.get(group);
        let is_idle = |it: &OfGroup| it.active.is_empty() && it.aside.is_empty();
        if of_group.is_some_and(|it| is_idle(it) && it.look_at.is_none()) {
            self.groups.remove(group);
        }
    }

    /// When the next group is looked at.
    pub(super) fn next_look(&self) -> Option<Micros> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// How many more of a group may begin, and how long one would have to wait that is so many behind.
    fn room_of(&self, now: Micros, limits: &Limits, group: &str) -> usize {
        let active = self.groups.get(group).map_or(0, |it| it.active.len());
        let most = limits.limits.active_per_group.map_or(usize::MAX, of_u32);
        let begun = self.begun(group);
        let starts = limits.of_groups.map_or(usize::MAX, |rate| {
            usize::try_from(begun.left(now, &rate)).unwrap_or(usize::MAX)
        });
        most.saturating_sub(active).min(starts)
    }

    /// When to look at a group again of which so many were put back.
    fn next_look_at(&self, now: Micros, limits: &Limits, group: &str, behind: usize) -> Micros {
        let wait = limits.of_groups.map_or(Duration::ZERO, |rate| {
            let behind = u64::try_from(behind).unwrap_or(u64::MAX);
            self.begun(group).wait(now, &rate, behind)
        });
        let wait = if wait.is_zero() { LOOK_AGAIN } else { wait };
        now.plus(wait.min(LOOK_AGAIN))
    }
}

impl QueueState {
    /// How many jobs may begin, by the limits of the whole queue.
    pub(super) fn room(&self, now: Micros, limits: &Limits) -> Room {
        let most = limits.limits.active.map_or(usize::MAX, of_u32);
        let free = most.saturating_sub(self.active.len());
        let begun = self.limiting.begun(WHOLE_QUEUE);
        let left = limits.of_queue.map_or(usize::MAX, |rate| {
            usize::try_from(begun.left(now, &rate)).unwrap_or(usize::MAX)
        });
        let wait = limits.of_queue.map(|rate| begun.wait(now, &rate, 0));
        Room {
            jobs: free.min(left),
            is_full: free == 0,
            wait: wait.unwrap_or_default(),
        }
    }

    /// Takes in that so many jobs of the queue have begun.
    pub(super) fn begin(&mut self, now: Micros, limits: &Limits, number: usize) {
        if let Some(rate) = limits.of_queue {
            self.limiting.begin(now, WHOLE_QUEUE, &rate, number);
        }
    }

    /// Takes in that a job is about to begin, unless its group has no room: then it is set aside. Says whether it may, and whether
    /// it counts as long as it is active.
    pub(super) fn admit(
        &mut self,
        now: Micros,
        limits: &Limits,
        (rank, id): (Rank, JobId),
    ) -> (bool, bool) {
        let group = self.jobs.get(&id).map(|job| job.group.clone());
        let group = group.filter(|it| !it.is_empty() && limits.limits.are_of_groups());
        let Some(group) = group else {
            return (true, false);
        };
        if self.limiting.room_of(now, limits, &group) == 0 {
            let look_at = self.limiting.next_look_at(now, limits, &group, 0);
            self.leave(id);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.place = Place::Limited(rank);
            }
            self.limiting.put_aside(&group, (rank, id), look_at);
            return (false, false);
        }
        if let Some(rate) = limits.of_groups {
            self.limiting.begin(now, &group, &rate, 1);
        }
        let counts = limits.counts(&group);
        if counts {
            let of_group = self.limiting.groups.entry(group).or_default();
            of_group.active.insert(id);
        }
        (true, counts)
    }

    /// Puts back what may begin by now of what is aside. Who wants nothing leaves that to others.
    pub(super) fn put_back(&mut self, now: Micros, ask: &Ask, limits: &Limits) {
        if ask.want == 0 || self.limiting.aside.is_empty() {
            return;
        }
        if !ask.limits.are_of_groups() {
            // They have no limits any more.
            let all = self.limiting.aside.iter().take(MOST_MOVED).copied();
            for (rank, id) in all.collect::<Vec<_>>() {
                self.make_ready_at(id, rank);
            }
            return;
        }
        let looks = self.limiting.looks.iter();
        let looks = looks.take_while(|(at, _)| *at <= now).take(MOST_MOVED);
        let groups: Vec<_> = looks.map(|(_, group)| group.clone()).collect();
        for group in groups {
            self.put_back_of(now, limits, &group);
        }
    }

    fn put_back_of(&mut self, now: Micros, limits: &Limits, group: &str) {
        let room = self.limiting.room_of(now, limits, group).min(MOST_MOVED);
        self.limiting.forget_look(group);
        let of_group = self.limiting.groups.get(group);
        let next = of_group.into_iter().flat_map(|it| it.aside.iter());
        let next: Vec<_> = next.take(room).copied().collect();
        for (rank, id) in &next {
            self.make_ready_at(*id, *rank);
        }
        let at = self.limiting.next_look_at(now, limits, group, next.len());
        let of_group = self.limiting.groups.get(group);
        if of_group.is_some_and(|it| !it.aside.is_empty()) {
            self.limiting.look_at(group, at);
        } else {
            self.limiting.drop_if_idle(group);
        }
    }
}

fn of_u32(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
