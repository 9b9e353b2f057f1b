//! Who listens to a queue, once for all in the process that wait for its news.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ask::WorkerId;
use super::job::{ById, JobId};
use super::news::News;
use super::queues::Queues;
use crate::backoff::Backoff;
use crate::events::{Channel, Event, Subscription, subscribe_channel};
use crate::key::Key;

/// An ear that nobody needs is kept for so long: who waits for one job after the other subscribes once.
const LINGER: Duration = Duration::from_secs(10);

/// Between attempts to subscribe. Who waits asks meanwhile.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(30),
    jitter: 0.5,
};

/// News that an ear may fall behind, before everybody asks instead.
const BEHIND: usize = 4_096;

/// A worker that hears.
pub(super) trait Hears: Send + Sync {
    /// There may be work.
    fn wake(&self);
    /// Whoever has this job ought to stop.
    fn cancelled(&self, id: JobId);
    /// Something was missed.
    fn missed(&self);
}

/// Whoever in this process waits for news of one queue.
#[derive(Default)]
pub(super) struct Ear {
    // A short lock: what is called under it sets flags and notifies.
    waiting: Mutex<Waiting>,
    /// Whether news arrive.
    hears: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    workers: HashMap<WorkerId, Arc<dyn Hears>>,
    jobs: ById<Vec<Waits>>,
}

/// One who waits for news of a job.
struct Waits {
    /// Told when there may be some.
    news: Arc<Notify>,
    /// Of what beside its end.
    of: Of,
}

/// What somebody wants to know of a job, beside its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Nothing,
    Progress,
    Messages,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.jobs.is_empty()
    }

    /// Tells those who want to know this of a job.
    fn tell(&self, id: JobId, of: Of) {
        let waiters = self.jobs.get(&id).into_iter().flatten();
        let waiters = waiters.filter(|waiter| waiter.of == of);
        waiters.for_each(|waiter| waiter.news.notify_one());
    }
}

/// One who waits for news of a job, until it is dropped.
pub(crate) struct JobWaiter {
    ear: Arc<Ear>,
    id: JobId,
    /// Told when there may be some: at the latest when the job is over.
    pub(crate) news: Arc<Notify>,
}

/// One worker that listens, until it is dropped.
pub(super) struct WorkerListens {
    ear: Arc<Ear>,
    worker: WorkerId,
}

impl Queues {
    /// Waits for the end of a job.
    pub(super) fn wait_for(self: &Arc<Self>, queue: &Key, id: JobId) -> JobWaiter {
        self.waiter(queue, id, Of::Nothing)
    }

    /// Waits for the end of a job, and for news of how far it is.
    pub(super) fn watch_over(self: &Arc<Self>, queue: &Key, id: JobId) -> JobWaiter {
        self.waiter(queue, id, Of::Progress)
    }

    /// Waits for messages for a job.
    pub(crate) fn hear_messages(self: &Arc<Self>, queue: &Key, id: JobId) -> JobWaiter {
        self.waiter(queue, id, Of::Messages)
    }

    fn waiter(self: &Arc<Self>, queue: &Key, id: JobId, of: Of) -> JobWaiter {
        let news = Arc::new(Notify::new());
        let waits = Waits {
            news: news.clone(),
            of,
        };
        let ear = self.ear(queue, |waiting| {
            waiting.jobs.entry(id).or_default().push(waits);
        });
        JobWaiter { ear, id, news }
    }

    /// Tells a worker what it ought to know.
    pub(super) fn listen(
        self: &Arc<Self>,
        queue: &Key,
        worker: WorkerId,
        hears: Arc<dyn Hears>,
    ) -> WorkerListens {
        let ear = self.ear(queue, |waiting| {
            waiting.workers.insert(worker, hears);
        });
        WorkerListens { ear, worker }
    }

    /// The ear of a queue, with one more that waits.
    fn ear(self: &Arc<Self>, queue: &Key, enter: impl FnOnce(&mut Waiting)) -> Arc<Ear> {
        let mut ears = self.ears.lock();
        let known = ears.get(queue).cloned();
        let ear = known.clone().unwrap_or_default();
        // Under both locks: an ear that nobody needs is taken out of `ears` under both.
        enter(&mut ear.waiting.lock());
        if known.is_none()
            && let Some(channel) = self.port.announced_on(queue)
        {
            let (queues, key, ear) = (self.clone(), queue.clone(), ear.clone());
            ears.insert(queue.clone(), ear.clone());
            let hear = async move { ear.hear(&queues, &key, channel).await };
            if !self.context.spawn(hear) {
                ears.remove(queue);
            }
        }
        ear
    }
}

impl Ear {
    /// Whether news arrive, so that asking is only for what may have been lost.
    pub(crate) fn hears(&self) -> bool {
        self.hears.load(Ordering::Acquire)
    }

    /// Listens until nobody needs it, or the fleet is closed.
    async fn hear(self: Arc<Self>, queues: &Arc<Queues>, key: &Key, channel: Channel) {
        let closed = queues.context.closed();
        let Some(Some(mut news)) = closed
            .run_until_cancelled(self.subscribe(queues, channel))
            .await
        else {
            return;
        };
        // What was announced before this is not heard.
        self.hears.store(true, Ordering::Release);
        self.missed();
        loop {
            match tokio::time::timeout(LINGER, news.next()).await {
                Ok(Some(Event::Message(message))) => self.heed(&message),
                Ok(Some(_)) => self.missed(),
                Ok(None) => break,
                Err(_) => {
                    let mut ears = queues.ears.lock();
                    if self.waiting.lock().is_empty() {
                        ears.remove(key);
                        return;
                    }
                }
            }
        }
        // The subscription was ended from outside: who waits asks, and who comes next listens anew.
        self.hears.store(false, Ordering::Release);
        queues.ears.lock().remove(key);
        self.missed();
    }

    /// Until it succeeds; `None` if nobody needs it before that.
    async fn subscribe(
        &self,
        queues: &Arc<Queues>,
        channel: Channel,
    ) -> Option<Subscription<Bytes>> {
        let mut failures = 0;
        loop {
            let subscribe = subscribe_channel(&queues.hub, channel.clone()).buffer(BEHIND);
            match subscribe.await {
                Ok(news) => return Some(news),
                Err(error) => {
                    failures += 1;
                    queues.report(&error);
                }
            }
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
    }

    fn heed(&self, message: &[u8]) {
        let news = std::str::from_utf8(message).ok().and_then(News::parse);
        let waiting = self.waiting.lock();
        match news {
            Some(News::Wake(worker)) => {
                if let Some(worker) = waiting.workers.get(&worker) {
                    worker.wake();
                }
            }
            // A group is called as its first job, which who waits for it may wait for as well.
            Some(News::Ended(id) | News::GroupEnded(id)) => {
                let waiters = waiting.jobs.get(&id).into_iter().flatten();
                waiters.for_each(|waiter| waiter.news.notify_one());
            }
            Some(News::Progress(id)) => waiting.tell(id, Of::Progress),
            Some(News::Message(id)) => waiting.tell(id, Of::Messages),
            Some(News::Cancelled(id)) => {
                let workers = waiting.workers.values();
                workers.for_each(|worker| worker.cancelled(id));
            }
            // Of a later version.
            _ => {}
        }
    }

    fn missed(&self) {
        let waiting = self.waiting.lock();
        waiting.workers.values().for_each(|worker| worker.missed());
        let waiters = waiting.jobs.values().flatten();
        waiters.for_each(|waiter| waiter.news.notify_one());
    }
}

impl JobWaiter {
    /// Whether the end is announced, so that asking is only for what may have been lost.
    pub(crate) fn hears(&self) -> bool {
        self.ear.hears()
    }
}

impl Drop for JobWaiter {
    fn drop(&mut self) {
        let mut waiting = self.ear.waiting.lock();
        if let Some(waiters) = waiting.jobs.get_mut(&self.id) {
            waiters.retain(|waiter| !Arc::ptr_eq(&waiter.news, &self.news));
            if waiters.is_empty() {
                waiting.jobs.remove(&self.id);
            }
        }
    }
}

impl Drop for WorkerListens {
    fn drop(&mut self) {
        self.ear.waiting.lock().workers.remove(&self.worker);
    }
}
