//! A new id for a session: because it is time, or because somebody logged in.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::create::CreatedSession;
use super::field::check_time;
use super::handle::{Sessions, claim_of};
use super::id::{SessionId, SessionRef};
use super::partition::{Change, Deleted, Rotated, Updated};
use super::port::{Found, RevokedWhy};
use crate::context::{Operation, Repeat};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::port::CallOptions;

/// The new id is recognised.
static ROTATE: Operation = Operation::new("session.rotate", "session", "rotate", Repeat::Harmless);
static LOGIN: Operation = Operation::new("session.login", "session", "login", Repeat::Harmless);
/// That it is gone must mean that somebody else removed it.
static LEAVE: Operation = Operation::new(
    "session.login",
    "session",
    "login_leave",
    Repeat::OnlyIfNotApplied,
);

/// How often fields may change while somebody logs in.
const TRIES: usize = 16;

/// What giving a session a new id came to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rotation {
    /// It has this new id.
    Rotated(CreatedSession),
    /// This id was replaced a moment ago, by another request at the same time, which knows the new one. It is good
    /// for a while; nothing was done.
    Superseded,
    /// There is no such session.
    Gone,
}

impl Rotation {
    /// The session with its new id, if it got one.
    #[must_use]
    pub fn rotated(self) -> Option<CreatedSession> {
        match self {
            Self::Rotated(session) => Some(session),
            Self::Superseded | Self::Gone => None,
        }
    }
}

/// A new id for a session; await it.
#[derive(Debug)]
#[must_use = "an id is replaced when this is awaited"]
pub struct RotateSession {
    sessions: Sessions,
    id: SessionId,
    user: Option<String>,
}

impl RotateSession {
    /// The session is this user's from now on: to be used whenever somebody logs in, so that an id that somebody
    /// else may have planted is worth nothing.
    ///
    /// The fields and the device move along; times begin anew, by the options of this handle. The old id is good no
    /// more, and the session has another handle. Of a session that was another user's nothing moves along but the device: it
    /// ends, and a fresh one begins. Who logs in twice at once with one id is `Gone` the second time. For who
    /// is this user already it is a rotation, whose old id is good no more.
    ///
    /// # Cancel safety
    /// When the future is dropped, or its reply lost, there may be a session whose id nobody knows: it is listed, and
    /// ends by itself.
    pub fn login(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    async fn send(self) -> Result<Rotation> {
        let Some(user) = self.user else {
            let overlap = self.sessions.policy.overlap;
            return self.sessions.rotate_id(&self.id, overlap).await;
        };
        self.sessions.log_in(&self.id, user).await
    }
}

impl Sessions {
    /// Gives a session a new id; the old one is good for the [overlap](Self::overlap), for requests that are
    /// under way.
    pub fn rotate(&self, id: &SessionId) -> RotateSession {
        RotateSession {
            sessions: self.clone(),
            id: id.clone(),
            user: None,
        }
    }

    async fn rotate_id(&self, id: &SessionId, overlap: Duration) -> Result<Rotation> {
        check_time("overlap", Duration::ZERO, overlap)
            .map_err(|error| error.with_operation(ROTATE.name))?;
        let (handle, claim) = (id.handle(), claim_of(id));
        let new = SessionId::of(handle)?;
        let digest = new.digest().expect("an id has one");
        let (key, target) = (self.key(handle.place)?, handle.to_string());
        let (context, port) = (&self.shared.context, &self.shared.port);
        let rotated = context
            .run_within(self.limits, &ROTATE, &target, |attempt| {
                let options = CallOptions::until(attempt.deadline);
                port.rotate(&key, &claim, digest, overlap, options)
            })
            .await?;
        Ok(match rotated {
            Rotated::Gone => Rotation::Gone,
            Rotated::Superseded => Rotation::Superseded,
            Rotated::Done { now, ends } => Rotation::Rotated(CreatedSession {
                id: new,
                expires_at: ends,
                expires_in: ends.since(now),
                evicted: Vec::new(),
            }),
        })
    }

    /// Two units: the session is made in the user's, and then taken from where it was if nothing changed there.
    /// Its new id is told only after that.
    async fn log_in(&self, id: &SessionId, user: String) -> Result<Rotation> {
        let claim = claim_of(id);
        let Some(found) = self.find(&LOGIN, id.handle, &claim, false).await? else {
            return Ok(Rotation::Gone);
        };
        if claim.digest != Some(found.record.digest) {
            return Ok(Rotation::Superseded);
        }
        if found.record.user.as_ref() == Some(&user) && self.place_of(&user)? == id.handle.place {
            return self.rotate_id(id, Duration::ZERO).await;
        }
        let device = found.record.device.clone();
        // What somebody else left in a session is none of this user's business.
        let is_anothers = found.record.user.as_ref().is_some_and(|had| *had != user);
        let fields = if is_anothers {
            Vec::new()
        } else {
            fields_of(&found)
        };
        let made = self.make(Some(user), device, fields).await?;
        let moved = if is_anothers {
            self.leave(id).await
        } else {
            self.move_over(id, &made.id, found).await
        };
        match moved {
            Ok(true) => Ok(Rotation::Rotated(made)),
            Ok(false) => {
                self.delete(&made.id).await?;
                Ok(Rotation::Gone)
            }
            Err(error) => Err(self.undone(&made, error).await),
        }
    }

    /// Removes the session that somebody logged in with, once the new one has all that it holds. `false`: somebody
    /// else removed it.
    async fn move_over(&self, id: &SessionId, to: &SessionId, mut found: Found) -> Result<bool> {
        for _ in 0..TRIES {
            let changes = Some(found.record.changes);
            match self.remove(&LEAVE, id, changes, RevokedWhy::Moved).await? {
                Deleted::Done => return Ok(true),
                Deleted::Gone => return Ok(false),
                Deleted::Changed => {}
            }
            let Some(now) = self.find(&LOGIN, id.handle, &claim_of(id), false).await? else {
                return Ok(false);
            };
            self.follow(to, &found, &now).await?;
            found = now;
        }
        Err(Error::new(ErrorKind::Overloaded)
            .with_operation(LOGIN.name)
            .with_message("the session's fields change all the time"))
    }

    /// Removes the session of another user, whatever it holds. `false`: somebody else removed it.
    async fn leave(&self, id: &SessionId) -> Result<bool> {
        let deleted = self.remove(&LEAVE, id, None, RevokedWhy::Moved).await?;
        Ok(deleted == Deleted::Done)
    }

    /// Takes back what was made for a login that failed, as far as that can be done: it ends by itself.
    async fn undone(&self, made: &CreatedSession, error: Error) -> Error {
        match self.delete(&made.id).await {
            Ok(_) => error,
            Err(_) => error.with_outcome(Outcome::Unknown),
        }
    }

    /// Brings the new session what was changed in the old one.
    async fn follow(&self, id: &SessionId, before: &Found, now: &Found) -> Result<()> {
        let mut changes = fields_of(now);
        let gone = before.record.fields.keys();
        let gone = gone.filter(|name| !now.record.fields.contains_key(*name));
        changes.splice(0..0, gone.map(|name| Change::Remove { name: name.clone() }));
        let (key, claim) = (self.key(id.handle().place)?, claim_of(id));
        let (context, port) = (&self.shared.context, &self.shared.port);
        let updated = context
            .run_within(self.limits, &LOGIN, &id.handle().to_string(), |attempt| {
                let options = CallOptions::until(attempt.deadline);
                // Harmless to repeat: nobody else knows the session yet.
                port.update(&key, &claim, &changes, options)
            })
            .await?;
        debug_assert!(
            !matches!(updated, Updated::TooLarge),
            "as large as the old one"
        );
        Ok(())
    }
}

/// What it takes to have the same fields elsewhere.
fn fields_of(found: &Found) -> Vec<Change> {
    let fields = found.record.fields.iter();
    let there = fields.filter(|(_, field)| field.ends.is_none_or(|ends| ends > found.now));
    there
        .map(|(name, field)| Change::Set {
            name: name.clone(),
            value: field.value.clone(),
            ttl: field.ends.map(|ends| ends.since(found.now)),
        })
        .collect()
}

impl IntoFuture for RotateSession {
    type Output = Result<Rotation>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
