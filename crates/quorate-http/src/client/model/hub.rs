//! A model of a hub: what it keeps, and what it says to one client.

use std::collections::VecDeque;

use quorate::Position;
use serde_json::{Value, json};

/// A hub with one kept topic. Messages are numbered over all epochs, from 1.
#[derive(Default)]
pub(super) struct Hub {
    pub(super) top: u64,
    /// The oldest message that is kept.
    pub(super) base: u64,
    pub(super) epoch: u64,
    /// The last number before the present epoch.
    pub(super) before_epoch: u64,
    /// By whom it is not wanted back.
    pub(super) except: Vec<(u64, u64)>,
    pub(super) link: Option<HubLink>,
    pub(super) connections: u64,
}

pub(super) struct HubLink {
    pub(super) client: u64,
    pub(super) heard: VecDeque<String>,
    pub(super) told: VecDeque<String>,
    /// What the client was streamed last, in which epoch.
    pub(super) stream: Option<(u64, u64)>,
}

impl Hub {
    pub(super) fn position(&self, number: u64) -> Position {
        Position::new(self.epoch, number.saturating_sub(self.before_epoch), 0)
    }

    /// The number at a position; `None` if what follows it is no longer kept.
    pub(super) fn number(&self, position: &Value) -> Option<u64> {
        let position: Position = position.as_str().unwrap().parse().unwrap();
        let number = self.before_epoch + position.offset();
        (position.epoch() == self.epoch && number + 1 >= self.base).then_some(number)
    }

    pub(super) fn publish(&mut self, except: Option<u64>) {
        self.top += 1;
        self.except.extend(except.map(|client| (self.top, client)));
    }

    pub(super) fn message(&self, number: u64) -> Value {
        json!({"event": "message", "subscription": "a", "topic": "a", "data": number,
            "position": self.position(number)})
    }

    pub(super) fn is_for(&self, number: u64, client: u64) -> bool {
        !self.except.contains(&(number, client))
    }

    pub(super) fn gap(&self) -> Value {
        json!({"event": "gap", "topic": "a", "reason": "history", "missed": null, "position": self.position(self.top)})
    }

    pub(super) fn tell(&mut self, frame: &Value) {
        if let Some(link) = &mut self.link {
            link.told.push_back(frame.to_string());
        }
    }

    pub(super) fn stream(&mut self, count: u8) {
        for _ in 0..count {
            let Some((epoch, last)) = self.link.as_ref().and_then(|it| it.stream) else {
                return;
            };
            let next = last + 1;
            if epoch != self.epoch || (next < self.base && last < self.top) {
                self.tell(&self.gap());
                self.streamed(self.top);
            } else if next <= self.top {
                if self.is_for(next, self.link.as_ref().unwrap().client) {
                    self.tell(&self.message(next));
                }
                self.streamed(next);
            }
        }
    }

    pub(super) fn streamed(&mut self, last: u64) {
        let epoch = self.epoch;
        if let Some(link) = &mut self.link {
            link.stream = Some((epoch, last));
        }
    }

    pub(super) fn hear(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some(frame) = link.heard.pop_front() else {
            return;
        };
        let frame: Value = serde_json::from_str(&frame).unwrap();
        let id = &frame["id"];
        if frame.get("subscribe").is_some() {
            // Subscribed already: answered the same, and nothing changes.
            assert!(link.stream.is_none(), "subscribed twice");
            match frame.get("after").map(|after| self.number(after)) {
                None => {
                    self.tell(&json!({"id": id, "ok": true, "topic": "a", "position": self.position(self.top)}));
                    self.streamed(self.top);
                }
                Some(Some(after)) => {
                    self.tell(&json!({"id": id, "ok": true, "topic": "a", "position": frame["after"], "recovered": true}));
                    self.streamed(after);
                }
                Some(None) => {
                    self.tell(&json!({"id": id, "ok": true, "topic": "a", "position": self.position(self.top), "recovered": false}));
                    self.tell(&self.gap());
                    self.streamed(self.top);
                }
            }
        } else if frame.get("unsubscribe").is_some() {
            link.stream = None;
            self.tell(&json!({"id": id, "ok": true, "topic": "a"}));
        } else if frame.get("history").is_some() {
            self.history(&frame);
        } else if frame.get("publish").is_some() {
            let client = link.client;
            self.publish(Some(client));
            self.tell(
                &json!({"id": id, "ok": true, "topic": "a", "published": self.top, "position": self.position(self.top)}),
            );
        } else {
            panic!("{frame}");
        }
    }

    pub(super) fn history(&mut self, frame: &Value) {
        let id = &frame["id"];
        let limit = frame["limit"].as_u64().unwrap().min(3);
        let oldest = self.base.max(self.before_epoch + 1);
        let from = match frame.get("after").map(|after| self.number(after)) {
            None => oldest.max((self.top + 1).saturating_sub(limit)),
            Some(Some(after)) => after + 1,
            Some(None) => {
                let gap = json!({"missed": null, "position": self.position(self.top)});
                return self.tell(&json!({"id": id, "ok": true, "topic": "a", "gap": gap}));
            }
        };
        let client = self.link.as_ref().unwrap().client;
        let last = (from + limit - 1).min(self.top);
        let messages: Vec<_> = (from..=last)
            .filter(|it| self.is_for(*it, client))
            .map(|it| self.message(it))
            .collect();
        self.tell(
            &json!({"id": id, "ok": true, "topic": "a", "messages": messages,
            "position": self.position(last), "complete": last == self.top}),
        );
    }
}
