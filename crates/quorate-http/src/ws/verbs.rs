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
use super::asked::{
    cancelled, history_answer, history_read, look, publish_for, refuse, renew, subscribe_options,
};
use crate::frame::{Answer, PresenceAnswer, Request, RequestId, Verb, millis};
use crate::hub::{
    Client, ClientPort, ClientPublish, Connected, HistoryFrom, Hub, Joining, Named, ReadLimit,
    RequestContext, SubscribeOptions, Welcome, catch_up,
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

    /// Whether there are requests that are not answered yet.
    pub(super) const fn is_under_way(&self) -> bool {
        self.counted > 0
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
                let options = match subscribe_options(after.as_deref(), recent, members) {
                    Ok(options) => options,
                    Err(problem) => return self.refuse(id.as_ref(), &problem),
                };
                self.subscribe(id, &topic, &params, options, cx);
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
            Verb::History {
                topic,
                params,
                after,
                limit,
            } => {
                let read = history_read(after.as_deref(), limit);
                self.history(id, &topic, &params, read, cx);
            }
            Verb::Presence { topic, params } => self.presence(id, &topic, &params, cx),
        }
    }

    fn authenticate(&mut self, id: Option<RequestId>, token: String, cx: &mut Context<'_>) {
        if self.authenticating {
            let text = "another token is being looked at";
            return self.refuse(id.as_ref(), &Problem::new(Code::Aborted, text));
        }
        let client = self.client().clone();
        let hub = self.hub.clone();
        let asked = Instant::now();
        let checking = hub.shared.gatekeeper.authenticate(token, client.address());
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
                    hub.meet(&client, asked);
                }
                Err(problem) => refuse(&client, id.as_ref(), None, problem),
            }
            Done::Authenticate(known.is_ok())
        };
        self.start(task.boxed(), cx);
    }

    fn subscribe(
        &mut self,
        id: Option<RequestId>,
        topic: &str,
        params: &Value,
        options: SubscribeOptions,
        cx: &mut Context<'_>,
    ) {
        let named = match Named::of(&self.hub, topic, params) {
            Ok(named) => named,
            Err(problem) => return self.refuse(id.as_ref(), &problem),
        };
        let client = self.client().clone();
        let source = named.source.clone();
        let allowed = named.allowed(self.hub.clone(), client.clone());
        let task = async move {
            let welcome = Welcome::Answer(id.clone());
            match client.clone().join(source, options, allowed, welcome).await {
                Ok(_) | Err(Joining::Withdrawn) => {}
                Err(Joining::Refused(problem)) => refuse(&client, id.as_ref(), None, &problem),
            }
            Done::Subscribe
        };
        self.start(task.boxed(), cx);
    }

    /// Starts catching up for the subscriptions that need it.
    pub(super) fn catch_up(&mut self, cx: &mut Context<'_>) {
        for (subscription, room) in self.client().take_lagging() {
            let catching = catch_up(self.client().clone(), subscription, room);
            self.start(catching.map(|()| Done::Subscribe).boxed(), cx);
        }
    }

    fn history(
        &mut self,
        id: Option<RequestId>,
        topic: &str,
        params: &Value,
        read: Result<(HistoryFrom, ReadLimit), Problem>,
        cx: &mut Context<'_>,
    ) {
        let asked = read.and_then(|read| Ok((read, Named::of(&self.hub, topic, params)?)));
        let counted = asked.and_then(|asked| Ok((asked, self.count(id.as_ref())?)));
        let (((from, limit), named), cancel) = match counted {
            Ok(counted) => counted,
            Err(problem) => return self.refuse(id.as_ref(), &problem),
        };
        let (client, hub) = (self.client().clone(), self.hub.clone());
        let source = named.source.clone();
        let allowed = named.allowed(hub.clone(), client.clone());
        let task = async move {
            let read = async {
                allowed.await?;
                let read = source.history(&hub.shared.fleet, from, limit).await;
                read.map_err(|error| Problem::from(&error))
            };
            let page = tokio::select! {
                biased;
                page = read => page,
                () = cancel.cancelled() => Err(cancelled()),
            };
            match page {
                Ok(page) => client.reply(history_answer(id.as_ref(), source.name(), &page)),
                Err(problem) => refuse(&client, id.as_ref(), None, &problem),
            }
            Done::Counted(id)
        };
        self.start(task.boxed(), cx);
    }

    fn presence(
        &mut self,
        id: Option<RequestId>,
        topic: &str,
        params: &Value,
        cx: &mut Context<'_>,
    ) {
        let named = Named::of(&self.hub, topic, params);
        let counted = named.and_then(|named| Ok((named, self.count(id.as_ref())?)));
        let (named, cancel) = match counted {
            Ok(counted) => counted,
            Err(problem) => return self.refuse(id.as_ref(), &problem),
        };
        let (client, hub) = (self.client().clone(), self.hub.clone());
        let source = named.source.clone();
        let allowed = named.allowed(hub.clone(), client.clone());
        let task = async move {
            let look = async {
                allowed.await?;
                look(&hub, &*source).await
            };
            let looked = tokio::select! {
                biased;
                looked = look => looked,
                () = cancel.cancelled() => Err(cancelled()),
            };
            match looked {
                Ok((count, members)) => {
                    let answer = PresenceAnswer {
                        id: id.as_ref(),
                        ok: true,
                        topic: source.name(),
                        count,
                        members,
                    };
                    client.reply(answer.to_text());
                }
                Err(problem) => refuse(&client, id.as_ref(), None, &problem),
            }
            Done::Counted(id)
        };
        self.start(task.boxed(), cx);
    }

    fn unsubscribe(&self, id: Option<&RequestId>, topic: &str, params: &Value) {
        let source = match Named::of(&self.hub, topic, params) {
            Ok(named) => named.source,
            Err(problem) => return self.refuse(id, &problem),
        };
        let name = source.name();
        if self.client().leave(&*source) {
            return self.reply(&Answer::about(id, name));
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
            hub: self.hub.clone(),
            client: client.clone(),
            id: id.clone(),
            cancelled: cancel.clone(),
        };
        let handled = self.hub.shared.requests.dispatch(context, &kind, data);
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
                    let answer = Answer {
                        position: published.position,
                        ..Answer::about(id.as_ref(), &published.topic)
                    };
                    client.reply(answer.to_text());
                }
                Err(problem) => refuse(&client, id.as_ref(), None, &problem),
            }
            Done::Counted(id)
        };
        self.start(task.boxed(), cx);
    }
}
