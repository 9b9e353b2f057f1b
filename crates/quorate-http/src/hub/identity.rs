//! Who a client is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quorate::{SessionRef, Sessions};
use serde_json::Value;
use tokio::time::Instant;

use super::session::OfSession;
use crate::problem::{Code, Problem};

/// What others are shown of a user may be this long, as JSON.
pub(crate) const MAX_INFO: usize = 4 * 1024;

/// The system's time: identities and tokens end at a moment that several machines agree on.
pub(crate) fn wall_clock() -> SystemTime {
    jiff::Timestamp::now().into()
}

/// Who a client is, as said by the hook that let it in.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use quorate_http::Identity;
/// use serde_json::json;
///
/// let ada = Identity::new("ada")
///     .with_info(json!({"name": "Ada"}))
///     .valid_for(Duration::from_secs(600));
/// assert_eq!(ada.user(), "ada");
/// assert!(ada.expires().is_some());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an identity does nothing until a hook returns it"]
pub struct Identity {
    pub(crate) user: String,
    pub(crate) info: Value,
    pub(crate) expires: Option<SystemTime>,
    pub(crate) session: Option<OfSession>,
}

impl Identity {
    /// The user with this id, of whom others are shown nothing, without an end.
    ///
    /// An id has 1 to 512 bytes and no control character. Other clients see it: as the `source` of what
    /// the user publishes, and in presence.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            info: Value::Null,
            expires: None,
            session: None,
        }
    }

    /// What others are shown of the user, such as a name and a colour; at most 4 KiB of JSON.
    pub fn with_info(mut self, info: Value) -> Self {
        self.info = info;
        self
    }

    /// When the client has to show itself again. At that moment its connection is closed (4401) unless an
    /// `authenticate` frame came before.
    pub fn with_expiry(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// [`with_expiry`](Self::with_expiry), counted from now. What lies beyond the clock's range is
    /// without an end.
    pub fn valid_for(mut self, lifetime: Duration) -> Self {
        self.expires = wall_clock().checked_add(lifetime);
        self
    }

    /// That the client is connected by this session: when it ends, on whatever instance, the connection is closed
    /// (4401, `session_ended`). Being connected is no use of the session.
    ///
    /// While the home cannot be asked the client stays, and the session is looked at as soon as it can. A
    /// [`SessionLayer`](crate::session::SessionLayer) that a hub authenticates by does this by itself.
    pub fn with_session(mut self, sessions: &Sessions, session: &impl SessionRef) -> Self {
        let (sessions, handle) = (sessions.clone(), session.handle());
        self.session = Some(OfSession { sessions, handle });
        self
    }

    /// The user's id.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What others are shown of the user; `null` if nothing.
    #[must_use]
    pub const fn info(&self) -> &Value {
        &self.info
    }

    /// When the client has to show itself again; `None`: never.
    #[must_use]
    pub const fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// How long it is still good for at `now`. `None`: without an end.
    pub(crate) fn remaining(&self, now: SystemTime) -> Option<Duration> {
        let expires = self.expires?;
        Some(expires.duration_since(now).unwrap_or_default())
    }

    /// Which rule it breaks, if any.
    pub(crate) fn check(&self) -> Result<(), String> {
        let user = &self.user;
        if user.is_empty() || user.len() > quorate::MAX_NAME || user.chars().any(char::is_control) {
            return Err(format!(
                "user must have 1 to {} bytes and no control character",
                quorate::MAX_NAME
            ));
        }
        let length = self.info.to_string().len();
        if length > MAX_INFO {
            return Err(format!(
                "info must be at most {MAX_INFO} bytes of JSON, not {length}"
            ));
        }
        Ok(())
    }

    /// Whether a client that is `self` may go on as `renewed`: as the same user, for a longer or shorter
    /// time.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for another user: what the client subscribed to was allowed to this one.
    pub(crate) fn renewed_by(&self, renewed: &Self) -> Result<(), Problem> {
        if self.user == renewed.user {
            return Ok(());
        }
        Err(Problem::new(
            Code::PermissionDenied,
            "this connection belongs to another user; make a new one",
        ))
    }
}

/// Who a client is, and when that was asked: what was said of the user since then is looked up again.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    pub(crate) asked: Instant,
}

/// A connected client, for hooks.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    pub(crate) client: Arc<str>,
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) address: Option<SocketAddr>,
}

impl ClientInfo {
    /// The id of this connection, unique over the fleet.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client
    }

    /// Who it is; `None` only where the hub does not authenticate.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// The user's id.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.identity().map(Identity::user)
    }

    /// Where it connects from, where the server was told (axum's `into_make_service_with_connect_info`).
    /// Behind a proxy that is the proxy.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What stands as the `source` of its messages.
    pub(crate) fn source(&self) -> &str {
        self.user().unwrap_or(&self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_may_renew() {
        let ada = Identity::new("ada");
        let renewed = Identity::new("ada").valid_for(Duration::from_secs(1));
        ada.renewed_by(&renewed).unwrap();
        let problem = ada.renewed_by(&Identity::new("eve")).unwrap_err();
        assert_eq!(problem.code(), Code::PermissionDenied);
    }
}
