//! Executions on Redis and Valkey: a hash of tasks and a hash of results each, one script per transition.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::{Frame, Lane};

use super::call_id::CallId;
use super::port::{ExecutionPort, UNIT, results_key};
use super::state::{Begun, Committed, Full, MAX_RESULTS_BYTES, MAX_TASKS, TaskBegun};
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, flag, micros, unexpected};

/// What the scripts have in common.
const LIBRARY: &str = include_str!("library.lua");

static BEGIN: Script = Script::with_library(include_str!("scripts/begin.lua"), LIBRARY);
static IS_IN_PROGRESS: Script =
    Script::with_library(include_str!("scripts/is_in_progress.lua"), LIBRARY);
static BEGIN_TASK: Script = Script::with_library(include_str!("scripts/begin_task.lua"), LIBRARY);
static IS_TASK_IN_PROGRESS: Script =
    Script::with_library(include_str!("scripts/is_task_in_progress.lua"), LIBRARY);
static ABANDON_TASK: Script =
    Script::with_library(include_str!("scripts/abandon_task.lua"), LIBRARY);
static COMMIT: Script = Script::with_library(include_str!("scripts/commit.lua"), LIBRARY);
static RESULT: Script = Script::with_library(include_str!("scripts/result.lua"), LIBRARY);
static RESULTS: Script = Script::with_library(include_str!("scripts/results.lua"), LIBRARY);
static DISPOSE: Script = Script::with_library(include_str!("scripts/dispose.lua"), LIBRARY);

/// Executions of one server.
pub(crate) struct RedisExecutions {
    scripts: ScriptRunner,
}

impl RedisExecutions {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
    }

    async fn run(
        &self,
        script: &'static Script,
        key: &Key,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        self.run_on(Lane::Command, script, key, arguments, options)
            .await
    }

    async fn run_on(
        &self,
        lane: Lane,
        script: &'static Script,
        key: &Key,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let (execution, results) = (key.unit(UNIT, ""), results_key(key));
        let keys = [execution.as_bytes(), results.as_bytes()];
        self.scripts
            .run_on(lane, script, &keys, arguments, options)
            .await
    }
}

/// A time that need not be there, as scripts take it.
fn micros_or_none(time: Option<Duration>) -> String {
    time.map_or_else(|| "0".to_owned(), micros)
}

fn task_begun(reply: &Frame) -> Option<Result<TaskBegun, Full>> {
    let [said, rest @ ..] = reply.as_array()? else {
        return None;
    };
    Some(match (said.as_str()?, rest) {
        ("begun", [attempt]) => Ok(TaskBegun::Begun {
            attempt: attempt.as_str()?.parse().ok()?,
        }),
        ("in progress", []) => Ok(TaskBegun::InProgress),
        ("done", []) => Ok(TaskBegun::Done),
        ("unknown", []) => Ok(TaskBegun::Unknown),
        ("full", []) => Err(Full::Tasks),
        _ => return None,
    })
}

fn results(reply: &Frame) -> Option<BTreeMap<String, Bytes>> {
    let pairs = reply.as_array()?.chunks(2).map(|pair| match pair {
        [name, Frame::Bulk(result)] => Some((name.as_str()?.to_owned(), result.clone())),
        _ => None,
    });
    pairs.collect()
}

#[async_trait]
impl ExecutionPort for RedisExecutions {
    async fn begin(
        &self,
        key: &Key,
        id: CallId,
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<Begun> {
        let (id, ttl) = (id.to_string(), micros_or_none(ttl));
        let arguments = [id.as_bytes(), ttl.as_bytes()];
        let reply = self.run(&BEGIN, key, &arguments, options).await?;
        match reply.as_str() {
            Some("new") => Ok(Begun::New),
            Some("in progress") => Ok(Begun::InProgress),
            Some("over") => Ok(Begun::Over),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn is_in_progress(&self, key: &Key, options: CallOptions) -> Result<bool> {
        flag(&self.run(&IS_IN_PROGRESS, key, &[], options).await?)
    }

    async fn begin_task(
        &self,
        key: &Key,
        task: &str,
        id: CallId,
        lease: Option<Duration>,
        options: CallOptions,
    ) -> Result<Result<TaskBegun, Full>> {
        let (id, lease) = (id.to_string(), micros_or_none(lease));
        let most = MAX_TASKS.to_string();
        let arguments = [
            task.as_bytes(),
            id.as_bytes(),
            lease.as_bytes(),
            most.as_bytes(),
        ];
        let reply = self.run(&BEGIN_TASK, key, &arguments, options).await?;
        task_begun(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn is_task_in_progress(
        &self,
        key: &Key,
        task: &str,
        options: CallOptions,
    ) -> Result<bool> {
        let arguments = [task.as_bytes()];
        flag(
            &self
                .run(&IS_TASK_IN_PROGRESS, key, &arguments, options)
                .await?,
        )
    }

    async fn abandon_task(
        &self,
        key: &Key,
        task: &str,
        attempt: Option<u64>,
        options: CallOptions,
    ) -> Result<bool> {
        let attempt = attempt
            .map(|attempt| attempt.to_string())
            .unwrap_or_default();
        let arguments = [task.as_bytes(), attempt.as_bytes()];
        flag(&self.run(&ABANDON_TASK, key, &arguments, options).await?)
    }

    async fn commit(
        &self,
        key: &Key,
        task: &str,
        id: CallId,
        result: Bytes,
        options: CallOptions,
    ) -> Result<Result<Committed, Full>> {
        let (id, tasks, bytes) = (
            id.to_string(),
            MAX_TASKS.to_string(),
            MAX_RESULTS_BYTES.to_string(),
        );
        let arguments = [
            task.as_bytes(),
            id.as_bytes(),
            &result,
            tasks.as_bytes(),
            bytes.as_bytes(),
        ];
        let reply = self.run(&COMMIT, key, &arguments, options).await?;
        Ok(match reply.as_str() {
            Some("stored") => Ok(Committed::Stored),
            Some("done") => Ok(Committed::AlreadyDone),
            Some("unknown") => Ok(Committed::Unknown),
            Some("full") => Err(Full::Tasks),
            Some("large") => Err(Full::Results),
            _ => return Err(unexpected(&reply)),
        })
    }

    async fn result(&self, key: &Key, task: &str, options: CallOptions) -> Result<Option<Bytes>> {
        match self.run(&RESULT, key, &[task.as_bytes()], options).await? {
            Frame::Null => Ok(None),
            Frame::Bulk(result) => Ok(Some(result)),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn results(&self, key: &Key, options: CallOptions) -> Result<BTreeMap<String, Bytes>> {
        // There may be much of it: it holds up no other call.
        let reply = self.run_on(Lane::Bulk, &RESULTS, key, &[], options).await?;
        results(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn dispose(
        &self,
        key: &Key,
        id: CallId,
        remember: Option<Duration>,
        options: CallOptions,
    ) -> Result<bool> {
        let (id, remember) = (id.to_string(), micros_or_none(remember));
        let arguments = [id.as_bytes(), remember.as_bytes()];
        flag(&self.run(&DISPOSE, key, &arguments, options).await?)
    }
}

impl fmt::Display for RedisExecutions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("executions on Redis")
    }
}

impl fmt::Debug for RedisExecutions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisExecutions")
    }
}
