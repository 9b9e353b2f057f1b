//! A session under construction: made when it is awaited.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::changes::SessionChanges;
use super::field::{SessionKey, check_time};
use super::handle::{SHORTEST, Sessions};
use super::id::{Place, SessionHandle, SessionId, SessionRef};
use super::partition::{Change, MAX_SESSIONS, NewSession};
use super::record::{MAX_BYTES, MAX_FIELDS};
use crate::clock::Micros;
use crate::context::{Operation, Repeat};
use crate::error::{Error, Result};
use crate::key::check_name;
use crate::port::CallOptions;

/// Not repeated when its reply is lost: a session that was removed meanwhile would come back.
static CREATE: Operation = Operation::new(
    "session.create",
    "session",
    "create",
    Repeat::OnlyIfNotApplied,
);

/// The longest description of a device, in bytes.
const MAX_DEVICE: usize = 1024;

/// A session that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct CreatedSession {
    /// Its id, which nobody can be told again.
    pub id: SessionId,
    /// When it ends unless it is used, by the home's clock.
    pub expires_at: Micros,
    /// How long that was away when it was made.
    pub expires_in: Duration,
    /// The user's sessions that had to go because there were as many as there may be, oldest first.
    pub evicted: Vec<SessionHandle>,
}

/// A session to be made; await it.
#[derive(Debug)]
#[must_use = "a session is made when this is awaited"]
pub struct CreateSession {
    sessions: Sessions,
    user: Option<String>,
    device: Option<String>,
    fields: Result<Vec<Change>>,
}

impl CreateSession {
    pub(super) fn new(sessions: Sessions, user: Option<String>) -> Self {
        Self {
            sessions,
            user,
            device: None,
            fields: Ok(Vec::new()),
        }
    }

    /// How long it outlives a use: at least 1 s, at most 100 years. Default 7 days.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.sessions.policy.ttl = ttl;
        self
    }

    /// How long it lives however much it is used. Default without limit.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.sessions.policy.absolute = Some(absolute);
        self
    }

    /// Says on which device it is made, for lists; 1 to 1024 bytes.
    pub fn device_info(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Gives a field its first value.
    pub fn field<T>(self, key: &SessionKey<T>, value: &T) -> Self {
        self.with(key.set(value, None))
    }

    /// Gives a field its first value, which it has for `ttl`.
    pub fn field_for<T>(self, key: &SessionKey<T>, value: &T, ttl: Duration) -> Self {
        self.with(key.set(value, Some(ttl)))
    }

    /// Gives fields their first values.
    pub fn changes(mut self, changes: SessionChanges) -> Self {
        if let Ok(fields) = &mut self.fields {
            let given = changes.into_inner().into_iter();
            // There is nothing yet that could be taken away.
            fields.extend(given.filter(|change| matches!(change, Change::Set { .. })));
        }
        self
    }

    fn with(mut self, change: Result<Change>) -> Self {
        self.fields = self.fields.and_then(|mut fields| {
            fields.push(change?);
            Ok(fields)
        });
        self
    }

    async fn send(self) -> Result<CreatedSession> {
        let fields = self
            .fields
            .map_err(|error| error.with_operation(CREATE.name))?;
        self.sessions.make(self.user, self.device, fields).await
    }
}

impl Sessions {
    /// Makes a session with fields of `Set` alone.
    pub(super) async fn make(
        &self,
        user: Option<String>,
        device: Option<String>,
        fields: Vec<Change>,
    ) -> Result<CreatedSession> {
        let prepared = self.prepare(user, device, fields);
        let (id, new) = prepared.map_err(|error| error.with_operation(CREATE.name))?;
        let place = id.handle.place;
        let key = self.key(place)?;
        let (context, port) = (&self.shared.context, &self.shared.port);
        let target = new.user.as_deref().unwrap_or("anonymous");
        let creation = context
            .run_within(self.limits, &CREATE, target, |attempt| {
                port.create(&key, &new, CallOptions::until(attempt.deadline))
            })
            .await?;
        let handle = |serial| SessionHandle { place, serial };
        Ok(CreatedSession {
            id,
            expires_at: creation.ends,
            expires_in: creation.ends.since(creation.now),
            evicted: creation.evicted.into_iter().map(handle).collect(),
        })
    }

    fn prepare(
        &self,
        user: Option<String>,
        device: Option<String>,
        fields: Vec<Change>,
    ) -> Result<(SessionId, NewSession)> {
        let policy = &self.policy;
        check_time("ttl", SHORTEST, policy.ttl)?;
        if let Some(absolute) = policy.absolute {
            check_time("absolute", SHORTEST, absolute)?;
        }
        if !(1..=MAX_SESSIONS).contains(&policy.most) {
            let rule = format_args!("must be from 1 to {MAX_SESSIONS}");
            return Err(Error::invalid("max_per_user", rule));
        }
        if device
            .as_ref()
            .is_some_and(|device| device.is_empty() || device.len() > MAX_DEVICE)
        {
            let rule = format_args!("must be from 1 to {MAX_DEVICE} bytes");
            return Err(Error::invalid("device_info", rule));
        }
        check_fields(&fields)?;
        let place = match &user {
            Some(user) => self.place_of(user)?,
            None => Place::random()?,
        };
        let id = SessionId::new(place)?;
        let new = NewSession {
            serial: id.handle.serial,
            digest: id.digest().expect("an id has one"),
            ttl: policy.ttl,
            absolute: policy.absolute,
            most: policy.most,
            user,
            device,
            fields,
        };
        Ok((id, new))
    }

    pub(super) fn place_of(&self, user: &str) -> Result<Place> {
        check_name("user", user)?;
        let key = &self.partition_key;
        let key = key.as_deref().unwrap_or(self.namespace.as_str().as_bytes());
        Ok(Place::of_user(key, user))
    }
}

/// Bounds what one call may bring.
pub(super) fn check_fields(changes: &[Change]) -> Result<()> {
    if changes.len() > MAX_FIELDS {
        return Err(Error::invalid(
            "fields",
            format_args!("must be at most {MAX_FIELDS}"),
        ));
    }
    let bytes = changes.iter().map(|change| match change {
        Change::Set { name, value, .. } => name.len() + value.len(),
        Change::Remove { .. } | Change::Take { .. } => 0,
    });
    if bytes.sum::<usize>() > MAX_BYTES {
        return Err(too_large());
    }
    Ok(())
}

pub(super) fn too_large() -> Error {
    let rule = format_args!("must be at most {MAX_FIELDS}, with {MAX_BYTES} bytes in all");
    Error::invalid("fields", rule)
}

impl IntoFuture for CreateSession {
    type Output = Result<CreatedSession>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
