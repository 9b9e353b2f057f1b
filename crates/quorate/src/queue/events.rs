//! What happens in a queue as a stream, from whichever instance.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Wakers, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::handle::Queue;
use super::happened::{EventBatch, JobEvent};
use super::queues::{EVENTS, Queues};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Subscription, subscribe_channel};
use crate::key::Key;

/// How often a listener says that it is still there: often enough that one lost call or two make no gap.
const REFRESH: Duration = Duration::from_secs(3);

/// What is told of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueEvent {
    /// Something has become of a job.
    Job(JobEvent),
    /// Something else happened that was not heard here, or may have: how things are now is to be looked up.
    Missed,
}

/// What happens in a queue, in all instances. Made by [`Queue::events`].
///
/// It ends (`None`) when the fleet is closed, not because of the backend: what is lost meanwhile shows as [`QueueEvent::Missed`], at the
/// latest some seconds after events are told again. So does what is lost because nobody takes what is there: 1 024 steps are
/// kept, or 16 MiB. Dropping the stream lets go of its subscription.
///
/// # Ordering
/// What becomes of one job is told in the order in which it happened.
pub struct QueueEvents {
    name: String,
    batches: Subscription<Bytes>,
    /// Of the last batch that was read.
    last: u64,
    /// What came before this is not ours: it was told to others before this began.
    began: u64,
    ready: VecDeque<JobEvent>,
    told: Arc<Told>,
    _stop: DropGuard,
}

/// What the home says about what it told.
#[derive(Debug)]
struct Told {
    /// The number of the last batch when it was last asked but one: all up to this one ought to have been heard by now.
    before: AtomicU64,
    waker: AtomicWaker,
}

impl<I, O> Queue<I, O> {
    /// Listens to what happens in the queue from now on, in all instances: jobs that are queued, started, deferred and tried again, how
    /// they end, and groups that are over.
    ///
    /// For people who look on, for figures, for tests: each event is told at most once, and a loss is [told](QueueEvent::Missed). What has
    /// to be acted upon is waited for with [`result`](super::JobHandle::result), or done by jobs.
    ///
    /// While nobody listens it costs nothing. A listener costs the home a call in 3 s, and a message for each step in which anything
    /// happens.
    ///
    /// # Errors
    /// `Unsupported` if the backend does not tell, `InvalidInput` for a queue whose name breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::queue::{JobEventKind, QueueEvent};
    /// use quorate::{Fleet, QueueSpec};
    ///
    /// const MAILS: QueueSpec<String> = QueueSpec::new("mails");
    ///
    /// let mails = Fleet::embedded().queue(&MAILS);
    /// let mut events = mails.events().await?;
    /// let job = mails.push(&"hello".to_owned()).await?;
    /// match events.next().await {
    ///     Some(QueueEvent::Job(event)) => {
    ///         assert_eq!(event.id, job.id());
    ///         assert_eq!(event.kind, JobEventKind::Queued { due: None });
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn events(&self) -> Result<QueueEvents> {
        let (key, shared) = (self.key(&EVENTS)?, &self.shared);
        let named = |error: Error| error.with_operation(EVENTS.name).with_target(self.name());
        let channel = shared.port.told_on(key).ok_or_else(|| {
            let error = Error::new(ErrorKind::Unsupported);
            named(error.with_message("this backend does not tell what happens in queues"))
        })?;
        let subscription = subscribe_channel(&shared.hub, channel).await;
        let batches = subscription.map_err(named)?;
        // Behind the subscription: what is told from here on arrives.
        let number = shared.have_told(key).await?;
        let told = Arc::new(Told {
            before: AtomicU64::new(number),
            waker: AtomicWaker::new(),
        });
        let stop = CancellationToken::new();
        let keep = keep(shared.clone(), key.clone(), told.clone(), number);
        let stopped = stop.clone();
        shared.context.spawn(async move {
            stopped.run_until_cancelled(keep).await;
        });
        Ok(QueueEvents {
            name: self.name().to_owned(),
            batches,
            last: number,
            began: number,
            ready: VecDeque::new(),
            told,
            _stop: stop.drop_guard(),
        })
    }
}

/// Says again and again that somebody listens, until the fleet is closed.
async fn keep(queues: Arc<Queues>, key: Key, told: Arc<Told>, mut number: u64) {
    let closed = queues.context.closed().clone();
    while closed
        .run_until_cancelled(tokio::time::sleep(REFRESH))
        .await
        .is_some()
    {
        match queues.have_told(&key).await {
            Ok(now) => {
                told.before.store(number, Ordering::Release);
                told.waker.wake();
                number = now;
            }
            // What is not told because of this is missed, which the next number says.
            Err(error) => queues.report(&error),
        }
    }
}

impl QueueEvents {
    /// What happens next; `None`: the fleet is closed.
    ///
    /// # Cancel safety
    /// Yes: nothing is lost.
    pub async fn next(&mut self) -> Option<QueueEvent> {
        StreamExt::next(self).await
    }

    /// Takes a batch in. Returns whether anything is missing before it.
    fn read(&mut self, batch: &[u8]) -> bool {
        let Some(batch) = EventBatch::decode(batch) else {
            // Of a version that says it otherwise.
            return true;
        };
        if batch.number <= self.began {
            return false;
        }
        let is_next = batch.number == self.last + 1;
        self.last = batch.number;
        self.ready.extend(batch.events);
        !is_next
    }

    /// Whether there was something that ought to have been heard by now. All that has come was read.
    fn lacks(&mut self) -> bool {
        let before = self.told.before.load(Ordering::Acquire);
        let lacks = before > self.last;
        self.last = self.last.max(before);
        lacks
    }
}

impl Stream for QueueEvents {
    type Item = QueueEvent;

    fn poll_next(mut self: Pin<&mut Self>, wakers: &mut Wakers<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(QueueEvent::Job(event)));
            }
            match self.batches.poll_next_unpin(wakers) {
                Poll::Ready(Some(Event::Message(batch))) => {
                    if self.read(&batch) {
                        return Poll::Ready(Some(QueueEvent::Missed));
                    }
                }
                // The numbers say whether anything was lost. Of a home that was replaced they may be smaller.
                Poll::Ready(Some(_)) => self.began = 0,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    self.told.waker.register(wakers.waker());
                    if self.lacks() {
                        return Poll::Ready(Some(QueueEvent::Missed));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

impl fmt::Debug for QueueEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueEvents")
            .field("queue", &self.name)
            .finish_non_exhaustive()
    }
}
