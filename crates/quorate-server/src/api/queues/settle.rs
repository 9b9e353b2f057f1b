//! Workers in any language: what becomes of claimed jobs, said by their receipts.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use quorate::queue::{Receipt, Settle};
use quorate::{JobError, JobId};
use quorate_http::{Problem, Rejection};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::leave::{LeaveBody, SaidBody, leave_all, say_all};
use super::options::bytes_of;
use super::work::check_number;
use super::{Queue, RawQueue, queue};
use crate::api::document::{Document, duration, present};
use crate::api::values::invalid;
use crate::app::App;

/// What became of claimed jobs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleBody {
    /// From 1 to 1000.
    jobs: Vec<SettledJob>,
}

/// What became of a claimed job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettledJob {
    receipt: String,
    outcome: Outcome,
    /// Of one that succeeded: what is kept for who waits, any JSON. Default `null`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    result: Option<Box<RawValue>>,
    /// The same for a queue whose results are not JSON: its bytes, in base64.
    result_base64: Option<String>,
    /// Of one that failed or is dead, and then required: why.
    error: Option<String>,
    /// Of one that failed: when it is tried again; default as its backoff says. Of one that is deferred, and then required: when it
    /// comes again.
    #[schema(example = "10s", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    retry_in: Option<Duration>,
    /// Of one that succeeded: jobs that it leaves, which belong to its group; at most 1000.
    #[serde(default)]
    leave: Vec<LeaveBody>,
    /// Of one that succeeded: what it says of the value of its group, in this order; at most 100.
    #[serde(default)]
    group_values: Vec<SaidBody>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It is done.
    Succeeded,
    /// Once more, while it has attempts left; then it is dead.
    Failed,
    /// Not now, and this was no attempt.
    Deferred,
    /// Never again.
    Dead,
}

/// Of each, whether it was still held.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettledJobs {
    /// In the order of the request. `false`: the lease had ended, nothing was changed, and nothing is left.
    settled: Vec<bool>,
    /// If any leaves jobs: of each, the ids of those, in the order of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<Vec<String>>,
}

/// Settles claimed jobs, each by itself. Repeating it is harmless; of what was settled already it says that it is not held any more.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/settle",
    operation_id = "settle_jobs",
    params(("queue" = String, Path)),
    request_body = SettleBody,
    responses(
        (status = 200, description = "Of each, whether it was still held", body = SettledJobs),
        (status = 400, description = "An argument breaks a rule, and nothing was settled"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn settle(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<SettleBody>, Rejection>,
) -> Result<Json<SettledJobs>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    check_number("jobs", body.jobs.len())?;
    let queue = queue(&app, &name)?;
    let (mut settles, mut left) = (Vec::new(), Vec::new());
    for (at, job) in body.jobs.into_iter().enumerate() {
        let named = |rule| invalid(format!("jobs[{at}].{rule}"));
        let (settle, ids) = job.settle(&app, &queue, named)?;
        settles.push(settle);
        left.push(ids);
    }
    let settled = queue.settle(settles).await?;
    for (ids, is_settled) in left.iter_mut().zip(&settled) {
        // Nobody ever hears of them otherwise.
        if !is_settled {
            ids.clear();
        }
    }
    if left.iter().all(Vec::is_empty) {
        left.clear();
    }
    Ok(Json(SettledJobs { settled, left }))
}

impl SettledJob {
    /// With the ids of what it leaves.
    fn settle(
        mut self,
        app: &App,
        queue: &RawQueue,
        named: impl Fn(String) -> Problem,
    ) -> Result<(Settle<Bytes>, Vec<String>), Rejection> {
        let receipt: Receipt = self.receipt.parse()?;
        let (leave, said) = (
            std::mem::take(&mut self.leave),
            std::mem::take(&mut self.group_values),
        );
        let result = self.result().map_err(&named)?;
        if leave.is_empty() && said.is_empty() {
            return Ok(((receipt, result).into(), Vec::new()));
        }
        let Ok(result) = result else {
            return Err(named("leave and group_values are of what succeeded".to_owned()).into());
        };
        let done = queue.done(receipt, result)?;
        let ids = leave_all(app, &done, leave, named)?;
        say_all(&done, &said)?;
        Ok((done.into(), ids.iter().map(JobId::to_string).collect()))
    }

    /// What a handler would return, or the rule that is broken.
    fn result(self) -> Result<Result<Bytes, JobError>, String> {
        let (json, base64) = (self.result.as_deref(), self.result_base64.as_deref());
        let result = bytes_of("result", json, base64)?;
        let only_of = |given: bool, rule: &str| if given { Err(rule.to_owned()) } else { Ok(()) };
        if self.outcome != Outcome::Succeeded {
            only_of(result.is_some(), "result is of what succeeded")?;
        }
        if !matches!(self.outcome, Outcome::Failed | Outcome::Dead) {
            only_of(self.error.is_some(), "error is of what failed or is dead")?;
        }
        if !matches!(self.outcome, Outcome::Failed | Outcome::Deferred) {
            let rule = "retry_in is of what failed or is deferred";
            only_of(self.retry_in.is_some(), rule)?;
        }
        let error = self.error.ok_or("error must be given");
        Ok(match (self.outcome, self.retry_in) {
            (Outcome::Succeeded, _) => Ok(result.unwrap_or_else(|| Bytes::from_static(b"null"))),
            (Outcome::Failed, None) => Err(JobError::retry(error?)),
            (Outcome::Failed, Some(time)) => Err(JobError::retry_in(time, error?)),
            (Outcome::Deferred, time) => {
                Err(JobError::defer(time.ok_or("retry_in must be given")?))
            }
            (Outcome::Dead, _) => Err(JobError::abort(error?)),
        })
    }
}
