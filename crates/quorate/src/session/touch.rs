//! A use of a session under construction: made when it is awaited.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::field::check_time;
use super::handle::{SHORTEST, Sessions, claim_of};
use super::id::{SessionId, SessionRef};
use crate::context::{Operation, Repeat};
use crate::error::{Error, Result};
use crate::port::CallOptions;

/// Not repeated when its reply is lost: it would undo what another has set meanwhile.
static TOUCH_FOR: Operation = Operation::new(
    "session.touch",
    "session",
    "touch",
    Repeat::OnlyIfNotApplied,
);

/// A use of a session; await it. The answer says whether there is such a session.
///
/// # Cancel safety
/// When the future is dropped, it may or may not be used.
#[derive(Debug)]
#[must_use = "a session is used when this is awaited"]
pub struct TouchSession {
    sessions: Sessions,
    id: SessionId,
    ttl: Option<Duration>,
}

impl TouchSession {
    pub(super) fn new(sessions: Sessions, id: SessionId) -> Self {
        Self {
            sessions,
            id,
            ttl: None,
        }
    }

    /// From this use on it outlives each by that long, such as for who wants to stay logged in: at least 1 s, at most 100
    /// years. Written down at once; never behind its absolute end.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::Fleet;
    /// use std::time::Duration;
    ///
    /// let sessions = Fleet::embedded().sessions();
    /// let id = sessions.create("alice").await?.id;
    /// let month = Duration::from_secs(30 * 24 * 3600);
    /// assert!(sessions.touch(&id).ttl(month).await?);
    /// assert_eq!(sessions.get(&id).await?.expect("it is there").ttl(), month);
    /// # Ok(()) }
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    async fn send(self) -> Result<bool> {
        let Self { sessions, id, ttl } = self;
        let Some(ttl) = ttl else {
            return Ok(sessions.get_and_touch(&id).await?.is_some());
        };
        let named = |error: Error| error.with_operation(TOUCH_FOR.name);
        check_time("ttl", SHORTEST, ttl).map_err(named)?;
        let (key, claim) = (sessions.key(id.handle.place)?, claim_of(&id));
        let (context, port) = (&sessions.shared.context, &sessions.shared.port);
        let target = id.handle().to_string();
        let found = context
            .run_within(sessions.limits, &TOUCH_FOR, &target, |attempt| {
                let options = CallOptions::until(attempt.deadline);
                port.touch(&key, &claim, Some(ttl), options)
            })
            .await?;
        Ok(found.is_some())
    }
}

impl IntoFuture for TouchSession {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
