//! Room on a lane, and what is put there.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::encode::{Batch, encode};
use super::queue::{Entry, Queue, ReplySink};
use super::slot::{BatchSlot, Reply, Slot};
use crate::error::LinkError;

/// Room for commands on a lane. Dropping it gives the room back.
#[must_use = "dropping a permit gives the room back"]
#[derive(Debug)]
pub struct Permit {
    // `None` once used.
    queue: Option<Arc<Queue>>,
    commands: usize,
    bytes: usize,
    deadline: Option<Instant>,
    script: bool,
}

impl Permit {
    pub(super) fn new(queue: &Arc<Queue>, commands: usize, bytes: usize) -> Self {
        Self {
            queue: Some(Arc::clone(queue)),
            commands,
            bytes,
            deadline: None,
            script: false,
        }
    }

    /// What the call that asked for the permit said about its command.
    pub(crate) fn for_call(mut self, deadline: Option<Instant>, script: bool) -> Self {
        self.deadline = deadline;
        self.script = script;
        self
    }

    /// Puts a command on the wire. Synchronous and ordered: of two commands enqueued one after the
    /// other on the same lane, the first goes first.
    ///
    /// If the connection was lost since the permit was given, the reply is
    /// [`Disconnected`](crate::LinkErrorKind::Disconnected) with
    /// [`NotApplied`](crate::Outcome::NotApplied).
    pub fn enqueue(self, parts: &[&[u8]]) -> Reply {
        let (deadline, script) = (self.deadline, self.script);
        let slot = Arc::new(Slot::new());
        let sink = ReplySink::One(Arc::clone(&slot));
        if let Err(error) = self.write(deadline, parts, sink) {
            slot.fill(Err(error));
        }
        Reply::new(slot, script)
    }

    /// Like [`enqueue`](Self::enqueue), for a change of subscription.
    pub(crate) fn enqueue_ack(self, verb: &'static str, name: &Bytes) -> Reply {
        let deadline = self.deadline;
        let slot = Arc::new(Slot::new());
        let sink = ReplySink::Ack {
            slot: Arc::clone(&slot),
            verb,
            name: name.clone(),
        };
        if let Err(error) = self.write(deadline, &[verb.as_bytes(), name], sink) {
            slot.fill(Err(error));
        }
        Reply::new(slot, false)
    }

    /// Puts a batch on the wire, in one piece.
    pub(crate) fn enqueue_batch(self, batch: &Batch) -> Arc<BatchSlot> {
        let (deadline, script) = (self.deadline, self.script);
        let slot = Arc::new(BatchSlot::new(batch.commands.len(), script));
        let written = self.queue().append(self, |out, entries| {
            out.extend_from_slice(&batch.bytes);
            let last = batch.commands.len() - 1;
            entries.extend(batch.commands.iter().enumerate().map(|(at, &bytes)| Entry {
                sink: ReplySink::Batch {
                    batch: Arc::clone(&slot),
                    last: at == last,
                },
                bytes,
                deadline,
            }));
        });
        if let Err(error) = written {
            slot.fail(&error);
        }
        slot
    }

    fn write(
        self,
        deadline: Option<Instant>,
        parts: &[&[u8]],
        sink: ReplySink,
    ) -> Result<(), LinkError> {
        self.queue().append(self, |out, entries| {
            let start = out.len();
            encode(parts, out);
            entries.push(Entry {
                sink,
                bytes: out.len() - start,
                deadline,
            });
        })
    }

    fn queue(&self) -> Arc<Queue> {
        Arc::clone(
            self.queue
                .as_ref()
                .expect("a permit is used once, by value"),
        )
    }

    /// Turns the room over to entries.
    pub(super) fn defuse(mut self) -> (usize, usize) {
        self.queue = None;
        (self.commands, self.bytes)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.release(self.commands, self.bytes);
        }
    }
}
