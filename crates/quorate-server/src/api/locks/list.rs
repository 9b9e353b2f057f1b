//! The locks that somebody has or wants.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use futures_util::{StreamExt, TryStreamExt, stream};
use quorate::lock::LockRef;
use quorate_http::Rejection;
use serde::Deserialize;
use tokio::time::Instant;

use super::documents::{ListedLock, LockList};
use crate::api::values::{LOOKS_FOR, PageQuery};
use crate::app::App;
use crate::lock_kind::Kind;

/// Locks that are looked at together: they share a connection, and so a round trip.
const TOGETHER: usize = 64;

/// Which locks are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListQuery {
    prefix: String,
    kind: Option<Kind>,
    all: bool,
    limit: Option<usize>,
    from: Option<String>,
}

/// Lists the locks that are held or waited for. Looks at every key of the server's database: for people, not for programs.
#[utoipa::path(
    get,
    path = "/v1/locks",
    params(
        ("prefix" = Option<String>, Query, description = "What their names begin with. Default: anything"),
        ("kind" = Option<Kind>, Query, description = "Only of this kind"),
        ("all" = Option<bool>, Query, description = "Also those that nobody has or wants, but did within the last day"),
        ("limit" = Option<usize>, Query, description = "About how many, from 1 to 1 000. Default 100"),
        ("from" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "Some of the locks", body = LockList),
        (status = 400, description = "An argument breaks a rule"),
        (status = 503, description = "The backend cannot be reached"),
    ),
    tag = "locks",
)]
pub(crate) async fn list(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<LockList>, Rejection> {
    let Query(query) = query?;
    let asked = PageQuery::new(query.limit, query.from.as_deref())?;
    let mut scan = app.fleet.locks().scan(&query.prefix);
    if let Some(from) = asked.from.clone() {
        scan = scan.after(from);
    }
    let ends = Instant::now() + LOOKS_FOR;
    let (mut locks, mut next) = (Vec::new(), None);
    while let Some(page) = scan.next_page().await? {
        let looks = page.locks.into_iter().filter_map(|lock| {
            let kind = Kind::from_library(lock.kind())?;
            query
                .kind
                .is_none_or(|it| it == kind)
                .then(|| look(kind, lock))
        });
        let looked = stream::iter(looks).buffered(TOGETHER);
        let looked: Vec<_> = looked.try_collect().await?;
        locks.extend(looked.into_iter().filter(|it| query.all || it.is_in_use()));
        next = page.next;
        if locks.len() >= asked.limit() || Instant::now() >= ends {
            break;
        }
    }
    locks.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let next = next.map(|next| next.as_str().to_owned());
    Ok(Json(LockList { locks, next }))
}

async fn look(kind: Kind, lock: LockRef) -> quorate::Result<ListedLock> {
    let status = lock.status().await?;
    Ok(ListedLock::new(kind, lock.name().to_owned(), status))
}
