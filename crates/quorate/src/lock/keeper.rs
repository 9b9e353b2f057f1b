//! What keeps a held lock, and learns that it is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::guard::Held;
use super::news::{News, WaiterId, is_for};
use super::turn::read;
use crate::error::{Error, Result};
use crate::events::{Channel, Event, Subscription, subscribe_channel};

/// Between two attempts at something that failed.
const RETRY: Duration = Duration::from_millis(100);
/// What was granted in the queue lasts for a heartbeat until its holder shows that it lives: soon, but who gives the lock
/// back before that need not.
const CONFIRM_AFTER: Duration = Duration::from_millis(50);
/// A lock that is held for longer is listened to: short work should not pay for a subscription.
const LISTEN_AFTER: Duration = Duration::from_secs(1);
/// Between two attempts to listen, or to make sure.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// Between two that were refused: it takes somebody to change that, such as who gives permissions.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);
/// News that a guard may fall behind, before it asks instead.
const BEHIND: usize = 64;

impl Held {
    /// Renews and listens until told to stop, and says when the lease has run out.
    pub(super) async fn keep(self: Arc<Self>, news: Option<Subscription<Bytes>>) {
        let closed = self.shared.context.closed();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = closed.cancelled() => self.give_up().await,
            () = self.lost.cancelled() => {}
            () = self.run_out() => {}
            () = self.renew() => {}
            () = self.listen(news) => {}
        }
    }

    /// A closing fleet gives its locks back, past the choke point that refuses calls by now.
    async fn give_up(&self) {
        self.lose_for_good();
        let lease = self.granted.lease;
        if let Err(error) = self.shared.give_back(&self.key, lease).await {
            self.shared.report(&error);
        }
    }

    /// Resolves, and loses the lock, when the lease has ended by our clock.
    async fn run_out(&self) {
        let mut moves = self.ends.subscribe();
        loop {
            let ends = *moves.borrow_and_update();
            if Instant::now() >= ends {
                return self.lose();
            }
            let _ = tokio::time::timeout_at(ends, moves.changed()).await;
        }
    }

    async fn renew(&self) {
        if !self.granted.renew {
            return std::future::pending().await;
        }
        let third = self.granted.length / 3;
        let confirmed = self.confirmed.load(Ordering::Acquire);
        let first = if confirmed { third } else { CONFIRM_AFTER };
        let mut due = Instant::now() + first.min(third);
        loop {
            self.until_due(due).await;
            due = Instant::now();
            match self.extend(self.granted.length).await {
                Ok(true) => due += third,
                Ok(false) => return,
                Err(error) => {
                    self.shared.report(&error);
                    due = Instant::now() + RETRY.min(third);
                    tokio::time::sleep_until(due).await;
                }
            }
        }
    }

    /// Waits until then, or until a third of what is left is over, should the lease be made to end sooner.
    async fn until_due(&self, mut due: Instant) {
        let mut moves = self.ends.subscribe();
        loop {
            let (ends, now) = (*moves.borrow_and_update(), Instant::now());
            due = due.min(now + ends.saturating_duration_since(now) / 3);
            if tokio::time::timeout_at(due, moves.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Resolves, and loses the lock, when it was taken away.
    async fn listen(&self, news: Option<Subscription<Bytes>>) {
        let Some(channel) = self.shared.port.announced_on(&self.key) else {
            return std::future::pending().await;
        };
        // What happened before we listen is not heard any more, and of a young lease not everything is said.
        let mut look_at = Some(Instant::now() + LISTEN_AFTER);
        let mut news = match news {
            Some(news) => news,
            None => {
                tokio::time::sleep(LISTEN_AFTER).await;
                self.subscribe(&channel).await
            }
        };
        loop {
            let event = match look_at {
                Some(at) => match tokio::time::timeout_at(at, news.next()).await {
                    Ok(event) => event,
                    Err(_) => {
                        look_at = None;
                        self.check().await;
                        continue;
                    }
                },
                None => news.next().await,
            };
            match event {
                Some(Event::Message(message)) => self.heed(read(&message)).await,
                // What was missed may have been about us.
                Some(_) => self.check().await,
                // The fleet is closed, which is noticed elsewhere.
                None => return std::future::pending().await,
            }
            if self.lost.is_cancelled() {
                return;
            }
        }
    }

    async fn heed(&self, news: Option<News>) {
        let me = WaiterId::from(self.granted.lease);
        match news {
            Some(News::Forced { tokens }) if tokens.contains(&self.granted.token) => {
                self.lose_for_good();
            }
            // It may be old, of a lease that was released and is held again.
            Some(News::Ended { holder } | News::Shortened { holder }) if holder == me => {
                self.check().await;
            }
            _ => {}
        }
    }

    /// Until it succeeds. Renewals go on meanwhile, and would learn of a loss too.
    async fn subscribe(&self, channel: &Channel) -> Subscription<Bytes> {
        loop {
            let subscribe = subscribe_channel(&self.shared.hub, channel.clone()).buffer(BEHIND);
            match subscribe.only(self.granted.lease.public(), is_for).await {
                Ok(news) => return news,
                Err(error) => self.put_off(&error).await,
            }
        }
    }

    /// Loses the lock if it is not held any more, and counts on no more of it than the backend does.
    async fn check(&self) {
        loop {
            match self.look().await {
                Ok(true) => return,
                Ok(false) => return self.lose_for_good(),
                Err(error) => self.put_off(&error).await,
            }
        }
    }

    /// Before another attempt.
    async fn put_off(&self, error: &Error) {
        self.shared.report(error);
        let pause = if error.is_retryable() {
            LISTEN_AGAIN
        } else {
            REFUSED_AGAIN
        };
        tokio::time::sleep(pause).await;
    }

    /// Whether it is held, until when is put down.
    async fn look(&self) -> Result<bool> {
        // An extension whose answer comes after ours would hide what was done to the lease after it.
        let _turn = self.extending.lock().await;
        let asked = Instant::now();
        let status = self.shared.look(&self.key).await?;
        let me = WaiterId::from(self.granted.lease);
        let found = status.holders.iter().find(|holder| holder.lease == me);
        if let Some(holder) = found {
            self.move_end(|ends| ends.min(asked + holder.remaining));
        }
        Ok(found.is_some())
    }
}
