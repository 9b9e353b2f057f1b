//! A worker about to run.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::backlog::{Backlog, OnBacklog, check_after};
use super::super::group::GroupView;
use super::super::handle::Queue;
use super::super::job::JobId;
use super::super::limits::QueueLimits;
use super::super::queues::LOOK;
use super::super::work::{Job, JobError, JobHome};
use super::batch::{Gatherer, MAX_WAIT, SIZE};
use super::desk::{Desk, SharedDesk};
use super::execute;
use super::hand::Hand;
use super::heart::Heart;
use super::meters::Meters;
use super::shop::{Accept, Shop};
use super::status::WorkerStatus;
use super::taker::{Start, Taker};
use super::teller::Teller;
use crate::error::{Error, Result};

/// Jobs at a time, unless told otherwise.
const CONCURRENCY: usize = 10;
/// How long a job may be had without a sign of life, unless told otherwise.
const LEASE: Duration = Duration::from_secs(30);
/// How long jobs may go on when the worker stops, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a handler may go on that was told to stop, unless told otherwise.
const GRACE: Duration = Duration::from_secs(5);

/// A worker about to run: options, then [`run`](Self::run).
///
/// It takes jobs, as many as it has room for, and runs each in a task of its own. While a job runs its lease is renewed, so a
/// job may take as long as it likes; when the worker dies, others get its jobs when their leases end.
///
/// It is woken when there is work, and asks every few seconds beside that. It never ends because of an error: it goes on trying,
/// tells `on_error`, and its [`status`](Self::status) is `Degraded` meanwhile.
#[must_use = "a worker does nothing until it runs"]
pub struct Worker<I, O, H> {
    queue: Queue<I, O>,
    handler: H,
    accept: Option<Accept<I>>,
    concurrency: usize,
    limits: QueueLimits,
    lease: Duration,
    drain: Duration,
    grace: Duration,
    teller: Option<Teller>,
    backlog: Option<OnBacklog>,
    status: watch::Sender<WorkerStatus>,
}

/// A handler that is called for each job.
#[derive(Debug)]
pub struct Each<H>(H);

/// A handler that is called for many jobs together.
#[derive(Debug)]
pub struct Together<H> {
    handler: H,
    size: usize,
    max_wait: Duration,
}

impl<I, O, H> Worker<I, O, Each<H>> {
    pub(in super::super) fn each(queue: Queue<I, O>, handler: H) -> Self {
        Self::new(queue, Each(handler))
    }
}

impl<I, O, H> Worker<I, O, Together<H>> {
    pub(in super::super) fn together(queue: Queue<I, O>, handler: H) -> Self {
        let handler = Together {
            handler,
            size: SIZE,
            max_wait: MAX_WAIT,
        };
        let worker = Self::new(queue, handler);
        worker.concurrency(SIZE)
    }

    /// How many jobs are run together at most, from 1. Default 50. To run several batches at a time, let the
    /// [concurrency](Self::concurrency), which counts jobs, be a multiple of this.
    pub fn size(mut self, jobs: usize) -> Self {
        self.handler.size = jobs;
        self
    }

    /// How long the first job of a batch waits for others. Default 50 ms.
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.handler.max_wait = time;
        self
    }
}

impl<I, O, H> Worker<I, O, H> {
    fn new(queue: Queue<I, O>, handler: H) -> Self {
        let queue_limits = queue.spec.limits;
        Self {
            queue,
            handler,
            accept: None,
            concurrency: CONCURRENCY,
            limits: queue_limits,
            lease: LEASE,
            drain: DRAIN,
            grace: GRACE,
            teller: None,
            backlog: None,
            status: watch::Sender::new(WorkerStatus::Starting),
        }
    }

    /// How many jobs at a time, from 1 to 100 000. Default 10; of one whose handler takes many together, 50.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs;
        self
    }

    /// How many jobs of the queue may be begun, over the whole fleet, instead of what its [spec](super::super::QueueSpec::max_active)
    /// says: for limits that are known only at run time. All workers of a queue ought to say the same.
    pub fn limits(mut self, limits: QueueLimits) -> Self {
        self.limits = limits;
        self
    }

    /// After how long without a sign of life of this worker its jobs are given to others, from 100 ms to 12 hours. Default 30 s.
    /// It is renewed when a third is over; a job may take longer than this.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long what is running may go on when the worker is told to stop. After that handlers are told to
    /// [stop](super::super::JobContext::cancelled), and jobs that did not end are handed back, which costs no attempt. Default 30 s.
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// How long a handler that was told to stop may go on before it is dropped. Default 5 s.
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// Which jobs this instance takes: one that it declines goes to others, and that was no attempt. An instance that declines
    /// all it gets asks for others about once a second.
    pub fn accept(mut self, accept: impl Fn(&Job<I>) -> bool + Send + Sync + 'static) -> Self {
        self.accept = Some(Box::new(accept));
        self
    }

    /// Is called when a group that began in this queue is over and nobody waits for that: within seconds, by one worker at a time of those that
    /// ask for it, and again, by whichever, if it fails, or takes longer than a minute. So it may be called more than once for a group, and ought to
    /// do no harm then.
    ///
    /// Who asked for the end of the group within 10 s before it waits for it.
    pub fn on_group_ended<F>(
        mut self,
        tell: impl Fn(JobId, GroupView) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = std::result::Result<(), JobError>> + Send + 'static,
    {
        self.teller = Some(Teller::new(tell));
        self
    }

    /// Is called when a job has been ready for longer than `after`, from 1 s to a day, and nobody has it, and once more when the queue has caught up: to start
    /// more instances, to take less, to wake somebody up. See [`Queue::backlog`], which costs the same: four looks at the queue in
    /// `after`, at most one in a second.
    ///
    /// It is called by each worker that asks for it, while it runs.
    pub fn on_backlog(
        mut self,
        after: Duration,
        tell: impl Fn(Backlog) + Send + Sync + 'static,
    ) -> Self {
        let tell = Box::new(tell);
        self.backlog = Some(OnBacklog { after, tell });
        self
    }

    /// How it does, and a way to wait for the next change of that.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<WorkerStatus> {
        self.status.subscribe()
    }
}

impl<I, O, H, F> Worker<I, O, Each<H>>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
    H: Fn(Job<I>) -> F + Send + Sync + 'static,
    F: Future<Output = std::result::Result<O, JobError>> + Send + 'static,
{
    /// Works until `stop` fires or the fleet is closed, and returns when what it had has ended or is handed back.
    ///
    /// # Errors
    /// `InvalidInput` for an option that breaks its rule, and for a queue whose name does. Never because of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the worker stops in the background as if `stop` had fired.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let queues = self.queue.shared.clone();
        let start = |Each(handler): Each<H>, shop: Arc<Shop<I, O>>| -> Start {
            let handler = Arc::new(handler);
            Arc::new(move |it, stop| {
                let run = execute::one(shop.clone(), handler.clone(), it, stop);
                queues.context.spawn(run);
            })
        };
        self.launch(stop, start).await
    }
}

impl<I, O, H, F> Worker<I, O, Together<H>>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
    H: Fn(Vec<Job<I>>) -> F + Send + Sync + 'static,
    F: Future<Output = Vec<std::result::Result<O, JobError>>> + Send + 'static,
{
    /// As [`run`](Worker::run) of a worker that takes each job by itself.
    ///
    /// # Errors
    /// `InvalidInput` for an option that breaks its rule, and for a queue whose name does. Never because of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the worker stops in the background as if `stop` had fired.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        if self.handler.size == 0 || self.handler.size > self.concurrency {
            let rule = "must be at least 1, and no more than the concurrency";
            return Err(Error::invalid("size", rule));
        }
        let queues = self.queue.shared.clone();
        let start = |handler: Together<H>, shop: Arc<Shop<I, O>>| -> Start {
            let (begun, gathered) = tokio::sync::mpsc::unbounded_channel();
            let gatherer = Gatherer {
                queues: queues.clone(),
                shop: shop.clone(),
                handler: Arc::new(handler.handler),
                size: handler.size,
                max_wait: handler.max_wait,
            };
            queues.context.spawn(gatherer.run(gathered));
            Arc::new(move |it, stop| {
                if let Some(job) = shop.begin(it, stop) {
                    // The gatherer ends after the last that could send.
                    let _ = begun.send(job);
                }
            })
        };
        self.launch(stop, start).await
    }
}

impl<I, O, H> Worker<I, O, H> {
    async fn launch(
        self,
        stop: CancellationToken,
        start: impl FnOnce(H, Arc<Shop<I, O>>) -> Start,
    ) -> Result<()> {
        Taker::check(self.concurrency, self.lease)?;
        if let Some(it) = &self.backlog {
            check_after(it.after)?;
        }
        self.limits.check()?;
        let key = self.queue.key(&LOOK)?.clone();
        let queues = self.queue.shared.clone();
        queues.context.check_open()?;
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let (desk, worker): (SharedDesk, _) = (Arc::new(Desk::default()), rand::random());
        let listens = queues.listen(&key, worker, desk.clone());
        let shop = Shop {
            meters: Meters::new(self.queue.name()),
            spec: self.queue.spec,
            accept: self.accept,
            grace: self.grace,
            desk: desk.clone(),
            home: Arc::new(JobHome {
                queues: queues.clone(),
                key: key.clone(),
            }),
        };
        let heart = || Heart {
            queues: queues.clone(),
            key: key.clone(),
            desk: desk.clone(),
            lease: self.lease,
        };
        let hand = Arc::new(Hand {
            queues: queues.clone(),
            key: key.clone(),
            desk: desk.clone(),
            heart: heart(),
            start: start(self.handler, Arc::new(shop)),
            concurrency: self.concurrency,
            lease: self.lease,
            stop: stop.clone(),
        });
        // What may begin is decided where all that is active is known.
        let is_limited = self.limits != QueueLimits::NONE;
        let takes = (!is_limited).then(|| queues.take_here(&key, hand.clone()));
        let taker = Taker {
            queues: queues.clone(),
            key: key.clone(),
            desk: desk.clone(),
            hand,
            teller: self.teller,
            worker,
            concurrency: self.concurrency,
            lease: self.lease,
            limits: self.limits,
            drain: self.drain,
            grace: self.grace,
            stop,
            status: self.status,
            number: 0,
            look_at: Instant::now(),
            abstains: Instant::now(),
            declined: 0,
        };
        let (done, ended) = tokio::sync::oneshot::channel();
        let beat = heart();
        let backlog = {
            let (queues, key) = (queues.clone(), key.clone());
            async move {
                if let Some(it) = self.backlog {
                    it.run(queues, key).await;
                }
                // It ends with the fleet at the latest, of which the others know themselves.
                std::future::pending::<()>().await;
            }
        };
        // In a task of its own: when this future is dropped, what runs is still to be settled.
        queues.context.spawn(async move {
            let (_listens, _takes) = (listens, takes);
            tokio::select! {
                () = taker.run() => {}
                () = beat.run() => {}
                () = backlog => {}
            }
            // Nobody waits for it if the future was dropped.
            let _ = done.send(());
        });
        ended.await.map_err(|_| Error::closed("the worker"))
    }
}

impl<I, O, H> fmt::Debug for Worker<I, O, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("queue", &self.queue.name())
            .field("concurrency", &self.concurrency)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
