//! What the history of one topic does: pure functions of its state and the time, mirrored by
//! `scripts/`.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Position;
use crate::clock::{Micros, whole_micros};

/// How long what is known of an idle history (its epoch, its last offset) outlives its messages. Within
/// it a reader that comes back is told exactly what it missed.
pub(super) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Messages dropped per append, at most: the work of one transition is bounded, and more than one
/// append can add.
const MAX_TRIM: usize = 128;

/// Messages looked at to recognise a repeated append, at most.
const MAX_SCAN: usize = 1024;

/// How much of a topic is kept. Whichever bound is reached first drops the oldest messages; the newest
/// is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "three bounds; a backend needs each"
)]
pub struct Keep {
    /// For how long, by the home's clock.
    pub time: Duration,
    /// How many.
    pub messages: u32,
    /// Bytes of messages, with their envelopes.
    pub bytes: u64,
}

impl Keep {
    /// Ten years: more than a `PEXPIRE` would have to take.
    const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

    /// The field and the rule that is broken, if one is.
    pub(crate) const fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.time.as_millis() == 0 {
            return Err(("keep.time", "must be at least a millisecond"));
        }
        if self.time.as_secs() > Self::LONGEST.as_secs() {
            return Err(("keep.time", "must be at most ten years"));
        }
        if self.messages == 0 {
            return Err(("keep.messages", "must be at least 1"));
        }
        if self.bytes == 0 || self.bytes >= 1 << 53 {
            return Err(("keep.bytes", "must be at least 1 and less than 2^53"));
        }
        Ok(())
    }
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a backend must handle each")]
pub enum From {
    /// With the oldest message that is kept.
    Beginning,
    /// After this position.
    After(Position),
    /// With the last so many messages.
    Latest(u32),
}

/// How much a read returns at most. One message is returned however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backend needs both")]
pub struct PageLimit {
    /// Messages; at least 1.
    pub messages: u32,
    /// Bytes of messages.
    pub bytes: u64,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a backend answers with one of these"
)]
pub enum Replay {
    /// These messages, oldest first, without a hole. There are more unless the last one is at `top`.
    Page {
        /// As they were announced.
        messages: Vec<Bytes>,
        /// The position of the newest message there is.
        top: Position,
    },
    /// Some of what comes after the given position is no longer kept, or the position is of a history
    /// that was lost.
    Lost {
        /// The position of the newest message there is.
        top: Position,
    },
}

/// What came of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AppendReply {
    /// The message has this position; `announce` it as it now is.
    Appended { position: Position, announce: Bytes },
    /// It was appended before, when the reply was lost.
    Repeated { position: Position },
    /// It may have been appended before: it is too long ago, or too many followed, to tell.
    Inconclusive,
}

/// The history of one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// When it began; 0 before the first message.
    epoch: u64,
    last: u64,
    mark: u32,
    /// When the last message was appended: times never go back.
    time: Micros,
    keep: Duration,
    bytes: u64,
    entries: VecDeque<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    at: Micros,
    id: [u8; 16],
    message: Bytes,
}

impl Entry {
    fn ends(&self, keep: Duration) -> Micros {
        self.at.plus(keep)
    }
}

impl Log {
    /// Appends `message`, and says where it now stands. `again` is how long ago the first attempt began
    /// if this is not it.
    pub(crate) fn append(
        &mut self,
        now: Micros,
        id: [u8; 16],
        message: &[u8],
        keep: Keep,
        again: Option<Duration>,
    ) -> AppendReply {
        let now = now.max(self.time);
        if let Some(ago) = again
            && let Some(reply) = self.find(now, id, ago)
        {
            return reply;
        }
        if self.epoch == 0 {
            self.epoch = now.get();
        }
        self.last += 1;
        let position = Position::of(self.epoch, self.last, id);
        let announce = placed(message, position);
        self.mark = position.mark();
        self.time = now;
        self.keep = keep.time;
        self.bytes += announce.len() as u64;
        self.entries.push_back(Entry {
            at: now,
            id,
            message: announce.clone(),
        });
        self.trim(now, keep);
        AppendReply::Appended { position, announce }
    }

    fn trim(&mut self, now: Micros, keep: Keep) {
        for _ in 0..MAX_TRIM {
            let over = self.entries.len() > keep.messages as usize || self.bytes > keep.bytes;
            match self.entries.front() {
                Some(oldest)
                    if self.entries.len() > 1 && (over || oldest.ends(keep.time) <= now) =>
                {
                    self.bytes -= oldest.message.len() as u64;
                    self.entries.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Whether the message with this id was appended at most `ago` before `now`; `None`: it was not.
    fn find(&self, now: Micros, id: [u8; 16], ago: Duration) -> Option<AppendReply> {
        let since = Micros::new(now.get().saturating_sub(whole_micros(ago)));
        let recent = self.entries.iter().rev().zip((1..=self.last).rev());
        for (entry, offset) in recent.take(MAX_SCAN) {
            if entry.at < since {
                return None;
            }
            if entry.id == id {
                let position = Position::of(self.epoch, offset, id);
                return Some(AppendReply::Repeated { position });
            }
        }
        // All that can be looked at came after the first attempt: was there more?
        let looked_at = self.entries.len().min(MAX_SCAN) as u64;
        (self.last > looked_at).then_some(AppendReply::Inconclusive)
    }

    /// Messages from a place on.
    pub(crate) fn read(&self, now: Micros, from: From, limit: PageLimit) -> Replay {
        let now = now.max(self.time);
        if self.epoch == 0 {
            return self.read_nothing(now, from);
        }
        let top = Position::new(self.epoch, self.last, self.mark);
        // Offset of the first message that is still kept; what has ended is as good as gone.
        let kept_from = self.first() + self.ended(now);
        let start = match from {
            From::Beginning => kept_from,
            From::Latest(count) => kept_from.max((self.last + 1).saturating_sub(count.into())),
            From::After(position) => match self.next_after(now, position) {
                Some(next) if next > self.last || next >= kept_from => next,
                _ => return Replay::Lost { top },
            },
        };
        let mut bytes = 0;
        let skip = usize::try_from(start - self.first()).unwrap_or(usize::MAX);
        let page = self.entries.iter().skip(skip).take(limit.messages as usize);
        let page = page.take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.message.len() as u64;
            first || bytes <= limit.bytes
        });
        let messages = page.map(|entry| entry.message.clone()).collect();
        Replay::Page { messages, top }
    }

    fn read_nothing(&self, now: Micros, from: From) -> Replay {
        let top = Position::new(now.get(), 0, 0);
        match from {
            From::After(position) if !(position.is_origin() && is_recent(position, now)) => {
                Replay::Lost { top }
            }
            _ => Replay::Page {
                messages: Vec::new(),
                top,
            },
        }
    }

    /// The offset that follows a position, if that position is of this history.
    fn next_after(&self, now: Micros, position: Position) -> Option<u64> {
        if position.is_origin() {
            // There was nothing then, and whatever began since is still known: so all of it is new.
            let since = position.epoch() <= self.epoch && is_recent(position, now);
            return since.then_some(1);
        }
        if position.epoch() != self.epoch || position.offset() > self.last {
            return None;
        }
        let same = match position.offset().checked_sub(self.first()) {
            // Not known to who has the position.
            _ if position.mark() == 0 => true,
            _ if position.offset() == self.last => position.mark() == self.mark,
            Some(at) => {
                let entry = self.entries.get(usize::try_from(at).ok()?)?;
                Position::of(self.epoch, position.offset(), entry.id) == position
            }
            // No longer there to compare; what follows it may be.
            None => true,
        };
        same.then_some(position.offset() + 1)
    }

    /// The offset of the oldest entry, or of the next message if there is none.
    fn first(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }

    /// How many entries have ended.
    fn ended(&self, now: Micros) -> u64 {
        self.entries
            .partition_point(|entry| entry.ends(self.keep) <= now) as u64
    }

    /// Frees what has ended.
    pub(crate) fn free_ended(&mut self, now: Micros) {
        let ended = usize::try_from(self.ended(now)).unwrap_or(usize::MAX);
        for entry in self.entries.drain(..ended) {
            self.bytes -= entry.message.len() as u64;
        }
    }

    /// When something of it can be freed: its messages, then all of it.
    pub(crate) fn due(&self, now: Micros) -> Micros {
        if self.epoch == 0 {
            return now;
        }
        let all_ended = self.time.plus(self.keep);
        if self.entries.is_empty() {
            all_ended.plus(RETENTION)
        } else {
            all_ended
        }
    }
}

/// Whether what began after that position would still be known.
fn is_recent(origin: Position, now: Micros) -> bool {
    Micros::new(origin.epoch()).plus(RETENTION) > now
}

/// `message` with its position in it.
fn placed(message: &[u8], position: Position) -> Bytes {
    let mut message = message.to_vec();
    crate::events::place_kept(&mut message, position.epoch(), position.offset());
    message.into()
}
