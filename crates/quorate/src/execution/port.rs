//! What a backend for executions must do.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::call_id::CallId;
use super::state::{Begun, Committed, Full, TaskBegun};
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;

/// What the keys of executions begin with, after the namespace.
pub(super) const UNIT: &str = "execution";

/// The key that results are kept under; errors name it on every home.
pub(super) fn results_key(key: &Key) -> String {
    key.unit(UNIT, ":results")
}

/// A backend for executions.
///
/// # Contract
/// * A key is one execution. Each call is one moment of it, by the backend's clock.
/// * An execution is in progress from `begin` until it is disposed of, or until `ttl` after the last `begin`,
///   `begin_task` or `commit` that found it there. Then nothing is left of it but, after `dispose`, for as long as that
///   says, that it is over.
/// * Tasks are compared as wholes. Of many who begin one at once, one does. It is in progress until it has a result, is
///   abandoned, or its lease is over; then it can be begun again, and its number of attempts grows.
/// * `commit` ends a task and stores its result in one step. The first result of a task stays.
/// * A call that is made again with its id is answered as the first time, and changes nothing.
/// * An execution has at most [`MAX_TASKS`](super::MAX_TASKS) tasks and
///   [`MAX_RESULTS_BYTES`](super::MAX_RESULTS_BYTES) of results; what would be more changes nothing, and is [`Full`].
/// * Nothing is left of what has ended, without anybody coming to clean.
#[async_trait]
pub trait ExecutionPort: Debug + Display + Send + Sync + 'static {
    /// Lets an execution begin, unless it is there. What has no `ttl` stays until it is disposed of.
    ///
    /// # Errors
    /// Those of the backend.
    async fn begin(
        &self,
        key: &Key,
        id: CallId,
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<Begun>;

    /// Whether an execution is in progress.
    ///
    /// # Errors
    /// Those of the backend.
    async fn is_in_progress(&self, key: &Key, options: CallOptions) -> Result<bool>;

    /// Lets a task begin, unless it is done or in progress. Without a `lease` it is in progress until it is committed or
    /// abandoned.
    ///
    /// # Errors
    /// Those of the backend.
    async fn begin_task(
        &self,
        key: &Key,
        task: &str,
        id: CallId,
        lease: Option<Duration>,
        options: CallOptions,
    ) -> Result<Result<TaskBegun, Full>>;

    /// Whether a task is in progress.
    ///
    /// # Errors
    /// Those of the backend.
    async fn is_task_in_progress(
        &self,
        key: &Key,
        task: &str,
        options: CallOptions,
    ) -> Result<bool>;

    /// Lets a task be in progress no more. With `attempt`, only if it was begun so often and has no result; that it was
    /// abandoned before is then no difference.
    ///
    /// # Errors
    /// Those of the backend.
    async fn abandon_task(
        &self,
        key: &Key,
        task: &str,
        attempt: Option<u64>,
        options: CallOptions,
    ) -> Result<bool>;

    /// Ends a task with its result, unless it has one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn commit(
        &self,
        key: &Key,
        task: &str,
        id: CallId,
        result: Bytes,
        options: CallOptions,
    ) -> Result<Result<Committed, Full>>;

    /// The result of a task, if it has one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn result(&self, key: &Key, task: &str, options: CallOptions) -> Result<Option<Bytes>>;

    /// The results of all tasks that have one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn results(&self, key: &Key, options: CallOptions) -> Result<BTreeMap<String, Bytes>>;

    /// Forgets an execution; for as long as `remember`, not that it was there. Says whether it was in progress.
    ///
    /// # Errors
    /// Those of the backend.
    async fn dispose(
        &self,
        key: &Key,
        id: CallId,
        remember: Option<Duration>,
        options: CallOptions,
    ) -> Result<bool>;
}
