//! What is put into the inbox of a run: JSON, for everybody to write.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entry::Outcome;
use super::workflow::Parent;
use crate::queue::JobId;

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// What no other is called: one that came twice counts once.
    pub(super) id: Cow<'static, str>,
    /// What it says.
    pub(super) says: Says,
}

/// What a message says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Says {
    /// Something that the run may wait for.
    Signal { name: String, value: Box<RawValue> },
    /// It is to stop, and to undo what it did.
    Cancel { reason: String },
    /// It is to wait where it is.
    Pause,
    /// It may go on.
    Resume,
    /// That one waits for it, too.
    Parent(Parent),
    /// A run that it started is over.
    Ended { job: JobId, outcome: Outcome },
}

impl Message {
    /// A new one.
    pub(super) fn new(says: Says) -> Self {
        let id = format!("{:032x}", rand::random::<u128>());
        Self {
            id: id.into(),
            says,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let json = serde_json::to_vec(self);
        json.expect("texts and raw values are JSON").into()
    }

    pub(super) fn decode(message: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(message)
    }
}
