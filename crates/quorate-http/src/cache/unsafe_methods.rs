//! Requests that change something, and what then no longer holds (RFC 9111, 4.4; RFC 9875).

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LOCATION, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response};
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
    let origin = cache.looks_at_host.then(|| host(asked));
    let named =
        [LOCATION, CONTENT_LOCATION].map(|name| named(asked, origin.as_deref(), said.get(name)?));
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
        .map(|group| groups::tag(&cache.origin_of(asked), group))
        .collect();
    for tags in tags.chunks(MOST_TAGS) {
        cache.fleet.invalidate_tags(tags).await?;
    }
    removed.map(|_| ())
}

/// What a response names in a field, if it is of the same origin: others have no say about it. Where every host is answered
/// alike (no origin), it is the same whichever is named.
fn named(asked: &Parts, origin: Option<&str>, value: &HeaderValue) -> Option<ResponseKey> {
    let authority = origin.filter(|host| !host.is_empty());
    let authority = authority.unwrap_or("unnamed.invalid");
    // By which scheme it was asked is not known here: by that which is named, if one is.
    let base = |scheme: &str| {
        let path = target(asked).path();
        Url::parse(&format!("{scheme}://{authority}{path}")).ok()
    };
    let named = base("http")?.join(value.to_str().ok()?).ok()?;
    let is_there = match origin {
        Some(_) => named.origin() == base(named.scheme())?.origin(),
        None => matches!(named.scheme(), "http" | "https"),
    };
    let (path, query) = (named.path(), named.query());
    is_there.then(|| ResponseKey::of(&Method::GET, origin.unwrap_or_default(), path, query))
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
            let named = named(&asked, Some(&host(&asked)), &value.parse().unwrap());
            assert_eq!(named.as_ref().map(ResponseKey::as_str), key, "{value}");
        }
    }

    #[test]
    fn every_origin_is_named_where_none_counts() {
        let asked = Request::post("/a/b?c").header("host", "shop.example");
        let (asked, ()) = asked.body(()).unwrap().into_parts();
        for (value, key) in [
            ("x", Some("GET  /a/x")),
            ("https://other.example/x?y", Some("GET  /x?y")),
            ("data:x", None),
            ("ftp://shop.example/x", None),
        ] {
            let named = named(&asked, None, &value.parse().unwrap());
            assert_eq!(named.as_ref().map(ResponseKey::as_str), key, "{value}");
        }
    }
}
