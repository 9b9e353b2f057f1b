//! How much an in-process home keeps of its caches, and what goes first when there is more.
//!
//! Entries stand in one line, in the order in which they came. When room is needed, the first one goes, unless it has lives left:
//! then it loses one and goes back to the end. It gets one each time that it is read (CLOCK with
//! counters: Corbató, 1968; the three lives are those of S3-FIFO, Yang et al., 2023).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::slot::Slot;
use crate::clock::Micros;
use crate::embedded::State;

/// What an entry takes besides its key, value and tags.
const OVERHEAD: u64 = 256;

/// Lives of an entry.
const MOST_LIVES: usize = 3;

/// Places in the line beside those of entries that are there, before it is looked through.
const SPARE: u64 = 1024;

/// How much the home keeps, and who stands in line.
#[derive(Debug)]
pub(super) struct Room {
    most: AtomicU64,
    kept: AtomicU64,
    entries: AtomicU64,
    // Taken after the lock of a slot, or without any.
    line: Mutex<VecDeque<Arc<str>>>,
    in_line: AtomicU64,
}

/// A slot, and the room it takes.
#[derive(Debug, Default)]
pub(crate) struct Roomed {
    pub(super) slot: Slot,
    bytes: u64,
    room: Option<Arc<Room>>,
    lives: AtomicU8,
}

/// What became of an entry that was first in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It went.
    Gone,
    /// It had lives left, and goes back to the end.
    Again,
}

impl Room {
    pub(super) const fn new(most: u64) -> Self {
        Self {
            most: AtomicU64::new(most),
            kept: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            line: Mutex::new(VecDeque::new()),
            in_line: AtomicU64::new(0),
        }
    }

    /// Bytes that are kept, and places in the line.
    #[cfg(test)]
    pub(super) fn weight(&self) -> (u64, u64) {
        (
            self.kept.load(Ordering::Relaxed),
            self.in_line.load(Ordering::Relaxed),
        )
    }

    /// How much it may be from now on.
    pub(super) fn set_most(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Whether there is more than there may be.
    fn is_over(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > self.most.load(Ordering::Relaxed)
    }

    /// Lets entries go until there is no more than there may be. `look` says what became of the first in line, with no
    /// lock of ours held. `newest` has just come, and was not read yet: where all others were, it would be the first to go.
    pub(super) fn make(&self, newest: &str, mut look: impl FnMut(&str) -> Turn) {
        if !self.is_over() {
            return;
        }
        // Everybody as often as it takes to lose all lives and to go: others may read meanwhile, without end.
        let mut turns = self.line.lock().len().saturating_mul(MOST_LIVES + 1);
        while self.is_over() && turns > 0 {
            turns -= 1;
            let Some(first) = self.line.lock().pop_front() else {
                return;
            };
            if *first == *newest || look(&first) == Turn::Again {
                self.line.lock().push_back(first);
            } else {
                self.in_line.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // Nobody else is left to go: it alone is more than there may be.
        for _ in 0..=MOST_LIVES {
            if self.is_over() && look(newest) == Turn::Gone {
                return;
            }
        }
    }

    /// Leaves out of the line who is gone, where they are many. `is_there` is asked with no lock of ours held.
    pub(super) fn tidy(&self, is_there: impl Fn(&str) -> bool) {
        let there = self.entries.load(Ordering::Relaxed);
        let enough = there.saturating_mul(2).saturating_add(SPARE);
        if self.in_line.load(Ordering::Relaxed) <= enough {
            return;
        }
        let old = std::mem::take(&mut *self.line.lock());
        let before = old.len();
        // Who went and came again stands there twice: the last place counts.
        let mut seen = HashSet::new();
        let mut left: Vec<Arc<str>> = old.into_iter().rev().collect();
        left.retain(|key| seen.insert(key.clone()) && is_there(key));
        let gone = (before - left.len()) as u64;
        let mut line = self.line.lock();
        for key in left {
            line.push_front(key);
        }
        self.in_line.fetch_sub(gone, Ordering::Relaxed);
    }

    fn queue(&self, key: &str) {
        self.line.lock().push_back(key.into());
        self.in_line.fetch_add(1, Ordering::Relaxed);
    }
}

impl Roomed {
    /// Somebody read it.
    pub(super) fn mark_used(&self) {
        let lives = self.lives.load(Ordering::Relaxed);
        if usize::from(lives) < MOST_LIVES {
            // Two at once may give one: it is a guess anyway.
            self.lives.store(lives + 1, Ordering::Relaxed);
        }
    }

    /// Takes note of the room it takes now.
    pub(super) fn weigh(&mut self, key: &str, room: &Arc<Room>) {
        let value = self.slot.bytes();
        let bytes = value.map_or(0, |value| OVERHEAD + (key.len() * 2 + value) as u64);
        let before = std::mem::replace(&mut self.bytes, bytes);
        room.kept.fetch_add(bytes, Ordering::Relaxed);
        room.kept.fetch_sub(before, Ordering::Relaxed);
        if before == 0 && bytes > 0 {
            self.room = Some(room.clone());
            room.entries.fetch_add(1, Ordering::Relaxed);
            room.queue(key);
        } else if before > 0 && bytes == 0 {
            room.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Its turn has come: its value goes, unless it has lives left. Who loads goes on.
    pub(super) fn take_turn(&mut self) -> Turn {
        let lives = self.lives.get_mut();
        if self.bytes > 0 && *lives > 0 {
            *lives -= 1;
            return Turn::Again;
        }
        self.slot.forget();
        self.leave();
        Turn::Gone
    }

    /// It takes no room any more.
    fn leave(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let (Some(room), true) = (&self.room, bytes > 0) {
            room.kept.fetch_sub(bytes, Ordering::Relaxed);
            room.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl State for Roomed {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        self.slot.due(now)
    }

    fn expire(&mut self, now: Micros) {
        self.slot.drop_ended(now);
        if self.slot.bytes().is_none() {
            self.leave();
        }
    }
}

impl Drop for Roomed {
    fn drop(&mut self) {
        self.leave();
    }
}
