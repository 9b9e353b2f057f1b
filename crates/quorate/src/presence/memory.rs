//! Rosters in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::announcement::Announcement;
use super::member::InstanceId;
use super::port::{PresencePort, announcement};
use super::roster::{Cursor, Look, Page, Removal, RosterState, Standing};
use crate::clock::Micros;
use crate::embedded::{State, Table};
use crate::error::Result;
use crate::events::{Channel, EventsPort};
use crate::key::Key;
use crate::port::CallOptions;

impl State for RosterState {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        // Nobody was ever on it: nothing to remember.
        Some(if *self == Self::default() {
            now
        } else {
            self.kept_until()
        })
    }

    fn expire(&mut self, _now: Micros) {
        // All of it at once: of instances that are gone, those take care who are there.
    }
}

/// One instance's access to the rosters of its home.
pub(crate) struct MemoryPresence {
    table: Arc<Table<RosterState>>,
    events: Arc<dyn EventsPort>,
}

impl MemoryPresence {
    pub(crate) fn new(table: Arc<Table<RosterState>>, events: Arc<dyn EventsPort>) -> Self {
        Self { table, events }
    }

    /// One transition, and its announcement. Under the table's lock, so that announcements have the order
    /// of the versions; publishing neither blocks nor waits.
    fn transition(
        &self,
        key: &Key,
        options: CallOptions,
        apply: impl FnOnce(&mut RosterState, Micros) -> (Standing, Option<Announcement>),
    ) -> Standing {
        self.table.transition(key, |state, now| {
            let (standing, announced) = apply(state, now);
            if let Some(announced) = announced {
                self.events
                    .publish(&announcement(key), announced.encode(), options);
            }
            standing
        })
    }
}

#[async_trait]
impl PresencePort for MemoryPresence {
    async fn join(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        members: &[(String, Bytes)],
        options: CallOptions,
    ) -> Result<Standing> {
        Ok(self.transition(key, options, |state, now| {
            state.join(now, instance, lease, members)
        }))
    }

    async fn leave(
        &self,
        key: &Key,
        instance: InstanceId,
        ids: &[String],
        options: CallOptions,
    ) -> Result<Standing> {
        Ok(self.transition(key, options, |state, now| state.leave(now, instance, ids)))
    }

    async fn renew(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Standing> {
        Ok(self.transition(key, options, |state, now| {
            (state.renew(now, instance, lease), None)
        }))
    }

    async fn remove(
        &self,
        key: &Key,
        instance: InstanceId,
        removal: Removal,
        options: CallOptions,
    ) -> Result<Standing> {
        Ok(self.transition(key, options, |state, now| {
            state.remove(now, instance, removal)
        }))
    }

    async fn look(&self, key: &Key, _options: CallOptions) -> Result<Look> {
        Ok(self.table.transition(key, |state, now| state.look(now)))
    }

    async fn page(
        &self,
        key: &Key,
        instances: &[InstanceId],
        cursor: Option<&Cursor>,
        _options: CallOptions,
    ) -> Result<Page> {
        Ok(self
            .table
            .transition(key, |state, now| state.page(now, instances, cursor)))
    }

    fn announced_on(&self, key: &Key) -> Channel {
        announcement(key)
    }
}

impl fmt::Display for MemoryPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process presence")
    }
}

impl fmt::Debug for MemoryPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryPresence")
    }
}
