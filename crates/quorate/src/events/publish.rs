//! One publish, with its optional arguments.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::envelope::{Draft, Header};
use super::handle::Topic;
use super::hub::check_size;
use super::port::Receipt;
use crate::clock::system_now;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;
use crate::key::check_name;

/// A publish about to be made: optional arguments, then `.await`, or [`detach`](Self::detach).
///
/// # Errors
/// `InvalidInput` (refused by `validate`, oversized, a bad argument), `Encode`, `Closed`, and those of
/// the transport. After a lost reply the outcome is `Unknown` and the publish is not repeated.
///
/// # Cancel safety
/// When the future is dropped, the message may or may not be published.
#[must_use = "a publish is made by awaiting it, or by `detach`"]
#[derive(Debug)]
pub struct Publish<'a, T> {
    topic: &'a Topic<T>,
    value: &'a T,
    event_type: Option<&'a str>,
    source: Option<&'a str>,
    correlation_id: Option<&'a str>,
    content_type: Option<&'a str>,
    exclude_self: bool,
    deadline: Option<Duration>,
}

impl<'a, T: Send + Sync + 'static> Publish<'a, T> {
    pub(super) fn new(topic: &'a Topic<T>, value: &'a T) -> Self {
        Self {
            topic,
            value,
            event_type: None,
            source: None,
            correlation_id: None,
            content_type: None,
            exclude_self: false,
            deadline: None,
        }
    }

    /// The message's type. Default: the topic's name.
    pub fn event_type(mut self, event_type: &'a str) -> Self {
        self.event_type = Some(event_type);
        self
    }

    /// Who publishes. Default: the fleet's service name.
    pub fn source(mut self, source: &'a str) -> Self {
        self.source = Some(source);
        self
    }

    /// An id that ties the message to a request.
    pub fn correlation_id(mut self, correlation_id: &'a str) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// The payload's media type, for codecs that carry anything. Default: the codec's.
    pub fn content_type(mut self, content_type: &'a str) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// Keeps the message from this instance's own subscriptions. Default: they receive it.
    pub fn exclude_self(mut self) -> Self {
        self.exclude_self = true;
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Publishes in the background. What cannot be published is reported to `on_error`.
    ///
    /// The value is encoded before this returns. Order among detached publishes is not promised.
    pub fn detach(self) {
        let hub = self.topic.hub.clone();
        let deadline = self.deadline;
        let outgoing = self.topic.outgoing().clone();
        let report = {
            let hub = hub.clone();
            let topic = self.topic.name().to_owned();
            move |error: Error| {
                let error = error.with_operation("events.publish").with_target(topic);
                hub.context.hooks.error(ErrorSource::Publish, &error);
            }
        };
        let draft = match self
            .topic
            .hub
            .context
            .check_open()
            .and_then(|()| self.draft())
        {
            Ok(draft) => draft,
            Err(error) => return report(error),
        };
        let context = hub.context.clone();
        let failed = report.clone();
        let started = context.spawn(async move {
            if let Err(error) = hub.publish(&outgoing, draft, deadline).await {
                report(error);
            }
        });
        if !started {
            failed(
                Error::new(ErrorKind::Unsupported)
                    .with_message("there is no runtime to publish on"),
            );
        }
    }

    /// Checks everything and encodes the message; nothing has happened yet.
    fn draft(&self) -> Result<Draft> {
        let topic = self.topic;
        if let Some(validate) = topic.spec.validate {
            validate(self.value).map_err(|rule| Error::invalid("payload", rule))?;
        }
        for (field, text) in [
            ("event_type", self.event_type),
            ("source", self.source),
            ("correlation_id", self.correlation_id),
            ("content_type", self.content_type),
        ] {
            text.map(|text| check_name(field, text)).transpose()?;
        }
        if self.event_type.is_some_and(|name| name.starts_with("__")) {
            return Err(Error::invalid(
                "event_type",
                "must not begin with `__`, which is reserved",
            ));
        }
        let codec = &topic.spec.codec;
        let payload = codec
            .encode(self.value)
            .map_err(|source| Error::new(ErrorKind::Encode).with_source(source))?;
        check_size(payload.len(), topic.hub.max_payload)?;
        let timestamp_ms = system_now().get() / 1000;
        let header = Header::<&str> {
            // A version 7 UUID, from the time read above and this thread's generator: the crate's own
            // way asks the operating system for both, which takes a third of a publish.
            id: uuid::Builder::from_unix_timestamp_millis(timestamp_ms, &rand::random())
                .into_uuid(),
            timestamp_ms,
            source: Some(self.source.unwrap_or(&topic.hub.service)),
            event_type: Some(self.event_type.unwrap_or(&topic.spec.name)),
            key: topic.key.as_deref(),
            correlation_id: self.correlation_id,
            content_type: Some(self.content_type.unwrap_or_else(|| codec.content_type())),
        };
        Draft::message(self.exclude_self, &header, &payload)
            .ok_or_else(|| Error::invalid("header", "must be at most 65535 bytes"))
    }

    async fn send(self) -> Result<Receipt> {
        let draft = self.draft().map_err(|error| {
            error
                .with_operation("events.publish")
                .with_target(self.topic.name())
        })?;
        self.topic
            .hub
            .publish(self.topic.outgoing(), draft, self.deadline)
            .await
    }
}

impl<'a, T: Send + Sync + 'static> IntoFuture for Publish<'a, T> {
    type Output = Result<Receipt>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
