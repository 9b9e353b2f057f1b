//! Server-Sent Events.

mod positions;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::{Sleep, sleep_until};

use self::positions::Positions;
use crate::frame::gap_line;
use crate::hub::{
    CloseWith, Connected, Hub, Item, Joining, Known, Named, Next, Place, RoomEventKind,
    SubscribeOptions, Welcome, catch_up,
};
use crate::problem::{Code, Problem};
use crate::rejection::Rejection;
use crate::telemetry::{self, Transport};
use crate::topic::Selector;

/// What a stream is asked for.
pub(crate) struct Asked {
    pub(crate) selectors: Vec<Selector>,
    /// The id of the last event that the client has seen.
    pub(crate) last_event_id: Option<String>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) known: Option<Known>,
    /// Whether the hub's own rules say what may be subscribed to.
    pub(crate) checked: bool,
}

/// `GET /sse?topic=…&topic=…`.
pub(crate) async fn route(
    State(hub): State<Hub>,
    headers: HeaderMap,
    extensions: Extensions,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Rejection> {
    hub.check_origin(&headers, Transport::Sse)?;
    let Query(pairs) = query?;
    let mut asked = read_query(&pairs)?;
    asked.address = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    let last = headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok());
    if let Some(last) = last.filter(|last| !last.is_empty()) {
        asked.last_event_id = Some(last.to_owned());
    }
    asked.check(&hub)?;
    // Before the hook is asked: whoever waits for it counts.
    let place = hub.admit(Transport::Sse)?;
    asked.known = hub
        .identify(&headers, asked.address, Transport::Sse)
        .await?;
    if asked.known.is_none() && hub.shared.gatekeeper.required() {
        telemetry::refused(Transport::Sse, "access");
        let text = "say who you are, in a cookie or as `Authorization: Bearer …`";
        return Err(Problem::new(Code::Unauthenticated, text).into());
    }
    asked.respond(hub, place).await
}

/// Answers whoever was let in already.
pub(crate) async fn respond(hub: Hub, mut asked: Asked) -> Result<Response, Rejection> {
    asked.check(&hub)?;
    let place = hub.admit(Transport::Sse)?;
    asked.respond(hub, place).await
}

fn read_query(pairs: &[(String, String)]) -> Result<Asked, Rejection> {
    let mut asked = Asked {
        selectors: Vec::new(),
        last_event_id: None,
        address: None,
        known: None,
        checked: true,
    };
    for (name, value) in pairs {
        match name.as_str() {
            "topic" => asked.selectors.push(Selector::parse(value)?),
            // For those whose EventSource cannot send the header on its first request.
            "last_event_id" => asked.last_event_id = Some(value.clone()),
            _ => {
                let text =
                    format!("`{name}` is not a parameter; there are `topic` and `last_event_id`");
                return Err(Problem::new(Code::InvalidArgument, text).into());
            }
        }
    }
    Ok(asked)
}

impl Asked {
    /// Leaves out what is asked for twice, and refuses too much.
    fn check(&mut self, hub: &Hub) -> Result<(), Problem> {
        let limit = hub.shared.options.max_subscriptions;
        let mut selectors = Vec::new();
        for selector in self.selectors.drain(..) {
            if !selectors.contains(&selector) {
                selectors.push(selector);
            }
        }
        if selectors.is_empty() || selectors.len() > limit {
            let rule = format!("topic must be given from 1 to {limit} times");
            return Err(Problem::new(Code::InvalidArgument, rule));
        }
        self.selectors = selectors;
        Ok(())
    }

    /// The stream, once all of its subscriptions are made.
    async fn respond(self, hub: Hub, place: Place) -> Result<Response, Rejection> {
        let last = self.last_event_id.as_deref().unwrap_or_default();
        let after = Positions::read(last, self.selectors.len());
        let connected = place.take(&hub, self.address, self.known, |_| None);
        let made = self.selectors.iter().zip(after).map(|(selector, after)| {
            let options = SubscribeOptions {
                after,
                unguarded: !self.checked,
                ..SubscribeOptions::default()
            };
            subscribe(&hub, &connected, selector, options, self.checked)
        });
        let positions = Positions::new(try_join_all(made).await?);
        let heartbeat = KeepAlive::new().interval(hub.shared.options.heartbeat);
        let expires = connected.client.expires();
        let stream = EventStream {
            hub,
            connected,
            positions,
            catching_up: FuturesUnordered::new(),
            expires: expires.map(|at| Box::pin(sleep_until(at))),
            stage: Stage::Greeting,
        };
        let mut response = Sse::new(stream).keep_alive(heartbeat).into_response();
        // Proxies that buffer would hold events back.
        response.headers_mut().insert(
            "x-accel-buffering",
            axum::http::HeaderValue::from_static("no"),
        );
        Ok(response)
    }
}

/// Makes one subscription. Returns its number, and its position if its topic is kept.
async fn subscribe(
    hub: &Hub,
    connected: &Connected,
    selector: &Selector,
    options: SubscribeOptions,
    checked: bool,
) -> Result<(u32, Option<quorate::Position>), Problem> {
    let client = &connected.client;
    let named = Named::of_selector(hub, selector)?;
    if checked && !named.may_be_named(hub) {
        return Err(Named::none(&selector.to_string()));
    }
    let source = named.source.clone();
    let allowed: BoxFuture<'static, _> = if checked {
        named.allowed(hub.clone(), client.clone()).boxed()
    } else {
        std::future::ready(Ok(())).boxed()
    };
    let withdrawn = || Problem::new(Code::Cancelled, "the stream was ended meanwhile");
    let joined = client
        .clone()
        .join(source.clone(), options, allowed, Welcome::Silent);
    let subscribed = joined.await.map_err(|joining| match joining {
        Joining::Refused(problem) => problem,
        Joining::Withdrawn => withdrawn(),
    })?;
    let number = client.subscription(&*source).ok_or_else(withdrawn)?;
    Ok((number, subscribed.position))
}

/// The body of a response. Being polled only as fast as the client reads, it needs no buffer but the
/// client's outbox.
struct EventStream {
    hub: Hub,
    connected: Connected,
    positions: Positions,
    catching_up: FuturesUnordered<BoxFuture<'static, ()>>,
    expires: Option<Pin<Box<Sleep>>>,
    stage: Stage,
}

enum Stage {
    Greeting,
    Open,
    Over,
}

impl EventStream {
    /// Sent at once, so that the client knows that its subscriptions are made, and where they begin.
    fn greeting(&mut self) -> SseEvent {
        self.stage = Stage::Open;
        let hello = SseEvent::default().retry(self.hub.comeback());
        match self.positions.id() {
            Some(id) => hello.id(id).comment("subscribed"),
            None => hello.comment("subscribed"),
        }
    }

    /// The last event: when to come back, different for each client.
    fn farewell(&mut self, end: CloseWith) -> SseEvent {
        self.stage = Stage::Over;
        self.connected.client.leave_all();
        self.connected.disconnected(end.metric());
        SseEvent::default()
            .retry(self.hub.comeback())
            .comment(end.reason())
    }

    /// An item as an event. Answers are for WebSockets.
    fn event(&mut self, item: Item) -> Option<SseEvent> {
        match item {
            Item::Reply(_) => None,
            Item::Dropped {
                subscription,
                missed,
            } => {
                let topic = self.connected.client.topic_of(subscription)?;
                let data = gap_line(&topic, "buffer_full", Some(missed), None);
                Some(SseEvent::default().event("gap").data(data))
            }
            Item::Event {
                subscription,
                event,
            } => {
                let name = match event.kind {
                    RoomEventKind::Message => "message",
                    RoomEventKind::Gap => "gap",
                    RoomEventKind::Undecodable => "undecodable",
                    RoomEventKind::Presence => "presence",
                };
                self.positions.advance(subscription, event.position);
                let sse = SseEvent::default().event(name).data(event.frame.as_str());
                let id = self.positions.id();
                Some(match id.or_else(|| event.id.map(|id| id.to_string())) {
                    Some(id) => sse.id(id),
                    None => sse,
                })
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<CloseWith> {
        let expires = self.expires.as_mut()?;
        expires
            .poll_unpin(cx)
            .is_ready()
            .then_some(CloseWith::Expired)
    }

    fn catch_up(&mut self, cx: &mut Context<'_>) {
        let client = &self.connected.client;
        for (subscription, room) in client.take_lagging() {
            self.catching_up
                .push(catch_up(client.clone(), subscription, room).boxed());
        }
        while let Poll::Ready(Some(())) = self.catching_up.poll_next_unpin(cx) {}
    }
}

impl Stream for EventStream {
    type Item = Result<SseEvent, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.stage {
            Stage::Greeting => return Poll::Ready(Some(Ok(this.greeting()))),
            Stage::Open => {}
            Stage::Over => return Poll::Ready(None),
        }
        this.connected.client.wake_with(cx.waker());
        if let Some(end) = this.poll_end(cx) {
            return Poll::Ready(Some(Ok(this.farewell(end))));
        }
        loop {
            this.catch_up(cx);
            match this.connected.client.next() {
                Next::Nothing => return Poll::Pending,
                Next::End(end) => return Poll::Ready(Some(Ok(this.farewell(end)))),
                Next::Send(item) => {
                    if let Some(event) = this.event(item) {
                        this.connected.sent(1);
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
            }
        }
    }
}
