//! Executions as engines hold them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::abandon::AbandonTask;
use super::begin_task::BeginTask;
use super::call_id::CallId;
use super::port::ExecutionPort;
use super::results::{TaskResults, decode};
use super::state::{Begun, Committed, Full, MAX_RESULT_BYTES, MAX_RESULTS_BYTES, MAX_TASKS};
use crate::backoff::RetryPolicy;
use crate::bounds::OF_STORES;
use crate::context::{Attempt, Context, Limits, Operation, Repeat};
use crate::entry_key::check_area;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Key, Namespace, check_name};

macro_rules! operations {
    ($($name:ident: $verb:literal, $repeat:ident;)*) => {$(
        static $name: Operation =
            Operation::new(concat!("execution.", $verb), "execution", $verb, Repeat::$repeat);
    )*};
}

operations! {
    BEGIN: "begin", Harmless;
    IS_IN_PROGRESS: "is_in_progress", Harmless;
    IS_TASK_IN_PROGRESS: "is_task_in_progress", Harmless;
    COMMIT_RESULT: "commit_result", Harmless;
    RESULT: "result", Harmless;
    RESULTS: "results", Harmless;
    // Unless the id is remembered, another execution may have it by then.
    DISPOSE: "dispose", OnlyIfNotApplied;
}

/// The longest id of an execution, in bytes.
const MAX_EXECUTION: usize = 256;

/// How long the id of an execution that was disposed of is remembered, unless the handle says otherwise.
const REMEMBER: Duration = Duration::from_secs(3600);

/// What the executions of an instance share.
#[derive(Debug)]
pub(crate) struct SharedExecutions {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn ExecutionPort>,
}

/// What a replay engine keeps of its executions, the same for every instance: which are in progress, which of their tasks
/// are, and the result of each task, stored once.
///
/// It runs nothing by itself. An engine calls a function again and again, from its beginning, until it has come to its
/// end; what the function did before comes from here: [`result`](Self::result) where a task is done,
/// [`begin_task`](Self::begin_task) where it is not, [`commit_result`](Self::commit_result) when it is.
///
/// Ids of executions and tasks are text without control characters, compared as wholes: of 1 to 256 bytes, and of 1 to 512.
/// An execution has at most 10 000 tasks, a result 1 MiB of JSON, all of them 64 MiB with the ids of their tasks.
///
/// # Clone
/// Cheap; clones are the same, with the same options.
///
/// # Concurrent calls
/// The calls about one execution happen one after the other, each at one moment of the home. Of many who begin a task at
/// once, one does; the first result of a task stays.
///
/// # Lost replies
/// Every call is sent again when its reply is lost, and is answered as the first time. Except for two, which fail with
/// [`Outcome::Unknown`](crate::Outcome): an [`abandon_task`](Self::abandon_task) that does not say which
/// [attempt](AbandonTask::attempt) it means, and a [`dispose`](Self::dispose) that leaves nothing behind.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use quorate::execution::{Begun, Committed, TaskBegun};
/// use std::time::Duration;
///
/// let checkouts = Fleet::embedded().executions("checkout").ttl(Duration::from_secs(24 * 3600));
/// assert_eq!(checkouts.begin("order-42").await?, Begun::New);
/// assert_eq!(checkouts.begin("order-42").await?, Begun::InProgress); // its message came twice
///
/// let lease = Duration::from_secs(30);
/// let begun = checkouts.begin_task("order-42", "charge").lease(lease).await?;
/// assert_eq!(begun, TaskBegun::Begun { attempt: 1 });
/// assert_eq!(checkouts.commit_result("order-42", "charge", &"paid").await?, Committed::Stored);
/// assert_eq!(checkouts.begin_task("order-42", "charge").await?, TaskBegun::Done);
/// assert_eq!(checkouts.result::<String>("order-42", "charge").await?.as_deref(), Some("paid"));
///
/// assert!(checkouts.dispose("order-42").await?);
/// assert_eq!(checkouts.begin("order-42").await?, Begun::Over); // a message that came late
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Executions {
    pub(super) shared: Arc<SharedExecutions>,
    namespace: Namespace,
    name: Arc<str>,
    ttl: Option<Duration>,
    remember: Duration,
    limits: Limits,
}

impl Executions {
    pub(crate) fn new(shared: Arc<SharedExecutions>, namespace: &Namespace, name: &str) -> Self {
        Self {
            shared,
            namespace: namespace.clone(),
            name: name.into(),
            ttl: None,
            remember: REMEMBER,
            limits: Limits::default(),
        }
    }

    /// The name that they are kept under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets executions that begin by this handle end by themselves, with all that is kept of them, when they have made no
    /// progress for that long: at least 1 ms, at most 100 years. Each `begin`, `begin_task` and `commit_result`
    /// is progress, by whatever handle. Default: they stay until they are disposed of.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// For how long [`dispose`](Self::dispose) leaves behind that an execution is over, so that a message that comes late
    /// does not begin it once more: at least 1 ms, at most 100 years. Zero leaves nothing behind. Default one hour.
    #[must_use]
    pub fn remember(mut self, time: Duration) -> Self {
        self.remember = time;
        self
    }

    /// Bounds each call of this handle with all its attempts, instead of the fleet's own deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = Some(deadline);
        self
    }

    /// Tries calls of this handle again by this policy instead of the fleet's.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.limits.retry = Some(policy);
        self
    }

    /// Lets an execution begin. One that is in progress goes on as it was: give an execution the id of the message that
    /// starts it, and it begins once however often that is delivered.
    ///
    /// # Errors
    /// `InvalidInput` if the id or an option breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the execution may or may not be in progress.
    pub async fn begin(&self, execution: &str) -> Result<Begun> {
        let checked = || Ok((self.key(execution)?, checked_time("ttl", self.ttl)?));
        let (key, ttl) = self.named(&BEGIN, checked())?;
        let (id, port) = (CallId::random(), &self.shared.port);
        self.run(&BEGIN, &key, |attempt| {
            port.begin(&key, id, ttl, attempt.options())
        })
        .await
    }

    /// Whether an execution has begun, is not disposed of, and has not ended by itself.
    ///
    /// # Errors
    /// `InvalidInput` if the id breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn is_in_progress(&self, execution: &str) -> Result<bool> {
        let key = self.named(&IS_IN_PROGRESS, self.key(execution))?;
        let port = &self.shared.port;
        self.run(&IS_IN_PROGRESS, &key, |attempt| {
            port.is_in_progress(&key, attempt.options())
        })
        .await
    }

    /// Lets a task begin, unless it is done or somebody else's.
    pub fn begin_task(&self, execution: &str, task: &str) -> BeginTask {
        BeginTask::new(self.clone(), execution, task)
    }

    /// Whether a task was begun, has no result, is not abandoned, and its lease, if it has one, is not over.
    ///
    /// # Errors
    /// `InvalidInput` if an id breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn is_task_in_progress(&self, execution: &str, task: &str) -> Result<bool> {
        let key = self.named(&IS_TASK_IN_PROGRESS, self.task_key(execution, task))?;
        let port = &self.shared.port;
        self.run(&IS_TASK_IN_PROGRESS, &key, |attempt| {
            port.is_task_in_progress(&key, task, attempt.options())
        })
        .await
    }

    /// Lets a task be in progress no more, so that it can be begun again: for who began it and could not hand it out, or
    /// did it and failed. A task that is done stays done.
    pub fn abandon_task(&self, execution: &str, task: &str) -> AbandonTask {
        AbandonTask::new(self.clone(), execution, task)
    }

    /// Ends a task with its result, in one step: it is in progress or it has the result, never both and never neither. A
    /// task has one result, the first; it need not have been begun.
    ///
    /// # Errors
    /// `Encode` if the value cannot be written as JSON; `InvalidInput` if an id breaks its rule, the value has more than
    /// 1 MiB, the execution 10 000 tasks, or its results would have more than 64 MiB; and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the result may or may not be stored.
    pub async fn commit_result<T>(
        &self,
        execution: &str,
        task: &str,
        value: &T,
    ) -> Result<Committed>
    where
        T: Serialize + ?Sized,
    {
        let checked = || Ok((self.task_key(execution, task)?, encode(value)?));
        let (key, result) = self.named(&COMMIT_RESULT, checked())?;
        let (id, port) = (CallId::random(), &self.shared.port);
        let committed = self
            .run(&COMMIT_RESULT, &key, |attempt| {
                port.commit(&key, task, id, result.clone(), attempt.options())
            })
            .await?;
        self.named(&COMMIT_RESULT, committed.map_err(|full| room(&key, full)))
    }

    /// The result of a task; `None` if it has none.
    ///
    /// # Errors
    /// `Decode` if it is none of these values: the message has its key, its field and its beginning. `InvalidInput` if an id
    /// breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn result<T>(&self, execution: &str, task: &str) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        let key = self.named(&RESULT, self.task_key(execution, task))?;
        let port = &self.shared.port;
        let found = self
            .run(&RESULT, &key, |attempt| {
                port.result(&key, task, attempt.options())
            })
            .await?;
        let decoded = found.map(|result| decode(&key, task, &result)).transpose();
        self.named(&RESULT, decoded)
    }

    /// The results of all tasks that have one, at one moment and in one round trip: for an engine that is about to call a
    /// function again from its beginning.
    ///
    /// # Errors
    /// `InvalidInput` if the id breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn results(&self, execution: &str) -> Result<TaskResults> {
        let key = self.named(&RESULTS, self.key(execution))?;
        let port = &self.shared.port;
        let found = self
            .run(&RESULTS, &key, |attempt| {
                port.results(&key, attempt.options())
            })
            .await?;
        Ok(TaskResults::new(key, found))
    }

    /// Forgets an execution: its tasks, their results, and that it is in progress. For as long as
    /// [`remember`](Self::remember) says, its id begins no other. `false` if it was not in progress.
    ///
    /// # Errors
    /// `InvalidInput` if the id or an option breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the execution may or may not be forgotten.
    pub async fn dispose(&self, execution: &str) -> Result<bool> {
        let remember = Some(self.remember).filter(|time| !time.is_zero());
        let checked = || Ok((self.key(execution)?, checked_time("remember", remember)?));
        let (key, remember) = self.named(&DISPOSE, checked())?;
        let (id, port) = (CallId::random(), &self.shared.port);
        let harmless = self.harmless_if(remember.is_some());
        harmless
            .run(&DISPOSE, &key, |attempt| {
                port.dispose(&key, id, remember, attempt.options())
            })
            .await
    }

    /// This, for a call that may be repeated where that holds, whatever its operation says of itself.
    pub(super) fn harmless_if(&self, is_harmless: bool) -> Self {
        let mut harmless = self.clone();
        harmless.limits.is_harmless = is_harmless;
        harmless
    }

    pub(super) async fn run<T, F, Fut>(
        &self,
        operation: &'static Operation,
        key: &Key,
        attempt: F,
    ) -> Result<T>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let context = &self.shared.context;
        context
            .run_within(self.limits, operation, key.name(), attempt)
            .await
    }

    pub(super) fn named<T>(&self, operation: &Operation, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            error
                .with_operation(operation.name)
                .with_target(&*self.name)
        })
    }

    /// The key of an execution. No name has a `:`, so that no two executions have one key.
    fn key(&self, execution: &str) -> Result<Key> {
        check_area(self.name.as_bytes()).map_err(|rule| Error::invalid("name", rule))?;
        check_name("execution", execution)?;
        if execution.len() > MAX_EXECUTION {
            let rule = format_args!("must be at most {MAX_EXECUTION} bytes");
            return Err(Error::invalid("execution", rule));
        }
        Key::new(&self.namespace, &format!("{}:{execution}", self.name))
    }

    pub(super) fn task_key(&self, execution: &str, task: &str) -> Result<Key> {
        check_name("task", task)?;
        self.key(execution)
    }
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let encoded = serde_json::to_vec(value);
    let bytes = encoded.map_err(|source| Error::new(ErrorKind::Encode).with_source(source))?;
    if bytes.len() > MAX_RESULT_BYTES {
        let has = bytes.len();
        let rule = format_args!("must be at most {MAX_RESULT_BYTES} bytes of JSON, and has {has}");
        return Err(Error::invalid("value", rule));
    }
    Ok(bytes.into())
}

pub(super) fn checked_time(field: &str, time: Option<Duration>) -> Result<Option<Duration>> {
    time.map(|time| OF_STORES.checked(field, time)).transpose()
}

/// What is said where there is no room for more.
pub(super) fn room(key: &Key, full: Full) -> Error {
    let error = match full {
        Full::Tasks => Error::invalid(
            "tasks",
            format_args!("must be at most {MAX_TASKS} in an execution"),
        ),
        Full::Results => Error::invalid(
            "results",
            format_args!("must be at most {MAX_RESULTS_BYTES} bytes in an execution"),
        ),
    };
    error.with_target(key.name())
}

impl fmt::Debug for Executions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executions")
            .field("name", &self.name)
            .field("ttl", &self.ttl)
            .field("remember", &self.remember)
            .field("port", &format_args!("{}", self.shared.port))
            .finish_non_exhaustive()
    }
}
