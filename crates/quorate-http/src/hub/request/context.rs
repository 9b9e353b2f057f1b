//! What a handler knows, and what it can do.

use std::borrow::Cow;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorate::Receipt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::error::HandlerError;
use crate::hub::event::{Emit, EventSpec};
use crate::hub::handle::Hub;
use crate::hub::identity::{ClientInfo, Identity};
use crate::hub::seam::{RequestContext, RoomSource, SubscribeOptions};
use crate::problem::{Code, Problem};

/// What a handler knows of the request and its client, and what it can do for them.
///
/// # Clone
/// Clones belong to the same request.
#[derive(Clone, Debug)]
pub struct Cx {
    request: RequestContext,
    /// As it was when the request came.
    client: ClientInfo,
}

impl Cx {
    pub(super) fn new(request: RequestContext) -> Self {
        let client = request.client.info();
        Self { request, client }
    }

    /// The id of the client's connection, unique over the fleet.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client.client_id()
    }

    /// Who the client is; `None` only where the hub does not authenticate.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.client.identity()
    }

    /// The client's user.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.client.user()
    }

    /// Where the client connects from; see [`ClientInfo::address`].
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.client.address()
    }

    /// All of that, as hooks are given it.
    #[must_use]
    pub const fn client(&self) -> &ClientInfo {
        &self.client
    }

    /// The hub.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.request.hub
    }

    /// Emits an event in the name of the client: its `source` is the client's user. Optional arguments, then
    /// `.await`; see [`ClientEmit`].
    ///
    /// No hook is asked: what a handler does is allowed.
    pub fn publish<'a, P, T>(
        &'a self,
        event: &EventSpec<P, T>,
        params: &P,
        data: &'a T,
    ) -> ClientEmit<'a, T>
    where
        P: Serialize,
        T: Send + Sync + 'static,
    {
        let emit = event.emit(self.hub().fleet(), params, data);
        ClientEmit {
            emit: emit.source(self.client.source()),
            client_id: self.client_id(),
        }
    }

    /// Subscribes the client, which is told so before the first message. No hook is asked. What it is
    /// subscribed to already stays as it is.
    ///
    /// # Errors
    /// `NOT_FOUND` if the event was not declared on this hub, `RESOURCE_EXHAUSTED` if the client has its
    /// subscriptions, and those of the fleet.
    ///
    /// # Cancel safety
    /// When the future is dropped, the client is not subscribed.
    pub async fn subscribe<P, T>(
        &self,
        event: &EventSpec<P, T>,
        params: &P,
    ) -> Result<(), HandlerError>
    where
        P: Serialize + DeserializeOwned,
    {
        let room = self.room(event, params)?;
        let options = SubscribeOptions::default();
        self.request.client.subscribe(room, options).await?;
        Ok(())
    }

    /// Ends the client's subscription; the client is told so. `false`: it had none.
    ///
    /// # Errors
    /// `NOT_FOUND` if the event was not declared on this hub; those of the parameters.
    pub fn unsubscribe<P, T>(
        &self,
        event: &EventSpec<P, T>,
        params: &P,
    ) -> Result<bool, HandlerError>
    where
        P: Serialize + DeserializeOwned,
    {
        let room = self.room(event, params)?;
        Ok(self.request.client.unsubscribe(&*room))
    }

    fn room<P: Serialize, T>(
        &self,
        event: &EventSpec<P, T>,
        params: &P,
    ) -> Result<Arc<dyn RoomSource>, HandlerError> {
        let declared = self.hub().events().find(event.name()).ok_or_else(|| {
            let detail = format!("`{}` is not an event of this server", event.name());
            Problem::new(Code::NotFound, detail)
        })?;
        let params: Value = serde_json::to_value(params)?;
        Ok(declared.room(&params)?)
    }

    /// Reports progress to the client. A report that the client is too slow for is left out; the answer
    /// is not. Nothing is sent for a request without an id.
    ///
    /// # Errors
    /// If `progress` cannot be JSON.
    pub fn progress(&self, progress: &impl Serialize) -> Result<(), HandlerError> {
        let progress = serde_json::to_string(progress)?;
        if let Some(id) = &self.request.id {
            let frame = format!(r#"{{"id":{},"progress":{progress}}}"#, id.as_json());
            self.request.client.push_progress(frame);
        }
        Ok(())
    }

    /// Waits until the client gives up the request, leaves, or the deadline has passed.
    ///
    /// The handler itself need not look: its future is dropped then. This is for what it started
    /// elsewhere, and for finishing in one step: a handler that waits for this is polled once more.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn cancelled(&self) {
        self.request.cancelled.cancelled().await;
    }

    /// Whether that has happened.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.request.cancelled.is_cancelled()
    }

    pub(super) const fn cancellation(&self) -> &CancellationToken {
        &self.request.cancelled
    }
}

/// An emit in the name of a client: optional arguments, then `.await`. Errors and cancel safety are those of
/// [`Emit`].
#[derive(Debug)]
#[must_use = "an emit is made by awaiting it"]
pub struct ClientEmit<'a, T> {
    emit: Emit<'a, T>,
    client_id: &'a str,
}

impl<'a, T: Send + Sync + 'static> ClientEmit<'a, T> {
    /// Leaves out the client that asked: the answer tells it.
    pub fn but_self(mut self) -> Self {
        self.emit = self.emit.but(self.client_id);
        self
    }

    /// The message's `type`. Default: the event's name.
    pub fn event_type(mut self, event_type: &'a str) -> Self {
        self.emit = self.emit.event_type(event_type);
        self
    }

    /// Who emits. Default: the client's user, or the client's id where it has none.
    pub fn source(mut self, source: impl Into<Cow<'a, str>>) -> Self {
        self.emit = self.emit.source(source);
        self
    }

    /// An id that ties the message to a request.
    pub fn correlation_id(mut self, correlation_id: &'a str) -> Self {
        self.emit = self.emit.correlation_id(correlation_id);
        self
    }

    /// Time for the whole call.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.emit = self.emit.deadline(deadline);
        self
    }
}

impl<'a, T: Send + Sync + 'static> IntoFuture for ClientEmit<'a, T> {
    type Output = quorate::Result<Receipt>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.emit.into_future()
    }
}
