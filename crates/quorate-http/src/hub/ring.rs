//! The latest events of a room, for those who come back: which of them a client has not seen, as pure
//! functions.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate::Position;

use super::recover::beginning;
use super::seam::{RoomEvent, RoomEventKind};

/// Where the numbers of a room's events begin: there is room before, for what is read from history
/// later.
const FIRST: u64 = 1 << 40;

/// What is kept of a room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingLimits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// The latest events of a kept topic, without a hole: what the fleet's subscription yielded, one after
/// the other, and perhaps what the history has right before it.
#[derive(Debug)]
pub(crate) struct Ring {
    /// After which position the first event comes.
    base: Position,
    /// After which position the next event will come.
    top: Position,
    events: VecDeque<Arc<RoomEvent>>,
    bytes: usize,
    /// The number of the first event.
    first: u64,
    limits: RingLimits,
    /// How often it was begun anew after a gap.
    resets: u64,
}

impl Ring {
    /// An empty one, of a subscription that begins after `position`.
    pub(crate) fn new(position: Position, limits: RingLimits) -> Self {
        Self {
            base: position,
            top: position,
            events: VecDeque::new(),
            bytes: 0,
            first: FIRST,
            limits,
            resets: 0,
        }
    }

    /// How often it was begun anew: positions from before may be of another history.
    pub(crate) const fn resets(&self) -> u64 {
        self.resets
    }

    /// After which position the next event will come.
    pub(crate) const fn top(&self) -> Position {
        self.top
    }

    /// The number of the next event.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Adds what the subscription yielded. Returns its number.
    pub(crate) fn push(&mut self, event: Arc<RoomEvent>) -> u64 {
        let number = self.end();
        let position = event.position.unwrap_or(self.top);
        if event.kind == RoomEventKind::Gap {
            // What was before is another history, or another part of it. Nobody goes on from there.
            *self = Self {
                first: number + 1,
                resets: self.resets + 1,
                ..Self::new(position, self.limits)
            };
            return number;
        }
        if self.top.is_origin() && position.epoch() != self.top.epoch() {
            // There was no history yet: it began with this message.
            self.base = beginning(position.epoch());
        }
        self.top = position;
        self.bytes += event.frame.len();
        self.events.push_back(event);
        while self.events.len() > self.limits.events || self.bytes > self.limits.bytes {
            let Some(dropped) = self.events.pop_front() else {
                break;
            };
            self.first += 1;
            self.bytes -= dropped.frame.len();
            self.base = dropped.position.unwrap_or(self.base);
        }
        number
    }

    /// Adds what the history has between `after` and the first event, if it has all of it and there is
    /// room. `events` may reach beyond that.
    pub(crate) fn extend_back(
        &mut self,
        after: Position,
        until: Position,
        events: &[Arc<RoomEvent>],
    ) -> bool {
        let reaches = until.epoch() == self.base.epoch() && until.offset() >= self.base.offset();
        if !reaches || after.epoch() != until.epoch() || after.offset() >= self.base.offset() {
            return false;
        }
        let before = |event: &&Arc<RoomEvent>| {
            let position = event.position;
            position.is_some_and(|position| position.offset() <= self.base.offset())
        };
        let older: Vec<_> = events.iter().take_while(before).cloned().collect();
        let bytes: usize = older.iter().map(|event| event.frame.len()).sum();
        if self.events.len() + older.len() > self.limits.events
            || self.bytes + bytes > self.limits.bytes
        {
            return false;
        }
        self.first -= older.len() as u64;
        self.bytes += bytes;
        self.base = after;
        for event in older.into_iter().rev() {
            self.events.push_front(event);
        }
        true
    }

    /// The number of the event that follows a position. `None`: only the history can tell.
    ///
    /// A position that somebody claims to have (`proven` is false) is compared with the message that
    /// stands there: a history that was rolled back and written anew has others at the same offsets.
    pub(crate) fn follows(&self, position: Position, proven: bool) -> Option<u64> {
        if position.epoch() != self.top.epoch() {
            // A history that has begun anew, and of which nothing has come here yet.
            return (proven && position.epoch() > self.top.epoch()).then(|| self.end());
        }
        if position.offset() >= self.top.offset() && (proven || same(position, self.top)) {
            return Some(self.end());
        }
        if position.epoch() != self.base.epoch() || position.offset() < self.base.offset() {
            return None;
        }
        let is_seen = |event: &Arc<RoomEvent>| {
            event.position.is_some_and(|at| {
                at.epoch() == position.epoch() && at.offset() <= position.offset()
            })
        };
        let last_seen = self.events.iter().rposition(is_seen);
        let there = last_seen.and_then(|at| self.events[at].position);
        if !proven && !same(position, there.unwrap_or(self.base)) {
            return None;
        }
        Some(self.first + last_seen.map_or(0, |at| at as u64 + 1))
    }

    /// Events from a number on. Empty at the end.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Arc<RoomEvent>)> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let numbers = self.first.max(number)..;
        numbers.zip(self.events.iter().skip(skip))
    }

    /// The position before the last so many messages. `None`: here are not as many.
    pub(crate) fn before_last(&self, messages: usize) -> Option<Position> {
        let at = self.events.len().checked_sub(messages)?;
        if at == 0 {
            return Some(self.base);
        }
        self.events[at - 1].position
    }
}

/// Whether two positions name the same message. A mark of 0 is one that is not known.
fn same(one: Position, other: Position) -> bool {
    one.offset() == other.offset()
        && (one.mark() == other.mark() || one.mark() == 0 || other.mark() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RingLimits = RingLimits {
        events: 8,
        bytes: 1_000,
    };

    fn at(offset: u64) -> Position {
        Position::new(7, offset, u32::try_from(offset).unwrap())
    }

    fn event(offset: u64) -> Arc<RoomEvent> {
        let mut event = RoomEvent::new(RoomEventKind::Message, offset.to_string());
        event.position = Some(at(offset));
        Arc::new(event)
    }

    fn ring(base: u64, offsets: impl IntoIterator<Item = u64>) -> Ring {
        let mut ring = Ring::new(at(base), LIMITS);
        for offset in offsets {
            ring.push(event(offset));
        }
        ring
    }

    fn after(ring: &Ring, position: Position) -> Option<Vec<u64>> {
        let number = ring.follows(position, false)?;
        let offsets = ring
            .from(number)
            .map(|(_, event)| event.position.unwrap().offset());
        Some(offsets.collect())
    }

    #[test]
    fn what_follows_a_position_is_complete_or_unknown() {
        let ring = ring(10, 11..=13);
        assert_eq!(after(&ring, at(10)).unwrap(), [11, 12, 13]);
        assert_eq!(after(&ring, at(12)).unwrap(), [13]);
        assert_eq!(after(&ring, at(13)).unwrap(), [0; 0]);
        assert_eq!(after(&ring, at(9)), None);
        // Of another instance that has heard more, or of another history: the history knows.
        assert_eq!(after(&ring, at(14)), None);
        assert_eq!(after(&ring, Position::new(8, 12, 12)), None);
        assert_eq!(after(&ring, Position::new(7, 12, 99)), None);
        assert_eq!(after(&ring, Position::new(7, 10, 99)), None);
        assert_eq!(after(&ring, Position::new(7, 12, 0)).unwrap(), [13]);
        // What the history itself said is believed.
        assert_eq!(ring.follows(at(14), true), Some(ring.end()));
    }

    #[test]
    fn a_hole_left_by_what_is_not_shown_is_no_hole() {
        let ring = ring(10, [11, 14, 15]);
        assert_eq!(after(&ring, at(11)).unwrap(), [14, 15]);
        // Nothing here proves that it is this history's 12, unless the history said so.
        assert_eq!(after(&ring, at(12)), None);
        assert_eq!(ring.follows(at(12), true), ring.follows(at(11), true));
    }

    #[test]
    fn the_oldest_go_and_are_not_claimed_any_more() {
        let ring = ring(10, 11..=30);
        assert_eq!(after(&ring, at(21)), None);
        assert_eq!(after(&ring, at(22)).unwrap(), (23..=30).collect::<Vec<_>>());
        assert_eq!(ring.before_last(3), Some(at(27)));
        assert_eq!(ring.before_last(8), Some(at(22)));
        assert_eq!(ring.before_last(9), None);
    }

    #[test]
    fn history_is_put_before_it_if_it_reaches() {
        let mut ring = ring(10, 11..=12);
        let older: Vec<_> = (8..=12).map(event).collect();
        assert!(!ring.extend_back(at(6), at(9), &older[..2]), "a hole");
        assert!(ring.extend_back(at(7), at(12), &older));
        assert_eq!(after(&ring, at(7)).unwrap(), [8, 9, 10, 11, 12]);
        assert!(!ring.extend_back(at(9), at(12), &older), "known already");
        let many: Vec<_> = (1..=7).map(event).collect();
        assert!(!ring.extend_back(at(0), at(7), &many), "too much");
    }

    #[test]
    fn a_history_that_begins_is_followed_and_one_that_was_lost_is_not() {
        let mut ring = Ring::new(Position::new(5, 0, 0), LIMITS);
        ring.push(event(1));
        assert_eq!(after(&ring, at(1)).unwrap(), [0; 0]);
        assert_eq!(after(&ring, Position::new(7, 0, 0)).unwrap(), [1]);
        let mut gap = RoomEvent::new(RoomEventKind::Gap, "gap");
        gap.position = Some(Position::new(9, 4, 4));
        let number = ring.push(Arc::new(gap));
        assert_eq!(ring.end(), number + 1);
        assert_eq!(after(&ring, at(1)), None);
        assert_eq!(after(&ring, Position::new(9, 4, 4)).unwrap(), [0; 0]);
    }

    proptest! {
        /// Whatever was pushed, dropped and put before: who follows a position gets every later event
        /// once, in order.
        #[test]
        fn who_follows_misses_nothing(
            base in 5_u64..10, count in 0_u64..20, back in 0_u64..6, asked in 0_u64..35,
        ) {
            let mut ring = ring(base, base + 1..=base + count);
            let from = base.saturating_sub(back);
            let older: Vec<_> = (from + 1..=base + count).map(event).collect();
            ring.extend_back(at(from), at(base + count), &older);
            if let Some(found) = after(&ring, at(asked)) {
                prop_assert_eq!(found, (asked + 1..=base + count).collect::<Vec<_>>());
            }
            prop_assert!(ring.events.len() <= LIMITS.events);
            let last = ring.from(0).last().map(|(number, _)| number);
            prop_assert!(last.is_none_or(|last| last + 1 == ring.end()));
        }
    }
}
