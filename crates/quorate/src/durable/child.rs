//! Runs that another starts, and may wait for.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

use super::cx::Cx;
use super::entry::{Did, Outcome};
use super::failure::{Failure, FailureKind};
use super::message::{Message, Says};
use super::scope::Op;
use super::step::MAX_STEP_VALUE;
use super::workflow::{Parent, RunInput, RunOutput, Workflow};
use crate::error::{Error, Result as CallResult};
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::queue::{JobEnd, JobId, JobOptions, JobState, Queue, QueueSpec};

/// How often a child is looked at that ended without saying so: because whoever had it died of it, or an operator took it away.
const LOOK: Duration = Duration::from_secs(300);

/// Between attempts to start a child, or to ask for it.
const AGAIN: Duration = Duration::from_secs(1);

/// A run about to be started by another, and waited for: options, then `.await`.
///
/// It is started once, and if there is one that is called the same, that is what is waited for. While the run waits it need not be in memory.
///
/// # Errors
/// The failure of the child; one that [is cancelled](Failure::is_cancelled) if the run was asked to stop, and then the child is asked to
/// stop as well; one that [is fatal](Failure::is_fatal) for a name that no run has, or an input that is no JSON.
#[must_use = "a child is started by awaiting this"]
pub struct Child<O> {
    op: Op,
    run: String,
    begins: CallResult<Begins>,
    gives: PhantomData<fn() -> O>,
}

/// What a child is begun with.
struct Begins {
    spec: QueueSpec<RunInput, RunOutput>,
    job: JobId,
    input: RunInput,
}

impl Cx {
    /// Starts another run, and waits for what becomes of it.
    ///
    /// Its name is yours to choose, and is one for all runs of its function: whoever starts the same gets the same.
    pub fn run_child<I, O>(
        &self,
        workflow: &Workflow<I, O>,
        run: impl Into<String>,
        input: &I,
    ) -> Child<O>
    where
        I: Serialize,
        O: DeserializeOwned + Send + 'static,
    {
        let (op, run) = (self.0.begin(workflow.shared_name()), run.into());
        let parent = Parent {
            queue: self.run().job.queue().name().to_owned(),
            job: self.run().job.id(),
        };
        Child {
            begins: begins(workflow, run.clone(), input, Some(parent)),
            op,
            run,
            gives: PhantomData,
        }
    }

    /// Starts another run, and goes on. Nobody tells it to stop when this one is.
    ///
    /// # Errors
    /// As [`run_child`](Self::run_child), but for those of the child.
    pub fn start_child<I, O>(
        &self,
        workflow: &Workflow<I, O>,
        run: impl Into<String>,
        input: &I,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'static
    where
        I: Serialize,
    {
        let (op, run) = (self.0.begin(workflow.shared_name()), run.into());
        let begins = begins(workflow, run.clone(), input, None);
        async move { started(op, &run, begins).await.map(|_| ()) }
    }
}

fn begins<I: Serialize, O>(
    workflow: &Workflow<I, O>,
    run: String,
    input: &I,
    parent: Option<Parent>,
) -> CallResult<Begins> {
    Ok(Begins {
        spec: workflow.queue()?,
        job: workflow.job(&run)?,
        input: RunInput {
            run,
            version: workflow.number(),
            input: to_raw_value(input)
                .map_err(|error| Error::invalid("input", format_args!("is no JSON: {error}")))?,
            parent,
        },
    })
}

/// Starts a child, unless the journal says that this was done. Gives its queue, and what the journal has of its end.
async fn started(
    mut op: Op,
    run: &str,
    begins: CallResult<Begins>,
) -> Result<(Op, Queue<RunInput, RunOutput>, JobId, Option<Outcome>), Failure> {
    op.ready().await;
    let (mut is_started, mut ended) = (false, None);
    for (when, did) in op.take_records() {
        match did {
            Did::Child { run: name } if name == run => is_started = true,
            Did::ChildEnded(outcome) => {
                op.passed(when);
                ended = Some(outcome);
            }
            other => return op.diverge(&other, "another child run").await,
        }
    }
    let begins = begins.map_err(|error| Failure::fatal(error.to_string()))?;
    let queue = queue_of(&op, &begins.spec);
    if begins.input.parent.is_some() && begins.job == op.run().job.id() {
        return Err(Failure::fatal("a run cannot wait for itself"));
    }
    if !is_started {
        op.run().gate(op.scope.is_shielded).await?;
        let busy = op.run().activity.busy();
        let (_, is_new) = until_done(&op, || {
            queue.push_as(begins.job, &begins.input, JobOptions::new())
        })
        .await?;
        if let Some(parent) = begins.input.parent.clone().filter(|_| !is_new) {
            // Another started it, so it does not know who waits.
            let (queues, key) = queue.home().map_err(Failure::from)?;
            let message = Message::new(Says::Parent(parent)).encode();
            until_done(&op, || queues.tell(key, begins.job, &message)).await?;
        }
        let run = run.to_owned();
        op.record(&Did::Child { run }).await;
        drop(busy);
    }
    Ok((op, queue, begins.job, ended))
}

fn queue_of(op: &Op, spec: &QueueSpec<RunInput, RunOutput>) -> Queue<RunInput, RunOutput> {
    let job = &op.run().job;
    Queue::new(job.queues().clone(), job.queue().namespace(), spec)
}

/// Tries until the backend answers.
///
/// # Errors
/// What will be wrong again.
async fn until_done<T, F>(op: &Op, mut call: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = CallResult<T>>,
{
    loop {
        let error = match call().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if error.kind() == crate::error::ErrorKind::InvalidInput {
            return Err(Failure::fatal(error.to_string()));
        }
        let hooks = &op.run().job.queues().context.hooks;
        hooks.error(ErrorSource::Durable, &error);
        tokio::time::sleep(AGAIN).await;
    }
}

impl<O: DeserializeOwned + Send> Child<O> {
    async fn run(self) -> Result<O, Failure> {
        let (op, queue, job, ended) = started(self.op, &self.run, self.begins).await?;
        let outcome = match ended {
            Some(outcome) => outcome,
            None => {
                let outcome = wait(&op, &queue, job).await?;
                op.record(&Did::ChildEnded(outcome.clone())).await;
                outcome
            }
        };
        match outcome {
            Outcome::Ok(value) => Ok(op.read(&value).await),
            Outcome::Err(failure) => Err(failure),
        }
    }
}

/// Until the child says that it has ended, or is found to have.
async fn wait(op: &Op, queue: &Queue<RunInput, RunOutput>, job: JobId) -> Result<Outcome, Failure> {
    let run = op.run();
    run.inbox.want();
    loop {
        let busy = run.activity.busy();
        if op.is_stopped() {
            // Before the look: a child that has ended since is none that this went on with.
            let failure = run.stopped(false).await;
            return Err(stop(op, queue, job, failure).await);
        }
        // Behind a message that was missed, and where none was sent.
        if let Some(outcome) = until_done(op, || look(queue, job)).await? {
            return Ok(outcome);
        }
        let next = tokio::time::Instant::now() + LOOK;
        let _waits = run.activity.waiting(Some(next));
        drop(busy);
        tokio::select! {
            biased;
            outcome = run.inbox.until(|inbox| inbox.take_ended(job)) => return Ok(outcome),
            failure = run.stopped(op.scope.is_shielded) => {
                return Err(stop(op, queue, job, failure).await);
            }
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Asks a child to stop as well.
async fn stop(
    op: &Op,
    queue: &Queue<RunInput, RunOutput>,
    job: JobId,
    failure: Failure,
) -> Failure {
    let reason = failure.message().to_owned();
    let cancel = Message::new(Says::Cancel { reason }).encode();
    let told = async {
        let (queues, key) = queue.home().map_err(Failure::from)?;
        until_done(op, || queues.tell(key, job, &cancel)).await
    };
    match told.await {
        Ok(_) => failure,
        Err(why) => failure.and(&why.to_string()),
    }
}

/// What became of a child; `None` if it is not over.
async fn look(queue: &Queue<RunInput, RunOutput>, job: JobId) -> CallResult<Option<Outcome>> {
    let ended = match queue.job(job).state().await? {
        Some(JobState::Ended(ended)) => ended,
        Some(_) => return Ok(None),
        None => {
            let why = "what became of the child is not kept any longer";
            return Ok(Some(Outcome::Err(Failure::fatal(why))));
        }
    };
    Ok(Some(match ended {
        JobEnd::Succeeded(value) => match serde_json::from_slice::<RunOutput>(&value) {
            Ok(output) => fitting(output.value),
            Err(error) => Outcome::Err(Failure::fatal(format!("its result is no JSON: {error}"))),
        },
        // One that is parked goes on when somebody has decided.
        JobEnd::Dead(why) if why.starts_with(super::drive::PARKED) => return Ok(None),
        JobEnd::Dead(why) => Outcome::Err(Failure::read(&why)),
        JobEnd::Cancelled | JobEnd::Expired => {
            Outcome::Err(Failure::new(FailureKind::Cancelled, "it was asked to stop"))
        }
    }))
}

/// A result, if its parent has room for it.
fn fitting(value: Box<RawValue>) -> Outcome {
    let length = value.get().len();
    if length <= MAX_STEP_VALUE {
        return Outcome::Ok(value);
    }
    let why = format!(
        "the result of a child must be at most {MAX_STEP_VALUE} bytes of JSON, and has {length}"
    );
    Outcome::Err(Failure::fatal(why))
}

/// Tells whoever started a run what became of it, before that is settled: at least once.
pub(super) async fn tell_parent(
    run: &super::running::Running,
    parent: &Parent,
    ended: &Result<Box<RawValue>, Failure>,
) {
    let job = run.job.id();
    let message = Message {
        id: format!("ended {job}").into(),
        says: Says::Ended {
            job,
            outcome: match ended {
                Ok(value) => fitting(value.clone()),
                Err(failure) => Outcome::Err(failure.clone()),
            },
        },
    };
    let (queues, message) = (run.job.queues(), message.encode());
    let Ok(key) = Key::new(run.job.queue().namespace(), &parent.queue) else {
        // Written by nobody of us.
        return;
    };
    if let Err(error) = queues.tell(&key, parent.job, &message).await {
        // It looks for itself, later.
        queues.context.hooks.error(ErrorSource::Durable, &error);
    }
}

impl<O: DeserializeOwned + Send + 'static> IntoFuture for Child<O> {
    type Output = Result<O, Failure>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl<O> fmt::Debug for Child<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}
