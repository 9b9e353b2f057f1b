//! What is said of locks.

use std::time::Duration;

use jiff::Timestamp;
use quorate::LeaseId;
use quorate::lock::{LockHolder, LockStatus, LockWaiter};
use serde::Serialize;
use utoipa::ToSchema;

use crate::lock_kind::Kind;

/// Of several holders, as many are listed with the others.
const LISTED: usize = 10;

/// A lock that is held.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Held {
    /// The lock.
    name: String,
    /// What it is.
    kind: Kind,
    /// Extends and releases it. Whoever knows it can: keep it as you keep a token.
    lease_id: String,
    /// Grows with every acquisition: pass it to what the lock protects.
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<u64>,
    /// How much longer it is held for certain, in milliseconds from this answer.
    expires_in_ms: u64,
    /// When that is, by this server's clock.
    expires_at: String,
}

impl Held {
    pub(super) fn new(
        (kind, name): (Kind, String),
        lease_id: LeaseId,
        fencing_token: Option<u64>,
        left: Duration,
    ) -> Self {
        let ends = Timestamp::now() + left;
        Self {
            name,
            kind,
            lease_id: lease_id.to_string(),
            fencing_token,
            expires_in_ms: millis(left),
            expires_at: format!("{ends:.3}"),
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A lock as it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LockDocument {
    /// The lock.
    name: String,
    /// What it is.
    kind: Kind,
    /// Who holds it; nobody if there are none.
    holders: Vec<HolderDocument>,
    /// Who waits for it, in the order of their turns; the first 100.
    waiters: Vec<WaiterDocument>,
    /// How many wait: those who showed within 3 s that they do.
    waiting: u64,
}

/// Who holds a lock, without what it could be released by.
#[derive(Debug, Serialize, ToSchema)]
struct HolderDocument {
    /// The token of the acquisition.
    fencing_token: u64,
    /// Who it says it is.
    owner: String,
    /// How much of the lock it has: permits of a semaphore; of a read/write lock, 1 for a reader and 1000 for a writer.
    weight: u32,
    /// For how long, in milliseconds.
    held_for_ms: u64,
    /// How long until the lease ends unless it is extended, in milliseconds.
    remaining_ms: u64,
}

/// Who waits for a lock.
#[derive(Debug, Serialize, ToSchema)]
struct WaiterDocument {
    /// Who it says it is.
    owner: String,
    /// How much of the lock it wants.
    weight: u32,
    /// For how long, in milliseconds.
    waiting_for_ms: u64,
}

impl LockDocument {
    pub(super) fn new(kind: Kind, name: String, status: LockStatus) -> Self {
        Self {
            name,
            kind,
            holders: status.holders.into_iter().map(Into::into).collect(),
            waiters: status.waiters.into_iter().map(Into::into).collect(),
            waiting: status.waiting,
        }
    }
}

impl From<LockHolder> for HolderDocument {
    fn from(holder: LockHolder) -> Self {
        Self {
            fencing_token: holder.token.get(),
            owner: holder.owner,
            weight: holder.weight,
            held_for_ms: millis(holder.held_for),
            remaining_ms: millis(holder.remaining),
        }
    }
}

impl From<LockWaiter> for WaiterDocument {
    fn from(waiter: LockWaiter) -> Self {
        Self {
            owner: waiter.owner,
            weight: waiter.weight,
            waiting_for_ms: millis(waiter.waiting_for),
        }
    }
}

/// A lock among others.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedLock {
    /// The lock.
    pub(super) name: String,
    /// What it is.
    kind: Kind,
    /// Who holds it; the first 10.
    holders: Vec<HolderDocument>,
    /// How many hold it.
    holding: usize,
    /// How many wait for it.
    waiting: u64,
    /// How long the first of them has waited, in milliseconds; `null` if nobody waits.
    oldest_waiter_ms: Option<u64>,
}

impl ListedLock {
    pub(super) fn new(kind: Kind, name: String, status: LockStatus) -> Self {
        let holding = status.holders.len();
        let oldest = status.waiters.first();
        Self {
            name,
            kind,
            holding,
            waiting: status.waiting,
            oldest_waiter_ms: oldest.map(|waiter| millis(waiter.waiting_for)),
            holders: status
                .holders
                .into_iter()
                .take(LISTED)
                .map(Into::into)
                .collect(),
        }
    }

    /// Whether anybody has or wants it.
    pub(super) fn is_in_use(&self) -> bool {
        self.holding > 0 || self.waiting > 0
    }
}

/// Some of the locks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LockList {
    /// They, in the order of their names within the page.
    pub(super) locks: Vec<ListedLock>,
    /// Where the next page begins (`from`); `null` on the last. A lock may come on two pages.
    pub(super) next: Option<String>,
}

/// From whom a lock was taken away.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForcedDocument {
    /// Their tokens; none, if it was not held, or not by who was meant.
    pub(super) fencing_tokens: Vec<u64>,
}
