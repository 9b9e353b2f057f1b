//! The session of a request, as handlers hold it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use parking_lot::{Mutex, MutexGuard};
use quorate::session::SessionChanges;
use quorate::{Error, Result, Session, SessionId, SessionKey, SessionWatch, Sessions};

use super::carrier::Carried;
use super::layer::Options;

/// What the library takes of a device, in bytes.
const MAX_DEVICE: usize = 1024;

/// The session of a request, for handlers behind a [`SessionLayer`](super::SessionLayer): an extractor.
///
/// The home is asked when somebody looks, once for the request. Changes are seen by later calls of the same request, and saved
/// when the handler has answered, all together; after that they are refused, also to what the handler has left behind, such as a
/// stream, and so is looking (`Closed`) at what nobody has looked at before: the response has said then that it does not depend on
/// the session. Other requests do not see changes before they are saved.
///
/// A request without a session, or with an id that proves none, gets an anonymous one when something is
/// [written](Self::set), and a user's by [`log_in`](Self::log_in).
///
/// # Clone
/// Cheap; clones are the session of the same request, and so are all extractors of one request.
///
/// # Concurrent calls
/// Calls that ask the home happen one after the other.
///
/// # Example
/// ```
/// use quorate::SessionKey;
/// use quorate_http::Rejection;
/// use quorate_http::session::CurrentSession;
///
/// const CART: SessionKey<Vec<u32>> = SessionKey::new("cart");
///
/// async fn add_to_cart(session: CurrentSession) -> Result<(), Rejection> {
///     let mut cart = session.get(&CART).await?.unwrap_or_default();
///     cart.push(7);
///     Ok(session.set(&CART, &cart)?)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(add_to_cart));
/// ```
#[derive(Clone)]
pub struct CurrentSession {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: Arc<Options>,
    pub(super) device: Option<String>,
    /// Whether the client should be given its id again.
    pub(super) is_dated: bool,
    /// Held while the home is asked: whoever looks meanwhile waits for the same answer, and who logs in or out has no other
    /// beside it.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) id: Option<SessionId>,
    pub(super) seen: Seen,
    pub(super) changes: SessionChanges,
    pub(super) news: News,
    /// Whether there was a session, as far as this request knows: what it changes belongs to that, and to no other.
    pub(super) was_there: bool,
    /// Whether somebody was told that there is none because the home could not be asked.
    pub(super) in_doubt: bool,
    /// Whether what the handler answers may depend on the session. Decided when the response is on its way.
    pub(super) used: bool,
    /// Whether the response is on its way.
    pub(super) over: bool,
}

/// What is known of the session.
pub(super) enum Seen {
    /// Nobody has looked.
    Unasked,
    /// It was asked for in vain, and is to be taken for none.
    Unknown,
    Nothing,
    There(Box<Session>),
}

/// What the client does not know yet.
pub(super) enum News {
    None,
    /// An id.
    Id,
    /// That there is no session any more.
    Gone,
}

impl CurrentSession {
    pub(super) fn of(options: Arc<Options>, request: &Parts) -> Self {
        let carried = options.carrier.read(&request.headers);
        let device = options.device.as_ref().and_then(|tell| tell(request));
        let is_dated = carried.as_ref().is_some_and(|carried| carried.is_dated);
        Self {
            inner: Arc::new(Inner {
                device: device.map(shortened).filter(|device| !device.is_empty()),
                options,
                is_dated,
                turn: tokio::sync::Mutex::default(),
                state: Mutex::new(State {
                    id: carried.map(|Carried { id, .. }| id),
                    seen: Seen::Unasked,
                    changes: SessionChanges::new(),
                    news: News::None,
                    was_there: false,
                    in_doubt: false,
                    used: false,
                    over: false,
                }),
            }),
        }
    }

    /// Whose it is; `None` for an anonymous session, or none. A use of the session.
    ///
    /// # Errors
    /// `Closed` when the response is on its way and nobody has looked before, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn user(&self) -> Result<Option<String>> {
        let user = |session: &Session| session.user().map(str::to_owned);
        Ok(self.look(user).await?.flatten())
    }

    /// As [`user`](Self::user), but nobody is taken for anonymous because the home cannot be asked.
    pub(crate) async fn user_for_certain(&self) -> Result<Option<String>> {
        let user = |session: &Session| session.user().map(str::to_owned);
        Ok(self.look_as(false, user).await?.flatten())
    }

    /// The session as the home has it, without what this request has changed; `None` if there is none. A use of it.
    ///
    /// # Errors
    /// `Closed` when the response is on its way and nobody has looked before, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn load(&self) -> Result<Option<Session>> {
        self.look(Clone::clone).await
    }

    /// The value of a field, as this request has set it or the home has it; `None` if there is none.
    ///
    /// # Errors
    /// `Decode` if it is not one of these values, and those of [`load`](Self::load).
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get<T>(&self, key: &SessionKey<T>) -> Result<Option<T>> {
        if let Some(changed) = self.looking()?.changes.get(key)? {
            return Ok(changed);
        }
        self.look(|session| session.get(key))
            .await?
            .transpose()
            .map(Option::flatten)
    }

    /// Gives a field a value, in the session as it is when the response goes out. Asks nobody.
    ///
    /// # Errors
    /// `Encode` if the value cannot be written, `Closed` when the response is on its way.
    pub fn set<T>(&self, key: &SessionKey<T>, value: &T) -> Result<()> {
        self.changing()?.changes.set(key, value)
    }

    /// Gives a field a value, which it has for `ttl`: at least 1 ms, at most 100 years. Asks nobody.
    ///
    /// # Errors
    /// As [`set`](Self::set), and `InvalidInput` if the time breaks the rule.
    pub fn set_for<T>(&self, key: &SessionKey<T>, value: &T, ttl: Duration) -> Result<()> {
        self.changing()?.changes.set_for(key, value, ttl)
    }

    /// Takes a field away. Asks nobody.
    ///
    /// # Errors
    /// `Closed` when the response is on its way.
    pub fn remove<T>(&self, key: &SessionKey<T>) -> Result<()> {
        self.changing()?.changes.remove(key);
        Ok(())
    }

    /// Takes a field away at once and gives what it held, to one of all requests that ask: what is used once, such as a code
    /// or a message to show.
    ///
    /// # Errors
    /// `Decode` if what it held is not one of these values; it is taken then as well. `Closed` when the response is on its way,
    /// and those of the backend; when the reply is lost, it may be taken.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be taken.
    pub async fn take<T>(&self, key: &SessionKey<T>) -> Result<Option<T>> {
        {
            let mut state = self.changing()?;
            if let Some(changed) = state.changes.get(key)? {
                state.changes.remove(key);
                return Ok(changed);
            }
        }
        // Most of the time there is nothing to take, and no need to write.
        let has = |session: &Session| session.fields().any(|name| name == key.name());
        if self.look(has).await? != Some(true) {
            return Ok(None);
        }
        let _turn = self.inner.turn.lock().await;
        let Some(id) = self.using().id.clone() else {
            return Ok(None);
        };
        let taken = self.sessions().take(&id, key).await;
        self.using().seen = Seen::Unasked;
        taken
    }

    /// The session's id, for what the handler starts that outlives the request; `None` if there is no session. A use of it.
    ///
    /// # Errors
    /// `Closed` when the response is on its way and nobody has looked before, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn id(&self) -> Result<Option<SessionId>> {
        let is_there = self.look(|_| ()).await?.is_some();
        Ok(self.using().id.clone().filter(|_| is_there))
    }

    /// What hears of the end of the session, wherever it is removed, to close a socket of your own; `None` if there is no
    /// session. A [hub](crate::Hub) does that by itself where the layer is what it
    /// [authenticates](crate::HubBuilder::authenticate) by.
    ///
    /// # Errors
    /// `Closed` when the response is on its way and nobody has looked before, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn watch(&self) -> Result<Option<SessionWatch>> {
        match self.id().await? {
            Some(id) => Ok(Some(self.sessions().watch(&id).await?)),
            None => Ok(None),
        }
    }

    /// All sessions, of the handle that the layer has: to list a user's, or end others.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.inner.options.sessions
    }

    /// What somebody who may look sees of the session, if there is one.
    pub(super) async fn look<R>(&self, see: impl FnOnce(&Session) -> R) -> Result<Option<R>> {
        self.look_as(self.inner.options.anonymous_when_down, see)
            .await
    }

    /// As [`look`](Self::look); `is_lenient`: a session that cannot be asked for is taken for none.
    pub(super) async fn look_as<R>(
        &self,
        is_lenient: bool,
        see: impl FnOnce(&Session) -> R,
    ) -> Result<Option<R>> {
        let turn = self.inner.turn.lock().await;
        self.ask(is_lenient).await?;
        drop(turn);
        Ok(match &self.looking()?.seen {
            Seen::There(session) => Some(see(session)),
            Seen::Unasked | Seen::Unknown | Seen::Nothing => None,
        })
    }

    /// Asks the home, unless that was done. `is_lenient`: what cannot be asked is taken for nothing.
    pub(super) async fn ask(&self, is_lenient: bool) -> Result<()> {
        let id = {
            let mut state = self.looking()?;
            match (&state.seen, &state.id) {
                (Seen::Nothing | Seen::There(_), _) => return Ok(()),
                (Seen::Unknown, _) if is_lenient => return Ok(()),
                (_, Some(id)) => id.clone(),
                (_, None) => {
                    state.seen = Seen::Nothing;
                    return Ok(());
                }
            }
        };
        let seen = match self.sessions().get_and_touch(&id).await {
            Ok(Some(session)) => Seen::There(Box::new(session)),
            Ok(None) => Seen::Nothing,
            Err(error) if is_lenient => {
                tracing::warn!(%error, "a session could not be asked for: the request goes on without");
                Seen::Unknown
            }
            Err(error) => return Err(error),
        };
        let mut state = self.using();
        state.was_there |= matches!(seen, Seen::There(_));
        state.in_doubt |= matches!(seen, Seen::Unknown);
        state.seen = seen;
        Ok(())
    }

    /// The state, for who lets the response depend on it.
    pub(super) fn using(&self) -> MutexGuard<'_, State> {
        let mut state = self.inner.state.lock();
        // What the response has said of it is said.
        state.used |= !state.over;
        state
    }

    /// The state, for who lets what they answer depend on it, if that can still be told.
    fn looking(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.using();
        if !state.used {
            return Err(Error::closed("the response"));
        }
        Ok(state)
    }

    /// The state, for the layer itself.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }

    /// The state, for who changes something.
    pub(super) fn changing(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.using();
        if state.over {
            return Err(Error::closed("the response"));
        }
        Ok(state)
    }
}

/// Whether the answer to a request may depend on its session.
pub(crate) fn was_used(request: &Parts) -> bool {
    let session = request.extensions.get::<CurrentSession>();
    session.is_some_and(|session| session.state().used)
}

fn shortened(mut device: String) -> String {
    let mut end = device.len().min(MAX_DEVICE);
    while !device.is_char_boundary(end) {
        end -= 1;
    }
    device.truncate(end);
    device
}

impl fmt::Debug for CurrentSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("CurrentSession")
            .field("id", &state.id)
            .field("changes", &state.changes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_device_is_cut_between_letters() {
        let long = format!("x{}", "é".repeat(MAX_DEVICE));
        assert_eq!(shortened(long).len(), MAX_DEVICE - 1);
        assert_eq!(shortened("Firefox".to_owned()), "Firefox");
    }
}
