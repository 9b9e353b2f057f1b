//! Asking the service for a response that others want, too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use parking_lot::Mutex;
use quorate::{ErrorKind, Read, ReadKind};
use tokio::time::Instant;

use super::answer;
use super::ask::Own;
use super::conditional::{is_about, is_failure, is_refusal};
use super::exchange::Exchange;
use super::handle::DEEPEST;
use super::key::ResponseKey;
use super::meters::Answered;
use super::mode::{Use, Verdict, Wanted, how};
use super::status::{Forward, Handled};
use super::stored::{Held, Kept};
use super::unshared::since;

/// How long a request waits before it first looks whether it should; then twice as long each time.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// What asking in turn with others came to.
pub(super) enum Turn<E> {
    /// The service answered this request.
    Own(Own<E>),
    /// What somebody else was told, or what is there by now.
    Told(Read<Kept>),
    /// Somebody else still asks.
    TooSlow,
    /// The cache failed.
    Failed,
}

/// How the service was asked.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    pub(super) handled: Handled,
    pub(super) answered: Answered,
    /// Whether an answer that may be kept is.
    pub(super) is_kept: bool,
}

impl Asking {
    pub(super) const fn shared(handled: Handled) -> Self {
        Self {
            handled,
            answered: Answered::Miss,
            is_kept: true,
        }
    }
}

impl<E: Send + 'static> Exchange<E> {
    /// The answer, by the service or by somebody else who asks it for the same.
    pub(super) async fn loaded(
        self,
        mut key: ResponseKey,
        mut held: Option<Box<Held>>,
        why: Forward,
    ) -> Result<Response<Body>, E> {
        let handled = Handled::forwarded(why);
        // Whether a fresh one will not do.
        let mut is_anew = why == Forward::Request;
        for _ in 0..DEEPEST {
            let read = match Box::pin(self.in_turn(&key, held.as_deref(), is_anew)).await {
                Turn::Own(own) => return self.own(own, held.as_deref(), Asking::shared(handled)),
                Turn::Told(read) => read,
                Turn::TooSlow => return self.unshared(&key, held, handled).await,
                Turn::Failed => {
                    return self.alone(handled.because("error"), Answered::Failed).await;
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
                    let asking = Asking::shared(handled);
                    return self.own(Own::Failed(None), held.as_deref(), asking);
                }
                // Nothing that is for others, too: all who waited ask at the same time.
                Kept::Failed | Kept::Pass => return self.unshared(&key, held, handled).await,
            }
        }
        self.alone(handled, Answered::Pass).await
    }

    /// Asks the service, or waits for who does. Now and then it looks whether that still makes sense.
    async fn in_turn(&self, key: &ResponseKey, held: Option<&Held>, is_anew: bool) -> Turn<E> {
        let until = Instant::now() + self.cache.wait_for;
        let mut patience = FIRST_LOOK;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.turn(key, held, is_anew, patience.min(left)).await {
                Turn::TooSlow => {}
                turn => return turn,
            }
            match self.why_unshared(key, held).await {
                // One at a time sees whether it still does.
                Some(Kept::Failed) if held.is_some_and(|held| self.stands_in(held)) => {
                    return Turn::Own(Own::Failed(None));
                }
                Some(_) => return Turn::TooSlow,
                None if until <= Instant::now() => {
                    // For whoever comes next: as long as it has just taken.
                    let time = self.cache.pass_for.max(self.cache.wait_for);
                    self.remember_unshared(key, since(held), Kept::Pass, time)
                        .await;
                    return Turn::TooSlow;
                }
                None => patience *= 2,
            }
        }
    }

    /// Asks the service, or waits so long for who does.
    pub(super) async fn turn(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
        is_anew: bool,
        patience: Duration,
    ) -> Turn<E> {
        let (own, began) = (Arc::new(Mutex::new(None)), Instant::now());
        let is_cold = held.is_none();
        let held = held.cloned().map(Box::new);
        let load = self.clone().ask_for_all(key.clone(), held, own.clone());
        let load = async move { Ok::<_, Infallible>(Box::pin(load).await) };
        let entry = key.entry();
        let mut loading = self.cache.entries.get_or_load(&*entry, load);
        if is_anew {
            loading = loading.anew();
        }
        let read = Box::pin(loading.wait_at_most(patience).read()).await;
        let own = own.lock().take();
        if let Some(own) = own {
            // What is answered sooner nobody has looked for.
            let is_slow = began.elapsed() >= FIRST_LOOK;
            if is_cold && is_slow && matches!(own, Own::Kept(..)) {
                self.forget_unshared(key).await;
            }
            return Turn::Own(own);
        }
        match read {
            Ok(read) => Turn::Told(read),
            Err(error) if error.kind() == ErrorKind::Timeout => Turn::TooSlow,
            Err(error) => {
                self.cache.report(&error);
                Turn::Failed
            }
        }
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
    pub(super) fn own(
        &self,
        own: Own<E>,
        held: Option<&Held>,
        asking: Asking,
    ) -> Result<Response<Body>, E> {
        let Asking {
            mut handled,
            answered,
            is_kept,
        } = asking;
        let meters = &self.cache.meters;
        match (own, held) {
            (Own::Kept(kept, extensions), _) => {
                meters.count(answered);
                handled.is_stored = is_kept;
                let mut response = answer::from(&kept, &self.request.parts, handled);
                *response.extensions_mut() = extensions;
                Ok(response)
            }
            (Own::Holds(kept), _) => {
                meters.count(Answered::Revalidated);
                handled.is_stored = is_kept;
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
                meters.count(answered);
                handled.write(response.headers_mut());
                Ok(response)
            }
            (Own::Error(error), _) => {
                meters.count(answered);
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
            return self.for_itself(key, Some(&held), handled).await;
        }
        let began = Instant::now();
        let mut response = match self.ask(Some(&held)).await {
            Ok(response) => response,
            Err(_) if self.stands_in(&held) => {
                return self.own(Own::Failed(None), Some(&held), Asking::shared(handled));
            }
            Err(error) => return Err(error),
        };
        let status = response.status();
        if is_failure(status) && self.stands_in(&held) {
            let asking = Asking::shared(handled);
            return self.own(Own::Failed(Some(status)), Some(&held), asking);
        }
        if status != StatusCode::NOT_MODIFIED {
            // What is there is an old one, unless this one is only for who asked. The next request keeps what then is there.
            let (parts, body) = response.into_parts();
            let verdict = self
                .cache
                .judge(&self.request.parts, &parts, began.elapsed());
            response = Response::from_parts(parts, body);
            if !is_failure(status)
                && !is_refusal(status)
                && verdict != Verdict::Own
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
