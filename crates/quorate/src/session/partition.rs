//! The sessions of one user as a pure function of what is kept of them and the time. `scripts/*.lua` mirror it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::id::{IdDigest, Serial};
use super::record::{Field, Record};
use crate::clock::Micros;

/// The most sessions of a user.
pub const MAX_SESSIONS: usize = 1000;

/// A use is written down when so long has passed since the last that was, or this share of the time to live.
const COALESCE: Duration = Duration::from_secs(60);
const COALESCE_SHARE: u64 = 20;

/// Which session is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Claim {
    /// Its number.
    pub serial: Serial,
    /// What proves it; `None` for who need not prove it.
    pub digest: Option<IdDigest>,
}

/// A session to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct NewSession {
    /// Its number, never used before.
    pub serial: Serial,
    /// Of its id.
    pub digest: IdDigest,
    /// How long it outlives a use.
    pub ttl: Duration,
    /// How long it lives however much it is used.
    pub absolute: Option<Duration>,
    /// The most sessions that there may be afterwards.
    pub most: usize,
    /// Whose it is.
    pub user: Option<String>,
    /// The device it is made on.
    pub device: Option<String>,
    /// What its fields hold.
    pub fields: Vec<Change>,
}

/// What making a session came to.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Creation {
    /// When it was made.
    pub now: Micros,
    /// When it ends unless it is used.
    pub ends: Micros,
    /// The sessions that had to go, oldest first.
    pub evicted: Vec<Serial>,
}

/// A change of one field.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Change {
    /// Gives it a value.
    Set {
        /// Which.
        name: String,
        /// Its value.
        value: Bytes,
        /// How long it has that; `None` for as long as there is the session.
        ttl: Option<Duration>,
    },
    /// Takes it away.
    Remove {
        /// Which.
        name: String,
    },
    /// Takes it away and answers what it held.
    Take {
        /// Which.
        name: String,
    },
}

/// What a change of fields came to.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Updated {
    /// There is no such session.
    Gone,
    /// It would have too many fields, or too much in them; nothing was changed.
    TooLarge,
    /// It was made.
    Done {
        /// How often fields were changed by now.
        changes: u64,
        /// What was taken, in order.
        taken: Vec<Option<Bytes>>,
    },
}

/// What giving a session a new id came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Rotated {
    /// There is no such session.
    Gone,
    /// It got another new id a moment ago, and this one is good only for a while.
    Superseded,
    /// It has the new id.
    Done {
        /// Since when.
        now: Micros,
        /// When it ends unless it is used.
        ends: Micros,
    },
}

/// What removing a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Deleted {
    /// There is no such session.
    Gone,
    /// Its fields were changed meanwhile; it stays.
    Changed,
    /// It was removed.
    Done,
}

/// The sessions of one user, or the only one of nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Partition {
    sessions: BTreeMap<Serial, Record>,
    by_end: BTreeSet<(Micros, Serial)>,
    /// Those that changed since somebody asked.
    changed: BTreeSet<Serial>,
}

impl Change {
    /// Which field it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Remove { name } | Self::Take { name } => name,
        }
    }
}

impl Record {
    /// Whether it is there, and meant.
    fn answers(&self, claim: &Claim, now: Micros) -> bool {
        let is_proved = claim.digest.is_none_or(|digest| {
            digest == self.digest
                || self
                    .before
                    .is_some_and(|(before, until)| digest == before && now < until)
        });
        self.ends > now && is_proved
    }

    /// Writes a use down, unless one was a moment ago and it lives on for as long as before.
    fn touch(&mut self, now: Micros, ttl: Option<Duration>) -> bool {
        if let Some(ttl) = ttl.filter(|ttl| *ttl != self.ttl) {
            self.ttl = ttl;
            self.seen = self.seen.max(now);
            self.ends = end_of(now, ttl, self.absolute);
            return true;
        }
        let share = self.ttl / u32::try_from(COALESCE_SHARE).expect("is small");
        if now < self.seen || now.since(self.seen) < share.min(COALESCE) {
            return false;
        }
        self.seen = now;
        self.ends = end_of(now, self.ttl, self.absolute);
        true
    }

    fn apply(&mut self, now: Micros, changes: &[Change]) -> Vec<Option<Bytes>> {
        self.drop_ended(now);
        let mut taken = Vec::new();
        for change in changes {
            match change {
                Change::Set { name, value, ttl } => {
                    let (value, ends) = (value.clone(), ttl.map(|ttl| now.plus(ttl)));
                    self.fields.insert(name.clone(), Field { value, ends });
                }
                Change::Remove { name } => drop(self.fields.remove(name)),
                Change::Take { name } => {
                    taken.push(self.fields.remove(name).map(|field| field.value));
                }
            }
        }
        taken
    }
}

fn end_of(now: Micros, ttl: Duration, absolute: Option<Micros>) -> Micros {
    let ends = now.plus(ttl);
    absolute.map_or(ends, |absolute| ends.min(absolute))
}

impl Partition {
    /// Makes a session. Where there would be too many, the oldest go.
    pub(super) fn create(&mut self, now: Micros, new: &NewSession) -> Creation {
        self.expire(now);
        let absolute = new.absolute.map(|absolute| now.plus(absolute));
        let mut record = Record {
            created: now,
            seen: now,
            ends: end_of(now, new.ttl, absolute),
            ttl: new.ttl,
            absolute,
            changes: 0,
            digest: new.digest,
            before: None,
            user: new.user.clone(),
            device: new.device.clone(),
            fields: BTreeMap::new(),
        };
        record.apply(now, &new.fields);
        let evicted = self.oldest((self.sessions.len() + 1).saturating_sub(new.most));
        for serial in &evicted {
            self.remove(*serial);
        }
        let ends = record.ends;
        self.put(new.serial, record);
        Creation { now, ends, evicted }
    }

    fn oldest(&self, count: usize) -> Vec<Serial> {
        if count == 0 {
            return Vec::new();
        }
        let mut oldest: Vec<_> = self
            .sessions
            .iter()
            .map(|(serial, record)| (record.created, *serial))
            .collect();
        oldest.sort_unstable();
        oldest
            .into_iter()
            .take(count)
            .map(|(_, serial)| serial)
            .collect()
    }

    pub(super) fn get(&self, now: Micros, claim: &Claim) -> Option<&Record> {
        let record = self.sessions.get(&claim.serial)?;
        record.answers(claim, now).then_some(record)
    }

    /// Lets a session live on from now, for as long as before or for `ttl`. Says as well whether that was written down.
    pub(super) fn touch(
        &mut self,
        now: Micros,
        claim: &Claim,
        ttl: Option<Duration>,
    ) -> (Option<Record>, bool) {
        let Some(mut record) = self.get(now, claim).cloned() else {
            return (None, false);
        };
        let is_written = record.touch(now, ttl);
        if is_written {
            self.put(claim.serial, record.clone());
        }
        (Some(record), is_written)
    }

    /// Changes fields; other fields stay as they are.
    pub(super) fn update(&mut self, now: Micros, claim: &Claim, changes: &[Change]) -> Updated {
        let Some(mut record) = self.get(now, claim).cloned() else {
            return Updated::Gone;
        };
        let taken = record.apply(now, changes);
        if !record.fits() {
            return Updated::TooLarge;
        }
        record.changes += 1;
        let changes = record.changes;
        self.put(claim.serial, record);
        Updated::Done { changes, taken }
    }

    /// Gives a session a new id; the one it had stays good for `overlap`.
    pub(super) fn rotate(
        &mut self,
        now: Micros,
        claim: &Claim,
        digest: IdDigest,
        overlap: Duration,
    ) -> Rotated {
        let Some(record) = self.sessions.get(&claim.serial) else {
            return Rotated::Gone;
        };
        if record.ends <= now {
            return Rotated::Gone;
        }
        if record.digest == digest {
            let ends = record.ends;
            return Rotated::Done { now, ends }; // again
        }
        if !record.answers(claim, now) {
            return Rotated::Gone;
        }
        if claim.digest.is_some_and(|claimed| claimed != record.digest) {
            return Rotated::Superseded;
        }
        let mut record = record.clone();
        record.before = Some((record.digest, now.plus(overlap)));
        record.digest = digest;
        let ends = record.ends;
        self.put(claim.serial, record);
        Rotated::Done { now, ends }
    }

    /// Removes a session; with `changes`, only if its fields were changed so often.
    pub(super) fn delete(&mut self, now: Micros, claim: &Claim, changes: Option<u64>) -> Deleted {
        match self.get(now, claim) {
            None => Deleted::Gone,
            Some(record) if changes.is_some_and(|changes| changes != record.changes) => {
                Deleted::Changed
            }
            Some(_) => {
                self.remove(claim.serial);
                Deleted::Done
            }
        }
    }

    /// Removes all sessions but one.
    pub(super) fn clear(&mut self, now: Micros, keep: Option<Serial>) -> Vec<Serial> {
        self.expire(now);
        let others = |serial: &Serial| keep != Some(*serial);
        let gone: Vec<_> = self.sessions.keys().copied().filter(others).collect();
        for serial in &gone {
            self.remove(*serial);
        }
        gone
    }

    pub(super) fn list(&self, now: Micros) -> Vec<(Serial, Record)> {
        let there = self.sessions.iter().filter(|(_, record)| record.ends > now);
        there
            .map(|(serial, record)| (*serial, record.clone()))
            .collect()
    }

    pub(super) fn count(&self, now: Micros) -> usize {
        self.sessions.len() - self.by_end.range(..=(now, Serial::LAST)).count()
    }

    /// When the first of them ends.
    pub(super) fn next_end(&self) -> Option<Micros> {
        self.by_end.first().map(|(ends, _)| *ends)
    }

    /// Drops what has ended.
    pub(super) fn expire(&mut self, now: Micros) {
        while let Some((ends, serial)) = self.by_end.first().copied()
            && ends <= now
        {
            self.remove(serial);
        }
    }

    /// Of one session, whatever the time.
    #[cfg_attr(not(feature = "file"), expect(dead_code, reason = "for the file"))]
    pub(super) fn record(&self, serial: Serial) -> Option<&Record> {
        self.sessions.get(&serial)
    }

    /// Keeps a session as it is.
    pub(super) fn put(&mut self, serial: Serial, record: Record) {
        let ends = record.ends;
        if let Some(before) = self.sessions.insert(serial, record) {
            self.by_end.remove(&(before.ends, serial));
        }
        self.by_end.insert((ends, serial));
        self.changed.insert(serial);
    }

    fn remove(&mut self, serial: Serial) {
        if let Some(before) = self.sessions.remove(&serial) {
            self.by_end.remove(&(before.ends, serial));
            self.changed.insert(serial);
        }
    }

    /// The sessions that came, changed or went since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Serial> {
        std::mem::take(&mut self.changed)
    }
}
