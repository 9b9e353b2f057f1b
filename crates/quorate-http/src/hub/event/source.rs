//! A declared event with certain parameters, as a room of the hub.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use quorate::{Event, Fleet, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

use super::spec::EventSpec;
use crate::frame::{EventFrame, is_json};
use crate::hub::seam::{
    HistoryFrom, HistoryPage, OpenRoom, ReadLimit, RoomEvent, RoomEventKind, RoomOptions,
    RoomSource,
};
use crate::hub::source::{not_kept, page, read};
use crate::telemetry;
use crate::topic::TopicPath;

/// Decodes and checks every message once for all clients of this instance, and encodes it once.
pub(super) struct EventSource<P, T> {
    spec: EventSpec<P, T>,
    path: TopicPath,
    name: Arc<str>,
}

impl<P, T> EventSource<P, T> {
    pub(super) fn new(spec: EventSpec<P, T>, path: TopicPath) -> Self {
        let name = path.to_string().into();
        Self { spec, path, name }
    }
}

impl<P, T> RoomSource for EventSource<P, T>
where
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn options(&self) -> RoomOptions {
        self.spec.room_options()
    }

    fn open(&self, fleet: &Fleet) -> BoxFuture<'static, quorate::Result<OpenRoom>> {
        let topic = self.spec.topic_at(fleet, &self.path);
        let encoder = Encoder::new(&self.spec, self.name.clone());
        async move {
            let events = topic?.subscribe().await?;
            let position = events.position();
            let encode = move |event| std::future::ready(encoder.encode(&event));
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
        let topic = self.spec.topic_at(fleet, &self.path);
        let encoder = Encoder::new(&self.spec, self.name.clone());
        let is_kept = self.spec.is_kept();
        async move {
            if !is_kept {
                return Err(not_kept(&encoder.name));
            }
            let history = read(&topic?, from, limit).await?;
            Ok(page(&history, |event| encoder.encode(event)))
        }
        .boxed()
    }
}

impl<P, T> fmt::Debug for EventSource<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("spec", &self.spec)
            .field("name", &self.name)
            .finish()
    }
}

/// Turns what was decoded into what clients are sent.
struct Encoder {
    name: Arc<str>,
    /// Whether the payload is JSON as it arrives, and can be sent on without a detour.
    is_json: bool,
    malformed: metrics::Counter,
}

impl Encoder {
    fn new<P, T>(spec: &EventSpec<P, T>, name: Arc<str>) -> Self {
        let media = spec.data_codec().content_type();
        let media = media.split(';').next().unwrap_or_default().trim();
        Self {
            name,
            is_json: is_json(media),
            malformed: metrics::counter!(telemetry::MALFORMED, "event" => spec.name()),
        }
    }

    /// `None` for what clients do not see: what cannot be read as the event's type, or breaks its rule.
    fn encode<T: Serialize>(&self, event: &Event<T>) -> Option<RoomEvent> {
        match event {
            Event::Message(message) => self.message(message),
            Event::Gap(gap) => {
                let frame = EventFrame::gap(&self.name, gap).to_line();
                let mut event = RoomEvent::new(RoomEventKind::Gap, frame);
                event.position = gap.position;
                Some(event)
            }
            // The fleet's `on_error` was told of it.
            Event::Undecodable(_) => {
                self.malformed.increment(1);
                None
            }
            _ => None,
        }
    }

    fn message<T: Serialize>(&self, message: &Message<T>) -> Option<RoomEvent> {
        let encoded: Box<RawValue>;
        let as_it_is = self
            .is_json
            .then(|| serde_json::from_slice(message.bytes()));
        let data: &RawValue = match as_it_is {
            Some(Ok(json)) => json,
            _ => match to_raw_value(message.payload()) {
                Ok(json) => {
                    encoded = json;
                    &encoded
                }
                Err(error) => {
                    let topic = message.topic();
                    tracing::warn!(topic, %error, "an event's data cannot be sent as JSON");
                    self.malformed.increment(1);
                    return None;
                }
            },
        };
        let frame = EventFrame::as_json(&self.name, message, data).to_line();
        let mut event = RoomEvent::new(RoomEventKind::Message, frame);
        event.about(message);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::BoxStream;
    use quorate::{Codec, TopicSpec};
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::collections::HashMap;

    #[derive(Debug, Serialize, Deserialize)]
    struct Progress {
        percent: u8,
    }

    async fn open<P, T>(
        fleet: &Fleet,
        spec: &EventSpec<P, T>,
        params: &P,
    ) -> BoxStream<'static, RoomEvent>
    where
        P: Serialize + DeserializeOwned + Send + Sync + 'static,
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let source = EventSource::new(spec.clone(), spec.path(params).unwrap());
        source.open(fleet).await.unwrap().events
    }

    async fn next(room: &mut BoxStream<'static, RoomEvent>) -> Value {
        let event = room.next().await.unwrap();
        assert_eq!(event.kind, RoomEventKind::Message);
        assert!(event.id.is_some());
        serde_json::from_str(&event.frame).unwrap()
    }

    #[tokio::test]
    async fn what_is_malformed_or_breaks_the_rule_is_not_sent_on() {
        const PROGRESS: EventSpec<u64, Progress> =
            EventSpec::new("progress").validate(|progress| {
                if progress.percent <= 100 {
                    Ok(())
                } else {
                    Err("percent must be at most 100".to_owned())
                }
            });
        let fleet = Fleet::embedded();
        let mut room = open(&fleet, &PROGRESS, &7).await;
        // Of somebody with another idea of the event.
        const OTHER: TopicSpec<Value> = TopicSpec::new("progress");
        let other = fleet.topic(&OTHER).key("7").unwrap();
        for data in [
            json!({"percent": 101}),
            json!({"percent": "x"}),
            json!(null),
        ] {
            other.publish(&data).await.unwrap();
        }
        let refused = PROGRESS.emit(&fleet, &7, &Progress { percent: 101 }).await;
        assert!(refused.unwrap_err().to_string().contains("percent must be"));
        other
            .publish(&json!({"percent": 5, "newer": true}))
            .await
            .unwrap();
        PROGRESS
            .emit(&fleet, &8, &Progress { percent: 1 })
            .await
            .unwrap();
        PROGRESS
            .emit(&fleet, &7, &Progress { percent: 6 })
            .await
            .unwrap();
        // What a newer publisher says beyond the type goes through.
        let first = next(&mut room).await;
        assert_eq!(first["data"], json!({"percent": 5, "newer": true}));
        assert_eq!(first["subscription"], "progress:7");
        assert_eq!(next(&mut room).await["data"], json!({"percent": 6}));
    }

    #[tokio::test]
    async fn other_codecs_become_json_on_the_way() {
        const PACKED: EventSpec<(), Progress> =
            EventSpec::new("packed").codec(Codec::message_pack());
        const TEXT: EventSpec<(), String> = EventSpec::new("text").codec(Codec::text());
        const UNNAMED: EventSpec<(), HashMap<Vec<u8>, u8>> =
            EventSpec::new("unnamed").codec(Codec::message_pack());
        let fleet = Fleet::embedded();
        let mut packed = open(&fleet, &PACKED, &()).await;
        PACKED
            .emit(&fleet, &(), &Progress { percent: 5 })
            .await
            .unwrap();
        assert_eq!(next(&mut packed).await["data"], json!({"percent": 5}));
        let mut text = open(&fleet, &TEXT, &()).await;
        TEXT.emit(&fleet, &(), &"7\n".to_owned()).await.unwrap();
        assert_eq!(next(&mut text).await["data"], json!("7\n"));
        // JSON has no members that are named by a list.
        let mut unnamed = open(&fleet, &UNNAMED, &()).await;
        let bad = HashMap::from([(vec![1], 1)]);
        UNNAMED.emit(&fleet, &(), &bad).await.unwrap();
        UNNAMED.emit(&fleet, &(), &HashMap::new()).await.unwrap();
        assert_eq!(next(&mut unnamed).await["data"], json!({}));
    }

    #[tokio::test]
    async fn who_is_left_out_is_known() {
        const CHAT: EventSpec<(), u8> = EventSpec::new("chat");
        let fleet = Fleet::embedded();
        let mut room = open(&fleet, &CHAT, &()).await;
        CHAT.emit(&fleet, &(), &1)
            .but("c-1")
            .source("ada")
            .await
            .unwrap();
        let event = room.next().await.unwrap();
        assert_eq!(event.except.as_deref(), Some("c-1"));
        assert!(event.frame.contains(r#""source":"ada""#), "{}", event.frame);
    }
}
