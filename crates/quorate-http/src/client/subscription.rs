//! A stream of what a hub sends about one topic.

use std::fmt;
use std::future::IntoFuture;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use quorate::events::Validate;
use quorate::{Codec, Position};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::actor::Command;
use super::cursor::Cursor;
use super::error::{ClientError, ClientResult};
use super::handle::{HubClient, Shared};
use super::listener::{Listener, Phase, Start};
use super::mailbox::{Item, Limits, Mailbox, Taken};
use super::message::{ClientEvent, ClientMessage, ClientUndecodable, Data, Delivery};
use super::rooms::{ListenerId, Wanted};
use crate::problem::Code;

/// Messages a subscription buffers unless told otherwise.
const DEFAULT_BUFFER: usize = 1024;
/// Bytes a subscription buffers unless told otherwise: 16 MiB.
const DEFAULT_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// The most messages that a hub gives at once.
const MAX_RECENT: usize = 1000;

/// How payloads become values.
pub(super) struct Reading<T> {
    json: fn(&str) -> serde_json::Result<T>,
    codec: Option<Codec<T>>,
    validate: Option<Validate<T>>,
}

// Not derived: only function pointers are copied, whatever `T` is.
impl<T> Clone for Reading<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Reading<T> {}

impl<T: DeserializeOwned> Reading<T> {
    /// `codec` reads what is not JSON.
    pub(super) fn new(codec: Option<Codec<T>>, validate: Option<Validate<T>>) -> Self {
        Self {
            json: |text| serde_json::from_str(text),
            codec,
            validate,
        }
    }
}

impl<T> Reading<T> {
    /// Turns a message into an event. Code of the user's runs here, in the task that asks.
    pub(super) fn event(&self, delivery: Arc<Delivery>) -> ClientEvent<T> {
        let read = catch_unwind(AssertUnwindSafe(|| self.read(&delivery.data)));
        let read = read.unwrap_or_else(|_| Err("the type, codec or validate panicked".to_owned()));
        match read {
            Ok(payload) => ClientEvent::Message(ClientMessage { delivery, payload }),
            Err(error) => ClientEvent::Undecodable(ClientUndecodable {
                topic: delivery.topic.to_string(),
                error,
            }),
        }
    }

    fn read(&self, data: &Data) -> Result<T, String> {
        let value = match (data, &self.codec) {
            (Data::Json(json), _) => (self.json)(json.get()).map_err(|error| error.to_string())?,
            (Data::Bytes(bytes), Some(codec)) => {
                codec.decode(bytes).map_err(|error| error.to_string())?
            }
            (Data::Bytes(_), None) => return Err("the payload is not JSON".to_owned()),
        };
        if let Some(validate) = self.validate {
            validate(&value).map_err(|rule| format!("refused by validate: {rule}"))?;
        }
        Ok(value)
    }
}

/// A subscription about to be made: optional arguments, then `.await`.
///
/// Resolves once the server has subscribed this client: whatever is published after that arrives. It
/// waits for a connection if there is none. Who subscribes to one topic several times shares one
/// subscription at the server.
///
/// # Errors
/// What the server refuses it with; `INVALID_ARGUMENT` for a name, parameters or bounds that break a
/// rule; `DEADLINE_EXCEEDED` if it is not made until the deadline.
///
/// # Cancel safety
/// When the future is dropped, the subscription is taken back.
#[must_use = "a subscription is made by awaiting it"]
pub struct SubscribeTo<T> {
    client: HubClient,
    wanted: ClientResult<Wanted>,
    reading: Reading<T>,
    start: Start,
    members: bool,
    limits: Limits,
    deadline: Option<Duration>,
}

impl<T> SubscribeTo<T> {
    pub(super) fn new(
        client: &HubClient,
        wanted: ClientResult<Wanted>,
        reading: Reading<T>,
    ) -> Self {
        Self {
            client: client.clone(),
            wanted,
            reading,
            start: Start::Now,
            members: false,
            limits: Limits {
                messages: DEFAULT_BUFFER,
                bytes: DEFAULT_BUFFER_BYTES,
            },
            deadline: None,
        }
    }

    /// Begins after this position of a kept topic: everything that followed it comes, or a gap.
    pub fn after(mut self, position: Position) -> Self {
        self.start = Start::After(position);
        self
    }

    /// Begins with so many of the last messages that a kept topic has, at most 1 000 and as many as the
    /// buffer takes. Not together with [`after`](Self::after): the last of the two counts.
    pub fn recent(mut self, messages: NonZeroU32) -> Self {
        self.start = Start::Recent(messages.get().try_into().unwrap_or(usize::MAX));
        self
    }

    /// Also tells who is there, as [`ClientEvent::Presence`].
    pub fn members(mut self) -> Self {
        self.members = true;
        self
    }

    /// Messages to buffer while the consumer is busy; at least 1. Default 1 024.
    ///
    /// Of a kept topic, what has no room is fetched from the history when there is. Of any other, the
    /// oldest messages make room, and a gap stands in their place.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.limits.messages = messages;
        self
    }

    /// Bytes of payload to buffer; at least 1. Default 16 MiB. A single larger message still passes.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Time for the whole call. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    pub(super) fn client(&self) -> &HubClient {
        &self.client
    }

    async fn subscribe(self) -> ClientResult<ClientSubscription<T>> {
        let wanted = self.wanted?;
        for (field, value) in [
            ("buffer", self.limits.messages),
            ("buffer_bytes", self.limits.bytes),
        ] {
            if value == 0 {
                return Err(ClientError::invalid(field, "must be at least 1"));
            }
        }
        let shared = &self.client.shared;
        let (ready, made) = oneshot::channel();
        let start = match self.start {
            Start::Recent(count) => Start::Recent(count.min(self.limits.messages).min(MAX_RECENT)),
            start => start,
        };
        let mut inbox = Inbox {
            id: shared.ids.next(),
            mailbox: Arc::new(Mailbox::new(self.limits)),
            commands: shared.commands.clone(),
            position: None,
            reading: self.reading,
            over: false,
        };
        let listener = Listener {
            id: inbox.id,
            mailbox: inbox.mailbox.clone(),
            members: self.members,
            ready: Some(ready),
            phase: Phase::Joining(start),
            cursor: Cursor::default(),
        };
        // From here on, dropping `inbox` takes the subscription back.
        let asked = shared.commands.send(Command::Subscribe(wanted, listener));
        asked.map_err(|_| ClientError::closed())?;
        let deadline = self.deadline.unwrap_or(shared.deadline);
        inbox.position = match timeout(deadline, made).await {
            Ok(made) => made.unwrap_or_else(|_| Err(ClientError::closed()))?,
            Err(_) => {
                let message = "the subscription was not made until the deadline";
                return Err(ClientError::new(Code::DeadlineExceeded, message));
            }
        };
        Ok(ClientSubscription {
            inbox,
            _client: self.client.shared.clone(),
        })
    }
}

impl<T: Send + 'static> IntoFuture for SubscribeTo<T> {
    type Output = ClientResult<ClientSubscription<T>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.subscribe())
    }
}

impl<T> fmt::Debug for SubscribeTo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeTo")
            .field("wanted", &self.wanted)
            .field("start", &self.start)
            .field("members", &self.members)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A stream of [`ClientEvent`]s, active when it is handed out.
///
/// A connection that comes and goes never ends it. Of a kept topic, everything comes exactly once and in
/// order, or a [`Gap`](ClientEvent::Gap) says that it is no longer kept; of any other, each interruption
/// is a gap. It ends (`None`) when the client is closed, and after
/// [`Ended`](ClientEvent::Ended). Dropping it unsubscribes. The client stays connected while there are
/// subscriptions, though no handle may be left.
pub struct ClientSubscription<T> {
    inbox: Inbox<T>,
    /// Keeps the client alive.
    _client: Arc<Shared>,
}

impl<T> ClientSubscription<T> {
    /// The next event, or `None` at the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ClientEvent<T>> {
        std::future::poll_fn(|cx| self.inbox.poll(cx)).await
    }

    /// The next message; everything else is skipped. For consumers that do not care about loss.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next_message(&mut self) -> Option<ClientMessage<T>> {
        loop {
            if let Some(message) = self.next().await?.message() {
                return Some(message);
            }
        }
    }

    /// The position after which the next event comes, of a kept topic: where to subscribe
    /// [`after`](SubscribeTo::after), in this process or the next, to go on from here.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.inbox.position
    }

    /// Messages waiting in the buffer.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.inbox.mailbox.len()
    }

    /// What is left of the subscription when the client may go before it.
    pub(super) fn into_inbox(self) -> Inbox<T> {
        self.inbox
    }
}

impl<T> Stream for ClientSubscription<T> {
    type Item = ClientEvent<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbox.poll(cx)
    }
}

impl<T> fmt::Debug for ClientSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSubscription")
            .field("position", &self.inbox.position)
            .field("backlog", &self.backlog())
            .finish()
    }
}

/// The reading end of a subscription. It does not keep the client alive.
pub(super) struct Inbox<T> {
    id: ListenerId,
    mailbox: Arc<Mailbox>,
    commands: mpsc::UnboundedSender<Command>,
    position: Option<Position>,
    reading: Reading<T>,
    over: bool,
}

impl<T> Inbox<T> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<ClientEvent<T>>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.mailbox.poll(cx).map(|taken| {
            let (taken, refill) = taken?;
            if refill {
                // A client that is over has nothing to refill with.
                let _ = self.commands.send(Command::Resume(self.id));
            }
            Some(self.open(taken))
        })
    }

    fn open(&mut self, taken: Taken) -> ClientEvent<T> {
        match taken {
            Taken::Presence(presence) => ClientEvent::Presence(presence),
            Taken::Item(Item::Message(delivery)) => {
                self.position = delivery.resumable().or(self.position);
                self.reading.event(delivery)
            }
            Taken::Item(Item::Gap(gap)) => {
                self.position = gap.position.or(self.position);
                ClientEvent::Gap(gap)
            }
            Taken::Item(Item::Undecodable(undecodable)) => ClientEvent::Undecodable(undecodable),
            Taken::Item(Item::Ended(error)) => {
                self.over = true;
                ClientEvent::Ended(error)
            }
        }
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        // A client that is over has forgotten it.
        let _ = self.commands.send(Command::Unsubscribe(self.id));
    }
}
