//! What happens in a queue, as a batch on its channel: a pure function of it, there and back.

use bytes::{Bytes, BytesMut};

use super::job::JobId;
use crate::clock::Micros;

/// Something that has become of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct JobEvent {
    /// Of which job.
    pub id: JobId,
    /// When, by the clock of the home.
    pub at: Micros,
    /// What.
    pub kind: JobEventKind,
}

/// What may become of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobEventKind {
    /// It was queued, or a debounced push changed when it is to be done.
    Queued {
        /// When it is due; `None`: it is ready at once.
        due: Option<Micros>,
    },
    /// A worker has it.
    Started {
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// It says how far it is.
    Progress,
    /// It is to be delivered again, and this was no attempt.
    Deferred {
        /// When it is due.
        until: Micros,
    },
    /// An attempt failed, or its lease ran out, and it is to be tried again.
    Failed {
        /// Why.
        error: String,
        /// When it is due.
        retry: Micros,
    },
    /// It is done.
    Succeeded,
    /// It failed for good.
    Dead {
        /// Why, at last.
        error: String,
    },
    /// It was cancelled, or removed while it waited.
    Cancelled,
    /// Nobody began it in time.
    Expired,
    /// It was dead, and is ready again.
    Redriven,
    /// It was over, and an operator took it away.
    Removed,
    /// The group that began with it is over.
    GroupEnded {
        /// How many of its jobs are done.
        succeeded: u64,
        /// How many failed for good.
        dead: u64,
        /// How many were cancelled.
        cancelled: u64,
        /// How many nobody began in time.
        expired: u64,
    },
}

/// What happened in one step, as it is announced to who listens.
///
/// As bytes: its number and when it was, as little-endian doubles; then of each event a letter, the 16 bytes of the job's id, how many bytes
/// follow (4, little-endian), and those.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends make it")]
pub struct EventBatch {
    /// One more than that of the batch before it, unless something was not announced in between. Below 2^53.
    pub number: u64,
    /// What happened, all of it at the same time.
    pub events: Vec<JobEvent>,
}

/// The letter, the id, and how much follows.
const HEAD: usize = 21;

impl EventBatch {
    /// As it is announced.
    ///
    /// # Panics
    /// If an error is longer than 4 GiB.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let at = self.events.first().map_or_else(Micros::default, |it| it.at);
        let mut batch = BytesMut::new();
        batch.extend(double(self.number));
        batch.extend(double(at.get()));
        for event in &self.events {
            let (letter, text) = event.kind.encode();
            let length = u32::try_from(text.len()).expect("errors are bounded");
            batch.extend([letter]);
            batch.extend(event.id.bytes());
            batch.extend(length.to_le_bytes());
            batch.extend(text);
        }
        batch.freeze()
    }

    /// Reads the form that [`encode`](Self::encode) writes; `None` for anything else. Events of a kind that only a later version knows are
    /// left out.
    #[must_use]
    pub fn decode(batch: &[u8]) -> Option<Self> {
        let (number, rest) = whole(batch)?;
        let (at, mut rest) = whole(rest)?;
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (head, behind) = rest.split_at_checked(HEAD)?;
            let id = JobId::from_bytes(head[1..17].try_into().ok()?);
            let length = u32::from_le_bytes(head[17..].try_into().ok()?);
            let (text, next) = behind.split_at_checked(length.try_into().ok()?)?;
            let at = Micros::new(at);
            let kind = JobEventKind::decode(head[0], text)?;
            events.extend(kind.map(|kind| JobEvent { id, at, kind }));
            rest = next;
        }
        Some(Self { number, events })
    }
}

impl JobEventKind {
    fn encode(&self) -> (u8, Vec<u8>) {
        let timed = |at: Option<Micros>, text: &str| {
            let at = double(at.map_or(0, Micros::get));
            [&at[..], text.as_bytes()].concat()
        };
        match self {
            Self::Queued { due } => (b'Q', timed(*due, "")),
            Self::Started { attempt } => (b'G', attempt.to_le_bytes().to_vec()),
            Self::Progress => (b'P', Vec::new()),
            Self::Deferred { until } => (b'R', timed(Some(*until), "")),
            Self::Failed { error, retry } => (b'F', timed(Some(*retry), error)),
            Self::Succeeded => (b'S', Vec::new()),
            Self::Dead { error } => (b'D', error.as_bytes().to_vec()),
            Self::Cancelled => (b'C', Vec::new()),
            Self::Expired => (b'E', Vec::new()),
            Self::Redriven => (b'B', Vec::new()),
            Self::Removed => (b'X', Vec::new()),
            Self::GroupEnded {
                succeeded,
                dead,
                cancelled,
                expired,
            } => (
                b'O',
                [succeeded, dead, cancelled, expired]
                    .map(|it| double(*it))
                    .concat(),
            ),
        }
    }

    /// `Some(None)`: of a later version.
    #[expect(
        clippy::option_option,
        reason = "not known is not the same as not understood"
    )]
    fn decode(letter: u8, text: &[u8]) -> Option<Option<Self>> {
        let nothing = |kind| text.is_empty().then_some(kind);
        let error = |text: &[u8]| std::str::from_utf8(text).ok().map(str::to_owned);
        let kind = match letter {
            b'Q' => {
                let (due, []) = whole(text)? else { return None };
                let due = (due > 0).then_some(Micros::new(due));
                Some(Self::Queued { due })
            }
            b'G' => {
                let attempt = u32::from_le_bytes(text.try_into().ok()?);
                Some(Self::Started { attempt })
            }
            b'P' => nothing(Self::Progress),
            b'R' => {
                let (until, []) = whole(text)? else {
                    return None;
                };
                let until = Micros::new(until);
                Some(Self::Deferred { until })
            }
            b'F' => {
                let (retry, text) = whole(text)?;
                let (error, retry) = (error(text)?, Micros::new(retry));
                Some(Self::Failed { error, retry })
            }
            b'S' => nothing(Self::Succeeded),
            b'D' => error(text).map(|error| Self::Dead { error }),
            b'C' => nothing(Self::Cancelled),
            b'E' => nothing(Self::Expired),
            b'B' => nothing(Self::Redriven),
            b'X' => nothing(Self::Removed),
            b'O' => {
                let (succeeded, text) = whole(text)?;
                let (dead, text) = whole(text)?;
                let (cancelled, text) = whole(text)?;
                let (expired, []) = whole(text)? else {
                    return None;
                };
                Some(Self::GroupEnded {
                    succeeded,
                    dead,
                    cancelled,
                    expired,
                })
            }
            _ => return Some(None),
        };
        kind.map(Some)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times and counts are below 2^53"
)]
const fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
}

/// A whole number, and what is behind it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "it is refused if it is not the same again"
)]
fn whole(text: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = text.split_first_chunk()?;
    let number = f64::from_le_bytes(*number);
    let is_whole = number.to_bits() == (number as u64 as f64).to_bits();
    (is_whole && number < 9_007_199_254_740_992.0).then_some((number as u64, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = JobEventKind> {
        let time = || (1..1_u64 << 53).prop_map(Micros::new);
        let count = || 0..1_u64 << 53;
        prop_oneof![
            proptest::option::of(time()).prop_map(|due| JobEventKind::Queued { due }),
            any::<u32>().prop_map(|attempt| JobEventKind::Started { attempt }),
            time().prop_map(|until| JobEventKind::Deferred { until }),
            (".*", time()).prop_map(|(error, retry)| JobEventKind::Failed { error, retry }),
            ".*".prop_map(|error| JobEventKind::Dead { error }),
            proptest::sample::select(vec![
                JobEventKind::Progress,
                JobEventKind::Succeeded,
                JobEventKind::Cancelled,
                JobEventKind::Expired,
                JobEventKind::Redriven,
                JobEventKind::Removed,
            ]),
            (count(), count(), count(), count()).prop_map(
                |(succeeded, dead, cancelled, expired)| {
                    JobEventKind::GroupEnded {
                        succeeded,
                        dead,
                        cancelled,
                        expired,
                    }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_batch_reads_back_what_it_writes(
            number in 0..1_u64 << 53,
            at in 0..1_u64 << 53,
            events in proptest::collection::vec((any::<[u8; 16]>(), kind()), 1..9),
        ) {
            let events = events.into_iter().map(|(id, kind)| JobEvent {
                id: JobId::from_bytes(id),
                at: Micros::new(at),
                kind,
            });
            let batch = EventBatch { number, events: events.collect() };
            prop_assert_eq!(EventBatch::decode(&batch.encode()), Some(batch));
        }

        #[test]
        fn any_bytes_are_a_batch_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..99), letter in "[QGPRFSDCEBXO?]") {
            let _ = EventBatch::decode(&bytes);
            // Behind a head that is sound.
            let head = [&double(1)[..], &double(2), letter.as_bytes(), &[7; 16]].concat();
            let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
            let batch = [&head[..], &length, &bytes].concat();
            if let Some(it) = EventBatch::decode(&batch).filter(|it| !it.events.is_empty()) {
                prop_assert_eq!(&it.encode()[..], &batch[..]);
            }
        }
    }

    /// What a later version says of others is no reason not to hear of this one.
    #[test]
    fn what_a_later_version_says_is_left_out() {
        let at = Micros::new(5);
        let event = JobEvent {
            id: JobId::from_bytes([1; 16]),
            at,
            kind: JobEventKind::Succeeded,
        };
        let batch = EventBatch {
            number: 3,
            events: vec![event],
        };
        let later = [b"?", &[2; 16][..], &3_u32.to_le_bytes(), b"new"].concat();
        let told = [&batch.encode()[..], &later].concat();
        assert_eq!(EventBatch::decode(&told), Some(batch));
    }
}
