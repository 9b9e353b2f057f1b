//! A handler that is called for each message.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use quorate::Position;
use quorate::events::HandlerResult;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::{ClientError, ClientResult};
use super::message::{ClientEvent, ClientGap, ClientMessage};
use super::roster::ClientPresence;
use super::subscription::{Inbox, SubscribeTo};
use crate::problem::Code;

/// Told of errors that no caller waits for.
pub(super) type ErrorHook = Arc<dyn Fn(&ClientError) + Send + Sync>;

/// A listener at work.
pub(super) type Listening = BoxFuture<'static, ()>;

/// Runs all listeners of a client until it is closed.
pub(super) async fn run(
    mut started: mpsc::UnboundedReceiver<Listening>,
    closing: CancellationToken,
) {
    let mut listening = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            Some(listener) = started.recv() => listening.push(listener),
            Some(()) = listening.next() => {}
        }
    }
}

/// A listener about to be started: optional arguments, then `.await`.
///
/// Resolves as [`SubscribeTo`] does, with the same errors. The handler is called for one message after
/// the other. It fails or panics for itself: that goes to
/// [`on_error`](super::HubClientBuilder::on_error), and the next message comes. All listeners of a client
/// share one task: a handler that computes for long, or blocks, delays the others.
#[must_use = "a listener is started by awaiting it"]
pub struct ListenTo<T, F> {
    subscribe: SubscribeTo<T>,
    handler: F,
    callbacks: Callbacks,
}

#[derive(Default)]
struct Callbacks {
    gap: Option<Box<dyn FnMut(ClientGap) + Send>>,
    presence: Option<Box<dyn FnMut(ClientPresence) + Send>>,
    ended: Option<Box<dyn FnOnce(ClientError) + Send>>,
}

impl<T, F> ListenTo<T, F> {
    pub(super) fn new(subscribe: SubscribeTo<T>, handler: F) -> Self {
        Self {
            subscribe,
            handler,
            callbacks: Callbacks::default(),
        }
    }

    /// Begins after this position; see [`SubscribeTo::after`].
    pub fn after(mut self, position: Position) -> Self {
        self.subscribe = self.subscribe.after(position);
        self
    }

    /// Begins with so many of the last messages; see [`SubscribeTo::recent`].
    pub fn recent(mut self, messages: NonZeroU32) -> Self {
        self.subscribe = self.subscribe.recent(messages);
        self
    }

    /// Messages to buffer while the handler is busy; see [`SubscribeTo::buffer`].
    pub fn buffer(mut self, messages: usize) -> Self {
        self.subscribe = self.subscribe.buffer(messages);
        self
    }

    /// Time until the listener is started. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.subscribe = self.subscribe.deadline(deadline);
        self
    }

    /// Called where messages are missing, in its place among the messages.
    pub fn on_gap(mut self, callback: impl FnMut(ClientGap) + Send + 'static) -> Self {
        self.callbacks.gap = Some(Box::new(callback));
        self
    }

    /// Called when it is known who is there, and when somebody comes or leaves.
    pub fn on_presence(mut self, callback: impl FnMut(ClientPresence) + Send + 'static) -> Self {
        self.subscribe = self.subscribe.members();
        self.callbacks.presence = Some(Box::new(callback));
        self
    }

    /// Called at most once, if the server ends the subscription.
    pub fn on_end(mut self, callback: impl FnOnce(ClientError) + Send + 'static) -> Self {
        self.callbacks.ended = Some(Box::new(callback));
        self
    }
}

impl<T, F, Fut, R> IntoFuture for ListenTo<T, F>
where
    T: Send + 'static,
    F: FnMut(ClientMessage<T>) -> Fut + Send + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: HandlerResult + 'static,
{
    type Output = ClientResult<ClientListener>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let client = self.subscribe.client().clone();
            let subscription = self.subscribe.await?;
            let stop = CancellationToken::new();
            let done = CancellationToken::new();
            let stopped = stop.clone();
            // Cancelled also if the listener never runs, so that `stop` never hangs.
            let finished = done.clone().drop_guard();
            let inbox = subscription.into_inbox();
            let errors = client.shared.on_error.clone();
            client.shared.listen(Box::pin(async move {
                let _finished = finished;
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = listen(inbox, self.handler, self.callbacks, errors) => {}
                }
            }))?;
            Ok(ClientListener {
                stop: stop.drop_guard(),
                done,
            })
        })
    }
}

impl<T, F> fmt::Debug for ListenTo<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenTo")
            .field("subscribe", &self.subscribe)
            .finish_non_exhaustive()
    }
}

/// Calls the handler for one message after the other.
async fn listen<T, F, Fut, R>(
    mut inbox: Inbox<T>,
    mut handler: F,
    mut callbacks: Callbacks,
    errors: Option<ErrorHook>,
) where
    F: FnMut(ClientMessage<T>) -> Fut,
    Fut: Future<Output = R>,
    R: HandlerResult,
{
    let failed = |error: ClientError| {
        tracing::warn!(%error, "a listener of the hub's client failed");
        if let Some(hook) = &errors {
            // A hook that panics harms nothing else.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(&error)));
        }
    };
    let panicked = || ClientError::new(Code::Internal, "a listener's callback panicked");
    while let Some(event) = poll_fn(|cx| inbox.poll(cx)).await {
        let called = match event {
            ClientEvent::Message(message) => {
                // The call itself may panic, before there is a future.
                let call = async { handler(message).await.into_result() };
                match AssertUnwindSafe(call).catch_unwind().await {
                    Ok(Ok(())) => {}
                    Ok(Err(source)) => {
                        let error = ClientError::new(Code::Internal, "a listener's handler failed");
                        failed(error.caused_by_any(source));
                    }
                    Err(_) => failed(ClientError::new(
                        Code::Internal,
                        "a listener's handler panicked",
                    )),
                }
                continue;
            }
            ClientEvent::Gap(gap) => callbacks
                .gap
                .as_mut()
                .map(|callback| catch_unwind(AssertUnwindSafe(|| callback(gap)))),
            ClientEvent::Presence(presence) => callbacks
                .presence
                .as_mut()
                .map(|callback| catch_unwind(AssertUnwindSafe(|| callback(presence)))),
            ClientEvent::Ended(error) => callbacks
                .ended
                .take()
                .map(|callback| catch_unwind(AssertUnwindSafe(|| callback(error)))),
            ClientEvent::Undecodable(undecodable) => {
                let message = format!("a message cannot be read: {}", undecodable.error);
                failed(ClientError::new(Code::Internal, message));
                None
            }
        };
        if let Some(Err(_)) = called {
            failed(panicked());
        }
    }
}

/// A running handler. Dropping it stops the handler at its next await point, and unsubscribes.
///
/// It does not keep the client alive.
#[must_use = "dropping a listener stops it"]
#[derive(Debug)]
pub struct ClientListener {
    stop: DropGuard,
    done: CancellationToken,
}

impl ClientListener {
    /// Stops the handler and waits until it has ended.
    ///
    /// A call under way is dropped at its next await point.
    ///
    /// # Cancel safety
    /// The handler stops even if the future is dropped.
    pub async fn stop(self) {
        drop(self.stop);
        self.done.cancelled().await;
    }

    /// Lets the handler run until the client is closed, or its last handle and subscription are dropped.
    pub fn detach(self) {
        let _ = self.stop.disarm();
    }
}
