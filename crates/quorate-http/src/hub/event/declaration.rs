//! An event on a hub: with the hooks that say who may subscribe and publish.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use quorate::Fleet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::params::{guarded, read_data, read_params, to_value};
use super::source::EventSource;
use super::spec::EventSpec;
use crate::hub::access::{Denied, HOOK_TIMEOUT, Hook, ask, hook};
use crate::hub::identity::ClientInfo;
use crate::hub::seam::{ClientPublish, DeclaredEvent, Published, RoomSource};
use crate::problem::{Code, Problem};
use crate::topic::TopicPath;

/// An event with hooks of its own; made by [`EventSpec::declare`].
///
/// # Example
/// ```
/// use quorate_http::{ClientInfo, Denied, EventSpec};
///
/// const INBOX: EventSpec<String, String> = EventSpec::new("inbox");
///
/// async fn own_inbox(client: ClientInfo, user: String) -> Result<(), Denied> {
///     if client.user() == Some(&user) { Ok(()) } else { Err(Denied::permission("not yours")) }
/// }
/// let inbox = INBOX.declare().authorize_subscribe(own_inbox);
/// # let _ = inbox;
/// ```
#[must_use = "a declaration does nothing until it is given to a hub"]
pub struct EventDeclaration<P, T> {
    spec: EventSpec<P, T>,
    subscribe: Option<Hook<P>>,
    publish: Option<Hook<P>>,
    limit: Duration,
}

impl<P, T> EventDeclaration<P, T>
where
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) const fn new(spec: EventSpec<P, T>) -> Self {
        Self {
            spec,
            subscribe: None,
            publish: None,
            limit: HOOK_TIMEOUT,
        }
    }

    /// Asks whether a client may subscribe with these parameters. Default: it may.
    ///
    /// The hub's own hook is asked first, and both must agree. A hook that panics, or takes longer than
    /// [`hook_timeout`](Self::hook_timeout), denies.
    pub fn authorize_subscribe<F, Fut>(mut self, function: F) -> Self
    where
        F: Fn(ClientInfo, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        self.subscribe = Some(hook(function));
        self
    }

    /// Lets clients publish to the event, if this hook allows it for these parameters. Default: they may
    /// not.
    ///
    /// What a client publishes is checked as the event's data, and carries its user's id as the source.
    /// Who may say what is better decided by a [request](crate::MessageSpec), whose handler sees the data.
    pub fn allow_publish<F, Fut>(mut self, function: F) -> Self
    where
        F: Fn(ClientInfo, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        self.publish = Some(hook(function));
        self
    }

    /// How long these hooks may take. Default 10 s.
    pub fn hook_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    fn path(&self, params: &P) -> Result<TopicPath, Problem> {
        self.spec.path(params).map_err(|error| {
            let rule = error.message().unwrap_or("params: cannot be a key");
            Problem::new(Code::InvalidArgument, rule)
        })
    }

    fn source(&self, path: TopicPath) -> Arc<dyn RoomSource> {
        Arc::new(EventSource::new(self.spec.clone(), path))
    }

    /// Publishes for a client that may.
    async fn publish_for(
        self,
        fleet: Fleet,
        client: ClientInfo,
        publish: ClientPublish,
        path: TopicPath,
    ) -> Result<Published, Problem> {
        let data: T = read_data(&publish.data)?;
        if let Some(Err(rule)) = self.spec.data_rule().map(|validate| validate(&data)) {
            let detail = format!("data: {rule}");
            return Err(Problem::new(Code::InvalidArgument, detail));
        }
        let topic = self.spec.topic_at(&fleet, &path);
        let topic = topic.map_err(|error| Problem::from(&error))?;
        let mut call = topic.publish(&data).source(client.source());
        if let Some(event_type) = &publish.event_type {
            call = call.event_type(event_type);
        }
        if !publish.echo {
            call = call.except(client.client_id());
        }
        let receipt = call.await.map_err(|error| Problem::from(&error))?;
        Ok(Published {
            topic: path.to_string().into(),
            position: receipt.position,
        })
    }
}

impl<P, T> DeclaredEvent for EventDeclaration<P, T>
where
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    #[cfg(test)]
    fn name(&self) -> &str {
        self.spec.name()
    }

    fn room(&self, params: &Value) -> Result<Arc<dyn RoomSource>, Problem> {
        guarded(|| Ok(self.source(self.path(&read_params(params)?)?)))
    }

    fn room_of_key(&self, key: &str) -> Result<(Value, Arc<dyn RoomSource>), Problem> {
        // What is text as parameters is the key as it is; anything else is JSON.
        let text = Value::String(key.to_owned());
        let params = match read_params::<P>(&text) {
            Ok(_) => text,
            Err(problem) => serde_json::from_str(key).map_err(|_| problem)?,
        };
        let room = self.room(&params)?;
        Ok((params, room))
    }

    fn is_guarded(&self) -> bool {
        self.subscribe.is_some()
    }

    fn authorize_subscribe(
        &self,
        client: ClientInfo,
        params: &Value,
    ) -> BoxFuture<'static, Result<(), Problem>> {
        let Some(hook) = self.subscribe.clone() else {
            return ready(Ok(())).boxed();
        };
        match read_params(params) {
            Ok(params) => {
                let asked = async move { hook(client, params).await };
                ask("authorize_subscribe", self.limit, asked).boxed()
            }
            Err(problem) => ready(Err(problem)).boxed(),
        }
    }

    fn publish(
        &self,
        fleet: &Fleet,
        client: ClientInfo,
        publish: ClientPublish,
    ) -> BoxFuture<'static, Result<Published, Problem>> {
        let Some(hook) = self.publish.clone() else {
            let reason = format!("clients may not publish to `{}`", self.spec.name());
            return ready(Err(Problem::new(Code::PermissionDenied, reason))).boxed();
        };
        let (event, fleet) = (self.clone(), fleet.clone());
        let published = async move {
            let params: P = read_params(&publish.params)?;
            let path = event.path(&params)?;
            let allowed = {
                let client = client.clone();
                async move { hook(client, params).await }
            };
            ask("allow_publish", event.limit, allowed).await?;
            event.publish_for(fleet, client, publish, path).await
        };
        async move {
            let published = AssertUnwindSafe(published).catch_unwind().await;
            published.unwrap_or_else(|_panic| {
                tracing::error!("an event's type panicked while a client published");
                Err(Problem::new(
                    Code::Internal,
                    "the message could not be published",
                ))
            })
        }
        .boxed()
    }
}

impl<P, T> Clone for EventDeclaration<P, T> {
    fn clone(&self) -> Self {
        Self {
            spec: self.spec.clone(),
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            limit: self.limit,
        }
    }
}

impl<P, T> fmt::Debug for EventDeclaration<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventDeclaration")
            .field("spec", &self.spec)
            .field("authorize_subscribe", &self.subscribe.is_some())
            .field("allow_publish", &self.publish.is_some())
            .finish()
    }
}

/// An event of whatever type, as a hub takes it: `&EventSpec` or an [`EventDeclaration`].
#[derive(Clone, Debug)]
pub struct HubEvent {
    name: &'static str,
    /// Whether it has a topic for each of many parameters.
    is_keyed: bool,
    declared: Arc<dyn DeclaredEvent>,
}

impl HubEvent {
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn declared(&self) -> &Arc<dyn DeclaredEvent> {
        &self.declared
    }

    /// Whether a topic that is called `name`, or more than that, could be one of this event's.
    pub(super) fn claims(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.name);
        self.is_keyed && rest.is_some_and(|rest| rest.starts_with(':'))
    }
}

impl<P, T> From<EventDeclaration<P, T>> for HubEvent
where
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn from(declaration: EventDeclaration<P, T>) -> Self {
        // A type with one value, which is `null`, as `()` is.
        let single = size_of::<P>() == 0
            && read_params::<P>(&Value::Null)
                .is_ok_and(|params| to_value(&params).is_ok_and(|value| value.is_null()));
        Self {
            name: declaration.spec.name(),
            is_keyed: !single,
            declared: Arc::new(declaration),
        }
    }
}

impl<P, T> From<&EventSpec<P, T>> for HubEvent
where
    P: Serialize + DeserializeOwned + Send + Sync + 'static,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn from(spec: &EventSpec<P, T>) -> Self {
        spec.declare().into()
    }
}
