//! A task that is about to begin: it does when this is awaited.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::call_id::CallId;
use super::handle::{Executions, checked_time, room};
use super::state::TaskBegun;
use crate::context::{Operation, Repeat};
use crate::error::Result;

static BEGIN_TASK: Operation = Operation::new(
    "execution.begin_task",
    "execution",
    "begin_task",
    Repeat::Harmless,
);

/// The beginning of a task; await it. The answer says whose the task is.
///
/// # Cancel safety
/// When the future is dropped, the task may or may not be in progress: [abandon](Executions::abandon_task) it, or give it a
/// [lease](Self::lease).
#[derive(Debug)]
#[must_use = "a task begins when this is awaited"]
pub struct BeginTask {
    executions: Executions,
    execution: String,
    task: String,
    lease: Option<Duration>,
}

impl BeginTask {
    pub(super) fn new(executions: Executions, execution: &str, task: &str) -> Self {
        Self {
            executions,
            execution: execution.to_owned(),
            task: task.to_owned(),
            lease: None,
        }
    }

    /// Lets the task be in progress for that long at most: then it can be begun again, whatever became of who began it.
    /// At least 1 ms, at most 100 years. Without it, a task is in progress until it has a result or is abandoned.
    ///
    /// Who is still at it when the lease is over may commit all the same: the first result stays.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    async fn send(self) -> Result<TaskBegun> {
        let executions = &self.executions;
        let checked = || {
            let key = executions.task_key(&self.execution, &self.task)?;
            Ok((key, checked_time("lease", self.lease)?))
        };
        let (key, lease) = executions.named(&BEGIN_TASK, checked())?;
        let (id, port) = (CallId::random(), &executions.shared.port);
        let begun = executions
            .run(&BEGIN_TASK, &key, |attempt| {
                port.begin_task(&key, &self.task, id, lease, attempt.options())
            })
            .await?;
        executions.named(&BEGIN_TASK, begun.map_err(|full| room(&key, full)))
    }
}

impl IntoFuture for BeginTask {
    type Output = Result<TaskBegun>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
