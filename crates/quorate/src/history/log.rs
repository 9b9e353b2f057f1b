//! What the history of one topic does: pure functions of its state and the time, mirrored by
//! `scripts/`.

mod view;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::Position;
use super::group::Group;
use crate::clock::{Micros, whole_micros};

/// How long what is known of an idle history (its epoch, its last offset) outlives its messages. Within
/// it a reader that comes back is told exactly what it missed.
pub(super) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

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
    /// For how long, by the home's clock: at least this, and at most until those before it have ended.
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
        /// The offset of the first of them. Of those that cannot be read, too, it is known where they
        /// stand.
        first: u64,
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
    /// When the last message ends.
    ends: Micros,
    bytes: u64,
    entries: VecDeque<Entry>,
    /// Its consumer groups, by name.
    pub(super) groups: HashMap<String, Group>,
}

#[derive(Clone, Debug)]
struct Entry {
    at: Micros,
    /// Not before the message before it does, also when the topic's bound was changed: what has ended is
    /// always a beginning of the history, and never comes back.
    ends: Micros,
    id: [u8; 16],
    message: Bytes,
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
        self.ends = self.ends.max(now.plus(keep.time));
        self.bytes += announce.len() as u64;
        self.entries.push_back(Entry {
            at: now,
            ends: self.ends,
            id,
            message: announce.clone(),
        });
        self.trim(now, keep);
        AppendReply::Appended { position, announce }
    }

    fn trim(&mut self, now: Micros, keep: Keep) {
        while self.entries.len() > 1
            && let Some(oldest) = self.entries.front()
            && (self.entries.len() > keep.messages as usize
                || self.bytes > keep.bytes
                || oldest.ends <= now)
        {
            self.bytes -= oldest.message.len() as u64;
            self.entries.pop_front();
        }
    }

    /// Whether the message with this id was appended at most `ago` before `now`; `None`: it was not.
    fn find(&self, now: Micros, id: [u8; 16], ago: Duration) -> Option<AppendReply> {
        let since = Micros::new(now.get().saturating_sub(whole_micros(ago)));
        let mut looked_at = 0;
        let recent = self.entries.iter().rev().zip((1..=self.last).rev());
        for (entry, offset) in recent.take(MAX_SCAN) {
            // What has ended is as good as gone.
            if entry.ends <= now {
                break;
            }
            if entry.at < since {
                return None;
            }
            if entry.id == id {
                let position = Position::of(self.epoch, offset, id);
                return Some(AppendReply::Repeated { position });
            }
            looked_at += 1;
        }
        // All that can be looked at came after the first attempt: was there more?
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
        let kept_from = self.kept_from(now);
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
        Replay::Page {
            messages: page.map(|entry| entry.message.clone()).collect(),
            first: start,
            top,
        }
    }

    fn read_nothing(&self, now: Micros, from: From) -> Replay {
        let top = Position::new(now.get(), 0, 0);
        match from {
            From::After(position) if !(position.is_origin() && is_recent(position, now)) => {
                Replay::Lost { top }
            }
            _ => Replay::Page {
                messages: Vec::new(),
                first: 1,
                top,
            },
        }
    }

    /// The offset that follows a position, if that position is of this history.
    fn next_after(&self, now: Micros, position: Position) -> Option<u64> {
        if position.is_origin() {
            // There was nothing then, and whatever began since is still known: so all of it is new.
            let before = position.epoch() <= self.epoch && is_recent(position, now);
            // The beginning of this very history, however long ago that was.
            let since = before || position.epoch() == self.epoch;
            return since.then_some(1);
        }
        if position.epoch() != self.epoch || position.offset() > self.last {
            return None;
        }
        let same = match self.entry(now, position.offset()) {
            // Not known to who has the position.
            _ if position.mark() == 0 => true,
            _ if position.offset() == self.last => position.mark() == self.mark,
            Some(entry) => Position::of(self.epoch, position.offset(), entry.id) == position,
            // No longer kept, to be compared; what follows it may be.
            None => true,
        };
        same.then_some(position.offset() + 1)
    }

    /// The message with this offset, if it is kept.
    fn entry(&self, now: Micros, offset: u64) -> Option<&Entry> {
        let at = usize::try_from(offset.checked_sub(self.first())?).ok()?;
        self.entries.get(at).filter(|entry| entry.ends > now)
    }

    /// The offset of the oldest entry, or of the next message if there is none.
    fn first(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }

    /// How many entries have ended.
    fn ended(&self, now: Micros) -> u64 {
        self.entries.partition_point(|entry| entry.ends <= now) as u64
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: PageLimit = PageLimit {
        messages: u32::MAX,
        bytes: u64::MAX,
    };

    fn id(number: u64) -> [u8; 16] {
        let mut id = [1; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn message(number: u64, size: usize) -> Vec<u8> {
        let mut message = vec![0; 29 + size];
        message.extend_from_slice(&number.to_be_bytes());
        message
    }

    fn number(message: &Bytes) -> u64 {
        u64::from_be_bytes(message[message.len() - 8..].try_into().unwrap())
    }

    fn append(log: &mut Log, now: u64, number: u64, keep: Keep) -> Position {
        match log.append(
            Micros::new(now),
            id(number),
            &message(number, 0),
            keep,
            None,
        ) {
            AppendReply::Appended { position, .. } => position,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        /// Reading after any position that was ever handed out gives exactly what followed it, or says
        /// that it cannot; and it can while the bounds allow.
        #[test]
        fn a_read_is_complete_or_lost(
            steps in proptest::collection::vec((0_u64..40, 0_usize..200), 1..60),
            time in 1_u64..400, messages in 1_u32..20, bytes in 1_u64..4000, page in 1_u32..7,
        ) {
            let keep = Keep { time: Duration::from_micros(time), messages, bytes };
            let mut log = Log::default();
            let (mut now, mut positions) = (1_000_u64, Vec::new());
            for (sent, (pause, size)) in steps.iter().enumerate() {
                now += pause;
                let (at, sent) = (Micros::new(now), sent as u64);
                let reply = log.append(at, id(sent), &message(sent, *size), keep, None);
                let AppendReply::Appended { position, announce } = reply else { panic!("{reply:?}") };
                prop_assert_eq!(&announce[21..29], &(sent + 1).to_le_bytes()[..]);
                positions.push((position, at, announce.len() as u64));
                prop_assert!(log.entries.len() <= messages as usize);
                prop_assert!(log.bytes <= bytes || log.entries.len() == 1);
                prop_assert_eq!(log.bytes, log.entries.iter().map(|it| it.message.len() as u64).sum::<u64>());
            }
            for (index, (position, ..)) in positions.iter().enumerate() {
                let limit = PageLimit { messages: page, bytes: u64::MAX };
                let following = &positions[index + 1..];
                let fits = following.len() <= messages as usize
                    && following.iter().map(|it| it.2).sum::<u64>() <= bytes
                    && following.first().is_none_or(|it| it.1.plus(keep.time) > Micros::new(now));
                match log.read(Micros::new(now), From::After(*position), limit) {
                    Replay::Lost { top } => {
                        prop_assert!(!fits);
                        prop_assert_eq!(top, positions.last().unwrap().0);
                    }
                    Replay::Page { messages, first, .. } => {
                        prop_assert_eq!(first, position.offset() + 1);
                        let expected = (index as u64 + 1..positions.len() as u64).take(page as usize);
                        let read = messages.iter().map(number).collect::<Vec<_>>();
                        prop_assert_eq!(read, expected.collect::<Vec<_>>());
                    }
                }
            }
        }

        /// However often an append is repeated, and whatever came in between: once, or not told.
        #[test]
        fn a_repeated_append_is_applied_once(
            before in 0_u64..5, between in 0_u64..40, messages in 1_u32..30,
        ) {
            let keep = Keep { time: Duration::from_secs(1), messages, bytes: u64::MAX };
            let mut log = Log::default();
            for number in 0..before {
                append(&mut log, 10, number, keep);
            }
            let first = append(&mut log, 20, 100, keep);
            for number in 200..200 + between {
                append(&mut log, 30, number, keep);
            }
            let again = Some(Duration::from_micros(25));
            let reply = log.append(Micros::new(40), id(100), &message(100, 0), keep, again);
            if between < messages.into() {
                prop_assert_eq!(reply, AppendReply::Repeated { position: first });
            } else {
                prop_assert_eq!(reply, AppendReply::Inconclusive);
            }
        }
    }

    const KEEP: Keep = Keep {
        time: Duration::from_secs(1),
        messages: 100,
        bytes: 1 << 20,
    };

    #[test]
    fn what_was_not_appended_is_when_repeated() {
        let mut log = Log::default();
        append(&mut log, 10, 1, KEEP);
        let again = Some(Duration::from_micros(25));
        let reply = log.append(Micros::new(20), id(2), &message(2, 0), KEEP, again);
        assert!(matches!(reply, AppendReply::Appended { position, .. } if position.offset() == 2));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_reorder() {
        let mut log = Log::default();
        append(&mut log, 2_000_000, 1, KEEP);
        append(&mut log, 1_000_000, 2, KEEP);
        let Replay::Page { messages, .. } = log.read(Micros::new(2_500_000), From::Beginning, ALL)
        else {
            panic!("nothing was lost")
        };
        assert_eq!(messages.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_has_ended_is_freed_and_the_rest_remembered() {
        let mut log = Log::default();
        let last = append(&mut log, 1_000_000, 1, KEEP);
        assert_eq!(log.due(Micros::new(1_000_000)), Micros::new(2_000_000));
        log.free_ended(Micros::new(2_000_000));
        assert_eq!((log.entries.len(), log.bytes), (0, 0));
        assert_eq!(
            log.due(Micros::new(2_000_000)),
            Micros::new(2_000_000).plus(RETENTION)
        );
        let read = log.read(Micros::new(9_000_000), From::After(last), ALL);
        assert_eq!(
            read,
            Replay::Page {
                messages: Vec::new(),
                first: 2,
                top: last
            }
        );
    }

    #[test]
    fn what_is_no_message_is_kept_as_it_is() {
        let mut log = Log::default();
        for text in [&b""[..], b"short"] {
            assert!(matches!(
                log.append(Micros::new(1), id(1), text, KEEP, None),
                AppendReply::Appended { announce, .. } if announce == text
            ));
        }
    }
}
