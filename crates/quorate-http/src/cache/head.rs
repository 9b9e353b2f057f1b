//! What the answer to a HEAD says of what is kept (RFC 9111, 4.3.5).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, response};
use quorate::{Loaded, Result as QuorateResult};
use tokio::time::Instant;

use super::ask::loaded;
use super::conditional::{Heard, heard};
use super::exchange::Exchange;
use super::key::ResponseKey;
use super::meters::Answered;
use super::mode::Verdict;
use super::status::Handled;
use super::stored::{Held, Kept, StoredResponse};

impl<E: Send + 'static> Exchange<E> {
    /// Asks the service for a request that keeps nothing itself, and learns from what a HEAD is answered with.
    pub(super) async fn for_itself(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
        handled: Handled,
    ) -> Result<Response<Body>, E> {
        let began = Instant::now();
        let response = self.alone(handled, Answered::Miss).await?;
        let is_head = self.request.parts.method == Method::HEAD;
        let Some(held) = held.filter(|held| is_head && held.response.status == StatusCode::OK)
        else {
            return Ok(response);
        };
        let (parts, body) = response.into_parts();
        let learning = self.learn(key, held, &parts, began.elapsed());
        if let Err(error) = Box::pin(learning).await {
            self.cache.report(&error);
        }
        Ok(Response::from_parts(parts, body))
    }

    async fn learn(
        &self,
        key: &ResponseKey,
        held: &Held,
        head: &response::Parts,
        delay: Duration,
    ) -> QuorateResult<()> {
        // What was said to one is not about what is kept for others.
        let verdict = self.cache.judge(&self.request.parts, head, delay);
        if head.status != StatusCode::OK || !matches!(verdict, Verdict::Keep(_)) {
            return Ok(());
        }
        let (stored, length) = (&held.response.headers, held.response.body.len());
        match heard(&head.headers, stored, length) {
            Heard::Nothing => Ok(()),
            Heard::Another => self.cache.entries.remove(&key.entry()).await.map(drop),
            Heard::Same => {
                let (stored, verdict) = self.freshened(held, head, delay);
                let Verdict::Keep(keep) = verdict else {
                    return Ok(());
                };
                // One that it was not about may have been invalidated meanwhile.
                if keep.tags.iter().any(|tag| !held.tags.contains(tag)) {
                    return Ok(());
                }
                self.renew(key, held, stored, keep.tags).await
            }
        }
    }

    /// Keeps a response anew, if it still is there.
    async fn renew(
        &self,
        key: &ResponseKey,
        held: &Held,
        stored: StoredResponse,
        tags: Vec<String>,
    ) -> QuorateResult<()> {
        let (entry, entries) = (key.entry(), self.cache.entries.clone());
        let (since, name) = (held.clone(), entry.clone());
        // Whatever ends it from now on ends this load.
        let load = async move {
            let found = entries.entry(&name).await.ok().flatten().and_then(Held::of);
            Ok::<_, Infallible>(match found {
                Some(found) if found.is_same(&since) => loaded(stored, tags),
                _ => Loaded::new(Kept::Pass).no_store(),
            })
        };
        let loading = self.cache.entries.get_or_load(&*entry, load);
        match Box::pin(loading.anew().wait_at_most(Duration::ZERO).read()).await {
            // Somebody asks for a new one.
            Err(error) if error.kind() == quorate::ErrorKind::Timeout => Ok(()),
            renewed => renewed.map(drop),
        }
    }
}
