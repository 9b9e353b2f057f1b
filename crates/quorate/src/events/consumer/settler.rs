//! The task that settles deliveries for one consumer: many in one call, in the order they were asked for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use metrics::Counter;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, SETTLE};
use super::desk::Desk;
use crate::error::{Error, Result};
use crate::history::{MAX_SETTLEMENTS, Settle, Settlement};
use crate::hooks::ErrorSource;
use crate::telemetry;

/// Something to be settled, and who is to be told.
pub(super) struct Order {
    pub(super) settlement: Settlement,
    pub(super) reply: Option<oneshot::Sender<Result<bool>>>,
}

pub(super) struct Settler<T> {
    pub(super) calls: Calls,
    pub(super) desk: Arc<Desk<T>>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    /// The consumer has gone.
    pub(super) gone: CancellationToken,
    /// The taker has ended: nothing more is taken.
    pub(super) taken: CancellationToken,
    pub(super) meters: Meters,
}

/// Handles looked up once.
#[derive(Debug)]
pub(super) struct Meters {
    acknowledged: Counter,
    extended: Counter,
    retried: Counter,
    returned: Counter,
    stale: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let counter = |result: &'static str| metrics::counter!(telemetry::GROUP_SETTLEMENTS, "result" => result);
        Self {
            acknowledged: counter("acknowledged"),
            extended: counter("extended"),
            retried: counter("retried"),
            returned: counter("returned"),
            stale: counter("stale"),
        }
    }

    fn count(&self, settle: Settle, done: bool) {
        let counter = match settle {
            _ if !done => &self.stale,
            Settle::Acknowledge => &self.acknowledged,
            Settle::Extend(_) => &self.extended,
            Settle::Retry(_) => &self.retried,
            Settle::Return => &self.returned,
        };
        counter.increment(1);
    }
}

impl<T: Send + Sync + 'static> Settler<T> {
    /// Settles until the consumer is gone or the fleet is closed, then gives back what is left.
    pub(super) async fn run(mut self) {
        let closed = self.calls.hub.context.closed().clone();
        let mut orders = Vec::new();
        loop {
            let care = self.desk.care_due();
            let due = async {
                match care {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.orders.recv_many(&mut orders, MAX_SETTLEMENTS) => {}
                () = due => {
                    let settlements = self.desk.care(Instant::now());
                    orders.extend(settlements.into_iter().map(Order::unasked));
                }
                () = self.desk.changed.notified() => {}
                () = self.gone.cancelled() => break,
                () = closed.cancelled() => break,
            }
            while !orders.is_empty() {
                let some = orders.drain(..orders.len().min(MAX_SETTLEMENTS)).collect();
                tokio::select! {
                    () = self.settle(some, false) => {}
                    () = self.calls.patience(&self.gone) => {}
                }
            }
        }
        self.finish(orders).await;
    }

    /// What was asked for is settled, and the rest given back, also when the fleet is closing.
    async fn finish(mut self, mut orders: Vec<Order>) {
        self.taken.cancelled().await;
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            orders.push(order);
        }
        let left = self.desk.clear();
        orders.extend(left.into_iter().map(Order::unasked));
        while !orders.is_empty() {
            let some = orders.drain(..orders.len().min(MAX_SETTLEMENTS)).collect();
            self.settle(some, true).await;
        }
    }

    async fn settle(&self, orders: Vec<Order>, last: bool) {
        let settlements: Vec<_> = orders.iter().map(|order| order.settlement).collect();
        let settled = if last {
            self.calls.settle_last(&settlements).await
        } else {
            self.calls.settle(&settlements).await
        };
        match settled {
            Ok(done) => {
                for (order, done) in orders.into_iter().zip(done) {
                    self.meters.count(order.settlement.settle, done);
                    if let Some(reply) = order.reply {
                        // Who does not wait for it does not want to know.
                        let _ = reply.send(Ok(done));
                    }
                }
                let back = |it: &Settlement| matches!(it.settle, Settle::Retry(_) | Settle::Return);
                if settlements.iter().any(back) {
                    self.desk.sooner.notify_one();
                }
            }
            Err(error) => self.failed(orders, error),
        }
    }

    fn failed(&self, orders: Vec<Order>, error: Error) {
        let error = Arc::new(error);
        let mut untold = false;
        for order in orders {
            untold |= match order.reply {
                Some(reply) => reply.send(Err(copy(&error))).is_err(),
                None => true,
            };
        }
        if untold {
            let hooks = &self.calls.hub.context.hooks;
            hooks.error(ErrorSource::Group, &error);
        }
    }
}

/// The same error for each of many.
fn copy(error: &Arc<Error>) -> Error {
    let mut copy = Error::new(error.kind())
        .with_outcome(error.outcome())
        .with_retryable(error.is_retryable());
    if let Some(operation) = error.operation() {
        copy = copy.with_operation(operation);
    }
    if let Some(target) = error.target() {
        copy = copy.with_target(target);
    }
    if let Some(code) = error.code() {
        copy = copy.with_code(code);
    }
    if let Some(message) = error.message() {
        copy = copy.with_message(message);
    }
    copy.with_source(error.clone())
}

impl Order {
    /// An order that nobody waits for.
    pub(super) const fn unasked(settlement: Settlement) -> Self {
        Self {
            settlement,
            reply: None,
        }
    }
}

/// A delivery on its way to be settled: awaiting it tells whether it was this consumer's to settle.
///
/// It is under way already, together with others that are settled at the same time. `false`: its lease
/// had ended, and another consumer has had the message since; nothing was changed.
///
/// # Errors
/// `InvalidInput` if the message did not come through a consumer group or a duration is out of range,
/// `Closed` if the fleet or the consumer is, and those of the home.
///
/// # Cancel safety
/// Dropping it changes nothing: the delivery is settled all the same.
#[must_use = "whether it was settled is known when this is awaited"]
pub struct Settling(State);

enum State {
    UnderWay(oneshot::Receiver<Result<bool>>),
    Refused(Option<Error>),
}

impl Settling {
    pub(super) const fn under_way(reply: oneshot::Receiver<Result<bool>>) -> Self {
        Self(State::UnderWay(reply))
    }

    pub(super) const fn refused(error: Error) -> Self {
        Self(State::Refused(Some(error)))
    }
}

impl Future for Settling {
    type Output = Result<bool>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = || Error::closed("the consumer").with_operation(SETTLE.name);
        Poll::Ready(match &mut self.0 {
            State::UnderWay(reply) => match ready!(Pin::new(reply).poll(cx)) {
                Ok(result) => result,
                Err(_) => Err(closed()),
            },
            State::Refused(error) => Err(error.take().unwrap_or_else(closed)),
        })
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settling")
    }
}
