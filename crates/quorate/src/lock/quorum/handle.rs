//! The locks of a quorum as users hold them.

use std::sync::Arc;
use std::time::Duration;

use super::rounds::QuorumPort;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::lock::{Lock, LockKind, Locks};

/// How many servers a quorum may have.
pub const MOST_SERVERS: usize = 9;

const DEFAULT_LONGEST: Duration = Duration::from_secs(60);
const LONGEST_OF_ALL: Duration = Duration::from_secs(30 * 24 * 3600);
const SHORTEST_OF_ALL: Duration = Duration::from_millis(10);

/// Locks that a majority of independent servers decides on, so that they outlive the loss of the others (Redlock).
///
/// Its locks are [`Lock`]s like those of a fleet, with the same guards, leases and fencing tokens, and these differences:
/// * Only mutexes, which are not re-entrant. Nobody queues: who waits asks again every 50 to 100 ms, and who gets it is
///   chance.
/// * An acquisition takes two rounds of questions to all servers, one for the votes and one that writes the token down.
/// * A [lease id](crate::lock::AcquireLock::lease_id) that is chosen beforehand is asked for by one process alone.
/// * No lease is longer than [`longest_lease`](Self::longest_lease), and a server that started less than that ago does
///   not vote: it may have forgotten whom it gave its vote to.
///
/// The first of the fleets lends its namespace, its retries, its hooks and its end: when that is closed, locks are given
/// back. Close it before the others.
///
/// # Clone
/// Clones are the same quorum.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, QuorumLocks};
/// use std::time::Duration;
///
/// // In production: a server each, on machines that do not fail together.
/// let servers = [Fleet::embedded(), Fleet::embedded(), Fleet::embedded()];
/// let quorum = QuorumLocks::over(servers)?.trust_new_servers(); // they are as new as this example
/// let lock = quorum.lock("nightly-report");
/// let guard = lock.try_acquire().lease(Duration::from_secs(10)).await?.guard().expect("nobody has it");
/// assert!(!lock.try_acquire().await?.is_acquired());
/// guard.release().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct QuorumLocks {
    servers: Vec<Fleet>,
    longest: Duration,
    trusting: bool,
    shared: Arc<Locks>,
}

impl QuorumLocks {
    /// The quorum of these servers, of which each is a home of its own: from 1 to [`MOST_SERVERS`], and better an odd
    /// number, for an even one tolerates the loss of no more than the odd one below it.
    ///
    /// Servers that fail over to replicas are none: a replica that was promoted does not know that it is behind.
    ///
    /// # Errors
    /// `InvalidInput` for none or too many, or if only some of them are in this process: what those know, no other process
    /// does. That two are the same server is seen, and said, when they vote.
    pub fn over(servers: impl IntoIterator<Item = Fleet>) -> Result<Self> {
        let servers: Vec<_> = servers.into_iter().collect();
        let Some(first) = servers.first() else {
            return Err(Error::invalid("servers", "must be at least 1"));
        };
        if servers.len() > MOST_SERVERS {
            let rule = format!("must be at most {MOST_SERVERS}");
            return Err(Error::invalid("servers", rule));
        }
        if servers
            .iter()
            .any(|it| it.is_embedded() != first.is_embedded())
        {
            let rule = "must all be servers, or all be in this process";
            return Err(Error::invalid("servers", rule));
        }
        let shared = shared(&servers, DEFAULT_LONGEST, false);
        Ok(Self {
            servers,
            longest: DEFAULT_LONGEST,
            trusting: false,
            shared,
        })
    }

    /// The longest that a lease of this quorum may be, and for how long a server that has started does not vote; from
    /// 10 ms to 30 days, and 1 min unless it is given. A server tells its age in seconds, and does not vote for one more.
    ///
    /// All who use a lock have to give the same. To make it longer, first give the longer one everywhere, and then take
    /// longer leases.
    ///
    /// # Errors
    /// `InvalidInput` for a length outside of that.
    pub fn longest_lease(mut self, longest: Duration) -> Result<Self> {
        if longest < SHORTEST_OF_ALL || longest > LONGEST_OF_ALL {
            let rule = "must be from 10 ms to 30 days";
            return Err(Error::invalid("longest_lease", rule));
        }
        self.longest = longest;
        self.shared = shared(&self.servers, longest, self.trusting);
        Ok(self)
    }

    /// Lets servers vote as soon as they are up.
    ///
    /// Only where nobody can hold a lock from before: for the first start of a deployment that cannot wait for the
    /// [longest lease](Self::longest_lease), and in tests. Otherwise a server that restarts and has forgotten its vote
    /// lets a second holder in.
    #[must_use]
    pub fn trust_new_servers(mut self) -> Self {
        self.trusting = true;
        self.shared = shared(&self.servers, self.longest, true);
        self
    }

    /// The lock called `name`. It has nothing to do with the locks of that name that the fleets have.
    #[must_use]
    pub fn lock(&self, name: &str) -> Lock {
        let namespace = self.servers[0].namespace();
        Lock::new(self.shared.clone(), LockKind::Mutex, namespace, name)
    }
}

fn shared(servers: &[Fleet], longest: Duration, trusting: bool) -> Arc<Locks> {
    let lender = servers[0].shared_locks();
    let ports = servers.iter().map(Fleet::vote_port).collect();
    let port = QuorumPort::new(ports, lender.context.clone(), longest, trusting);
    Arc::new(Locks {
        context: lender.context.clone(),
        port: Arc::new(port),
        hub: lender.hub.clone(),
        service: lender.service.clone(),
    })
}
