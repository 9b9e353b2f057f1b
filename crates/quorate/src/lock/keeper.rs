//! What keeps a held lock, and learns that it is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::guard::Held;
use super::news::News;
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
        loop {
            let ends = *self.ends.lock();
            if Instant::now() >= ends {
                return self.lose();
            }
            tokio::select! {
                () = tokio::time::sleep_until(ends) => {}
                () = self.moved.notified() => {}
            }
        }
    }

    async fn renew(&self) {
        if !self.granted.renew {
            return std::future::pending().await;
        }
        let third = self.granted.length / 3;
        let confirmed = self.confirmed.load(Ordering::Acquire);
        let mut pause = if confirmed {
            third
        } else {
            CONFIRM_AFTER.min(third)
        };
        loop {
            tokio::time::sleep(pause).await;
            match self.extend(self.granted.length).await {
                Ok(true) => pause = third,
                Ok(false) => return,
                Err(error) => {
                    self.shared.report(&error);
                    pause = RETRY.min(third);
                }
            }
        }
    }

    /// Resolves, and loses the lock, when it was taken away.
    async fn listen(&self, news: Option<Subscription<Bytes>>) {
        let Some(channel) = self.shared.port.announced_on(&self.key) else {
            return std::future::pending().await;
        };
        let mut news = match news {
            Some(news) => news,
            None => {
                tokio::time::sleep(LISTEN_AFTER).await;
                let news = self.subscribe(&channel).await;
                // What happened before is not heard any more.
                self.check().await;
                news
            }
        };
        while let Some(event) = news.next().await {
            match event {
                Event::Message(message) => {
                    if let Some(News::Forced { tokens }) = read(&message)
                        && tokens.contains(&self.granted.token)
                    {
                        return self.lose_for_good();
                    }
                }
                // What was missed may have been it.
                _ => self.check().await,
            }
        }
        // The fleet is closed, which is noticed elsewhere.
        std::future::pending().await
    }

    /// Until it succeeds. Renewals go on meanwhile, and would learn of a loss too.
    async fn subscribe(&self, channel: &Channel) -> Subscription<Bytes> {
        loop {
            let subscribe = subscribe_channel(&self.shared.hub, channel.clone());
            match subscribe.buffer(BEHIND).await {
                Ok(news) => return news,
                Err(error) => self.put_off(&error).await,
            }
        }
    }

    /// Loses the lock if it is not held any more.
    async fn check(&self) {
        loop {
            match self.is_held().await {
                Ok(true) => return,
                Ok(false) => return self.lose_for_good(),
                Err(error) => self.put_off(&error).await,
            }
        }
    }

    /// Before another attempt; for ever, if that would fail as well.
    async fn put_off(&self, error: &Error) {
        self.shared.report(error);
        if !error.is_retryable() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }

    async fn is_held(&self) -> Result<bool> {
        let status = self.shared.look(&self.key).await?;
        let mut holders = status.holders.iter();
        Ok(holders.any(|holder| holder.token == self.granted.token))
    }
}
