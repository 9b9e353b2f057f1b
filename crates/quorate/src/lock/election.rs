//! One leader at a time, as candidates and observers see it.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::acquire::{Acquire, AcquireLock};
use super::ask::LockHolder;
use super::guard::LockGuard;
use super::handle::Lock;
use super::lease::FencingToken;
use super::observe::Observation;
use crate::error::Result;

/// Elects one leader at a time among those who campaign.
///
/// Leading is holding a lock that everybody can see. Its fencing token is the *term*: it grows from leader to leader, and
/// whoever takes orders from leaders refuses those of an earlier term.
///
/// # Clone
/// Clones are the same election.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
///
/// let fleet = Fleet::embedded();
/// let election = fleet.election("scheduler");
/// let leadership = election.campaign("host-3").await?.leadership().expect("it waits");
/// let leader = election.leader().await?.expect("there is one");
/// assert_eq!((&*leader.candidate, leader.term), ("host-3", leadership.term()));
/// tokio::select! {
///     () = schedule(leadership.term()) => {}
///     () = leadership.lost() => println!("another may lead by now"),
/// }
/// leadership.resign().await?;
/// # async fn schedule(_: quorate::FencingToken) {}
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    lock: Lock,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leader {
    /// Greater than that of every leader before.
    pub term: FencingToken,
    /// What the candidate called itself.
    pub candidate: String,
    /// How long it has led.
    pub leading_for: Duration,
    /// How long until its lease ends, unless that is extended.
    pub remaining: Duration,
}

impl From<LockHolder> for Leader {
    fn from(holder: LockHolder) -> Self {
        Self {
            term: holder.token,
            candidate: holder.owner,
            leading_for: holder.held_for,
            remaining: holder.remaining,
        }
    }
}

/// The result of a campaign.
#[derive(Debug)]
#[must_use = "a leader resigns when its leadership is dropped"]
#[non_exhaustive]
pub enum Elected {
    /// The candidate leads, for as long as this lives.
    Leading(Leadership),
    /// Another leads, and did for as long as the campaign went on.
    #[non_exhaustive]
    Following {
        /// How long until the leader's lease ends, unless that is extended.
        remaining: Duration,
    },
}

impl Elected {
    /// The leadership, if the campaign was won.
    #[must_use]
    pub fn leadership(self) -> Option<Leadership> {
        match self {
            Self::Leading(leadership) => Some(leadership),
            Self::Following { .. } => None,
        }
    }
}

impl Election {
    pub(crate) const fn new(lock: Lock) -> Self {
        Self { lock }
    }

    /// The election's name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.lock.name()
    }

    /// Stands for election, and waits to be elected; candidates are elected in the order in which they began. `candidate` is
    /// what it is called, for whoever observes: 1 to 128 bytes, without control characters.
    pub fn campaign(&self, candidate: &str) -> Campaign {
        Campaign {
            acquire: self.lock.acquire().owner(candidate),
        }
    }

    /// Who leads.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn leader(&self) -> Result<Option<Leader>> {
        Ok(self.lock.holder().await?.map(Leader::from))
    }

    /// Hears of every change of leaders: first who leads now, then each change.
    ///
    /// # Errors
    /// `InvalidInput` for a name that breaks its rule, and those of the subscription.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn observe(&self) -> Result<Observation> {
        Observation::begin(self.lock.clone()).await
    }

    /// The lock that a leader holds: to see who else is a candidate, or to depose the leader.
    #[must_use]
    pub const fn as_lock(&self) -> &Lock {
        &self.lock
    }
}

/// A campaign about to begin: optional arguments, then `.await`.
///
/// # Errors
/// Those of [`AcquireLock`]. "Another leads" is not an error but [`Elected::Following`].
///
/// # Cancel safety
/// When the future is dropped, the campaign is over: the candidate resigns in the background if it was elected.
#[must_use = "a campaign begins by awaiting"]
#[derive(Clone, Debug)]
pub struct Campaign {
    acquire: AcquireLock,
}

impl Campaign {
    /// How long the candidate leads without a sign of life, once elected; from 10 ms to 30 days. Default 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.acquire = self.acquire.lease(lease);
        self
    }

    /// How long to campaign at most. Default: until elected.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.acquire = self.acquire.wait(wait);
        self
    }
}

impl IntoFuture for Campaign {
    type Output = Result<Elected>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            Ok(match self.acquire.await? {
                Acquire::Acquired(guard) => Elected::Leading(Leadership { guard }),
                Acquire::Held { remaining } => Elected::Following { remaining },
            })
        })
    }
}

/// Leading. Dropping it resigns in the background.
///
/// The lease is renewed every third of its length until this is dropped or leadership is lost.
#[must_use = "dropping it resigns"]
#[derive(Debug)]
pub struct Leadership {
    guard: LockGuard,
}

impl Leadership {
    /// The term, which is the fencing token: it goes along with everything that a leader orders.
    #[must_use]
    pub fn term(&self) -> FencingToken {
        self.guard.token()
    }

    /// How much longer leadership can be assumed; see [`LockGuard::remaining`].
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.guard.remaining()
    }

    /// Whether leadership can no longer be assumed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    /// Resolves as soon as leadership can no longer be assumed.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn lost(&self) {
        self.guard.lost().await;
    }

    /// Resigns and returns when that is certain: the next candidate leads. `false`: leadership was lost before.
    ///
    /// # Errors
    /// Those of the backend. Leadership ends with its lease at the latest.
    ///
    /// # Cancel safety
    /// When the future is dropped, it resigns in the background.
    pub async fn resign(self) -> Result<bool> {
        self.guard.release().await
    }
}
