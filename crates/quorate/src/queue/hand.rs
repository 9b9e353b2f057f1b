//! Workers of this process, which may begin a job where it is pushed: without a hop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ask::{Pushed, Started};
use super::job::{Delivered, LeaseNumber, NewJob};
use super::queues::{Queues, START};
use super::unique::UniqueScope;
use crate::clock::{Micros, whole_micros};
use crate::context::Attempt;
use crate::error::{Error, Result};
use crate::key::Key;

/// A worker that takes a job at once.
pub(super) trait Takes: Send + Sync {
    /// Keeps room for one job, if there is any, or may be as soon as the queue has answered.
    fn reserve(self: Arc<Self>) -> BoxFuture<'static, bool>;
    /// Gives that back.
    fn release(&self);
    /// How long it has a job without a sign of life, at first: should the answer be lost, others get it soon.
    fn first_lease(&self) -> Duration;
    /// Begins a job that was delivered, and asked for at that time.
    fn begin(self: Arc<Self>, it: Delivered, asked: Instant) -> BoxFuture<'static, ()>;
}

/// Room for one job, until it is dropped.
pub(super) struct Room(Arc<dyn Takes>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A worker that takes jobs at once, until this is dropped.
pub(super) struct TakesHere {
    queues: Arc<Queues>,
    key: Key,
    worker: Arc<dyn Takes>,
}

impl Drop for TakesHere {
    fn drop(&mut self) {
        let mut hands = self.queues.hands.lock();
        if let Some(workers) = hands.get_mut(&self.key) {
            workers.retain(|worker| !Arc::ptr_eq(worker, &self.worker));
            if workers.is_empty() {
                hands.remove(&self.key);
            }
        }
    }
}

impl Queues {
    /// Lets a worker take jobs of a queue at once.
    pub(super) fn take_here(self: &Arc<Self>, queue: &Key, worker: Arc<dyn Takes>) -> TakesHere {
        let mut hands = self.hands.lock();
        hands.entry(queue.clone()).or_default().push(worker.clone());
        TakesHere {
            queues: self.clone(),
            key: queue.clone(),
            worker,
        }
    }

    /// Room for a job in this process, if it may be begun at once.
    pub(super) async fn room_here(&self, queue: &Key, job: &NewJob) -> Option<Room> {
        let is_debounced = |scope| scope == UniqueScope::Debounce;
        let has_to_wait = job.unique.as_ref().is_some_and(|it| is_debounced(it.scope));
        if has_to_wait || whole_micros(job.delay) > 0 {
            return None;
        }
        let workers = self.hands.lock().get(queue)?.clone();
        for worker in workers {
            if worker.clone().reserve().await {
                return Some(Room(worker));
            }
        }
        None
    }

    /// Queues a job and begins it here. In a task of its own: who gives up meanwhile does not keep it from being begun.
    pub(super) async fn start_here(
        self: &Arc<Self>,
        queue: &Key,
        job: NewJob,
        room: Room,
    ) -> Result<Pushed> {
        let (told, pushed) = oneshot::channel();
        let (queues, key) = (self.clone(), queue.clone());
        self.context.spawn(async move {
            let asked = Instant::now();
            let started = queues.start(&key, &job, room.0.first_lease()).await;
            if let Ok(Started {
                at,
                lease: Some(lease),
                ..
            }) = started
            {
                let worker = room.0.clone();
                worker.begin(delivered(job, at, lease), asked).await;
            }
            drop(room);
            // Nobody waits for it if the future was dropped.
            let _ = told.send(started.map(|it| it.pushed));
        });
        pushed.await.map_err(|_| Error::closed("the fleet"))?
    }

    async fn start(&self, queue: &Key, job: &NewJob, lease: Duration) -> Result<Started> {
        let start = |attempt: Attempt| self.port.start(queue, job, lease, attempt.options());
        self.context.run(&START, queue.name(), None, start).await
    }
}

/// A new job as a worker gets it.
fn delivered(job: NewJob, queued: Micros, lease: LeaseNumber) -> Delivered {
    Delivered {
        id: job.id,
        lease,
        attempt: 1,
        attempts: job.attempts,
        queued,
        input: job.input,
        group: job.group,
        keep: job.keep,
        member_of: job.member_of,
        checkpoint: None,
    }
}
