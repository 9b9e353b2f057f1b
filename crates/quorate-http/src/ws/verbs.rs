//! What one client has asked for, and what of it is under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Authentication;
use crate::frame::{Answer, FrameError, Request, RequestId, Verb, millis};
use crate::hub::{
    Client, ClientPort, ClientPublish, Connected, DeclaredEvent, Hub, Identity, Joining,
    OpenSource, Published, RequestContext, RoomSource, Welcome,
};
use crate::problem::{Code, Problem};

/// Something under way. It answers by itself.
type Task = BoxFuture<'static, Done>;

/// What kind of thing it was.
enum Done {
    Subscribe,
    /// One that counts against the limit, and its id.
    Counted(Option<RequestId>),
    Authenticate(bool),
}

/// A client's requests.
pub(super) struct Work {
    hub: Hub,
    connected: Connected,
    authentication: Authentication,
    /// Absent while there is nothing: most clients say little.
    tasks: Option<Box<FuturesUnordered<Task>>>,
    counted: usize,
    authenticating: bool,
    /// How to stop what has an id.
    cancels: HashMap<RequestId, CancellationToken>,
}

impl Work {
    pub(super) fn new(hub: Hub, connected: Connected, authentication: Authentication) -> Self {
        Self {
            hub,
            connected,
            authentication,
            tasks: None,
            counted: 0,
            authenticating: false,
            cancels: HashMap::new(),
        }
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.connected.client
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Whether the client still has to say who it is.
    pub(super) fn is_unknown(&self) -> bool {
        self.authentication == Authentication::Required
    }

    /// When its identity runs out.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.client().expires()
    }

    pub(super) fn sent(&self, frames: usize) {
        self.connected.sent(frames.try_into().unwrap_or(u64::MAX));
    }

    pub(super) fn disconnected(&self, metric: &'static str) {
        self.connected.disconnected(metric);
    }

    /// Ends whatever is under way, and the subscriptions. What is handed back keeps the client's place.
    pub(super) fn end(self) -> Connected {
        let Self {
            connected, tasks, ..
        } = self;
        drop(tasks);
        connected.client.leave_all();
        connected
    }

    /// Goes on with what is under way. Whether something was finished.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut finished = false;
        while let Some(tasks) = &mut self.tasks {
            match tasks.poll_next_unpin(cx) {
                Poll::Ready(Some(done)) => {
                    self.done(done);
                    finished = true;
                }
                Poll::Ready(None) => self.tasks = None,
                Poll::Pending => break,
            }
        }
        finished
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Subscribe => {}
            Done::Counted(id) => {
                self.counted -= 1;
                if let Some(id) = id {
                    self.cancels.remove(&id);
                }
                if self.cancels.is_empty() && self.cancels.capacity() > 0 {
                    self.cancels = HashMap::new();
                }
            }
            Done::Authenticate(known) => {
                self.authenticating = false;
                if known {
                    self.authentication = Authentication::Done;
                }
            }
        }
    }

    /// Starts a task, and finishes it at once if it has nothing to wait for.
    fn start(&mut self, mut task: Task, cx: &mut Context<'_>) {
        match task.poll_unpin(cx) {
            Poll::Ready(done) => self.done(done),
            Poll::Pending => self.tasks.get_or_insert_default().push(task),
        }
    }

    fn reply(&self, answer: &Answer<'_>) {
        self.client().reply(answer.to_text());
    }

    fn refuse(&self, id: Option<&RequestId>, problem: &Problem) {
        refuse(self.client(), id, None, problem);
    }

    /// Does what the client asks for, or starts doing it.
    pub(super) fn begin(&mut self, request: Request, cx: &mut Context<'_>) {
        let Request { id, verb } = request;
        if self.is_unknown() && !matches!(verb, Verb::Authenticate { .. }) {
            let text = "the first frame must be `authenticate`";
            return self.refuse(id.as_ref(), &Problem::new(Code::Unauthenticated, text));
        }
        match verb {
            Verb::Ping => self.client().reply(r#"{"pong":true}"#.to_owned()),
            Verb::Authenticate { token } => self.authenticate(id, token, cx),
            Verb::Subscribe {
                topic,
                params,
                after,
                recent,
                members,
            } => {
                if after.is_some() || recent.is_some() || members {
                    let text = "after, recent and members cannot be asked for here yet";
                    return self.refuse(id.as_ref(), &Problem::new(Code::Unimplemented, text));
                }
                self.subscribe(id, &topic, &params, cx);
            }
            Verb::Unsubscribe { topic, params } => self.unsubscribe(id.as_ref(), &topic, &params),
            Verb::Call { kind, data } => self.call(id, kind, data, cx),
            Verb::Cancel { request } => {
                if let Some(cancel) = self.cancels.get(&request) {
                    cancel.cancel();
                }
            }
            Verb::Publish {
                topic,
                params,
                data,
                event_type,
                echo,
            } => {
                let publish = ClientPublish {
                    params,
                    data,
                    event_type,
                    echo,
                };
                self.publish(id, topic, publish, cx);
            }
            Verb::Presence { .. } | Verb::History { .. } => {
                let text = "this server has neither presence nor history yet";
                self.refuse(id.as_ref(), &Problem::new(Code::Unimplemented, text));
            }
        }
    }

    fn authenticate(&mut self, id: Option<RequestId>, token: String, cx: &mut Context<'_>) {
        let Some(gatekeeper) = &self.hub.shared.gatekeeper else {
            let text = "nobody has to say who they are here";
            return self.refuse(id.as_ref(), &Problem::new(Code::FailedPrecondition, text));
        };
        if self.authenticating {
            let text = "another token is being looked at";
            return self.refuse(id.as_ref(), &Problem::new(Code::Aborted, text));
        }
        let client = self.client().clone();
        let checking = gatekeeper.authenticate(token, client.address());
        self.authenticating = true;
        let task = async move {
            let known = checking.await.and_then(|identity| renew(&client, identity));
            match &known {
                Ok(identity) => {
                    let left = client.expires().map(|at| at - Instant::now());
                    let answer = Answer {
                        client: Some(&client.id),
                        user: Some(&identity.user),
                        expires_in_ms: left.map(millis),
                        ..Answer::to(id.as_ref())
                    };
                    client.reply(answer.to_text());
                }
                Err(problem) => refuse(&client, id.as_ref(), None, problem),
            }
            Done::Authenticate(known.is_ok())
        };
        self.start(task.boxed(), cx);
    }

    /// What a client means by a topic and parameters.
    fn source(&self, topic: &str, params: &Value) -> Result<Named, Problem> {
        let shared = &self.hub.shared;
        if let Some(event) = shared.events.get(topic) {
            let source = event.room(params)?;
            let event = Some(event.clone());
            return Ok(Named { source, event });
        }
        if shared.open {
            let source = Arc::new(OpenSource::select(topic, params)?);
            let event = None;
            return Ok(Named { source, event });
        }
        Err(no_event(topic))
    }

    fn subscribe(
        &mut self,
        id: Option<RequestId>,
        topic: &str,
        params: &Value,
        cx: &mut Context<'_>,
    ) {
        let Named { source, event } = match self.source(topic, params) {
            Ok(named) => named,
            Err(problem) => return self.refuse(id.as_ref(), &problem),
        };
        let client = self.client().clone();
        let gatekeeper = self.hub.shared.gatekeeper.clone();
        let (info, name) = (client.info(), Arc::from(source.name()));
        let params = params.clone();
        let allowed = async move {
            if let Some(gatekeeper) = gatekeeper {
                gatekeeper.subscribe(info.clone(), name).await?;
            }
            match event {
                Some(event) => event.authorize_subscribe(info, &params).await,
                None => Ok(()),
            }
        };
        let task = async move {
            let welcome = Welcome::Answer(id.clone());
            match client.clone().join(source, allowed, welcome).await {
                Ok(_) | Err(Joining::Withdrawn) => {}
                Err(Joining::Refused(problem)) => refuse(&client, id.as_ref(), None, &problem),
            }
            Done::Subscribe
        };
        self.start(task.boxed(), cx);
    }

    fn unsubscribe(&self, id: Option<&RequestId>, topic: &str, params: &Value) {
        let name = match self.source(topic, params) {
            Ok(named) => named.source.name().to_owned(),
            Err(problem) => return self.refuse(id, &problem),
        };
        if self.client().leave(&name) {
            return self.reply(&Answer::about(id, &name));
        }
        let text = format!("`{name}` is not subscribed to");
        self.refuse(id, &Problem::new(Code::NotFound, text));
    }

    /// Takes a place among the requests under way.
    fn count(&mut self, id: Option<&RequestId>) -> Result<CancellationToken, Problem> {
        let limit = self.hub.shared.options.max_requests;
        if self.counted >= limit {
            let text = format!("a client may have at most {limit} requests under way");
            return Err(Problem::new(Code::ResourceExhausted, text));
        }
        let cancel = CancellationToken::new();
        if let Some(id) = id {
            if self.cancels.contains_key(id) {
                let text = format!("id {} is that of a request under way", id.as_json());
                return Err(Problem::new(Code::AlreadyExists, text));
            }
            self.cancels.insert(id.clone(), cancel.clone());
        }
        self.counted += 1;
        Ok(cancel)
    }

    fn call(
        &mut self,
        id: Option<RequestId>,
        kind: String,
        data: Box<RawValue>,
        cx: &mut Context<'_>,
    ) {
        let client = self.client().clone();
        let cancel = match self.count(id.as_ref()) {
            Ok(cancel) => cancel,
            Err(problem) => return refuse(&client, id.as_ref(), Some(&kind), &problem),
        };
        let context = RequestContext {
            client: client.clone(),
            id: id.clone(),
            cancelled: cancel.clone(),
        };
        let requests = self.hub.shared.requests.as_ref();
        let handled = requests.and_then(|requests| requests.dispatch(context, &kind, data));
        let task = async move {
            let result = match handled {
                // The handler first: what is answered already is not cancelled.
                Some(handled) => tokio::select! {
                    biased;
                    result = handled => result,
                    () = cancel.cancelled() => Err(cancelled()),
                },
                None => Err(Problem::new(
                    Code::Unimplemented,
                    format!("there are no requests of type `{kind}`"),
                )),
            };
            match result {
                Ok(data) => {
                    let answer = Answer {
                        data: Some(data.as_deref()),
                        ..Answer::to(id.as_ref())
                    };
                    client.reply(answer.to_text());
                }
                Err(problem) => refuse(&client, id.as_ref(), Some(&kind), &problem),
            }
            Done::Counted(id)
        };
        self.start(task.boxed(), cx);
    }

    fn publish(
        &mut self,
        id: Option<RequestId>,
        topic: String,
        publish: ClientPublish,
        cx: &mut Context<'_>,
    ) {
        let cancel = match self.count(id.as_ref()) {
            Ok(cancel) => cancel,
            Err(problem) => return self.refuse(id.as_ref(), &problem),
        };
        let (client, hub) = (self.client().clone(), self.hub.clone());
        let task = async move {
            let published = tokio::select! {
                biased;
                published = publish_for(&hub, &client, &topic, publish) => published,
                () = cancel.cancelled() => Err(cancelled()),
            };
            match published {
                Ok(published) => {
                    let answer = Answer::about(id.as_ref(), &published.topic);
                    client.reply(answer.to_text());
                }
                Err(problem) => refuse(&client, id.as_ref(), None, &problem),
            }
            Done::Counted(id)
        };
        self.start(task.boxed(), cx);
    }
}

/// A room, and the event it belongs to if that is declared.
struct Named {
    source: Arc<dyn RoomSource>,
    event: Option<Arc<dyn DeclaredEvent>>,
}

/// Publishes for a client, if it may.
async fn publish_for(
    hub: &Hub,
    client: &Client,
    topic: &str,
    publish: ClientPublish,
) -> Result<Published, Problem> {
    let shared = &hub.shared;
    let gatekeeper = shared.gatekeeper.as_ref();
    if let Some(event) = shared.events.get(topic) {
        if let Some(gatekeeper) = gatekeeper {
            let topic = Arc::from(event.room(&publish.params)?.name());
            gatekeeper.publish(client.info(), topic, true).await?;
        }
        return event.publish(&shared.fleet, client.info(), publish).await;
    }
    if !shared.open {
        return Err(no_event(topic));
    }
    let Some(gatekeeper) = gatekeeper else {
        let text = "clients may not publish here";
        return Err(Problem::new(Code::PermissionDenied, text));
    };
    let source = OpenSource::select(topic, &publish.params)?;
    let topic = Arc::from(source.name());
    gatekeeper.publish(client.info(), topic, false).await?;
    source.publish(&shared.fleet, client.info(), publish).await
}

/// Takes a new identity for a client: its first, or one of the same user.
fn renew(client: &Client, identity: Identity) -> Result<Arc<Identity>, Problem> {
    if let Some(known) = client.identity() {
        known.renewed_by(&identity)?;
    }
    let identity = Arc::new(identity);
    client.set_identity(identity.clone());
    Ok(identity)
}

fn refuse(client: &Client, id: Option<&RequestId>, kind: Option<&str>, problem: &Problem) {
    client.reply(FrameError::new(id, kind, problem).to_text());
}

fn cancelled() -> Problem {
    Problem::new(Code::Cancelled, "cancelled by the client")
}

fn no_event(topic: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no event `{topic}`"))
}
