//! A handler that is called for each message.

use std::future::{Future, IntoFuture};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::mailbox::Overflow;
use super::message::{Event, Message};
use super::subscription::{Subscribe, Subscription};
use crate::codec::CodecError;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::ErrorSource;

/// What a handler may return: nothing, or a result.
pub trait HandlerResult: Send {
    /// The failure, if it is one.
    ///
    /// # Errors
    /// What the handler returned.
    fn into_result(self) -> std::result::Result<(), CodecError>;
}

impl HandlerResult for () {
    fn into_result(self) -> std::result::Result<(), CodecError> {
        Ok(())
    }
}

impl<E: Into<CodecError> + Send> HandlerResult for std::result::Result<(), E> {
    fn into_result(self) -> std::result::Result<(), CodecError> {
        self.map_err(Into::into)
    }
}

/// A listener about to be started: optional arguments, then `.await`.
#[must_use = "a listener is started by awaiting it"]
#[derive(Debug)]
pub struct Listen<T: Send + Sync + 'static, F> {
    subscribe: Subscribe<T>,
    handler: F,
}

impl<T: Send + Sync + 'static, F> Listen<T, F> {
    pub(crate) fn new(subscribe: Subscribe<T>, handler: F) -> Self {
        Self { subscribe, handler }
    }

    /// Messages to buffer while the handler is busy. Default 1 024.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.subscribe = self.subscribe.buffer(messages);
        self
    }

    /// What to do when the buffer is full. Default: drop the oldest.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.subscribe = self.subscribe.overflow(overflow);
        self
    }
}

impl<T, F, Fut, R> IntoFuture for Listen<T, F>
where
    T: Send + Sync + 'static,
    F: FnMut(Message<T>) -> Fut + Send + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: HandlerResult + 'static,
{
    type Output = Result<Listener>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let hub = self.subscribe.hub();
            let subscription = self.subscribe.await?;
            let stop = CancellationToken::new();
            let done = CancellationToken::new();
            let (stopped, finished) = (stop.clone(), done.clone());
            let context = hub.context.clone();
            hub.context.spawn(async move {
                // Cancelled also when the loop panics, so that `stop` never hangs.
                let _finished = finished.drop_guard();
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = context.closed().cancelled() => {}
                    () = listen(subscription, self.handler, &context.hooks) => {}
                }
            });
            Ok(Listener::new(stop.drop_guard(), done))
        })
    }
}

/// Calls the handler for one message after the other. Its failures are its own.
async fn listen<T, F, Fut, R>(
    mut subscription: Subscription<T>,
    mut handler: F,
    hooks: &crate::hooks::Hooks,
) where
    T: Send + Sync + 'static,
    F: FnMut(Message<T>) -> Fut,
    Fut: Future<Output = R>,
    R: HandlerResult,
{
    while let Some(event) = subscription.next().await {
        // Gaps are counted where they arise; undecodable messages were reported on the way here.
        let Event::Message(message) = event else {
            continue;
        };
        let topic = message.topic().to_owned();
        let failure = |message: String| {
            Error::new(ErrorKind::Backend)
                .with_operation("events.listen")
                .with_target(topic.clone())
                .with_message(message)
        };
        // The call itself may panic, before there is a future.
        let call = async { handler(message).await.into_result() };
        match AssertUnwindSafe(call).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(source)) => {
                let error = failure("the handler failed".to_owned()).with_source(source);
                hooks.error(ErrorSource::Listener, &error);
            }
            Err(_) => hooks.error(
                ErrorSource::Listener,
                &failure("the handler panicked".to_owned()),
            ),
        }
    }
}

/// A running handler. Dropping it stops the handler at its next await point.
#[must_use = "dropping a listener stops it"]
#[derive(Debug)]
pub struct Listener {
    stop: DropGuard,
    done: CancellationToken,
}

impl Listener {
    pub(super) const fn new(stop: DropGuard, done: CancellationToken) -> Self {
        Self { stop, done }
    }

    /// Stops the handler and waits until it has ended and its subscription is given up.
    ///
    /// A call under way is dropped at its next await point.
    ///
    /// # Cancel safety
    /// The handler stops even if the future is dropped.
    pub async fn stop(self) {
        drop(self.stop);
        self.done.cancelled().await;
    }

    /// Lets the handler run until the fleet is closed.
    pub fn detach(self) {
        let _ = self.stop.disarm();
    }
}
