//! What else can be asked of a hub: requests, publishing, presence, history.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorate::Position;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Calling, Kind};
use super::error::{ClientError, ClientResult};
use super::frame::{AnswerBody, PresenceBody, read_body, read_history};
use super::handle::HubClient;
use super::message::{ClientEvent, ClientGap};
use super::rooms::Wanted;
use super::roster::ClientMember;
use super::subscription::Reading;

/// Verbs as they stand in frames.
#[derive(Serialize)]
#[serde(untagged)]
enum Verb<'a> {
    Request {
        id: u64,
        r#type: &'a str,
        data: &'a RawValue,
    },
    Publish {
        id: u64,
        publish: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        params: &'a Value,
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        event_type: Option<&'a str>,
        #[serde(skip_serializing_if = "Clone::clone")]
        echo: bool,
    },
    Presence {
        id: u64,
        presence: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        params: &'a Value,
    },
    History {
        id: u64,
        history: &'a str,
        #[serde(skip_serializing_if = "Value::is_null")]
        params: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
}

/// Asks, and returns the answer as the frame it came in.
async fn ask<'a>(
    client: &HubClient,
    kind: Kind,
    deadline: Option<Duration>,
    verb: impl FnOnce(u64) -> Verb<'a>,
    report: impl FnMut(&str),
) -> ClientResult<Utf8Bytes> {
    let shared = &client.shared;
    let deadline = Instant::now() + deadline.unwrap_or(shared.deadline);
    let id = shared.ids.next();
    let frame = serde_json::to_string(&verb(id)).expect("text and JSON can be written as JSON");
    let calling = Calling::begin(&shared.commands, id, frame, kind)?;
    calling.answer(deadline, report).await
}

/// A payload as JSON.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> ClientResult<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| ClientError::invalid("payload", "must be what JSON has").caused_by(error))
}

/// A request about to be made: optional arguments, then `.await`.
///
/// While there is no connection it waits for one; up to
/// [`offline_queue`](super::HubClientBuilder::offline_queue) calls do.
///
/// # Errors
/// * What the handler answered, or the server refused it with.
/// * `UNAVAILABLE` with [`Outcome::Unknown`](quorate::Outcome) if the connection broke while it was under
///   way: it is never repeated by itself.
/// * `DEADLINE_EXCEEDED`; with [`Outcome::NotApplied`](quorate::Outcome) if it was never sent.
/// * `RESOURCE_EXHAUSTED` if too many wait for a connection already.
/// * `INVALID_ARGUMENT` if the payload breaks a rule, or makes a frame larger than the server takes.
///
/// # Cancel safety
/// When the future is dropped, the server is told to cancel the request; whether it had an effect by then
/// is not known. One that was not sent is not sent any more.
#[must_use = "a request is made by awaiting it"]
pub struct Request<R> {
    client: HubClient,
    kind: String,
    data: ClientResult<Box<RawValue>>,
    read: fn(&str) -> serde_json::Result<R>,
    deadline: Option<Duration>,
    on_progress: Option<Box<dyn FnMut(Value) + Send>>,
}

impl<R: DeserializeOwned> Request<R> {
    pub(super) fn new(client: &HubClient, kind: &str, data: ClientResult<Box<RawValue>>) -> Self {
        Self {
            client: client.clone(),
            kind: kind.to_owned(),
            data,
            read: |text| serde_json::from_str(text),
            deadline: None,
            on_progress: None,
        }
    }
}

impl<R> Request<R> {
    /// Time for the whole call. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Called with each report of the handler's, while the request is awaited. When reports come faster
    /// than they are taken, some are left out.
    pub fn on_progress(mut self, callback: impl FnMut(Value) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(callback));
        self
    }

    async fn ask(self) -> ClientResult<R> {
        let data = self.data?;
        let mut callback = self.on_progress;
        let report = |report: &str| {
            if let (Some(callback), Ok(value)) = (&mut callback, serde_json::from_str(report)) {
                callback(value);
            }
        };
        let verb = |id| Verb::Request {
            id,
            r#type: &self.kind,
            data: &data,
        };
        let answer = ask(&self.client, Kind::Request, self.deadline, verb, report).await?;
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow, default)]
            data: Option<&'a RawValue>,
        }
        let body: Body<'_> = read_body(&answer)?;
        let reply = body.data.map_or("null", RawValue::get);
        // The handler has done what it was asked for: this is known, and its reply is not.
        (self.read)(reply).map_err(|error| ClientError::nonsense("the reply", error).unknown())
    }
}

impl<R: 'static> IntoFuture for Request<R> {
    type Output = ClientResult<R>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<R> fmt::Debug for Request<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("kind", &self.kind)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What a hub says of something published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientReceipt {
    /// The topic it was published to.
    pub topic: String,
    /// Where the message stands in the topic's history, if that keeps one.
    pub position: Option<Position>,
}

/// A message about to be published: optional arguments, then `.await`.
///
/// Errors, waiting and cancel safety are those of a [`Request`], but that a publish under way cannot be
/// cancelled.
#[must_use = "a message is published by awaiting it"]
#[derive(Debug)]
pub struct PublishTo {
    client: HubClient,
    wanted: ClientResult<Wanted>,
    data: ClientResult<Box<RawValue>>,
    event_type: Option<String>,
    echo: bool,
    deadline: Option<Duration>,
}

impl PublishTo {
    pub(super) fn new(
        client: &HubClient,
        wanted: ClientResult<Wanted>,
        data: ClientResult<Box<RawValue>>,
    ) -> Self {
        Self {
            client: client.clone(),
            wanted,
            data,
            event_type: None,
            echo: true,
            deadline: None,
        }
    }

    /// The message's type. Default: the event's name.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Keeps the message from this client's own subscriptions. Default: they receive it.
    pub fn but_self(mut self) -> Self {
        self.echo = false;
        self
    }

    /// Time for the whole call. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    async fn publish(self) -> ClientResult<ClientReceipt> {
        let (wanted, data) = (self.wanted?, self.data?);
        let verb = |id| Verb::Publish {
            id,
            publish: &wanted.event,
            params: &wanted.params,
            data: &data,
            event_type: self.event_type.as_deref(),
            echo: self.echo,
        };
        let kind = Kind::Publish { echo: self.echo };
        let answer = ask(&self.client, kind, self.deadline, verb, |_| {}).await?;
        let body: AnswerBody = read_body(&answer)?;
        Ok(ClientReceipt {
            topic: body.topic.unwrap_or(wanted.event),
            position: body.position,
        })
    }
}

impl IntoFuture for PublishTo {
    type Output = ClientResult<ClientReceipt>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.publish())
    }
}

/// Who is on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientRoster {
    /// How many clients there are.
    pub count: u64,
    /// All of them; `None` where there are too many to name.
    pub members: Option<Vec<ClientMember>>,
}

/// A question who is on a topic, about to be asked: optional arguments, then `.await`.
///
/// It waits for a connection as a [`Request`] does; when one breaks, it is asked again on the next.
///
/// # Cancel safety
/// Dropping the future changes nothing.
#[must_use = "the question is asked by awaiting it"]
#[derive(Debug)]
pub struct PresenceOf {
    client: HubClient,
    wanted: ClientResult<Wanted>,
    deadline: Option<Duration>,
}

impl PresenceOf {
    pub(super) fn new(client: &HubClient, wanted: ClientResult<Wanted>) -> Self {
        Self {
            client: client.clone(),
            wanted,
            deadline: None,
        }
    }

    /// Time for the whole call. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    async fn ask(self) -> ClientResult<ClientRoster> {
        let wanted = self.wanted?;
        let verb = |id| Verb::Presence {
            id,
            presence: &wanted.event,
            params: &wanted.params,
        };
        let answer = ask(&self.client, Kind::Read, self.deadline, verb, |_| {}).await?;
        let PresenceBody { count, members } = read_body(&answer)?;
        Ok(ClientRoster { count, members })
    }
}

impl IntoFuture for PresenceOf {
    type Output = ClientResult<ClientRoster>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// A part of what a topic keeps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientHistory<T> {
    /// Messages in order, and what of them cannot be read.
    pub events: Vec<ClientEvent<T>>,
    /// After the last of `events`: where to go on.
    pub position: Option<Position>,
    /// Whether these reach the present end.
    pub complete: bool,
    /// What was asked for is no longer there. Then there are no events, and
    /// [`position`](Self::position) is where the history goes on.
    pub gap: Option<ClientGap>,
}

/// A part of a topic's history about to be read: optional arguments, then `.await`.
///
/// The latest messages, unless told [`after`](Self::after) which. It waits for a connection as a
/// [`Request`] does; when one breaks, it is asked again on the next.
///
/// # Cancel safety
/// Dropping the future changes nothing.
#[must_use = "history is read by awaiting it"]
pub struct HistoryOf<T> {
    client: HubClient,
    wanted: ClientResult<Wanted>,
    reading: Reading<T>,
    after: Option<Position>,
    limit: Option<u32>,
    deadline: Option<Duration>,
}

impl<T> HistoryOf<T> {
    pub(super) fn new(
        client: &HubClient,
        wanted: ClientResult<Wanted>,
        reading: Reading<T>,
    ) -> Self {
        Self {
            client: client.clone(),
            wanted,
            reading,
            after: None,
            limit: None,
            deadline: None,
        }
    }

    /// The messages that follow this position, the oldest first.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// At most so many messages. Default: as many as the server gives at once.
    pub fn limit(mut self, messages: u32) -> Self {
        self.limit = Some(messages);
        self
    }

    /// Time for the whole call. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    async fn ask(self) -> ClientResult<ClientHistory<T>> {
        let wanted = self.wanted?;
        let verb = |id| Verb::History {
            id,
            history: &wanted.event,
            params: &wanted.params,
            after: self.after,
            limit: self.limit,
        };
        let answer = ask(&self.client, Kind::Read, self.deadline, verb, |_| {}).await?;
        let body =
            read_history(&answer).map_err(|error| ClientError::nonsense("the answer", error))?;
        let messages = body.messages.into_iter().map(Arc::new);
        let gap_position = body.gap.as_ref().and_then(|gap| gap.position);
        Ok(ClientHistory {
            events: messages
                .map(|message| self.reading.event(message))
                .collect(),
            position: body.position.or(gap_position),
            complete: body.complete,
            gap: body.gap,
        })
    }
}

impl<T: 'static> IntoFuture for HistoryOf<T> {
    type Output = ClientResult<ClientHistory<T>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<T> fmt::Debug for HistoryOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryOf")
            .field("wanted", &self.wanted)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
