//! Logging in and out.

use quorate::session::SessionChanges;
use quorate::{CreatedSession, Result, Rotation, Session, SessionId};

use super::current::{CurrentSession, News, Seen};

impl CurrentSession {
    /// The session is this user's from now on, under a new id, whatever id the request came with: one that somebody else may
    /// have planted is worth nothing.
    ///
    /// The fields of an anonymous session, and those of the same user, come along. A session that was another user's ends, and
    /// nothing of it comes along, nor what this request has changed before. That the user is who they say is for
    /// you to find out before.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks a rule, `Closed` when the response is on its way, and those of the backend: then nobody is
    /// logged in by this, but what the request came with may be gone.
    ///
    /// # Cancel safety
    /// When the future is dropped, there may be a session whose id nobody knows: it is listed, and ends by itself.
    pub async fn log_in(&self, user: &str) -> Result<()> {
        let _turn = self.inner.turn.lock().await;
        drop(self.changing()?);
        // Not leniently: what it held must not be lost because it could not be seen.
        self.ask(false).await?;
        let (id, is_anothers) = {
            let state = self.using();
            match &state.seen {
                Seen::There(session) => (
                    state.id.clone(),
                    session.user().is_some_and(|had| had != user),
                ),
                Seen::Unasked | Seen::Unknown | Seen::Nothing => (None, false),
            }
        };
        if is_anothers {
            self.using().changes = SessionChanges::new();
        }
        let made = match id {
            Some(id) => self.sessions().rotate(&id).login(user).await?.rotated(),
            None => None,
        };
        match made {
            Some(made) => self.goes_on_as(made),
            // There was none, or another request had the id replaced, and knows the new one.
            None => self.begin(user).await?,
        }
        let mut state = self.using();
        // What was changed before belongs to who knows which session.
        state.in_doubt &= !state.changes.is_empty();
        Ok(())
    }

    /// Ends the session, here and on every instance, and tells the client. `false` if there was none.
    ///
    /// What this request has changed is dropped. Something that is written after that begins a session of nobody.
    ///
    /// # Errors
    /// `Closed` when the response is on its way, and those of the backend: then the session may go on, and the client keeps
    /// its id, so that it can try again.
    ///
    /// # Cancel safety
    /// When the future is dropped, the session may or may not be there, and the client keeps its id.
    pub async fn log_out(&self) -> Result<bool> {
        let _turn = self.inner.turn.lock().await;
        let id = self.changing()?.id.clone();
        let was_there = match id {
            Some(id) => self.sessions().delete(&id).await?,
            None => false,
        };
        self.leave();
        Ok(was_there)
    }

    /// Ends all sessions of the user, here and elsewhere, tells the client, and says how many there were. Of a session of
    /// nobody, only that one.
    ///
    /// # Errors
    /// As [`log_out`](Self::log_out); when the reply is lost they may be gone: call it again.
    ///
    /// # Cancel safety
    /// As [`log_out`](Self::log_out).
    pub async fn log_out_everywhere(&self) -> Result<u64> {
        let Some(user) = self.certain_user().await? else {
            return Ok(u64::from(self.log_out().await?));
        };
        let _turn = self.inner.turn.lock().await;
        drop(self.changing()?);
        let gone = self.sessions().delete_all(&user).await?;
        self.leave();
        Ok(gone)
    }

    /// Ends all sessions of the user but this one, and says how many there were. Of a session of nobody, none.
    ///
    /// # Errors
    /// As [`log_out_everywhere`](Self::log_out_everywhere).
    ///
    /// # Cancel safety
    /// When the future is dropped, they may or may not be gone.
    pub async fn log_out_elsewhere(&self) -> Result<u64> {
        let Some(user) = self.certain_user().await? else {
            return Ok(0);
        };
        let Some(id) = self.using().id.clone() else {
            return Ok(0);
        };
        self.sessions().delete_others(&user, &id).await
    }

    /// Gives the session a new id, because it is time to. The old one is good for the
    /// [overlap](quorate::Sessions::overlap). `false` if there is none, or if another request has just done the same:
    /// then the client is about to be told by that one.
    ///
    /// # Errors
    /// `Closed` when the response is on its way, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the id that the client has may be good only for the overlap.
    pub async fn rotate(&self) -> Result<bool> {
        let _turn = self.inner.turn.lock().await;
        let Some(id) = self.changing()?.id.clone() else {
            return Ok(false);
        };
        match self.sessions().rotate(&id).await? {
            Rotation::Rotated(made) => {
                self.goes_on_as(made);
                Ok(true)
            }
            Rotation::Gone => {
                self.using().seen = Seen::Nothing;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Whose it is. Not leniently: who is told that they are logged out must be.
    async fn certain_user(&self) -> Result<Option<String>> {
        let user = |session: &Session| session.user().map(str::to_owned);
        Ok(self.look_as(false, user).await?.flatten())
    }

    async fn begin(&self, user: &str) -> Result<()> {
        let mut making = self.sessions().create(user);
        if let Some(device) = &self.inner.device {
            making = making.device_info(device);
        }
        let made = making.await?;
        self.goes_on_as(made);
        Ok(())
    }

    pub(super) fn goes_on_as(&self, made: CreatedSession) {
        let mut state = self.using();
        state.id = Some(made.id);
        state.seen = Seen::Unasked;
        state.was_there = true;
        state.news = News::Id;
    }

    fn leave(&self) {
        let mut state = self.using();
        state.id = None::<SessionId>;
        state.seen = Seen::Nothing;
        state.was_there = false;
        state.in_doubt = false;
        state.changes = SessionChanges::new();
        state.news = News::Gone;
    }
}
