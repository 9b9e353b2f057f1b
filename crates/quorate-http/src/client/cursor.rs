//! Where a stream of a kept topic stands, and which message is the next: a pure function of positions.
//!
//! The server promises to go on exactly after the position it is given. This makes sure of it: a message
//! that was delivered is never delivered again, whatever a connection on its last legs still brings.

use std::collections::BTreeSet;

use quorate::Position;

/// Own messages remembered for each topic; the oldest are forgotten.
const MAX_OWN: usize = 1024;

/// After which position the next message of a stream comes; none while its topic has not shown to be
/// kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor(Option<Position>);

impl Cursor {
    pub(super) const fn at(position: Option<Position>) -> Self {
        Self(position)
    }

    pub(super) const fn position(self) -> Option<Position> {
        self.0
    }

    /// Whether the message at `position` is new; if so, the stream stands behind it now.
    pub(super) fn passes(&mut self, position: Position) -> bool {
        let new = self.0.is_none_or(|at| place(position) > place(at));
        if new {
            self.0 = Some(position);
        }
        new
    }

    /// Whether it is behind a message that `other` is not behind yet.
    pub(super) fn is_after(self, other: Self) -> bool {
        self.0.map(place) > other.0.map(place)
    }

    /// The stream goes on here, wherever it was: it began, or a gap was told.
    pub(super) const fn jump(&mut self, to: Option<Position>) {
        self.0 = to;
    }
}

/// Messages that this client published and does not want back. The server leaves them out, but knows
/// the client by its connection: on the next one it would not.
#[derive(Clone, Debug, Default)]
pub(super) struct Own(BTreeSet<(u64, u64)>);

impl Own {
    pub(super) fn insert(&mut self, position: Position) {
        self.0.insert(place(position));
        if self.0.len() > MAX_OWN {
            self.0.pop_first();
        }
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        self.0.contains(&place(position))
    }
}

/// What orders positions: a history that was lost begins anew with a later epoch.
const fn place(position: Position) -> (u64, u64) {
    (position.epoch(), position.offset())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position::new(epoch, offset, 7)
    }

    #[test]
    fn a_stream_without_a_position_takes_what_comes() {
        let mut cursor = Cursor::default();
        assert!(cursor.passes(at(1, 9)));
        assert_eq!(cursor.position(), Some(at(1, 9)));
        assert!(!cursor.passes(at(1, 9)));
        assert!(cursor.passes(at(2, 1)), "a new history");
        assert!(!cursor.passes(at(1, 10)), "what is left of the old one");
    }

    #[test]
    fn a_gap_may_lead_back() {
        let mut cursor = Cursor::at(Some(at(1, 50)));
        cursor.jump(Some(at(1, 20)));
        assert!(cursor.passes(at(1, 21)));
    }

    #[test]
    fn own_messages_are_remembered_up_to_a_bound() {
        let mut own = Own::default();
        for offset in 0..=MAX_OWN as u64 {
            own.insert(at(1, offset));
        }
        assert!(!own.contains(at(1, 0)) && own.contains(at(1, 1)));
        assert!(!own.contains(at(2, 1)));
    }

    proptest! {
        /// However often the stream is torn off and resumed somewhere before, each message passes once
        /// and in order.
        #[test]
        fn each_message_once_and_in_order(begins in proptest::collection::vec(0_u64..40, 1..8)) {
            let mut cursor = Cursor::at(Some(at(1, 0)));
            let mut delivered = Vec::new();
            for begin in begins.into_iter().chain([0]) {
                // From somewhere before the cursor to somewhere behind it; at last, to the end.
                let from = cursor.position().unwrap().offset().min(begin);
                let to = if begin == 0 { 40 } else { begin + 5 };
                delivered.extend((from + 1..to).filter(|&offset| cursor.passes(at(1, offset))));
            }
            let expected: Vec<_> = (1..40).collect();
            prop_assert_eq!(&delivered[..39.min(delivered.len())], &expected[..]);
            prop_assert!(delivered.is_sorted_by(|a, b| a < b));
        }
    }
}
