//! The groups of a queue: a pure function of what they are told. `scripts/bring.lua` and `look_group.lua` mirror it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::super::group::{Bring, Effect, EffectName, GroupView, MemberEnded};
use super::super::happened::JobEventKind;
use super::super::job::JobId;
use super::super::news::News;
use super::group::Group;
use super::group::rows::GroupRow;
use super::{AWAITED, QueueState, RETENTION, Told};
use crate::clock::Micros;

/// How long who is told of the end of a group has to say that it was.
pub const TELLING: Duration = Duration::from_secs(60);
/// How many ends of groups are told at once.
pub(in crate::queue) const MOST_TOLD: usize = 100;

/// Groups that are not over, or whose end is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    all: HashMap<JobId, Group>,
    /// Those that are over, by until when that is kept.
    kept: BTreeSet<(Micros, JobId)>,
    /// Those whose ends nobody was told of, in the same way.
    untold: BTreeSet<(Micros, JobId)>,
    /// Until when somebody is telling of those.
    telling: HashMap<JobId, Micros>,
    /// What of them changed since this was last asked.
    changed: Vec<(JobId, GroupRow)>,
}

impl Groups {
    /// One begins with this job, unless it has begun before.
    pub(super) fn begin(&mut self, now: Micros, id: JobId, first: JobId, keep: Duration) {
        // Of one that is kept no longer nothing is known.
        self.forget(now, usize::MAX);
        let begin = || Group::new(first, keep);
        self.all.entry(id).or_insert_with(begin);
        self.took(id);
    }

    /// The ends of groups that are to be told now. Nobody else is told of them for a while.
    pub(super) fn hand_out(&mut self, now: Micros) -> Vec<JobId> {
        let untold = self.untold.iter().filter(|(until, _)| *until > now);
        let told = untold.take(MOST_TOLD).map(|(_, id)| *id);
        let is_free = |id: &JobId| self.telling.get(id).is_none_or(|until| *until <= now);
        let told: Vec<_> = told.filter(is_free).collect();
        for id in &told {
            self.telling.insert(*id, now.plus(TELLING));
        }
        told
    }

    /// Somebody was told of the end of a group.
    fn told(&mut self, id: JobId) {
        self.telling.remove(&id);
        if let Some(group) = self.all.get_mut(&id)
            && let Some(until) = group.head.until
        {
            group.head.is_untold = false;
            self.untold.remove(&(until, id));
            self.changed.push((id, GroupRow::Head));
        }
    }

    pub(super) fn forget(&mut self, now: Micros, most: usize) {
        for _ in 0..most {
            let Some((until, id)) = self
                .kept
                .first()
                .copied()
                .filter(|(until, _)| *until <= now)
            else {
                return;
            };
            self.kept.remove(&(until, id));
            self.untold.remove(&(until, id));
            self.telling.remove(&id);
            if let Some(group) = self.all.remove(&id) {
                self.changed.extend(group.rows().map(|row| (id, row)));
            }
        }
    }

    #[cfg(feature = "file")]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many are not over.
    pub(super) fn open(&self) -> usize {
        self.all.len() - self.kept.len()
    }

    /// When the next is forgotten.
    pub(super) fn next_end(&self) -> Option<Micros> {
        self.kept.first().map(|(until, _)| *until)
    }

    /// When the last of those is that are over.
    pub(super) fn last_end(&self) -> Option<Micros> {
        self.kept.last().map(|(until, _)| *until)
    }

    #[cfg(feature = "file")]
    pub(super) fn row(&self, id: JobId, part: GroupRow) -> Option<Vec<u8>> {
        self.all.get(&id)?.row(part)
    }

    /// Takes a part of a group back.
    #[cfg(feature = "file")]
    pub(super) fn put_back(&mut self, id: JobId, part: GroupRow, row: &[u8]) -> Option<()> {
        let group = self.all.entry(id).or_default();
        group.put_back(part, row)?;
        if let Some(until) = group.head.until {
            self.kept.insert((until, id));
            if group.head.is_untold {
                self.untold.insert((until, id));
            }
        }
        Some(())
    }

    /// What of them changed since this was last asked.
    pub(super) const fn changed(&mut self) -> &mut Vec<(JobId, GroupRow)> {
        &mut self.changed
    }

    /// Takes note of what of a group changed.
    fn took(&mut self, id: JobId) {
        if let Some(group) = self.all.get_mut(&id) {
            let rows = group.changed().drain(..).map(|row| (id, row));
            self.changed.extend(rows);
        }
    }
}

impl QueueState {
    /// Takes in what happened elsewhere, and gives who says so more to do.
    pub(in crate::queue) fn bring(&mut self, now: Micros, it: Bring) -> Told<Vec<Effect>> {
        self.until = now.plus(RETENTION);
        let mut news = Vec::new();
        it.performed
            .into_iter()
            .for_each(|name| self.outbox.remove(name));
        it.told.into_iter().for_each(|id| self.groups.told(id));
        let untold = self.groups.untold.len();
        for ended in it.ended {
            self.end_member(now, ended, &mut news);
        }
        let effects = self.outbox.hand_out(now, it.want);
        // Who brings it takes no more than that.
        let is_more = self.outbox.next_due().is_some_and(|due| due <= now);
        let is_more = is_more || self.groups.untold.len() > untold;
        news.extend(self.wake(now, is_more));
        (effects, news)
    }

    fn end_member(&mut self, now: Micros, ended: MemberEnded, news: &mut Vec<News>) {
        let (id, member) = (ended.group, ended.id);
        let Some(group) = self.groups.all.get_mut(&id) else {
            return;
        };
        let Some(queued) = group.end(ended) else {
            return;
        };
        // It need not be queued any more, should that not have been said yet.
        self.outbox.remove(EffectName::Push(member));
        // In their order, which is that of their times.
        for (behind, (queue, job)) in (0..queued.len()).rev().zip(queued) {
            let due = now.get().saturating_sub(behind as u64);
            self.outbox.add(Micros::new(due), Effect::Push(queue, job));
        }
        if group.is_over() {
            let seen = &group.head.seen;
            self.watch.happened(now, id, || JobEventKind::GroupEnded {
                succeeded: seen.succeeded,
                dead: seen.dead,
                cancelled: seen.cancelled,
                expired: seen.expired,
            });
            let (until, is_awaited) = (now.plus(group.head.keep), group.awaited > now);
            group.head.until = Some(until);
            group.head.is_untold = !is_awaited;
            self.groups.kept.insert((until, id));
            if is_awaited {
                news.push(News::GroupEnded(id));
            } else {
                self.groups.untold.insert((until, id));
            }
        }
        self.groups.took(id);
    }

    /// Whether there is a group that is not over.
    pub(super) fn has_open_groups(&self) -> bool {
        self.groups.open() > 0
    }

    /// A group; `None` if there is none, or not any more. With `wait`, its end is announced if it comes soon.
    pub(in crate::queue) fn look_group(
        &mut self,
        now: Micros,
        id: JobId,
        wait: bool,
    ) -> Option<GroupView> {
        let group = self.groups.all.get_mut(&id)?;
        match group.head.until {
            Some(until) if until <= now => return None,
            None if wait => group.awaited = now.plus(AWAITED),
            _ => {}
        }
        Some(group.view())
    }
}
