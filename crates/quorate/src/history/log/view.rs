//! What consumer groups see of a history, and how long both are remembered: pure functions of its state.

use bytes::Bytes;

use super::super::Position;
use super::super::group::Group;
use super::{Log, RETENTION, is_recent};
use crate::clock::Micros;

impl Log {
    /// When it began; 0 before the first message.
    pub(in crate::history) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The offset of the newest message; 0 before the first.
    pub(in crate::history) const fn last(&self) -> u64 {
        self.last
    }

    /// When the newest message was appended.
    pub(in crate::history) const fn time(&self) -> Micros {
        self.time
    }

    /// The offset of the oldest message that is kept, or of the next if none is.
    pub(in crate::history) fn kept_from(&self, now: Micros) -> u64 {
        self.first() + self.ended(now)
    }

    /// The offset of what follows a position, unless that is of another history.
    pub(in crate::history) fn follows(&self, now: Micros, position: Position) -> Option<u64> {
        if self.epoch == 0 {
            return (position.is_origin() && is_recent(position, now)).then_some(1);
        }
        self.next_after(now, position)
    }

    /// The message with this offset, if it is kept.
    pub(in crate::history) fn message(&self, now: Micros, offset: u64) -> Option<&Bytes> {
        Some(&self.entry(now, offset)?.message)
    }

    /// Until when a group that is asked now is remembered.
    pub(in crate::history) fn group_until(&self, now: Micros) -> Micros {
        self.ends.max(now).plus(RETENTION)
    }

    /// Frees what has ended.
    pub(crate) fn free_ended(&mut self, now: Micros) {
        let ended = usize::try_from(self.ended(now)).unwrap_or(usize::MAX);
        for entry in self.entries.drain(..ended) {
            self.bytes -= entry.message.len() as u64;
        }
        self.groups.retain(|_, group| group.until() > now);
        if self.epoch != 0 && self.history_due() <= now {
            *self = Self {
                groups: std::mem::take(&mut self.groups),
                ..Self::default()
            };
        }
    }

    /// When something of it can be freed: its messages, its groups, then all of it.
    pub(crate) fn due(&self, now: Micros) -> Micros {
        let groups = self.groups.values().map(Group::until).min();
        match (self.epoch, groups) {
            (0, None) => now,
            (0, Some(groups)) => groups,
            (_, None) => self.history_due(),
            (_, Some(groups)) => groups.min(self.history_due()),
        }
    }

    fn history_due(&self) -> Micros {
        if self.entries.is_empty() {
            self.ends.plus(RETENTION)
        } else {
            self.ends
        }
    }
}
