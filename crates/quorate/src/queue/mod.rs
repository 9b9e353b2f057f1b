//! Queues: jobs that survive the instance that took them.
//!
//! A job is pushed with a [`QueueSpec`], delivered to one [`Worker`] at a time under a lease, and delivered again until it is done, has
//! had as many attempts as it may, or is cancelled. What becomes of it is kept for a while, for any instance to wait for.

mod all;
mod ask;
mod backlog;
mod bring;
mod check;
mod claim;
mod ear;
mod envelope;
mod events;
mod fairness;
mod firing;
mod fsck;
mod group;
mod hand;
mod handle;
mod happened;
mod job;
mod job_group;
mod journal;
mod journaling;
mod leave;
mod limits;
mod list;
mod memory;
mod news;
mod note;
mod noting;
mod operate;
mod options;
mod port;
mod probes;
mod push;
mod queues;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod result;
mod runs;
mod schedule;
mod settle;
mod spec;
mod state;
mod timetable;
mod unique;
mod view;
mod watch;
mod work;
mod worker;

pub use crate::scan::{Scan, ScanCursor, ScanPage};
pub use all::AllQueues;
pub use ask::{
    Ask, MAX_ERROR, MAX_GROUP, MAX_QUEUE, MAX_TIME, MOST_AT_ONCE, Pushed, Removed, Renewed,
    Started, Turn, WorkerId,
};
pub use backlog::Backlog;
pub use check::FsckQueue;
pub use claim::{ClaimJobs, Claimed, Receipt};
pub(crate) use ear::JobWaiter;
pub use events::{QueueEvent, QueueEvents};
pub use fairness::MOST_PRIORITY;
pub use firing::{Fired, Firing, KEEP_SCHEDULES};
pub use fsck::{FsckPage, Stray};
pub use group::{
    BRING_LEASE, Bring, Condition, Effect, EffectName, Gate, GroupView, Left, MAX_VALUE,
    MAX_VALUES, MAX_WORK, MOST_BROUGHT, MOST_SAID, MOST_VALUES, MemberEnd, MemberEnded, Said, Work,
};
pub use handle::Queue;
pub use happened::{EventBatch, JobEvent, JobEventKind};
pub use job::{
    Delivered, JobEnd, JobId, JobState, LeaseNumber, MemberOf, NewJob, Settled, Settlement,
};
pub use job_group::{GroupEnded, JobGroup};
pub use journal::{
    Append, Appended, JournalPage, MAX_APPENDED, MAX_ENTRY, MAX_READ, MOST_APPENDED, MOST_ENTRIES,
    MOST_MESSAGES, MOST_READ, ReadFrom,
};
pub use leave::{After, Leaves};
pub use limits::{QueueLimits, StartRate};
pub use list::{JobList, JobRecords};
pub(crate) use memory::{MemoryQueues, QueueTable};
pub use news::News;
pub use note::{LogLine, MAX_CHECKPOINT, MAX_LINE, MAX_LOG, MAX_PROGRESS, MOST_LINES, Note};
pub use options::JobOptions;
pub use port::QueuePort;
pub use push::{PushJob, PushJobs};
pub(crate) use queues::Queues;
pub use record::JobRecord;
#[cfg(feature = "redis")]
pub(crate) use redis::RedisQueues;
pub use result::{Ended, JobEnded, JobHandle, JobResult};
pub use schedule::{Schedule, ScheduleView};
pub use settle::{Done, Settle};
pub use spec::QueueSpec;
pub use state::{AWAITED, KEEP_DEAD, PARKED, QueueTotals, TELLING, WATCHED};
pub use timetable::Timetable;
pub use unique::{MAX_UNIQUE, Unique, UniqueScope};
pub use view::{JobDetails, JobPage, JobPlace, JobView, MOST_LISTED, QueueStats};
pub use watch::JobWatch;
pub use work::{Job, JobContext, JobError, OrAbort};
pub(crate) use work::{shorten, tell};
pub(crate) use worker::told;
pub use worker::{Each, Together, Worker, WorkerStatus};
