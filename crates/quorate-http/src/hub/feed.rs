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
    /// What was read for it, and is not queued yet.
    pub(super) page: Option<Box<Page>>,
}

impl Feed {
    /// Hands what comes next to `queue` for as long as that takes it: first what was read, then what the
    /// room has.
    pub(super) fn refill(
        &mut self,
        ring: &Ring,
        queue: &mut impl FnMut(&Arc<RoomEvent>) -> bool,
    ) -> Refill {
        if let Some(page) = &mut self.page {
            while let Some(event) = page.events.front() {
                if !queue(event) {
                    return Refill::More;
                }
                self.cursor = event.position.or(self.cursor);
                page.events.pop_front();
            }
            self.cursor = Some(page.end);
            self.page = None;
        }
        let Some(cursor) = self.cursor else {
            return Refill::Live;
        };
        let Some(next) = ring.follows(cursor, true) else {
            return Refill::Unknown(cursor);
        };
        self.next = next;
        for (number, event) in ring.from(next) {
            if self.has_seen(number, event.position) {
                continue;
            }
            if !queue(event) {
                return Refill::More;
            }
            self.advance(number, event.position);
        }
        self.next = ring.end();
        Refill::Live
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

    /// Notes an event as queued.
    pub(super) fn advance(&mut self, number: u64, position: Option<Position>) {
        self.next = number + 1;
        self.cursor = position.or(self.cursor);
    }
}
