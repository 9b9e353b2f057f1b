//! A job group: a pure function of which of its members end. `groups.lua` mirrors it.
//!
//! A member is open until it has ended; one that waits for others is open as well. So nothing is over while anything is left to be done, and
//! a member ends once, however often that is told.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::group::Said;
use super::super::group::{Gate, GroupView, Left, MAX_VALUES, MOST_VALUES, MemberEnd, MemberEnded};
use super::super::job::{JobId, NewJob};
use crate::clock::Micros;

pub(super) mod rows;
#[cfg(test)]
mod tests;

use self::rows::GroupRow;

/// Everything remembered of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) head: Head,
    members: HashMap<JobId, Member>,
    /// By member, who waits for it.
    followers: HashMap<JobId, Vec<JobId>>,
    values: BTreeMap<u32, Bytes>,
    /// Until when its end is waited for.
    pub(super) awaited: Micros,
    /// What of it changed since this was last asked.
    changed: Vec<GroupRow>,
}

/// What a group counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) keep: Duration,
    /// Until when it is kept, once it is over.
    pub(super) until: Option<Micros>,
    /// Whether somebody is to be told that it is.
    pub(super) is_untold: bool,
    /// As it is seen, without its values.
    pub(super) seen: GroupView,
    /// How many bytes its values have.
    bytes: usize,
}

/// What becomes of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Member {
    /// It is in its queue, or on its way there.
    Open,
    /// It waits for others.
    Waiting(Box<Waiting>),
    Ended(MemberEnd),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    queue: String,
    job: NewJob,
    on: Vec<JobId>,
    gate: Counts,
}

/// How a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    least: u32,
    has_to_succeed: bool,
    of: u32,
    done: u32,
    succeeded: u32,
}

/// What follows from how a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Open,
    Closed,
    /// It never opens.
    Shut,
}

impl Counts {
    fn count(&mut self, end: MemberEnd) {
        self.done += 1;
        self.succeeded += u32::from(end == MemberEnd::Succeeded);
    }

    const fn stands(self) -> Stands {
        let counted = if self.has_to_succeed {
            self.succeeded
        } else {
            self.done
        };
        if counted >= self.least {
            Stands::Open
        } else if self.of - self.done + counted < self.least {
            Stands::Shut
        } else {
            Stands::Closed
        }
    }
}

impl Group {
    /// Begins with one member.
    pub(super) fn new(first: JobId, keep: Duration) -> Self {
        let mut group = Self::default();
        group.head.keep = keep;
        group.changed.push(GroupRow::Head);
        group.put(first, Member::Open);
        group.head.seen.open = 1;
        group
    }

    pub(super) fn view(&self) -> GroupView {
        let values = self.values.values().cloned().collect();
        GroupView {
            values,
            ..self.head.seen.clone()
        }
    }

    /// All that has a row.
    pub(super) fn rows(&self) -> impl Iterator<Item = GroupRow> {
        let values = self.values.keys().map(|nth| GroupRow::Value(*nth));
        let members = self.members.keys().map(|id| GroupRow::Member(*id));
        std::iter::once(GroupRow::Head).chain(members).chain(values)
    }

    pub(super) const fn is_over(&self) -> bool {
        self.head.seen.is_over()
    }

    /// A member has ended. Returns what is to be queued; `None` if it was not open, so that nothing has changed.
    pub(super) fn end(&mut self, it: MemberEnded) -> Option<Vec<(String, NewJob)>> {
        if self.members.get(&it.id) != Some(&Member::Open) {
            return None;
        }
        self.changed.push(GroupRow::Head);
        let mut queued = Vec::new();
        it.said.iter().for_each(|said| self.say(said));
        for left in it.left {
            self.take_in(left, &mut queued);
        }
        self.end_all(vec![(it.id, it.end)], &mut queued);
        if self.is_over() {
            self.forget_members();
        }
        Some(queued)
    }

    fn say(&mut self, said: &Said) {
        if self.head.seen.is_fixed {
            return;
        }
        if !matches!(said, Said::Append(_)) {
            let rows = self.values.keys().map(|nth| GroupRow::Value(*nth));
            self.changed.extend(rows);
            self.values.clear();
            self.head.bytes = 0;
        }
        self.head.seen.is_fixed = matches!(said, Said::Fix(_));
        let value = said.value().clone();
        let bytes = self.head.bytes + value.len();
        if self.values.len() >= MOST_VALUES || bytes > MAX_VALUES {
            self.head.seen.dropped += 1;
            return;
        }
        self.head.bytes = bytes;
        let nth = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.changed.push(GroupRow::Value(nth));
        self.values.insert(nth, value);
    }

    /// Takes in a job that a member leaves, unless it is known.
    fn take_in(&mut self, left: Left, queued: &mut Vec<(String, NewJob)>) {
        let id = left.job.id;
        if self.members.contains_key(&id) {
            return;
        }
        self.head.seen.open += 1;
        let Some(Gate { condition, on }) = left.after else {
            self.put(id, Member::Open);
            return queued.push((left.queue, left.job));
        };
        let (least, has_to_succeed) = condition.least(on.len());
        let mut gate = Counts {
            least,
            has_to_succeed,
            of: u32::try_from(on.len()).unwrap_or(u32::MAX),
            done: 0,
            succeeded: 0,
        };
        let mut missing = Vec::new();
        for one in &on {
            match self.members.get(one) {
                Some(Member::Open | Member::Waiting(_)) => missing.push(*one),
                Some(Member::Ended(end)) => gate.count(*end),
                None => gate.count(MemberEnd::Cancelled),
            }
        }
        match gate.stands() {
            Stands::Open => {
                self.put(id, Member::Open);
                queued.push((left.queue, left.job));
            }
            Stands::Shut => self.close(id, MemberEnd::Cancelled),
            Stands::Closed => {
                for one in &missing {
                    self.followers.entry(*one).or_default().push(id);
                }
                let waiting = Waiting {
                    queue: left.queue,
                    job: left.job,
                    on: missing,
                    gate,
                };
                self.put(id, Member::Waiting(Box::new(waiting)));
            }
        }
    }

    /// Ends members, and those that can't be queued any more because of that.
    fn end_all(&mut self, mut ended: Vec<(JobId, MemberEnd)>, queued: &mut Vec<(String, NewJob)>) {
        let mut nth = 0;
        while let Some((id, end)) = ended.get(nth).copied() {
            nth += 1;
            self.close(id, end);
            for follower in self.followers.remove(&id).unwrap_or_default() {
                let Some(Member::Waiting(it)) = self.members.get_mut(&follower) else {
                    continue;
                };
                it.gate.count(end);
                let stands = it.gate.stands();
                self.changed.push(GroupRow::Member(follower));
                match stands {
                    Stands::Closed => {}
                    Stands::Shut => {
                        // It waits no more, whoever of those that it names ends next.
                        self.put(follower, Member::Open);
                        ended.push((follower, MemberEnd::Cancelled));
                    }
                    Stands::Open => {
                        if let Some(Member::Waiting(it)) =
                            self.members.insert(follower, Member::Open)
                        {
                            queued.push((it.queue, it.job));
                        }
                    }
                }
            }
        }
    }

    fn put(&mut self, id: JobId, member: Member) {
        self.changed.push(GroupRow::Member(id));
        self.members.insert(id, member);
    }

    fn close(&mut self, id: JobId, end: MemberEnd) {
        self.put(id, Member::Ended(end));
        self.head.seen.open -= 1;
        self.head.seen.count(end);
    }

    fn forget_members(&mut self) {
        let rows = self.members.keys().map(|id| GroupRow::Member(*id));
        self.changed.extend(rows);
        self.members.clear();
        self.followers.clear();
    }
}
