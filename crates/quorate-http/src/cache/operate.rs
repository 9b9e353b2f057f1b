//! What operators, and services that change something, do with a cache.

use std::time::Duration;

use axum::http::response::Response;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{Stream, StreamExt, TryStreamExt};
use quorate::{Error, Result};

use super::control::CacheControl;
use super::date;
use super::handle::ResponseCache;
use super::key::ResponseKey;
use super::mode::LONGEST;
use super::stored::{CachedResponse, EntryMeta, Held, Kept, StoredResponse, Terms};

/// Entries that are read at the same time.
const AT_ONCE: usize = 64;

impl ResponseCache {
    /// What is kept under a key, fresh or not.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get(&self, key: &ResponseKey) -> Result<Option<CachedResponse>> {
        let key = self.shared.hosted(key.clone());
        let held = self.held(&key.entry()).await?;
        let held = held.filter(|held| held.response.key == key.as_str());
        Ok(held.map(CachedResponse::from))
    }

    /// Keeps a response, fresh for `ttl`. The tags are those of its [`CacheControl`], as of a handler. `false`: it is larger
    /// than the cache keeps.
    ///
    /// # Errors
    /// `InvalidInput` if `ttl` is less than a millisecond or more than a year, or a tag breaks its rule; and those of the
    /// backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be kept.
    pub async fn set(
        &self,
        key: &ResponseKey,
        response: Response<Bytes>,
        ttl: Duration,
    ) -> Result<bool> {
        if ttl < Duration::from_millis(1) || ttl > LONGEST {
            return Err(Error::invalid("ttl", "must be from 1 ms to a year"));
        }
        let key = self.shared.hosted(key.clone());
        let (parts, body) = response.into_parts();
        if body.len() > self.shared.max_body {
            return Ok(false);
        }
        let mut texts = key.as_str().splitn(4, ' ');
        let method = texts.next().unwrap_or_default().parse::<Method>();
        let path = texts.nth(1).unwrap_or_default().to_owned();
        let mut headers = parts.headers;
        let date = || date::field(date::now());
        headers.entry(axum::http::header::DATE).or_insert_with(date);
        let stored = StoredResponse {
            key: key.as_str().to_owned(),
            method: method.unwrap_or_default(),
            path,
            status: parts.status,
            headers,
            trailers: HeaderMap::new(),
            body,
            vary: Vec::new(),
            id: rand::random(),
            terms: Terms {
                fresh: ttl,
                ..Terms::default()
            },
            handler_ttl: Some(ttl),
        };
        let control = parts.extensions.get::<CacheControl>().cloned();
        let kept = Kept::Response(Box::new(stored));
        let put = self.shared.entries.put(&key.entry(), &kept).ttl(ttl);
        put.stale_for(Duration::ZERO)
            .tags(control.unwrap_or_default().tags)
            .await
    }

    /// Removes what is kept under a key, with what varies from it, and says whether there was something. No answer that is
    /// being made meanwhile is kept.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be removed.
    pub async fn delete(&self, key: &ResponseKey) -> Result<bool> {
        let key = self.shared.hosted(key.clone());
        self.shared.entries.remove(&key.entry()).await
    }

    /// Removes everything, and says how much there was, with what was only remembered not to be kept.
    ///
    /// On a server this looks at every key of the whole database, some hundred at a time; so do
    /// [`entries`](Self::entries) and [`invalidate`](Self::invalidate). A tag ends what has it at once.
    ///
    /// # Errors
    /// Those of the backend; some of it may be removed then.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of it may be removed.
    pub async fn clear(&self) -> Result<u64> {
        self.shared.entries.clear().await
    }

    /// What is known of the responses that are kept, in no order.
    pub fn entries(&self) -> impl Stream<Item = Result<EntryMeta>> + Send + use<> {
        let cache = self.clone();
        let names = self.shared.entries.scan("*");
        let meta = move |name: Result<String>| {
            let cache = cache.clone();
            async move { Ok(cache.held(&name?).await?.map(|held| held.meta())) }
        };
        let metas = names.map(meta).buffer_unordered(AT_ONCE);
        metas.try_filter_map(|meta| std::future::ready(Ok(meta)))
    }

    /// Removes the responses of which `is_meant` is true, and says how many there were. No answer that is being made meanwhile is
    /// kept, whatever it will be: whoever asked is given it, and the next one asks again.
    ///
    /// # Errors
    /// Those of the backend; some of them may be removed then.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of them may be removed.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::Fleet;
    /// use quorate_http::cache::ResponseCache;
    ///
    /// let pages = ResponseCache::builder(Fleet::embedded()).build()?;
    /// let removed = pages.invalidate(|entry| entry.path.starts_with("/users/")).await?;
    /// assert_eq!(removed, 0);
    /// # Ok(()) }
    /// ```
    pub async fn invalidate(
        &self,
        is_meant: impl Fn(&EntryMeta) -> bool + Send + Sync,
    ) -> Result<u64> {
        // What is on its way now is either not kept any more, or is there when it is looked for.
        self.shared.entries.end_loads().await?;
        let names = self.shared.entries.scan("*").try_chunks(AT_ONCE);
        let mut chunks = Box::pin(names);
        let mut removed = 0;
        while let Some(names) = chunks.next().await {
            let looks = names
                .map_err(|error| error.1)?
                .into_iter()
                .map(|name| async {
                    let entry = self.shared.entries.entry(&name).await?;
                    Ok::<_, Error>(entry.map(|entry| (name, entry)))
                });
            let found = try_join_all(looks).await?;
            let (mut meant, mut remembered) = (Vec::new(), Vec::new());
            for (name, entry) in found.into_iter().flatten() {
                if matches!(entry.value, Kept::Pass | Kept::Failed) {
                    remembered.push(name);
                } else if Held::of(entry).is_some_and(|held| is_meant(&held.meta())) {
                    meant.push(name);
                }
            }
            removed += self.remove(&meant).await?;
            // That something was not kept is no response: to forget it costs one question to the service.
            self.remove(&remembered).await?;
        }
        Ok(removed)
    }

    async fn remove(&self, names: &[String]) -> Result<u64> {
        let names = names.iter().map(String::as_str);
        self.shared.entries.remove_many(names).await
    }

    async fn held(&self, name: &str) -> Result<Option<Held>> {
        Ok(self.shared.entries.entry(name).await?.and_then(Held::of))
    }
}
