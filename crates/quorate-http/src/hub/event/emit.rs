//! One emit, with its optional arguments.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorate::events::Publish;
use quorate::{Receipt, Result, Topic};

/// An emit about to be made: optional arguments, then `.await`.
///
/// # Errors
/// Those of a [publish](quorate::events::Publish): data that `validate` refuses, or parameters that make too
/// long a key, are `InvalidInput`, and nothing was published. After a lost reply the outcome is `Unknown`;
/// an event that is [kept](crate::EventSpec::keep) is then published again until it is known, once.
///
/// # Cancel safety
/// When the future is dropped, the event may or may not be emitted.
#[must_use = "an emit is made by awaiting it"]
pub struct Emit<'a, T> {
    /// What was wrong with the parameters is said when it is awaited, as anything else.
    topic: Result<Topic<T>>,
    arguments: Arguments<'a, T>,
}

struct Arguments<'a, T> {
    data: &'a T,
    event_type: Option<&'a str>,
    source: Option<Cow<'a, str>>,
    correlation_id: Option<&'a str>,
    but: Option<Cow<'a, str>>,
    deadline: Option<Duration>,
}

impl<'a, T: Send + Sync + 'static> Emit<'a, T> {
    pub(super) const fn new(topic: Result<Topic<T>>, data: &'a T) -> Self {
        let arguments = Arguments {
            data,
            event_type: None,
            source: None,
            correlation_id: None,
            but: None,
            deadline: None,
        };
        Self { topic, arguments }
    }

    /// The message's `type`. Default: the event's name.
    pub fn event_type(mut self, event_type: &'a str) -> Self {
        self.arguments.event_type = Some(event_type);
        self
    }

    /// Who emits. Default: the fleet's service name; in a handler, the client's user.
    pub fn source(mut self, source: impl Into<Cow<'a, str>>) -> Self {
        self.arguments.source = Some(source.into());
        self
    }

    /// An id that ties the message to a request.
    pub fn correlation_id(mut self, correlation_id: &'a str) -> Self {
        self.arguments.correlation_id = Some(correlation_id);
        self
    }

    /// Leaves this client out, on whichever instance it is connected: usually the one that caused the
    /// event and knows of it already. Subscribers that are services receive it all the same.
    pub fn but(mut self, client_id: impl Into<Cow<'a, str>>) -> Self {
        self.arguments.but = Some(client_id.into());
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.arguments.deadline = Some(deadline);
        self
    }

    /// Emits in the background. What cannot be emitted is reported to the fleet's `on_error`.
    ///
    /// # Errors
    /// If the parameters make too long a key; nothing is emitted.
    pub fn detach(self) -> Result<()> {
        let topic = self.topic?;
        self.arguments.publish(&topic).detach();
        Ok(())
    }
}

impl<T: Send + Sync + 'static> Arguments<'_, T> {
    fn publish<'b>(&'b self, topic: &'b Topic<T>) -> Publish<'b, T> {
        let mut publish = topic.publish(self.data);
        if let Some(event_type) = self.event_type {
            publish = publish.event_type(event_type);
        }
        if let Some(source) = &self.source {
            publish = publish.source(source);
        }
        if let Some(correlation_id) = self.correlation_id {
            publish = publish.correlation_id(correlation_id);
        }
        if let Some(client_id) = &self.but {
            publish = publish.except(client_id);
        }
        if let Some(deadline) = self.deadline {
            publish = publish.deadline(deadline);
        }
        publish
    }
}

impl<'a, T: Send + Sync + 'static> IntoFuture for Emit<'a, T> {
    type Output = Result<Receipt>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let topic = self.topic?;
            self.arguments.publish(&topic).await
        })
    }
}

impl<T> fmt::Debug for Emit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit")
            .field("topic", &self.topic)
            .field("event_type", &self.arguments.event_type)
            .field("source", &self.arguments.source)
            .finish_non_exhaustive()
    }
}
