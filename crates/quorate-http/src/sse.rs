//! Server-Sent Events.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{Stream, StreamExt};
use quorate::events::Overflow;
use quorate::{Event, Subscription};
use tokio_stream::{StreamMap, StreamNotifyClose};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::frame::EventFrame;
use crate::gateway::{Client, Gateway};
use crate::problem::{Code, Problem};
use crate::rejection::Rejection;
use crate::topic::Selector;

pub(crate) const TRANSPORT: &str = "sse";

/// The subscriptions of a client by what was subscribed to. They say when they end.
pub(crate) type Subscriptions = StreamMap<String, StreamNotifyClose<Subscription<Bytes>>>;

/// Makes one subscription of a client.
pub(crate) async fn subscribe(
    gateway: &Gateway,
    selector: &Selector,
) -> quorate::Result<Subscription<Bytes>> {
    let options = &gateway.shared.options;
    selector
        .subscribe(&gateway.shared.fleet)?
        .buffer(options.buffer)
        .buffer_bytes(options.buffer_bytes)
        .overflow(Overflow::DropOldest)
        .deadline(options.subscribe_deadline)
        .await
}

pub(crate) async fn respond(
    gateway: Gateway,
    selectors: Vec<Selector>,
) -> Result<Response, Rejection> {
    let limit = gateway.shared.options.max_subscriptions;
    if selectors.is_empty() || selectors.len() > limit {
        let rule = format!("topic must be given from 1 to {limit} times");
        return Err(Problem::new(Code::InvalidArgument, rule).into());
    }
    let client = gateway.admit(TRANSPORT)?;
    let made = try_join_all(
        selectors
            .iter()
            .map(|selector| subscribe(&gateway, selector)),
    )
    .await?;
    let mut subscriptions = Subscriptions::new();
    for (selector, subscription) in selectors.iter().zip(made) {
        subscriptions.insert(selector.to_string(), StreamNotifyClose::new(subscription));
    }
    let heartbeat = KeepAlive::new().interval(gateway.shared.options.heartbeat);
    let stream = EventStream {
        draining: Box::pin(gateway.shared.draining.clone().cancelled_owned()),
        gateway,
        client,
        subscriptions,
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

/// The body of a response. Being polled only as fast as the client reads, it needs no buffer but those
/// of the subscriptions.
struct EventStream {
    gateway: Gateway,
    client: Client,
    subscriptions: Subscriptions,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    stage: Stage,
}

enum Stage {
    Greeting,
    Open,
    Over,
}

impl EventStream {
    /// The last event: when to come back, different for each client.
    fn farewell(&mut self, reason: &'static str) -> SseEvent {
        self.stage = Stage::Over;
        self.subscriptions.clear();
        self.client.disconnected(reason);
        SseEvent::default()
            .retry(self.gateway.comeback())
            .comment(reason)
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
                    .retry(this.gateway.comeback())
                    .comment("subscribed");
                return Poll::Ready(Some(Ok(hello)));
            }
            Stage::Open => {}
            Stage::Over => return Poll::Ready(None),
        }
        if this.draining.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Ok(this.farewell("drain"))));
        }
        loop {
            match this.subscriptions.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some((subscription, Some(event)))) => {
                    if let Some(event) = sse_event(&subscription, &event) {
                        this.client.sent(1);
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                // A subscription only ends with its fleet.
                Poll::Ready(Some((_, None)) | None) => {
                    return Poll::Ready(Some(Ok(this.farewell("closed"))));
                }
            }
        }
    }
}

fn sse_event(subscription: &str, event: &Event<Bytes>) -> Option<SseEvent> {
    let frame = EventFrame::of(subscription, event)?;
    let mut sse = SseEvent::default()
        .event(frame.name())
        .data(frame.to_line());
    if let Some(id) = frame.id() {
        sse = sse.id(id);
    }
    Some(sse)
}
