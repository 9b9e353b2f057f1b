//! What stands in the journal of a run: JSON, for everybody to read.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::failure::Failure;
use super::path::Segment;
use super::workflow::RunInput;

/// One thing that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    /// Where in the function.
    pub(super) at: Cow<'a, [Segment]>,
    /// What.
    pub(super) did: Cow<'a, Did>,
}

/// What was done. Times are microseconds; when it was done the journal says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Did {
    /// The run began: the first entry, of no place.
    Begun(RunInput),
    /// A step is over.
    Step(StepDone),
    /// An attempt at a step failed, and another follows.
    Retry {
        /// Which one, from 1.
        attempt: u32,
        error: Failure,
        /// How much later another follows.
        after: u64,
    },
    /// A time began to pass.
    Sleep { time: u64 },
    /// It is to be waited until then.
    SleepUntil { time: u64 },
    /// It did not pass: the run was asked to stop.
    Stopped { reason: String },
    /// Somebody began to wait for a signal, for so long at most.
    Wait { time: u64 },
    /// A signal was taken.
    Signal {
        /// Which message of the inbox.
        message: u64,
        value: Box<RawValue>,
    },
    /// That signal was not what went on: it is there again for others.
    Returned { message: u64 },
    /// What was waited for did not come in time.
    TimedOut,
    /// Which of several went on.
    Select(u32),
    /// Another run was started.
    Child { run: String },
    /// That was over.
    ChildEnded(Outcome),
    /// The code goes on from here as it is since a change.
    Patched,
}

/// How a step ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StepDone {
    pub(super) outcome: Outcome,
    /// In which attempt, from 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(super) attempt: u32,
    /// How long that took.
    pub(super) took: u64,
    /// The hash of its input, if it said that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<Cow<'static, str>>,
}

/// What came of something.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Ok(Box<RawValue>),
    Err(Failure),
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

impl Did {
    /// What it is, in a word, for people.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Begun(_) => "the beginning",
            Self::Step(_) | Self::Retry { .. } => "a step",
            Self::Sleep { .. } | Self::SleepUntil { .. } | Self::Stopped { .. } => "a sleep",
            Self::Wait { .. } | Self::Signal { .. } | Self::Returned { .. } | Self::TimedOut => {
                "a wait for a signal"
            }
            Self::Select(_) => "a select",
            Self::Child { .. } | Self::ChildEnded(_) => "a child run",
            Self::Patched => "a mark of a change",
        }
    }
}

/// As it is kept.
pub(super) fn encode(at: &[Segment], did: &Did) -> Result<Bytes, serde_json::Error> {
    let entry = Entry {
        at: Cow::Borrowed(at),
        did: Cow::Borrowed(did),
    };
    serde_json::to_vec(&entry).map(Bytes::from)
}

/// As it was before it was kept.
pub(super) fn decode(entry: &[u8]) -> Result<(Vec<Segment>, Did), serde_json::Error> {
    let entry: Entry<'static> = serde_json::from_slice(entry)?;
    Ok((entry.at.into_owned(), entry.did.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::to_raw_value;

    #[test]
    fn an_entry_reads_back_what_it_writes() {
        let at = vec![Segment {
            name: "charge".into(),
            place: 3,
            occurrence: 0,
        }];
        let done = |outcome| {
            Did::Step(StepDone {
                outcome,
                attempt: 2,
                took: 17,
                input: None,
            })
        };
        for (did, text) in [
            (
                done(Outcome::Ok(to_raw_value(&()).unwrap())),
                r#"{"step":{"outcome":{"ok":null},"attempt":2,"took":17}}"#,
            ),
            (
                done(Outcome::Err(Failure::fatal("no"))),
                r#"{"step":{"outcome":{"err":{"kind":"fatal","message":"no"}},"attempt":2,"took":17}}"#,
            ),
            (Did::Sleep { time: 5 }, r#"{"sleep":{"time":5}}"#),
            (
                Did::Signal {
                    message: 1,
                    value: to_raw_value(&[1, 2]).unwrap(),
                },
                r#"{"signal":{"message":1,"value":[1,2]}}"#,
            ),
            (Did::TimedOut, r#""timed_out""#),
            (Did::Select(1), r#"{"select":1}"#),
        ] {
            let entry = encode(&at, &did).unwrap();
            assert_eq!(entry, format!(r#"{{"at":[["charge",3]],"did":{text}}}"#));
            let (path, again) = decode(&entry).unwrap();
            assert_eq!((path, encode(&at, &again).unwrap()), (at.clone(), entry));
        }
    }
}
