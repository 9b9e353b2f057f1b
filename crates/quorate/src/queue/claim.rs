//! Jobs taken by hand.

use std::fmt;
use std::future::IntoFuture;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ask::{Ask, MOST_AT_ONCE, Renewed, Turn, WorkerId};
use super::ear::Hears;
use super::envelope::{self, Extras, Pauses};
use super::handle::Queue;
use super::job::{Delivered, JobId, LeaseNumber, MemberOf, Settled, Settlement};
use super::limits::QueueLimits;
use super::queues::{CLAIM, Queues, RENEW};
use super::work::{Delivery, Job, JobContext, JobHome, shorten, tell};
use crate::backoff::Backoff;
use crate::clock::after;
use crate::error::{Error, Result};
use crate::key::Key;

/// How long a claimed job is had, unless told otherwise.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// Who waits asks at least this often, in case a wake-up was lost.
const RECHECK: Backoff = Backoff {
    initial: Duration::from_secs(5),
    factor: 1.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// By which a claimed job is [renewed](Queue::renew), [noted of](Queue::note) and [settled](Queue::settle), from any instance: a text to hand to who works.
///
/// It names one delivery, and is worth nothing when its lease has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub(super) id: JobId,
    pub(super) lease: LeaseNumber,
    pub(super) attempt: u32,
    pub(super) keep: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) backoff: Option<Pauses>,
    /// The group that what it leaves belongs to, if that does not begin with the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) member_of: Option<MemberOf>,
}

impl Receipt {
    /// Which job.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Which delivery of it.
    #[must_use]
    pub const fn lease(&self) -> LeaseNumber {
        self.lease
    }

    /// The job group it belongs to; `None` if one begins with it when it leaves anything.
    #[must_use]
    pub const fn member_of(&self) -> Option<&MemberOf> {
        self.member_of.as_ref()
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Receipt {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok();
        let receipt = json.and_then(|json| serde_json::from_slice(&json).ok());
        receipt.ok_or_else(|| Error::invalid("receipt", "must be one that came with a job"))
    }
}

/// A job that was claimed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Claimed<I> {
    /// The job. Nothing tells it to stop: [`Queue::renew`] says when it ought to.
    pub job: Job<I>,
    /// By which it is renewed and settled.
    pub receipt: Receipt,
    /// How long this attempt may take, if that was said. Nobody sees to it but who claimed the job.
    pub timeout: Option<Duration>,
}

impl<I, O> Queue<I, O> {
    /// Takes up to so many jobs by hand, at most 1 000: for who is no [`Worker`](super::Worker), such as a program in another
    /// language. Renew each before its lease ends, and settle it.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::{Fleet, QueueSpec};
    /// use std::time::Duration;
    ///
    /// const SQUARES: QueueSpec<u64, u64> = QueueSpec::new("squares");
    ///
    /// let squares = Fleet::embedded().queue(&SQUARES);
    /// let job = squares.push(&7).await?;
    ///
    /// let minute = Duration::from_secs(60);
    /// for claimed in squares.claim(10).lease(minute).wait(Duration::from_secs(5)).await? {
    ///     let result = claimed.job.input * claimed.job.input;
    ///     squares.settle([(claimed.receipt, Ok(result))]).await?;
    /// }
    /// assert_eq!(job.result().await?, 49);
    /// # Ok(()) }
    /// ```
    pub fn claim(&self, most: usize) -> ClaimJobs<I, O> {
        ClaimJobs {
            queue: self.clone(),
            most,
            lease: LEASE,
            wait: Duration::ZERO,
            worker: rand::random(),
            limits: None,
        }
    }

    /// Lets claimed jobs last for `lease` from now, and says of each how it stands. At most 1 000.
    ///
    /// # Errors
    /// `InvalidInput` for a lease that is out of range, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the leases may or may not last longer.
    pub async fn renew(&self, receipts: &[Receipt], lease: Duration) -> Result<Vec<Renewed>> {
        let key = self.key(&RENEW)?;
        super::worker::check_lease(lease).map_err(|error| error.with_operation(RENEW.name))?;
        let held: Vec<_> = receipts.iter().map(|it| (it.id, it.lease)).collect();
        let time = self.shared.context.deadline.unwrap_or(Duration::MAX);
        self.shared.renew(key, &held, lease, time).await
    }

    /// The job as who claimed it gets it, or why it never will.
    fn claimed(&self, it: Delivered, home: &Arc<JobHome>) -> Result<Claimed<I>, Settled> {
        let (extras, input) =
            envelope::open(&it.input).unwrap_or_else(|| (Extras::default(), it.input.clone()));
        let input = self.spec.input.decode(&input).map_err(|error| Settled {
            id: it.id,
            lease: it.lease,
            settlement: Settlement::Dead(shorten(format!(
                "its input does not decode: {}",
                tell(&*error)
            ))),
        })?;
        let receipt = Receipt {
            id: it.id,
            lease: it.lease,
            attempt: it.attempt,
            keep: it.keep,
            backoff: extras.backoff,
            member_of: it.member_of.clone(),
        };
        let timeout = extras.timeout.or(self.spec.timeout);
        let delivery = Delivery::new(it, extras, CancellationToken::new(), home.clone());
        // A receipt says nothing of it: what is done with the job does.
        delivery.leaves.close();
        let context = JobContext(Arc::new(delivery));
        Ok(Claimed {
            job: Job::new(input, context),
            receipt,
            timeout,
        })
    }
}

/// Jobs about to be claimed: options, then `.await`.
///
/// # Errors
/// `InvalidInput` for an option that breaks its rule, and those of the backend.
///
/// # Cancel safety
/// When the future is dropped, jobs may have been claimed that nobody knows of: others get them when their leases end.
#[derive(Debug)]
#[must_use = "nothing is claimed without `.await`"]
pub struct ClaimJobs<I, O = ()> {
    queue: Queue<I, O>,
    most: usize,
    lease: Duration,
    wait: Duration,
    worker: WorkerId,
    limits: Option<QueueLimits>,
}

impl<I, O> ClaimJobs<I, O> {
    /// How long they are had without being renewed, from 100 ms to 12 hours. Default 30 s.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long to wait for one, if there is none. Default: not at all.
    pub const fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// How many jobs of the queue may be begun, over the whole fleet, instead of what its spec says: for who does not have that.
    pub const fn limits(mut self, limits: QueueLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    fn limits_now(&self) -> QueueLimits {
        self.limits.unwrap_or(self.queue.spec.limits)
    }

    async fn claim(self) -> Result<Vec<Claimed<I>>> {
        let named = |error: Error| error.with_operation(CLAIM.name);
        if self.most == 0 || self.most > MOST_AT_ONCE {
            let rule = format_args!("must be from 1 to {MOST_AT_ONCE}");
            return Err(named(Error::invalid("most", rule)));
        }
        super::worker::check_lease(self.lease).map_err(named)?;
        self.limits_now().check().map_err(named)?;
        let key = self.queue.key(&CLAIM)?;
        let turn = self.take(key).await?;
        let (mut claimed, mut refused) = (Vec::new(), Vec::new());
        let home = Arc::new(JobHome {
            queues: self.queue.shared.clone(),
            key: key.clone(),
        });
        for it in turn.delivered {
            match self.queue.claimed(it, &home) {
                Ok(job) => claimed.push(job),
                Err(dead) => refused.push(dead),
            }
        }
        if !refused.is_empty() {
            let shared = &self.queue.shared;
            let ask = Ask {
                settled: refused,
                ..ask(rand::random(), 1, 0, self.lease)
            };
            // The others are claimed all the same; these come again when their leases end.
            let asked = Instant::now();
            match shared.turn(key, &ask).await {
                Ok(turn) => shared.bring_behind(key, turn.effects, asked),
                Err(error) => shared.report(&error),
            }
        }
        Ok(claimed)
    }

    /// A turn that got something, or the last one.
    async fn take(&self, key: &Key) -> Result<Turn> {
        let shared = &self.queue.shared;
        let deadline = after(Instant::now(), self.wait);
        let (mut number, woken) = (1, Arc::new(Woken::default()));
        // Before it is asked: who is idle from then on is woken at once.
        let waits = self.wait > Duration::ZERO;
        let _listens = waits.then(|| shared.listen(key, self.worker, woken.clone()));
        // Who gets less than it wants counts as idle, and would be woken in vain.
        let gone = Gone {
            shared: shared.clone(),
            key: key.clone(),
            worker: self.worker,
            waits: true,
        };
        loop {
            let ask = Ask {
                limits: self.limits_now(),
                ..ask(self.worker, number, self.most, self.lease)
            };
            let asked = Instant::now();
            let mut turn = shared.turn(key, &ask).await?;
            shared.bring_behind(key, std::mem::take(&mut turn.effects), asked);
            if turn.delivered.len() == self.most {
                gone.never_mind();
                return Ok(turn);
            }
            if !turn.delivered.is_empty() || Instant::now() >= deadline {
                return Ok(turn);
            }
            let recheck = RECHECK.delay(1);
            let pause = turn.next.map_or(recheck, |next| next.min(recheck));
            let next = after(Instant::now(), pause + Duration::from_millis(1)).min(deadline);
            tokio::select! {
                () = woken.0.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                () = shared.context.closed().cancelled() => return Err(Error::closed("the fleet")),
            }
            number += 1;
        }
    }
}

impl<I, O> IntoFuture for ClaimJobs<I, O>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
{
    type Output = Result<Vec<Claimed<I>>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.claim())
    }
}

pub(super) const fn ask(worker: WorkerId, number: u64, want: usize, lease: Duration) -> Ask {
    Ask {
        worker,
        number,
        settled: Vec::new(),
        want,
        lease,
        takes_groups: false,
        limits: QueueLimits::NONE,
    }
}

/// Who waits for a job to claim.
#[derive(Default)]
struct Woken(Notify);

impl Hears for Woken {
    fn wake(&self) {
        self.0.notify_one();
    }

    fn cancelled(&self, _: JobId) {}

    fn missed(&self) {
        self.0.notify_one();
    }
}

/// Says that a claim waits no more, in the background.
#[must_use = "it says so when it is dropped"]
struct Gone {
    shared: Arc<Queues>,
    key: Key,
    worker: WorkerId,
    waits: bool,
}

impl Gone {
    /// Nobody thinks it waits.
    fn never_mind(mut self) {
        self.waits = false;
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        let (shared, key) = (self.shared.clone(), self.key.clone());
        // The greatest number there is: whatever is still on its way does nothing any more.
        let last = ask(self.worker, 1 << 53, 0, LEASE);
        self.shared.context.spawn(async move {
            let asked = Instant::now();
            match shared.turn(&key, &last).await {
                // Nobody else is handed them for a while.
                Ok(turn) => shared.bring_all(key, turn.effects, asked).await,
                Err(error) => shared.report(&error),
            }
        });
    }
}
