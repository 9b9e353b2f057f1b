//! What a journal says, by where in the function it was done: for the function to be led through again.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::RandomState;

use super::entry::{Did, decode};
use super::path::{Segment, told};
use crate::clock::Micros;

/// What was done in a scope, by place.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    by_place: HashMap<u32, Node, RandomState>,
    /// Behind the last place.
    ends: u32,
}

/// What was done at a place.
#[derive(Debug)]
pub(super) struct Node {
    name: Box<str>,
    /// When, and what, in the order of the journal.
    pub(super) records: Vec<(Micros, Did)>,
    /// What was done in the scope that begins there.
    pub(super) scope: Recorded,
}

/// Where code and journal disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Divergence {
    /// Where.
    pub(super) at: Vec<Segment>,
    /// What the code does there; `None` if nothing.
    pub(super) code: Option<String>,
    /// What the journal has there.
    pub(super) journal: String,
}

impl Recorded {
    /// Takes in an entry of the journal. Returns which message of the inbox it takes, or gives back.
    pub(super) fn insert(
        &mut self,
        when: Micros,
        entry: &[u8],
    ) -> Result<Option<(u64, bool)>, String> {
        let (at, did) = decode(entry).map_err(|error| format!("is not readable: {error}"))?;
        let Some((last, way)) = at.split_last() else {
            return match did {
                Did::Begun(_) => Ok(None),
                _ => Err("is about no place".to_owned()),
            };
        };
        let mut scope = self;
        for segment in way {
            scope = &mut scope.node(segment, &at)?.scope;
        }
        let message = match &did {
            Did::Signal { message, .. } => Some((*message, true)),
            Did::Returned { message } => Some((*message, false)),
            _ => None,
        };
        scope.node(last, &at)?.records.push((when, did));
        Ok(message)
    }

    fn node(&mut self, segment: &Segment, at: &[Segment]) -> Result<&mut Node, String> {
        self.ends = self.ends.max(segment.place.saturating_add(1));
        let node = self.by_place.entry(segment.place).or_insert_with(|| Node {
            name: segment.name.as_ref().into(),
            records: Vec::new(),
            scope: Self::default(),
        });
        if *node.name == *segment.name {
            Ok(node)
        } else {
            Err(format!(
                "is about `{}`, where another is about `{}`",
                told(at),
                node.name
            ))
        }
    }

    /// What was done at the next place of a scope; `None` if nothing is known of it, yet.
    pub(super) fn claim(
        &mut self,
        scope: &[Segment],
        segment: &Segment,
    ) -> Result<Option<Node>, Divergence> {
        let Some(node) = self.by_place.remove(&segment.place) else {
            return Ok(None);
        };
        if *node.name == *segment.name {
            return Ok(Some(node));
        }
        Err(Divergence {
            at: scope.iter().chain([segment]).cloned().collect(),
            code: Some(format!("`{segment}`")),
            journal: node.tell(),
        })
    }

    /// What was done at this place is this, and nothing else.
    pub(super) fn is_there(&self, place: u32, name: &str) -> bool {
        let node = self.by_place.get(&place);
        node.is_some_and(|node| *node.name == *name)
    }

    /// Whether anything was done at this place, or behind it.
    pub(super) const fn goes_on(&self, place: u32) -> bool {
        place < self.ends
    }

    /// That nothing is left which the code did not come to.
    pub(super) fn check_done(&self, scope: &[Segment]) -> Result<(), Divergence> {
        let Some((place, node)) = self.by_place.iter().min_by_key(|(place, _)| **place) else {
            return Ok(());
        };
        let segment = Segment {
            name: node.name.to_string().into(),
            place: *place,
            occurrence: 0,
        };
        Err(Divergence {
            at: scope.iter().cloned().chain([segment]).collect(),
            code: None,
            journal: node.tell(),
        })
    }
}

impl Node {
    fn tell(&self) -> String {
        let kind = match self.records.first() {
            Some((_, did)) => did.kind(),
            None => "a scope",
        };
        format!("`{}` ({kind})", self.name)
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.at.last().map_or(0, |segment| segment.place) + 1;
        let scope = &self.at[..self.at.len().saturating_sub(1)];
        write!(f, "code and journal disagree at operation {place}")?;
        if !scope.is_empty() {
            write!(f, " of {}", told(scope))?;
        }
        match &self.code {
            Some(code) => write!(f, ": the code has {code}, the journal has {}", self.journal),
            None => write!(f, ": the code has ended, the journal has {}", self.journal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::encode;
    use super::*;

    fn segment(name: &'static str, place: u32) -> Segment {
        Segment {
            name: name.into(),
            place,
            occurrence: 0,
        }
    }

    fn recorded(paths: &[&[Segment]]) -> Recorded {
        let mut recorded = Recorded::default();
        for path in paths {
            let entry = encode(path, &Did::Sleep { time: 1 }).unwrap();
            recorded.insert(Micros::new(1), &entry).unwrap();
        }
        recorded
    }

    #[test]
    fn what_was_done_is_found_by_its_place() {
        let mut it = recorded(&[
            &[segment("b", 1)],
            &[segment("a", 0)],
            &[segment("c", 2), segment("d", 0)],
        ]);
        assert!(it.goes_on(2) && !it.goes_on(3) && it.is_there(1, "b"));
        for (name, place) in [("a", 0), ("b", 1)] {
            let node = it.claim(&[], &segment(name, place)).unwrap().unwrap();
            assert_eq!(node.records.len(), 1);
        }
        let mut inner = it.claim(&[], &segment("c", 2)).unwrap().unwrap().scope;
        assert!(it.check_done(&[]).is_ok());
        assert!(it.claim(&[], &segment("e", 3)).unwrap().is_none());
        let left = inner.check_done(&[segment("c", 2)]).unwrap_err();
        assert_eq!(
            left.to_string(),
            "code and journal disagree at operation 1 of c: the code has ended, the journal has `d` (a sleep)"
        );
        assert!(inner.claim(&[], &segment("d", 0)).unwrap().is_some());
    }

    #[test]
    fn another_name_at_a_place_is_told() {
        let mut it = recorded(&[&[segment("charge", 0)], &[segment("ship", 1)]]);
        it.claim(&[], &segment("charge", 0)).unwrap();
        let differs = it.claim(&[], &segment("mail", 1)).unwrap_err();
        assert_eq!(
            differs.to_string(),
            "code and journal disagree at operation 2: the code has `mail`, the journal has `ship` (a sleep)"
        );
    }

    #[test]
    fn a_journal_that_disagrees_with_itself_is_refused() {
        let mut it = recorded(&[&[segment("a", 0)]]);
        let entry = encode(&[segment("b", 0)], &Did::Sleep { time: 1 }).unwrap();
        assert!(it.insert(Micros::new(1), &entry).is_err());
        assert!(it.insert(Micros::new(1), b"{}").is_err());
        assert!(
            it.insert(Micros::new(1), br#"{"at":[],"did":"timed_out"}"#)
                .is_err()
        );
    }
}
