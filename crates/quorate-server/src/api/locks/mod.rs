//! Locks by hand: a lease is a resource that its holder extends and deletes, and a lock one that anybody may look at.

mod documents;
mod list;

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use quorate::lock::LockRef;
use quorate::{Acquire, FencingToken, LeaseId, Lock};
use quorate_http::{Code, Problem, Rejection};
use serde::Deserialize;
use utoipa::ToSchema;

use self::documents::{ForcedDocument, Held, LockDocument, millis};
pub(crate) use self::list::{__path_list, list};
use super::values::invalid;
use crate::api::document::{Document, duration};
use crate::app::App;
use crate::lock_kind::Kind;

/// Which lock of a name is meant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Which {
    kind: Kind,
}

type Asked = Result<Query<Which>, QueryRejection>;

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
    /// 32 hexadecimal digits, drawn at random and used once. Who has no answer repeats the request with the same, and gets the
    /// same token. Default: the server draws one, and gives the lock back if its client has gone away.
    lease_id: Option<String>,
    /// Who asks, for people who look at the lock. Default: the name of this server.
    owner: Option<String>,
    /// Of a mutex: whether all who name the same `owner` hold it together, with one token.
    #[serde(default)]
    reentrant: bool,
    /// Of a read/write lock: whether to read, with others who do. Default: to write, alone.
    #[serde(default)]
    shared: bool,
    /// Of a semaphore: how many of its permits. Default: 1.
    permits: Option<u32>,
    /// Of a semaphore, and then required: how many permits there are, from 1 to 1000.
    of: Option<u32>,
}

impl AcquireBody {
    /// The lock, or what of it does not go with its kind.
    fn lock(&self, app: &App, kind: Kind, name: &str) -> Result<Lock, Problem> {
        let only_of = |given: bool, rule: &str| if given { Err(invalid(rule)) } else { Ok(()) };
        if kind != Kind::Mutex {
            only_of(self.reentrant, "reentrant is for kind `mutex`")?;
        }
        if kind != Kind::ReadWrite {
            only_of(self.shared, "shared is for kind `read_write`")?;
        }
        if kind != Kind::Semaphore {
            let given = self.permits.is_some() || self.of.is_some();
            only_of(given, "permits and of are for kind `semaphore`")?;
        }
        let fleet = &app.fleet;
        Ok(match kind {
            Kind::Mutex if self.reentrant => {
                let owner = self.owner.as_deref();
                let owner = owner.ok_or_else(|| invalid("owner must be given with reentrant"))?;
                fleet.lock(name).reentrant(owner)
            }
            Kind::Mutex => fleet.lock(name),
            Kind::ReadWrite if self.shared => fleet.rw_lock(name).read().clone(),
            Kind::ReadWrite => fleet.rw_lock(name).write().clone(),
            Kind::Semaphore => {
                let of = self
                    .of
                    .ok_or_else(|| invalid("of must be given for a semaphore"))?;
                fleet.semaphore(name, of).permits(self.permits.unwrap_or(1))
            }
            Kind::Election => {
                let rule = "kind must be `mutex`, `read_write` or `semaphore`: candidates are elected in the library";
                return Err(invalid(rule));
            }
        })
    }
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

/// Acquires a lock.
#[utoipa::path(
    post,
    path = "/v1/locks/{name}",
    params(
        ("name" = String, Path, description = "The lock; a slash in it is written %2F"),
        ("kind" = Option<Kind>, Query, description = "Which lock of that name. Default: `mutex`"),
    ),
    request_body = AcquireBody,
    responses(
        (status = 201, description = "Acquired; repeated with the same `lease_id`, the same", body = Held),
        (status = 400, description = "An argument breaks a rule"),
        (status = 409, description = "Somebody else holds it; `remaining_ms` says how much longer"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn acquire(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Asked,
    body: Result<Document<AcquireBody>, Rejection>,
) -> Result<(StatusCode, Json<Held>), Rejection> {
    let Path(name) = path?;
    let Query(Which { kind }) = query?;
    let Document(body) = body?;
    let wait = body.wait.unwrap_or_default();
    if wait > app.max_wait {
        let rule = format!("wait must be at most {:?}", app.max_wait);
        return Err(Problem::new(Code::InvalidArgument, rule).into());
    }
    let lock = body.lock(&app, kind, &name)?;
    let mut request = if wait.is_zero() {
        lock.try_acquire()
    } else {
        lock.acquire().wait(wait)
    };
    if let Some(owner) = body.owner {
        request = request.owner(owner);
    }
    // A client that goes away drops this future, and the library releases what it got; unless the client can name it.
    if let Some(lease) = &body.lease_id {
        request = request.lease_id(lease_id(lease)?);
    }
    match request.lease(body.lease).no_renewal().await? {
        Acquire::Acquired(guard) => {
            let left = guard.remaining();
            let lease = guard.detach().await?;
            let held = Held::new((kind, name), lease.id, Some(lease.token.get()), left);
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
    params(("name" = String, Path), ("lease_id" = String, Path), ("kind" = Option<Kind>, Query)),
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
    query: Asked,
    body: Result<Document<ExtendBody>, Rejection>,
) -> Result<Json<Held>, Rejection> {
    let Path((name, lease)) = path?;
    let Query(Which { kind }) = query?;
    let Document(body) = body?;
    let lease = lease_id(&lease)?;
    // Counted from before the request: the backend's lease cannot end before ours does.
    let asked = tokio::time::Instant::now();
    if !by_name(&app, kind, &name).extend(lease, body.lease).await? {
        return Err(not_held(&name));
    }
    let left = body.lease.saturating_sub(asked.elapsed());
    Ok(Json(Held::new((kind, name), lease, None, left)))
}

/// Releases a lock.
#[utoipa::path(
    delete,
    path = "/v1/locks/{name}/{lease_id}",
    params(("name" = String, Path), ("lease_id" = String, Path), ("kind" = Option<Kind>, Query)),
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
    query: Asked,
) -> Result<StatusCode, Rejection> {
    let Path((name, lease)) = path?;
    let Query(Which { kind }) = query?;
    if by_name(&app, kind, &name)
        .release(lease_id(&lease)?)
        .await?
    {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(not_held(&name))
    }
}

/// Says who holds a lock and who waits for it.
#[utoipa::path(
    get,
    path = "/v1/locks/{name}",
    params(
        ("name" = String, Path, description = "The lock; a slash in it is written %2F"),
        ("kind" = Option<Kind>, Query, description = "Which lock of that name. Default: `mutex`"),
    ),
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
    query: Asked,
) -> Result<Json<LockDocument>, Rejection> {
    let Path(name) = path?;
    let Query(Which { kind }) = query?;
    let status = by_name(&app, kind, &name).status().await?;
    Ok(Json(LockDocument::new(kind, name, status)))
}

/// Whom a lock is taken away from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Forced {
    kind: Kind,
    /// Only from the holder with this token.
    fencing_token: Option<u64>,
}

/// Takes a lock away from whoever holds it. Who waits for it gets it.
#[utoipa::path(
    delete,
    path = "/v1/locks/{name}",
    params(
        ("name" = String, Path, description = "The lock; a slash in it is written %2F"),
        ("kind" = Option<Kind>, Query, description = "Which lock of that name. Default: `mutex`"),
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
    let Query(Forced {
        kind,
        fencing_token,
    }) = query?;
    let lock = by_name(&app, kind, &name);
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

fn by_name(app: &App, kind: Kind, name: &str) -> LockRef {
    app.fleet.locks().of(kind.of_library(), name)
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
