//! What a worker has to know of a job beside its input, and the queue need not: one text of bytes, there and back, as a pure
//! function.
//!
//! `input 0`, or `input extras length 1`: the extras are JSON, their length 4 bytes, little-endian. Behind the input, so that
//! this is written to where it stays.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

use super::job::JobId;
use super::options::JobOptions;
use crate::backoff::Backoff;

/// What stands behind the input. What is not there is as the queue's spec has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Extras {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backoff: Option<Pauses>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<String>,
    /// Which job's handler queued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<JobId>,
}

/// A [`Backoff`] as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pauses {
    initial: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
}

impl Extras {
    /// Those that options ask for.
    pub(super) fn of(options: &JobOptions, parent: Option<JobId>) -> Self {
        Self {
            backoff: options.backoff.map(Pauses::from),
            timeout: options.timeout,
            tags: options.tags.clone(),
            parent,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts them behind the input that is in the buffer.
    pub(super) fn close(&self, buffer: &mut Vec<u8>) {
        if self.is_empty() {
            return buffer.push(0);
        }
        let text = serde_json::to_vec(self).expect("texts, numbers and lists are JSON");
        let length = u32::try_from(text.len()).expect("checked options are short");
        buffer.extend(text);
        buffer.put_u32_le(length);
        buffer.push(1);
    }
}

/// What is kept, taken apart; `None` if nobody of us wrote it.
pub(super) fn open(kept: &Bytes) -> Option<(Extras, Bytes)> {
    match kept.split_last()? {
        (0, input) => Some((Extras::default(), kept.slice(..input.len()))),
        (1, rest) => {
            let (rest, length) = rest.split_last_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let ends = rest.len().checked_sub(length)?;
            let extras = serde_json::from_slice(&rest[ends..]).ok()?;
            Some((extras, kept.slice(..ends)))
        }
        _ => None,
    }
}

impl From<Backoff> for Pauses {
    fn from(it: Backoff) -> Self {
        Self {
            initial: it.initial,
            factor: it.factor,
            max: it.max,
            jitter: it.jitter,
        }
    }
}

impl From<Pauses> for Backoff {
    fn from(it: Pauses) -> Self {
        Self {
            initial: it.initial,
            factor: it.factor,
            max: it.max,
            jitter: it.jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(extras: &Extras, input: &[u8]) -> Bytes {
        let mut kept = input.to_vec();
        extras.close(&mut kept);
        kept.into()
    }

    #[test]
    fn a_job_with_nothing_of_its_own_costs_a_byte() {
        assert_eq!(sealed(&Extras::default(), b"{}"), "{}\0");
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let options = JobOptions::new()
            .backoff(Backoff::DEFAULT)
            .timeout(Duration::from_millis(1500))
            .tags(["a", "ü"]);
        for extras in [
            Extras::default(),
            Extras::of(&options, None),
            Extras::of(&options, Some(JobId::random())),
        ] {
            let (read, input) = open(&sealed(&extras, b"input")).unwrap();
            assert_eq!((read, &input[..]), (extras, &b"input"[..]));
        }
    }

    #[test]
    fn what_a_later_version_adds_is_no_obstacle() {
        let kept = Bytes::from_static(b"input{\"later\":[1]}\x0d\0\0\0\x01");
        assert_eq!(
            open(&kept),
            Some((Extras::default(), Bytes::from_static(b"input")))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_job_or_none(kept in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = open(&kept.into());
        }
    }
}
