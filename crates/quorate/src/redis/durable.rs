//! Writes that are answered when they are safe: in groups, each with one `WAIT` behind it, on a connection of
//! their own, because a `WAIT` stalls whatever comes behind it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quorate_link::{Batch, CallOptions, Frame, Lane, Link, LinkError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::context::timed_out_after_sending;
use crate::durability::{Durability, Reached};
use crate::error::{Error, ErrorKind, Outcome, Result};

/// Writes of one group: enough to share the wait, few enough not to make the next ones wait long.
const GROUP: usize = 512;

/// The durable writes of one link.
///
/// # Clone
/// Cheap; clones share the groups.
#[derive(Clone)]
pub(crate) struct DurableLane {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    // A short lock: what waits is only taken and added to.
    waiting: Mutex<HashMap<Durability, Queue>>,
    tasks: TaskTracker,
}

/// Writes that ask for the same.
#[derive(Default)]
struct Queue {
    writes: Vec<Waiting>,
    /// Whether somebody sends them, group after group.
    is_sent: bool,
}

struct Waiting {
    parts: Vec<Vec<u8>>,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<(Frame, Reached), LinkError>;

impl DurableLane {
    pub(crate) fn new(link: Link) -> Self {
        let shared = Shared {
            link,
            waiting: Mutex::default(),
            tasks: TaskTracker::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sends one command, and answers when it is as safe as asked for or the time for that is up.
    pub(crate) async fn call(
        &self,
        parts: &[&[u8]],
        durability: Durability,
        deadline: Instant,
    ) -> Result<Answer> {
        self.check(durability)?;
        let (answer, answered) = oneshot::channel();
        let write = Waiting {
            parts: parts.iter().map(|part| part.to_vec()).collect(),
            deadline,
            answer,
        };
        {
            let mut waiting = self.shared.waiting.lock();
            let queue = waiting.entry(durability).or_default();
            queue.writes.push(write);
            if !std::mem::replace(&mut queue.is_sent, true) {
                let shared = self.shared.clone();
                self.shared
                    .tasks
                    .spawn(async move { shared.send(durability).await });
            }
        }
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Closed).with_outcome(Outcome::Unknown)),
            Err(_) => Err(timed_out_after_sending("the write to be safe")),
        }
    }

    /// Refuses what the server cannot do, before anything is sent.
    fn check(&self, durability: Durability) -> Result<()> {
        let known = self.shared.link.server();
        let cannot = known.is_some_and(|server| !server.supports("WAITAOF"));
        if durability.fsync && cannot {
            let message = "durability on disk needs WAITAOF, which the server does not have \
                           (Redis 7.2, Valkey 8.0)";
            return Err(Error::new(ErrorKind::Unsupported).with_message(message));
        }
        Ok(())
    }
}

impl Shared {
    /// Sends what waits, group after group, until nothing does.
    async fn send(self: Arc<Self>, durability: Durability) {
        let mut sending = Sending {
            shared: &self,
            durability,
            is_over: false,
        };
        loop {
            let group: Vec<_> = {
                let mut waiting = self.waiting.lock();
                let queue = waiting.entry(durability).or_default();
                if queue.writes.is_empty() {
                    // Whoever comes now finds nobody sending, and does it.
                    waiting.remove(&durability);
                    sending.is_over = true;
                    return;
                }
                let size = queue.writes.len().min(GROUP);
                queue.writes.drain(..size).collect()
            };
            self.send_group(group, durability).await;
        }
    }

    async fn send_group(&self, mut group: Vec<Waiting>, durability: Durability) {
        // Nobody waits for these, and nothing was sent of them.
        group.retain(|write| !write.answer.is_closed());
        let Some(deadline) = group.iter().map(|write| write.deadline).max() else {
            return;
        };
        let mut batch = Batch::new();
        for write in &group {
            let parts: Vec<&[u8]> = write.parts.iter().map(Vec::as_slice).collect();
            batch.command(&parts);
        }
        add_wait(&mut batch, durability);
        let options = CallOptions::new()
            .lane(Lane::Durable)
            .deadline(deadline)
            .script(true);
        match self.link.pipeline(&batch, &options).await {
            Ok(mut replies) => {
                let reached = reached(replies.pop(), durability);
                for (write, reply) in group.into_iter().zip(replies) {
                    let answer = reply.map(|frame| (frame, reached));
                    // Who has given up meanwhile has said that the outcome is unknown.
                    let _ = write.answer.send(answer);
                }
            }
            Err(error) => {
                for write in group {
                    let _ = write.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Somebody sends. Dropped with its runtime before all is sent, the next write sends the rest.
struct Sending<'a> {
    shared: &'a Shared,
    durability: Durability,
    /// All is sent: what waits by now is somebody else's to send.
    is_over: bool,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(queue) = self.shared.waiting.lock().get_mut(&self.durability) {
            queue.is_sent = false;
        }
    }
}

fn add_wait(batch: &mut Batch, durability: Durability) {
    let replicas = durability.replicas.to_string();
    // Zero would mean for ever.
    let time = durability.within.as_millis().max(1).to_string();
    let (replicas, time) = (replicas.as_bytes(), time.as_bytes());
    if durability.fsync {
        batch.command(&[b"WAITAOF", b"1", replicas, time]);
    } else {
        batch.command(&[b"WAIT", replicas, time]);
    }
}

/// What the wait came to. A refused one, such as on a server that writes no append-only file, reached nothing.
fn reached(reply: Option<Result<Frame, LinkError>>, durability: Durability) -> Reached {
    let number = |frame: &Frame| frame.as_int().and_then(|count| u32::try_from(count).ok());
    let reached = match reply {
        Some(Ok(frame)) if durability.fsync => frame.as_array().and_then(|counts| {
            let [local, replicas] = counts else {
                return None;
            };
            Some(Reached::server(number(replicas)?, number(local)? > 0))
        }),
        Some(Ok(frame)) => number(&frame).map(|replicas| Reached::server(replicas, false)),
        Some(Err(error)) => {
            tracing::warn!(%error, %durability, "a write is not as safe as it was asked to be");
            None
        }
        None => None,
    };
    reached.unwrap_or_default()
}

impl fmt::Debug for DurableLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableLane")
    }
}
