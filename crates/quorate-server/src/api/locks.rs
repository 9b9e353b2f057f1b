//! Locks by hand: a lease is a resource that its holder extends and deletes, and a lock one that anybody may look at.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use quorate::lock::{LockHolder, LockStatus, LockWaiter};
use quorate::{Acquire, FencingToken, LeaseId};
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::document::{Document, duration};
use crate::app::App;

/// How a lock is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcquireBody {
    /// How long the lock is held unless it is extended: text with a unit, from `10ms` to `30days`.
    #[schema(example = "30s")]
    #[serde(deserialize_with = "duration::deserialize")]
    #[schema(value_type = String)]
    lease: Duration,
    /// How long to wait for it. Default: not at all.
    #[schema(example = "5s", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    wait: Option<Duration>,
}

/// How a lease is extended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody {
    /// How long it is held from now on.
    #[schema(example = "30s", value_type = String)]
    #[serde(deserialize_with = "duration::deserialize")]
    lease: Duration,
}

/// A lock that is held.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Held {
    /// The lock.
    name: String,
    /// Extends and releases it. Whoever knows it can: keep it as you keep a token.
    lease_id: String,
    /// Grows with every acquisition: pass it to what the lock protects.
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<u64>,
    /// How much longer it is held for certain, in milliseconds from this answer.
    expires_in_ms: u64,
    /// When that is, by this server's clock.
    expires_at: String,
}

impl Held {
    fn new(name: String, lease_id: LeaseId, fencing_token: Option<u64>, left: Duration) -> Self {
        let ends = Timestamp::now() + left;
        Self {
            name,
            lease_id: lease_id.to_string(),
            fencing_token,
            expires_in_ms: millis(left),
            expires_at: format!("{ends:.3}"),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Acquires a lock.
#[utoipa::path(
    post,
    path = "/v1/locks/{name}",
    params(("name" = String, Path, description = "The lock; a slash in it is written %2F")),
    request_body = AcquireBody,
    responses(
        (status = 201, description = "Acquired", body = Held),
        (status = 400, description = "An argument breaks a rule"),
        (status = 409, description = "Somebody else holds it; `remaining_ms` says how much longer"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn acquire(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Document<AcquireBody>, Rejection>,
) -> Result<(StatusCode, Json<Held>), Rejection> {
    let Path(name) = path?;
    let Document(body) = body?;
    let wait = body.wait.unwrap_or_default();
    if wait > app.max_wait {
        let rule = format!("wait must be at most {:?}", app.max_wait);
        return Err(Problem::new(Code::InvalidArgument, rule).into());
    }
    let lock = app.fleet.lock(&name);
    let request = if wait.is_zero() {
        lock.try_acquire()
    } else {
        lock.acquire().wait(wait)
    };
    // A client that goes away drops this future, and the library releases what it got.
    match request.lease(body.lease).no_renewal().await? {
        Acquire::Acquired(guard) => {
            let left = guard.remaining();
            let lease = guard.detach().await?;
            let held = Held::new(name, lease.id, Some(lease.token.get()), left);
            Ok((StatusCode::CREATED, Json(held)))
        }
        Acquire::Held { remaining, .. } => Err(Problem::new(
            Code::Aborted,
            format!("`{name}` is held by somebody else"),
        )
        .with_member("remaining_ms", millis(remaining))
        .with_retry_after(remaining)
        .into()),
        _ => Err(Problem::new(Code::Internal, "an answer this server does not know").into()),
    }
}

/// Extends a lease.
#[utoipa::path(
    post,
    path = "/v1/locks/{name}/{lease_id}",
    params(("name" = String, Path), ("lease_id" = String, Path)),
    request_body = ExtendBody,
    responses(
        (status = 200, description = "Extended", body = Held),
        (status = 400, description = "An argument breaks a rule"),
        (status = 409, description = "The lease does not hold the lock (any more)"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn extend(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Document<ExtendBody>, Rejection>,
) -> Result<Json<Held>, Rejection> {
    let Path((name, lease)) = path?;
    let Document(body) = body?;
    let lease = lease_id(&lease)?;
    // Counted from before the request: the backend's lease cannot end before ours does.
    let asked = tokio::time::Instant::now();
    if !app.fleet.lock(&name).extend(lease, body.lease).await? {
        return Err(not_held(&name));
    }
    let left = body.lease.saturating_sub(asked.elapsed());
    Ok(Json(Held::new(name, lease, None, left)))
}

/// Releases a lock.
#[utoipa::path(
    delete,
    path = "/v1/locks/{name}/{lease_id}",
    params(("name" = String, Path), ("lease_id" = String, Path)),
    responses(
        (status = 204, description = "Released; asking again gives the same answer"),
        (status = 409, description = "The lease does not hold the lock (any more)"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn release(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Rejection> {
    let Path((name, lease)) = path?;
    if app.fleet.lock(&name).release(lease_id(&lease)?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_held(&name))
    }
}

/// A lock as it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LockDocument {
    /// The lock.
    name: String,
    /// Who holds it; nobody if there are none.
    holders: Vec<HolderDocument>,
    /// Who waits for it, in the order of their turns; the first 100.
    waiters: Vec<WaiterDocument>,
    /// How many wait, including some that may be gone since a moment.
    waiting: u64,
}

/// Who holds a lock, without what it could be released by.
#[derive(Debug, Serialize, ToSchema)]
struct HolderDocument {
    /// The token of the acquisition.
    fencing_token: u64,
    /// Who it says it is.
    owner: String,
    /// For how long, in milliseconds.
    held_for_ms: u64,
    /// How long until the lease ends unless it is extended, in milliseconds.
    remaining_ms: u64,
}

/// Who waits for a lock.
#[derive(Debug, Serialize, ToSchema)]
struct WaiterDocument {
    /// Who it says it is.
    owner: String,
    /// For how long, in milliseconds.
    waiting_for_ms: u64,
}

impl LockDocument {
    fn new(name: String, status: LockStatus) -> Self {
        Self {
            name,
            holders: status.holders.into_iter().map(Into::into).collect(),
            waiters: status.waiters.into_iter().map(Into::into).collect(),
            waiting: status.waiting,
        }
    }
}

impl From<LockHolder> for HolderDocument {
    fn from(holder: LockHolder) -> Self {
        Self {
            fencing_token: holder.token.get(),
            owner: holder.owner,
            held_for_ms: millis(holder.held_for),
            remaining_ms: millis(holder.remaining),
        }
    }
}

impl From<LockWaiter> for WaiterDocument {
    fn from(waiter: LockWaiter) -> Self {
        Self {
            owner: waiter.owner,
            waiting_for_ms: millis(waiter.waiting_for),
        }
    }
}

/// Says who holds a lock and who waits for it.
#[utoipa::path(
    get,
    path = "/v1/locks/{name}",
    params(("name" = String, Path, description = "The lock; a slash in it is written %2F")),
    responses(
        (status = 200, description = "The lock, also if nobody holds it", body = LockDocument),
        (status = 400, description = "The name breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn show(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<LockDocument>, Rejection> {
    let Path(name) = path?;
    let status = app.fleet.lock(&name).status().await?;
    Ok(Json(LockDocument::new(name, status)))
}

/// Whom a lock is taken away from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forced {
    /// Only from the holder with this token.
    fencing_token: Option<u64>,
}

/// From whom a lock was taken away.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForcedDocument {
    /// Their tokens; none, if it was not held, or not by who was meant.
    fencing_tokens: Vec<u64>,
}

/// Takes a lock away from whoever holds it. Who waits for it gets it.
#[utoipa::path(
    delete,
    path = "/v1/locks/{name}",
    params(
        ("name" = String, Path, description = "The lock; a slash in it is written %2F"),
        ("fencing_token" = Option<u64>, Query, description = "Only from the holder with this token, and from nobody who got it since"),
    ),
    responses(
        (status = 200, description = "From whom it was taken away", body = ForcedDocument),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn force(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Forced>, QueryRejection>,
) -> Result<Json<ForcedDocument>, Rejection> {
    let Path(name) = path?;
    let Query(Forced { fencing_token }) = query?;
    let lock = app.fleet.lock(&name);
    let fencing_tokens = match fencing_token {
        Some(token) => {
            let forced = lock.force_release_token(FencingToken::new(token)).await?;
            forced.then_some(token).into_iter().collect()
        }
        None => {
            let forced = lock.force_release().await?;
            forced.into_iter().map(FencingToken::get).collect()
        }
    };
    Ok(Json(ForcedDocument { fencing_tokens }))
}

fn lease_id(text: &str) -> Result<LeaseId, Rejection> {
    LeaseId::parse(text).ok_or_else(|| {
        Problem::new(
            Code::InvalidArgument,
            "lease_id must be 32 hexadecimal digits",
        )
        .into()
    })
}

fn not_held(name: &str) -> Rejection {
    Problem::new(
        Code::FailedPrecondition,
        format!("this lease does not hold `{name}` any more"),
    )
    .into()
}
