//! All that is written down of a run.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::entry::{Did, decode};
use super::handle::RunState;
use super::workflow::{QUEUES, RunInput, RunOutput};
use crate::clock::Micros;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{JobEnd, JobId, JobRecord, JobState, Queue, ReadFrom};

/// All that is written down of a run: JSON, to be looked at, kept, and taken to where its function is tested.
///
/// Times are microseconds since 1970, by the clock of the home. What entries and messages look like stands in `docs/keyspace.md`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunHistory {
    /// The name of its function.
    pub workflow: String,
    /// What it is called; `None` if it did nothing before it was cancelled.
    pub run: Option<String>,
    /// Of which version of the function it is; `None` if it did nothing before it was over.
    pub version: Option<u32>,
    /// What it was started with; `None` if it did nothing before it was over.
    pub input: Option<Box<RawValue>>,
    /// When it was started; `None` if it is over, but for what failed.
    pub started: Option<Micros>,
    /// How it does.
    pub state: RunState,
    /// What it gave.
    pub result: Option<Box<RawValue>>,
    /// What was done, in the order in which it was over.
    pub entries: Vec<Written>,
    /// What it was told, in the order in which that came.
    pub messages: Vec<Written>,
}

/// An entry of a journal, or a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Written {
    /// When it was written.
    pub when: Micros,
    /// What.
    pub what: Box<RawValue>,
}

impl RunHistory {
    pub(super) async fn read(
        queue: &Queue<RunInput, RunOutput>,
        job: JobId,
    ) -> Result<Option<Self>> {
        let Some(record) = queue.inspect(job).await? else {
            return Ok(None);
        };
        let workflow = queue.name().strip_prefix(QUEUES).unwrap_or_default();
        let mut history = Self::of(workflow, &record)?;
        let (queues, key) = queue.home()?;
        let mut from = ReadFrom::default();
        while let Some(page) = queues.read(key, job, from).await? {
            from.entry += page.entries.len() as u64;
            from.message += page.messages.len() as u64;
            let is_over = page.entries.is_empty() && page.messages.is_empty();
            let is_read = from.entry >= page.length && from.message >= page.told;
            history.entries.extend(written(page.entries)?);
            history.messages.extend(written(page.messages)?);
            if is_over || is_read {
                break;
            }
        }
        history.learn_from_journal();
        Ok(Some(history))
    }

    /// What its job says.
    fn of(workflow: &str, record: &JobRecord<RunInput, RunOutput>) -> Result<Self> {
        let (input, output) = (record.input()?, record.result()?);
        let run = input.as_ref().map(|input| input.run.clone());
        Ok(Self {
            workflow: workflow.to_owned(),
            run: run.or_else(|| output.as_ref().map(|output| output.run.clone())),
            version: input.as_ref().map(|input| input.version),
            input: input.map(|input| input.input),
            started: record.details.as_ref().map(|details| details.queued),
            state: record.state.clone().into(),
            result: output.map(|output| output.value),
            entries: Vec::new(),
            messages: Vec::new(),
        })
    }

    /// What is not kept of a job that is over.
    fn learn_from_journal(&mut self) {
        let first = self
            .entries
            .first()
            .map(|it| decode(it.what.get().as_bytes()));
        if let Some(Ok((_, Did::Begun(begun)))) = first {
            self.run.get_or_insert(begun.run);
            self.version.get_or_insert(begun.version);
            self.input.get_or_insert(begun.input);
        }
    }
}

fn written(lines: Vec<(Micros, Bytes)>) -> Result<Vec<Written>> {
    let written = |(when, line): (Micros, Bytes)| {
        let what = serde_json::from_slice(&line)
            .map_err(|error| Error::new(ErrorKind::Decode).with_source(error))?;
        Ok(Written { when, what })
    };
    lines.into_iter().map(written).collect()
}

/// How many runs of a function there are, by how they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunCounts {
    /// They wait for an instance that does them.
    pub queued: u64,
    /// They wait for a time, or for a signal.
    pub waiting: u64,
    /// An instance does them.
    pub running: u64,
    /// They are over, and it is kept what became of them; those that were cancelled among them.
    pub over: u64,
    /// They have failed, or are parked.
    pub failed: u64,
}

/// A run, as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunSummary {
    /// Identifies it, where nobody knows what it is called.
    pub job: JobId,
    /// What it is called; `None` if that is not known any more: it was cancelled.
    pub run: Option<String>,
    /// How it does.
    pub state: RunState,
    /// When it was started; `None` if it is over, but for what failed.
    pub started: Option<Micros>,
}

impl RunSummary {
    pub(super) fn of(record: &JobRecord<RunInput, RunOutput>) -> Self {
        // What is no run's is listed all the same, for people to look at.
        let input = record.input().ok().flatten();
        let output = record.result().ok().flatten();
        let run = input.map(|input| input.run);
        Self {
            job: record.id,
            run: run.or_else(|| output.map(|output| output.run)),
            state: record.state.clone().into(),
            started: record.details.as_ref().map(|details| details.queued),
        }
    }
}

impl From<JobState> for RunState {
    fn from(state: JobState) -> Self {
        use super::drive::PARKED;
        use super::failure::Failure;
        match state {
            JobState::Ready | JobState::Limited => Self::Queued,
            JobState::Due(until) => Self::Waiting(until),
            JobState::Active { .. } => Self::Running,
            JobState::Ended(JobEnd::Succeeded(_)) => Self::Succeeded,
            JobState::Ended(JobEnd::Dead(why)) => match why.strip_prefix(PARKED) {
                Some(why) => Self::Parked(why.to_owned()),
                None => Self::Failed(Failure::read(&why)),
            },
            JobState::Ended(JobEnd::Cancelled | JobEnd::Expired) => Self::Cancelled,
        }
    }
}
