//! The locks of a fleet.

use super::Fleet;
use crate::lock::{Lock, LockKind, RwLock, Semaphore};

impl Fleet {
    /// The lock called `name`: one holder at a time.
    #[must_use]
    pub fn lock(&self, name: &str) -> Lock {
        self.lock_of(LockKind::Mutex, name)
    }

    /// The read/write lock called `name`: many readers or one writer. It is another than the [`lock`](Self::lock) of that
    /// name.
    #[must_use]
    pub fn rw_lock(&self, name: &str) -> RwLock {
        RwLock::new(self.lock_of(LockKind::ReadWrite, name))
    }

    /// The semaphore called `name`, with so many permits; from 1 to 1 000.
    #[must_use]
    pub fn semaphore(&self, name: &str, permits: u32) -> Semaphore {
        Semaphore::new(self.lock_of(LockKind::Semaphore, name), permits)
    }

    fn lock_of(&self, kind: LockKind, name: &str) -> Lock {
        Lock::new(self.inner.locks.clone(), kind, &self.namespace, name)
    }
}
