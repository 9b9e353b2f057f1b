//! One connected WebSocket client.

use std::collections::HashMap;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use quorate::{ConnectionStatus, Event, Subscription};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::StreamNotifyClose;

use crate::frame::{ControlFrame, EventFrame, PROTOCOL, Request, read_request};
use crate::gateway::{Client, Gateway};
use crate::problem::{Code, Problem};
use crate::sse::{Subscriptions, subscribe};
use crate::topic::{Selector, TopicPath};

/// Events written before one flush: many messages share a write, and none waits long.
const BATCH: usize = 64;

/// Why a session ends.
enum End {
    /// The client left, or its connection broke.
    Gone,
    /// The client takes nothing.
    Slow,
    /// The server sends it away.
    Close {
        code: u16,
        reason: &'static str,
        metric: &'static str,
    },
}

type Step = Result<(), End>;

/// A subscription being made.
type Making = BoxFuture<'static, Result<Made, Aborted>>;

struct Made {
    name: String,
    id: Option<Value>,
    result: quorate::Result<Subscription<Bytes>>,
}

struct Session {
    gateway: Gateway,
    client: Client,
    socket: WebSocket,
    subscriptions: Subscriptions,
    making: FuturesUnordered<Making>,
    /// What `making` works on, and how to stop it.
    pending: HashMap<String, AbortHandle>,
    last_seen: Instant,
}

pub(super) async fn run(gateway: Gateway, client: Client, socket: WebSocket) {
    let mut session = Session {
        gateway,
        client,
        socket,
        subscriptions: Subscriptions::new(),
        making: FuturesUnordered::new(),
        pending: HashMap::new(),
        last_seen: Instant::now(),
    };
    // Boxed: tasks are made of it by the thousand, and it is polled in place.
    let end = match Box::pin(session.serve()).await {
        Ok(()) => return,
        Err(end) => end,
    };
    session.finish(end).await;
}

impl Session {
    async fn serve(&mut self) -> Step {
        let mut status = self.gateway.shared.fleet.status();
        let draining = self.gateway.shared.draining.clone();
        let mut beat = interval(self.gateway.shared.options.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        self.greet(&mut status).await?;
        loop {
            tokio::select! {
                () = draining.cancelled() => return Err(End::Close {
                    code: close_code::RESTART, reason: "restarting", metric: "drain",
                }),
                incoming = self.socket.recv() => self.received(incoming).await?,
                Some((name, event)) = self.subscriptions.next() => {
                    self.forward(name, event).await?;
                }
                Some(made) = self.making.next() => self.made(made).await?,
                Ok(()) = status.changed() => {
                    let status = status.borrow_and_update().clone();
                    self.control(&ControlFrame::state(&status)).await?;
                }
                _ = beat.tick() => self.beat().await?,
            }
        }
    }

    /// What the client may rely on, and the state it starts from.
    async fn greet(&mut self, status: &mut watch::Receiver<ConnectionStatus>) -> Step {
        let options = &self.gateway.shared.options;
        let hello = ControlFrame::Hello {
            event: "hello",
            protocol: PROTOCOL,
            heartbeat_ms: options.heartbeat.as_millis().try_into().unwrap_or(u64::MAX),
            max_subscriptions: options.max_subscriptions,
            max_frame_bytes: options.max_frame_bytes,
        };
        self.control(&hello).await?;
        let status = status.borrow_and_update().clone();
        self.control(&ControlFrame::state(&status)).await
    }

    async fn received(&mut self, incoming: Option<Result<Message, axum::Error>>) -> Step {
        self.last_seen = Instant::now();
        match incoming {
            None | Some(Ok(Message::Close(_))) => Err(End::Gone),
            Some(Err(error)) => {
                tracing::debug!(%error, "websocket");
                Err(End::Close {
                    code: close_code::PROTOCOL,
                    reason: "not a frame that can be read here",
                    metric: "protocol",
                })
            }
            Some(Ok(Message::Text(text))) => {
                if text.len() > self.gateway.shared.options.max_frame_bytes {
                    return Err(End::Close {
                        code: close_code::SIZE,
                        reason: "frame too large",
                        metric: "oversized",
                    });
                }
                let (id, request) = read_request(&text);
                match request {
                    Ok(request) => self.request(id, request).await,
                    Err(problem) => self.refuse(id.as_ref(), &problem).await,
                }
            }
            Some(Ok(Message::Binary(_))) => {
                let problem = Problem::new(Code::InvalidArgument, "frames must be text");
                self.refuse(None, &problem).await
            }
            // Pings are answered by the library below.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
        }
    }

    async fn request(&mut self, id: Option<Value>, request: Request) -> Step {
        match request {
            Request::Ping => self.control(&ControlFrame::Pong { pong: true }).await,
            Request::Subscribe { topic, params } => match select(&topic, params.as_ref()) {
                Ok(selector) => self.begin(id, selector).await,
                Err(problem) => self.refuse(id.as_ref(), &problem).await,
            },
            Request::Unsubscribe { topic, params } => match select(&topic, params.as_ref()) {
                Ok(selector) => self.leave(id.as_ref(), &selector.to_string()).await,
                Err(problem) => self.refuse(id.as_ref(), &problem).await,
            },
        }
    }

    /// Starts making a subscription. The answer comes when the backend has acknowledged it.
    async fn begin(&mut self, id: Option<Value>, selector: Selector) -> Step {
        let name = selector.to_string();
        if self.subscriptions.contains_key(&name) {
            return self.acknowledge(id.as_ref(), &name).await;
        }
        if self.pending.contains_key(&name) {
            let problem = Problem::new(
                Code::AlreadyExists,
                format!("`{name}` is being subscribed to already"),
            );
            return self.refuse(id.as_ref(), &problem).await;
        }
        let limit = self.gateway.shared.options.max_subscriptions;
        if self.subscriptions.len() + self.pending.len() >= limit {
            let problem = Problem::new(
                Code::ResourceExhausted,
                format!("a client may have at most {limit} subscriptions"),
            );
            return self.refuse(id.as_ref(), &problem).await;
        }
        let (abort, registration) = AbortHandle::new_pair();
        self.pending.insert(name.clone(), abort);
        let gateway = self.gateway.clone();
        let make = async move {
            let result = subscribe(&gateway, &selector).await;
            Made { name, id, result }
        };
        self.making.push(Abortable::new(make, registration).boxed());
        Ok(())
    }

    async fn made(&mut self, made: Result<Made, Aborted>) -> Step {
        // Unsubscribed before it was made: answered then.
        let Ok(Made { name, id, result }) = made else {
            return Ok(());
        };
        self.pending.remove(&name);
        match result {
            Ok(subscription) => {
                self.subscriptions
                    .insert(name.clone(), StreamNotifyClose::new(subscription));
                self.acknowledge(id.as_ref(), &name).await
            }
            Err(error) => self.refuse(id.as_ref(), &Problem::from(&error)).await,
        }
    }

    async fn leave(&mut self, id: Option<&Value>, name: &str) -> Step {
        let pending = self.pending.remove(name);
        if let Some(abort) = &pending {
            abort.abort();
        }
        if pending.is_some() || self.subscriptions.remove(name).is_some() {
            return self.acknowledge(id, name).await;
        }
        let problem = Problem::new(Code::NotFound, format!("`{name}` is not subscribed to"));
        self.refuse(id, &problem).await
    }

    /// Sends an event and whatever else is ready, in one write.
    async fn forward(&mut self, mut name: String, mut event: Option<Event<Bytes>>) -> Step {
        let mut sent = 0;
        loop {
            let Some(present) = event else {
                return Err(End::Close {
                    code: close_code::RESTART,
                    reason: "closed",
                    metric: "closed",
                });
            };
            if let Some(frame) = EventFrame::of(&name, &present) {
                self.write(frame.to_line(), false).await?;
                sent += 1;
            }
            if sent == BATCH {
                break;
            }
            match self.subscriptions.next().now_or_never().flatten() {
                Some(next) => (name, event) = next,
                None => break,
            }
        }
        self.flush().await?;
        self.client.sent(sent.try_into().unwrap_or(u64::MAX));
        Ok(())
    }

    async fn beat(&mut self) -> Step {
        if self.last_seen.elapsed() > self.gateway.shared.options.idle_timeout {
            return Err(End::Close {
                code: close_code::POLICY,
                reason: "no sign of life",
                metric: "idle",
            });
        }
        self.send(Message::Ping(Bytes::new()), true).await
    }

    async fn acknowledge(&mut self, id: Option<&Value>, topic: &str) -> Step {
        let ok = true;
        self.control(&ControlFrame::Ok { id, ok, topic }).await
    }

    async fn refuse(&mut self, id: Option<&Value>, problem: &Problem) -> Step {
        self.control(&ControlFrame::error(id, problem)).await
    }

    async fn control(&mut self, frame: &ControlFrame<'_>) -> Step {
        self.write(frame.to_text(), true).await
    }

    async fn write(&mut self, text: String, flush: bool) -> Step {
        self.send(Message::Text(Utf8Bytes::from(text)), flush).await
    }

    async fn flush(&mut self) -> Step {
        let limit = self.gateway.shared.options.send_timeout;
        settle(timeout(limit, self.socket.flush()).await)
    }

    async fn send(&mut self, message: Message, flush: bool) -> Step {
        let limit = self.gateway.shared.options.send_timeout;
        // While a slow client is waited for here, its messages wait in its subscriptions' buffers.
        settle(if flush {
            timeout(limit, self.socket.send(message)).await
        } else {
            timeout(limit, self.socket.feed(message)).await
        })
    }

    async fn finish(&mut self, end: End) {
        // Its subscriptions end before the farewell, which may take a while.
        self.subscriptions.clear();
        self.making.clear();
        match end {
            End::Gone => {}
            End::Slow => self.client.disconnected("slow"),
            End::Close {
                code,
                reason,
                metric,
            } => {
                self.client.disconnected(metric);
                let mut farewell = Ok(());
                if code == close_code::RESTART {
                    let comeback = self.gateway.comeback().as_millis();
                    farewell = self
                        .control(&ControlFrame::Closing {
                            event: "closing",
                            reason,
                            retry_after_ms: comeback.try_into().unwrap_or(u64::MAX),
                        })
                        .await;
                }
                if farewell.is_ok() {
                    let frame = CloseFrame {
                        code,
                        reason: Utf8Bytes::from_static(reason),
                    };
                    // Whether it arrives or not, this is the end.
                    let _ = self.send(Message::Close(Some(frame)), true).await;
                }
            }
        }
    }
}

/// A write that failed ends the session: the client is gone, or takes too long.
fn settle(written: Result<Result<(), axum::Error>, tokio::time::error::Elapsed>) -> Step {
    written.map_err(|_| End::Slow)?.map_err(|_| End::Gone)
}

fn select(topic: &str, params: Option<&Value>) -> Result<Selector, Problem> {
    let selector = match params {
        None => Selector::parse(topic),
        Some(params) => TopicPath::with_params(topic, params).map(Selector::Topic),
    };
    selector.map_err(|error| Problem::from(&error))
}
