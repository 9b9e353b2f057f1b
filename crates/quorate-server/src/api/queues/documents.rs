//! What is said of queues and their jobs.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use quorate::Micros;
use quorate::queue::{
    JobEnd, JobPlace, JobRecord, JobState, LogLine, MemberOf, QueueStats, QueueTotals, Stray,
    Unique, UniqueScope,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::raw::RawInput;
use crate::json::shown;

/// Where jobs are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// They wait for a worker: the next one first.
    Ready,
    /// They wait for a time: the soonest first.
    Due,
    /// They wait until their fairness group has room.
    Limited,
    /// Workers have them.
    Active,
    /// They are over, and not dead.
    Ended,
    /// They failed for good: the last one first.
    Dead,
}

impl From<Place> for JobPlace {
    fn from(place: Place) -> Self {
        match place {
            Place::Ready => Self::Ready,
            Place::Due => Self::Due,
            Place::Limited => Self::Limited,
            Place::Active => Self::Active,
            Place::Ended => Self::Ended,
            Place::Dead => Self::Dead,
        }
    }
}

/// Where a job is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateWord {
    /// It waits for a worker.
    Ready,
    /// It waits for a time.
    Due,
    /// It waits until its fairness group has room.
    Limited,
    /// A worker has it.
    Active,
    /// It is done.
    Succeeded,
    /// It failed for good.
    Dead,
    /// It was cancelled.
    Cancelled,
    /// Nobody began it in time.
    Expired,
    /// A state that this server does not know.
    Unknown,
}

impl StateWord {
    /// Whether nothing more becomes of a job.
    pub(crate) const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Dead | Self::Cancelled | Self::Expired
        )
    }
}

pub(crate) const fn state_word(state: &JobState) -> StateWord {
    match state {
        JobState::Ready => StateWord::Ready,
        JobState::Due(_) => StateWord::Due,
        JobState::Limited => StateWord::Limited,
        JobState::Active { .. } => StateWord::Active,
        JobState::Ended(JobEnd::Succeeded(_)) => StateWord::Succeeded,
        JobState::Ended(JobEnd::Dead(_)) => StateWord::Dead,
        JobState::Ended(JobEnd::Cancelled) => StateWord::Cancelled,
        JobState::Ended(JobEnd::Expired) => StateWord::Expired,
        _ => StateWord::Unknown,
    }
}

/// A queue in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueDocument {
    pub(crate) queue: String,
    /// How many wait for a worker.
    ready: u64,
    /// How many wait for a time.
    due: u64,
    /// How many wait until their fairness groups have room.
    limited: u64,
    /// How many workers have.
    active: u64,
    /// How many are over, and not dead, whose ends are known.
    ended: u64,
    /// How many failed for good.
    dead: u64,
    /// How many workers are idle.
    idle: u64,
    /// Whether nothing is delivered.
    paused: bool,
    /// For how long the job has waited that is next, since it was queued, in milliseconds.
    waited_ms: Option<u64>,
    /// In how many milliseconds the next is due.
    next_due_ms: Option<u64>,
    /// How many groups that began here are not over.
    open_groups: u64,
    /// How much is to be brought to other queues: that a job of a group has ended, or that one is to be queued.
    effects: u64,
    /// For how long the next of that has waited for somebody to bring it, in milliseconds; `null` if somebody is bringing all of it.
    effects_waited_ms: Option<u64>,
    totals: TotalsDocument,
}

/// What has happened so far, for as long as that is remembered: without jobs, that is 7 days.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TotalsDocument {
    /// Jobs that were queued.
    pushed: u64,
    /// Jobs that are done.
    succeeded: u64,
    /// Deliveries that failed, or of which the lease ran out.
    failed: u64,
    /// Jobs that failed for good.
    dead: u64,
    /// Jobs that were cancelled.
    cancelled: u64,
    /// Jobs that nobody began in time.
    expired: u64,
    /// Deliveries that were deferred.
    deferred: u64,
}

impl QueueDocument {
    pub(crate) fn new(queue: String, stats: &QueueStats) -> Self {
        Self {
            queue,
            ready: stats.ready,
            due: stats.due,
            limited: stats.limited,
            active: stats.active,
            ended: stats.ended,
            dead: stats.dead,
            idle: stats.idle,
            paused: stats.paused,
            waited_ms: stats.waited.map(millis),
            next_due_ms: stats.next_due.map(millis),
            open_groups: stats.open_groups,
            effects: stats.effects,
            effects_waited_ms: stats.effects_waited.map(millis),
            totals: stats.totals.into(),
        }
    }
}

impl From<QueueTotals> for TotalsDocument {
    fn from(totals: QueueTotals) -> Self {
        Self {
            pushed: totals.pushed,
            succeeded: totals.succeeded,
            failed: totals.failed,
            dead: totals.dead,
            cancelled: totals.cancelled,
            expired: totals.expired,
            deferred: totals.deferred,
        }
    }
}

/// A job with what is known of it. What is not known, or was not said, is left out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct JobDocument {
    pub(crate) id: String,
    pub(crate) state: StateWord,
    /// Of one that is due: when.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    /// Of an active one: whether it was asked to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelling: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_at: Option<String>,
    /// What its handler gets, if that is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input: Option<Box<RawValue>>,
    /// What its handler gets, in base64, if that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_base64: Option<String>,
    /// What its handler returned, if that is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    result: Option<Box<RawValue>>,
    /// What its handler returned, in base64, if that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_base64: Option<String>,
    /// Why it is dead, or why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How many attempts failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fairness_group: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    /// Which job queued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// The group it belongs to, if that does not begin with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<UniqueDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_result_ms: Option<u64>,
    /// How far it is, or was: as its handler says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) progress: Option<Box<RawValue>>,
    /// The last lines of its log. A list has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<LogDocument>,
    /// How many entries its journal has, if it has any. A list does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    /// How many messages its inbox has, if it has any. A list does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
}

/// Which job group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct GroupName {
    /// The queue of its first job.
    queue: String,
    /// The id of its first job.
    id: String,
}

impl From<&MemberOf> for GroupName {
    fn from(it: &MemberOf) -> Self {
        Self {
            queue: it.queue.clone(),
            id: it.group.to_string(),
        }
    }
}

/// Which other pushes are the same job.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct UniqueDocument {
    key: String,
    /// `unique`, `idempotency_key`, `throttle` or `debounce`.
    scope: &'static str,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LogDocument {
    /// When it was written.
    at: String,
    /// In which attempt.
    attempt: u32,
    text: String,
}

impl JobDocument {
    /// Without what is told by itself: how far it is, and its log.
    pub(crate) fn brief(&self) -> Self {
        Self {
            progress: None,
            log: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether it is where it was before, as often tried, and not asked to stop since.
    pub(crate) fn is_where(&self, last: &Self) -> bool {
        let place = |job: &Self| (job.state, job.failed_attempts, job.cancelling);
        place(self) == place(last) && self.due_at == last.due_at
    }
}

impl From<&JobRecord<RawInput, Bytes>> for JobDocument {
    fn from(job: &JobRecord<RawInput, Bytes>) -> Self {
        let details = job.details.as_ref();
        let (input, input_base64) = details.map(|it| shown(&it.input)).unwrap_or_default();
        let (result, result_base64) = job.result_bytes().map(|it| shown(it)).unwrap_or_default();
        let failed = details.and_then(|it| it.error.clone());
        let error = match &job.state {
            JobState::Ended(JobEnd::Dead(why)) => Some(why.clone()),
            _ => failed,
        };
        let group = details.map(|it| it.group.clone());
        Self {
            id: job.id.to_string(),
            state: state_word(&job.state),
            due_at: match job.state {
                JobState::Due(at) => Some(time(at)),
                _ => None,
            },
            cancelling: match job.state {
                JobState::Active { cancelled } => Some(cancelled),
                _ => None,
            },
            queued_at: details.map(|it| time(it.queued)),
            input,
            input_base64,
            result,
            result_base64,
            error,
            failed_attempts: details.map(|it| it.failed),
            max_attempts: details.map(|it| it.attempts),
            priority: details.map(|it| it.priority),
            fairness_group: group.filter(|group| !group.is_empty()),
            tags: job.tags().to_vec(),
            timeout_ms: job.timeout().map(millis),
            parent: job.parent().map(|id| id.to_string()),
            group: details.and_then(|it| it.member_of.as_ref()).map(Into::into),
            unique: details.and_then(|it| it.unique.as_ref()).map(Into::into),
            expires_at: details.and_then(|it| it.expires).map(time),
            keep_result_ms: details.map(|it| millis(it.keep)),
            progress: job.progress.as_ref().and_then(|it| shown(it).0),
            log: job.log.iter().map(Into::into).collect(),
            entries: Some(job.entries).filter(|it| *it > 0),
            messages: Some(job.messages).filter(|it| *it > 0),
        }
    }
}

impl From<&Unique> for UniqueDocument {
    fn from(unique: &Unique) -> Self {
        let scope = match unique.scope {
            UniqueScope::UntilEnded => "unique",
            UniqueScope::UntilForgotten => "idempotency_key",
            UniqueScope::Throttle(_) => "throttle",
            UniqueScope::Debounce => "debounce",
            _ => "unknown",
        };
        Self {
            key: unique.key.clone(),
            scope,
        }
    }
}

impl From<&LogLine> for LogDocument {
    fn from(line: &LogLine) -> Self {
        Self {
            // To the microsecond, by which lines that say the same are told apart.
            at: format!("{:.6}", timestamp(line.at)),
            attempt: line.attempt,
            text: line.text.clone(),
        }
    }
}

/// Something that does not belong where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StrayDocument {
    /// `unplaced`, `twice`, `member`, `result`, `body`, `tries`, `note`, `journal`, `cancelled`, `effect`, `group`, `aside`, `counted`,
    /// `key` or `count`.
    kind: &'static str,
    /// The job, the group, the uniqueness key, or what was counted wrong.
    about: String,
}

impl From<&Stray> for StrayDocument {
    fn from(stray: &Stray) -> Self {
        let (kind, about) = match stray {
            Stray::Unplaced(id) => ("unplaced", id.to_string()),
            Stray::Twice(id) => ("twice", id.to_string()),
            Stray::Member(id) => ("member", id.to_string()),
            Stray::Result(id) => ("result", id.to_string()),
            Stray::Body(id) => ("body", id.to_string()),
            Stray::Tries(id) => ("tries", id.to_string()),
            Stray::Note(id) => ("note", id.to_string()),
            Stray::Journal(id) => ("journal", id.to_string()),
            Stray::Cancelled(id) => ("cancelled", id.to_string()),
            Stray::Effect(id) => ("effect", id.to_string()),
            Stray::Group(id) => ("group", id.to_string()),
            Stray::Aside(id) => ("aside", id.to_string()),
            Stray::Counted(id) => ("counted", id.to_string()),
            Stray::Key(key) => ("key", key.clone()),
            Stray::Count(count) => ("count", count.clone()),
            other => ("unknown", format!("{other:?}")),
        };
        Self { kind, about }
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A moment of the home's clock, for people and programs.
pub(crate) fn time(at: Micros) -> String {
    format!("{:.3}", timestamp(at))
}

fn timestamp(at: Micros) -> Timestamp {
    let micros = i64::try_from(at.get()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}
