//! Changes of fields under construction: made when they are awaited.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::changes::SessionChanges;
use super::create::{check_fields, too_large};
use super::field::SessionKey;
use super::handle::{Sessions, claim_of};
use super::id::{SessionId, SessionRef};
use super::partition::{Change, Updated};
use crate::context::{Operation, Repeat};
use crate::error::{Error, Result};
use crate::port::CallOptions;

/// Not repeated when its reply is lost: it would undo what another did to the same fields meanwhile.
static UPDATE: Operation = Operation::new(
    "session.update",
    "session",
    "update",
    Repeat::OnlyIfNotApplied,
);
static TAKE: Operation =
    Operation::new("session.take", "session", "take", Repeat::OnlyIfNotApplied);

/// Changes of a session's fields, made together when this is awaited. Other fields stay as they are.
///
/// The answer says whether there is such a session.
#[derive(Debug)]
#[must_use = "fields are changed when this is awaited"]
pub struct UpdateSession {
    sessions: Sessions,
    id: SessionId,
    changes: Result<Vec<Change>>,
}

impl UpdateSession {
    pub(super) fn new(sessions: Sessions, id: SessionId) -> Self {
        Self {
            sessions,
            id,
            changes: Ok(Vec::new()),
        }
    }

    /// Gives a field a value.
    pub fn set<T>(self, key: &SessionKey<T>, value: &T) -> Self {
        self.with(key.set(value, None))
    }

    /// Gives a field a value, which it has for `ttl`: at least 1 ms, at most 100 years.
    pub fn set_for<T>(self, key: &SessionKey<T>, value: &T, ttl: Duration) -> Self {
        self.with(key.set(value, Some(ttl)))
    }

    /// Takes a field away.
    pub fn remove<T>(self, key: &SessionKey<T>) -> Self {
        let name = key.name().to_owned();
        self.with(Ok(Change::Remove { name }))
    }

    /// Makes these changes too.
    pub fn changes(mut self, more: SessionChanges) -> Self {
        if let Ok(changes) = &mut self.changes {
            changes.extend(more.into_inner());
        }
        self
    }

    fn with(mut self, change: Result<Change>) -> Self {
        self.changes = self.changes.and_then(|mut changes| {
            changes.push(change?);
            Ok(changes)
        });
        self
    }

    async fn send(self) -> Result<bool> {
        let changes = self
            .changes
            .map_err(|error| error.with_operation(UPDATE.name))?;
        let taken = self.sessions.change(&UPDATE, &self.id, &changes).await?;
        Ok(taken.is_some())
    }
}

impl Sessions {
    /// Changes fields of a session, all at once or none.
    pub fn update(&self, id: &SessionId) -> UpdateSession {
        UpdateSession::new(self.clone(), id.clone())
    }

    /// Takes a field away and gives what it held, to one of all who ask: what is used once, such as a code or a
    /// message to show. `None` if there is no such field, or session.
    ///
    /// # Errors
    /// `Decode` if what it held is not one of these values; it is taken then as well. Those of the backend; when
    /// the reply is lost, it may be taken.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be taken.
    pub async fn take<T>(&self, id: &SessionId, key: &SessionKey<T>) -> Result<Option<T>> {
        let name = key.name().to_owned();
        let taken = self.change(&TAKE, id, &[Change::Take { name }]).await?;
        let value = taken.and_then(|taken| taken.into_iter().next().flatten());
        let value = value.map(|value| key.decode(&value)).transpose();
        value.map_err(|error| error.with_operation(TAKE.name))
    }

    /// What was taken; `None` if there is no such session.
    async fn change(
        &self,
        operation: &'static Operation,
        id: &SessionId,
        changes: &[Change],
    ) -> Result<Option<Vec<Option<Bytes>>>> {
        let named = |error: Error| error.with_operation(operation.name);
        check_fields(changes).map_err(named)?;
        let (key, claim) = (self.key(id.handle.place)?, claim_of(id));
        let (context, port) = (&self.shared.context, &self.shared.port);
        let target = id.handle().to_string();
        let updated = context
            .run_within(self.limits, operation, &target, |attempt| {
                port.update(&key, &claim, changes, CallOptions::until(attempt.deadline))
            })
            .await?;
        match updated {
            Updated::Gone => Ok(None),
            Updated::TooLarge => Err(named(too_large()).with_target(target)),
            Updated::Done { taken, .. } => Ok(Some(taken)),
        }
    }
}

impl IntoFuture for UpdateSession {
    type Output = Result<bool>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
