//! How safe a write ought to be before it is answered, and how safe it was.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};

/// How long a write waits for replicas and disks unless it says otherwise.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How safe a write ought to be before it is answered.
///
/// A write without one is answered when its server has applied it in memory. With one, the answer waits
/// until so many replicas have it too, or until it is on disk, for at most [`within`](Self::within), and
/// says what was reached: what was not reached in time is not undone.
///
/// On Redis and Valkey this is `WAIT`, or `WAITAOF` (Redis 7.2) where it is about disks. Neither makes a
/// failover lossless: a replica without the write may still be promoted. In-process there are no replicas.
///
/// # Example
/// ```
/// use quorate::Durability;
/// use std::time::Duration;
///
/// let careful = Durability::replicas(1).fsync().within(Duration::from_millis(200));
/// # let _ = careful;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Durability {
    pub(crate) replicas: u32,
    pub(crate) fsync: bool,
    pub(crate) within: Duration,
}

/// How safe a write was when it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Reached {
    /// Replicas that have it; on disk, where that was asked for.
    pub replicas: u32,
    /// Whether it is on the disk of the server itself, or of the process where the home is a file. Known
    /// only where it was asked for.
    pub fsync: bool,
}

/// What a write came to, and how safe it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durable<T> {
    /// The write's own answer.
    pub value: T,
    /// How safe it was when it was answered: less than asked for if that was not reached in time.
    pub reached: Reached,
    /// What was asked for.
    pub asked: Durability,
}

impl Durability {
    /// In the memory of so many replicas.
    #[must_use]
    pub const fn replicas(count: u32) -> Self {
        Self {
            replicas: count,
            fsync: false,
            within: DEFAULT_WAIT,
        }
    }

    /// On the disk of the server, or of this process where the home is a file.
    #[must_use]
    pub const fn on_disk() -> Self {
        Self::replicas(0).fsync()
    }

    /// On disk as well: of the server, and of the replicas where there are any.
    #[must_use]
    pub const fn fsync(mut self) -> Self {
        self.fsync = true;
        self
    }

    /// How long to wait for it. Default 1 s.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.replicas == 0 && !self.fsync {
            let rule = "must ask for at least one replica, or for the disk";
            return Err(Error::invalid("durability", rule));
        }
        if !(Duration::from_millis(1)..=LONGEST_WAIT).contains(&self.within) {
            let rule = "must wait from 1 ms to 60 s";
            return Err(Error::invalid("durability", rule));
        }
        Ok(())
    }
}

impl Reached {
    /// On disk, or not, of a home that has no replicas.
    pub(crate) const fn alone(fsync: bool) -> Self {
        Self { replicas: 0, fsync }
    }

    /// Of a server.
    #[cfg(feature = "redis")]
    pub(crate) const fn server(replicas: u32, fsync: bool) -> Self {
        Self { replicas, fsync }
    }

    /// Whether it is all that was asked for.
    #[must_use]
    pub const fn satisfies(&self, asked: &Durability) -> bool {
        self.replicas >= asked.replicas && (self.fsync || !asked.fsync)
    }
}

impl<T> Durable<T> {
    /// Whether all that was asked for was reached in time.
    #[must_use]
    pub const fn is_reached(&self) -> bool {
        self.reached.satisfies(&self.asked)
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.replicas, self.fsync) {
            (0, _) => f.write_str("on disk"),
            (count, false) => write!(f, "in the memory of {count} replicas"),
            (count, true) => write!(f, "on disk here and on {count} replicas"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_less_than_asked_for_is_not_reached() {
        let asked = Durability::replicas(2).fsync();
        for (replicas, fsync, reached) in [
            (2, true, true),
            (3, true, true),
            (1, true, false),
            (2, false, false),
        ] {
            assert_eq!(Reached { replicas, fsync }.satisfies(&asked), reached);
        }
    }

    #[test]
    fn asking_for_nothing_or_for_ever_is_refused() {
        for durability in [
            Durability::replicas(0),
            Durability::on_disk().within(Duration::ZERO),
            Durability::on_disk().within(Duration::MAX),
        ] {
            assert!(durability.check().is_err(), "{durability:?}");
        }
    }
}
