//! A group in the file of its home: what it counts in a row, and each member and each value in one of its own.

use super::Group;
use crate::queue::job::JobId;

/// What of a group has a row of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::queue::state) enum GroupRow {
    Head,
    Member(JobId),
    /// Which one, from 0.
    Value(u32),
}

impl Group {
    /// What of it changed since this was last asked.
    pub(in crate::queue::state) const fn changed(&mut self) -> &mut Vec<GroupRow> {
        &mut self.changed
    }
}

#[cfg(feature = "file")]
impl Group {
    /// The row of a part, if that is there.
    pub(in crate::queue::state) fn row(&self, part: GroupRow) -> Option<Vec<u8>> {
        use crate::embedded::encode;
        match part {
            GroupRow::Head => Some(encode(1, &self.head)),
            GroupRow::Member(id) => self.members.get(&id).map(|it| encode(1, it)),
            GroupRow::Value(nth) => self.values.get(&nth).map(|it| encode(1, it)),
        }
    }

    /// Takes a part back, in whatever order they come.
    pub(in crate::queue::state) fn put_back(&mut self, part: GroupRow, row: &[u8]) -> Option<()> {
        use super::Member;
        use crate::embedded::decode;
        match part {
            GroupRow::Head => self.head = decode(1, row)?,
            GroupRow::Value(nth) => {
                self.values.insert(nth, decode(1, row)?);
            }
            GroupRow::Member(id) => {
                let member: Member = decode(1, row)?;
                if let Member::Waiting(it) = &member {
                    for one in &it.on {
                        self.followers.entry(*one).or_default().push(id);
                    }
                }
                self.members.insert(id, member);
            }
        }
        Some(())
    }
}
