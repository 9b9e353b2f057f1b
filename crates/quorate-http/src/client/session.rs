//! Everything that is subscribed to and asked for, on whatever connection there is at the moment: what
//! the client's task decides with, between two waits. Nothing here waits.

use std::collections::VecDeque;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::actor::Command;
use super::call::{Call, Kind};
use super::error::ClientError;
use super::frame::{AnswerBody, Closing, Hello, ServerFrame, read, read_body, read_history};
use super::link::{Ids, Link, Pending};
use super::rooms::Rooms;
use crate::problem::Code;

pub(super) struct Session {
    pub(super) link: Link,
    rooms: Rooms,
    /// Calls that wait for a connection, or for room on it.
    queue: VecDeque<Call>,
    /// How many may wait while there is no connection.
    max_queue: usize,
    /// Calls and pages on the connection: what the server bounds.
    in_flight: usize,
    /// Why the server is about to end the connection.
    pub(super) closing: Option<Closing>,
}

impl Session {
    pub(super) fn new(ids: Ids, max_queue: usize) -> Self {
        Self {
            link: Link::new(ids),
            rooms: Rooms::default(),
            queue: VecDeque::new(),
            max_queue,
            in_flight: 0,
            closing: None,
        }
    }

    /// A handle wants something.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Subscribe(wanted, listener) => {
                self.rooms.join(wanted, listener, &mut self.link);
            }
            Command::Unsubscribe(listener) => self.rooms.leave(listener, &mut self.link),
            Command::Resume(listener) => self.rooms.resume(listener, &mut self.link),
            Command::Call(call) => self.call(call),
            Command::GiveUp(id) => self.give_up(id),
        }
        self.send();
    }

    fn call(&mut self, call: Call) {
        if !self.link.is_ready() && self.queue.len() >= self.max_queue {
            let message = format!(
                "there is no connection, and {} calls wait for it already",
                self.max_queue
            );
            return call.answer(Err(ClientError::new(Code::ResourceExhausted, message)));
        }
        self.queue.push_back(call);
    }

    fn give_up(&mut self, id: u64) {
        if let Some(pending) = self.link.pending.get_mut(&id) {
            if let Pending::Call(call) = pending {
                let kind = call.kind;
                *pending = Pending::Abandoned(kind);
                if kind == Kind::Request {
                    self.link.cancel(id);
                }
            }
        } else {
            self.queue.retain(|call| call.id != id);
        }
    }

    /// Writes what waits, as far as the server lets us.
    fn send(&mut self) {
        let Some(hello) = &self.link.hello else {
            return;
        };
        let (most, largest) = (hello.max_requests.max(1), hello.max_frame_bytes);
        while self.in_flight < most
            && let Some(page) = self.link.pages.pop_front()
        {
            self.in_flight += 1;
            self.link.out.push_back(page);
        }
        while self.in_flight < most
            && let Some(call) = self.queue.pop_front()
        {
            if call.frame.len() > largest {
                let rule = format!(
                    "must make a frame of at most {largest} bytes, not {}",
                    call.frame.len()
                );
                call.answer(Err(ClientError::invalid("payload", rule)));
            } else if call.send() {
                self.in_flight += 1;
                self.link.out.push_back(call.frame.clone());
                self.link.pending.insert(call.id, Pending::Call(call));
            }
        }
    }

    /// There is a connection, and the server knows who this is.
    pub(super) fn connected(&mut self, hello: Hello) {
        self.link.hello = Some(hello);
        self.closing = None;
        self.rooms.connected(&mut self.link);
        self.send();
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self) {
        self.in_flight = 0;
        // First: what rooms still ask for is lost with the rest.
        self.rooms.lost(&mut self.link);
        let mut again = Vec::new();
        for pending in self.link.lost().into_values() {
            match pending {
                Pending::Call(call) if call.waits_again() => again.push(call),
                Pending::Call(call) => call.answer(Err(ClientError::broken())),
                Pending::Subscribe(_) | Pending::History(..) | Pending::Abandoned(_) => {}
            }
        }
        again.sort_unstable_by_key(|call| std::cmp::Reverse(call.id));
        for call in again {
            self.queue.push_front(call);
        }
    }

    /// The client is over.
    pub(super) fn close(&mut self, error: Option<&ClientError>) {
        let cancelled = || ClientError::new(Code::Cancelled, "the client was closed");
        let (waiting, sent) = match error {
            Some(error) => (error.clone(), error.clone().unknown()),
            None => (cancelled(), cancelled().unknown()),
        };
        for call in self.queue.drain(..) {
            call.answer(Err(waiting.clone()));
        }
        for pending in self.link.lost().into_values() {
            if let Pending::Call(call) = pending {
                call.answer(Err(sent.clone()));
            }
        }
        self.rooms.close(&waiting, error.is_none());
    }

    /// What is to be asked for again, and is due.
    pub(super) fn again(&mut self) {
        self.rooms.again(Instant::now(), &mut self.link);
        self.send();
    }

    /// When something is to be asked for again.
    pub(super) fn due(&mut self) -> Option<Instant> {
        if self.link.is_ready() {
            self.rooms.due()
        } else {
            None
        }
    }

    /// The server says something. An error means that it cannot be understood, and that something may
    /// be lost in it.
    pub(super) fn received(&mut self, text: &Utf8Bytes) -> Result<(), ClientError> {
        let nonsense = |error| ClientError::nonsense("a frame of the server", error);
        match read(text).map_err(nonsense)? {
            ServerFrame::Message(message) => self.rooms.message(message, &mut self.link),
            ServerFrame::Gap { topic, gap } => self.rooms.gap(&topic, &gap, &mut self.link),
            ServerFrame::Undecodable {
                subscription,
                undecodable,
            } => self.rooms.undecodable(&subscription, &undecodable),
            ServerFrame::Presence { topic, change } => self.rooms.presence(&topic, &change),
            ServerFrame::Unsubscribed { topic, reason } => {
                self.rooms.unsubscribed(&topic, &reason);
            }
            ServerFrame::Progress { id, value } => {
                if let Some(Pending::Call(call)) = self.link.pending.get(&id) {
                    call.report(value.get().into());
                }
            }
            ServerFrame::Answer { id, error } => {
                self.answered(id, error.map(ClientError::from), text)?;
            }
            ServerFrame::Closing(closing) => self.closing = Some(closing),
            ServerFrame::Complaint(error) => {
                let error = ClientError::from(error);
                tracing::warn!(%error, "the server did not understand this client");
            }
            ServerFrame::Hello(_) | ServerFrame::Other => {}
        }
        self.send();
        Ok(())
    }

    fn answered(
        &mut self,
        id: u64,
        error: Option<ClientError>,
        text: &Utf8Bytes,
    ) -> Result<(), ClientError> {
        // Unknown: one that was withdrawn, and is answered all the same.
        let Some(pending) = self.link.pending.remove(&id) else {
            return Ok(());
        };
        match (pending, error) {
            (Pending::Abandoned(kind), error) => {
                self.in_flight -= 1;
                if error.is_none() {
                    self.published(kind, text);
                }
            }
            (Pending::Subscribe(room), Some(error)) => self.rooms.refused(room, &error),
            (Pending::Subscribe(room), None) => {
                let body = read_body::<AnswerBody>(text)?;
                self.rooms.subscribed(room, &body, &mut self.link);
            }
            (Pending::History(room, listener), error) => {
                self.in_flight -= 1;
                let page = match error {
                    Some(error) => Err(error),
                    None => Ok(read_history(text)
                        .map_err(|error| ClientError::nonsense("a page of history", error))?),
                };
                self.rooms.page((room, listener), page, &mut self.link);
            }
            (Pending::Call(call), Some(error)) => {
                self.in_flight -= 1;
                call.answer(Err(error));
            }
            (Pending::Call(call), None) => {
                self.in_flight -= 1;
                self.published(call.kind, text);
                call.answer(Ok(text.clone()));
            }
        }
        Ok(())
    }

    /// Remembers what this client published and does not want back.
    fn published(&mut self, kind: Kind, text: &str) {
        if kind == (Kind::Publish { echo: false })
            && let Ok(body) = read_body::<AnswerBody>(text)
            && let (Some(topic), Some(position)) = (body.topic, body.position)
        {
            self.rooms.published(&topic, position);
        }
    }
}
