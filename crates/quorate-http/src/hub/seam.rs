//! Where the core of the hub (clients, rooms, sessions) meets what is declared on it (events, access,
//! requests). Neither side knows more of the other than stands here.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{Utf8Bytes, close_code};
use axum::http::HeaderMap;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use quorate::{Fleet, Message, Position};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::handle::Hub;
use super::identity::{ClientInfo, Identity};
use crate::frame::RequestId;
use crate::problem::Problem;

/// What a handler's context and the hooks may do with a connected client.
pub(crate) trait ClientPort: Debug + Send + Sync {
    /// Who it is, once it said so.
    fn identity(&self) -> Option<Arc<Identity>>;

    /// Where it connects from, where the server was told.
    fn address(&self) -> Option<SocketAddr>;

    /// All of that at once, for hooks.
    fn info(&self) -> ClientInfo;

    /// Queues a progress report: a whole frame. It is left out while the client takes less than it is
    /// sent, because a handler may report without end; the answer comes all the same.
    fn push_progress(&self, frame: String);

    /// Subscribes the client. It is told with `{"event":"subscribed"}` before the first message. What
    /// it is subscribed to already stays as it is, and is answered the same.
    fn subscribe(
        &self,
        source: Arc<dyn RoomSource>,
        options: SubscribeOptions,
    ) -> BoxFuture<'static, Result<Subscribed, Problem>>;

    /// Ends a subscription, and tells the client with `{"event":"unsubscribed"}`. `false`: there was
    /// none.
    fn unsubscribe(&self, source: &dyn RoomSource) -> bool;
}

/// What may be asked for when subscribing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubscribeOptions {
    /// What follows this position first.
    pub(crate) after: Option<Position>,
    /// The last so many kept messages first.
    pub(crate) recent: Option<u32>,
    /// Whether to be told who is there.
    pub(crate) members: bool,
    /// Also what a pattern has of declared events with hooks: whoever asks has decided that it may.
    pub(crate) unguarded: bool,
}

impl SubscribeOptions {
    /// Whether older messages are wanted.
    pub(crate) const fn asks_for_the_past(&self) -> bool {
        self.after.is_some() || self.recent.is_some()
    }
}

/// A subscription that was made.
#[derive(Clone, Debug)]
pub(crate) struct Subscribed {
    /// What frames of the subscription name in `topic` or `subscription`.
    pub(crate) topic: Arc<str>,
    /// After which position the stream continues, where the topic is kept.
    pub(crate) position: Option<Position>,
}

/// Why the server ends a connection: the close code, and whether the client is told to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseWith {
    /// 1012: this instance stops; come back, to another. With `closing` and when to come back.
    Restarting,
    /// 1012: the fleet was closed. As above.
    FleetClosed,
    /// 4401: it did not say who it is in time.
    Unauthenticated,
    /// 4401: its identity ran out.
    Expired,
    /// 4401: the session ended that it is connected by.
    SessionEnded,
    /// 4403: its access was taken away.
    Revoked,
    /// 1008: too many messages for too long.
    TooManyMessages,
    /// 1013: it is slower than what it subscribed to, and the policy says so.
    TooSlow,
}

impl CloseWith {
    /// The close code.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Restarting | Self::FleetClosed => close_code::RESTART,
            Self::Unauthenticated | Self::Expired | Self::SessionEnded => 4401,
            Self::Revoked => 4403,
            Self::TooManyMessages => close_code::POLICY,
            Self::TooSlow => close_code::AGAIN,
        }
    }

    /// The reason as clients see it.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Restarting | Self::FleetClosed => "restarting",
            Self::Unauthenticated => "unauthenticated",
            Self::Expired => "expired",
            Self::SessionEnded => "session_ended",
            Self::Revoked => "revoked",
            Self::TooManyMessages => "rate",
            Self::TooSlow => "slow",
        }
    }

    /// The reason as metrics have it.
    pub(crate) const fn metric(self) -> &'static str {
        match self {
            Self::Restarting => "drain",
            Self::FleetClosed => "closed",
            other => other.reason(),
        }
    }

    /// Whether the client is first sent what waits, and what comes of its requests under way.
    pub(crate) const fn lets_finish(self) -> bool {
        matches!(self, Self::Restarting | Self::FleetClosed)
    }

    /// Whether the client is told when to come back.
    pub(crate) const fn comes_back(self) -> bool {
        matches!(
            self,
            Self::Restarting | Self::FleetClosed | Self::TooManyMessages | Self::TooSlow
        )
    }
}

/// Where a room gets its messages: a topic or pattern of an open hub, or a declared event. The same name
/// must always mean the same messages: clients that name it share one subscription.
pub(crate) trait RoomSource: Debug + Send + Sync {
    /// The selector as clients see it, and `subscription` in frames. With whether it is a pattern it is
    /// what tells the room from others.
    fn name(&self) -> &str;

    /// How its messages are treated.
    fn options(&self) -> RoomOptions;

    /// Subscribes to the fleet.
    fn open(&self, fleet: &Fleet) -> BoxFuture<'static, quorate::Result<OpenRoom>>;

    /// Reads what its topic keeps. Only asked of rooms that have a position.
    ///
    /// # Errors
    /// `Unsupported` if nothing is kept, and those of the home.
    fn history(
        &self,
        fleet: &Fleet,
        from: HistoryFrom,
        limit: ReadLimit,
    ) -> BoxFuture<'static, quorate::Result<HistoryPage>>;
}

/// A room that was opened.
pub(crate) struct OpenRoom {
    /// Of a kept topic: after which position the first event comes.
    pub(crate) position: Option<Position>,
    /// Ends only with the fleet.
    pub(crate) events: BoxStream<'static, RoomEvent>,
}

/// Where a read of a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryFrom {
    /// With what follows this position.
    After(Position),
    /// With the last messages, as many as the limit says.
    Latest,
}

/// How much a read of a history returns at most. One message is returned however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadLimit {
    pub(crate) messages: u32,
    /// Bytes of messages as they are kept.
    pub(crate) bytes: u64,
}

impl ReadLimit {
    /// The most bytes that one read may ask for.
    pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

    /// So many messages, of whatever size.
    pub(crate) const fn messages(messages: u32) -> Self {
        let bytes = Self::MAX_BYTES;
        Self { messages, bytes }
    }
}

/// A part of a history.
#[derive(Clone, Debug)]
pub(crate) struct HistoryPage {
    /// Oldest first, without a hole, each with its position.
    pub(crate) events: Vec<RoomEvent>,
    /// After which position a further read goes on.
    pub(crate) position: Position,
    /// Whether nothing newer is kept.
    pub(crate) complete: bool,
    /// What was asked for is no longer kept: there are no events, and the history goes on at
    /// `position`. So many are missing, where that is known.
    pub(crate) lost: Option<Option<u64>>,
}

/// How the messages of a room are treated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoomOptions {
    /// A newer message replaces an older one of the same topic that still waits for a slow client.
    pub(crate) latest_only: bool,
    /// Subscribers are members of the topic's roster.
    pub(crate) presence: bool,
    /// It is a pattern, whose text may be that of a topic as well: `room:*` is also the topic `room` with
    /// the key `*`.
    pub(crate) pattern: bool,
}

/// One event of a room, encoded once for all its members.
#[derive(Clone, Debug)]
pub(crate) struct RoomEvent {
    /// What clients are sent.
    pub(crate) frame: Utf8Bytes,
    /// What it is.
    pub(crate) kind: RoomEventKind,
    /// Of a message: its id.
    pub(crate) id: Option<Uuid>,
    /// Of a message of a kept topic: its place. Of a gap in one: where it goes on.
    pub(crate) position: Option<Position>,
    /// The client that is not to get it, because it published it and asked so.
    pub(crate) except: Option<Box<str>>,
    /// Of a message in a room of several topics (a pattern): the concrete one. `None`: the room's.
    pub(crate) topic: Option<Arc<str>>,
    /// In a room of several topics: it is of a declared event whose hook was not asked.
    pub(crate) guarded: bool,
}

/// What an event of a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoomEventKind {
    /// A message.
    Message,
    /// Messages are missing at this place.
    Gap,
    /// A message arrived that cannot be read.
    Undecodable,
    /// Who is there.
    Presence,
}

impl RoomEvent {
    /// An event for every member.
    pub(crate) fn new(kind: RoomEventKind, frame: impl Into<Utf8Bytes>) -> Self {
        Self {
            frame: frame.into(),
            kind,
            id: None,
            position: None,
            except: None,
            topic: None,
            guarded: false,
        }
    }

    /// Notes what the hub has to know of a message.
    pub(crate) fn about<T>(&mut self, message: &Message<T>) {
        self.id = message.id();
        self.except = message.except().map(Into::into);
        self.position = message.position();
    }
}

/// An event that was declared on the hub: what clients may subscribe and publish to by name.
pub(crate) trait DeclaredEvent: Debug + Send + Sync {
    /// Its name, which clients use.
    #[cfg(test)]
    fn name(&self) -> &str;

    /// The room of these parameters, which are read strictly as the event's type. `Null`: none given.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming what is wrong with them.
    fn room(&self, params: &Value) -> Result<Arc<dyn RoomSource>, Problem>;

    /// The room of this key, for transports that only have text: what follows the event's name and a
    /// colon in the topic.
    ///
    /// # Errors
    /// As [`room`](Self::room).
    fn room_of_key(&self, key: &str) -> Result<(Value, Arc<dyn RoomSource>), Problem>;

    /// Whether it has a hook of its own that says who may subscribe.
    fn is_guarded(&self) -> bool;

    /// Asks the event's own hook whether this client may subscribe with these parameters. The hub's hook
    /// ([`Gatekeeper::subscribe`]) is asked before.
    fn authorize_subscribe(
        &self,
        client: ClientInfo,
        params: &Value,
    ) -> BoxFuture<'static, Result<(), Problem>>;

    /// Asks the event's own hook, checks the payload as the event's type, and publishes it for a client. The
    /// hub's hook ([`Gatekeeper::publish`]) is asked before.
    fn publish(
        &self,
        fleet: &Fleet,
        client: ClientInfo,
        publish: ClientPublish,
    ) -> BoxFuture<'static, Result<Published, Problem>>;
}

/// What a client wants published.
#[derive(Debug)]
pub(crate) struct ClientPublish {
    /// `Null`: none given.
    pub(crate) params: Value,
    pub(crate) data: Box<RawValue>,
    pub(crate) event_type: Option<String>,
    /// Whether the client wants it back itself.
    pub(crate) echo: bool,
}

/// What was published for a client.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) topic: Arc<str>,
    /// Of the message, where the topic is kept.
    pub(crate) position: Option<Position>,
}

/// What the session knows of a request: for the handler's context.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) hub: Hub,
    pub(crate) client: Arc<dyn ClientPort>,
    /// As it stands in frames. A request without one gets no progress.
    pub(crate) id: Option<RequestId>,
    /// Cancelled when the client says so. The handler's future is dropped a moment later.
    pub(crate) cancelled: CancellationToken,
}

/// Decides who may do what. Implemented by the hub's access hooks; a hook that panics or takes too long
/// denies.
pub(crate) trait Gatekeeper: Debug + Send + Sync {
    /// Whether a client has to say who it is before anything else is answered.
    fn required(&self) -> bool;

    /// Who a connecting client is by its headers: a cookie or a bearer token. `None`: it does not say so
    /// there, and may still do it in its first frame.
    fn connect(
        &self,
        headers: &HeaderMap,
        address: Option<SocketAddr>,
    ) -> BoxFuture<'static, Result<Option<Identity>, Problem>>;

    /// Who a client is by the token of its frame.
    fn authenticate(
        &self,
        token: String,
        address: Option<SocketAddr>,
    ) -> BoxFuture<'static, Result<Identity, Problem>>;

    /// Whether a client may subscribe to this topic or pattern.
    fn subscribe(
        &self,
        client: ClientInfo,
        topic: Arc<str>,
    ) -> BoxFuture<'static, Result<(), Problem>>;

    /// Whether a client may publish to this topic. `declared`: of a declared event, whose own hook decides
    /// if the hub has none; otherwise no hook means no.
    fn publish(
        &self,
        client: ClientInfo,
        topic: Arc<str>,
        declared: bool,
    ) -> BoxFuture<'static, Result<(), Problem>>;
}

/// Finds the handler of a request. Implemented by the message router.
pub(crate) trait Dispatch: Debug + Send + Sync {
    /// Starts the handler of `kind`; `None`: there is none. The future never panics, and ends within the
    /// handler's deadline.
    fn dispatch(
        &self,
        context: RequestContext,
        kind: &str,
        data: Box<RawValue>,
    ) -> Option<BoxFuture<'static, Result<Option<Box<RawValue>>, Problem>>>;
}
