//! Topics and patterns of a fleet, as the rooms of an open hub have them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use quorate::events::{History, Subscribe};
use quorate::{Codec, Error, ErrorKind, Event, Fleet, Keep, Topic, TopicSpec};
use serde_json::Value;

use super::event::Events;
use super::handle::Shared;
use super::identity::{ClientInfo, Identity};
use super::seam::{
    ClientPublish, HistoryFrom, HistoryPage, OpenRoom, Published, ReadLimit, RoomEvent,
    RoomEventKind, RoomOptions, RoomSource,
};
use crate::frame::EventFrame;
use crate::problem::{Code, Problem};
use crate::topic::{Selector, TopicPath};

/// Whatever a client names, carried as it was published.
#[derive(Debug)]
pub(crate) struct OpenSource {
    selector: Selector,
    name: Arc<str>,
    traits: Traits,
    /// Those of the hub, whose topics a pattern may have among others.
    declared: Arc<Events>,
}

/// What is special about topics of an open hub, by name: about their keys too.
pub(crate) type Kept = HashMap<String, Traits>;

/// What is special about a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) keep: Option<Keep>,
    /// Subscribers are on its roster.
    pub(crate) presence: bool,
}

/// How the topic of this full name is kept. A name may have colons itself, so that one topic has more
/// than one spelling as name and key: the longest name that fits counts.
fn kept_as(kept: &Kept, topic: &str) -> Option<Traits> {
    let shorter = topic.rmatch_indices(':').map(|(at, _)| &topic[..at]);
    std::iter::once(topic)
        .chain(shorter)
        .find_map(|name| kept.get(name))
        .copied()
}

impl OpenSource {
    pub(crate) fn new(selector: Selector, hub: &Shared) -> Self {
        let traits = match &selector {
            Selector::Topic(path) => kept_as(&hub.kept, &path.to_string()),
            Selector::Pattern(_) => None,
        };
        Self {
            name: selector.to_string().into(),
            selector,
            traits: traits.unwrap_or_default(),
            declared: hub.events.clone(),
        }
    }

    /// The topic or pattern of a frame.
    pub(crate) fn select(topic: &str, params: &Value, hub: &Shared) -> Result<Self, Problem> {
        let selector = match params {
            Value::Null => Selector::parse(topic),
            params => TopicPath::with_params(topic, params).map(Selector::Topic),
        };
        let selector = selector.map_err(|error| Problem::from(&error))?;
        Ok(Self::new(selector, hub))
    }

    /// `None`: a pattern.
    fn topic(&self, fleet: &Fleet) -> quorate::Result<Option<Topic<Bytes>>> {
        let Selector::Topic(path) = &self.selector else {
            return Ok(None);
        };
        let mut spec = TopicSpec::try_with_codec(path.name(), Codec::bytes())?;
        if let Some(keep) = self.traits.keep {
            spec = spec.try_keep(keep)?;
        }
        let topic = fleet.topic(&spec);
        Ok(Some(match path.key() {
            Some(key) => topic.key(key)?,
            None => topic,
        }))
    }

    fn subscribe(&self, fleet: &Fleet) -> quorate::Result<Subscribe<Bytes>> {
        match self.topic(fleet)? {
            Some(topic) => Ok(topic.subscribe()),
            None => self.selector.subscribe(fleet),
        }
    }
}

impl OpenSource {
    /// Publishes for a client, byte for byte as it was written.
    pub(crate) async fn publish(
        &self,
        fleet: &Fleet,
        client: ClientInfo,
        publish: ClientPublish,
    ) -> Result<Published, Problem> {
        let failed = |error| Problem::from(&error);
        let Some(topic) = self.topic(fleet).map_err(failed)? else {
            let text = "publish must name one topic, not a pattern";
            return Err(Problem::new(Code::InvalidArgument, text));
        };
        let data = Bytes::from(Box::<str>::from(publish.data).into_string());
        let user = client.identity().map(Identity::user);
        let mut publishing = topic
            .publish(&data)
            .content_type("application/json")
            .source(user.unwrap_or_else(|| client.client_id()));
        if let Some(event_type) = &publish.event_type {
            publishing = publishing.event_type(event_type);
        }
        if !publish.echo {
            publishing = publishing.except(client.client_id());
        }
        let receipt = publishing.await.map_err(failed)?;
        Ok(Published {
            topic: self.name.clone(),
            position: receipt.position,
        })
    }
}

impl RoomSource for OpenSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn options(&self) -> RoomOptions {
        RoomOptions {
            presence: self.traits.presence,
            pattern: self.selector.is_pattern(),
            ..RoomOptions::default()
        }
    }

    fn open(&self, fleet: &Fleet) -> BoxFuture<'static, quorate::Result<OpenRoom>> {
        let subscribe = self.subscribe(fleet);
        let (name, many) = (self.name.clone(), self.selector.is_pattern());
        let declared = self.declared.clone();
        async move {
            let events = subscribe?.await?;
            let position = events.position();
            let encode = move |event| {
                let mut encoded = encode(&name, many, &event);
                if let Some(encoded) = encoded.as_mut().filter(|_| many) {
                    let topic = topic_of(&event);
                    encoded.guarded = topic.is_some_and(|topic| declared.guards(topic));
                }
                std::future::ready(encoded)
            };
            let events = events.filter_map(encode).boxed();
            Ok(OpenRoom { position, events })
        }
        .boxed()
    }

    fn history(
        &self,
        fleet: &Fleet,
        from: HistoryFrom,
        limit: ReadLimit,
    ) -> BoxFuture<'static, quorate::Result<HistoryPage>> {
        let topic = self.topic(fleet);
        let (name, is_kept) = (self.name.clone(), self.traits.keep.is_some());
        async move {
            let topic = topic?.filter(|_| is_kept);
            let topic = topic.ok_or_else(|| not_kept(&name))?;
            let history = read(&topic, from, limit).await?;
            Ok(page(&history, |event| encode(&name, false, event)))
        }
        .boxed()
    }
}

pub(crate) fn not_kept(name: &str) -> Error {
    Error::new(ErrorKind::Unsupported)
        .with_target(name)
        .with_message("only a topic that is kept has a history")
}

/// Reads from a topic's history.
pub(crate) async fn read<T: Send + Sync + 'static>(
    topic: &Topic<T>,
    from: HistoryFrom,
    limit: ReadLimit,
) -> quorate::Result<History<T>> {
    let read = topic.history().limit_bytes(limit.bytes);
    match from {
        HistoryFrom::After(position) => read.after(position).limit(limit.messages).await,
        HistoryFrom::Latest => read.latest(limit.messages).await,
    }
}

/// What was read, as clients see it.
pub(crate) fn page<T>(
    history: &History<T>,
    encode: impl Fn(&Event<T>) -> Option<RoomEvent>,
) -> HistoryPage {
    HistoryPage {
        events: history.events.iter().filter_map(encode).collect(),
        position: history.position,
        complete: history.complete,
        lost: history.gap.as_ref().map(|gap| gap.missed),
    }
}

/// The topic it came on, if it is of one.
fn topic_of(event: &Event<Bytes>) -> Option<&str> {
    match event {
        Event::Message(message) => Some(message.topic()),
        Event::Undecodable(undecodable) => Some(undecodable.topic()),
        _ => None,
    }
}

/// An event as clients see it; `many`: the room has several topics. `None` for a kind of event that this
/// version does not know.
fn encode(name: &str, many: bool, event: &Event<Bytes>) -> Option<RoomEvent> {
    let frame = EventFrame::of(name, event)?;
    let kind = match event {
        Event::Message(_) => RoomEventKind::Message,
        Event::Gap(_) => RoomEventKind::Gap,
        _ => RoomEventKind::Undecodable,
    };
    let mut encoded = RoomEvent::new(kind, frame.to_line());
    match event {
        Event::Message(message) => {
            encoded.about(message);
            encoded.topic = many.then(|| message.topic().into());
        }
        Event::Gap(gap) => encoded.position = gap.position,
        Event::Undecodable(undecodable) => encoded.position = undecodable.position(),
        _ => {}
    }
    // What is kept of one topic among others has no place of its own in the room.
    encoded.position = encoded.position.filter(|_| !many);
    Some(encoded)
}
