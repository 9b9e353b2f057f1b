//! Where in a function something is done: segment by segment, never joined to a text that is compared.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The longest name of a step, in bytes.
pub const MAX_STEP_NAME: usize = 200;

/// One step on the way to where something is done: its name, and its place in its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Segment {
    /// What it is called.
    pub(super) name: Cow<'static, str>,
    /// How many were begun in its scope before it.
    pub(super) place: u32,
    /// How many of these have the same name.
    pub(super) occurrence: u32,
}

/// `[name, place]`, or `[name, place, occurrence]` where that is not the first.
impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_first = self.occurrence == 0;
        let mut tuple = serializer.serialize_tuple(if is_first { 2 } else { 3 })?;
        tuple.serialize_element(&self.name)?;
        tuple.serialize_element(&self.place)?;
        if !is_first {
            tuple.serialize_element(&self.occurrence)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Segment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, a place, and an occurrence unless it is the first")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Segment, A::Error> {
                let missing = |nth| A::Error::invalid_length(nth, &self);
                let name: String = parts.next_element()?.ok_or_else(|| missing(0))?;
                let place = parts.next_element()?.ok_or_else(|| missing(1))?;
                let occurrence = parts.next_element()?.unwrap_or(0);
                Ok(Segment {
                    name: name.into(),
                    place,
                    occurrence,
                })
            }
        }

        deserializer.deserialize_seq(Parts)
    }
}

/// `name`, or `name[2]` for the third of that name in its scope.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.occurrence > 0 {
            write!(f, "[{}]", self.occurrence)?;
        }
        Ok(())
    }
}

/// A path as people read it.
pub(super) fn told(path: &[Segment]) -> String {
    let parts: Vec<_> = path.iter().map(Segment::to_string).collect();
    parts.join(" / ")
}

/// What nothing else is called that is done in any run: 16 bytes that are the same in each replay.
pub(super) fn hash_of(run: &str, path: &[Segment], what: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    let part = |hash: &mut Sha256, text: &str| {
        // With its length, so that no two lists of texts are one.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(&mut hash, run);
    part(&mut hash, what);
    for segment in path {
        part(&mut hash, &segment.name);
        hash.update(segment.occurrence.to_le_bytes());
    }
    first_bytes(&hash.finalize())
}

/// The first 16 bytes of a hash.
pub(super) fn first_bytes(hash: &[u8]) -> [u8; 16] {
    let bytes = hash.first_chunk::<16>();
    *bytes.expect("the hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &'static str, place: u32, occurrence: u32) -> Segment {
        Segment {
            name: name.into(),
            place,
            occurrence,
        }
    }

    #[test]
    fn a_segment_reads_back_what_it_writes() {
        for (it, text) in [
            (segment("a", 0, 0), r#"["a",0]"#),
            (segment("a-1", 7, 3), r#"["a-1",7,3]"#),
        ] {
            assert_eq!(serde_json::to_string(&it).unwrap(), text);
            assert_eq!(serde_json::from_str::<Segment>(text).unwrap(), it);
        }
        assert!(serde_json::from_str::<Segment>(r#"["a"]"#).is_err());
    }

    #[test]
    fn paths_that_read_alike_are_not_one() {
        let all = [
            vec![segment("a", 0, 0), segment("b", 0, 0)],
            vec![segment("a / b", 0, 0)],
            vec![segment("a", 0, 1), segment("b", 0, 0)],
            vec![segment("ab", 0, 0)],
            vec![segment("a", 0, 0)],
        ];
        let mut hashes: Vec<_> = all.iter().map(|it| hash_of("run", it, "key")).collect();
        hashes.push(hash_of("runk", &all[4], "ey"));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len() + 1);
    }
}
