//! Waiting for one's turn.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::acquire::ACQUIRE;
use super::ask::LockKey;
use super::lease::{FencingToken, LeaseId};
use super::locks::Locks;
use super::news::{News, WaiterId, is_for};
use super::state::HEARTBEAT;
use crate::backoff::Backoff;
use crate::error::Result;
use crate::events::{Channel, Event, Subscribe, Subscription, subscribe_channel};

/// How many news of a lock a waiter or a guard may fall behind, before it asks instead.
const BEHIND: usize = 64;
/// A waiter asks again so often, however short its lease.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Past the end of a lease, so that it has ended when it is asked.
const MARGIN: Duration = Duration::from_millis(1);

/// What ended a wait.
pub(super) enum Turn {
    /// Ask again: time is up, a lease may have ended, or something was missed.
    Ask,
    /// The lock was granted since the last question.
    Granted(FencingToken),
}

/// When to ask again, and what is heard meanwhile.
pub(super) struct Turns<'a> {
    shared: &'a Arc<Locks>,
    key: &'a LockKey,
    /// Of who waits.
    lease: LeaseId,
    news: Option<Subscription<Bytes>>,
    retry: Backoff,
    looks: u32,
    /// How often to ask, so as to count as alive, and to hear of a grant while it is certain.
    pause: Duration,
    give_up: Option<Instant>,
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        shared: &'a Arc<Locks>,
        key: &'a LockKey,
        (lease, length): (LeaseId, Duration),
        retry: Backoff,
        give_up: Option<Instant>,
    ) -> Self {
        Self {
            shared,
            key,
            lease,
            news: None,
            retry,
            looks: 0,
            pause: (length.min(HEARTBEAT) / 3).max(SHORTEST_PAUSE),
            give_up,
        }
    }

    /// What is heard of the lock, for the guard to go on with.
    pub(super) fn take_news(&mut self) -> Option<Subscription<Bytes>> {
        self.news.take()
    }

    /// Listens before asking where others in this process do already: that costs nothing, and saves who is queued from having
    /// to ask again once it listens.
    pub(super) async fn listen_with_others(&mut self) -> Result<()> {
        let channel = self.shared.port.announced_on(self.key);
        if let Some(channel) = channel.filter(|channel| self.shared.hub.hears(channel)) {
            let subscribe = self.subscribe(channel);
            // Not for longer, should the last of them leave just now.
            let until = Instant::now() + self.pause;
            let until = self.give_up.map_or(until, |it| it.min(until));
            let subscribed = tokio::time::timeout_at(until, subscribe.into_future()).await;
            if let Ok(subscribed) = subscribed {
                self.news = Some(subscribed?);
            }
        }
        Ok(())
    }

    /// Whose turn is somebody else's wakes nobody here.
    fn subscribe(&self, channel: Channel) -> Subscribe<Bytes> {
        let subscribe = subscribe_channel(&self.shared.hub, channel);
        subscribe.buffer(BEHIND).only(self.lease.public(), is_for)
    }

    /// Waits until it may be the turn of the lease. `last` was the last token when that was queued; `ends` is when the lock
    /// may be free without anybody saying so, for who is next.
    pub(super) async fn wait(&mut self, last: FencingToken, ends: Option<Instant>) -> Result<Turn> {
        let mut until = Instant::now() + self.pause;
        if let Some(ends) = ends {
            until = until.min(ends + MARGIN);
        }
        if let Some(give_up) = self.give_up {
            until = until.min(give_up);
        }
        let Some(channel) = self.shared.port.announced_on(self.key) else {
            self.looks = self.looks.saturating_add(1);
            let next = Instant::now() + self.retry.delay(self.looks).min(self.pause);
            tokio::time::sleep_until(until.min(next)).await;
            self.shared.context.check_open()?;
            return Ok(Turn::Ask);
        };
        let Some(news) = &mut self.news else {
            // Only those who have to wait pay for a subscription. What is granted between the question and the
            // acknowledgement would be missed: ask once more before waiting.
            let subscribe = self.subscribe(channel);
            let subscribed = tokio::time::timeout_at(until, subscribe.into_future()).await;
            if let Ok(subscribed) = subscribed {
                self.news = Some(subscribed?);
            }
            return Ok(Turn::Ask);
        };
        tokio::select! {
            biased;
            turn = granted(news, self.lease.into(), last) => match turn {
                Some(turn) => Ok(turn),
                // The fleet was closed, or everything was unsubscribed.
                None => {
                    self.news = None;
                    let open = self.shared.context.check_open();
                    open.map_err(|error| error.with_operation(ACQUIRE.name))?;
                    Ok(Turn::Ask)
                }
            },
            () = tokio::time::sleep_until(until) => Ok(Turn::Ask),
        }
    }
}

/// Listens until the waiter is granted the lock, or may have been. `None`: the news have ended.
async fn granted(news: &mut Subscription<Bytes>, me: WaiterId, last: FencingToken) -> Option<Turn> {
    loop {
        let Event::Message(message) = news.next().await? else {
            // What was missed may have been it.
            return Some(Turn::Ask);
        };
        // An older grant has ended, or it would have been the answer to the question after it.
        if let Some(News::Granted { waiter, token }) = read(&message)
            && waiter == me
            && token > last
        {
            return Some(Turn::Granted(token));
        }
    }
}

/// The news in a message; `None` if they are not for us.
pub(super) fn read(message: &[u8]) -> Option<News> {
    News::parse(std::str::from_utf8(message).ok()?)
}
