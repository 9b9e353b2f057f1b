//! The locks of a fleet.

use super::{Fleet, Home};
use crate::lock::{AllLocks, Election, Lock, LockKind, Locks, MultiLock, RwLock, Semaphore};

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

    /// The [`lock`](Self::lock)s of these names, to be held together or not at all; 1 to 64 different ones.
    #[must_use]
    pub fn multi_lock<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> MultiLock {
        let locks = names.into_iter().map(|name| self.lock(name.as_ref()));
        MultiLock::new(locks.collect())
    }

    /// The election called `name`: one leader at a time, whom everybody can see.
    #[must_use]
    pub fn election(&self, name: &str) -> Election {
        Election::new(self.lock_of(LockKind::Election, name))
    }

    /// All locks, whatever their kind: for who operates them.
    #[must_use]
    pub fn locks(&self) -> AllLocks {
        AllLocks::new(self.inner.locks.clone(), &self.namespace)
    }

    /// What its locks share.
    pub(crate) fn shared_locks(&self) -> &Locks {
        &self.inner.locks
    }

    /// Whether its home is in this process.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.inner.home, Home::Embedded(_))
    }

    fn lock_of(&self, kind: LockKind, name: &str) -> Lock {
        Lock::new(self.inner.locks.clone(), kind, &self.namespace, name)
    }
}
