//! Jobs about to be queued.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;

use super::ask::Pushed;
use super::envelope::Extras;
use super::handle::Queue;
use super::job::{JobId, MemberOf, NewJob};
use super::options::{JobOptions, option_setters};
use super::queues::PUSH;
use super::result::JobHandle;
use super::spec::QueueSpec;
use crate::error::{Error, Result};

/// How many bytes of inputs one call takes.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// How many jobs one call takes.
const MOST_JOBS: usize = super::ask::MOST_AT_ONCE;

/// A job about to be queued: options, then `.await`.
///
/// Gives the job once it is in the queue. A call that fails with an unknown outcome may have queued it.
#[must_use = "a job is queued by awaiting this"]
#[derive(Debug)]
pub struct PushJob<I, O> {
    queue: Queue<I, O>,
    input: Result<Input>,
    options: JobOptions,
    in_process: bool,
}

/// An input, as bytes, and what its spec computes from it.
#[derive(Debug)]
pub(super) struct Input {
    encoded: Vec<u8>,
    options: JobOptions,
}

impl<I, O> PushJob<I, O> {
    pub(super) fn new(queue: &Queue<I, O>, input: &I) -> Self {
        Self {
            input: Input::new(&queue.spec, input),
            queue: queue.clone(),
            options: JobOptions::new(),
            in_process: false,
        }
    }

    option_setters!(|it| it.options);

    /// All of these, where they say something.
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = options.or(self.options);
        self
    }

    /// Makes the first attempt in this process, at once: where a worker of the queue runs in it that has room, the job is queued and
    /// delivered to that in one step, ahead of what waits. Whatever comes after that is as ever: it is in the queue, its lease is renewed,
    /// and any instance may make the next attempt.
    ///
    /// It is an ordinary push where no such worker runs, none has room, or it has [limits](super::QueueLimits); of a job with a delay, or a
    /// debounced one; while the queue is paused; and if another job has its uniqueness key.
    ///
    /// When the answer of the home is lost, or this process dies, others get the job after a third of the worker's lease, or all of it,
    /// and that was an attempt. When the future is dropped, the job is begun all the same, if it was on its way.
    pub const fn in_process(mut self) -> Self {
        self.in_process = true;
        self
    }

    async fn push(self) -> Result<JobHandle<O>> {
        let named = |error: Error| {
            error
                .with_operation(PUSH.name)
                .with_target(self.queue.name())
        };
        let key = self.queue.key(&PUSH)?;
        let job = self.input.and_then(|input| input.job(self.options, None));
        let job = job.map_err(named)?;
        let shared = &self.queue.shared;
        let room = if self.in_process {
            shared.room_here(key, &job).await
        } else {
            None
        };
        let pushed = if let Some(room) = room {
            shared.start_here(key, job.clone(), room).await?
        } else {
            let pushed = shared.push(key, std::slice::from_ref(&job)).await?;
            pushed.first().copied().unwrap_or(Pushed::Known)
        };
        Ok(handle_of(&self.queue, &job, pushed))
    }
}

impl<I, O> IntoFuture for PushJob<I, O>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
{
    type Output = Result<JobHandle<O>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.push())
    }
}

/// Jobs about to be queued, all of them or none: options that hold for each, then `.await`.
///
/// Gives the jobs in the order of their inputs.
#[must_use = "jobs are queued by awaiting this"]
#[derive(Debug)]
pub struct PushJobs<I, O> {
    queue: Queue<I, O>,
    inputs: Result<Vec<Input>>,
    options: JobOptions,
}

impl<I, O> PushJobs<I, O> {
    pub(super) fn new<'a>(queue: &Queue<I, O>, inputs: impl IntoIterator<Item = &'a I>) -> Self
    where
        I: 'a,
    {
        Self {
            inputs: encode_all(&queue.spec, inputs),
            queue: queue.clone(),
            options: JobOptions::new(),
        }
    }

    option_setters!(|it| it.options);

    /// All of these, where they say something.
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = options.or(self.options);
        self
    }

    async fn push(self) -> Result<Vec<JobHandle<O>>> {
        let named = |error: Error| {
            error
                .with_operation(PUSH.name)
                .with_target(self.queue.name())
        };
        let key = self.queue.key(&PUSH)?;
        let inputs = self.inputs.map_err(named)?;
        let jobs = inputs
            .into_iter()
            .map(|it| it.job(self.options.clone(), None));
        let jobs = jobs.collect::<Result<Vec<_>>>().map_err(named)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let pushed = self.queue.shared.push(key, &jobs).await?;
        let pushed = jobs.iter().zip(pushed);
        let handle = |(job, pushed): (&NewJob, Pushed)| handle_of(&self.queue, job, pushed);
        Ok(pushed.map(handle).collect())
    }
}

/// Of the job that a push came to.
fn handle_of<I, O>(queue: &Queue<I, O>, job: &NewJob, pushed: Pushed) -> JobHandle<O> {
    let id = match pushed {
        Pushed::New | Pushed::Known => job.id,
        Pushed::Same(id) => id,
    };
    // Nobody else knows the id: where it is known, it was an earlier attempt of this call.
    JobHandle::new(queue, id, id == job.id)
}

impl<I, O> IntoFuture for PushJobs<I, O>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
{
    type Output = Result<Vec<JobHandle<O>>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.push())
    }
}

impl Input {
    pub(super) fn new<I, O>(spec: &QueueSpec<I, O>, input: &I) -> Result<Self> {
        let encoded = spec.encode_input(input)?;
        Ok(Self {
            encoded,
            options: spec.options_of(input),
        })
    }

    /// The job, with these options before its own.
    pub(super) fn job(mut self, options: JobOptions, parent: Option<JobId>) -> Result<NewJob> {
        let options = options.or(self.options);
        options.check()?;
        Extras::of(&options, parent).close(&mut self.encoded);
        Ok(NewJob {
            id: JobId::random(),
            input: self.encoded.into(),
            delay: options.delay.unwrap_or_default(),
            priority: options.priority.unwrap_or_default(),
            group: options.fairness_group.unwrap_or_default(),
            attempts: options.max_attempts.unwrap_or(1),
            expires: options.expires_in,
            keep: options.keep_result.unwrap_or(super::options::SHORTEST_KEEP),
            member_of: None,
            unique: options.unique,
        })
    }
}

/// A job that another leaves in a group.
pub(super) fn left_job<I, O>(
    queue: &Queue<I, O>,
    input: &I,
    options: JobOptions,
    parent: JobId,
    group: MemberOf,
) -> Result<NewJob> {
    let mut job = Input::new(&queue.spec, input)?.job(options, Some(parent))?;
    if job.unique.is_some() {
        // Another job may have the key, and belongs to no group or to another.
        let rule = "must not be asked of a job that another leaves";
        return Err(Error::invalid("unique", rule));
    }
    job.member_of = Some(group);
    Ok(job)
}

fn encode_all<'a, I: 'a, O>(
    spec: &QueueSpec<I, O>,
    inputs: impl IntoIterator<Item = &'a I>,
) -> Result<Vec<Input>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    for input in inputs {
        let input = Input::new(spec, input)?;
        bytes += input.encoded.len();
        if bytes > MOST_BYTES {
            return Err(Error::invalid("inputs", "must be at most 32 MiB together"));
        }
        if all.len() == MOST_JOBS {
            let rule = format_args!("must be at most {MOST_JOBS}");
            return Err(Error::invalid("inputs", rule));
        }
        all.push(input);
    }
    Ok(all)
}
