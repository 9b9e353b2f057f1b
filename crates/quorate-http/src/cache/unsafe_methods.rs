//! Requests that change something, and what then no longer holds (RFC 9111, 4.4; RFC 9875).

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LOCATION, HeaderName, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response};
use quorate::Result as QuorateResult;
use tokio::runtime::Handle;
use url::Url;

use super::directives::strings;
use super::exchange::Run;
use super::groups;
use super::handle::Shared;
use super::key::{ResponseKey, host, target};
use super::meters::Answered;
use super::status::{Forward, Handled};

/// The most tags of one invalidation.
const MOST_TAGS: usize = 32;

/// Lets the service change something, and ends what is kept of it before anybody hears of that.
///
/// When the client goes away meanwhile, the change may have been made, or may be on its way: then what was asked to change
/// is ended all the same.
pub(super) async fn handle<E>(
    cache: &Arc<Shared>,
    run: &Run<E>,
    parts: Parts,
    body: Body,
) -> Result<Response<Body>, E> {
    cache.meters.count(Answered::Bypass);
    let mut change = Change {
        cache: cache.clone(),
        asked: Some((parts.clone(), HeaderMap::new())),
    };
    let mut response = run(Request::from_parts(parts, body)).await?;
    if response.status().is_success() || response.status().is_redirection() {
        if let Some((_, said)) = &mut change.asked {
            said.clone_from(response.headers());
        }
        change.end().await;
    } else {
        change.asked = None;
    }
    Handled::forwarded(Forward::Method).write(response.headers_mut());
    Ok(response)
}

/// A change on its way. Dropped before it is ended, it is ended in the background.
struct Change {
    cache: Arc<Shared>,
    /// The request, and what was said of it.
    asked: Option<(Parts, HeaderMap)>,
}

impl Change {
    async fn end(&mut self) {
        if let Some((asked, said)) = &self.asked {
            let ended = end(&self.cache, asked, said).await;
            // The change is made: what is kept of it ends at its time.
            ended.unwrap_or_else(|error| self.cache.report(&error));
        }
        self.asked = None;
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        if Handle::try_current().is_err() {
            return;
        }
        let mut change = Self {
            cache: self.cache.clone(),
            asked: Some(asked),
        };
        let tasks = self.cache.tasks.clone();
        drop(tasks.spawn(async move { change.end().await }));
    }
}

/// Ends what a response says no longer holds.
async fn end(cache: &Shared, asked: &Parts, said: &HeaderMap) -> QuorateResult<()> {
    let mut keys = vec![ResponseKey::of_request(asked, &Method::GET)];
    let named = [LOCATION, CONTENT_LOCATION].map(|name| named(asked, said, &name));
    keys.extend(named.into_iter().flatten());
    let entries: Vec<_> = keys
        .into_iter()
        .map(|key| cache.hosted(key).entry())
        .collect();
    let removed = cache
        .entries
        .remove_many(entries.iter().map(String::as_str))
        .await;
    let groups = strings(said, &groups::INVALIDATION);
    let tags: Vec<_> = groups
        .iter()
        .map(|group| groups::tag(asked, group))
        .collect();
    for tags in tags.chunks(MOST_TAGS) {
        cache.fleet.invalidate_tags(tags).await?;
    }
    removed.map(|_| ())
}

/// What a response names in a field, if it is of the same origin: others have no say about it.
fn named(asked: &Parts, said: &HeaderMap, name: &HeaderName) -> Option<ResponseKey> {
    let value = said.get(name)?.to_str().ok()?;
    let host = host(asked);
    let authority = if host.is_empty() {
        "unnamed.invalid"
    } else {
        &host
    };
    // By which scheme it was asked is not known here: by that which is named, if one is.
    let base = |scheme: &str| {
        let path = target(asked).path();
        Url::parse(&format!("{scheme}://{authority}{path}")).ok()
    };
    let named = base("http")?.join(value).ok()?;
    if named.origin() != base(named.scheme())?.origin() {
        return None;
    }
    let (path, query) = (named.path(), named.query());
    Some(ResponseKey::of(&Method::GET, &host, path, query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_origin_is_named() {
        let asked = Request::post("/a/b?c").header("host", "Shop.example:8080");
        let (asked, ()) = asked.body(()).unwrap().into_parts();
        for (value, key) in [
            ("/x?y=1", Some("GET shop.example:8080 /x?y=1")),
            ("x", Some("GET shop.example:8080 /a/x")),
            (
                "https://shop.example:8080/x",
                Some("GET shop.example:8080 /x"),
            ),
            ("https://shop.example/x", None),
            ("//other.example/x", None),
            ("data:x", None),
        ] {
            let mut said = HeaderMap::new();
            said.insert(LOCATION, value.parse().unwrap());
            let named = named(&asked, &said, &LOCATION);
            assert_eq!(named.as_ref().map(ResponseKey::as_str), key, "{value}");
        }
    }
}
