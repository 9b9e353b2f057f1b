//! The client: what programs hold.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quorate::events::HandlerResult;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::actor::Command;
use super::ask::{HistoryOf, PresenceOf, PublishTo, Request, encode};
use super::builder::HubClientBuilder;
use super::error::{ClientError, ClientResult};
use super::link::Ids;
use super::listen::{self, ErrorHook, ListenTo, Listening};
use super::message::ClientMessage;
use super::rooms::Wanted;
use super::state::ClientState;
use super::subscription::{Reading, SubscribeTo};
use crate::topic::{Selector, TopicPath};

/// What all handles of one client share.
pub(super) struct Shared {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) ids: Ids,
    pub(super) state: watch::Receiver<ClientState>,
    pub(super) client: watch::Receiver<Option<Arc<str>>>,
    pub(super) deadline: Duration,
    pub(super) on_error: Option<ErrorHook>,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) closing: CancellationToken,
    /// Ends the client with the last handle.
    pub(super) _closes: DropGuard,
    /// Starts listeners; there with the first of them.
    pub(super) listeners: OnceLock<mpsc::UnboundedSender<Listening>>,
}

impl Shared {
    /// Runs a listener, in the one task that all of this client share.
    pub(super) fn listen(&self, listener: Listening) -> ClientResult<()> {
        let listeners = self.listeners.get_or_init(|| {
            let (sender, started) = mpsc::unbounded_channel();
            let running = listen::run(started, self.closing.clone());
            self.tasks.spawn_on(running, &self.runtime);
            sender
        });
        listeners.send(listener).map_err(|_| ClientError::closed())
    }
}

/// A client of a hub: subscribes to events and makes requests over one WebSocket, which it makes again
/// whenever it breaks, for ever.
///
/// # Clone
/// Clones share one connection, which ends with the last handle and subscription, or by
/// [`close`](Self::close).
pub struct HubClient {
    pub(super) shared: Arc<Shared>,
}

impl HubClient {
    /// Connects to the hub at `url`, as `wss://example.com/live/ws`, and waits for the first connection.
    ///
    /// # Errors
    /// Why the first attempt failed; nothing goes on in the background then. A client that keeps trying
    /// is made by [`HubClientBuilder::build`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt.
    pub async fn connect(url: impl AsRef<str>) -> ClientResult<Self> {
        Self::builder(url).connect().await
    }

    /// A client with options.
    pub fn builder(url: impl AsRef<str>) -> HubClientBuilder {
        HubClientBuilder::new(url.as_ref())
    }

    /// Subscribes by the full name of a topic, `room:42`, or a pattern, `room:*`, where the hub lets
    /// clients. Payloads are whatever JSON they are; what is not JSON comes as
    /// [`Undecodable`](super::ClientEvent::Undecodable).
    pub fn subscribe_topic(&self, topic: &str) -> SubscribeTo<Value> {
        let wanted = Selector::parse(topic).map(|_| Wanted {
            event: topic.to_owned(),
            params: Value::Null,
        });
        let wanted = wanted.map_err(ClientError::from);
        SubscribeTo::new(self, wanted, Reading::new(None, None))
    }

    /// Calls `handler` for each message of a topic or pattern, by its full name.
    pub fn on_topic<F, Fut, R>(&self, topic: &str, handler: F) -> ListenTo<Value, F>
    where
        F: FnMut(ClientMessage<Value>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerResult + 'static,
    {
        ListenTo::new(self.subscribe_topic(topic), handler)
    }

    /// Publishes `data` to a topic by its full name, where the hub lets clients.
    pub fn publish_topic<T: Serialize + ?Sized>(&self, topic: &str, data: &T) -> PublishTo {
        PublishTo::new(self, topic_named(topic), encode(data))
    }

    /// Asks who is on a topic, by its full name.
    pub fn presence_topic(&self, topic: &str) -> PresenceOf {
        PresenceOf::new(self, topic_named(topic))
    }

    /// Reads what a topic keeps, by its full name.
    pub fn history_topic(&self, topic: &str) -> HistoryOf<Value> {
        HistoryOf::new(self, topic_named(topic), Reading::new(None, None))
    }

    /// Makes a request by the name of its type.
    pub fn request_type<T: Serialize + ?Sized>(&self, kind: &str, payload: &T) -> Request<Value> {
        Request::new(self, kind, encode(payload))
    }

    /// The state of the connection, and its changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<ClientState> {
        self.shared.state.clone()
    }

    /// The state of the connection.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.shared.state.borrow().clone()
    }

    /// The id of the present connection, as others see it in presence. Each connection has another.
    #[must_use]
    pub fn id(&self) -> Option<Arc<str>> {
        self.shared.client.borrow().clone()
    }

    /// Waits until the client is connected.
    ///
    /// # Errors
    /// Why it is over, if it is.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> ClientResult<()> {
        let mut states = self.states();
        let settled = |state: &ClientState| state.is_ready() || state.is_closed();
        match states.wait_for(settled).await.as_deref() {
            Ok(ClientState::Ready) => Ok(()),
            Ok(ClientState::Closed { error: Some(error) }) => Err(error.clone()),
            _ => Err(ClientError::closed()),
        }
    }

    /// Ends the client, for all handles: says goodbye to the server, ends subscriptions, fails what is
    /// under way. Returns when everything has ended, after a second at most.
    ///
    /// # Cancel safety
    /// The client ends even if the future is dropped.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// A topic by its full name.
fn topic_named(topic: &str) -> ClientResult<Wanted> {
    TopicPath::parse(topic)?;
    Ok(Wanted {
        event: topic.to_owned(),
        params: Value::Null,
    })
}

impl Clone for HubClient {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubClient")
            .field("state", &self.state())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
