//! Caches: entries, tags, and ending them.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use quorate::cache::{CacheEntry, Oversized};
use quorate::{Cache, CacheSpec, Codec, Micros};
use quorate_http::{Code, Problem, Rejection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Document;
use super::values::{
    Condition, Deleted, EXPIRES_IN, JsonValue, KeyPage, KeyQuery, answer, invalid, max_bytes,
    millis, precondition_failed, ttl,
};
use crate::app::App;

type Entry = Result<Path<(String, String)>, PathRejection>;

/// The tags of an entry, each percent-encoded, with `, ` between.
pub(super) const TAGS: HeaderName = HeaderName::from_static("quorate-tags");

/// What is not written as it is in that header.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'%').add(b'"');

fn open(app: &App, name: &str) -> quorate::Result<Cache<str, Bytes>> {
    let spec = CacheSpec::try_with_codec(name, Codec::bytes())?;
    let spec = spec.max_bytes(max_bytes(app), Oversized::Refuse);
    Ok(app.fleet.cache(&spec))
}

/// Whether an entry will do that is no longer fresh.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GetQuery {
    stale: bool,
}

/// Shows an entry.
#[utoipa::path(
    get,
    path = "/v1/cache/{cache}/{key}",
    params(
        ("cache" = String, Path, description = "The cache; a slash in it is written %2F"),
        ("key" = String, Path, description = "The key's text; a slash in it is written %2F"),
        ("stale" = Option<bool>, Query, description = "Whether an entry will do that is no longer fresh, and only kept for when loading fails"),
        ("If-None-Match" = Option<String>, Header, description = "Etags of values that the client has"),
    ),
    responses(
        (status = 200, description = "The value: JSON, or bytes that are none as application/octet-stream. `Age` is in seconds; \
                                      `Quorate-Expires-In-Ms` says how long it is fresh; `Quorate-Tags` has its tags, \
                                      percent-encoded, with `, ` between",
         content_type = "application/json"),
        (status = 304, description = "The client has it"),
        (status = 400, description = "The cache or the key breaks a rule"),
        (status = 404, description = "There is no such entry"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "cache",
)]
pub(crate) async fn get(
    State(app): State<App>,
    path: Entry,
    query: Result<Query<GetQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let (Path((name, key)), Query(query)) = (path?, query?);
    let cache = open(&app, &name)?;
    let entry = cache.entry(&key).await?;
    let entry = entry.filter(|entry| entry.is_fresh() || query.stale);
    let missing = || Problem::new(Code::NotFound, format!("the cache `{name}` has no `{key}`"));
    let entry = entry.ok_or_else(missing)?;
    let mut own = HeaderMap::new();
    if entry.stored_at == Micros::default() {
        // A counter: it says nothing of itself.
        let left = cache.remaining(&key).await?;
        own.insert(EXPIRES_IN, millis(left.ok_or_else(missing)?));
    } else {
        describe(&entry, &mut own);
    }
    Ok(answer(entry.value, &headers, own))
}

fn describe(entry: &CacheEntry<Bytes>, headers: &mut HeaderMap) {
    headers.insert(EXPIRES_IN, millis(entry.fresh_for));
    headers.insert(header::AGE, HeaderValue::from(entry.age.as_secs()));
    if !entry.tags.is_empty() {
        let tags = entry.tags.iter();
        let tags: Vec<_> = tags
            .map(|tag| utf8_percent_encode(tag, ENCODED).to_string())
            .collect();
        let tags = HeaderValue::from_str(&tags.join(", "));
        headers.insert(TAGS, tags.expect("made of visible ASCII characters"));
    }
}

/// Puts a value into a cache.
///
/// The body is any JSON. With `If-None-Match: *` only if there is no entry.
#[utoipa::path(
    put,
    path = "/v1/cache/{cache}/{key}",
    params(
        ("cache" = String, Path),
        ("key" = String, Path),
        ("ttl" = Option<String>, Query, description = "How long it is fresh, such as `30s`. Default one hour"),
        ("tag" = Option<Vec<String>>, Query, explode, description = "What it is about; may be repeated, at most 32 times"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no entry"),
    ),
    request_body(content_type = "application/json"),
    responses(
        (status = 204, description = "Put"),
        (status = 400, description = "An argument or the body breaks a rule"),
        (status = 412, description = "There is an entry already"),
        (status = 413, description = "The value is too large"),
        (status = 415, description = "The body is not application/json"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "cache",
)]
pub(crate) async fn put(
    State(app): State<App>,
    path: Entry,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    headers: HeaderMap,
    body: Result<JsonValue, Rejection>,
) -> Result<StatusCode, Rejection> {
    let (Path((name, key)), Query(pairs)) = (path?, query?);
    let terms = Terms::read(pairs)?;
    let condition = Condition::of(&headers)?;
    let JsonValue(value) = body?;
    let mut put = open(&app, &name)?.put(&key, &value).tags(terms.tags);
    if let Some(ttl) = terms.ttl {
        put = put.ttl(ttl);
    }
    match condition {
        Condition::None => {}
        Condition::Absent => put = put.if_absent(),
        Condition::OneOf(_) => {
            return Err(invalid("if-match is for stores: a cache may forget at any time").into());
        }
    }
    if put.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(precondition_failed("there is an entry already"))
    }
}

/// How a value is kept.
#[derive(Debug, Default)]
struct Terms {
    ttl: Option<Duration>,
    tags: Vec<String>,
}

impl Terms {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut terms = Self::default();
        for (name, value) in pairs {
            match &*name {
                "tag" => terms.tags.push(value),
                "ttl" if terms.ttl.is_none() => terms.ttl = Some(ttl(&value)?),
                "ttl" => return Err(invalid("ttl must be given once")),
                _ => return Err(invalid("query may have ttl and tag, and nothing else")),
            }
        }
        Ok(terms)
    }
}

/// Removes an entry. No load that is under way keeps its value.
#[utoipa::path(
    delete,
    path = "/v1/cache/{cache}/{key}",
    params(("cache" = String, Path), ("key" = String, Path)),
    responses(
        (status = 200, description = "It is not there any more", body = Deleted),
        (status = 400, description = "The cache or the key breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "cache",
)]
pub(crate) async fn remove(
    State(app): State<App>,
    path: Entry,
) -> Result<Json<Deleted>, Rejection> {
    let Path((name, key)) = path?;
    let deleted = open(&app, &name)?.remove(&key).await?;
    Ok(Json(Deleted { deleted }))
}

/// Lists the keys of a cache that match a glob.
///
/// On a server this looks at every key of the database, a part with each page.
#[utoipa::path(
    get,
    path = "/v1/cache/{cache}",
    params(
        ("cache" = String, Path),
        ("match" = Option<String>, Query, description = "A glob: `*` any text, `?` one byte, `[abc]`, and `\\` before what is meant as it is. Default `*`"),
        ("limit" = Option<usize>, Query, description = "About how many keys, from 1 to 1 000. Default 100"),
        ("from" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of keys", body = KeyPage),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "cache",
)]
pub(crate) async fn list(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<KeyQuery>, QueryRejection>,
) -> Result<Json<KeyPage>, Rejection> {
    let (Path(name), Query(query)) = (path?, query?);
    let asked = query.by_glob()?;
    let cache = open(&app, &name)?;
    Ok(asked.page.read(cache.scan(&asked.text)).await?)
}

/// Which entries are to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearQuery {
    #[serde(rename = "match")]
    glob: Option<String>,
}

/// How many there were.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cleared {
    removed: u64,
}

/// Removes the entries of a cache whose keys match a glob.
///
/// On a server this looks at every key of the database. To end entries at once, invalidate a tag.
#[utoipa::path(
    delete,
    path = "/v1/cache/{cache}",
    params(
        ("cache" = String, Path),
        ("match" = String, Query, description = "A glob; `*` for all of them"),
    ),
    responses(
        (status = 200, description = "They are not there any more", body = Cleared),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached; some may be removed"),
        (status = 504, description = "The time was up; some are removed, and asking again goes on"),
    ),
    tag = "cache",
)]
pub(crate) async fn clear(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<ClearQuery>, QueryRejection>,
) -> Result<Json<Cleared>, Rejection> {
    let (Path(name), Query(query)) = (path?, query?);
    // So that nobody clears everything by leaving out a key.
    let glob = query
        .glob
        .ok_or_else(|| invalid("match must be given: `*` for all"))?;
    let removed = open(&app, &name)?.clear_matching(&glob).await?;
    Ok(Json(Cleared { removed }))
}

/// What is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvalidateBody {
    /// Tags, at most 32 of 1 to 255 bytes each.
    tags: Vec<String>,
}

/// Ends every entry of every cache that has one of the tags.
///
/// Once it is answered, nobody reads what was stored before. It costs the same whatever the number of entries.
#[utoipa::path(
    post,
    path = "/v1/cache-tags/invalidate",
    request_body = InvalidateBody,
    responses(
        (status = 204, description = "Nobody reads them any more; asking again gives the same answer"),
        (status = 400, description = "A tag breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "cache",
)]
pub(crate) async fn invalidate(
    State(app): State<App>,
    body: Result<Document<InvalidateBody>, Rejection>,
) -> Result<StatusCode, Rejection> {
    let Document(body) = body?;
    if body.tags.is_empty() {
        return Err(invalid("tags must not be empty").into());
    }
    app.fleet.invalidate_tags(body.tags).await?;
    Ok(StatusCode::NO_CONTENT)
}
