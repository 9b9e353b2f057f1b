//! Votes of a home in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ballot::{Ballot, Seat, Voted};
use super::port::VotePort;
use super::state::VoteState;
use crate::clock::{HomeClock, Micros};
use crate::embedded::{Disk, State, Table};
use crate::error::Result;
use crate::lock::{FencingToken, LeaseId, LockKey};
use crate::port::CallOptions;

impl State for VoteState {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        // Nobody ever asked: nothing to remember.
        Some(if *self == Self::default() {
            now
        } else {
            self.retained_until(now)
        })
    }

    fn expire(&mut self, _now: Micros) {
        // All of it at once.
    }
}

/// The votes of a home. They are not kept in a file: who holds a lock is gone with the process, a new one is silent for
/// long enough, and by the home's clock tokens go on growing.
#[derive(Debug)]
pub(crate) struct VoteTable {
    table: Table<VoteState>,
    clock: HomeClock,
    /// Tells this home from others, and from itself after another start.
    server: String,
}

impl VoteTable {
    pub(crate) fn new(clock: HomeClock) -> Self {
        Self {
            table: Table::new(clock.clone()),
            clock,
            server: format!("{:032x}", rand::random::<u128>()),
        }
    }
}

/// One instance's access to the votes of its home.
pub(crate) struct MemoryVotes {
    votes: Arc<VoteTable>,
    disk: Disk,
}

impl MemoryVotes {
    pub(crate) fn new(votes: Arc<VoteTable>, disk: Disk) -> Self {
        Self { votes, disk }
    }

    fn change<R>(
        &self,
        lock: &LockKey,
        apply: impl FnOnce(&mut VoteState, Micros) -> R,
    ) -> Result<R> {
        self.disk.check_open()?;
        Ok(self.votes.table.transition(lock.key(), apply))
    }
}

#[async_trait]
impl VotePort for MemoryVotes {
    async fn vote(&self, lock: &LockKey, ballot: &Ballot, _options: CallOptions) -> Result<Voted> {
        let up = self.votes.clock.up_for();
        let vote = self.change(lock, |state, now| state.vote(now, up, ballot))?;
        let server = self.votes.server.clone();
        Ok(Voted { server, vote })
    }

    async fn record(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        token: FencingToken,
        _options: CallOptions,
    ) -> Result<bool> {
        self.change(lock, |state, now| state.record(now, lease, number, token))
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        _options: CallOptions,
    ) -> Result<Option<FencingToken>> {
        self.change(lock, |state, now| state.extend(now, lease, length))
    }

    async fn withdraw(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        _options: CallOptions,
    ) -> Result<bool> {
        self.change(lock, |state, now| state.withdraw(now, lease, number))
    }

    async fn force(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        _options: CallOptions,
    ) -> Result<Option<FencingToken>> {
        self.change(lock, |state, now| state.force(now, token))
    }

    async fn look(&self, lock: &LockKey, _options: CallOptions) -> Result<Option<Seat>> {
        self.disk.check_open()?;
        let look = |state: &VoteState, clock: &HomeClock| state.look(clock.now());
        Ok(self.votes.table.look(lock.key(), look).flatten())
    }
}

impl fmt::Display for MemoryVotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process votes")
    }
}

impl fmt::Debug for MemoryVotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryVotes")
    }
}
