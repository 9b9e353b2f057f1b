//! Executions in this process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::call_id::CallId;
use super::port::ExecutionPort;
use super::state::{Begun, Committed, Execution, Full, TaskBegun};
use crate::clock::Micros;
use crate::embedded::{Disk, State, Table, Ticket};
use crate::error::{Outcome, Result};
use crate::key::Key;
use crate::port::CallOptions;

impl State for Execution {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        self.ends(now)
    }

    fn expire(&mut self, now: Micros) {
        if self.ends(now).is_some_and(|ends| ends <= now) {
            self.forget();
        }
    }

    fn changed_sides(&mut self) -> Vec<Arc<str>> {
        self.take_changed().into_iter().map(Arc::from).collect()
    }
}

/// Each task has a side row, so that one that is begun or done does not write the others.
#[cfg(feature = "file")]
impl crate::embedded::Kept for Execution {
    const TABLE: &'static str = "execution";

    fn row(&self) -> Option<Vec<u8>> {
        Some(crate::embedded::encode(1, self.head()?))
    }

    fn from_row(row: &[u8]) -> Option<Self> {
        Some(Self::of(crate::embedded::decode(1, row)?))
    }

    const SIDES: Option<&'static str> = Some("execution-task");

    fn side_row(&self, name: &str) -> Option<Vec<u8>> {
        Some(crate::embedded::encode(1, self.task(name)?))
    }

    fn take_side(&mut self, name: &str, row: &[u8]) -> Option<()> {
        self.put_back(name, crate::embedded::decode(1, row)?);
        Some(())
    }
}

/// One instance's access to the executions of its home.
pub(crate) struct MemoryExecutions {
    table: Arc<Table<Execution>>,
    disk: Disk,
}

impl MemoryExecutions {
    pub(crate) fn new(table: Arc<Table<Execution>>, disk: Disk) -> Self {
        Self { table, disk }
    }

    /// One transition, answered when it is on disk.
    async fn change<R>(
        &self,
        key: &Key,
        options: CallOptions,
        apply: impl FnOnce(&mut Execution, Micros) -> R,
    ) -> Result<R> {
        self.disk.check_writable()?;
        let (reply, ticket) = self.table.change(key, |execution, now| {
            let reply = apply(execution, now);
            (reply, execution.take_has_changed())
        });
        self.written(ticket, options, Outcome::Unknown).await?;
        Ok(reply)
    }

    /// What can be seen without a change, as soon as that is on disk.
    async fn look<R: Default>(
        &self,
        key: &Key,
        options: CallOptions,
        look: impl FnOnce(&Execution, Micros) -> R,
    ) -> Result<R> {
        self.disk.check_open()?;
        let (seen, ticket) = self
            .table
            .look_kept(key, |execution, clock| look(execution, clock.now()));
        self.written(ticket, options, Outcome::NotApplied).await?;
        Ok(seen.unwrap_or_default())
    }

    async fn written(&self, ticket: Ticket, options: CallOptions, outcome: Outcome) -> Result<()> {
        match self.disk.written(ticket, options.deadline, outcome) {
            Some(written) => written.await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl ExecutionPort for MemoryExecutions {
    async fn begin(
        &self,
        key: &Key,
        id: CallId,
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<Begun> {
        self.change(key, options, |execution, now| execution.begin(now, id, ttl))
            .await
    }

    async fn is_in_progress(&self, key: &Key, options: CallOptions) -> Result<bool> {
        self.look(key, options, Execution::is_in_progress).await
    }

    async fn begin_task(
        &self,
        key: &Key,
        task: &str,
        id: CallId,
        lease: Option<Duration>,
        options: CallOptions,
    ) -> Result<Result<TaskBegun, Full>> {
        self.change(key, options, |execution, now| {
            execution.begin_task(now, task, id, lease)
        })
        .await
    }

    async fn is_task_in_progress(
        &self,
        key: &Key,
        task: &str,
        options: CallOptions,
    ) -> Result<bool> {
        self.look(key, options, |execution, now| {
            execution.is_task_in_progress(now, task)
        })
        .await
    }

    async fn abandon_task(
        &self,
        key: &Key,
        task: &str,
        attempt: Option<u64>,
        options: CallOptions,
    ) -> Result<bool> {
        self.change(key, options, |execution, now| {
            execution.abandon_task(now, task, attempt)
        })
        .await
    }

    async fn commit(
        &self,
        key: &Key,
        task: &str,
        id: CallId,
        result: Bytes,
        options: CallOptions,
    ) -> Result<Result<Committed, Full>> {
        self.change(key, options, |execution, now| {
            execution.commit(now, task, id, result)
        })
        .await
    }

    async fn result(&self, key: &Key, task: &str, options: CallOptions) -> Result<Option<Bytes>> {
        self.look(key, options, |execution, now| {
            execution.result(now, task).cloned()
        })
        .await
    }

    async fn results(&self, key: &Key, options: CallOptions) -> Result<BTreeMap<String, Bytes>> {
        self.look(key, options, Execution::results).await
    }

    async fn dispose(
        &self,
        key: &Key,
        id: CallId,
        remember: Option<Duration>,
        options: CallOptions,
    ) -> Result<bool> {
        self.change(key, options, |execution, now| {
            execution.dispose(now, id, remember)
        })
        .await
    }
}

impl fmt::Display for MemoryExecutions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process executions")
    }
}

impl fmt::Debug for MemoryExecutions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryExecutions")
    }
}
