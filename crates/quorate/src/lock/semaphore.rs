//! So many permits, as users hold them.

use super::acquire::AcquireLock;
use super::handle::Lock;
use crate::error::Result;

/// So many permits over the whole fleet, taken one or several at a time.
///
/// Who waits is served in the order of asking, also when somebody behind would fit: a waiter for many permits is not
/// passed by those who want few. Instances that disagree on how many there are, as during a deployment, each go by their
/// own number.
///
/// Every acquisition has a [`FencingToken`](crate::FencingToken) of its own. It tells acquisitions apart and in order; a
/// resource that refuses all but the greatest would refuse those who share it.
///
/// For a limit per key (so many exports of each customer), see
/// [`ConcurrencyLimit`](crate::limit::ConcurrencyLimit), which has no queue.
///
/// # Clone
/// Clones are the same semaphore.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
///
/// let fleet = Fleet::embedded();
/// let exports = fleet.semaphore("exports", 3);
/// let two = exports.permits(2).try_acquire().await?.guard().expect("nobody has any");
/// assert_eq!(exports.available().await?, 1);
/// assert!(!exports.permits(2).try_acquire().await?.is_acquired());
/// two.release().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore {
    one: Lock,
}

impl Semaphore {
    pub(crate) fn new(lock: Lock, permits: u32) -> Self {
        Self {
            one: lock.of(1, permits),
        }
    }

    /// The semaphore's name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.one.name()
    }

    /// So many of its permits, to be acquired together: with all that a [`Lock`] can do.
    #[must_use]
    pub fn permits(&self, permits: u32) -> Lock {
        self.one.clone().of(permits, self.one.capacity)
    }

    /// Asks once for one permit, without waiting.
    pub fn try_acquire(&self) -> AcquireLock {
        self.one.try_acquire()
    }

    /// Waits until it is one's turn, and takes one permit.
    pub fn acquire(&self) -> AcquireLock {
        self.one.acquire()
    }

    /// How many permits nobody holds. Some of them may be meant for who waits for more.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn available(&self) -> Result<u32> {
        let holders = self.one.status().await?.holders;
        let held: u32 = holders.iter().map(|holder| holder.weight).sum();
        Ok(self.one.capacity.saturating_sub(held))
    }
}
