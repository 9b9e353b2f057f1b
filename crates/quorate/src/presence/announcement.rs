//! How changes of a roster are announced: a pure function from changes to bytes, and back. The scripts
//! write the same bytes.
//!
//! A message is a row of fields, each `<length>:<bytes>`: epoch, the version before, the instance; and then
//! per change `+` with id and info, `-` with an id, or `x` with the number of members that were lost.

use bytes::Bytes;

use super::member::{InstanceId, RosterVersion};

/// One change of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A member joined, or its information was replaced.
    Joined {
        /// Its id.
        id: String,
        /// Its information.
        info: Bytes,
    },
    /// A member left.
    Left {
        /// Its id.
        id: String,
    },
    /// Every member of the instance is gone.
    Gone {
        /// How many there were; each counts in the version.
        members: u64,
    },
}

/// What one transition changed: the members of one instance, after one version of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// The version that it changed.
    pub before: RosterVersion,
    /// Whose members.
    pub instance: InstanceId,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

impl Announcement {
    /// The changes of an instance's members after `before`.
    #[must_use]
    pub fn new(before: RosterVersion, instance: InstanceId, changes: Vec<Change>) -> Self {
        Self {
            before,
            instance,
            changes,
        }
    }

    /// The version after it.
    #[must_use]
    pub fn after(&self) -> RosterVersion {
        let changed = self.changes.iter().map(|change| match change {
            Change::Gone { members } => *members,
            Change::Joined { .. } | Change::Left { .. } => 1,
        });
        let number = changed.fold(self.before.number, u64::saturating_add);
        RosterVersion::new(self.before.epoch, number)
    }

    /// The bytes to announce.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        field(&mut out, self.before.epoch.to_string().as_bytes());
        field(&mut out, self.before.number.to_string().as_bytes());
        field(&mut out, self.instance.to_string().as_bytes());
        for change in &self.changes {
            match change {
                Change::Joined { id, info } => {
                    out.push(b'+');
                    field(&mut out, id.as_bytes());
                    field(&mut out, info);
                }
                Change::Left { id } => {
                    out.push(b'-');
                    field(&mut out, id.as_bytes());
                }
                Change::Gone { members } => {
                    out.push(b'x');
                    field(&mut out, members.to_string().as_bytes());
                }
            }
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) writes; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let epoch = number(&mut rest)?;
        let before = RosterVersion::new(epoch, number(&mut rest)?);
        let instance = InstanceId::parse(text(&mut rest)?)?;
        let mut changes = Vec::new();
        while let Some((&kind, after)) = rest.split_first() {
            rest = after;
            changes.push(match kind {
                b'+' => Change::Joined {
                    id: text(&mut rest)?.to_owned(),
                    // Copied: a slice would keep a whole read buffer of the connection alive.
                    info: Bytes::copy_from_slice(take(&mut rest)?),
                },
                b'-' => Change::Left {
                    id: text(&mut rest)?.to_owned(),
                },
                b'x' => Change::Gone {
                    members: number(&mut rest)?,
                },
                _ => return None,
            });
        }
        Some(Self::new(before, instance, changes))
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    // The longest length there can be has fewer digits than this.
    let colon = rest.iter().take(12).position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let end = (colon + 1).checked_add(length)?;
    let bytes = rest.get(colon + 1..end)?;
    *rest = &rest[end..];
    Some(bytes)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take(rest)?).ok()
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    text(rest)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        let info = proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            (".{1,20}", info).prop_map(|(id, info)| Change::Joined {
                id,
                info: info.into()
            }),
            ".{1,20}".prop_map(|id| Change::Left { id }),
            any::<u64>().prop_map(|members| Change::Gone { members }),
        ]
    }

    proptest! {
        #[test]
        fn announcements_read_back_what_they_write(
            epoch in any::<u64>(), number in any::<u64>(),
            changes in proptest::collection::vec(change(), 0..6),
        ) {
            let before = RosterVersion::new(epoch, number);
            let announcement = Announcement::new(before, InstanceId::random(), changes);
            let decoded = Announcement::decode(&announcement.encode());
            prop_assert_eq!(decoded, Some(announcement));
        }

        #[test]
        fn nothing_that_arrives_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Announcement::decode(&bytes);
        }

        #[test]
        fn nothing_cut_short_or_changed_panics(
            changes in proptest::collection::vec(change(), 0..4), cut in any::<usize>(), byte in any::<u8>(),
        ) {
            let announcement = Announcement::new(RosterVersion::default(), InstanceId::random(), changes);
            let mut bytes = announcement.encode().to_vec();
            let at = cut % bytes.len();
            bytes[at] = byte;
            let _ = Announcement::decode(&bytes);
            let _ = Announcement::decode(&bytes[..at]);
        }
    }

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let instance = InstanceId::parse("00000000000000ab").unwrap();
        let changes = vec![
            Change::Joined {
                id: "ada".into(),
                info: Bytes::from_static(b"{}"),
            },
            Change::Left { id: "bob".into() },
            Change::Gone { members: 12 },
        ];
        let announcement = Announcement::new(RosterVersion::new(7, 3), instance, changes);
        let expected = b"1:71:316:00000000000000ab+3:ada2:{}-3:bobx2:12";
        assert_eq!(&announcement.encode()[..], expected);
        assert_eq!(announcement.after(), RosterVersion::new(7, 17));
    }
}
