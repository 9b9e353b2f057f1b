//! What lies between a consumer and its tasks: what was taken and not handed out yet, and what was handed
//! out and not settled yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::envelope;
use super::super::mailbox::Item;
use super::super::message::{Delivered, Gap};
use super::super::route::opened;
use crate::history::{Content, Handed, Position, Settle, Settlement, TakeId, Taken};

/// What was taken and not yet handed out.
pub(super) struct Ready<T> {
    pub(super) item: Item<T>,
    pub(super) delivered: Delivered,
}

pub(super) struct Desk<T> {
    state: Mutex<State<T>>,
    /// As messages show it.
    topic: Arc<str>,
    visibility: Duration,
    /// Whether what is being handled stays leased for as long as it takes.
    renews: bool,
    /// Wakes the taker: somebody waits.
    pub(super) demand: Notify,
    /// Wakes the taker while it is parked: something was given back.
    pub(super) sooner: Notify,
    /// Wakes the settler: what it has to look after has changed.
    pub(super) changed: Notify,
}

struct State<T> {
    ready: VecDeque<Ready<T>>,
    /// When what is ready has to be given back if nobody asks for it.
    ready_until: Instant,
    /// Handed out and not settled, with the time at which it needs care.
    handed: HashMap<(u64, TakeId), Instant>,
    waker: Option<Waker>,
    wanted: bool,
    ended: bool,
}

impl<T: Send + Sync + 'static> Desk<T> {
    pub(super) fn new(topic: Arc<str>, visibility: Duration, renews: bool) -> Self {
        let state = State {
            ready: VecDeque::new(),
            ready_until: Instant::now(),
            handed: HashMap::new(),
            waker: None,
            wanted: false,
            ended: false,
        };
        Self {
            state: Mutex::new(state),
            topic,
            visibility,
            renews,
            demand: Notify::new(),
            sooner: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// What comes next; `None` at the end.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Ready<T>>> {
        let mut state = self.state.lock();
        if let Some(ready) = state.ready.pop_front() {
            let (tag, until) = (ready.delivered.tag(), state.ready_until);
            // What is not a message is settled as soon as it is handed out.
            if matches!(ready.item, Item::Message(_)) {
                state.handed.insert(tag, self.care_at(until));
                if self.renews {
                    self.changed.notify_one();
                }
            }
            return Poll::Ready(Some(ready));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        state.wanted = true;
        self.demand.notify_one();
        Poll::Pending
    }

    /// When a delivery whose lease has half run at `half` needs care: it is extended then, or forgotten
    /// when the lease has ended.
    fn care_at(&self, half: Instant) -> Instant {
        if self.renews {
            half
        } else {
            half + self.visibility
        }
    }

    /// Whether somebody waits for more than there is.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        state.wanted && state.ready.is_empty()
    }

    /// Puts down what was taken by a request that began at `asked`. Says whether it was anything.
    pub(super) fn fill(&self, take: TakeId, taken: Taken, asked: Instant) -> bool {
        if taken.deliveries.is_empty() {
            return false;
        }
        let epoch = taken.epoch;
        let ready: Vec<_> = taken
            .deliveries
            .into_iter()
            .map(|handed| self.ready(epoch, take, handed))
            .collect();
        let mut state = self.state.lock();
        state.ready.extend(ready);
        state.ready_until = asked + self.visibility / 2;
        state.wanted = false;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.changed.notify_one();
        true
    }

    fn ready(&self, epoch: u64, take: TakeId, handed: Handed) -> Ready<T> {
        let delivered = Delivered {
            offset: handed.offset,
            attempt: handed.attempt,
            take,
        };
        let item = match handed.content {
            Content::Gone(missed) => {
                let position = Position::new(epoch, handed.offset, 0);
                Item::Gap(Gap::of_history(missed, position))
            }
            Content::Message(message) => {
                let prefix = envelope::prefix(&message);
                let place = Some((epoch, handed.offset));
                match opened::<T>(self.topic.clone(), &message, &prefix, place) {
                    Ok(mut shared) => {
                        shared.delivered = Some(delivered);
                        Item::Message(Arc::new(shared))
                    }
                    Err(undecodable) => Item::Undecodable(undecodable),
                }
            }
        };
        Ready { item, delivered }
    }

    /// Nothing more comes after what is ready.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes note of what becomes of a delivery.
    pub(super) fn settles(&self, settlement: &Settlement) {
        let tag = (settlement.offset, settlement.take);
        let mut state = self.state.lock();
        match settlement.settle {
            Settle::Extend(length) => {
                if let Some(care) = state.handed.get_mut(&tag) {
                    *care = self.care_at(Instant::now() + length / 2);
                }
            }
            Settle::Acknowledge | Settle::Retry(_) | Settle::Return => {
                state.handed.remove(&tag);
            }
        }
    }

    /// When something needs care.
    pub(super) fn care_due(&self) -> Option<Instant> {
        let state = self.state.lock();
        let ready = (!state.ready.is_empty()).then_some(state.ready_until);
        let handed = state.handed.values().min().copied();
        ready.into_iter().chain(handed).min()
    }

    /// What is to be settled because it is time: what nobody asked for is given back, and what is being
    /// handled is extended.
    pub(super) fn care(&self, now: Instant) -> Vec<Settlement> {
        let mut state = self.state.lock();
        let mut settlements = Vec::new();
        if state.ready_until <= now {
            let ready = state.ready.drain(..);
            settlements.extend(ready.map(|ready| ready.delivered.settled(Settle::Return)));
        }
        let (visibility, renews) = (self.visibility, self.renews);
        state.handed.retain(|(offset, take), care| {
            if *care > now {
                return true;
            }
            if renews {
                *care = now + visibility / 2;
                settlements.push(Settlement {
                    offset: *offset,
                    take: *take,
                    settle: Settle::Extend(visibility),
                });
            }
            // Without renewal its lease has ended, and whoever settles it is told so.
            renews
        });
        settlements
    }

    /// Everything there is, to be given back.
    pub(super) fn clear(&self) -> Vec<Settlement> {
        let mut state = self.state.lock();
        let ready = std::mem::take(&mut state.ready);
        let ready = ready
            .iter()
            .map(|ready| ready.delivered.settled(Settle::Return));
        let mut settlements: Vec<_> = ready.collect();
        settlements.extend(state.handed.drain().map(|((offset, take), _)| Settlement {
            offset,
            take,
            settle: Settle::Retry(Duration::ZERO),
        }));
        settlements
    }
}
