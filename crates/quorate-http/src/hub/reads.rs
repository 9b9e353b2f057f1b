//! Reads of a room's history: those that ask for the same are one, the others run side by side within
//! bounds, each has so much time, and failures make all of them slower.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::seam::{HistoryFrom, ReadLimit};
use crate::problem::{Code, Problem};

/// Reads of one room at once.
const OF_ROOM: usize = 4;

/// Reads of all rooms of a hub at once.
const OF_HUB: usize = 64;

/// What all rooms of a hub share.
#[derive(Clone, Debug)]
pub(super) struct ReadRules {
    /// A read goes on by itself: who waits for it may be one whose client takes nothing.
    tasks: TaskTracker,
    turns: Arc<Semaphore>,
    /// For one read, and for waiting for its turn.
    deadline: Duration,
    /// How much is read at once, unless told otherwise.
    pub(super) page: ReadLimit,
}

impl ReadRules {
    pub(super) fn new(tasks: TaskTracker, deadline: Duration, page: ReadLimit) -> Self {
        Self {
            tasks,
            turns: Arc::new(Semaphore::new(OF_HUB)),
            deadline,
            page,
        }
    }

    /// Reads under way, in all rooms.
    pub(super) fn under_way(&self) -> usize {
        OF_HUB - self.turns.available_permits()
    }
}

/// What is asked of a history. Who asks for the same gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) from: HistoryFrom,
    pub(super) limit: ReadLimit,
    /// Whether what is asked about is surely of the history as it is now.
    pub(super) proven: bool,
    /// How often the room was begun anew: an answer from before may be of another history.
    pub(super) resets: u64,
}

type Answering<T> = BoxFuture<'static, Result<T, Problem>>;

/// The reads of one room.
#[derive(Debug)]
pub(super) struct Reads<T> {
    pub(super) rules: ReadRules,
    turns: Semaphore,
    under_way: Mutex<Vec<(Question, WeakShared<Answering<T>>)>>,
    failing: Mutex<Failing>,
}

/// How often reads have failed in a row, and until when there are none.
#[derive(Debug, Default)]
struct Failing {
    times: u32,
    until: Option<Instant>,
}

impl<T: Clone + Send + Sync + 'static> Reads<T> {
    pub(super) fn new(rules: ReadRules) -> Arc<Self> {
        Arc::new(Self {
            rules,
            turns: Semaphore::new(OF_ROOM),
            under_way: Mutex::default(),
            failing: Mutex::default(),
        })
    }

    /// Asks, unless somebody is asking the same: `read` begins when it is its turn.
    ///
    /// # Errors
    /// What the read says, and `DEADLINE_EXCEEDED`.
    ///
    /// # Cancel safety
    /// When the future is dropped, others who wait for the same answer still get it; when nobody waits any
    /// more, nothing is read any more.
    pub(super) fn ask<F>(
        self: &Arc<Self>,
        question: Question,
        read: impl FnOnce() -> F + Send + 'static,
    ) -> Shared<Answering<T>>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        let (mut known, mut over) = (None, Vec::new());
        under_way.retain(|(other, answer)| {
            let answer = answer.upgrade();
            let goes_on = answer.as_ref().is_some_and(|it| it.peek().is_none());
            if goes_on && *other == question {
                known = answer;
            } else {
                over.push(answer);
            }
            goes_on
        });
        let answer = known.unwrap_or_else(|| {
            let reading = self.rules.tasks.spawn(self.clone().answer(read));
            let ended = |_| Problem::new(Code::Cancelled, "the server is shutting down");
            let answer = AbortOnDropHandle::new(reading)
                .map(move |read| read.map_err(ended).flatten())
                .boxed()
                .shared();
            let weak = answer.downgrade().expect("it was not polled yet");
            under_way.push((question, weak));
            answer
        });
        drop(under_way);
        // Perhaps the last to know them: not under the lock.
        drop(over);
        answer
    }

    async fn answer<F>(self: Arc<Self>, read: impl FnOnce() -> F) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send,
    {
        let until = Instant::now() + self.rules.deadline;
        let turn = timeout_at(until, self.turn()).await;
        let turn = turn.map_err(|_| self.late())?;
        let answer = timeout_at(until, read()).await;
        let answer = answer.unwrap_or_else(|_| Err(self.late()));
        self.note(&answer);
        drop(turn);
        answer
    }

    /// Waits until it may be asked. What waits here takes no place of another room's.
    async fn turn(&self) -> (SemaphorePermit<'_>, SemaphorePermit<'_>) {
        const NEVER_CLOSED: &str = "nobody closes it";
        let of_room = self.turns.acquire().await.expect(NEVER_CLOSED);
        loop {
            let until = self.failing.lock().until;
            match until.filter(|until| *until > Instant::now()) {
                Some(until) => sleep_until(until).await,
                None => break,
            }
        }
        let of_hub = self.rules.turns.acquire().await.expect(NEVER_CLOSED);
        (of_room, of_hub)
    }

    fn late(&self) -> Problem {
        let text = format!("reading took more than {:?}", self.rules.deadline);
        Problem::new(Code::DeadlineExceeded, text)
    }

    /// Keeps in mind what came of a read: while the home is away, nobody needs to be told by each.
    fn note(&self, answer: &Result<T, Problem>) {
        let mut failing = self.failing.lock();
        match answer {
            Ok(_) => *failing = Failing::default(),
            // What failed beside another says nothing new.
            Err(_) if failing.until.is_some_and(|until| until > Instant::now()) => {}
            Err(_) => {
                failing.times = failing.times.saturating_add(1);
                failing.until = Some(Instant::now() + pause(failing.times));
            }
        }
    }
}

/// Longer each time, up to five seconds, and different for each who waits.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(100 << failures.min(6)).min(Duration::from_secs(5));
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests;
