//! Asking the service for a response that others want, too.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use parking_lot::Mutex;
use quorate::ReadKind;
use tokio::time::Instant;

use super::answer;
use super::ask::Own;
use super::conditional::{is_about, is_failure};
use super::exchange::Exchange;
use super::handle::DEEPEST;
use super::key::ResponseKey;
use super::meters::Answered;
use super::mode::{Use, Wanted, how};
use super::status::{Forward, Handled};
use super::stored::{Held, Kept};

impl<E: Send + 'static> Exchange<E> {
    /// The answer, by the service or by somebody else who asks it for the same.
    pub(super) async fn loaded(
        self,
        mut key: ResponseKey,
        mut held: Option<Box<Held>>,
        why: Forward,
    ) -> Result<Response<Body>, E> {
        // Whether a fresh one will not do.
        let mut is_anew = why == Forward::Request;
        for _ in 0..DEEPEST {
            let own = Arc::new(Mutex::new(None));
            let load = self
                .clone()
                .ask_for_all(key.clone(), held.clone(), own.clone());
            let load = async move { Ok::<_, Infallible>(Box::pin(load).await) };
            let mut loading = self.cache.entries.get_or_load(&*key.entry(), load);
            if is_anew {
                loading = loading.anew();
            }
            let read = Box::pin(loading.read()).await;
            let own = own.lock().take();
            if let Some(own) = own {
                return self.own(own, held.as_deref(), why);
            }
            let read = match read {
                Ok(read) => read,
                Err(error) => {
                    self.cache.report(&error);
                    let handled = Handled::forwarded(why).because("error");
                    return self.alone(handled, Answered::Failed).await;
                }
            };
            match read.value {
                Kept::Response(found) if found.key != key.as_str() => break,
                Kept::Response(found) if !found.matches(&self.request.parts.headers) => {
                    key = found.key_of_variant(&key, &self.request.parts.headers);
                    (held, is_anew) = (None, false);
                }
                Kept::Response(found) => {
                    return self.others(Held::new(*found), read.kind, why).await;
                }
                Kept::Failed if held.as_deref().is_some_and(|held| self.stands_in(held)) => {
                    return self.own(Own::Failed(None), held.as_deref(), why);
                }
                Kept::Failed | Kept::Pass => break,
            }
        }
        // Nothing that is for others, too: all who waited ask at the same time.
        self.alone(Handled::forwarded(why), Answered::Pass).await
    }

    /// The answer that somebody else was given.
    async fn others(&self, held: Held, kind: ReadKind, why: Forward) -> Result<Response<Body>, E> {
        // It was made for this request, too: only what must be asked for each time is not for it.
        if !matches!(
            how(&held, &Wanted::default()),
            Use::Give | Use::GiveAndRefresh
        ) {
            return self.alone(Handled::forwarded(why), Answered::Pass).await;
        }
        let mut handled = Handled::hit(Ok(held.fresh_for));
        if kind == ReadKind::Followed {
            handled.is_hit = false;
            handled.forward = Some(why);
            handled.is_collapsed = true;
            self.cache.meters.count(Answered::Collapsed);
        } else {
            self.cache.meters.count(Answered::Hit);
        }
        Ok(answer::from(&held, &self.request.parts, handled))
    }

    /// The answer that the service gave to this request.
    fn own(&self, own: Own<E>, held: Option<&Held>, why: Forward) -> Result<Response<Body>, E> {
        let mut handled = Handled::forwarded(why);
        let meters = &self.cache.meters;
        match (own, held) {
            (Own::Kept(kept, extensions), _) => {
                meters.count(Answered::Miss);
                handled.is_stored = true;
                let mut response = answer::from(&kept, &self.request.parts, handled);
                *response.extensions_mut() = extensions;
                Ok(response)
            }
            (Own::Holds(kept), _) => {
                meters.count(Answered::Revalidated);
                handled.is_stored = true;
                handled.forward_status = Some(StatusCode::NOT_MODIFIED);
                Ok(answer::from(&kept, &self.request.parts, handled))
            }
            (Own::Failed(status), Some(held)) => {
                meters.count(Answered::Stale);
                handled.forward_status = status;
                handled.ttl = Some(Err(held.stale_by));
                let mut response =
                    answer::from(held, &self.request.parts, handled.because("error"));
                answer::write_age(response.headers_mut(), held);
                Ok(response)
            }
            (Own::Response(mut response), _) => {
                meters.count(Answered::Miss);
                handled.write(response.headers_mut());
                Ok(response)
            }
            (Own::Error(error), _) => {
                meters.count(Answered::Miss);
                Err(error)
            }
            (Own::Failed(_), None) => unreachable!("nothing stands in that is not there"),
        }
    }

    /// Asks for this request whether what is there holds, which has to be asked each time.
    pub(super) async fn validate(self, key: &ResponseKey, held: Held) -> Result<Response<Body>, E> {
        let mut handled = Handled::forwarded(Forward::Stale);
        let wanted = &self.request.wanted;
        if wanted.directives.only_if_cached || self.request.parts.method == Method::HEAD {
            return self.alone(handled, Answered::Miss).await;
        }
        let began = Instant::now();
        let mut response = match self.ask(Some(&held)).await {
            Ok(response) => response,
            Err(_) if self.stands_in(&held) => {
                return self.own(Own::Failed(None), Some(&held), Forward::Stale);
            }
            Err(error) => return Err(error),
        };
        let status = response.status();
        if is_failure(status) && self.stands_in(&held) {
            return self.own(Own::Failed(Some(status)), Some(&held), Forward::Stale);
        }
        if status != StatusCode::NOT_MODIFIED {
            // What is there is an old one. The next request keeps what then is there.
            if !is_failure(status)
                && let Err(error) = self.cache.entries.remove(&key.entry()).await
            {
                self.cache.report(&error);
            }
            self.cache.meters.count(Answered::Miss);
            handled.write(response.headers_mut());
            return Ok(response);
        }
        let (parts, _) = response.into_parts();
        if !is_about(&parts.headers, &held.response.headers) {
            return self.alone(handled, Answered::Miss).await;
        }
        self.cache.meters.count(Answered::Revalidated);
        let (stored, _) = self.freshened(&held, &parts, began.elapsed());
        handled.forward_status = Some(StatusCode::NOT_MODIFIED);
        Ok(answer::from(
            &Held::new(stored),
            &self.request.parts,
            handled,
        ))
    }
}
