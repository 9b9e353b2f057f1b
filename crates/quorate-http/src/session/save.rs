//! What becomes of a session when its handler has answered.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use axum::response::IntoResponse;
use quorate::session::SessionChanges;
use quorate::{Error, Outcome, Result, SessionId};

use super::current::{CurrentSession, News, Seen, State};
use crate::problem::{Code, Problem};

/// Says to some caches in front of a service what `Cache-Control` says to others, and counts more.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

impl CurrentSession {
    /// Saves what was changed, and says in the response what the client and caches have to know.
    pub(super) async fn finish(&self, response: Response<Body>) -> Response<Body> {
        if !self.state().used {
            return response;
        }
        // Somebody who was left behind may be asking still.
        let _turn = self.inner.turn.lock().await;
        let changes = {
            let mut state = self.state();
            state.over = true;
            std::mem::take(&mut state.changes)
        };
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
        let (id, was_seen, is_new) = {
            let state = self.state();
            let was_seen = match &state.seen {
                Seen::There(_) => Some(true),
                Seen::Nothing => Some(false),
                Seen::Unasked | Seen::Unknown => None,
            };
            (
                state.id.clone(),
                was_seen,
                matches!(state.news, News::Id(_)),
            )
        };
        let sessions = self.sessions();
        let (was_there, is_saved) = match (id, was_seen) {
            (None, _) | (_, Some(false)) => (false, false),
            (Some(id), None) if !is_new => self.touch_and_update(&id, changes.clone()).await?,
            (Some(id), _) => (true, sessions.update(&id).changes(changes.clone()).await?),
        };
        if !was_there && !is_saved {
            self.begin_anonymous(changes).await?;
            return Ok(true);
        }
        // Who ended it wants nothing of it to go on: no other begins with what this request has changed.
        Ok(is_saved)
    }

    /// Of a session that nobody has looked at: writing is a use of it. Whether it was there, and whether it was changed.
    async fn touch_and_update(
        &self,
        id: &SessionId,
        changes: SessionChanges,
    ) -> Result<(bool, bool)> {
        let sessions = self.sessions();
        let update = sessions.update(id).changes(changes);
        // Together: they are sent at once.
        let (touched, updated) = tokio::join!(sessions.get_and_touch(id), update);
        let (updated, touched) = (updated?, touched?);
        let was_there = touched.is_some();
        if let Some(session) = touched {
            self.state().seen = Seen::There(Box::new(session));
        }
        Ok((was_there, updated))
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
            (News::Id(good_for), Some(id)) => {
                carrier.give(headers, id, *good_for);
                true
            }
            (News::Gone, _) => {
                carrier.take(headers);
                true
            }
            (News::None | News::Id(_), _) => match self.again(&state) {
                Some((id, good_for)) => {
                    carrier.give(headers, id, good_for);
                    true
                }
                None => false,
            },
        };
        headers.append(header::VARY, carrier.varies_by());
        if is_told {
            headers.remove(CDN_CACHE_CONTROL);
            headers.insert(header::CACHE_CONTROL, NO_STORE);
        } else {
            headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        }
    }

    /// The id to be given once more, because it is good for longer now, or its signature is of a key that is to go. Not one
    /// that was replaced: another response has the new one.
    fn again<'s>(&self, state: &'s State) -> Option<(&'s SessionId, Duration)> {
        let (Seen::There(session), Some(id)) = (&state.seen, &state.id) else {
            return None;
        };
        let was_prolonged = session.seen_at() == session.read_at();
        let is_due =
            self.inner.is_dated || self.inner.options.carrier.counts_time() && was_prolonged;
        (is_due && !session.is_superseded()).then(|| (id, session.expires_in()))
    }
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
