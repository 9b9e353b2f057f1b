//! Hearing of the end of a session: for sockets that are open on it.

use std::time::Duration;

use bytes::Bytes;

use super::handle::{Sessions, claim_of};
use super::id::{SessionHandle, SessionRef};
use super::port::RevokedWhy;
use crate::backoff::Backoff;
use crate::context::{Operation, Repeat};
use crate::error::{Error, Result};
use crate::events::{Event, Subscription, subscribe_channel};

static WATCH: Operation = Operation::new("session.watch", "session", "watch", Repeat::Harmless);

/// Between two looks, where removals are not announced.
const POLL: Duration = Duration::from_secs(5);

/// At most between two looks where removals are announced: a time to live that was made shorter is not, and nor is what a
/// server forgot to say before it was lost. By chance sooner, for sockets that were opened together, as after a server came
/// back, should not look together.
const LOOK_AGAIN: Backoff = Backoff {
    initial: Duration::from_secs(60),
    factor: 1.0,
    max: Duration::from_secs(60),
    jitter: 0.5,
};

/// Behind the end that was read: the home decides to the microsecond, timers to the millisecond.
const SLACK: Duration = Duration::from_millis(2);

/// Waits for the end of one session.
#[derive(Debug)]
#[must_use = "nothing is heard of before `ended` is awaited"]
pub struct SessionWatch {
    sessions: Sessions,
    handle: SessionHandle,
    announcements: Option<Subscription<Bytes>>,
}

impl Sessions {
    /// Watches a session from now on, to close what is open on it when it ends, on whatever instance it is removed.
    ///
    /// # Errors
    /// Those of the backend and of the subscription.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn watch(&self, session: &impl SessionRef) -> Result<SessionWatch> {
        let handle = session.handle();
        let channel = self.shared.port.announced_on(&self.key(handle.place)?);
        let announcements = match channel {
            Some(channel) => Some(subscribe_channel(&self.shared.hub, channel).await?),
            None => None,
        };
        Ok(SessionWatch {
            sessions: self.clone(),
            handle,
            announcements,
        })
    }
}

impl SessionWatch {
    /// Resolves when the session is not there any more; with the reason, if somebody removed it and that was
    /// heard. A session that is used meanwhile goes on.
    ///
    /// A removal is heard of when it is made, and the end of the time to live when that is over. What nobody tells, such as a
    /// time to live that a use made shorter, is found out within a minute: so often, or by chance up to twice as often, the session is
    /// looked at, which is no use of it.
    ///
    /// # Errors
    /// `Closed` when the fleet is, and those of the backend: then nobody knows.
    ///
    /// # Cancel safety
    /// Yes: call it again.
    pub async fn ended(&mut self) -> Result<Option<RevokedWhy>> {
        loop {
            // After the subscription began, and after each doubt.
            let found = self
                .sessions
                .find(&WATCH, self.handle, &claim_of(&self.handle), false)
                .await?;
            let Some(found) = found else {
                return Ok(None);
            };
            let left = found.record.ends.since(found.now) + SLACK;
            // Out of time is a reason to look again, like a gap.
            let pause = left.min(LOOK_AGAIN.delay(1));
            let heard = tokio::time::timeout(pause, self.heard()).await;
            if let Some(why) = heard.unwrap_or(Ok(None))? {
                return Ok(Some(why));
            }
        }
    }

    /// Why the session was removed; `None` when it should be looked at again.
    async fn heard(&mut self) -> Result<Option<RevokedWhy>> {
        let Some(announcements) = &mut self.announcements else {
            tokio::time::sleep(POLL).await;
            return Ok(None);
        };
        loop {
            match announcements.next().await {
                Some(Event::Message(message)) => match RevokedWhy::decode(&message) {
                    Some((why, gone)) if gone.contains(&self.handle.serial) => {
                        return Ok(Some(why));
                    }
                    Some(_) => {}
                    None => return Ok(None),
                },
                Some(_) => return Ok(None),
                None => return Err(Error::closed("the fleet").with_operation(WATCH.name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use std::collections::BTreeSet;

    use futures_util::future::join_all;

    use super::*;
    use crate::Fleet;
    use crate::session::SessionId;

    const SECOND: Duration = Duration::from_secs(1);

    /// A time to live that was made shorter, whoever is told.
    #[tokio::test(start_paused = true)]
    async fn a_life_that_was_made_shorter_is_noticed_within_a_minute() {
        let sessions = Fleet::embedded().sessions();
        let id = sessions.create("alice").await.unwrap().id;
        assert!(noticed(&sessions, &id).await <= LOOK_AGAIN.max + SECOND);
        assert!(!sessions.is_valid(&id).await.unwrap());
    }

    /// A server is not asked by all at once, again and again.
    #[tokio::test(start_paused = true)]
    async fn watches_that_begin_together_look_apart() {
        let sessions = Fleet::embedded().sessions();
        let mut ids = Vec::new();
        for number in 0..8 {
            let created = sessions.create(&format!("user-{number}")).await.unwrap();
            ids.push(created.id);
        }
        let noticed = join_all(ids.iter().map(|id| noticed(&sessions, id))).await;
        let apart: BTreeSet<_> = noticed.iter().map(Duration::as_millis).collect();
        assert!(apart.len() > 1, "{apart:?}");
        let sooner = LOOK_AGAIN.max / 2;
        assert!(noticed.iter().all(|after| *after >= sooner), "{noticed:?}");
    }

    /// How long it takes until it is noticed that a life was made shorter.
    async fn noticed(sessions: &Sessions, id: &SessionId) -> Duration {
        let mut watch = sessions.watch(id).await.unwrap();
        let mut ended = pin!(watch.ended());
        // It has looked, and waits.
        let is_waiting = poll_fn(|cx| Poll::Ready(ended.as_mut().poll(cx).is_pending())).await;
        assert!(is_waiting);
        assert!(sessions.touch(id).ttl(SECOND).await.unwrap());
        let began = tokio::time::Instant::now();
        assert_eq!(ended.await.unwrap(), None);
        began.elapsed()
    }
}
