//! The push connection: keeps what the server has subscribed equal to what is wanted.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::board::Role;
use super::lane::Lane;
use super::shared::Shared;
use super::subscriptions::{Change, Key};
use crate::connection::{Session, Transport};
use crate::error::LinkError;
use crate::push::{PushReader, PushSink, guarded};

/// How long after a refusal a subscription that was promised is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Runs the connection until it ends.
pub(crate) async fn serve(
    lane: &Lane<'_>,
    session: Session<Transport>,
    described: &str,
) -> Option<LinkError> {
    let shared = lane.shared;
    // Without a sink nobody can have subscribed, and then this connection is not made.
    let sink = shared.sink.clone()?;
    let again = shared.board.connections(Role::Push) > 0;
    let trouble = if again {
        Some("subscribing again")
    } else {
        None
    };
    let epoch = shared.board.up(Role::Push, described, trouble);
    let driver = lane.driver(
        session,
        Some(Box::new(PushReader::new(Arc::clone(&sink), epoch))),
    );
    shared.queue(Role::Push).open();
    let ended = {
        let mut running = pin!(driver.run());
        let keeper = Keeper {
            shared,
            again,
            sink: &*sink,
            epoch,
        };
        let mut keeper = pin!(keeper.keep());
        // By hand, since the keeper never ends. What it queues wakes this same task again.
        poll_fn(|cx| {
            if let Poll::Ready(ended) = running.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            let Poll::Pending = keeper.as_mut().poll(cx);
            Poll::Pending
        })
        .await
    };
    shared.subscriptions.disconnected();
    let reason = ended
        .as_ref()
        .map_or_else(|| "reconnecting".to_owned(), ToString::to_string);
    if !shared.closing.is_cancelled() {
        guarded(|| sink.interrupted(epoch, &reason));
    }
    ended
}

struct Keeper<'a> {
    shared: &'a Shared,
    sink: &'a dyn PushSink,
    epoch: u64,
    /// There was a connection before this one, so that messages may have been missed.
    again: bool,
}

/// What came of something that was waited for.
enum Event {
    Subscribed(Key, u64, Result<(), LinkError>),
    Unsubscribed(oneshot::Sender<()>),
    TryAgain(Key, u64),
}

impl Keeper<'_> {
    /// Sends changes and collects their acknowledgements, for the life of one connection.
    async fn keep(&self) -> Infallible {
        let all = &self.shared.subscriptions;
        // What must be acknowledged before everything wanted is in force again.
        let mut missing: HashSet<(Key, u64)> = all.connected();
        let mut events: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
        let mut restored = !self.again;
        loop {
            if missing.is_empty() {
                self.shared.board.impaired(Role::Push, None);
                if !std::mem::replace(&mut restored, true) {
                    guarded(|| self.sink.restored(self.epoch));
                }
            }
            tokio::select! {
                // One after the other, and not beside each other: a subscription, its end and its
                // renewal must reach the server in this order.
                change = all.next_change() => {
                    let sent = self.send(change).await;
                    events.push(sent);
                }
                Some(event) = events.next() => match event {
                    Event::Unsubscribed(done) => {
                        let _ = done.send(()); // the caller may have stopped waiting
                    }
                    Event::Subscribed(key, id, Ok(())) => {
                        all.acknowledged(&key, id);
                        missing.remove(&(key, id));
                    }
                    Event::Subscribed(key, id, Err(error)) => {
                        if all.refused(&key, id, error.clone()) {
                            self.shared.board.impaired(Role::Push, Some(&refusal(&key, &error)));
                            missing.insert((key.clone(), id));
                            events.push(Box::pin(async move {
                                tokio::time::sleep(TRY_AGAIN).await;
                                Event::TryAgain(key, id)
                            }));
                        } else {
                            missing.remove(&(key, id));
                        }
                    }
                    Event::TryAgain(key, id) => {
                        if !all.again(&key, id) {
                            missing.remove(&(key, id)); // nobody wants it any more
                        }
                    }
                },
            }
        }
    }

    /// Queues one change, and returns what waits for its acknowledgement.
    async fn send(&self, change: Change) -> BoxFuture<'static, Event> {
        let (kind, name) = match &change {
            Change::Subscribe((kind, name), _) | Change::Unsubscribe((kind, name), _) => {
                (*kind, name.clone())
            }
        };
        let subscribing = matches!(change, Change::Subscribe(..));
        let verb = if subscribing {
            kind.subscribe_verb()
        } else {
            kind.unsubscribe_verb()
        };
        let deadline = Instant::now() + self.shared.config.command_timeout;
        let queue = self.shared.queue(Role::Push);
        let sent = queue
            .reserve(1, verb.len() + name.len(), deadline)
            .await
            .map(|permit| permit.enqueue_ack(verb, &name));
        Box::pin(async move {
            let answer = match sent {
                Ok(reply) => reply.await.map(drop),
                Err(error) => Err(error),
            };
            match change {
                Change::Subscribe(key, id) => Event::Subscribed(key, id, answer),
                // Whatever the answer: the name is forgotten, and not sent on a new connection.
                Change::Unsubscribe(_, done) => Event::Unsubscribed(done),
            }
        })
    }
}

fn refusal((kind, name): &Key, error: &LinkError) -> String {
    let name = name.escape_ascii();
    format!("{} of {name} was refused: {error}", kind.subscribe_verb())
}
