//! A consumer: a stream of what its group gives it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::handle::Topic;
use super::super::mailbox::Item;
use super::super::message::{Event, Message};
use super::super::raw::subscribe_raw;
use super::super::route::Reading;
use super::super::subscription::report_undecodable;
use super::calls::{Calls, SETTLE};
use super::desk::Desk;
use super::handle::LONGEST;
use super::settler::{Meters, Order, Settler, Settling};
use super::taker::Taker;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::{Settle, Settlement};
use crate::telemetry;

/// A consumer of a group: a stream of [`Event`]s that no other consumer of the group has at the time.
///
/// Whatever is handed out as a message is to be [acknowledged](Self::acknowledge) within the group's
/// visibility, or [given back](Self::retry), or [extended](Self::extend); otherwise it is given to a
/// consumer again. What the bounds of the topic dropped before it was acknowledged shows as
/// [`Event::Gap`] once. A message that cannot be read is handed out as [`Event::Undecodable`] and counts
/// as acknowledged: it would come back for ever.
///
/// The stream ends (`None`) when the group is deleted or the fleet is closed. Dropping it gives back, in
/// the background, what was not acknowledged; [`leave`](Self::leave) waits for that.
///
/// # Ordering
/// What was handed out before comes first, then what is new in the order it was published. With several
/// consumers, or after a retry, messages are handled out of order.
///
/// # Example
/// See [`ConsumerGroup`](super::ConsumerGroup).
pub struct Consumer<T: Send + Sync + 'static> {
    calls: Calls,
    desk: Arc<Desk<T>>,
    reading: Reading<T>,
    orders: mpsc::UnboundedSender<Order>,
    /// Tells the tasks when it is dropped.
    gone: DropGuard,
    /// The tasks have ended.
    done: CancellationToken,
    first: metrics::Counter,
    again: metrics::Counter,
}

impl<T: Send + Sync + 'static> Consumer<T> {
    /// Starts the tasks of a consumer.
    pub(super) async fn start(
        topic: &Topic<T>,
        calls: Calls,
        visibility: Duration,
        batch: u32,
        renews: bool,
    ) -> Result<Self> {
        let wakes = subscribe_raw(&calls.hub, topic.channel.clone()).await?;
        let desk = Arc::new(Desk::new(topic.name().into(), visibility, renews));
        let (orders, received) = mpsc::unbounded_channel();
        let (gone, taken, done) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let taker = Taker {
            calls: calls.clone(),
            desk: desk.clone(),
            wakes,
            visibility,
            batch,
            gone: gone.clone(),
        };
        let settler = Settler {
            calls: calls.clone(),
            desk: desk.clone(),
            orders: received,
            gone: gone.clone(),
            taken: taken.clone(),
            meters: Meters::new(),
        };
        let (taken, finished) = (taken.drop_guard(), done.clone().drop_guard());
        calls.hub.context.spawn(async move {
            let _taken = taken;
            taker.run().await;
        });
        calls.hub.context.spawn(async move {
            let _finished = finished;
            settler.run().await;
        });
        let deliveries = |attempt: &'static str| metrics::counter!(telemetry::GROUP_DELIVERIES, "attempt" => attempt);
        Ok(Self {
            calls,
            desk,
            reading: topic.reading(),
            orders,
            gone: gone.drop_guard(),
            done,
            first: deliveries("first"),
            again: deliveries("again"),
        })
    }

    /// The next event, or `None` at the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what was taken for it is handed out by the next call, or given
    /// back.
    pub async fn next(&mut self) -> Option<Event<T>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next message; gaps and messages that cannot be read are skipped (and still counted in the
    /// metrics).
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next_message(&mut self) -> Option<Message<T>> {
        loop {
            if let Some(message) = self.next().await?.message() {
                return Some(message);
            }
        }
    }

    /// The message is done: no consumer of the group gets it again. It is sent at once, with what else is
    /// to be settled; `false`: another consumer has had it since its lease ended.
    pub fn acknowledge(&self, message: &Message<T>) -> Settling {
        self.settle(message, Settle::Acknowledge)
    }

    /// Gives the message back, to be handed out again after a pause of up to a day, to whichever consumer
    /// asks.
    pub fn retry(&self, message: &Message<T>, after: Duration) -> Settling {
        self.settle(message, Settle::Retry(after))
    }

    /// Lets the lease of the message end `visibility` from now; from 10 ms to a day.
    pub fn extend(&self, message: &Message<T>, visibility: Duration) -> Settling {
        self.settle(message, Settle::Extend(visibility))
    }

    /// Ends the consumer, and returns when everything it did not acknowledge was given back.
    ///
    /// # Cancel safety
    /// When the future is dropped, that happens in the background.
    pub async fn leave(self) {
        let Self { gone, done, .. } = self;
        drop(gone);
        done.cancelled().await;
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.calls.hub.context
    }

    fn settle(&self, message: &Message<T>, settle: Settle) -> Settling {
        let refuse = |field, rule| {
            Settling::refused(
                Error::invalid(field, rule)
                    .with_operation(SETTLE.name)
                    .with_target(self.calls.target()),
            )
        };
        match settle {
            Settle::Retry(after) if after > LONGEST => {
                return refuse("after", "must be at most a day");
            }
            Settle::Extend(length) if !(Duration::from_millis(10)..=LONGEST).contains(&length) => {
                return refuse("visibility", "must be from 10 ms to a day");
            }
            _ => {}
        }
        let Some(delivered) = message.delivered() else {
            return refuse("message", "must come from a consumer group");
        };
        let (reply, settled) = oneshot::channel();
        self.order(delivered.settled(settle), Some(reply));
        Settling::under_way(settled)
    }

    fn order(&self, settlement: Settlement, reply: Option<oneshot::Sender<Result<bool>>>) {
        self.desk.settles(&settlement);
        // Where nobody takes orders any more, whoever waits for the reply is told so.
        let _ = self.orders.send(Order { settlement, reply });
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Event<T>>> {
        let Some(next) = ready!(self.desk.poll(cx)) else {
            return Poll::Ready(None);
        };
        let delivered = next.delivered;
        let report = |undecodable: &_| report_undecodable(&self.calls.hub, undecodable);
        let event = match next.item {
            Item::Message(shared) => {
                shared.open(&self.reading.codec, self.reading.validate, report)
            }
            Item::Undecodable(undecodable) => {
                report(&undecodable);
                Event::Undecodable(undecodable)
            }
            Item::Gap(gap) => {
                let reason = gap.reason.as_str();
                metrics::counter!(telemetry::GAPS, "reason" => reason).increment(1);
                Event::Gap(gap)
            }
            Item::Skipped(_) => unreachable!("a group has every message"),
        };
        match &event {
            Event::Message(_) if delivered.attempt == 1 => self.first.increment(1),
            Event::Message(_) => self.again.increment(1),
            // Shown, and there is nothing else to be done with it.
            _ => self.order(delivered.settled(Settle::Acknowledge), None),
        }
        Poll::Ready(Some(event))
    }
}

impl<T: Send + Sync + 'static> Stream for Consumer<T> {
    type Item = Event<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(cx)
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.calls.target())
            .finish_non_exhaustive()
    }
}
