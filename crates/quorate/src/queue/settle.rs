//! What becomes of jobs that were claimed by hand.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::time::Instant;

use super::ask::Ask;
use super::claim::{LEASE, Receipt, ask};
use super::handle::Queue;
use super::job::{Settled, Settlement};
use super::leave::Leaves;
use super::queues::SETTLE;
use super::spec::QueueSpec;
use super::work::{JobError, JobHome, settlement_of};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::key::Key;

/// That a claimed job is done: its result, and what it [leaves](Leaves) to others. For [`Queue::settle`].
#[must_use = "a job is settled by `Queue::settle`"]
pub struct Done<O> {
    receipt: Receipt,
    result: O,
    leaves: Leaves,
}

/// What becomes of a claimed job: its receipt with what a handler would return, or what is [`Done`] with it.
#[derive(Debug)]
pub struct Settle<O>(How<O>);

#[derive(Debug)]
enum How<O> {
    Alone(Receipt, Result<O, JobError>),
    Leaving(Done<O>),
}

impl<O> Deref for Done<O> {
    type Target = Leaves;

    fn deref(&self) -> &Leaves {
        &self.leaves
    }
}

// Not derived: results need not be `Debug`.
impl<O> fmt::Debug for Done<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done")
            .field("receipt", &self.receipt)
            .field("leaves", &self.leaves)
            .finish_non_exhaustive()
    }
}

impl<O> From<(Receipt, Result<O, JobError>)> for Settle<O> {
    fn from((receipt, result): (Receipt, Result<O, JobError>)) -> Self {
        Self(How::Alone(receipt, result))
    }
}

impl<O> From<Done<O>> for Settle<O> {
    fn from(done: Done<O>) -> Self {
        Self(How::Leaving(done))
    }
}

impl<I, O> Queue<I, O> {
    /// Says that a claimed job is done, and what it leaves to others, as a handler does with its [`JobContext`](super::JobContext): it counts
    /// when it is [settled](Self::settle), together with that.
    ///
    /// # Errors
    /// `InvalidInput` if the queue has a name that breaks the rule.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use quorate::queue::Condition;
    /// use quorate::{Fleet, QueueSpec};
    ///
    /// const IMPORTS: QueueSpec<Vec<u32>> = QueueSpec::new("imports");
    /// const ROWS: QueueSpec<u32> = QueueSpec::new("rows");
    ///
    /// let fleet = Fleet::embedded();
    /// let (imports, rows) = (fleet.queue(&IMPORTS), fleet.queue(&ROWS));
    /// let group = imports.push(&vec![1, 2]).await?.group();
    ///
    /// for claimed in imports.claim(1).await? {
    ///     let done = imports.done(claimed.receipt, ())?;
    ///     for row in &claimed.job.input {
    ///         done.leave(&rows, row)?;
    ///     }
    ///     done.append_group_value("imported")?;
    ///     assert_eq!(imports.settle([done]).await?, [true]);
    /// }
    /// # let two = async { loop { if rows.stats().await.unwrap().ready == 2 { return; } tokio::task::yield_now().await } };
    /// # tokio::time::timeout(std::time::Duration::from_secs(5), two).await.expect("they are queued");
    /// for claimed in rows.claim(2).await? {
    ///     rows.settle([(claimed.receipt, Ok(()))]).await?;
    /// }
    /// assert_eq!(group.ended().await?.expect("it is kept for a while").succeeded, 3);
    /// # Ok(()) }
    /// ```
    pub fn done(&self, receipt: Receipt, result: O) -> Result<Done<O>> {
        let home = Arc::new(JobHome {
            queues: self.shared.clone(),
            key: self.key(&SETTLE)?.clone(),
        });
        Ok(Done {
            leaves: Leaves::new(home, receipt.id, receipt.member_of.clone()),
            receipt,
            result,
        })
    }

    /// Says what became of claimed jobs: of each its receipt with what a handler would return, or what is [`Done`]. `false`: the lease
    /// of that one had ended, and nothing was changed, nor is anything left. At most 1 000.
    ///
    /// # Errors
    /// `InvalidInput` for a result that is too large, `Encode` for one that cannot be encoded, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the jobs may or may not be settled.
    pub async fn settle(
        &self,
        settled: impl IntoIterator<Item = impl Into<Settle<O>>>,
    ) -> Result<Vec<bool>> {
        let key = self.key(&SETTLE)?;
        let named = |error: Error| error.with_operation(SETTLE.name).with_target(self.name());
        let settled = settled.into_iter();
        let settled = settled.map(|it| it.into().settled(key, &self.spec));
        let settled: Vec<_> = settled.collect::<Result<_>>().map_err(named)?;
        if settled.is_empty() {
            return Ok(Vec::new());
        }
        let ask = Ask {
            settled,
            ..ask(rand::random(), 1, 0, LEASE)
        };
        let asked = Instant::now();
        let turn = self.shared.turn(key, &ask).await?;
        self.shared.bring_behind(key, turn.effects, asked);
        Ok(turn.settled)
    }
}

impl<O> Settle<O> {
    fn settled<I>(self, queue: &Key, spec: &QueueSpec<I, O>) -> Result<Settled> {
        let (receipt, result, work) = match self.0 {
            How::Alone(receipt, result) => (receipt, result, None),
            How::Leaving(done) if done.leaves.is_of(queue) => {
                let work = done.leaves.close();
                (done.receipt, Ok(done.result), work)
            }
            How::Leaving(_) => {
                return Err(Error::invalid("receipt", "must be of a job of this queue"));
            }
        };
        let settlement = match result {
            Ok(value) => Settlement::Succeeded {
                result: spec.encode_result(&value)?,
                keep: receipt.keep,
                work,
            },
            Err(error) => {
                let backoff = receipt.backoff.map_or(spec.backoff, Backoff::from);
                settlement_of(error, || backoff.delay(receipt.attempt))
            }
        };
        Ok(Settled {
            id: receipt.id,
            lease: receipt.lease,
            settlement,
        })
    }
}
