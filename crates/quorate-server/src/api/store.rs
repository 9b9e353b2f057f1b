//! Stores: values by key.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quorate::store::{ConditionalWrite, Fenced, Increment, RemoveEntry, SetEntry};
use quorate::{Codec, FencingToken, Remaining, Store, StoreSpec};
use quorate_http::{Code, FENCING_TOKEN, Problem, Rejection, fencing_token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::{Document, duration};
use super::values::{
    Condition, Deleted, EXPIRES_IN, JsonValue, KeyPage, KeyQuery, answer, entity_tag,
    idempotency_key, invalid, max_bytes, millis, precondition_failed, ttl,
};
use crate::app::App;
use crate::fenced::{admitted, send};

type Entry = Result<Path<(String, String)>, PathRejection>;

/// What `?ttl=` says for the end that the entry had.
const KEEP: &str = "keep";

fn open(app: &App, name: &str) -> quorate::Result<Store<str, Bytes>> {
    let spec = StoreSpec::try_with_codec(name, Codec::bytes())?.max_bytes(max_bytes(app));
    Ok(app.fleet.store(&spec))
}

fn not_found(store: &str, key: &str) -> Rejection {
    Problem::new(
        Code::NotFound,
        format!("the store `{store}` has no `{key}`"),
    )
    .into()
}

/// The fencing token that a write comes with, if it comes with one.
fn token_of(headers: &HeaderMap) -> Result<Option<FencingToken>, Rejection> {
    let is_given = headers.contains_key(FENCING_TOKEN);
    is_given.then(|| fencing_token(headers)).transpose()
}

fn unless_stale<T>(fenced: Fenced<T>) -> Result<T, Rejection> {
    admitted(fenced).map_err(|rule| precondition_failed(&rule))
}

/// Shows the value of an entry.
#[utoipa::path(
    get,
    path = "/v1/store/{store}/{key}",
    params(
        ("store" = String, Path, description = "The store; a slash in it is written %2F"),
        ("key" = String, Path, description = "The key's text; a slash in it is written %2F"),
        ("If-None-Match" = Option<String>, Header, description = "Etags of values that the client has"),
    ),
    responses(
        (status = 200, description = "The value: JSON, or bytes that are none as application/octet-stream. `ETag` stands for \
                                      its bytes; `Quorate-Expires-In-Ms` says how long the entry stays, if not for ever",
         content_type = "application/json"),
        (status = 304, description = "The client has it"),
        (status = 400, description = "The store or the key breaks a rule"),
        (status = 404, description = "There is no such entry"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "store",
)]
pub(crate) async fn get(
    State(app): State<App>,
    path: Entry,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let Path((name, key)) = path?;
    let store = open(&app, &name)?;
    let (value, remaining) = tokio::try_join!(store.get(&key), store.remaining(&key))?;
    let (Some(value), Some(remaining)) = (value, remaining) else {
        return Err(not_found(&name, &key));
    };
    let mut own = HeaderMap::new();
    if let Remaining::For(left) = remaining {
        own.insert(EXPIRES_IN, millis(left));
    }
    Ok(answer(value, &headers, own))
}

/// How long what is set lives.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SetQuery {
    ttl: Option<String>,
}

enum Ttl {
    Forever,
    Keep,
    For(Duration),
}

/// Sets the value of an entry.
///
/// The body is any JSON. With `If-None-Match: *` only if there is none, with `If-Match` only if it has that value, with
/// `Fencing-Token` only if nobody wrote with a greater one.
#[utoipa::path(
    put,
    path = "/v1/store/{store}/{key}",
    params(
        ("store" = String, Path),
        ("key" = String, Path),
        ("ttl" = Option<String>, Query, description = "How long it lives, such as `30s`; `keep` for the end it had. Without it, until it is deleted"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no entry"),
        ("If-Match" = Option<String>, Header, description = "Etags: only if it has one of these values"),
        ("Fencing-Token" = Option<String>, Header, description = "Only with a token as great as the greatest that the entry was written with"),
        ("Idempotency-Key" = Option<String>, Header, description = "With `If-None-Match: *`: repeated with the same key, it is answered as the first time"),
    ),
    request_body(content_type = "application/json"),
    responses(
        (status = 204, description = "Set; `ETag` stands for the value"),
        (status = 400, description = "An argument or the body breaks a rule"),
        (status = 412, description = "The condition does not hold, or the entry was written with a greater fencing token"),
        (status = 413, description = "The value is too large"),
        (status = 415, description = "The body is not application/json"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "store",
)]
pub(crate) async fn set(
    State(app): State<App>,
    path: Entry,
    query: Result<Query<SetQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<JsonValue, Rejection>,
) -> Result<Response, Rejection> {
    let (Path((name, key)), Query(query)) = (path?, query?);
    let ttl = match query.ttl.as_deref() {
        None => Ttl::Forever,
        Some(KEEP) => Ttl::Keep,
        Some(text) => Ttl::For(ttl(text)?),
    };
    let (condition, token) = (Condition::of(&headers)?, token_of(&headers)?);
    let once = idempotency_key(&headers)?;
    if once.is_some() && condition != Condition::Absent {
        return Err(invalid(
            "idempotency-key must come with `if-none-match: *`, or to an increment",
        )
        .into());
    }
    let JsonValue(value) = body?;
    let store = open(&app, &name)?;
    let write = match &condition {
        Condition::None => {
            let write = store.set(&key, &value);
            let write = match ttl {
                Ttl::Forever => write,
                Ttl::Keep => write.keep_ttl(),
                Ttl::For(ttl) => write.ttl(ttl),
            };
            unless_stale(send(write, token, SetEntry::fenced).await?)?;
            return Ok(set_to(&value));
        }
        Condition::Absent => store.set_if_absent(&key, &value),
        Condition::OneOf(_) => {
            let found = store
                .get(&key)
                .await?
                .filter(|found| condition.admits(found));
            let found = found.ok_or_else(|| precondition_failed(NOT_THAT))?;
            store.compare_and_set(&key, Some(&found), &value)
        }
    };
    let write = match ttl {
        Ttl::Forever => write,
        Ttl::Keep => write.keep_ttl(),
        Ttl::For(ttl) => write.ttl(ttl),
    };
    let write = match once {
        Some(once) => write.idempotency_key(once),
        None => write,
    };
    let made = unless_stale(send(write, token, ConditionalWrite::fenced).await?)?;
    match (made, condition) {
        (true, _) => Ok(set_to(&value)),
        (false, Condition::Absent) => Err(precondition_failed("there is an entry already")),
        (false, _) => Err(precondition_failed(NOT_THAT)),
    }
}

const NOT_THAT: &str = "the entry does not have that value";

fn set_to(value: &[u8]) -> Response {
    (StatusCode::NO_CONTENT, [(header::ETAG, entity_tag(value))]).into_response()
}

/// Deletes an entry.
///
/// With `If-Match` only if it has that value, with `Fencing-Token` only if nobody wrote with a greater one.
#[utoipa::path(
    delete,
    path = "/v1/store/{store}/{key}",
    params(
        ("store" = String, Path),
        ("key" = String, Path),
        ("If-Match" = Option<String>, Header, description = "Etags: only if it has one of these values"),
        ("Fencing-Token" = Option<String>, Header, description = "Only with a token as great as the greatest that the entry was written with"),
    ),
    responses(
        (status = 200, description = "It is not there any more", body = Deleted),
        (status = 400, description = "An argument breaks a rule"),
        (status = 412, description = "The condition does not hold, or the entry was written with a greater fencing token"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "store",
)]
pub(crate) async fn delete(
    State(app): State<App>,
    path: Entry,
    headers: HeaderMap,
) -> Result<Json<Deleted>, Rejection> {
    let Path((name, key)) = path?;
    let (condition, token) = (Condition::of(&headers)?, token_of(&headers)?);
    let store = open(&app, &name)?;
    match condition {
        Condition::None => {
            let write = send(store.delete(&key), token, RemoveEntry::fenced).await?;
            let deleted = unless_stale(write)?;
            Ok(Json(Deleted { deleted }))
        }
        Condition::Absent => Err(invalid("if-none-match means nothing here").into()),
        Condition::OneOf(_) => {
            let found = store
                .get(&key)
                .await?
                .filter(|found| condition.admits(found));
            let found = found.ok_or_else(|| precondition_failed(NOT_THAT))?;
            let write = store.compare_and_delete(&key, &found);
            if !unless_stale(send(write, token, RemoveEntry::fenced).await?)? {
                return Err(precondition_failed(NOT_THAT));
            }
            Ok(Json(Deleted { deleted: true }))
        }
    }
}

/// How a counter is added to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncrementBody {
    /// How much is added; may be negative. Default 1.
    #[serde(default = "one")]
    by: i64,
    /// How long the counter lives: text with a unit. Counted from when it is made, unless `extend` says otherwise. Default:
    /// until it is deleted.
    #[schema(example = "1h", value_type = Option<String>)]
    #[serde(default, deserialize_with = "duration::optional")]
    ttl: Option<Duration>,
    /// Counts `ttl` anew with this increment.
    #[serde(default)]
    extend: bool,
}

const fn one() -> i64 {
    1
}

/// A counter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Counter {
    /// What it stands at.
    value: i64,
}

/// Adds to a counter, which begins at 0.
#[utoipa::path(
    post,
    path = "/v1/store/{store}/{key}/increment",
    params(
        ("store" = String, Path),
        ("key" = String, Path),
        ("Fencing-Token" = Option<String>, Header, description = "Only with a token as great as the greatest that the entry was written with"),
        ("Idempotency-Key" = Option<String>, Header, description = "Repeated with the same key, it is answered as the first time, for ten minutes"),
    ),
    request_body = IncrementBody,
    responses(
        (status = 200, description = "Added", body = Counter),
        (status = 400, description = "An argument breaks a rule, or the counter would leave the range of 64 bits"),
        (status = 409, description = "What is there is no counter"),
        (status = 412, description = "The entry was written with a greater fencing token"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "store",
)]
pub(crate) async fn increment(
    State(app): State<App>,
    path: Entry,
    headers: HeaderMap,
    body: Result<Document<IncrementBody>, Rejection>,
) -> Result<Json<Counter>, Rejection> {
    let Path((name, key)) = path?;
    let (once, token) = (idempotency_key(&headers)?, token_of(&headers)?);
    let Document(body) = body?;
    let mut spec = StoreSpec::<str, i64>::try_new(&*name)?;
    match body.ttl {
        Some(ttl) => spec = spec.try_ttl(ttl)?,
        None if body.extend => return Err(invalid("extend must come with a ttl").into()),
        None => {}
    }
    let mut write = app.fleet.store(&spec).increment(&key, body.by);
    if let Some(ttl) = body.ttl.filter(|_| body.extend) {
        write = write.ttl(ttl);
    }
    if let Some(once) = once {
        write = write.idempotency_key(once);
    }
    let added = send(write, token, Increment::fenced).await;
    let added = added.map_err(|error| match error.kind() {
        quorate::ErrorKind::Decode => {
            let rule = format!("`{key}` of the store `{name}` is no counter");
            Rejection::from(Problem::new(Code::FailedPrecondition, rule))
        }
        _ => error.into(),
    })?;
    let value = unless_stale(added)?;
    Ok(Json(Counter { value }))
}

/// Lists the keys of a store that begin with a text.
///
/// On a server this looks at every key of the database, a part with each page.
#[utoipa::path(
    get,
    path = "/v1/store/{store}",
    params(
        ("store" = String, Path),
        ("prefix" = Option<String>, Query, description = "What the keys begin with. Default: anything"),
        ("limit" = Option<usize>, Query, description = "About how many keys, from 1 to 1 000. Default 100"),
        ("from" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of keys", body = KeyPage),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "store",
)]
pub(crate) async fn list(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<KeyQuery>, QueryRejection>,
) -> Result<Json<KeyPage>, Rejection> {
    let (Path(name), Query(query)) = (path?, query?);
    let asked = query.by_prefix()?;
    let store = open(&app, &name)?;
    Ok(asked.page.read(store.scan(&asked.text)).await?)
}
