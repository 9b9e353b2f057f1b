//! Hearing of what happens to a lock without wanting it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};

use super::ask::LockKey;
use super::election::Leader;
use super::handle::Lock;
use super::lease::FencingToken;
use super::locks::{LOOK, Locks};
use super::news::News;
use super::turn::read;
use crate::error::{Error, Result};
use crate::events::{Event, Subscription, subscribe_channel};

/// Between two looks, where nothing is announced.
const POLL: Duration = Duration::from_secs(1);
/// Behind the end of a lease: the home decides to the microsecond, timers to the millisecond.
const MARGIN: Duration = Duration::from_millis(2);

/// What a watcher of a lock hears of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockEvent {
    /// Somebody got it: after waiting, or, of an election, in any way.
    #[non_exhaustive]
    Acquired {
        /// With this token.
        token: FencingToken,
    },
    /// A leader resigned. Only of an election.
    #[non_exhaustive]
    Released {
        /// Whose term this was.
        token: FencingToken,
    },
    /// It was taken away.
    #[non_exhaustive]
    Forced {
        /// From the holders with these tokens.
        tokens: Vec<FencingToken>,
    },
    /// Something may have happened that was not heard: look at its status.
    Missed,
}

/// What happens to a lock from now on. See [`Lock::watch`].
#[derive(Debug)]
#[must_use = "nothing is heard of before `next` is awaited"]
pub struct LockWatch {
    news: Subscription<Bytes>,
}

impl Lock {
    /// Watches the lock from now on: who got it after waiting, and whom it was taken away from. That is what is announced;
    /// who got it at once, gave it back or let it end is seen in its [`status`](Self::status).
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, `Unsupported` by a backend that announces nothing, and those of the
    /// subscription.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn watch(&self) -> Result<LockWatch> {
        let key = self.key(&LOOK)?;
        let news = subscribe(&self.shared, key).await?;
        let news = news.ok_or_else(|| {
            Error::new(crate::error::ErrorKind::Unsupported)
                .with_operation(LOOK.name)
                .with_message("nothing is announced by this backend")
        })?;
        Ok(LockWatch { news })
    }
}

impl LockWatch {
    /// The next event; `None` when the fleet is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<LockEvent> {
        loop {
            let Event::Message(message) = self.news.next().await? else {
                return Some(LockEvent::Missed);
            };
            // Words of a later version are no reason to stop.
            match read(&message) {
                Some(News::Granted { token, .. } | News::Acquired { token }) => {
                    return Some(LockEvent::Acquired { token });
                }
                Some(News::Released { token }) => return Some(LockEvent::Released { token }),
                Some(News::Forced { tokens }) => return Some(LockEvent::Forced { tokens }),
                // For the holder itself.
                Some(News::Ended { .. } | News::Shortened { .. }) | None => {}
            }
        }
    }
}

async fn subscribe(shared: &Locks, key: &LockKey) -> Result<Option<Subscription<Bytes>>> {
    match shared.port.announced_on(key) {
        Some(channel) => subscribe_channel(&shared.hub, channel).await.map(Some),
        None => Ok(None),
    }
}

/// Who leads, from now on. See [`Election::observe`](super::Election::observe).
#[derive(Debug)]
#[must_use = "nothing is heard of before `next` is awaited"]
pub struct Observation {
    lock: Lock,
    news: Option<Subscription<Bytes>>,
    /// The term that was told last, once one was.
    told: Option<Option<FencingToken>>,
}

impl Observation {
    pub(super) async fn begin(lock: Lock) -> Result<Self> {
        let news = subscribe(&lock.shared, lock.key(&LOOK)?).await?;
        Ok(Self {
            lock,
            news,
            told: None,
        })
    }

    /// Who leads, when that is not who was told before; `None`: nobody does. The first time, who leads now. Leaders that
    /// came and went between two calls are left out.
    ///
    /// # Errors
    /// `Closed` when the fleet is, and those of the backend: then nobody knows who leads. It may be called again.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn next(&mut self) -> Result<Option<Leader>> {
        loop {
            // After the subscription began, and after each doubt.
            let leader = self.lock.holder().await?.map(Leader::from);
            let term = leader.as_ref().map(|leader| leader.term);
            if self.told != Some(term) {
                self.told = Some(term);
                return Ok(leader);
            }
            // A leader that is gone does not say so: its lease ends.
            let ends = leader.map(|leader| leader.remaining + MARGIN);
            self.doubt(ends).await?;
        }
    }

    /// The same as a stream, which ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Option<Leader>>> + Send {
        stream::unfold(Some(self), |observation| async move {
            let mut observation = observation?;
            let leader = observation.next().await;
            let goes_on = leader.is_ok();
            Some((leader, goes_on.then_some(observation)))
        })
    }

    /// Waits for a reason to look again, at most until `ends`.
    async fn doubt(&mut self, ends: Option<Duration>) -> Result<()> {
        let Some(news) = &mut self.news else {
            tokio::time::sleep(ends.map_or(POLL, |ends| ends.min(POLL))).await;
            return Ok(());
        };
        let heard = async {
            match news.next().await {
                Some(_) => Ok(()),
                None => Err(Error::closed("the fleet").with_operation(LOOK.name)),
            }
        };
        match ends {
            // Out of time is a reason too.
            Some(ends) => tokio::time::timeout(ends, heard).await.unwrap_or(Ok(())),
            None => heard.await,
        }
    }
}
