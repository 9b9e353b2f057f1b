//! The durable functions of an instance, and whoever does their runs.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio_util::sync::CancellationToken;

use super::cx::Cx;
use super::drive::Driver;
use super::failure::Failure;
use super::handle::RunHandle;
use super::start::StartRun;
use super::workflow::{RunInput, RunOutput, Workflow};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::key::Namespace;
use crate::queue::{AllQueues, Job, Queue, QueueSpec, Queues};

/// Runs at a time of each function, unless told otherwise.
const CONCURRENCY: usize = 256;
/// How long a run may be had without a sign of life, unless told otherwise.
const LEASE: Duration = Duration::from_secs(30);
/// How long what is under way may go on when the worker stops, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(30);

type Function = Arc<
    dyn Fn(Cx, Box<RawValue>) -> BoxFuture<'static, Result<Box<RawValue>, Failure>> + Send + Sync,
>;

/// A durable function, in each of its versions.
#[derive(Clone)]
struct Registered {
    queue: QueueSpec<RunInput, RunOutput>,
    versions: HashMap<u32, Function>,
}

/// Durable functions about to be used: options, then [`build`](Self::build).
///
/// An instance that only starts runs, or looks at them, registers none.
#[must_use = "nothing is done without `build`"]
pub struct DurableBuilder {
    queues: Arc<Queues>,
    namespace: Namespace,
    // The first thing that is wrong, told when it is built: the options before it are not the place to fail.
    functions: Result<HashMap<String, Registered>>,
    concurrency: usize,
    lease: Duration,
    drain: Duration,
}

/// The durable functions of an instance: starts their runs, and [does](Self::work) them.
///
/// # Clone
/// Clones are the same.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{CancellationToken, Cx, Failure, Fleet, Workflow};
/// use std::time::Duration;
///
/// const GREET: Workflow<String, String> = Workflow::new("greet");
///
/// async fn find_language(name: &str) -> Result<String, std::io::Error> {
///     Ok(if name.ends_with('o') { "it" } else { "en" }.to_owned())
/// }
///
/// async fn greet(cx: Cx, name: String) -> Result<String, Failure> {
///     let language = cx.step("language", || find_language(&name)).await?;
///     cx.sleep("be polite", Duration::from_millis(5)).await?;
///     Ok(match language.as_str() {
///         "it" => format!("ciao {name}"),
///         _ => format!("hello {name}"),
///     })
/// }
///
/// let fleet = Fleet::embedded();
/// let durable = fleet.durable().register(&GREET, greet).build()?;
/// let stop = CancellationToken::new();
/// let working = tokio::spawn(durable.work(stop.clone()));
///
/// let run = durable.start(&GREET, "visitor-1", &"Paolo".to_owned()).await?;
/// let again = durable.start(&GREET, "visitor-1", &"Paolo".to_owned()).await?;
/// assert!(run.is_new() && !again.is_new());
/// assert_eq!(run.result().await?.unwrap(), "ciao Paolo");
///
/// stop.cancel();
/// working.await.unwrap()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DurableRuns {
    queues: Arc<Queues>,
    namespace: Namespace,
    functions: Arc<HashMap<String, Registered>>,
    concurrency: usize,
    lease: Duration,
    drain: Duration,
}

impl DurableBuilder {
    pub(crate) fn new(queues: Arc<Queues>, namespace: &Namespace) -> Self {
        Self {
            queues,
            namespace: namespace.clone(),
            functions: Ok(HashMap::new()),
            concurrency: CONCURRENCY,
            lease: LEASE,
            drain: DRAIN,
        }
    }

    /// What does the runs of a workflow, of its [version](Workflow::version). Each version is registered by itself: those that runs in flight
    /// were started with, too.
    pub fn register<I, O, F, Fut>(mut self, workflow: &Workflow<I, O>, function: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(Cx, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
    {
        if let Ok(functions) = &mut self.functions
            && let Err(error) = enter(functions, workflow, erase(function))
        {
            self.functions = Err(error);
        }
        self
    }

    /// How many runs of each function at a time, from 1 to 100 000, those that wait for longer than a second not among them. Default 256.
    pub const fn concurrency(mut self, runs: usize) -> Self {
        self.concurrency = runs;
        self
    }

    /// After how long without a sign of life of this instance its runs are given to others, from 100 ms to 12 hours. Default 30 s. It is
    /// renewed when a third is over; a run, and a step, may take longer than this.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long steps that are under way may go on when the instance stops; nothing new is begun then. Default 30 s.
    pub const fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// The durable functions of this instance.
    ///
    /// # Errors
    /// `InvalidInput` for a function that is registered twice.
    pub fn build(self) -> Result<DurableRuns> {
        Ok(DurableRuns {
            queues: self.queues,
            namespace: self.namespace,
            functions: Arc::new(self.functions?),
            concurrency: self.concurrency,
            lease: self.lease,
            drain: self.drain,
        })
    }
}

fn enter<I, O>(
    functions: &mut HashMap<String, Registered>,
    workflow: &Workflow<I, O>,
    function: Function,
) -> Result<()> {
    let queue = workflow.queue()?;
    let registered = functions
        .entry(workflow.name().to_owned())
        .or_insert_with(|| Registered {
            queue,
            versions: HashMap::new(),
        });
    let version = workflow.number();
    if registered.versions.insert(version, function).is_some() {
        let rule = format_args!(
            "`{}` of version {version} is registered twice",
            workflow.name()
        );
        return Err(Error::invalid("workflow", rule));
    }
    Ok(())
}

/// A function whose types are those of the wire.
fn erase<I, O, F, Fut>(function: F) -> Function
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(Cx, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, Failure>> + Send + 'static,
{
    let function = Arc::new(function);
    Arc::new(move |cx, input| {
        let function = function.clone();
        async move {
            let input = serde_json::from_str(input.get())
                .map_err(|error| Failure::fatal(format!("its input does not decode: {error}")))?;
            let output = function(cx, input).await?;
            to_raw_value(&output)
                .map_err(|error| Failure::fatal(format!("its result is no JSON: {error}")))
        }
        .boxed()
    })
}

impl DurableRuns {
    /// Starts a run, unless there is one that is called the same: then that is what is given, whatever became of it, as long as that is
    /// [kept](Workflow::keep).
    ///
    /// Where this instance does runs of the function and has room, it begins here at once.
    pub fn start<I: Serialize, O>(
        &self,
        workflow: &Workflow<I, O>,
        run: impl Into<String>,
        input: &I,
    ) -> StartRun<O> {
        let queue = workflow.queue().map(|spec| self.queue(&spec));
        StartRun::new(queue, workflow, run.into(), input)
    }

    /// A run that was started before, here or elsewhere.
    ///
    /// # Errors
    /// `InvalidInput` for a name that no run has.
    pub fn run<I, O>(
        &self,
        workflow: &Workflow<I, O>,
        run: impl Into<String>,
    ) -> Result<RunHandle<O>> {
        let (run, queue) = (run.into(), self.queue(&workflow.queue()?));
        let job = queue.job(workflow.job(&run)?);
        Ok(RunHandle::new(queue, job, run, false))
    }

    pub(super) fn all_queues(&self) -> AllQueues {
        AllQueues::new(self.queues.clone(), &self.namespace)
    }

    pub(super) fn queue(
        &self,
        spec: &QueueSpec<RunInput, RunOutput>,
    ) -> Queue<RunInput, RunOutput> {
        Queue::new(self.queues.clone(), &self.namespace, spec)
    }

    /// Does runs of the functions that are registered, until `stop` fires or the fleet is closed, and returns when what was under way has
    /// ended or is handed back.
    ///
    /// # Errors
    /// `InvalidInput` for an option that breaks its rule, and if no function is registered. Never because of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it stops in the background as if `stop` had fired.
    pub fn work(&self, stop: CancellationToken) -> impl Future<Output = Result<()>> + Send + use<> {
        let runs = self.clone();
        async move {
            if runs.functions.is_empty() {
                let rule = "must be registered before there is anything to do";
                return Err(Error::invalid("function", rule));
            }
            let stop = stop.child_token();
            let _stop_when_dropped = stop.clone().drop_guard();
            let workers = runs.functions.iter();
            let workers = workers.map(|(name, it)| runs.work_on(name, it, stop.clone()));
            try_join_all(workers).await.map(|_| ())
        }
    }

    async fn work_on(&self, name: &str, it: &Registered, stop: CancellationToken) -> Result<()> {
        let queue = self.queue(&it.queue);
        let (queues, key) = queue.home()?;
        let driver = Arc::new(Driver {
            workflow: name.into(),
            writer: Writer::new(queues, key),
            drains: stop.clone(),
        });
        let (versions, known) = (it.versions.clone(), it.versions.clone());
        let handler = move |job: Job<RunInput>| {
            let function = versions.get(&job.input.version).cloned();
            let driver = driver.clone();
            async move {
                // What is not known here was not accepted.
                let function =
                    function.ok_or_else(|| crate::queue::JobError::defer(Duration::ZERO))?;
                driver
                    .drive(job, move |cx, input| function(cx, input))
                    .await
            }
        };
        queue
            .worker(handler)
            .accept(move |job| known.contains_key(&job.input.version))
            .concurrency(self.concurrency)
            .lease(self.lease)
            .drain(self.drain)
            .run(stop)
            .await
    }
}

impl fmt::Debug for DurableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableBuilder").finish_non_exhaustive()
    }
}

impl fmt::Debug for DurableRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableRuns")
            .field("functions", &self.functions.keys())
            .finish_non_exhaustive()
    }
}
