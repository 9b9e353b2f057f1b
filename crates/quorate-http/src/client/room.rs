//! One topic or pattern that somebody here subscribes to: one subscription at the server, however many
//! listeners.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Backoff, GapReason, Position};
use serde_json::Value;
use tokio::time::Instant;

use super::cursor::{Cursor, Own};
use super::error::ClientError;
use super::frame::{AnswerBody, HistoryBody};
use super::link::Link;
use super::listener::{Listener, Needs, Phase};
use super::mailbox::Item;
use super::message::{ClientGap, Delivery};
use super::rooms::{ListenerId, RoomId, Wanted};
use super::roster::{PresenceChange, Roster};

/// How long to wait before something the server refused for the moment is asked for again.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(500),
    factor: 2.0,
    max: Duration::from_secs(30),
    jitter: 0.5,
};

#[derive(Debug)]
pub(super) struct Room {
    id: RoomId,
    /// What makes rooms of one spelling one.
    pub(super) key: String,
    /// As it was first asked for here.
    event: String,
    params: Value,
    /// What frames call it; known once the server has answered.
    pub(super) topic: Option<String>,
    stage: Stage,
    /// Where the server's stream is.
    cursor: Cursor,
    own: Own,
    /// Announced, and to be told by the next frame.
    gap_due: Option<ClientGap>,
    /// Whether the server was asked for presence on this connection.
    members: bool,
    roster: Option<Roster>,
    pub(super) listeners: Vec<Listener>,
    /// The stream has begun: a new subscription is an interruption.
    begun: bool,
    refusals: u32,
    /// When to ask again for what was refused for the moment.
    pub(super) due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not asked for on this connection.
    Away,
    /// The server has not answered. Frames that come now belong to an earlier subscription.
    Asking {
        request: u64,
        after: Option<Position>,
    },
    Active,
}

impl Room {
    pub(super) fn new(id: RoomId, key: String, Wanted { event, params }: Wanted) -> Self {
        Self {
            id,
            key,
            event,
            params,
            topic: None,
            stage: Stage::Away,
            cursor: Cursor::default(),
            own: Own::default(),
            gap_due: None,
            members: false,
            roster: None,
            listeners: Vec::new(),
            begun: false,
            refusals: 0,
            due: None,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.stage == Stage::Active
    }

    /// Somebody more subscribes.
    pub(super) fn join(&mut self, listener: Listener, link: &mut Link) {
        let wants_members = listener.members && !self.members;
        self.listeners.push(listener);
        match self.stage {
            Stage::Active if wants_members => {
                // The server takes options with a new subscription only.
                link.unsubscribe((&self.event, &self.params));
                self.ask(link);
            }
            Stage::Active => self.admit(link),
            Stage::Away if self.due.is_none() => self.ask(link),
            Stage::Away | Stage::Asking { .. } => {}
        }
    }

    /// Asks the server for the stream, from where it was left.
    pub(super) fn ask(&mut self, link: &mut Link) {
        if !link.is_ready() {
            return;
        }
        self.due = None;
        self.members = self.listeners.iter().any(|it| it.members);
        let after = self.cursor.position();
        let what = (self.event.as_str(), &self.params);
        let request = link.subscribe(self.id, what, after, self.members);
        self.stage = Stage::Asking { request, after };
    }

    /// The server has subscribed this client.
    pub(super) fn subscribed(&mut self, body: &AnswerBody, link: &mut Link) {
        let Stage::Asking { after, .. } = self.stage else {
            return;
        };
        self.stage = Stage::Active;
        self.refusals = 0;
        match (after, body.recovered) {
            (Some(_), Some(true)) => {}
            // A gap follows, with the place where the stream goes on.
            (Some(_), Some(false)) => {
                let gap = ClientGap::new(GapReason::History, None).at(body.position);
                self.gap_due = Some(gap);
            }
            _ => {
                self.cursor.jump(body.position);
                if self.begun {
                    let gap = ClientGap::new(GapReason::Reconnected, None).at(body.position);
                    self.tell(&Item::Gap(gap));
                }
            }
        }
        self.begun = true;
        self.admit(link);
    }

    /// The server refuses the subscription. Whether it is to be asked again: who has begun is not given
    /// up for a refusal that may pass, and nobody is when the server says when to come again.
    pub(super) fn tries_again(&mut self, error: &ClientError) -> bool {
        self.stage = Stage::Away;
        let again = error.is_retryable() && (self.begun || error.retry_after().is_some());
        if again {
            self.retry(error);
        }
        again
    }

    /// Asks again when it is time.
    pub(super) fn again(&mut self, link: &mut Link) {
        self.due = None;
        match self.stage {
            Stage::Away => self.ask(link),
            Stage::Active => self.admit(link),
            Stage::Asking { .. } => {}
        }
    }

    fn retry(&mut self, error: &ClientError) {
        self.refusals = self.refusals.saturating_add(1);
        let delay = error
            .retry_after()
            .unwrap_or_else(|| RETRY.delay(self.refusals));
        self.due = Some(Instant::now() + delay);
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, link: &mut Link) {
        self.tell_due_gap(link);
        self.stage = Stage::Away;
        self.members = false;
        self.due = None;
        self.listeners.iter_mut().for_each(Listener::lost);
    }

    /// A message of the stream arrived.
    pub(super) fn message(&mut self, message: &Arc<Delivery>, link: &mut Link) {
        if !self.is_active() {
            return;
        }
        self.tell_due_gap(link);
        if let Some(position) = message.resumable()
            && (!self.cursor.passes(position) || self.own.contains(position))
        {
            return;
        }
        self.each(link, |listener| listener.message(message));
    }

    /// Messages of the stream are missing.
    pub(super) fn gap(&mut self, gap: &ClientGap, link: &mut Link) {
        if !self.is_active() {
            return;
        }
        self.gap_due = None;
        let before = self.cursor;
        if gap.position.is_some() {
            self.cursor.jump(gap.position);
        }
        self.each(link, |listener| listener.gap(gap, before));
    }

    /// Something else of the stream arrived.
    pub(super) fn tell(&mut self, item: &Item) {
        for listener in &mut self.listeners {
            listener.other(item);
        }
    }

    /// The connection, or the stream, went on without the gap that was announced.
    fn tell_due_gap(&mut self, link: &mut Link) {
        if let Some(gap) = self.gap_due.take() {
            self.gap(&gap, link);
        }
    }

    pub(super) fn presence(&mut self, change: PresenceChange) {
        if !self.is_active() {
            return;
        }
        let roster = self.roster.take().unwrap_or_default().after(change);
        for listener in self.listeners.iter().filter(|it| it.members) {
            listener.mailbox.presence(&roster);
        }
        self.roster = Some(roster);
    }

    /// This client published a message that it does not want back.
    pub(super) fn published(&mut self, position: Position) {
        self.own.insert(position);
    }

    /// A listener has room again.
    pub(super) fn resume(&mut self, id: ListenerId, link: &mut Link) {
        if self.is_active() {
            self.with(id, link, Listener::resume);
        }
    }

    /// A page of history came for a listener.
    pub(super) fn page(&mut self, id: ListenerId, page: HistoryBody, link: &mut Link) {
        let own = std::mem::take(&mut self.own);
        self.with(id, link, |listener| listener.page(page, &own));
        self.own = own;
    }

    /// History was refused to a listener.
    pub(super) fn page_refused(&mut self, id: ListenerId, error: &ClientError) {
        let cursor = self.cursor;
        let Some(at) = self.listeners.iter().position(|it| it.id == id) else {
            return;
        };
        let listener = &mut self.listeners[at];
        if listener.ready.is_none() && error.is_retryable() {
            listener.lost();
            self.retry(error);
        } else if !listener.refused(error, cursor) {
            listener.mailbox.close();
            self.listeners.remove(at);
        }
    }

    /// Brings listeners to where the stream is.
    fn admit(&mut self, link: &mut Link) {
        let cursor = self.cursor;
        if let (Some(roster), true) = (&self.roster, self.members) {
            let new = |it: &&Listener| it.members && matches!(it.phase, Phase::Joining(_));
            for listener in self.listeners.iter().filter(new) {
                listener.mailbox.presence(roster);
            }
        }
        self.each(link, |listener| listener.admit(cursor));
    }

    fn with(&mut self, id: ListenerId, link: &mut Link, act: impl FnOnce(&mut Listener) -> Needs) {
        let mut act = Some(act);
        self.each(link, |listener| match act.take_if(|_| listener.id == id) {
            Some(act) => act(listener),
            None => Needs::Nothing,
        });
    }

    /// Does something with each listener, and asks for what it then needs.
    fn each(&mut self, link: &mut Link, mut act: impl FnMut(&mut Listener) -> Needs) {
        let what = (self.event.as_str(), &self.params);
        for listener in &mut self.listeners {
            let Needs::Page { after, limit } = act(listener) else {
                continue;
            };
            let request = link.history((self.id, listener.id), what, after, limit);
            if let Phase::Fetching(fetch) = &mut listener.phase {
                fetch.request = Some(request);
            }
        }
    }

    /// Nobody is left: takes back what was asked of the server.
    pub(super) fn leave(&self, unsubscribe: bool, link: &mut Link) {
        if let Stage::Asking { request, .. } = self.stage {
            // Withdrawn: it may not be answered.
            link.pending.remove(&request);
        }
        if unsubscribe && link.is_ready() && self.stage != Stage::Away {
            link.unsubscribe((&self.event, &self.params));
        }
    }

    /// The subscription is over, for everybody.
    pub(super) fn end(&mut self, error: &ClientError) {
        for mut listener in self.listeners.drain(..) {
            listener.end(error);
        }
    }
}
