//! What the queues of an instance share, and the calls that handles and workers make.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::ask::{Ask, Pushed, Renewed, Turn};
use super::ear::Ear;
use super::group::{Bring, Effect, GroupView};
use super::hand::Takes;
use super::job::{JobId, JobState, LeaseNumber, NewJob};
use super::note::Note;
use super::port::QueuePort;
use crate::context::{Context, Operation, Repeat};
use crate::error::{Error, Result};
use crate::events::Hub;
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::port::CallOptions;

pub(super) const fn operation(name: &'static str, verb: &'static str) -> Operation {
    // Jobs, deliveries and turns have names: repeating is recognised.
    Operation::new(name, "queue", verb, Repeat::Harmless)
}

/// Of what would answer otherwise the second time, or undo what somebody did in between.
pub(super) const fn once(name: &'static str, verb: &'static str) -> Operation {
    Operation::new(name, "queue", verb, Repeat::OnlyIfNotApplied)
}

pub(super) static PUSH: Operation = operation("queue.push", "push");
pub(super) static START: Operation = operation("queue.push", "start");
pub(super) static CANCEL: Operation = operation("queue.cancel", "cancel");
pub(super) static LOOK: Operation = operation("queue.look", "look");
pub(super) static PAUSE: Operation = operation("queue.pause", "pause");
pub(super) static LEAVE: Operation = operation("queue.leave", "leave");
pub(super) static LOOK_GROUP: Operation = operation("queue.look_group", "look");
pub(super) static EVENTS: Operation = operation("queue.events", "events");
static BRING: Operation = operation("queue.bring", "bring");
static TURN: Operation = operation("queue.turn", "turn");
pub(super) static CLAIM: Operation = operation("queue.claim", "claim");
pub(super) static SETTLE: Operation = operation("queue.settle", "settle");
pub(super) static NOTE: Operation = operation("queue.note", "note");
/// Once more would be one more.
pub(super) static NOTE_LINE: Operation = once("queue.note", "note");
pub(super) static FIRE: Operation = operation("queue.fire", "fire");
pub(super) static SCHEDULES: Operation = operation("queue.schedules", "schedules");
/// Once more would say that there was none.
pub(super) static UNSCHEDULE: Operation = Operation::new(
    "queue.unschedule",
    "queue",
    "unschedule",
    Repeat::OnlyIfNotApplied,
);
pub(super) static RENEW: Operation = operation("queue.renew", "renew");
pub(super) static BACKLOG: Operation = operation("queue.backlog", "stats");
pub(super) static STATS: Operation = operation("queue.stats", "stats");
pub(super) static LIST: Operation = operation("queue.list", "list");
pub(super) static INSPECT: Operation = operation("queue.inspect", "inspect");
pub(super) static FSCK: Operation = operation("queue.fsck", "fsck");
/// What was put right is told once.
pub(super) static FSCK_REPAIR: Operation = once("queue.fsck", "fsck");
pub(super) static REDRIVE: Operation = once("queue.redrive", "redrive");
pub(super) static EDIT: Operation = once("queue.edit", "edit");
pub(super) static REMOVE: Operation = once("queue.remove", "remove");
pub(super) static PURGE: Operation = once("queue.purge", "purge");

/// What the queues of an instance share.
pub(crate) struct Queues {
    pub(crate) context: Arc<Context>,
    pub(crate) port: Arc<dyn QueuePort>,
    pub(crate) hub: Arc<Hub>,
    /// Who listens to a queue, for all in this process that wait for its news. A short lock.
    pub(super) ears: Mutex<HashMap<Key, Arc<Ear>>>,
    /// Workers of this process, which may begin a job where it is pushed. A short lock.
    pub(super) hands: Mutex<HashMap<Key, Vec<Arc<dyn Takes>>>>,
}

impl Queues {
    pub(crate) fn new(context: Arc<Context>, port: Arc<dyn QueuePort>, hub: Arc<Hub>) -> Self {
        Self {
            context,
            port,
            hub,
            ears: Mutex::default(),
            hands: Mutex::default(),
        }
    }

    pub(super) async fn push(&self, queue: &Key, jobs: &[NewJob]) -> Result<Vec<Pushed>> {
        let push =
            |attempt: crate::context::Attempt| self.port.push(queue, jobs, attempt.options());
        self.context.run(&PUSH, queue.name(), None, push).await
    }

    pub(super) async fn cancel(&self, queue: &Key, id: JobId) -> Result<Option<JobState>> {
        let cancel =
            |attempt: crate::context::Attempt| self.port.cancel(queue, id, attempt.options());
        self.context.run(&CANCEL, queue.name(), None, cancel).await
    }

    pub(super) async fn look(
        &self,
        queue: &Key,
        id: JobId,
        wait: bool,
    ) -> Result<Option<JobState>> {
        let look =
            |attempt: crate::context::Attempt| self.port.look(queue, id, wait, attempt.options());
        self.context.run(&LOOK, queue.name(), None, look).await
    }

    pub(super) async fn pause(&self, queue: &Key, paused: bool) -> Result<()> {
        let pause =
            |attempt: crate::context::Attempt| self.port.pause(queue, paused, attempt.options());
        self.context.run(&PAUSE, queue.name(), None, pause).await
    }

    pub(super) async fn turn(&self, queue: &Key, ask: &Ask) -> Result<Turn> {
        let turn = |attempt: crate::context::Attempt| self.port.turn(queue, ask, attempt.options());
        self.context.run(&TURN, queue.name(), None, turn).await
    }

    pub(super) async fn bring(&self, queue: &Key, bring: &Bring) -> Result<Vec<Effect>> {
        let call =
            |attempt: crate::context::Attempt| self.port.bring(queue, bring, attempt.options());
        self.context.run(&BRING, queue.name(), None, call).await
    }

    pub(super) async fn look_group(
        &self,
        queue: &Key,
        group: JobId,
        wait: bool,
    ) -> Result<Option<GroupView>> {
        let look = |attempt: crate::context::Attempt| {
            self.port.look_group(queue, group, wait, attempt.options())
        };
        self.context
            .run(&LOOK_GROUP, queue.name(), None, look)
            .await
    }

    /// Has told what happens in a queue. Returns the number of the last batch before that.
    pub(super) async fn have_told(&self, queue: &Key) -> Result<u64> {
        let watch = |attempt: crate::context::Attempt| self.port.watch(queue, attempt.options());
        self.context.run(&EVENTS, queue.name(), None, watch).await
    }

    /// A turn, past the choke point that refuses calls once the fleet is closing.
    pub(super) async fn last_turn(&self, queue: &Key, ask: &Ask) -> Result<Turn> {
        let options = CallOptions::until(self.context.attempt_deadline());
        let turn = self.port.turn(queue, ask, options).await;
        turn.map_err(|error| error.with_operation(TURN.name).with_target(queue.name()))
    }

    pub(super) async fn note(
        &self,
        operation: &Operation,
        queue: &Key,
        (id, lease): (JobId, LeaseNumber),
        note: Note,
    ) -> Result<bool> {
        let note = |attempt: crate::context::Attempt| {
            let note = note.clone();
            self.port.note(queue, id, lease, note, attempt.options())
        };
        self.context.run(operation, queue.name(), None, note).await
    }

    /// Within `time`.
    pub(super) async fn renew(
        &self,
        queue: &Key,
        held: &[(JobId, LeaseNumber)],
        lease: Duration,
        time: Duration,
    ) -> Result<Vec<Renewed>> {
        let renew = |attempt: crate::context::Attempt| {
            self.port.renew(queue, held, lease, attempt.options())
        };
        self.context
            .run(&RENEW, queue.name(), Some(time), renew)
            .await
    }

    /// Tells of what failed, and nobody waits for.
    pub(super) fn report(&self, error: &Error) {
        self.context.hooks.error(ErrorSource::Queue, error);
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
