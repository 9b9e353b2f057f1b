//! What is kept of one session, and its bytes: pure functions, which `library.lua` mirrors.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::id::IdDigest;
use crate::clock::Micros;

/// How its bytes begin.
const VERSION: u8 = 1;

/// The most fields of a session.
pub const MAX_FIELDS: usize = 64;

/// The most bytes of all names and values of a session's fields.
pub const MAX_BYTES: usize = 64 * 1024;

/// One session.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Record {
    /// When it was made.
    pub created: Micros,
    /// When its last use was written down.
    pub seen: Micros,
    /// When it ends unless it is used.
    pub ends: Micros,
    /// How long it outlives a use.
    pub ttl: Duration,
    /// When it ends however much it is used.
    pub absolute: Option<Micros>,
    /// How often its fields were changed.
    pub changes: u64,
    /// Of its present id.
    pub digest: IdDigest,
    /// Of the id before, and until when that is still good.
    pub before: Option<(IdDigest, Micros)>,
    /// Whose it is.
    pub user: Option<String>,
    /// The device it was made on.
    pub device: Option<String>,
    /// Its fields, by name.
    pub fields: BTreeMap<String, Field>,
}

/// One field of a session.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Field {
    /// What it holds.
    pub value: Bytes,
    /// When it is gone, if the session does not end before.
    pub ends: Option<Micros>,
}

/// Reads one piece after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let count = u32::from_le_bytes(self.array()?);
        self.bytes(usize::try_from(count).ok()?)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.sized()?.to_vec()).ok()
    }
}

fn push_sized(to: &mut Vec<u8>, bytes: &[u8]) {
    let count = u32::try_from(bytes.len()).expect("checked to be far less");
    to.extend(count.to_le_bytes());
    to.extend(bytes);
}

fn none_if_zero(micros: u64) -> Option<Micros> {
    (micros > 0).then(|| Micros::new(micros))
}

/// Whose a session is, and the device, in bytes that scripts do not look into. What is empty is not there.
pub(super) fn encode_about(user: Option<&str>, device: Option<&str>) -> Vec<u8> {
    let mut about = Vec::new();
    push_sized(&mut about, user.unwrap_or_default().as_bytes());
    push_sized(&mut about, device.unwrap_or_default().as_bytes());
    about
}

impl Record {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (digest, until) = self.before.unwrap_or((IdDigest([0; 32]), Micros::new(0)));
        let mut bytes = vec![VERSION];
        for number in [
            self.created.get(),
            self.seen.get(),
            self.ends.get(),
            crate::clock::whole_micros(self.ttl),
            self.absolute.map_or(0, Micros::get),
            self.changes,
            until.get(),
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.digest.0);
        bytes.extend(digest.0);
        let about = encode_about(self.user.as_deref(), self.device.as_deref());
        push_sized(&mut bytes, &about);
        for (name, field) in &self.fields {
            push_sized(&mut bytes, name.as_bytes());
            bytes.extend(field.ends.map_or(0, Micros::get).to_le_bytes());
            push_sized(&mut bytes, &field.value);
        }
        bytes
    }

    /// What was stored; `None` if it cannot be read.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.bytes(1)? != [VERSION] {
            return None;
        }
        let mut numbers = [0; 7];
        for number in &mut numbers {
            *number = reader.number()?;
        }
        let [created, seen, ends, ttl, absolute, changes, until] = numbers;
        let (digest, before) = (IdDigest(reader.array()?), IdDigest(reader.array()?));
        let mut about = Reader(reader.sized()?);
        let (user, device) = (about.text()?, about.text()?);
        let mut fields = BTreeMap::new();
        while !reader.0.is_empty() {
            let name = reader.text()?;
            let ends = none_if_zero(reader.number()?);
            let value = Bytes::copy_from_slice(reader.sized()?);
            fields.insert(name, Field { value, ends });
        }
        Some(Self {
            created: Micros::new(created),
            seen: Micros::new(seen),
            ends: Micros::new(ends),
            ttl: Duration::from_micros(ttl),
            absolute: none_if_zero(absolute),
            changes,
            digest,
            before: none_if_zero(until).map(|until| (before, until)),
            user: Some(user).filter(|user| !user.is_empty()),
            device: Some(device).filter(|device| !device.is_empty()),
            fields,
        })
    }

    /// Drops fields that have ended.
    pub(super) fn drop_ended(&mut self, now: Micros) {
        self.fields
            .retain(|_, field| field.ends.is_none_or(|ends| ends > now));
    }

    /// Whether its fields are within bounds.
    pub(super) fn fits(&self) -> bool {
        let bytes = self
            .fields
            .iter()
            .map(|(name, field)| name.len() + field.value.len());
        self.fields.len() <= MAX_FIELDS && bytes.sum::<usize>() <= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field() -> impl Strategy<Value = Field> {
        let value = proptest::collection::vec(any::<u8>(), 0..9);
        (value, proptest::option::of(1..u64::MAX)).prop_map(|(value, ends)| Field {
            value: value.into(),
            ends: ends.map(Micros::new),
        })
    }

    prop_compose! {
        fn record()(
            numbers in any::<[u64; 5]>(),
            absolute in proptest::option::of(1..u64::MAX),
            before in proptest::option::of((any::<[u8; 32]>(), 1..u64::MAX)),
            digest in any::<[u8; 32]>(),
            user in proptest::option::of(".{1,9}"),
            device in proptest::option::of(".{1,9}"),
            fields in proptest::collection::btree_map(".{0,9}", field(), 0..5),
        ) -> Record {
            let [created, seen, ends, ttl, changes] = numbers;
            Record {
                created: Micros::new(created),
                seen: Micros::new(seen),
                ends: Micros::new(ends),
                ttl: Duration::from_micros(ttl),
                absolute: absolute.map(Micros::new),
                changes,
                digest: IdDigest(digest),
                before: before.map(|(digest, until)| (IdDigest(digest), Micros::new(until))),
                user,
                device,
                fields,
            }
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_back(record in record()) {
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn half_a_record_is_refused_or_has_fewer_fields(record in record(), share in 0.0..1.0) {
            let bytes = record.encode();
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss,
                reason = "somewhere in it")]
            let cut = (bytes.len() as f64 * share) as usize;
            if let Some(less) = Record::decode(&bytes[..cut]) {
                prop_assert!(less.fields.len() < record.fields.len());
            }
        }

        #[test]
        fn any_bytes_are_a_record_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Record::decode(&bytes);
        }
    }
}
