//! A task that is about to be given up: it is when this is awaited.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;

use super::handle::Executions;
use crate::context::{Operation, Repeat};
use crate::error::Result;

/// Not repeated when its reply is lost: somebody else may have begun the task since. Unless it says which attempt it means.
static ABANDON_TASK: Operation = Operation::new(
    "execution.abandon_task",
    "execution",
    "abandon_task",
    Repeat::OnlyIfNotApplied,
);

/// The end of an attempt at a task, without a result; await it. The answer says whether the task was in progress.
///
/// # Cancel safety
/// When the future is dropped, the task may or may not be abandoned.
#[derive(Debug)]
#[must_use = "a task is abandoned when this is awaited"]
pub struct AbandonTask {
    executions: Executions,
    execution: String,
    task: String,
    attempt: Option<u64>,
}

impl AbandonTask {
    pub(super) fn new(executions: Executions, execution: &str, task: &str) -> Self {
        Self {
            executions,
            execution: execution.to_owned(),
            task: task.to_owned(),
            attempt: None,
        }
    }

    /// Abandons this attempt alone, of the number that [`TaskBegun::Begun`](super::TaskBegun) said: if the lease was over
    /// and somebody else has begun the task again, it stays theirs. That makes it harmless to repeat: when the
    /// reply is lost it is sent again, and answered as the first time.
    pub fn attempt(mut self, attempt: u64) -> Self {
        self.attempt = Some(attempt);
        self
    }

    async fn send(self) -> Result<bool> {
        let executions = &self.executions;
        let key = executions.task_key(&self.execution, &self.task);
        let key = executions.named(&ABANDON_TASK, key)?;
        let port = &executions.shared.port;
        let harmless = executions.harmless_if(self.attempt.is_some());
        harmless
            .run(&ABANDON_TASK, &key, |attempt| {
                port.abandon_task(&key, &self.task, self.attempt, attempt.options())
            })
            .await
    }
}

impl IntoFuture for AbandonTask {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
