//! A handler that is called for each message a group gives its consumer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::super::listener::{HandlerResult, Listener};
use super::super::message::{Event, Message};
use super::handle::{ConsumerGroup, LONGEST};
use super::stream::Consumer;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{ErrorSource, Hooks};

/// Before a message is handled again whose handler failed.
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    factor: 2.0,
    max: Duration::from_secs(300),
    jitter: 0.2,
};

/// A listener of a consumer group about to be started: optional arguments, then `.await`.
///
/// # Errors
/// Those of [`ConsumerGroup::join`], and `InvalidInput` if an option breaks its rule.
#[must_use = "a listener is started by awaiting it"]
pub struct GroupListen<T, F> {
    group: ConsumerGroup<T>,
    handler: F,
    concurrency: usize,
    backoff: Backoff,
}

impl<T: Send + Sync + 'static, F> GroupListen<T, F> {
    pub(super) fn new(group: ConsumerGroup<T>, handler: F) -> Self {
        Self {
            group,
            handler,
            concurrency: 1,
            backoff: BACKOFF,
        }
    }

    /// Messages handled at a time; at least 1. Default 1. They share one task: what computes for long is
    /// better moved to threads of its own.
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.concurrency = messages;
        self
    }

    /// How long a message waits whose handler failed, by its attempts; at most a day. Default: 1 s,
    /// doubled each time, up to 5 min.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

impl<T, F, Fut, R> IntoFuture for GroupListen<T, F>
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
            if self.concurrency == 0 {
                return Err(Error::invalid("concurrency", "must be at least 1")
                    .with_operation("events.join"));
            }
            let mut consumer = self.group.start(true).await?;
            let context = consumer.context().clone();
            let (stop, done) = (CancellationToken::new(), CancellationToken::new());
            let (stopped, finished) = (stop.clone(), done.clone());
            let (mut handler, runtime) = (self.handler, context.clone());
            context.spawn(async move {
                // Cancelled also when the loop panics, so that `stop` never hangs.
                let _finished = finished.drop_guard();
                let limits = (self.concurrency, self.backoff);
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = runtime.closed().cancelled() => {}
                    () = handle_all(&mut consumer, &mut handler, limits, &runtime.hooks) => {}
                }
                consumer.leave().await;
            });
            Ok(Listener::new(stop.drop_guard(), done))
        })
    }
}

/// Calls the handler for each message, several at a time, and settles each by its result.
async fn handle_all<T, F, Fut, R>(
    consumer: &mut Consumer<T>,
    handler: &mut F,
    (concurrency, backoff): (usize, Backoff),
    hooks: &Hooks,
) where
    T: Send + Sync + 'static,
    F: FnMut(Message<T>) -> Fut,
    Fut: Future<Output = R>,
    R: HandlerResult,
{
    let mut running = FuturesUnordered::new();
    let mut ended = false;
    loop {
        tokio::select! {
            Some((message, result)) = running.next(), if !running.is_empty() => {
                let settling = match result {
                    Ok(()) => consumer.acknowledge(&message),
                    Err(error) => {
                        hooks.error(ErrorSource::Listener, &error);
                        let pause = backoff.delay(message.attempt()).min(LONGEST);
                        consumer.retry(&message, pause)
                    }
                };
                // Under way already. A failure is reported to the hook, because nobody waits for it; the
                // message is handed out again then.
                drop(settling);
            }
            event = consumer.next(), if !ended && running.len() < concurrency => match event {
                Some(Event::Message(message)) => running.push(call(handler, message)),
                // Gaps are counted, undecodable messages reported, on the way here.
                Some(_) => {}
                None => ended = true,
            },
            else => return,
        }
    }
}

/// Begins one call of the handler.
fn call<T, F, Fut, R>(
    handler: &mut F,
    message: Message<T>,
) -> impl Future<Output = (Message<T>, Result<()>)> + use<T, F, Fut, R>
where
    F: FnMut(Message<T>) -> Fut,
    Fut: Future<Output = R>,
    R: HandlerResult,
{
    // The call itself may panic, before there is a future.
    let begun = catch_unwind(AssertUnwindSafe(|| handler(message.clone())));
    async move {
        let result = match begun {
            Ok(future) => AssertUnwindSafe(future).catch_unwind().await,
            Err(panic) => Err(panic),
        };
        let failure = |text: &str| {
            Error::new(ErrorKind::Backend)
                .with_operation("events.listen")
                .with_target(message.topic())
                .with_message(text)
        };
        let result = match result.map(HandlerResult::into_result) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(failure("the handler failed").with_source(source)),
            Err(_) => Err(failure("the handler panicked")),
        };
        (message, result)
    }
}

impl<T, F> fmt::Debug for GroupListen<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupListen")
            .field("group", &self.group)
            .field("concurrency", &self.concurrency)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}
