//! Topics and patterns of a fleet, as the rooms of an open hub have them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use quorate::{Codec, Event, Fleet};
use serde_json::Value;

use super::identity::{ClientInfo, Identity};
use super::seam::{ClientPublish, Published, RoomEvent, RoomEventKind, RoomOptions, RoomSource};
use crate::frame::EventFrame;
use crate::problem::{Code, Problem};
use crate::topic::{Selector, TopicPath};

/// Whatever a client names, carried as it was published.
#[derive(Debug)]
pub(crate) struct OpenSource {
    selector: Selector,
    name: Arc<str>,
}

impl OpenSource {
    pub(crate) fn new(selector: Selector) -> Self {
        let name = selector.to_string().into();
        Self { selector, name }
    }

    /// The topic or pattern of a frame.
    pub(crate) fn select(topic: &str, params: &Value) -> Result<Self, Problem> {
        let selector = match params {
            Value::Null => Selector::parse(topic),
            params => TopicPath::with_params(topic, params).map(Selector::Topic),
        };
        let selector = selector.map_err(|error| Problem::from(&error))?;
        Ok(Self::new(selector))
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
        let Selector::Topic(path) = &self.selector else {
            let text = "publish must name one topic, not a pattern";
            return Err(Problem::new(Code::InvalidArgument, text));
        };
        let failed = |error| Problem::from(&error);
        let topic = path.topic(fleet, Codec::bytes()).map_err(failed)?;
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
        publishing.await.map_err(failed)?;
        Ok(Published {
            topic: self.name.clone(),
        })
    }
}

impl RoomSource for OpenSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn options(&self) -> RoomOptions {
        RoomOptions::default()
    }

    fn open(
        &self,
        fleet: &Fleet,
    ) -> BoxFuture<'static, quorate::Result<BoxStream<'static, RoomEvent>>> {
        let subscribe = self.selector.subscribe(fleet);
        let (name, many) = (self.name.clone(), self.selector.is_pattern());
        async move {
            let events = subscribe?.await?;
            let encode = move |event| std::future::ready(encode(&name, many, &event));
            Ok(events.filter_map(encode).boxed())
        }
        .boxed()
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
    if let Event::Message(message) = event {
        encoded.id = message.id();
        encoded.except = message.except().map(Into::into);
        encoded.topic = many.then(|| message.topic().into());
    }
    Some(encoded)
}
