//! The decisions about one entry and who loads it, as pure functions: `scripts/*.lua` mirror them.

use std::time::Duration;

use bytes::Bytes;

use super::tags::Tags;
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

/// Asking for an entry, by who would load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct Take {
    /// Who would load.
    pub id: LoadId,
    /// How long the lease is.
    pub lease: Duration,
    /// What for.
    pub wish: Wish,
}

/// What an entry is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Wish {
    /// Its value; to load it if there is none that is fresh, unless that failed a short while ago.
    Value,
    /// To load it although it is fresh, unless somebody does or that failed a short while ago; or somebody has: what is
    /// there was stored at another time than this.
    Early(Micros),
    /// To load it, whatever is there.
    Anew,
}

/// A load that failed, and for how long that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends need all of it")]
pub struct FailedLoad {
    /// Why.
    pub message: String,
    /// What the entry would have been about: invalidating one of them makes it forgotten.
    pub tags: Vec<String>,
    /// How long it is not tried again while there is an old value.
    pub throttle: Duration,
    /// How long whoever asks is told of it while there is no value.
    pub told: Duration,
}

/// What asking for an entry came to, by who would load it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Taken {
    /// It is there and fresh.
    Fresh(Stored),
    /// It is there and no longer fresh, and the last load failed so short a while ago that none is to be tried.
    Throttled(Stored),
    /// It is not there, and the last load failed, with this message.
    Failed(String),
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

/// An entry, and who loads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    held: Option<Held>,
    load: Load,
}

/// The last load, as far as it matters.
#[derive(Clone, Debug, Default)]
enum Load {
    #[default]
    None,
    UnderWay(Lease),
    Failed(Failed),
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

#[derive(Clone, Debug)]
struct Failed {
    load: FailedLoad,
    throttled_until: Micros,
    told_until: Micros,
    /// The newest generation when the load began.
    generation: u64,
}

impl Load {
    /// The lease, if it holds.
    fn lease(&self, now: Micros) -> Option<Lease> {
        match self {
            Self::UnderWay(lease) if lease.ends > now => Some(*lease),
            _ => None,
        }
    }

    /// The lease, if this load holds it.
    fn lease_of(&self, now: Micros, id: LoadId) -> Option<Lease> {
        self.lease(now).filter(|lease| lease.id == id)
    }

    fn ends(&self) -> Option<Micros> {
        match self {
            Self::None => None,
            Self::UnderWay(lease) => Some(lease.ends),
            Self::Failed(failed) => Some(failed.throttled_until.max(failed.told_until)),
        }
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
            Fence::Load(id) => self
                .load
                .lease_of(now, id)
                .is_some_and(|lease| tags.are_untouched(&put.tags, lease.generation)),
        };
        if !may {
            return false;
        }
        self.held = Some(Held {
            stored: Stored {
                value: put.value.clone(),
                stored: now,
                fresh_until: after(now, put.fresh),
                now,
                cost: Duration::from_millis(whole_millis(put.cost)),
                tags: put.tags.clone(),
            },
            ends: after(now, put.keep),
            generation: tags.last,
            is_counter: false,
        });
        self.load = Load::None;
        true
    }

    /// What is there, or else who is to load it.
    pub(super) fn take(&mut self, tags: &Tags, now: Micros, take: Take) -> Taken {
        let found = self.read(tags, now);
        let (fresh, old) = match found {
            Some(stored) if stored.fresh_until > now => (Some(stored), None),
            old => (None, old),
        };
        let lease = self.load.lease(now);
        if let Some(stored) = &fresh {
            let is_held_up = match take.wish {
                Wish::Value => true,
                Wish::Early(seen) => {
                    stored.stored != seen
                        || lease.is_some_and(|lease| lease.id != take.id)
                        || self.is_throttled(now)
                }
                Wish::Anew => false,
            };
            if is_held_up {
                return Taken::Fresh(stored.clone());
            }
        }
        if let Some(lease) = lease.filter(|lease| lease.id != take.id) {
            return Taken::Wait(fresh.or(old), lease.ends.since(now));
        }
        if take.wish != Wish::Anew && fresh.is_none() {
            match (&old, self.told(tags, now)) {
                (Some(old), _) if self.is_throttled(now) => return Taken::Throttled(old.clone()),
                (None, Some(message)) => return Taken::Failed(message.to_owned()),
                _ => {}
            }
        }
        // Asked again, because the answer was lost: the load began when it was asked for first.
        let generation = lease.map_or(tags.last, |lease| lease.generation);
        self.load = Load::UnderWay(Lease {
            id: take.id,
            ends: after(now, take.lease),
            generation,
        });
        Taken::Load(fresh.or(old))
    }

    /// Whether the last load failed so short a while ago that an old value stands in for the next one.
    fn is_throttled(&self, now: Micros) -> bool {
        matches!(&self.load, Load::Failed(failed) if failed.throttled_until > now)
    }

    /// Why the last load failed, if whoever asks is still told.
    fn told(&self, tags: &Tags, now: Micros) -> Option<&str> {
        let Load::Failed(failed) = &self.load else {
            return None;
        };
        let is_told =
            failed.told_until > now && tags.are_untouched(&failed.load.tags, failed.generation);
        is_told.then_some(&*failed.load.message)
    }

    /// Lets a load go on. Whether it still held the lease: one that was ended stays so.
    pub(super) fn renew(&mut self, now: Micros, id: LoadId, length: Duration) -> bool {
        let Some(lease) = self.load.lease_of(now, id) else {
            return false;
        };
        self.load = Load::UnderWay(Lease {
            ends: after(now, length),
            ..lease
        });
        true
    }

    /// Gives up a load. Whether it held the lease.
    pub(super) fn give_up(&mut self, now: Micros, id: LoadId) -> bool {
        let held = self.load.lease_of(now, id).is_some();
        if held {
            self.load = Load::None;
        }
        held
    }

    /// Ends whatever load is under way, and leaves what is there. Whether there was one.
    pub(super) fn end_load(&mut self, now: Micros) -> bool {
        let held = self.load.lease(now).is_some();
        if held {
            self.load = Load::None;
        }
        held
    }

    /// Whether a load is under way.
    pub(super) fn is_loading(&self, now: Micros) -> bool {
        self.load.lease(now).is_some()
    }

    /// Gives up a load that failed, and remembers that. Whether it held the lease, and what is there.
    pub(super) fn fail(
        &mut self,
        tags: &Tags,
        now: Micros,
        id: LoadId,
        load: &FailedLoad,
    ) -> (bool, Option<Stored>) {
        let found = self.read(tags, now);
        let Some(lease) = self.load.lease_of(now, id) else {
            return (false, found);
        };
        // Nothing stands in for a value that is not there.
        let throttle = found.as_ref().map_or(Duration::ZERO, |_| load.throttle);
        self.load = if throttle.is_zero() && load.told.is_zero() {
            Load::None
        } else {
            Load::Failed(Failed {
                load: load.clone(),
                throttled_until: after(now, throttle),
                told_until: after(now, load.told),
                generation: lease.generation,
            })
        };
        (true, found)
    }

    /// Removes what is there, and lets no load that is under way keep its value. Whether there was something.
    pub(super) fn remove(&mut self, tags: &Tags, now: Micros) -> bool {
        let there = self.read(tags, now).is_some();
        (self.held, self.load) = (None, Load::None);
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
        held.ends = after(now, keep);
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
        let ends = held.map_or_else(|| after(now, keep), |held| held.ends);
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
        self.load = Load::None;
        Ok(count)
    }

    /// Bytes of the value and the tags that are kept; `None` if nothing is.
    pub(super) fn bytes(&self) -> Option<usize> {
        let stored = &self.held.as_ref()?.stored;
        let tags: usize = stored.tags.iter().map(String::len).sum();
        Some(stored.value.len() + tags)
    }

    /// Gives up what is kept. Who loads goes on.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }

    /// When something of it will be over.
    pub(super) fn due(&self, now: Micros) -> Option<Micros> {
        let held = self.held.as_ref().map(|held| held.ends);
        let load = self.load.ends();
        Some(held.into_iter().chain(load).min().unwrap_or(now))
    }

    /// Drops what is over.
    pub(super) fn drop_ended(&mut self, now: Micros) {
        if self.held.as_ref().is_some_and(|held| held.ends <= now) {
            self.held = None;
        }
        if self.load.ends().is_some_and(|ends| ends <= now) {
            self.load = Load::None;
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

/// So much later, in the milliseconds that backends count.
fn after(now: Micros, time: Duration) -> Micros {
    now.plus(Duration::from_millis(whole_millis(time)))
}

fn count(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
