//! The events that were declared on a hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate::{Error, Result};
use serde_json::Value;

use super::declaration::HubEvent;
use crate::hub::seam::{DeclaredEvent, RoomSource};
use crate::problem::Problem;
use crate::topic::TopicPath;

/// An event with parameters.
#[derive(Debug)]
pub(crate) struct EventRoom {
    pub(crate) event: Arc<dyn DeclaredEvent>,
    pub(crate) params: Value,
    pub(crate) room: Arc<dyn RoomSource>,
}

/// Declared events by name, so that a topic belongs to at most one of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(BTreeMap<&'static str, HubEvent>);

impl Events {
    /// Adds an event.
    ///
    /// # Errors
    /// If there is one of that name, or one of which a topic could also be a topic of this: `room` with the
    /// parameters `typing:1` and `room:typing` with the parameters `1` would be one topic with two
    /// hooks.
    pub(crate) fn declare(&mut self, event: HubEvent) -> Result<()> {
        let name = event.name();
        if self.0.contains_key(name) {
            let rule = format!("`{name}` is declared already");
            return Err(Error::invalid("event", rule));
        }
        let clash = self.0.values().find_map(|known| {
            if known.claims(name) {
                Some((known.name(), name))
            } else {
                event.claims(known.name()).then(|| (name, known.name()))
            }
        });
        if let Some((outer, inner)) = clash {
            let rule = format!(
                "`{inner}` must not begin with `{outer}:`, because `{outer}` is an event with parameters"
            );
            return Err(Error::invalid("event", rule));
        }
        self.0.insert(name, event);
        Ok(())
    }

    /// The event called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<dyn DeclaredEvent>> {
        self.0.get(name).map(HubEvent::declared)
    }

    /// The event of a topic's full name, and the key in it, if it has one.
    pub(crate) fn of_topic<'a>(
        &self,
        topic: &'a str,
    ) -> Option<(&Arc<dyn DeclaredEvent>, Option<&'a str>)> {
        if let Some(event) = self.find(topic) {
            return Some((event, None));
        }
        // A name may have colons itself. The longest that fits: a shorter one has no parameters, or the
        // two would not have been declared together.
        topic.rmatch_indices(':').find_map(|(at, _)| {
            let event = self.find(&topic[..at])?;
            Some((event, Some(&topic[at + 1..])))
        })
    }

    /// Whether a topic is one of an event that asks a hook of its own who may subscribe.
    pub(crate) fn guards(&self, topic: &str) -> bool {
        self.of_topic(topic)
            .is_some_and(|(event, _)| event.is_guarded())
    }

    /// What a client means: an event's name with parameters, or without any a topic's full name. `None`: no
    /// event of ours.
    pub(crate) fn room(&self, topic: &str, params: &Value) -> Option<Result<EventRoom, Problem>> {
        // However it is spelled: what is declared is reached by its event, with the event's hooks.
        let full = match params {
            Value::Null => topic.to_owned(),
            params => TopicPath::with_params(topic, params)
                .map_or_else(|_| topic.to_owned(), |path| path.to_string()),
        };
        let (event, key) = match self.find(topic) {
            Some(event) => (event, None),
            None => self.of_topic(&full)?,
        };
        let room = match key {
            None => event.room(params).map(|room| (params.clone(), room)),
            Some(key) => event.room_of_key(key),
        };
        Some(room.map(|(params, room)| EventRoom {
            event: event.clone(),
            params,
            room,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::EventSpec;
    use super::*;

    #[test]
    fn a_topic_belongs_to_one_event() {
        const ROOM: EventSpec<String, u8> = EventSpec::new("room");
        const JOBS: EventSpec<(), u8> = EventSpec::new("jobs");
        const JOBS_DONE: EventSpec<u64, u8> = EventSpec::new("jobs:done");
        const TYPING: EventSpec<String, u8> = EventSpec::new("room:typing");
        const ROOMS: EventSpec<String, u8> = EventSpec::new("rooms");
        let mut events = Events::default();
        for event in [HubEvent::from(&ROOM), (&JOBS).into(), (&ROOMS).into()] {
            events.declare(event).unwrap();
        }
        // An event without parameters has one topic only.
        events.declare(HubEvent::from(&JOBS_DONE)).unwrap();
        let error = events.declare(HubEvent::from(&TYPING)).unwrap_err();
        assert!(
            error.to_string().contains("`room:typing` must not"),
            "{error}"
        );
        let mut turned = Events::default();
        turned.declare(HubEvent::from(&TYPING)).unwrap();
        let error = turned.declare(HubEvent::from(&ROOM)).unwrap_err();
        assert!(
            error.to_string().contains("`room:typing` must not"),
            "{error}"
        );
        let error = events.declare(HubEvent::from(&ROOM)).unwrap_err();
        assert!(error.to_string().contains("`room` is declared"), "{error}");

        let of = |topic| {
            let found = events.of_topic(topic);
            found.map(|(event, key)| (event.name().to_owned(), key))
        };
        assert_eq!(of("room:4:2"), Some(("room".to_owned(), Some("4:2"))));
        assert_eq!(of("jobs:done:7"), Some(("jobs:done".to_owned(), Some("7"))));
        assert_eq!(of("jobs"), Some(("jobs".to_owned(), None)));
        assert_eq!(of("other:1"), None);
    }
}
