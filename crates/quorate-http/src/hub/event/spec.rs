//! What an event is: its name, its parameters, its data, and how it is carried.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

use quorate::{Codec, Fleet, Keep, Result, Topic, TopicSpec, events::Validate};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::declaration::EventDeclaration;
use super::emit::Emit;
use super::params;
use crate::hub::seam::RoomOptions;
use crate::topic::TopicPath;

/// The name and types of an event that clients can subscribe to: a `const` that everybody shares.
///
/// `P` are its parameters: clients subscribe with some, and receive what was emitted with equal ones. Equal
/// means at every depth, whatever the order of members. `()` is an event without parameters. `T` is its
/// data.
///
/// An event is a topic of the fleet: `name:<parameters>`, where text stands as it is, anything else as
/// [canonical JSON](crate::canonical_json), and `()` is the name alone. Parameters whose values are sometimes
/// text and sometimes not (an untagged enum) could make the text `7` and the number 7 one topic: tag them.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use quorate_http::EventSpec;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct JobParams { id: u64 }
/// #[derive(Serialize, Deserialize)]
/// struct Progress { percent: u8 }
///
/// const PROGRESS: EventSpec<JobParams, Progress> = EventSpec::new("progress")
///     .validate(|progress: &Progress| {
///         if progress.percent <= 100 { Ok(()) } else { Err("percent must be at most 100".into()) }
///     });
///
/// let fleet = Fleet::embedded();
/// // Any service may emit, with a hub or without.
/// PROGRESS.emit(&fleet, &JobParams { id: 7 }, &Progress { percent: 50 }).await?;
/// assert_eq!(PROGRESS.topic(&fleet, &JobParams { id: 7 })?.name(), r#"progress:{"id":7}"#);
/// # Ok(()) }
/// ```
#[must_use = "an event does nothing until it is declared, emitted or subscribed to"]
pub struct EventSpec<P, T> {
    name: &'static str,
    codec: Codec<T>,
    validate: Option<Validate<T>>,
    keep: Option<Keep>,
    sharded: bool,
    presence: bool,
    latest_only: bool,
    params: PhantomData<fn() -> P>,
}

impl<P, T: Serialize + DeserializeOwned> EventSpec<P, T> {
    /// An event called `name`, carried as JSON.
    ///
    /// A name has 1 to 128 letters, digits and `: _ . / -`, and does not begin with `__`, which is
    /// reserved.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error.
    pub const fn new(name: &'static str) -> Self {
        let codec = Codec::json();
        // Checks the name. It owns nothing, so that nothing is forgotten.
        let _checked = ManuallyDrop::new(TopicSpec::with_codec(name, codec));
        Self {
            name,
            codec,
            validate: None,
            keep: None,
            sharded: false,
            presence: false,
            latest_only: false,
            params: PhantomData,
        }
    }
}

impl<P, T> EventSpec<P, T> {
    /// Carries the data with `codec` between services. Clients are sent JSON all the same.
    pub const fn codec(mut self, codec: Codec<T>) -> Self {
        self.codec = codec;
        self
    }

    /// Checks the data before it is emitted or published by a client, and after it arrived. A refused
    /// emit is an error and publishes nothing; a refused arrival is counted and not sent on.
    pub const fn validate(mut self, validate: Validate<T>) -> Self {
        self.validate = Some(validate);
        self
    }

    /// Keeps what is emitted, so that a client which was away receives what it missed; see
    /// [`TopicSpec::keep`]. For each set of parameters by itself.
    ///
    /// # Panics
    /// If a bound is zero, or `time` is more than ten years; in a `const` this is a compile error.
    pub const fn keep(mut self, time: Duration, messages: u32, bytes: u64) -> Self {
        // Checks the bounds. It owns nothing, so that nothing is forgotten.
        let _checked = ManuallyDrop::new(
            TopicSpec::with_codec(self.name, self.codec).keep(time, messages, bytes),
        );
        self.keep = Some(Keep {
            time,
            messages,
            bytes,
        });
        self
    }

    /// Carries the event on one shard of a cluster; see [`TopicSpec::sharded`].
    pub const fn sharded(mut self) -> Self {
        self.sharded = true;
        self
    }

    /// Makes subscribers members of the event's roster: clients can see who else is there.
    pub const fn presence(mut self) -> Self {
        self.presence = true;
        self
    }

    /// Only the latest matters, as with a progress bar: while a message still waits for a slow client, a
    /// newer one with equal parameters replaces it, without a gap.
    pub const fn latest_only(mut self) -> Self {
        self.latest_only = true;
        self
    }

    /// The event's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The topic's spec, as whoever is no hub may share it.
    #[must_use]
    pub fn topic_spec(&self) -> TopicSpec<T> {
        let mut spec = TopicSpec::with_codec(self.name, self.codec);
        if let Some(validate) = self.validate {
            spec = spec.validate(validate);
        }
        if let Some(keep) = self.keep {
            spec = spec.keep(keep.time, keep.messages, keep.bytes);
        }
        if self.sharded {
            spec = spec.sharded();
        }
        spec
    }

    pub(super) const fn is_kept(&self) -> bool {
        self.keep.is_some()
    }

    pub(crate) const fn data_codec(&self) -> &Codec<T> {
        &self.codec
    }

    pub(crate) const fn data_rule(&self) -> Option<Validate<T>> {
        self.validate
    }

    pub(super) const fn room_options(&self) -> RoomOptions {
        RoomOptions {
            latest_only: self.latest_only,
            presence: self.presence,
            pattern: false,
        }
    }
}

impl<P: Serialize, T: Send + Sync + 'static> EventSpec<P, T> {
    /// The topic of the event with these parameters: to publish or subscribe as a service.
    ///
    /// # Errors
    /// `Encode` if the parameters cannot be JSON; `InvalidInput` if they make a key of more than 256 bytes
    /// or with a control character.
    pub fn topic(&self, fleet: &Fleet, params: &P) -> Result<Topic<T>> {
        self.topic_at(fleet, &self.path(params)?)
    }

    /// Emits: publishes `data` to whoever subscribed with equal parameters, on any instance. Optional
    /// arguments, then `.await`; see [`Emit`].
    pub fn emit<'a>(&self, fleet: &Fleet, params: &P, data: &'a T) -> Emit<'a, T> {
        Emit::new(self.topic(fleet, params), data)
    }

    /// What the event is called with these parameters.
    pub(crate) fn path(&self, params: &P) -> Result<TopicPath> {
        TopicPath::with_params(self.name, &params::to_value(params)?)
    }

    pub(super) fn topic_at(&self, fleet: &Fleet, path: &TopicPath) -> Result<Topic<T>> {
        let topic = fleet.topic(&self.topic_spec());
        match path.key() {
            Some(key) => topic.key(key),
            None => Ok(topic),
        }
    }
}

impl<P, T> EventSpec<P, T>
where
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// The event with hooks of its own, to be declared on a hub.
    pub fn declare(&self) -> EventDeclaration<P, T> {
        EventDeclaration::new(self.clone())
    }
}

impl<P, T> Clone for EventSpec<P, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<P, T> fmt::Debug for EventSpec<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSpec")
            .field("name", &self.name)
            .field("codec", &self.codec)
            .field("keep", &self.keep)
            .field("sharded", &self.sharded)
            .field("presence", &self.presence)
            .field("latest_only", &self.latest_only)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Serialize, Deserialize)]
    struct Point {
        y: f64,
        x: f64,
    }

    #[test]
    fn parameters_make_one_topic_each() {
        const PLAIN: EventSpec<(), u8> = EventSpec::new("plain");
        const ROOM: EventSpec<String, u8> = EventSpec::new("room");
        const POINT: EventSpec<Point, u8> = EventSpec::new("point");
        const ANY: EventSpec<Value, u8> = EventSpec::new("any");
        assert_eq!(PLAIN.path(&()).unwrap().to_string(), "plain");
        assert_eq!(
            ROOM.path(&"4:2".to_owned()).unwrap().to_string(),
            "room:4:2"
        );
        let at = POINT.path(&Point { y: 2.5, x: 1.0 }).unwrap();
        assert_eq!(at.to_string(), r#"point:{"x":1,"y":2.5}"#);
        // Defect 11 of the register: a canonical form that was shallow made these one.
        let path = |text: &str| {
            let params: Value = serde_json::from_str(text).unwrap();
            ANY.path(&params).unwrap()
        };
        assert_ne!(path(r#"{"job":{"id":1}}"#), path(r#"{"job":{"id":2}}"#));
        assert_eq!(
            path(r#"{"a":1,"job":{"id":1.0,"at":[1]}}"#),
            path(r#"{"job":{"at":[1.0],"id":1},"a":1}"#)
        );
        assert!(ROOM.path(&"x".repeat(257)).is_err());
    }

    #[test]
    fn the_topic_is_as_the_event_says() {
        const KEPT: EventSpec<(), u8> = EventSpec::new("kept")
            .keep(Duration::from_secs(60), 10, 1_000)
            .codec(Codec::message_pack())
            .validate(|_| Ok(()))
            .sharded();
        let spec = format!("{:?}", KEPT.topic_spec());
        for part in ["kept", "msgpack", "sharded: true", "messages: 10"] {
            assert!(spec.contains(part), "{spec}");
        }
    }

    #[test]
    #[should_panic(expected = "reserved")]
    fn a_reserved_const_name_does_not_compile() {
        let _ = EventSpec::<(), u8>::new("__mine");
    }

    #[test]
    #[should_panic(expected = "must")]
    fn a_const_bound_of_zero_does_not_compile() {
        let _ = EventSpec::<(), u8>::new("kept").keep(Duration::from_secs(60), 0, 1_000);
    }
}
