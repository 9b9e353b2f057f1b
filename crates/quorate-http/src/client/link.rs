//! What is under way on the present connection: frames to be written, and who waits for an answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate::Position;
use serde::Serialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Call, Kind};
use super::frame::Hello;
use super::rooms::{ListenerId, RoomId};

/// Numbers for requests and subscriptions, shared with the handles.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids(Arc<AtomicU64>);

impl Ids {
    /// A number that was not given out before.
    pub(super) fn next(&self) -> u64 {
        // From 1. Relaxed: nothing but the number itself is shared.
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Pending {
    Subscribe(RoomId),
    History(RoomId, ListenerId),
    Call(Call),
    /// The caller of such a call is gone; the server is not done with it until it answers.
    Abandoned(Kind),
}

/// Verbs of the client's own. What callers ask for is written by them.
#[derive(Serialize)]
#[serde(untagged)]
enum Ask<'a> {
    Subscribe {
        id: u64,
        subscribe: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        params: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        members: bool,
    },
    Unsubscribe {
        id: u64,
        unsubscribe: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        params: &'a Value,
    },
    History {
        id: u64,
        history: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        params: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
        limit: usize,
    },
    Cancel {
        cancel: u64,
    },
}

/// What is under way on a connection. Not `Debug`: a frame may hold a token.
pub(super) struct Link {
    pub(super) out: VecDeque<Utf8Bytes>,
    /// Questions for pages of history that are not written yet: the server bounds how many it works on.
    pub(super) pages: VecDeque<Utf8Bytes>,
    pub(super) pending: HashMap<u64, Pending>,
    pub(super) ids: Ids,
    /// There while requests can be made: connected, and known to the server.
    pub(super) hello: Option<Hello>,
}

impl Link {
    pub(super) fn new(ids: Ids) -> Self {
        Self {
            out: VecDeque::new(),
            pages: VecDeque::new(),
            pending: HashMap::new(),
            ids,
            hello: None,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.hello.is_some()
    }

    /// The connection is gone. Who waited for an answer.
    pub(super) fn lost(&mut self) -> HashMap<u64, Pending> {
        self.hello = None;
        self.out.clear();
        self.pages.clear();
        std::mem::take(&mut self.pending)
    }

    pub(super) fn subscribe(
        &mut self,
        room: RoomId,
        (subscribe, params): (&str, &Value),
        after: Option<Position>,
        members: bool,
    ) -> u64 {
        let id = self.ids.next();
        let ask = Ask::Subscribe {
            id,
            subscribe,
            params,
            after,
            members,
        };
        self.pending.insert(id, Pending::Subscribe(room));
        self.write(&ask);
        id
    }

    /// The answer says nothing that is not known, and is not waited for.
    pub(super) fn unsubscribe(&mut self, (unsubscribe, params): (&str, &Value)) {
        let id = self.ids.next();
        self.write(&Ask::Unsubscribe {
            id,
            unsubscribe,
            params,
        });
    }

    pub(super) fn history(
        &mut self,
        (room, listener): (RoomId, ListenerId),
        (history, params): (&str, &Value),
        after: Option<Position>,
        limit: usize,
    ) -> u64 {
        let id = self.ids.next();
        let ask = Ask::History {
            id,
            history,
            params,
            after,
            limit,
        };
        self.pending.insert(id, Pending::History(room, listener));
        self.pages.push_back(text(&ask));
        id
    }

    pub(super) fn cancel(&mut self, id: u64) {
        self.write(&Ask::Cancel { cancel: id });
    }

    fn write(&mut self, ask: &Ask<'_>) {
        self.out.push_back(text(ask));
    }
}

fn text(ask: &Ask<'_>) -> Utf8Bytes {
    let text = serde_json::to_string(ask);
    text.expect("text, numbers and JSON can be written as JSON")
        .into()
}
