//! Limits in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::policy::Rate;
use super::port::{LimitKey, LimitPort};
use super::slots::{Entered, Slots};
use super::usage::{Charge, Tallies, Verdict};
use crate::clock::Micros;
use crate::embedded::{Disk, State, Table};
use crate::error::Result;
use crate::lock::LeaseId;
use crate::port::CallOptions;

/// For how much longer than it counts a key is remembered: one that is asked for often is not made anew each time.
const LINGER: Duration = Duration::from_millis(100);

impl State for Tallies {
    fn forgotten_at(&self, _now: Micros) -> Option<Micros> {
        Some(self.needed_until().plus(LINGER))
    }

    fn expire(&mut self, _now: Micros) {
        // All of it at once.
    }
}

impl State for Slots {
    fn forgotten_at(&self, _now: Micros) -> Option<Micros> {
        Some(self.needed_until())
    }

    fn expire(&mut self, _now: Micros) {
        // All of it at once.
    }
}

/// One instance's access to the limits of its home.
pub(crate) struct MemoryLimits {
    table: Arc<Table<Tallies, Arc<str>>>,
    slots: Arc<Table<Slots, Arc<str>>>,
    disk: Disk,
}

impl MemoryLimits {
    pub(crate) fn new(
        table: Arc<Table<Tallies, Arc<str>>>,
        slots: Arc<Table<Slots, Arc<str>>>,
        disk: Disk,
    ) -> Self {
        Self { table, slots, disk }
    }

    fn slots<R>(&self, key: &LimitKey, apply: impl FnOnce(&mut Slots, Micros) -> R) -> Result<R> {
        self.disk.check_open()?;
        Ok(self.slots.transition(key.text(), apply))
    }

    fn transition<R>(
        &self,
        key: &LimitKey,
        apply: impl FnOnce(&mut Tallies, Micros) -> R,
    ) -> Result<R> {
        self.disk.check_open()?;
        Ok(self.table.transition(key.text(), apply))
    }
}

#[async_trait]
impl LimitPort for MemoryLimits {
    fn take_at_once(&self, key: &LimitKey, rates: &[Rate], charge: Charge) -> Option<Verdict> {
        let taken = self.transition(key, |tallies, now| tallies.take(now, rates, charge));
        taken.ok()
    }

    async fn take(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        charge: Charge,
        _options: CallOptions,
    ) -> Result<Verdict> {
        self.transition(key, |tallies, now| tallies.take(now, rates, charge))
    }

    async fn look(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        cost: u64,
        _options: CallOptions,
    ) -> Result<Verdict> {
        self.transition(key, |tallies, now| tallies.look(now, rates, cost))
    }

    async fn give_back(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        at: Micros,
        cost: u64,
        _options: CallOptions,
    ) -> Result<bool> {
        self.transition(key, |tallies, now| tallies.give_back(now, rates, at, cost))
    }

    async fn reset(&self, key: &LimitKey, rates: &[Rate], _options: CallOptions) -> Result<bool> {
        self.transition(key, |tallies, now| tallies.reset(now, rates))
    }

    async fn block(
        &self,
        key: &LimitKey,
        _rates: &[Rate],
        time: Duration,
        _options: CallOptions,
    ) -> Result<()> {
        self.transition(key, |tallies, now| tallies.block(now, time))
    }

    async fn enter(
        &self,
        key: &LimitKey,
        lease: LeaseId,
        most: u64,
        length: Duration,
        _options: CallOptions,
    ) -> Result<Entered> {
        self.slots(key, |slots, now| slots.enter(now, lease, most, length))
    }

    async fn stay(
        &self,
        key: &LimitKey,
        lease: LeaseId,
        length: Duration,
        _options: CallOptions,
    ) -> Result<bool> {
        self.slots(key, |slots, now| slots.stay(now, lease, length))
    }

    async fn leave(&self, key: &LimitKey, lease: LeaseId, _options: CallOptions) -> Result<bool> {
        self.slots(key, |slots, now| slots.leave(now, lease))
    }

    async fn taken(&self, key: &LimitKey, _options: CallOptions) -> Result<u64> {
        self.slots(key, |slots, now| slots.taken(now))
    }
}

impl fmt::Display for MemoryLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process limits")
    }
}

impl fmt::Debug for MemoryLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryLimits")
    }
}
