//! What a job leaves to others, in its job group.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use super::group::{Condition, Gate, Left, MAX_VALUE, MAX_WORK, MOST_SAID, Said, Work};
use super::handle::Queue;
use super::job::{JobId, MemberOf};
use super::job_group::JobGroup;
use super::options::JobOptions;
use super::push::left_job;
use super::queues::LEAVE;
use super::result::JobHandle;
use super::work::{JobContext, JobHome};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;

/// How many jobs a job leaves at most.
const MOST_LEFT: usize = super::ask::MOST_AT_ONCE;

/// What a job leaves to others when it succeeds: jobs of its group, and what it says of the value of that.
///
/// A handler has it in its [`JobContext`]; who [claimed](Queue::claim) a job by hand, in what is [`Done`](super::Done) with it.
#[derive(Debug)]
pub struct Leaves {
    home: Arc<JobHome>,
    id: JobId,
    member_of: Option<MemberOf>,
    // A short lock: what is put under it was made before.
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
enum Parts {
    #[default]
    Nothing,
    Some {
        left: Vec<Left>,
        said: Vec<Said>,
        bytes: usize,
    },
    /// Nothing more is taken.
    Closed,
}

impl Parts {
    fn add(
        &mut self,
        more: usize,
        add: impl FnOnce(&mut Vec<Left>, &mut Vec<Said>) -> Result<()>,
    ) -> Result<()> {
        if matches!(self, Self::Nothing) {
            *self = Self::Some {
                left: Vec::new(),
                said: Vec::new(),
                bytes: 0,
            };
        }
        let Self::Some { left, said, bytes } = self else {
            return Err(Error::closed("the job"));
        };
        if *bytes + more > MAX_WORK {
            let rule = format_args!("must be at most {MAX_WORK} bytes together");
            return Err(Error::invalid("left", rule));
        }
        add(left, said)?;
        *bytes += more;
        Ok(())
    }
}

impl Deref for JobContext {
    type Target = Leaves;

    fn deref(&self) -> &Leaves {
        &self.0.leaves
    }
}

impl Leaves {
    /// Of the job `id` of a queue, and of the group it belongs to.
    pub(super) fn new(home: Arc<JobHome>, id: JobId, member_of: Option<MemberOf>) -> Self {
        Self {
            home,
            id,
            member_of,
            parts: Mutex::default(),
        }
    }

    /// The group that the job belongs to, or that begins with it if it leaves anything.
    #[must_use]
    pub fn group(&self) -> JobGroup {
        let (key, id) = self.group_key();
        JobGroup::new(self.home.queues.clone(), Ok(key), id)
    }

    /// Leaves a job to a queue: it is queued when this one has succeeded, together with that, and belongs to the same group. If this one fails,
    /// is cancelled or lost, nothing is left; the next attempt begins with nothing.
    ///
    /// Its id is known at once, for what is to be done [after](Self::after) it. But it is in its queue only when it is queued: who looks for it before that is
    /// told that there is none, and it can't be cancelled yet. The [group](Self::group) knows it. At most 1 000 jobs, and 32 MiB of inputs.
    ///
    /// # Errors
    /// As a [push](Queue::push) of it; `InvalidInput` also for a job with a uniqueness key, and for more than that. `Closed` when the handler has
    /// returned; and of a job that was [claimed](Queue::claim) by hand, which leaves something with what is [`Done`](super::Done) with it.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::queue::Condition;
    /// use quorate::{CancellationToken, Fleet, Job, JobError, QueueSpec};
    ///
    /// const IMPORTS: QueueSpec<Vec<u32>> = QueueSpec::new("imports");
    /// const ROWS: QueueSpec<u32, u32> = QueueSpec::new("rows");
    /// const REPORTS: QueueSpec<usize> = QueueSpec::new("reports");
    ///
    /// let fleet = Fleet::embedded();
    /// let (imports, rows, reports) = (fleet.queue(&IMPORTS), fleet.queue(&ROWS), fleet.queue(&REPORTS));
    /// let stop = CancellationToken::new();
    ///
    /// let (to_rows, to_reports) = (rows.clone(), reports.clone());
    /// let import = imports.worker(move |job: Job<Vec<u32>>| {
    ///     let (rows, reports) = (to_rows.clone(), to_reports.clone());
    ///     async move {
    ///         let mut left = Vec::new();
    ///         for row in &job.input {
    ///             left.push(job.leave(&rows, row)?.id());
    ///         }
    ///         job.after(Condition::AllSucceeded, left).leave(&reports, &job.input.len())?;
    ///         Ok(())
    ///     }
    /// });
    /// let insert = rows.worker(|job: Job<u32>| async move {
    ///     job.append_group_value(&job.input)?;
    ///     Ok(job.input)
    /// });
    /// let report = reports.worker(|_| async { Ok(()) });
    /// let import = tokio::spawn(import.run(stop.clone()));
    /// let insert = tokio::spawn(insert.run(stop.clone()));
    /// let report = tokio::spawn(report.run(stop.clone()));
    ///
    /// let group = imports.push(&vec![1, 2, 3]).await?.group();
    /// let over = group.ended().await?.expect("it is kept for a while");
    /// assert_eq!((over.succeeded, over.dead), (5, 0));
    /// let mut values = over.values_as::<u32>()?;
    /// values.sort();
    /// assert_eq!(values, [1, 2, 3]);
    ///
    /// stop.cancel();
    /// for worker in [import, insert, report] {
    ///     worker.await.unwrap()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn leave<I, O>(&self, queue: &Queue<I, O>, input: &I) -> Result<JobHandle<O>> {
        self.leave_with(queue, input, JobOptions::new())
    }

    /// The same with options of the job's own. A delay, and for how long it is worth beginning it, count from when it is queued.
    ///
    /// # Errors
    /// Those of [`leave`](Self::leave).
    pub fn leave_with<I, O>(
        &self,
        queue: &Queue<I, O>,
        input: &I,
        options: JobOptions,
    ) -> Result<JobHandle<O>> {
        self.leave_after(queue, input, options, None)
    }

    /// Jobs to be left that wait for others of the group: for those that are left here, for this one, and for those that are known
    /// otherwise. Each is queued once, when the condition holds; when it can't hold any more, the job is cancelled. One that the group does not know counts as
    /// one that ended without success.
    pub fn after(&self, condition: Condition, jobs: impl IntoIterator<Item = JobId>) -> After<'_> {
        let mut on = Vec::new();
        for id in jobs {
            if !on.contains(&id) {
                on.push(id);
            }
        }
        After {
            leaves: self,
            gate: Gate { condition, on },
        }
    }

    /// Makes this the value of the group, once this job has succeeded: anything that is JSON, of at most 1 MiB.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for more than that, and `Closed` as [`leave`](Self::leave).
    pub fn set_group_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        self.say(value, Said::Set)
    }

    /// Adds this to the values of the group, once this job has succeeded, in the order in which the group is told so: anything that is JSON, of at most 1 MiB. A group keeps 10 000 values,
    /// and 4 MiB of them; [`GroupView::dropped`](super::GroupView::dropped) says how many were too many.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for more than that, and `Closed` as [`leave`](Self::leave).
    pub fn append_group_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        self.say(value, Said::Append)
    }

    /// Makes this the value of the group for good, once this job has succeeded: the first that is fixed stays, whatever others say later.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for more than 1 MiB, and `Closed` as [`leave`](Self::leave).
    pub fn fix_group_value<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        self.say(value, Said::Fix)
    }

    /// Takes nothing more. Returns what it leaves, if that is anything.
    pub(super) fn close(&self) -> Option<Box<Work>> {
        match std::mem::replace(&mut *self.parts.lock(), Parts::Closed) {
            Parts::Some { left, said, .. } => {
                let group = self.member_of();
                Some(Box::new(Work { group, left, said }))
            }
            Parts::Nothing | Parts::Closed => None,
        }
    }

    /// Whether it is what a job of this queue leaves.
    pub(super) fn is_of(&self, queue: &Key) -> bool {
        self.home.key == *queue
    }

    fn group_key(&self) -> (Key, JobId) {
        let home = &self.home.key;
        match &self.member_of {
            None => (home.clone(), self.id),
            Some(it) => {
                let key = Key::new(home.namespace(), &it.queue);
                // A queue refuses jobs with another name.
                (key.unwrap_or_else(|_| home.clone()), it.group)
            }
        }
    }

    fn member_of(&self) -> MemberOf {
        let own = || MemberOf {
            queue: self.home.key.name().to_owned(),
            group: self.id,
        };
        self.member_of.clone().unwrap_or_else(own)
    }

    fn leave_after<I, O>(
        &self,
        queue: &Queue<I, O>,
        input: &I,
        options: JobOptions,
        after: Option<Gate>,
    ) -> Result<JobHandle<O>> {
        let named = |error: Error| error.with_operation(LEAVE.name).with_target(queue.name());
        queue.key(&LEAVE)?;
        let job = left_job(queue, input, options, self.id, self.member_of()).map_err(named)?;
        let (id, bytes) = (job.id, job.input.len());
        let one = Left {
            queue: queue.name().to_owned(),
            job,
            after,
        };
        let add = |left: &mut Vec<Left>, _: &mut Vec<Said>| {
            if left.len() >= MOST_LEFT {
                let rule = format_args!("must be at most {MOST_LEFT}");
                return Err(Error::invalid("left", rule));
            }
            left.push(one);
            Ok(())
        };
        self.parts.lock().add(bytes, add).map_err(named)?;
        Ok(JobHandle::new(queue, id, true).in_group(self.group()))
    }

    fn say<T: Serialize + ?Sized>(&self, value: &T, said: fn(Bytes) -> Said) -> Result<()> {
        let named = |error: Error| error.with_operation(LEAVE.name);
        let json = serde_json::to_vec(value)
            .map_err(|error| named(Error::new(ErrorKind::Encode).with_source(error)))?;
        if json.len() > MAX_VALUE {
            let rule = format_args!("must be at most {MAX_VALUE} bytes, and is {}", json.len());
            return Err(named(Error::invalid("value", rule)));
        }
        let bytes = json.len();
        let add = |_: &mut Vec<Left>, all: &mut Vec<Said>| {
            if all.len() >= MOST_SAID {
                let rule = format_args!("must be said at most {MOST_SAID} times");
                return Err(Error::invalid("value", rule));
            }
            all.push(said(json.into()));
            Ok(())
        };
        self.parts.lock().add(bytes, add).map_err(named)
    }
}

/// Jobs to be left that wait for others: [`Leaves::after`].
#[must_use = "nothing is left by this alone"]
pub struct After<'a> {
    leaves: &'a Leaves,
    gate: Gate,
}

impl After<'_> {
    /// Leaves a job that waits for them.
    ///
    /// # Errors
    /// Those of [`Leaves::leave`], and `InvalidInput` for a condition that wants more jobs than there are.
    pub fn leave<I, O>(&self, queue: &Queue<I, O>, input: &I) -> Result<JobHandle<O>> {
        self.leave_with(queue, input, JobOptions::new())
    }

    /// The same with options of the job's own.
    ///
    /// # Errors
    /// Those of [`leave`](Self::leave).
    pub fn leave_with<I, O>(
        &self,
        queue: &Queue<I, O>,
        input: &I,
        options: JobOptions,
    ) -> Result<JobHandle<O>> {
        self.gate
            .check()
            .map_err(|error| error.with_operation(LEAVE.name))?;
        let gate = Some(self.gate.clone());
        self.leaves.leave_after(queue, input, options, gate)
    }
}

impl fmt::Debug for After<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("After")
            .field("job", &self.leaves.id)
            .field("gate", &self.gate)
            .finish()
    }
}
