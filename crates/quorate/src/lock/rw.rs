//! Many readers or one writer, as users hold it.

use super::handle::Lock;
use super::state::MOST_HOLDERS;

/// A lock that many read under at once, or one writes.
///
/// Both sides are [`Lock`]s, with all that those can do. They wait in one queue: a writer that waits holds back readers who
/// ask later, and readers hold back writers who ask later. At most 1 000 read at once; more of them wait.
///
/// The tokens of readers grow with those of writers, so that a writer has a greater one than all who read or wrote before
/// it. What is written is fenced by it; a reader's token says how old its view may be.
///
/// # Clone
/// Clones are the same lock.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
///
/// let fleet = Fleet::embedded();
/// let catalogue = fleet.rw_lock("catalogue");
/// let one = catalogue.read().try_acquire().await?.guard().expect("nobody writes");
/// let two = catalogue.read().try_acquire().await?.guard().expect("nobody writes");
/// assert!(!catalogue.write().try_acquire().await?.is_acquired());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RwLock {
    read: Lock,
    write: Lock,
}

impl RwLock {
    pub(crate) fn new(lock: Lock) -> Self {
        let most = u32::try_from(MOST_HOLDERS).unwrap_or(u32::MAX);
        Self {
            read: lock.clone().of(1, most),
            write: lock.of(most, most),
        }
    }

    /// The lock's name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.read.name()
    }

    /// The side of readers.
    #[must_use]
    pub const fn read(&self) -> &Lock {
        &self.read
    }

    /// The side of writers.
    #[must_use]
    pub const fn write(&self) -> &Lock {
        &self.write
    }
}
