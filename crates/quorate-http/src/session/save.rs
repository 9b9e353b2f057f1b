//! What becomes of a session when its handler has answered.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use axum::response::IntoResponse;
use quorate::session::SessionChanges;
use quorate::{Error, ErrorKind, Outcome, Result, SessionId};

use super::current::{CurrentSession, News, Seen, State};
use crate::problem::{Code, Problem};

/// Says to some caches in front of a service what `Cache-Control` says to others, and counts more.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

impl CurrentSession {
    /// Saves what was changed, and says in the response what the client and caches have to know.
    pub(super) async fn finish(&self, response: Response<Body>) -> Response<Body> {
        let was_used = {
            // At one moment: who uses the session for the first time after it is refused.
            let mut state = self.state();
            state.over = true;
            state.used
        };
        if !was_used {
            return response;
        }
        // Somebody who was left behind may be asking still, or logging out.
        let _turn = self.inner.turn.lock().await;
        let changes = std::mem::take(&mut self.state().changes);
        let is_fault = response.status().is_server_error();
        let mut response = if changes.is_empty() || is_fault {
            response
        } else {
            match self.save(changes).await {
                Ok(true) => response,
                Ok(false) => ended().into_response(),
                Err(error) => unsaved(&error).into_response(),
            }
        };
        self.tell(response.headers_mut());
        response
    }

    /// `false`: the session was there, and is no more.
    async fn save(&self, changes: SessionChanges) -> Result<bool> {
        if self.state().in_doubt {
            return Err(doubtful());
        }
        if self.is_saved(&changes).await? {
            return Ok(true);
        }
        if self.state().was_there {
            // Who ended it wants nothing of it to go on: no other begins with what this request has changed.
            return Ok(false);
        }
        self.begin_anonymous(changes).await?;
        Ok(true)
    }

    /// Whether there is a session, which has the changes now.
    async fn is_saved(&self, changes: &SessionChanges) -> Result<bool> {
        let (id, is_known) = {
            let state = self.state();
            let is_known = matches!(state.seen, Seen::There(_)) || matches!(state.news, News::Id);
            let id = state.id.clone();
            let is_none = matches!(state.seen, Seen::Nothing);
            (id.filter(|_| !is_none), is_known)
        };
        match id {
            Some(id) if is_known => self.sessions().update(&id).changes(changes.clone()).await,
            Some(id) => self.touch_and_update(&id, changes.clone()).await,
            None => Ok(false),
        }
    }

    /// Of a session that nobody has looked at: writing is a use of it. Whether it was changed.
    async fn touch_and_update(&self, id: &SessionId, changes: SessionChanges) -> Result<bool> {
        let sessions = self.sessions();
        let update = sessions.update(id).changes(changes);
        // Together: they are sent at once.
        let (touched, updated) = tokio::join!(sessions.get_and_touch(id), update);
        let (updated, touched) = (updated?, touched?);
        if let Some(session) = touched {
            let mut state = self.state();
            state.was_there = true;
            state.seen = Seen::There(Box::new(session));
        }
        Ok(updated)
    }

    async fn begin_anonymous(&self, changes: SessionChanges) -> Result<()> {
        if changes.sets_nothing() {
            return Ok(());
        }
        let mut making = self.sessions().create_anonymous().changes(changes);
        if let Some(device) = &self.inner.device {
            making = making.device_info(device);
        }
        let made = making.await?;
        self.goes_on_as(made);
        Ok(())
    }

    fn tell(&self, headers: &mut HeaderMap) {
        let (state, carrier) = (self.state(), &self.inner.options.carrier);
        let is_told = match (&state.news, &state.id) {
            (News::Gone, _) => {
                carrier.take(headers);
                true
            }
            (News::Id, Some(id)) => {
                carrier.give(headers, id);
                true
            }
            (News::None, Some(id)) if self.is_due_again(&state) => {
                carrier.give(headers, id);
                true
            }
            (News::None | News::Id, _) => false,
        };
        headers.append(header::VARY, carrier.varies_by());
        if is_told {
            headers.remove(CDN_CACHE_CONTROL);
            headers.insert(header::CACHE_CONTROL, NO_STORE);
        } else {
            headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        }
    }

    /// Whether the id is to be given once more, because its signature is of a key that is to go. Not one that was replaced:
    /// another response has the new one.
    fn is_due_again(&self, state: &State) -> bool {
        let Seen::There(session) = &state.seen else {
            return false;
        };
        self.inner.is_dated && !session.is_superseded()
    }
}

/// Saved, it would be in a session that the handler has taken for none.
fn doubtful() -> Error {
    Error::new(ErrorKind::Disconnected)
        .with_message("the session could not be asked for, so what was changed is not saved")
}

fn unsaved(error: &Error) -> Problem {
    tracing::warn!(%error, "a session could not be saved: its request is answered with the error");
    // What the handler has done besides is done.
    Problem::from(error).with_outcome(Outcome::Unknown)
}

fn ended() -> Problem {
    let detail =
        "the session ended while the request was worked on; what it changed there is not kept";
    Problem::new(Code::Unauthenticated, detail).with_outcome(Outcome::Unknown)
}
