//! The lease of a load, and waiting for that of another.

use std::collections::HashSet;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::area::CacheKey;
use super::shared::Caches;
use super::slot::LoadId;
use crate::backoff::Backoff;
use crate::error::{ErrorKind, Result};
use crate::events::{Subscription, subscribe_raw};
use crate::hooks::ErrorSource;
use crate::port::CallOptions;

/// Between two looks where the ends of loads are not announced.
const POLL: Backoff = Backoff {
    initial: Duration::from_millis(20),
    factor: 1.5,
    max: Duration::from_millis(500),
    jitter: 0.5,
};

/// The leases of a load. Dropped unsettled, they are given up in the background.
pub(super) struct Leased {
    shared: Arc<Caches>,
    keys: Vec<CacheKey>,
    pub(super) id: LoadId,
}

impl Leased {
    pub(super) fn new(shared: &Arc<Caches>, keys: &[CacheKey], id: LoadId) -> Self {
        Self {
            shared: shared.clone(),
            keys: keys.to_vec(),
            id,
        }
    }

    /// Of the others there is nothing to give up.
    pub(super) fn narrow(&mut self, keys: Vec<CacheKey>) {
        self.keys = keys;
    }

    /// These have ended.
    pub(super) fn leave<'k>(&mut self, ended: impl Iterator<Item = &'k CacheKey>) {
        let ended: HashSet<&str> = ended.map(CacheKey::name).collect();
        self.keys.retain(|key| !ended.contains(key.name()));
    }

    pub(super) fn settle(&mut self) {
        self.keys.clear();
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.keys);
        let (shared, id) = (self.shared.clone(), self.id);
        self.shared.context.spawn(async move {
            let options = CallOptions::until(shared.context.attempt_deadline());
            // Otherwise they end by themselves, a little later.
            if let Err(error) = shared.port.give_up(&keys, id, options).await {
                shared.context.hooks.error(ErrorSource::Cache, &error);
            }
        });
    }
}

/// When to ask again.
pub(super) struct Turns<'a> {
    shared: &'a Arc<Caches>,
    key: &'a CacheKey,
    announcements: Option<Subscription<Bytes>>,
    looks: u32,
}

impl<'a> Turns<'a> {
    pub(super) const fn new(shared: &'a Arc<Caches>, key: &'a CacheKey) -> Self {
        Self {
            shared,
            key,
            announcements: None,
            looks: 0,
        }
    }

    /// Waits until the load may have ended: that was announced, or its lease ended.
    pub(super) async fn wait(&mut self, remaining: Duration) -> Result<()> {
        let lease_ends = Instant::now() + remaining + Duration::from_millis(1);
        let Some(channel) = self.shared.port.announced_on(self.key) else {
            return self.pause(lease_ends).await;
        };
        let Some(announcements) = &mut self.announcements else {
            // An announcement between the question and the acknowledgement would be missed: ask once more.
            tokio::select! {
                subscribed = subscribe_raw(&self.shared.hub, channel).into_future() => {
                    match subscribed {
                        Ok(announcements) => self.announcements = Some(announcements),
                        Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                        // Who may not listen still waits for his turn.
                        Err(error) => {
                            tracing::debug!(%error, "cannot hear of the end of a load");
                            return self.pause(lease_ends).await;
                        }
                    }
                }
                // Where nobody can be subscribed to, there may still be somebody to ask.
                () = tokio::time::sleep_until(lease_ends) => {}
            }
            return Ok(());
        };
        tokio::select! {
            event = announcements.next() => match event {
                // A gap may hide an announcement: ask again, as for a message.
                Some(_) => Ok(()),
                // The fleet was closed, or everything was unsubscribed.
                None => {
                    self.announcements = None;
                    self.shared.context.check_open()
                }
            },
            () = tokio::time::sleep_until(lease_ends) => Ok(()),
        }
    }

    async fn pause(&mut self, lease_ends: Instant) -> Result<()> {
        self.looks += 1;
        let next = Instant::now() + POLL.delay(self.looks);
        tokio::time::sleep_until(next.min(lease_ends)).await;
        self.shared.context.check_open()
    }
}
