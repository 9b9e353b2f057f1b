//! Consumer groups in this process: they live in the history of their topic, so that each transition
//! sees both.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::super::log::{From, Log};
use super::{GroupPort, GroupStatus, Settlement, Take, TakeReply};
use crate::embedded::Table;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;

/// Consumer groups of one in-process home.
pub(crate) struct MemoryGroups {
    table: Arc<Table<Log>>,
}

impl MemoryGroups {
    pub(crate) fn new(table: Arc<Table<Log>>) -> Self {
        Self { table }
    }
}

#[async_trait]
impl GroupPort for MemoryGroups {
    async fn join(
        &self,
        topic: &Key,
        group: &str,
        from: From,
        _options: CallOptions,
    ) -> Result<bool> {
        let join = |log: &mut Log, now| log.join(now, group, from);
        Ok(self.table.transition(topic, join))
    }

    async fn take(
        &self,
        topic: &Key,
        group: &str,
        take: Take,
        _options: CallOptions,
    ) -> Result<TakeReply> {
        let taken = |log: &mut Log, now| log.take(now, group, &take);
        Ok(self.table.transition(topic, taken))
    }

    async fn settle(
        &self,
        topic: &Key,
        group: &str,
        settlements: &[Settlement],
        again: bool,
        _options: CallOptions,
    ) -> Result<Vec<bool>> {
        let settle = |log: &mut Log, now| log.settle(now, group, settlements, again);
        Ok(self.table.transition(topic, settle))
    }

    async fn status(
        &self,
        topic: &Key,
        group: &str,
        _options: CallOptions,
    ) -> Result<Option<GroupStatus>> {
        let status = |log: &mut Log, _| log.group_status(group);
        Ok(self.table.transition(topic, status))
    }

    async fn delete(&self, topic: &Key, group: &str, _options: CallOptions) -> Result<bool> {
        let delete = |log: &mut Log, now| log.delete_group(now, group);
        Ok(self.table.transition(topic, delete))
    }
}

impl fmt::Display for MemoryGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process consumer groups")
    }
}

impl fmt::Debug for MemoryGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryGroups")
    }
}
