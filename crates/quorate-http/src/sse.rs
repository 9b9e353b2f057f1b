//! Server-Sent Events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::future::try_join_all;

use crate::frame::gap_line;
use crate::hub::{
    CloseWith, Connected, Hub, Item, Joining, Next, OpenSource, RoomEventKind, RoomSource, Welcome,
};
use crate::problem::{Code, Problem};
use crate::rejection::Rejection;
use crate::telemetry::Transport;
use crate::topic::Selector;

/// `GET /sse?topic=…&topic=…`.
pub(crate) async fn route(
    State(hub): State<Hub>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Rejection> {
    hub.check_origin(&headers, Transport::Sse)?;
    let Query(pairs) = query?;
    let selectors = pairs
        .iter()
        .map(|(name, value)| match name.as_str() {
            "topic" => Ok(Selector::parse(value)?),
            _ => Err(Problem::new(
                Code::InvalidArgument,
                format!("`{name}` is not a parameter; there is only `topic`"),
            )
            .into()),
        })
        .collect::<Result<Vec<_>, Rejection>>()?;
    respond(hub, selectors).await
}

pub(crate) async fn respond(hub: Hub, mut selectors: Vec<Selector>) -> Result<Response, Rejection> {
    let limit = hub.shared.options.max_subscriptions;
    if selectors.is_empty() || selectors.len() > limit {
        let rule = format!("topic must be given from 1 to {limit} times");
        return Err(Problem::new(Code::InvalidArgument, rule).into());
    }
    let mut seen = Vec::new();
    selectors.retain(|selector| {
        let fresh = !seen.contains(selector);
        if fresh {
            seen.push(selector.clone());
        }
        fresh
    });
    let connected = hub.admit(Transport::Sse)?.take(&hub, None, None, |_| None);
    let made = selectors.into_iter().map(|selector| {
        let source: Arc<dyn RoomSource> = Arc::new(OpenSource::new(selector));
        let allowed = std::future::ready(Ok(()));
        let client = connected.client.clone();
        async move {
            let joined = client.join(source, allowed, Welcome::Silent).await;
            joined.map(drop).map_err(|joining| match joining {
                Joining::Refused(problem) => problem,
                Joining::Withdrawn => Problem::new(Code::Cancelled, "unsubscribed meanwhile"),
            })
        }
    });
    try_join_all(made).await?;
    let heartbeat = KeepAlive::new().interval(hub.shared.options.heartbeat);
    let stream = EventStream {
        hub,
        connected,
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

/// The body of a response. Being polled only as fast as the client reads, it needs no buffer but the
/// client's outbox.
struct EventStream {
    hub: Hub,
    connected: Connected,
    stage: Stage,
}

enum Stage {
    Greeting,
    Open,
    Over,
}

impl EventStream {
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
    fn event(&self, item: Item) -> Option<SseEvent> {
        match item {
            Item::Reply(_) => None,
            Item::Dropped {
                subscription,
                missed,
            } => {
                let topic = self.connected.client.topic_of(subscription)?;
                let data = gap_line(&topic, "buffer_full", Some(missed));
                Some(SseEvent::default().event("gap").data(data))
            }
            Item::Event { event, .. } => {
                let name = match event.kind {
                    RoomEventKind::Message => "message",
                    RoomEventKind::Gap => "gap",
                    RoomEventKind::Undecodable => "undecodable",
                };
                let sse = SseEvent::default().event(name).data(event.frame.as_str());
                Some(match event.id {
                    Some(id) => sse.id(id.to_string()),
                    None => sse,
                })
            }
        }
    }
}

impl Stream for EventStream {
    type Item = Result<SseEvent, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.stage {
            // Sent at once, so that the client knows that its subscriptions are made.
            Stage::Greeting => {
                this.stage = Stage::Open;
                let hello = SseEvent::default()
                    .retry(this.hub.comeback())
                    .comment("subscribed");
                return Poll::Ready(Some(Ok(hello)));
            }
            Stage::Open => {}
            Stage::Over => return Poll::Ready(None),
        }
        this.connected.client.wake_with(cx.waker());
        loop {
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
