//! The part of a worker that begins jobs, whoever asked for them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::ask::Renewed;
use super::super::hand::Takes;
use super::super::job::{Delivered, Settlement};
use super::super::queues::Queues;
use super::desk::{Reserved, SharedDesk};
use super::heart::Heart;
use super::taker::Start;
use crate::clock::after;
use crate::key::Key;

/// How long a push waits at most until the worker knows how many of the jobs it has asked for come.
const ANSWER: Duration = Duration::from_secs(1);

pub(super) struct Hand {
    pub(super) queues: Arc<Queues>,
    pub(super) key: Key,
    pub(super) desk: SharedDesk,
    pub(super) heart: Heart,
    pub(super) start: Start,
    pub(super) concurrency: usize,
    pub(super) lease: Duration,
    pub(super) stop: CancellationToken,
}

impl Hand {
    /// Begins what was delivered for so long, and asked for at that time.
    pub(super) async fn begin_all(
        &self,
        delivered: Vec<Delivered>,
        asked: Instant,
        lease: Duration,
    ) {
        let (now, ends) = (Instant::now(), after(asked, lease));
        let is_fresh = asked + lease / 3 >= now;
        let enter = |it: &Delivered| self.desk.enter(it.id, it.lease, ends);
        let stops: Vec<_> = delivered.iter().map(enter).collect();
        if !is_fresh {
            self.make_sure(&delivered).await;
        }
        for (it, stop) in delivered.into_iter().zip(stops) {
            if stop.is_cancelled() {
                self.desk.leave(it.id, it.lease, None);
            } else {
                (self.start)(it, stop);
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.is_cancelled() || self.queues.context.closed().is_cancelled()
    }

    /// The answer took so long that these may not be ours any more: asks before they are begun.
    async fn make_sure(&self, delivered: &[Delivered]) {
        let held: Vec<_> = delivered.iter().map(|it| (it.id, it.lease)).collect();
        let asked = Instant::now();
        let renewed = self.queues.renew(&self.key, &held, self.lease, self.lease);
        let renewed = match renewed.await {
            Ok(renewed) => renewed,
            Err(error) => {
                self.queues.report(&error);
                vec![Renewed::Lost; held.len()]
            }
        };
        self.heart.heed(&held, &renewed, asked);
    }
}

/// What is pushed in this process may be begun in it.
impl Takes for Hand {
    fn reserve(self: Arc<Self>) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            // Before the look: what is answered after it is heard of.
            let mut answered = pin!(self.desk.answered.notified());
            answered.as_mut().enable();
            if self.is_stopping() {
                return false;
            }
            match self.desk.reserve(self.concurrency) {
                Reserved::Kept => true,
                Reserved::Full => false,
                Reserved::Asked => {
                    // Where no answer comes, the push has to wait for the same.
                    let _ = tokio::time::timeout(ANSWER, answered).await;
                    !self.is_stopping() && self.desk.reserve(self.concurrency) == Reserved::Kept
                }
            }
        })
    }

    fn release(&self) {
        self.desk.release();
    }

    fn first_lease(&self) -> Duration {
        // The next beat of the heart makes it last longer.
        self.lease / 3
    }

    fn begin(self: Arc<Self>, it: Delivered, asked: Instant) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if self.is_stopping() {
                // The worker stops: others get it, and that was no attempt.
                let settlement = Settlement::Deferred(Duration::ZERO);
                return self.desk.leave(it.id, it.lease, Some(settlement));
            }
            let lease = self.first_lease();
            self.begin_all(vec![it], asked, lease).await;
        })
    }
}
