//! The decisions about one entry and who loads it, as pure functions: `scripts/*.lua` mirror them.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Micros, whole_millis};

/// What is kept of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct Stored {
    /// The value.
    pub value: Bytes,
    /// When it was stored, by the home's clock; nothing for a counter.
    pub stored: Micros,
    /// Until when it is fresh, likewise; the greatest number for a counter.
    pub fresh_until: Micros,
    /// The home's clock when it was read.
    pub now: Micros,
    /// How long it took to load.
    pub cost: Duration,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A value to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Put {
    /// The value.
    pub value: Bytes,
    /// How long it is fresh.
    pub fresh: Duration,
    /// How long it is kept; not less than that.
    pub keep: Duration,
    /// How long it took to load.
    pub cost: Duration,
    /// What it is about: invalidating one of them ends it.
    pub tags: Vec<String>,
    /// Whether reads need to know the time, though it is kept no longer than it is fresh.
    pub is_timed: bool,
}

/// On which condition a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Fence {
    /// On none.
    Always,
    /// There is no entry.
    Absent,
    /// This load still holds its lease, and none of the tags was invalidated since it began.
    Load(LoadId),
}

/// Who loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoadId(u64);

/// What asking for an entry came to, by who would load it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Taken {
    /// It is there and fresh.
    Fresh(Stored),
    /// The asker is to load it. There may be a value that is no longer fresh.
    Load(Option<Stored>),
    /// Somebody else loads it, for so long at most. There may be a value that is no longer fresh.
    Wait(Option<Stored>, Duration),
}

impl LoadId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        // A script's numbers have 53 bits.
        Self(rand::random::<u64>() >> 12)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What is known of the tags of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Tags {
    /// The newest generation.
    last: u64,
    /// The generation of a tag's last invalidation, and when it was.
    invalidated: std::collections::HashMap<String, (u64, Micros)>,
    /// The longest time that anything with tags is kept.
    longest: Duration,
}

/// An entry, and who loads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    held: Option<Held>,
    lease: Option<Lease>,
}

#[derive(Clone, Debug)]
struct Held {
    stored: Stored,
    ends: Micros,
    /// The newest generation when it was stored.
    generation: u64,
    is_counter: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    id: LoadId,
    ends: Micros,
    /// The newest generation when the load began.
    generation: u64,
}

/// The longest load whose value is kept. What happened to tags is remembered for as long as that matters, and this
/// much longer.
pub(super) const LONGEST_LOAD: Duration = Duration::from_secs(3600);

/// Tags remembered per namespace before those that matter to nobody any more are looked for.
const MANY: usize = 1024;

impl Tags {
    /// Something with tags is to be kept for so long.
    pub(super) fn will_keep(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// Ends everything that has the tag and was stored before.
    pub(super) fn invalidate(&mut self, tag: &str, now: Micros) {
        self.last += 1;
        self.invalidated.insert(tag.to_owned(), (self.last, now));
        if self.invalidated.len() >= MANY && self.invalidated.len().is_power_of_two() {
            // What it could have ended is gone by itself.
            let longest = self.longest;
            self.invalidated
                .retain(|_, (_, at)| at.plus(longest + LONGEST_LOAD) > now);
        }
    }

    /// Whether none of these was invalidated after `generation`.
    fn are_untouched(&self, tags: &[String], generation: u64) -> bool {
        let touched = |tag: &String| {
            let last = self.invalidated.get(tag);
            last.is_some_and(|(last, _)| *last > generation)
        };
        !tags.iter().any(touched)
    }
}

impl Slot {
    /// What is there.
    pub(super) fn read(&self, tags: &Tags, now: Micros) -> Option<Stored> {
        let held = self.held.as_ref()?;
        let alive = held.ends > now && tags.are_untouched(&held.stored.tags, held.generation);
        alive.then(|| Stored {
            now,
            ..held.stored.clone()
        })
    }

    /// How long what is there stays.
    pub(super) fn remaining(&self, tags: &Tags, now: Micros) -> Option<Duration> {
        self.read(tags, now)?;
        self.held.as_ref().map(|held| held.ends.since(now))
    }

    /// Keeps a value if the fence lets it. Whoever loads meanwhile does so in vain: its value may be older.
    pub(super) fn put(&mut self, tags: &Tags, now: Micros, put: &Put, fence: Fence) -> bool {
        let may = match fence {
            Fence::Always => true,
            Fence::Absent => self.read(tags, now).is_none(),
            Fence::Load(id) => self.lease.is_some_and(|lease| {
                lease.id == id
                    && lease.ends > now
                    && tags.are_untouched(&put.tags, lease.generation)
            }),
        };
        if !may {
            return false;
        }
        let after = |time| now.plus(Duration::from_millis(whole_millis(time)));
        self.held = Some(Held {
            stored: Stored {
                value: put.value.clone(),
                stored: now,
                fresh_until: after(put.fresh),
                now,
                cost: Duration::from_millis(whole_millis(put.cost)),
                tags: put.tags.clone(),
            },
            ends: after(put.keep),
            generation: tags.last,
            is_counter: false,
        });
        self.lease = None;
        true
    }

    /// What is there, or else who is to load it.
    pub(super) fn take(&mut self, tags: &Tags, now: Micros, id: LoadId, length: Duration) -> Taken {
        let found = self.read(tags, now);
        if let Some(stored) = &found
            && stored.fresh_until > now
        {
            return Taken::Fresh(stored.clone());
        }
        match self.lease {
            Some(lease) if lease.ends > now && lease.id != id => {
                Taken::Wait(found, lease.ends.since(now))
            }
            lease => {
                // Asked again, because the answer was lost: the load began when it was asked for first.
                let generation = lease
                    .filter(|lease| lease.ends > now)
                    .map_or(tags.last, |lease| lease.generation);
                self.lease = Some(Lease {
                    id,
                    ends: now.plus(Duration::from_millis(whole_millis(length))),
                    generation,
                });
                Taken::Load(found)
            }
        }
    }

    /// Lets a load go on. Whether it still held the lease: one that was ended stays so.
    pub(super) fn renew(&mut self, now: Micros, id: LoadId, length: Duration) -> bool {
        match &mut self.lease {
            Some(lease) if lease.id == id && lease.ends > now => {
                lease.ends = now.plus(Duration::from_millis(whole_millis(length)));
                true
            }
            _ => false,
        }
    }

    /// Gives up a load. Whether it held the lease.
    pub(super) fn give_up(&mut self, now: Micros, id: LoadId) -> bool {
        let held = self
            .lease
            .is_some_and(|lease| lease.id == id && lease.ends > now);
        if held {
            self.lease = None;
        }
        held
    }

    /// Removes what is there, and lets no load that is under way keep its value. Whether there was something.
    pub(super) fn remove(&mut self, tags: &Tags, now: Micros) -> bool {
        let there = self.read(tags, now).is_some();
        (self.held, self.lease) = (None, None);
        there
    }

    /// Keeps what is there for so long from now, and as long fresh. Whether there is something.
    pub(super) fn expire(&mut self, tags: &Tags, now: Micros, keep: Duration) -> bool {
        if self.read(tags, now).is_none() {
            return false;
        }
        let Some(held) = &mut self.held else {
            return false;
        };
        held.ends = now.plus(Duration::from_millis(whole_millis(keep)));
        if !held.is_counter {
            held.stored.fresh_until = held.ends;
        }
        true
    }

    /// Adds to a counter, which begins at 0 and is then kept for so long. `Err` if what is there is none.
    pub(super) fn add(
        &mut self,
        tags: &Tags,
        now: Micros,
        by: i64,
        keep: Duration,
    ) -> Result<i64, NotAdded> {
        let there = self.read(tags, now).is_some();
        let held = self.held.as_ref().filter(|_| there);
        let before = match held {
            None => 0,
            Some(held) if held.is_counter => {
                count(&held.stored.value).ok_or(NotAdded::NoCounter)?
            }
            Some(_) => return Err(NotAdded::NoCounter),
        };
        let count = before.checked_add(by).ok_or(NotAdded::Overflow)?;
        let ends = held.map_or_else(
            || now.plus(Duration::from_millis(whole_millis(keep))),
            |held| held.ends,
        );
        self.held = Some(Held {
            stored: Stored {
                value: count.to_string().into(),
                stored: Micros::new(0),
                fresh_until: Micros::new(u64::MAX),
                now,
                cost: Duration::ZERO,
                tags: Vec::new(),
            },
            ends,
            generation: tags.last,
            is_counter: true,
        });
        self.lease = None;
        Ok(count)
    }

    /// When something of it will be over.
    pub(super) fn due(&self, now: Micros) -> Option<Micros> {
        let held = self.held.as_ref().map(|held| held.ends);
        let lease = self.lease.map(|lease| lease.ends);
        Some(held.into_iter().chain(lease).min().unwrap_or(now))
    }

    /// Drops what is over.
    pub(super) fn drop_ended(&mut self, now: Micros) {
        if self.held.as_ref().is_some_and(|held| held.ends <= now) {
            self.held = None;
        }
        if self.lease.is_some_and(|lease| lease.ends <= now) {
            self.lease = None;
        }
    }
}

/// Why a counter was not added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum NotAdded {
    /// What is there is no counter.
    NoCounter,
    /// It would leave the 64 bits it has.
    Overflow,
}

fn count(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
