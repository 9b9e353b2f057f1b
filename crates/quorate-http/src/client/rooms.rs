//! All topics and patterns that somebody here subscribes to.

use std::collections::HashMap;
use std::sync::Arc;

use quorate::Position;
use serde_json::Value;
use tokio::time::Instant;

use super::error::ClientError;
use super::frame::{AnswerBody, HistoryBody};
use super::link::Link;
use super::listener::Listener;
use super::mailbox::Item;
use super::message::{ClientGap, ClientUndecodable, Delivery};
use super::room::Room;
use super::roster::PresenceChange;
use crate::problem::Code;
use crate::topic::canonical_json;

/// Names a room for as long as the client lives.
pub(super) type RoomId = u64;
/// Names a subscription for as long as the client lives.
pub(super) type ListenerId = u64;

/// What is subscribed to, as the caller says it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) event: String,
    /// `Null`: none.
    pub(super) params: Value,
}

impl Wanted {
    /// The topic that the server will make of it, or at least the same for the same.
    fn key(&self) -> String {
        match &self.params {
            Value::Null => self.event.clone(),
            Value::String(text) => format!("{}:{text}", self.event),
            params => format!("{}:{}", self.event, canonical_json(params)),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: HashMap<RoomId, Room>,
    by_key: HashMap<String, RoomId>,
    /// What frames call them. Two spellings of one topic are two rooms here and one at the server.
    by_topic: HashMap<String, Vec<RoomId>>,
    by_listener: HashMap<ListenerId, RoomId>,
    /// A room may have something to ask for again: saves looking at all of them.
    any_due: bool,
}

impl Rooms {
    pub(super) fn join(&mut self, wanted: Wanted, listener: Listener, link: &mut Link) {
        let key = wanted.key();
        let id = match self.by_key.get(&key) {
            Some(id) => *id,
            None => {
                let id = link.ids.next();
                self.by_key.insert(key.clone(), id);
                self.rooms.insert(id, Room::new(id, key, wanted));
                id
            }
        };
        self.by_listener.insert(listener.id, id);
        if let Some(room) = self.rooms.get_mut(&id) {
            room.join(listener, link);
        }
    }

    /// A subscription is not wanted any more.
    pub(super) fn leave(&mut self, listener: ListenerId, link: &mut Link) {
        let Some(id) = self.by_listener.remove(&listener) else {
            return;
        };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.listeners.retain(|it| it.id != listener);
            self.remove_if_empty(id, link);
        }
    }

    fn remove_if_empty(&mut self, id: RoomId, link: &mut Link) {
        if self
            .rooms
            .get(&id)
            .is_some_and(|room| room.listeners.is_empty())
            && let Some((room, alone)) = self.remove(id)
        {
            room.leave(alone, link);
        }
    }

    /// Takes a room out. Whether no other room is the same topic at the server.
    fn remove(&mut self, id: RoomId) -> Option<(Room, bool)> {
        let room = self.rooms.remove(&id)?;
        self.by_key.remove(&room.key);
        for listener in &room.listeners {
            self.by_listener.remove(&listener.id);
        }
        let mut alone = true;
        if let Some(topic) = &room.topic
            && let Some(rooms) = self.by_topic.get_mut(topic)
        {
            rooms.retain(|room| *room != id);
            alone = rooms.is_empty();
            if alone {
                self.by_topic.remove(topic);
            }
        }
        Some((room, alone))
    }

    /// There is a connection: asks for everything.
    pub(super) fn connected(&mut self, link: &mut Link) {
        for room in self.rooms.values_mut() {
            room.ask(link);
        }
    }

    /// There is none any more.
    pub(super) fn lost(&mut self, link: &mut Link) {
        self.by_topic.clear();
        for room in self.rooms.values_mut() {
            room.lost(link);
        }
    }

    /// The client is over.
    pub(super) fn close(&mut self, error: &ClientError, closed_by_caller: bool) {
        for mut room in std::mem::take(&mut self.rooms).into_values() {
            if closed_by_caller {
                let made = |it: &Listener| it.ready.is_none();
                for listener in room.listeners.iter().filter(|it| made(it)) {
                    listener.mailbox.close();
                }
            }
            room.end(error);
        }
        *self = Self::default();
    }

    pub(super) fn subscribed(&mut self, id: RoomId, body: &AnswerBody, link: &mut Link) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let topic = body.topic.clone().unwrap_or_default();
        let rooms = self.by_topic.entry(topic.clone()).or_default();
        if !rooms.contains(&id) {
            rooms.push(id);
        }
        room.topic = Some(topic);
        room.subscribed(body, link);
    }

    pub(super) fn refused(&mut self, id: RoomId, error: &ClientError) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        if room.tries_again(error) {
            self.any_due = true;
        } else if let Some((mut room, _)) = self.remove(id) {
            room.end(error);
        }
    }

    /// What is to be asked for again, and is due.
    pub(super) fn again(&mut self, now: Instant, link: &mut Link) {
        for room in self.rooms.values_mut() {
            if room.due.is_some_and(|due| due <= now) {
                room.again(link);
            }
        }
    }

    /// When something is to be asked for again.
    pub(super) fn due(&mut self) -> Option<Instant> {
        if !self.any_due {
            return None;
        }
        let due = self.rooms.values().filter_map(|room| room.due).min();
        self.any_due = due.is_some();
        due
    }

    pub(super) fn message(&mut self, message: Delivery, link: &mut Link) {
        let message = Arc::new(message);
        self.each(&message.subscription, |room| room.message(&message, link));
    }

    pub(super) fn gap(&mut self, topic: &str, gap: &ClientGap, link: &mut Link) {
        self.each(topic, |room| room.gap(gap, link));
    }

    pub(super) fn undecodable(&mut self, topic: &str, undecodable: &ClientUndecodable) {
        self.each(topic, |room| {
            if room.is_active() {
                room.tell(&Item::Undecodable(undecodable.clone()));
            }
        });
    }

    pub(super) fn presence(&mut self, topic: &str, change: &PresenceChange) {
        self.each(topic, |room| room.presence(change.clone()));
    }

    /// The server ended a subscription by itself.
    pub(super) fn unsubscribed(&mut self, topic: &str, reason: &str) {
        let error = ClientError::new(
            Code::Cancelled,
            format!("the server ended the subscription: {reason}"),
        );
        for id in self.by_topic.get(topic).cloned().unwrap_or_default() {
            // One that is being made anew is not meant.
            if self.rooms.get(&id).is_some_and(Room::is_active)
                && let Some((mut room, _)) = self.remove(id)
            {
                room.end(&error);
            }
        }
    }

    pub(super) fn published(&mut self, topic: &str, position: Position) {
        self.each(topic, |room| room.published(position));
        // Not answered on this connection yet: then the topic is what it was asked for as.
        let asked = self.by_key.get(topic).and_then(|id| self.rooms.get_mut(id));
        if let Some(room) = asked {
            room.published(position);
        }
    }

    pub(super) fn resume(&mut self, listener: ListenerId, link: &mut Link) {
        let id = self.by_listener.get(&listener);
        if let Some(room) = id.and_then(|id| self.rooms.get_mut(id)) {
            room.resume(listener, link);
        }
    }

    pub(super) fn page(
        &mut self,
        (id, listener): (RoomId, ListenerId),
        page: Result<HistoryBody, ClientError>,
        link: &mut Link,
    ) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        match page {
            Ok(page) => room.page(listener, page, link),
            Err(error) => {
                room.page_refused(listener, &error);
                self.any_due = true;
                if room.listeners.iter().all(|it| it.id != listener) {
                    self.by_listener.remove(&listener);
                    self.remove_if_empty(id, link);
                }
            }
        }
    }

    fn each(&mut self, topic: &str, mut act: impl FnMut(&mut Room)) {
        for id in self.by_topic.get(topic).map_or(&[][..], Vec::as_slice) {
            if let Some(room) = self.rooms.get_mut(id) {
                act(room);
            }
        }
    }
}
