//! Answers that are not for others: for a while nobody waits for the next one, in the whole fleet.
//!
//! That is remembered under the key itself, by a marker that answers nobody; or, where something is kept there that stays of
//! use, beside it.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use quorate::{CacheEntry, Loaded, Micros};

use super::exchange::Exchange;
use super::key::ResponseKey;
use super::load::{Asking, Turn};
use super::meters::Answered;
use super::status::Handled;
use super::stored::{Held, Kept};

impl<E: Send + 'static> Exchange<E> {
    /// Asks the service, whoever else does. What it says is kept if it is for others, and nobody else's answer is on its way
    /// to be kept.
    pub(super) async fn unshared(
        &self,
        key: &ResponseKey,
        held: Option<Box<Held>>,
        handled: Handled,
    ) -> Result<Response<Body>, E> {
        let held = held.as_deref();
        let turn = Box::pin(self.turn(key, held, true, Duration::ZERO)).await;
        let (own, is_kept) = match turn {
            Turn::Own(own) => (own, true),
            Turn::Told(_) | Turn::TooSlow | Turn::Failed => {
                let (own, _) = Box::pin(self.ask_and_judge(key, held)).await;
                (own, false)
            }
        };
        let asking = Asking {
            handled,
            answered: Answered::Pass,
            is_kept,
        };
        self.own(own, held, asking)
    }

    /// What those are told who want the same as a request whose answer is not for them. It `replaces` what is kept, if that
    /// is of no use to anybody.
    pub(super) async fn unkept(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
        replaces: bool,
        tags: Vec<String>,
    ) -> Loaded<Kept> {
        let pass = Loaded::new(Kept::Pass);
        if held.is_some() && !replaces {
            let time = self.cache.pass_for;
            self.remember_unshared(key, since(held), Kept::Pass, time)
                .await;
            return pass.no_store();
        }
        let found = match self.cache.entries.entry(&key.entry()).await {
            Ok(found) => found,
            Err(error) => {
                self.cache.report(&error);
                return pass.no_store();
            }
        };
        // A marker that is there ends when it would have, so that now and then everybody has a turn: who asks for nothing but
        // such answers could hold the others off for ever.
        let marker = found.as_ref().filter(|found| found.value == Kept::Pass);
        let left = marker.map(|marker| marker.fresh_for);
        let left = left.filter(|left| left.as_millis() > 0);
        let time = left.map_or(self.cache.pass_for, |left| left.min(self.cache.pass_for));
        // Another response than was found stays. As the lease of the load is held, none comes after this.
        if found.is_some_and(|found| is_another(found, held)) {
            return pass.no_store();
        }
        pass.ttl(time).stale_for(Duration::ZERO).tags(tags)
    }

    /// Remembers for a while that the next answer is not to be waited for, and why (`Pass` or `Failed`). It leaves what is kept,
    /// and who asks.
    pub(super) async fn remember_unshared(
        &self,
        key: &ResponseKey,
        since: Micros,
        why: Kept,
        time: Duration,
    ) {
        let entry = key.unshared(since).entry();
        let put = self.cache.entries.put(&*entry, &why);
        if let Err(error) = put.ttl(time).stale_for(Duration::ZERO).await {
            self.cache.report(&error);
        }
    }

    /// Forgets what was remembered while nothing was kept: the key of that is the same each time nothing is, so it would go on
    /// when what is kept by now has ended.
    pub(super) async fn forget_unshared(&self, key: &ResponseKey) {
        let entry = key.unshared(since(None)).entry();
        if let Err(error) = self.cache.entries.remove(&entry).await {
            self.cache.report(&error);
        }
    }

    /// Why the next answer is not waited for, if that is remembered. It is not renewed by who asks: or where many do it
    /// would never end.
    pub(super) async fn why_unshared(
        &self,
        key: &ResponseKey,
        held: Option<&Held>,
    ) -> Option<Kept> {
        let entry = key.unshared(since(held)).entry();
        match self.cache.entries.entry(&entry).await {
            Ok(found) => found.filter(CacheEntry::is_fresh).map(|found| found.value),
            Err(error) => {
                self.cache.report(&error);
                None
            }
        }
    }
}

/// Whether there is another response by now than was found.
fn is_another(entry: CacheEntry<Kept>, held: Option<&Held>) -> bool {
    let found = Held::of(entry);
    found.is_some_and(|found| held.is_none_or(|held| !held.is_same(&found)))
}

/// Since when something is kept that is not of use to this request; 0 if nothing is.
pub(super) fn since(held: Option<&Held>) -> Micros {
    held.map(|held| held.stored_at).unwrap_or_default()
}
