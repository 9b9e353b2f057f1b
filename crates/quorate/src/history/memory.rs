//! Kept topics in this process.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::log::{AppendReply, From, Log, PageLimit, Replay};
use super::port::{Append, Appended, HistoryPort, inconclusive};
use crate::clock::Micros;
use crate::embedded::{State, Table};
use crate::error::Result;
use crate::events::{EventsPort, Submission};
use crate::key::Key;
use crate::port::CallOptions;

impl State for Log {
    fn forgotten_at(&self, now: Micros) -> Option<Micros> {
        Some(self.due(now))
    }

    fn expire(&mut self, now: Micros) {
        self.free_ended(now);
    }
}

/// One instance's access to the kept topics of its home.
pub(crate) struct MemoryHistory {
    table: Arc<Table<Log>>,
    events: Arc<dyn EventsPort>,
}

impl MemoryHistory {
    pub(crate) fn new(table: Arc<Table<Log>>, events: Arc<dyn EventsPort>) -> Self {
        Self { table, events }
    }
}

#[async_trait]
impl HistoryPort for MemoryHistory {
    async fn append(&self, topic: &Key, append: Append, options: CallOptions) -> Result<Appended> {
        self.table.transition(topic, |log, now| {
            let reply = log.append(now, append.id, &append.message, append.keep, append.again);
            match reply {
                // Within the transition, so that the order of announcements is that of offsets.
                AppendReply::Appended { position, announce } => {
                    let receivers = match self.events.publish(&append.channel, announce, options) {
                        Submission::Done(receipt) => receipt.ok().and_then(|it| it.receivers),
                        // A transport of the user's own: it answers in its own time.
                        Submission::Pending(_) | Submission::Unavailable => None,
                    };
                    Ok(Appended::at(position, receivers))
                }
                AppendReply::Repeated { position } => Ok(Appended::at(position, None)),
                AppendReply::Inconclusive => Err(inconclusive()),
            }
        })
    }

    async fn read(
        &self,
        topic: &Key,
        from: From,
        limit: PageLimit,
        _options: CallOptions,
    ) -> Result<Replay> {
        Ok(self
            .table
            .transition(topic, |log, now| log.read(now, from, limit)))
    }
}

impl fmt::Display for MemoryHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process histories")
    }
}

impl fmt::Debug for MemoryHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryHistory")
    }
}
