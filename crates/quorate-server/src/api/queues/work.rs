//! Workers in any language: jobs are claimed, and renewed and noted of by their receipts.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use quorate::queue::{Claimed, Note, QueueLimits, Receipt, Renewed, StartRate};
use quorate_http::{Problem, Rejection};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::documents::{GroupName, millis};
use super::{Queue, RawInput, queue, waits};
use crate::api::document::{Document, duration, present};
use crate::api::values::invalid;
use crate::app::App;
use crate::json::shown;

/// How many receipts are in one request.
const MOST: usize = 1_000;

/// What a worker wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimBody {
    /// How many jobs at most, from 1 to 1000. Default 1.
    #[serde(default = "one")]
    most: usize,
    /// How long they are had without being renewed: from `100ms` to `12h`. Default `30s`.
    #[schema(example = "30s", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    lease: Option<Duration>,
    /// How long to wait for one, if there is none; at most 0.8 times the server's `request_timeout`. Default: not at all.
    #[schema(example = "20s", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    wait: Option<Duration>,
    /// How many jobs of the queue may be begun, over all who work on it. All of them ought to say the same.
    #[serde(default)]
    limits: LimitsBody,
}

/// Limits of a queue.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LimitsBody {
    /// How many are active at most.
    max_active: Option<u32>,
    /// How many of each fairness group are.
    max_active_per_group: Option<u32>,
    /// How often one is begun.
    #[schema(example = "600/60s+20", value_type = Option<String>)]
    #[serde(default, deserialize_with = "rate")]
    max_starts: Option<StartRate>,
    /// How often one of each fairness group is begun.
    #[schema(example = "10/1s", value_type = Option<String>)]
    #[serde(default, deserialize_with = "rate")]
    max_starts_per_group: Option<StartRate>,
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StartRate>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let rate = text.map(|text| text.parse()).transpose();
    rate.map_err(|error: quorate::Error| {
        serde::de::Error::custom(error.message().unwrap_or_default())
    })
}

impl From<LimitsBody> for QueueLimits {
    fn from(body: LimitsBody) -> Self {
        Self {
            active: body.max_active,
            active_per_group: body.max_active_per_group,
            starts: body.max_starts,
            starts_per_group: body.max_starts_per_group,
        }
    }
}

const fn one() -> usize {
    1
}

/// What a worker gets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClaimedJobs {
    /// None if there are none.
    jobs: Vec<ClaimedDocument>,
}

/// A job that was claimed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClaimedDocument {
    id: String,
    /// By which it is renewed, noted of and settled. It is worth nothing when the lease has ended.
    receipt: String,
    /// Grows with every delivery: pass it to what the job changes, to be refused where a greater one was seen.
    lease_number: u64,
    /// Which attempt this is, from 1.
    attempt: u32,
    max_attempts: u32,
    queued_at: String,
    /// What was pushed, if that is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input: Option<Box<RawValue>>,
    /// What was pushed, in base64, if that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_base64: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    fairness_group: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// Which job queued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// The group it belongs to, if that does not begin with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupName>,
    /// How long this attempt may take, if that was said. Nobody sees to it but who claimed the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    /// Where the work stood when an attempt before this one last kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<Box<RawValue>>,
}

impl From<Claimed<RawInput>> for ClaimedDocument {
    fn from(claimed: Claimed<RawInput>) -> Self {
        let job = &claimed.job;
        let (input, input_base64) = shown(&job.input.bytes);
        let queued = Timestamp::try_from(job.queued_at()).unwrap_or(Timestamp::MAX);
        Self {
            id: job.id().to_string(),
            receipt: claimed.receipt.to_string(),
            lease_number: job.lease().get(),
            attempt: job.attempt(),
            max_attempts: job.max_attempts(),
            queued_at: format!("{queued:.3}"),
            input,
            input_base64,
            fairness_group: job.fairness_group().to_owned(),
            tags: job.tags().to_vec(),
            parent: job.parent().map(|id| id.to_string()),
            group: claimed.receipt.member_of().map(Into::into),
            timeout_ms: claimed.timeout.map(millis),
            // What is no JSON was kept by nobody of us.
            checkpoint: job.last_checkpoint().ok().flatten(),
        }
    }
}

/// Takes jobs, to be settled before their leases end.
///
/// What was taken by a request whose answer got lost comes again when its lease has ended, and counts as an attempt.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/claim",
    operation_id = "claim_jobs",
    params(("queue" = String, Path, description = "The queue; a slash in it is written %2F")),
    request_body = ClaimBody,
    responses(
        (status = 200, description = "The jobs; none if there are none", body = ClaimedJobs),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn claim(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<ClaimBody>, Rejection>,
) -> Result<Response, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let wait = waits(&app, body.wait)?;
    let claim = queue(&app, &name)?.claim(body.most).wait(wait);
    let mut claim = claim.limits(body.limits.into());
    if let Some(lease) = body.lease {
        claim = claim.lease(lease);
    }
    let jobs = claim.await?.into_iter().map(Into::into).collect();
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(ClaimedJobs { jobs })).into_response())
}

/// Which claimed jobs are to last longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenewBody {
    /// From 1 to 1000.
    receipts: Vec<String>,
    /// For how long from now.
    #[schema(example = "30s", value_type = String)]
    #[serde(deserialize_with = "duration::deserialize")]
    lease: Duration,
}

/// How each stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenewedJobs {
    /// In the order of the request.
    jobs: Vec<Standing>,
}

/// How a claimed job stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// It is held, and lasts longer now.
    Held,
    /// It is held, and lasts longer now; but it was cancelled: stop.
    Cancelled,
    /// It is not held any more: stop, and settle nothing.
    Lost,
}

/// Lets claimed jobs last longer: the heartbeat of who works.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/renew",
    operation_id = "renew_jobs",
    params(("queue" = String, Path)),
    request_body = RenewBody,
    responses(
        (status = 200, description = "How they stand", body = RenewedJobs),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "queues",
)]
pub(crate) async fn renew(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<RenewBody>, Rejection>,
) -> Result<Json<RenewedJobs>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    check_number("receipts", body.receipts.len())?;
    let receipts = body.receipts.iter().map(|text| text.parse());
    let receipts = receipts.collect::<quorate::Result<Vec<Receipt>>>()?;
    let renewed = queue(&app, &name)?.renew(&receipts, body.lease).await?;
    let standing = |it| match it {
        Renewed::Held => Standing::Held,
        Renewed::Cancelled => Standing::Cancelled,
        Renewed::Lost => Standing::Lost,
    };
    let jobs = renewed.into_iter().map(standing).collect();
    Ok(Json(RenewedJobs { jobs }))
}

/// Something to be known of a claimed job; any of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoteBody {
    receipt: String,
    /// How far it is, for whoever looks: any JSON of at most 16 KiB.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    progress: Option<Box<RawValue>>,
    /// A line for its log, of at most 4 KiB.
    log: Option<String>,
    /// What the next attempt begins with: any JSON of at most 256 KiB.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<Box<RawValue>>,
}

/// Whether it was noted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Noted {
    /// `false`: the job is not held any more, and nothing was noted from then on.
    held: bool,
}

/// Notes something of a claimed job: the checkpoint first, then the progress, then the line of the log.
#[utoipa::path(
    post,
    path = "/v1/queues/{queue}/note",
    operation_id = "note_job",
    params(("queue" = String, Path)),
    request_body = NoteBody,
    responses(
        (status = 200, description = "Whether it was noted", body = Noted),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached; some of it may be noted"),
    ),
    tag = "queues",
)]
pub(crate) async fn note(
    State(app): State<App>,
    path: Queue,
    body: Result<Document<NoteBody>, Rejection>,
) -> Result<Json<Noted>, Rejection> {
    let (Path(name), Document(body)) = (path?, body?);
    let receipt: Receipt = body.receipt.parse()?;
    let json = |value: &RawValue| Bytes::copy_from_slice(value.get().as_bytes());
    let notes = [
        body.checkpoint.map(|it| Note::Checkpoint(json(&it))),
        body.progress.map(|it| Note::Progress(json(&it))),
        body.log.map(Note::Log),
    ];
    if notes.iter().all(Option::is_none) {
        return Err(invalid("progress, log or checkpoint must be given").into());
    }
    let queue = queue(&app, &name)?;
    for note in notes.into_iter().flatten() {
        if !queue.note(&receipt, note).await? {
            return Ok(Json(Noted { held: false }));
        }
    }
    Ok(Json(Noted { held: true }))
}

pub(super) fn check_number(field: &str, number: usize) -> Result<(), Problem> {
    if number == 0 || number > MOST {
        return Err(invalid(format!("{field} must be from 1 to {MOST}")));
    }
    Ok(())
}
