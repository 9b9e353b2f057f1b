//! The decisions about one entry, as pure functions: `scripts/*.lua` mirror them.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::fence::Fence;
use super::remembered::Remembered;
use crate::clock::{Micros, whole_millis};
use crate::lock::FencingToken;

/// One transition of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Write {
    /// Gives it a value, if `when` holds.
    Set {
        /// The value.
        value: Bytes,
        /// What becomes of its end.
        expiry: Expiry,
        /// On which condition.
        when: When,
    },
    /// Removes it, if it is there and `when` holds.
    Delete {
        /// On which condition.
        when: When,
    },
    /// Adds to a counter, which begins at 0.
    Add {
        /// How much; may be negative.
        by: i64,
        /// What becomes of its end.
        expiry: Expiry,
    },
    /// Changes when it ends, if it is there.
    Expire {
        /// What becomes of its end.
        expiry: Expiry,
    },
}

/// What becomes of an entry's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Expiry {
    /// It stays as it is; what is new has none.
    Keep,
    /// It has none.
    Never,
    /// It is this far from now, rounded up to a millisecond.
    After(Duration),
    /// The same for what is new; otherwise it stays as it is.
    AfterIfNew(Duration),
}

/// On which condition a write is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum When {
    /// On none.
    Always,
    /// There is no entry.
    Absent,
    /// There is one with exactly this value.
    Equals(Bytes),
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Written {
    /// It was made.
    Applied,
    /// Its condition did not hold, or there was no entry.
    Refused,
    /// It was made, and this is the counter now.
    Count(i64),
    /// It was not made: the value is no counter.
    NotACounter,
    /// It was not made: the counter would leave the 64 bits it has.
    Overflow,
    /// It was not made: its id is that of another write.
    OtherWrite,
    /// It was not made: its token is smaller than this one, the greatest that was seen.
    Stale(FencingToken),
}

/// The id of a write, by which a repetition is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Once {
    /// The id.
    pub id: String,
    /// What tells the write from others.
    pub fingerprint: [u8; 8],
    /// How long it is remembered, from the first time.
    pub remember: Duration,
}

/// How long an entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Remaining {
    /// Until somebody removes it.
    Forever,
    /// For so long, unless somebody changes that.
    For(Duration),
}

/// An entry, and what is remembered of writes to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    pub(super) value: Option<Bytes>,
    /// When the value is gone.
    pub(super) ends: Option<Micros>,
    pub(super) done: Remembered,
    pub(super) fence: Fence,
}

impl Write {
    /// What tells it from another write, for [`Once`].
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 8] {
        let mut hash = sha1_smol::Sha1::new();
        let mut part = |bytes: &[u8]| {
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        let (verb, when, expiry) = match self {
            Self::Set {
                value,
                expiry,
                when,
            } => {
                part(value);
                (b"set", Some(when), Some(expiry))
            }
            Self::Delete { when } => (b"del", Some(when), None),
            Self::Add { by, expiry } => {
                part(&by.to_le_bytes());
                (b"add", None, Some(expiry))
            }
            Self::Expire { expiry } => (b"exp", None, Some(expiry)),
        };
        part(verb);
        match when {
            None | Some(When::Always) => part(b"always"),
            Some(When::Absent) => part(b"absent"),
            Some(When::Equals(expected)) => {
                part(b"equals");
                part(expected);
            }
        }
        let (kind, time) = expiry.map_or(("none", 0), |expiry| expiry.parts());
        part(kind.as_bytes());
        part(&time.to_le_bytes());
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&hash.digest().bytes()[..8]);
        fingerprint
    }
}

impl Expiry {
    /// As scripts take it: its name, and milliseconds.
    pub(super) fn parts(self) -> (&'static str, u64) {
        match self {
            Self::Keep => ("keep", 0),
            Self::Never => ("never", 0),
            Self::After(time) => ("after", whole_millis(time)),
            Self::AfterIfNew(time) => ("new", whole_millis(time)),
        }
    }

    /// The end of an entry that had the end `before`, or was not there.
    fn apply(self, before: Option<Option<Micros>>, now: Micros) -> Option<Micros> {
        let after = |time| Some(now.plus(Duration::from_millis(whole_millis(time))));
        match self {
            Self::Never => None,
            Self::After(time) => after(time),
            Self::Keep => before.flatten(),
            Self::AfterIfNew(time) => before.unwrap_or_else(|| after(time)),
        }
    }
}

impl Entry {
    /// The value, if there still is one.
    pub(super) fn value(&self, now: impl FnOnce() -> Micros) -> Option<&Bytes> {
        let value = self.value.as_ref()?;
        // Most entries of a store have no end, and the clock need not be looked at.
        match self.ends {
            Some(ends) if ends <= now() => None,
            _ => Some(value),
        }
    }

    /// How long it stays.
    pub(super) fn remaining(&self, now: Micros) -> Option<Remaining> {
        self.value(|| now)?;
        Some(match self.ends {
            None => Remaining::Forever,
            Some(ends) => Remaining::For(ends.since(now)),
        })
    }

    /// One transition. A repeated one does nothing and is answered as the first time; one with a smaller token than the
    /// greatest does nothing.
    pub(super) fn write(
        &mut self,
        now: Micros,
        write: &Write,
        once: Option<&Once>,
        token: Option<FencingToken>,
    ) -> Written {
        self.expire(now);
        if let Some(answer) = once.and_then(|once| self.done.answer(once)) {
            return answer;
        }
        if let Some(greatest) = token.and_then(|token| self.fence.pass(token, now).err()) {
            return Written::Stale(greatest);
        }
        let Some(once) = once else {
            return self.apply(now, write);
        };
        let answer = self.apply(now, write);
        // What failed for what stands there may be tried again.
        if !matches!(answer, Written::NotACounter | Written::Overflow) {
            self.done.add(once, answer, now);
        }
        answer
    }

    fn apply(&mut self, now: Micros, write: &Write) -> Written {
        match write {
            Write::Set { when, .. } | Write::Delete { when } if !self.holds(when) => {
                Written::Refused
            }
            Write::Set { value, expiry, .. } => {
                self.ends = expiry.apply(self.before(), now);
                self.value = Some(value.clone());
                Written::Applied
            }
            Write::Delete { .. } => {
                self.ends = None;
                let removed = self.value.take().is_some();
                if removed {
                    Written::Applied
                } else {
                    Written::Refused
                }
            }
            Write::Add { by, expiry } => self.add(*by, *expiry, now),
            Write::Expire { expiry } => match self.before() {
                None => Written::Refused,
                before => {
                    self.ends = expiry.apply(before, now);
                    Written::Applied
                }
            },
        }
    }

    fn add(&mut self, by: i64, expiry: Expiry, now: Micros) -> Written {
        let Some(count) = self.value.as_ref().map_or(Some(0), |value| counter(value)) else {
            return Written::NotACounter;
        };
        let Some(count) = count.checked_add(by) else {
            return Written::Overflow;
        };
        self.ends = expiry.apply(self.before(), now);
        self.value = Some(count.to_string().into());
        Written::Count(count)
    }

    /// The end of the entry that is there.
    fn before(&self) -> Option<Option<Micros>> {
        self.value.as_ref().map(|_| self.ends)
    }

    fn holds(&self, when: &When) -> bool {
        match when {
            When::Always => true,
            When::Absent => self.value.is_none(),
            When::Equals(expected) => self.value.as_ref() == Some(expected),
        }
    }

    /// Drops what has ended.
    pub(super) fn expire(&mut self, now: Micros) {
        if self.ends.is_some_and(|ends| ends <= now) {
            (self.value, self.ends) = (None, None);
        }
        self.done.expire(now);
        self.fence.expire(now);
    }

    /// When something of it will have ended next; `now` if nothing is left.
    pub(super) fn due(&self, now: Micros) -> Option<Micros> {
        let done = [self.done.due(), self.fence.due()]
            .into_iter()
            .flatten()
            .min();
        match (&self.value, self.ends) {
            (None, _) => Some(done.unwrap_or(now)),
            (Some(_), None) => done,
            (Some(_), Some(ends)) => Some(done.map_or(ends, |done| done.min(ends))),
        }
    }
}

/// The number in a value that is a counter: as a server reads it, without `+`, spaces, `-0` and zeros in front.
fn counter(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number = text.parse::<i64>().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Micros {
        Micros::new(1_000_000 * (1000 + seconds))
    }

    fn once(id: &str, write: &Write) -> Once {
        Once {
            id: id.to_owned(),
            fingerprint: write.fingerprint(),
            remember: SECOND * 10,
        }
    }

    fn add(by: i64, expiry: Expiry) -> Write {
        Write::Add { by, expiry }
    }

    #[test]
    fn a_repeated_write_is_answered_as_the_first_time_until_it_is_forgotten() {
        let mut entry = Entry::default();
        let write = add(5, Expiry::Keep);
        let id = once("a", &write);
        assert_eq!(
            entry.write(at(0), &write, Some(&id), None),
            Written::Count(5)
        );
        assert_eq!(
            entry.write(at(1), &add(1, Expiry::Keep), None, None),
            Written::Count(6)
        );
        assert_eq!(
            entry.write(at(9), &write, Some(&id), None),
            Written::Count(5)
        );
        assert_eq!(
            entry.write(at(10), &write, Some(&id), None),
            Written::Count(11)
        );
    }

    #[test]
    fn an_id_belongs_to_one_write() {
        let mut entry = Entry::default();
        let write = add(5, Expiry::Keep);
        entry.write(at(0), &write, Some(&once("a", &write)), None);
        for other in [
            add(6, Expiry::Keep),
            add(5, Expiry::Never),
            Write::Delete { when: When::Always },
        ] {
            let answer = entry.write(at(0), &other, Some(&once("a", &other)), None);
            assert_eq!(answer, Written::OtherWrite, "{other:?}");
        }
        assert_eq!(entry.value(|| at(0)).unwrap(), "5");
    }

    #[test]
    fn what_is_remembered_outlives_the_entry_and_is_then_freed() {
        let mut entry = Entry::default();
        let write = add(5, Expiry::After(SECOND));
        entry.write(at(0), &write, Some(&once("a", &write)), None);
        assert_eq!(entry.due(at(0)), Some(at(1)));
        entry.expire(at(1));
        assert_eq!(entry.remaining(at(1)), None);
        assert_eq!(entry.due(at(1)), Some(at(10)));
        entry.expire(at(10));
        assert_eq!(entry.due(at(10)), Some(at(10)));
        assert_eq!(entry.done.changed(), ["a".into(), "a".into()]);
        assert_eq!(entry, Entry::default());
    }

    #[test]
    fn an_end_is_kept_moved_or_taken_away() {
        let mut entry = Entry::default();
        for (expiry, ends) in [
            (Expiry::AfterIfNew(SECOND), Some(at(1))),
            (Expiry::AfterIfNew(SECOND * 5), Some(at(1))),
            (Expiry::Keep, Some(at(1))),
            (Expiry::After(SECOND * 2), Some(at(2))),
            (Expiry::Never, None),
            (Expiry::Keep, None),
            (Expiry::AfterIfNew(SECOND), None),
        ] {
            entry.write(at(0), &add(1, expiry), None, None);
            assert_eq!(entry.ends, ends, "{expiry:?}");
        }
    }

    #[test]
    fn only_what_a_server_counts_is_a_counter() {
        for (text, number) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("+7", None),
            ("07", None),
            ("-0", None),
            (" 7", None),
            ("", None),
            ("7.0", None),
        ] {
            assert_eq!(counter(text.as_bytes()), number, "{text:?}");
        }
    }
}
