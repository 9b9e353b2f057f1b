//! Queues whose types nobody here knows.

use bytes::Bytes;
use quorate::{Codec, Fleet, JobOptions, Queue, QueueSpec};

/// A job's input as it is kept, and what the job has of its own.
#[derive(Debug)]
pub(crate) struct RawInput {
    pub(crate) bytes: Bytes,
    pub(crate) options: JobOptions,
}

/// A queue with inputs and results as they are kept.
pub(crate) type RawQueue = Queue<RawInput, Bytes>;

/// Only the bytes are kept of an input: the options are said at the push.
const BYTES: Codec<RawInput> = Codec::custom(
    "bytes with options",
    "application/octet-stream",
    |input| Ok(input.bytes.clone()),
    |bytes| Ok(bytes.clone().into()),
);

impl From<Bytes> for RawInput {
    fn from(bytes: Bytes) -> Self {
        let options = JobOptions::new();
        Self { bytes, options }
    }
}

/// The queue of this name, with inputs and results of at most so many bytes.
///
/// # Errors
/// `InvalidInput` if the name breaks the rule for queues.
pub(crate) fn open(fleet: &Fleet, name: &str, max_bytes: usize) -> quorate::Result<RawQueue> {
    let spec = QueueSpec::try_with_codecs(name, BYTES, Codec::bytes())?;
    // So that jobs pushed together may each have options of their own.
    let spec = spec.options(|input: &RawInput| input.options.clone());
    Ok(fleet.queue(&spec.max_bytes(max_bytes)))
}
