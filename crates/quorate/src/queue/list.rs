//! The jobs of a place as a stream, page by page.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Wakers, Poll, ready};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use sync_wrapper::SyncWrapper;

use super::handle::Queue;
use super::queues::LIST;
use super::record::JobRecord;
use super::view::{JobPage, JobPlace};
use crate::context::Attempt;
use crate::error::Result;
use crate::scan::ScanCursor;

/// How many jobs are read at a time, unless told otherwise.
const LIMIT: usize = 100;

/// The jobs of a place of a queue, in its order. Made by [`Queue::list`].
///
/// What stays where it is from beginning to end comes once; what comes or goes meanwhile may be missing.
///
/// # Errors
/// Those of the backend. The stream goes on where it was when it is polled again.
///
/// # Cancel safety
/// It may be dropped at any time.
#[must_use = "nothing is read until the stream is polled"]
pub struct JobList<I, O = ()> {
    queue: Queue<I, O>,
    place: JobPlace,
    limit: usize,
    /// Where the next page begins.
    next: Option<ScanCursor>,
    is_last: bool,
    /// The page under way.
    reading: Option<SyncWrapper<BoxFuture<'static, Result<JobPage>>>>,
    ready: VecDeque<JobRecord<I, O>>,
}

/// Some of the jobs of a place.
#[derive(Debug)]
#[non_exhaustive]
pub struct JobRecords<I, O = ()> {
    /// They.
    pub jobs: Vec<JobRecord<I, O>>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

impl<I, O> JobList<I, O> {
    pub(super) fn new(queue: &Queue<I, O>, place: JobPlace) -> Self {
        Self {
            queue: queue.clone(),
            place,
            limit: LIMIT,
            next: None,
            is_last: false,
            reading: None,
            ready: VecDeque::new(),
        }
    }

    /// How many jobs a page has at most, from 1 to 1 000. Default 100. It has fewer where they are large.
    pub const fn limit(mut self, jobs: usize) -> Self {
        self.limit = jobs;
        self
    }

    /// Begins where another list of the same place stopped: its last page says where that is.
    pub fn after(mut self, page: ScanCursor) -> Self {
        self.next = Some(page);
        self
    }
}

impl<I: Send + Sync + 'static, O: Send + Sync + 'static> JobList<I, O> {
    /// The next page, for those who go on later or elsewhere; `None` after the last.
    ///
    /// # Errors
    /// Those of the stream, and `InvalidInput` for a limit that is out of range, or for another list's page.
    ///
    /// # Cancel safety
    /// Yes: nothing is left out, a page under way is taken up by the next call.
    pub async fn next_page(&mut self) -> Result<Option<JobRecords<I, O>>> {
        if self.ready.is_empty() && !poll_fn(|wakers| self.poll_page(wakers)).await? {
            return Ok(None);
        }
        Ok(Some(JobRecords {
            jobs: self.ready.drain(..).collect(),
            next: self.next.clone(),
        }))
    }

    /// Reads a page into `ready`; `false`: there is none any more.
    fn poll_page(&mut self, wakers: &mut Wakers<'_>) -> Poll<Result<bool>> {
        if self.is_last {
            return Poll::Ready(Ok(false));
        }
        let reading = self.reading.get_or_insert_with(|| {
            let read = read(
                self.queue.clone(),
                self.place,
                self.next.clone(),
                self.limit,
            );
            SyncWrapper::new(Box::pin(read))
        });
        let page = ready!(reading.get_mut().as_mut().poll(wakers));
        self.reading = None;
        let page = page?;
        (self.is_last, self.next) = (page.next.is_none(), page.next);
        let spec = &self.queue.spec;
        let records = page.jobs.into_iter().map(|view| JobRecord::new(view, spec));
        self.ready.extend(records);
        Poll::Ready(Ok(true))
    }
}

async fn read<I, O>(
    queue: Queue<I, O>,
    place: JobPlace,
    after: Option<ScanCursor>,
    limit: usize,
) -> Result<JobPage> {
    let (key, shared) = (queue.key(&LIST)?, &queue.shared);
    let list = |attempt: Attempt| {
        let (after, options) = (after.as_ref(), attempt.options());
        shared.port.list(key, place, after, limit, options)
    };
    shared.context.run(&LIST, key.name(), None, list).await
}

impl<I: Send + Sync + 'static, O: Send + Sync + 'static> Stream for JobList<I, O> {
    type Item = Result<JobRecord<I, O>>;

    fn poll_next(mut self: Pin<&mut Self>, wakers: &mut Wakers<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(job) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(job)));
            }
            if !ready!(self.poll_page(wakers))? {
                return Poll::Ready(None);
            }
        }
    }
}

impl<I, O> fmt::Debug for JobList<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobList")
            .field("queue", &self.queue)
            .field("place", &self.place)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
