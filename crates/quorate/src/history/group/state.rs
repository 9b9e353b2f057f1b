//! What a consumer group does: pure functions of its state, the history of its topic and the time,
//! mirrored by `scripts/group_*.lua`.
//!
//! A group is a place in the history (what follows was never handed out) and what is *pending*: handed
//! out, and not yet acknowledged. A pending delivery is leased; when the lease ends it is due, and is
//! handed out again before anything new. What the bounds of the topic dropped first is pending too, as
//! a gap, until a consumer has shown it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::super::Position;
use super::super::log::{From, Log, PageLimit, RETENTION};
use super::request::{
    Content, GroupStatus, Handed, Settle, Settlement, Take, TakeId, TakeReply, Taken,
};
use crate::clock::{Micros, whole_micros};

/// Pending deliveries looked at to recognise a repeated take, at most.
const MAX_SCAN: usize = 1024;

/// What is known of one group.
#[derive(Clone, Debug, Default)]
pub(in crate::history) struct Group {
    epoch: u64,
    /// The offset of the first message that was never handed out.
    next: u64,
    /// There was no history yet when the group began: it is of the first one there will be.
    origin: bool,
    deleted: bool,
    /// When it is forgotten unless somebody asks before.
    until: Micros,
    pending: BTreeMap<u64, Pending>,
    by_end: BTreeSet<(Micros, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    /// When it is due.
    ends: Micros,
    attempt: u32,
    /// What handed it out last.
    take: Option<TakeId>,
    /// Whether that still has it.
    held: bool,
    /// `None`: a message. `Some`: so many messages are missing, where that is known.
    gap: Option<Option<u64>>,
}

impl Log {
    /// Makes a group that begins at `from`, unless there is one. Says whether there was none.
    pub(in crate::history) fn join(&mut self, now: Micros, name: &str, from: From) -> bool {
        let now = now.max(self.time());
        let until = self.group_until(now);
        if let Some(group) = self.groups.get_mut(name).filter(|group| !group.deleted) {
            group.until = until;
            return false;
        }
        let mut group = Group::beginning(self, now, from);
        group.until = until;
        self.groups.insert(name.to_owned(), group);
        true
    }

    /// Hands out what is due, then what is new. A group that is not known was lost: it goes on with the
    /// oldest message that is kept, after a gap.
    pub(in crate::history) fn take(&mut self, now: Micros, name: &str, take: &Take) -> TakeReply {
        let now = now.max(self.time());
        let until = self.group_until(now);
        let mut group = match self.groups.remove(name) {
            Some(group) => group,
            None => Group::after_a_loss(self, now),
        };
        let reply = if group.deleted {
            TakeReply::Deleted
        } else {
            group.until = until;
            TakeReply::Taken(group.take(self, now, take))
        };
        self.groups.insert(name.to_owned(), group);
        reply
    }

    /// Settles deliveries, and says of each whether it was this one's to settle. `again`: the reply to an
    /// earlier attempt was lost.
    pub(in crate::history) fn settle(
        &mut self,
        now: Micros,
        name: &str,
        settlements: &[Settlement],
        again: bool,
    ) -> Vec<bool> {
        let now = now.max(self.time());
        let until = self.group_until(now);
        let Some(group) = self.groups.get_mut(name).filter(|group| !group.deleted) else {
            return vec![false; settlements.len()];
        };
        group.until = until;
        let settle = |settlement| group.settle(now, settlement, again);
        settlements.iter().map(settle).collect()
    }

    /// Where a group stands, if there is one.
    pub(in crate::history) fn group_status(&self, name: &str) -> Option<GroupStatus> {
        let group = self.groups.get(name).filter(|group| !group.deleted)?;
        let lag = if self.epoch() == group.epoch {
            self.last() + 1 - group.next
        } else {
            self.last()
        };
        let position = Position::new(group.epoch, group.next - 1, 0);
        Some(GroupStatus::new(group.pending.len() as u64, lag, position))
    }

    /// Removes a group; what is left tells its consumers. Says whether there was one.
    pub(in crate::history) fn delete_group(&mut self, now: Micros, name: &str) -> bool {
        let until = now.max(self.time()).plus(RETENTION);
        let Some(group) = self.groups.get_mut(name).filter(|group| !group.deleted) else {
            return false;
        };
        *group = Group {
            deleted: true,
            until,
            ..Group::default()
        };
        true
    }
}

impl Group {
    pub(in crate::history) const fn until(&self) -> Micros {
        self.until
    }

    /// A group that begins at `from`.
    fn beginning(log: &Log, now: Micros, from: From) -> Self {
        let none = log.epoch() == 0;
        let kept = log.kept_from(now);
        let mut group = Self {
            epoch: if none { now.get() } else { log.epoch() },
            next: kept,
            origin: none,
            ..Self::default()
        };
        match from {
            From::Beginning => {}
            From::Latest(count) => {
                group.next = kept.max((log.last() + 1).saturating_sub(count.into()));
            }
            From::After(position) => match log.follows(now, position) {
                Some(next) => group.next = next,
                None => group.owe_gap(now, kept - 1),
            },
        }
        group
    }

    /// A group of which nothing is known any more.
    fn after_a_loss(log: &Log, now: Micros) -> Self {
        let mut group = Self::beginning(log, now, From::Beginning);
        group.owe_gap(now, group.next - 1);
        group
    }

    /// A gap of unknown size up to `offset` is due.
    fn owe_gap(&mut self, now: Micros, offset: u64) {
        let gap = Pending {
            ends: now,
            attempt: 0,
            take: None,
            held: false,
            gap: Some(None),
        };
        self.pending.insert(offset, gap);
        self.by_end.insert((now, offset));
    }

    fn take(&mut self, log: &Log, now: Micros, take: &Take) -> Taken {
        self.follow(log, now);
        let mut page = Page::new(take.limit);
        for offset in self.taken_before(now, take) {
            if let Some(pending) = self.pending.get(&offset) {
                page.add(pending.handed(log, now, offset));
            }
        }
        if page.handed.is_empty() {
            self.take_due(log, now, take, &mut page);
            self.take_new(log, now, take, &mut page);
        }
        let more = log.epoch() == self.epoch && self.next <= log.last();
        let due = self.by_end.first().map(|(ends, _)| ends.since(now));
        Taken {
            epoch: self.epoch,
            deliveries: page.handed,
            next: if more { Some(Duration::ZERO) } else { due },
        }
    }

    /// Goes on in the history there is now.
    fn follow(&mut self, log: &Log, now: Micros) {
        if log.epoch() == 0 {
            return;
        }
        if self.origin {
            self.origin = false;
            self.epoch = log.epoch();
        }
        if self.epoch == log.epoch() {
            return;
        }
        self.pending.clear();
        self.by_end.clear();
        self.epoch = log.epoch();
        self.next = log.kept_from(now);
        self.owe_gap(now, self.next - 1);
    }

    /// What a take handed out whose reply was lost.
    fn taken_before(&self, now: Micros, take: &Take) -> Vec<u64> {
        let Some(ago) = take.again else {
            return Vec::new();
        };
        // What it handed out had its lease counted from a moment at most so long ago.
        let earliest =
            (now.get() + whole_micros(take.visibility)).saturating_sub(whole_micros(ago));
        let recent = self.by_end.range((Micros::new(earliest), 0)..);
        let offsets = recent.take(MAX_SCAN).map(|(_, offset)| *offset);
        let own = |offset: &u64| {
            let pending = self.pending.get(offset);
            pending.is_some_and(|pending| pending.held && pending.take == Some(take.id))
        };
        offsets.filter(own).collect()
    }

    fn take_due(&mut self, log: &Log, now: Micros, take: &Take, page: &mut Page) {
        let due = self.by_end.iter().take_while(|(ends, _)| *ends <= now);
        let due: Vec<_> = due.take(page.limit.messages as usize).copied().collect();
        for (ends, offset) in due {
            let Some(pending) = self.pending.get_mut(&offset) else {
                continue;
            };
            if !page.has_room(log.message(now, offset)) {
                return;
            }
            self.by_end.remove(&(ends, offset));
            *pending = Pending {
                ends: now.plus(take.visibility),
                attempt: pending.attempt + 1,
                take: Some(take.id),
                held: true,
                gap: pending.gap,
            };
            self.by_end.insert((pending.ends, offset));
            page.add(pending.handed(log, now, offset));
        }
    }

    fn take_new(&mut self, log: &Log, now: Micros, take: &Take, page: &mut Page) {
        if log.epoch() != self.epoch {
            return;
        }
        let kept = log.kept_from(now);
        if self.next < kept && page.has_room(None) {
            let missed = kept - self.next;
            self.next = kept;
            self.hand_out(log, now, take, page, (kept - 1, Some(Some(missed))));
        }
        while self.next >= kept
            && self.next <= log.last()
            && page.has_room(log.message(now, self.next))
        {
            let offset = self.next;
            self.next += 1;
            self.hand_out(log, now, take, page, (offset, None));
        }
    }

    /// Hands out what never was before.
    fn hand_out(
        &mut self,
        log: &Log,
        now: Micros,
        take: &Take,
        page: &mut Page,
        (offset, gap): (u64, Option<Option<u64>>),
    ) {
        let pending = Pending {
            ends: now.plus(take.visibility),
            attempt: 1,
            take: Some(take.id),
            held: true,
            gap,
        };
        page.add(pending.handed(log, now, offset));
        self.by_end.insert((pending.ends, offset));
        self.pending.insert(offset, pending);
    }

    fn settle(&mut self, now: Micros, settlement: &Settlement, again: bool) -> bool {
        let offset = settlement.offset;
        let Some(pending) = self.pending.get_mut(&offset) else {
            // By the attempt whose reply was lost, or by whoever had it later: it is done.
            return again && settlement.settle == Settle::Acknowledge;
        };
        if pending.take != Some(settlement.take) {
            return false;
        }
        if !pending.held {
            // Given back by this very delivery, and not handed out since: a repeat changes nothing.
            return matches!(settlement.settle, Settle::Retry(_) | Settle::Return);
        }
        let before = pending.ends;
        let ends = match settlement.settle {
            Settle::Acknowledge => {
                self.pending.remove(&offset);
                self.by_end.remove(&(before, offset));
                return true;
            }
            Settle::Extend(length) => now.plus(length),
            Settle::Retry(after) => {
                pending.held = false;
                now.plus(after)
            }
            Settle::Return => {
                pending.held = false;
                pending.attempt -= 1;
                now
            }
        };
        pending.ends = ends;
        self.by_end.remove(&(before, offset));
        self.by_end.insert((ends, offset));
        true
    }
}

impl Pending {
    fn handed(&self, log: &Log, now: Micros, offset: u64) -> Handed {
        let content = match (self.gap, log.message(now, offset)) {
            (Some(missed), _) => Content::Gone(missed),
            (None, Some(message)) => Content::Message(message.clone()),
            // It was there when it was handed out first.
            (None, None) => Content::Gone(Some(1)),
        };
        Handed {
            offset,
            attempt: self.attempt,
            content,
        }
    }
}

/// What is handed out, within its bounds.
struct Page {
    limit: PageLimit,
    bytes: u64,
    handed: Vec<Handed>,
    /// Something had no room: what follows it does not go before it.
    full: bool,
}

impl Page {
    const fn new(limit: PageLimit) -> Self {
        Self {
            limit,
            bytes: 0,
            handed: Vec::new(),
            full: false,
        }
    }

    fn has_room(&mut self, message: Option<&Bytes>) -> bool {
        let more = message.map_or(0, |message| message.len() as u64);
        let room = self.handed.is_empty()
            || (self.handed.len() < self.limit.messages as usize
                && self.bytes + more <= self.limit.bytes);
        self.full |= !room;
        !self.full
    }

    fn add(&mut self, handed: Handed) {
        if let Content::Message(message) = &handed.content {
            self.bytes += message.len() as u64;
        }
        self.handed.push(handed);
    }
}

#[cfg(test)]
mod tests;
