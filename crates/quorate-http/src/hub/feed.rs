//! Where a subscription stands in its room, as pure functions: what it is handed next, and what it has
//! seen.

use std::sync::Arc;

use quorate::Position;

use super::recover::{Page, Refill};
use super::ring::Ring;
use super::seam::RoomEvent;

/// Where a subscription stands in its room.
#[derive(Default)]
pub(super) struct Feed {
    /// The number of the event that comes next.
    pub(super) next: u64,
    /// After which position it comes, where the topic is kept.
    pub(super) cursor: Option<Position>,
    /// Not handed events, because it has to catch up first.
    pub(super) lagging: bool,
    /// The history may have been rolled back below the cursor: what stands there has to be compared.
    pub(super) doubt: bool,
    /// How often the ring had been begun anew when the cursor was last compared with it.
    pub(super) resets: u64,
}

impl Feed {
    /// Hands what comes next to `queue` for as long as that takes it: first what was read, then what the
    /// room has.
    pub(super) fn refill(
        &mut self,
        ring: &Ring,
        page: Option<&Page>,
        queue: &mut impl FnMut(&Arc<RoomEvent>) -> bool,
    ) -> Refill {
        if let Some(bytes) = page.and_then(|page| self.take(page, queue)) {
            return Refill::More(bytes);
        }
        let Some(cursor) = self.cursor else {
            return Refill::Live;
        };
        if self.resets != ring.resets() {
            self.resets = ring.resets();
            self.doubt = true;
        }
        let Some(next) = ring.follows(cursor, !self.doubt) else {
            return Refill::Unknown(cursor, !self.doubt);
        };
        self.doubt = false;
        // What has no position was perhaps handed out all the same.
        self.next = self.next.max(next);
        for (number, event) in ring.from(self.next) {
            if self.has_seen(number, event.position) {
                continue;
            }
            if !queue(event) {
                return Refill::More(event.frame.len());
            }
            self.advance(number, event.position);
        }
        self.next = ring.end();
        Refill::Live
    }

    /// Hands what was read to `queue`, if it is what comes next. `Some`: there was no room for the next,
    /// which takes so many bytes.
    pub(super) fn take(
        &mut self,
        page: &Page,
        queue: &mut impl FnMut(&Arc<RoomEvent>) -> bool,
    ) -> Option<usize> {
        if self.cursor != Some(page.after) {
            return None;
        }
        // The history itself says that it follows.
        self.doubt = false;
        for event in &page.events {
            if !queue(event) {
                return Some(event.frame.len());
            }
            self.cursor = event.position.or(self.cursor);
        }
        self.cursor = Some(page.end);
        None
    }

    /// Goes on after an earlier position; to a later one it does not go. Whether it has to catch up now,
    /// and had not before.
    pub(super) fn go_back(&mut self, to: Position) -> bool {
        let is_earlier = self
            .cursor
            .is_some_and(|at| (to.epoch(), to.offset()) < (at.epoch(), at.offset()));
        if !is_earlier {
            return false;
        }
        self.cursor = Some(to);
        self.next = 0;
        // Who asks says that it has seen it.
        self.doubt = true;
        !std::mem::replace(&mut self.lagging, true)
    }

    /// Whether an event with this number and position was queued before.
    pub(super) fn has_seen(&self, number: u64, position: Option<Position>) -> bool {
        if number < self.next {
            return true;
        }
        // Read from the history before it came to the room.
        match (position, self.cursor) {
            (Some(at), Some(cursor)) if at.epoch() == cursor.epoch() => {
                at.offset() <= cursor.offset()
            }
            (Some(at), Some(cursor)) => at.epoch() < cursor.epoch(),
            _ => false,
        }
    }

    /// Whether a gap at this position leaves open what follows the cursor: the subscription is there or
    /// beyond, by what it read from the history, or because that was rolled back since.
    pub(super) fn doubts(&self, gap: Option<Position>) -> bool {
        match (gap, self.cursor) {
            (Some(gap), Some(cursor)) if gap.epoch() == cursor.epoch() => {
                gap.offset() <= cursor.offset()
            }
            (Some(gap), Some(cursor)) => gap.epoch() < cursor.epoch(),
            _ => false,
        }
    }

    /// Notes an event as queued.
    pub(super) fn advance(&mut self, number: u64, position: Option<Position>) {
        self.next = number + 1;
        self.cursor = position.or(self.cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::RingLimits;
    use super::super::seam::RoomEventKind;
    use super::*;

    const LIMITS: RingLimits = RingLimits {
        events: 100,
        bytes: 10_000,
    };

    fn at(offset: u64, mark: u32) -> Position {
        Position::new(7, offset, mark)
    }

    fn event(position: Position, kind: RoomEventKind) -> Arc<RoomEvent> {
        let mut event = RoomEvent::new(kind, position.to_string());
        event.position = Some(position);
        Arc::new(event)
    }

    fn feed(cursor: Position) -> Feed {
        Feed {
            cursor: Some(cursor),
            lagging: true,
            ..Feed::default()
        }
    }

    /// A failover lost 51 to 100, and others were written in their places.
    fn rolled_back() -> Ring {
        let mut ring = Ring::new(at(0, 0), LIMITS);
        for offset in 1..=100 {
            ring.push(event(at(offset, 1), RoomEventKind::Message));
        }
        ring.push(event(at(50, 1), RoomEventKind::Gap));
        for offset in 51..=120 {
            ring.push(event(at(offset, 2), RoomEventKind::Message));
        }
        ring
    }

    #[test]
    fn who_has_read_what_was_rolled_back_asks_the_history() {
        let ring = rolled_back();
        for cursor in [at(80, 1), at(100, 1), at(120, 1)] {
            let mut feed = feed(cursor);
            let found = feed.refill(&ring, None, &mut |_| panic!("nothing is known to follow"));
            assert!(matches!(found, Refill::Unknown(asked, false) if asked == cursor));
        }
    }

    #[test]
    fn who_has_read_of_what_is_there_now_goes_on() {
        let ring = rolled_back();
        let (mut feed, mut seen) = (feed(at(118, 2)), 0);
        let found = feed.refill(&ring, None, &mut |_| {
            seen += 1;
            true
        });
        assert!(matches!(found, Refill::Live));
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_gap_at_or_before_the_cursor_is_doubted() {
        let feed = feed(at(100, 1));
        for (gap, doubted) in [
            (Some(at(50, 1)), true),
            (Some(at(100, 1)), true),
            (Some(at(101, 1)), false),
            (Some(Position::new(6, 300, 1)), true),
            (Some(Position::new(8, 1, 1)), false),
            (None, false),
        ] {
            assert_eq!(feed.doubts(gap), doubted, "{gap:?}");
        }
    }

    #[test]
    fn what_finds_no_room_says_how_much_it_takes() {
        let mut ring = Ring::new(at(0, 0), LIMITS);
        ring.push(event(at(1, 1), RoomEventKind::Message));
        let found = feed(at(0, 0)).refill(&ring, None, &mut |_| false);
        assert!(matches!(found, Refill::More(bytes) if bytes == at(1, 1).to_string().len()));
    }
}
