//! The ids of events, which say where a stream stands in each of its topics: pure functions.

use quorate::Position;

/// What stands for a topic that is not kept.
const NONE: &str = "-";

/// Where a stream stands in its topics, in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Positions(Vec<(u32, Option<Position>)>);

impl Positions {
    /// Subscriptions by number, and where they begin.
    pub(super) fn new(subscriptions: Vec<(u32, Option<Position>)>) -> Self {
        Self(subscriptions)
    }

    /// Reads the id of an event of a stream with so many topics. An id of another stream, or one that
    /// was no position, says nothing.
    pub(super) fn read(id: &str, topics: usize) -> Vec<Option<Position>> {
        let parts: Vec<_> = id.split(',').map(|part| part.parse().ok()).collect();
        if parts.len() == topics {
            return parts;
        }
        vec![None; topics]
    }

    /// Notes where a subscription stands.
    pub(super) fn advance(&mut self, subscription: u32, position: Option<Position>) {
        let known = self
            .0
            .iter_mut()
            .find(|(number, _)| *number == subscription);
        if let Some((_, at)) = known {
            *at = position.or(*at);
        }
    }

    /// The id of an event after which the stream stands here. `None`: none of its topics is kept.
    pub(super) fn id(&self) -> Option<String> {
        if self.0.iter().all(|(_, position)| position.is_none()) {
            return None;
        }
        let text = |position: &Option<Position>| match position {
            Some(position) => position.to_string(),
            None => NONE.to_owned(),
        };
        let parts: Vec<_> = self.0.iter().map(|(_, position)| text(position)).collect();
        Some(parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_position_says_nothing() {
        for id in [
            "",
            "x",
            "-",
            "01a1fd25-94b6-713f-84e6-73a14e85aa7b",
            "a,b,c",
        ] {
            assert_eq!(Positions::read(id, 1), [None], "{id}");
        }
        let id = "5-3-0000abcd";
        assert_eq!(Positions::read(&format!("{id},-"), 1), [None]);
        assert_eq!(
            Positions::read(&format!("-,{id}"), 2),
            [None, id.parse().ok()]
        );
    }

    proptest! {
        #[test]
        fn an_id_reads_back(parts in proptest::collection::vec(
            proptest::option::of((1_u64..1 << 50, 0_u64..1 << 50, any::<u32>())), 1..6,
        )) {
            let positions: Vec<_> = (0..)
                .zip(parts)
                .map(|(number, part)| (number, part.map(|(epoch, offset, mark)| {
                    Position::new(epoch, offset, mark)
                })))
                .collect();
            let expected: Vec<_> = positions.iter().map(|(_, position)| *position).collect();
            let id = Positions::new(positions).id().unwrap_or_default();
            prop_assert_eq!(Positions::read(&id, expected.len()), expected);
        }
    }
}
