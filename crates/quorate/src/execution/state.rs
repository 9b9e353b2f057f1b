//! One execution as a pure function of what is kept of it and the time. `scripts/*.lua` mirror it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::call_id::CallId;
use crate::clock::Micros;

/// The most tasks of an execution.
pub const MAX_TASKS: usize = 10_000;
/// The largest result of a task, in bytes.
pub const MAX_RESULT_BYTES: usize = 1 << 20;
/// The most bytes of all results of an execution, with the ids of their tasks: they are read at once.
pub const MAX_RESULTS_BYTES: usize = 64 << 20;

/// What beginning an execution came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who begins an execution handles each"
)]
pub enum Begun {
    /// It is in progress from now on.
    New,
    /// It has been in progress, and goes on as it was.
    InProgress,
    /// It was disposed of, and its id is still remembered.
    Over,
}

/// What beginning a task came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "who begins a task handles each")]
pub enum TaskBegun {
    /// It is in progress from now on, and whoever asked is to do it.
    Begun {
        /// How often it was begun, this time included.
        attempt: u64,
    },
    /// Somebody else began it, and has neither committed nor abandoned it, nor is their lease over.
    InProgress,
    /// It has a result.
    Done,
    /// There is no such execution in progress.
    Unknown,
}

/// What committing a result came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "who commits handles each")]
pub enum Committed {
    /// It is the result of the task.
    Stored,
    /// The task had a result before, which stays.
    AlreadyDone,
    /// There is no such execution in progress.
    Unknown,
}

/// What there is no more room for in an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "backends must know them all")]
pub enum Full {
    /// It has as many tasks as it may have.
    Tasks,
    /// Its results would have more bytes than they may have.
    Results,
}

/// An execution with all its tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Execution {
    head: Option<Head>,
    tasks: BTreeMap<String, Task>,
    /// The tasks that changed or went since somebody asked.
    changed: BTreeSet<String>,
    /// Whether anything did.
    has_changed: bool,
}

/// What is kept of an execution itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// It was disposed of, and is remembered until it ends.
    is_over: bool,
    /// Of the call that began it, or disposed of it.
    id: CallId,
    /// How long it outlives each sign of progress.
    ttl: Option<Duration>,
    /// When it ends, unless it makes progress.
    ends: Option<Micros>,
    /// Of its results, with the ids of their tasks.
    bytes: usize,
}

/// What is kept of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    state: TaskState,
    /// How often it was begun.
    attempt: u64,
    /// Of the call that began it last, or committed its result.
    id: CallId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum TaskState {
    /// In progress; until a moment, if it has a lease.
    Begun(Option<Micros>),
    /// Given up by who began it.
    Abandoned,
    Done(Bytes),
}

impl Task {
    fn is_in_progress(&self, now: Micros) -> bool {
        match self.state {
            TaskState::Begun(until) => until.is_none_or(|until| until > now),
            TaskState::Abandoned | TaskState::Done(_) => false,
        }
    }

    const fn result(&self) -> Option<&Bytes> {
        match &self.state {
            TaskState::Done(result) => Some(result),
            TaskState::Begun(_) | TaskState::Abandoned => None,
        }
    }
}

impl Execution {
    /// Lets an execution begin, unless it is there.
    pub(super) fn begin(&mut self, now: Micros, id: CallId, ttl: Option<Duration>) -> Begun {
        match self.head_at(now) {
            Some(head) if head.is_over => Begun::Over,
            Some(head) => {
                let is_own = head.id == id;
                self.refresh(now);
                if is_own {
                    Begun::New // again
                } else {
                    Begun::InProgress
                }
            }
            None => {
                self.forget();
                self.head = Some(Head {
                    is_over: false,
                    id,
                    ttl,
                    ends: ttl.map(|ttl| now.plus(ttl)),
                    bytes: 0,
                });
                self.has_changed = true;
                Begun::New
            }
        }
    }

    pub(super) fn is_in_progress(&self, now: Micros) -> bool {
        self.head_at(now).is_some_and(|head| !head.is_over)
    }

    /// Lets a task begin, unless it is done or somebody else's.
    pub(super) fn begin_task(
        &mut self,
        now: Micros,
        task: &str,
        id: CallId,
        lease: Option<Duration>,
    ) -> Result<TaskBegun, Full> {
        if !self.is_in_progress(now) {
            return Ok(TaskBegun::Unknown);
        }
        let known = self.tasks.get(task);
        if known.is_none() && self.tasks.len() >= MAX_TASKS {
            return Err(Full::Tasks);
        }
        let begun = match known {
            Some(known) if known.result().is_some() => TaskBegun::Done,
            Some(known) if known.is_in_progress(now) && known.id == id => TaskBegun::Begun {
                attempt: known.attempt, // again
            },
            Some(known) if known.is_in_progress(now) => TaskBegun::InProgress,
            known => {
                let attempt = known.map_or(0, |known| known.attempt) + 1;
                let state = TaskState::Begun(lease.map(|lease| now.plus(lease)));
                self.put(task, Task { state, attempt, id });
                TaskBegun::Begun { attempt }
            }
        };
        self.refresh(now);
        Ok(begun)
    }

    pub(super) fn is_task_in_progress(&self, now: Micros, task: &str) -> bool {
        let task = self.tasks.get(task);
        self.is_in_progress(now) && task.is_some_and(|task| task.is_in_progress(now))
    }

    /// Gives a task up; with `attempt`, only if it was begun so often.
    pub(super) fn abandon_task(&mut self, now: Micros, task: &str, attempt: Option<u64>) -> bool {
        let Some((name, known)) = self.tasks.get_key_value(task) else {
            return false;
        };
        let is_meant = match attempt {
            Some(attempt) => known.attempt == attempt && known.result().is_none(),
            None => known.is_in_progress(now),
        };
        if !is_meant || !self.is_in_progress(now) {
            return false;
        }
        if known.state != TaskState::Abandoned {
            let name = name.clone();
            let mut known = known.clone();
            known.state = TaskState::Abandoned;
            self.put(&name, known);
        }
        true
    }

    /// Ends a task with its result, unless it has one.
    pub(super) fn commit(
        &mut self,
        now: Micros,
        task: &str,
        id: CallId,
        result: Bytes,
    ) -> Result<Committed, Full> {
        if !self.is_in_progress(now) {
            return Ok(Committed::Unknown);
        }
        let known = self.tasks.get(task);
        if let Some(known) = known.filter(|known| known.result().is_some()) {
            let is_own = known.id == id;
            self.refresh(now);
            return Ok(if is_own {
                Committed::Stored // again
            } else {
                Committed::AlreadyDone
            });
        }
        if known.is_none() && self.tasks.len() >= MAX_TASKS {
            return Err(Full::Tasks);
        }
        let attempt = known.map_or(0, |known| known.attempt);
        let more = task.len() + result.len();
        let Some(head) = &mut self.head else {
            return Ok(Committed::Unknown);
        };
        if head.bytes + more > MAX_RESULTS_BYTES {
            return Err(Full::Results);
        }
        head.bytes += more;
        let state = TaskState::Done(result);
        self.put(task, Task { state, attempt, id });
        self.refresh(now);
        Ok(Committed::Stored)
    }

    pub(super) fn result(&self, now: Micros, task: &str) -> Option<&Bytes> {
        let task = self.tasks.get(task).filter(|_| self.is_in_progress(now));
        task?.result()
    }

    /// All results, by the ids of their tasks.
    pub(super) fn results(&self, now: Micros) -> BTreeMap<String, Bytes> {
        if !self.is_in_progress(now) {
            return BTreeMap::new();
        }
        let tasks = self.tasks.iter();
        tasks
            .filter_map(|(name, task)| Some((name.clone(), task.result()?.clone())))
            .collect()
    }

    /// Forgets all of an execution but that it was there, which is remembered for so long.
    pub(super) fn dispose(&mut self, now: Micros, id: CallId, remember: Option<Duration>) -> bool {
        match self.head_at(now) {
            None => return false,
            Some(head) if head.is_over => return head.id == id, // again, or by another
            Some(_) => {}
        }
        self.forget();
        self.head = remember.map(|remember| Head {
            is_over: true,
            id,
            ttl: None,
            ends: Some(now.plus(remember)),
            bytes: 0,
        });
        self.has_changed = true;
        true
    }

    /// When nothing of it is needed any more; `now` if that is so.
    pub(super) fn ends(&self, now: Micros) -> Option<Micros> {
        self.head.as_ref().map_or(Some(now), |head| head.ends)
    }

    /// Forgets it all.
    pub(super) fn forget(&mut self) {
        self.head = None;
        let tasks = std::mem::take(&mut self.tasks);
        self.changed.extend(tasks.into_keys());
    }

    /// The tasks that came, changed or went since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// Whether anything changed since this was last asked.
    pub(super) fn take_has_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    fn head_at(&self, now: Micros) -> Option<&Head> {
        let head = self.head.as_ref();
        head.filter(|head| head.ends.is_none_or(|ends| ends > now))
    }

    /// It makes progress, and lives on.
    fn refresh(&mut self, now: Micros) {
        if let Some(head) = &mut self.head
            && let Some(ttl) = head.ttl
        {
            head.ends = Some(now.plus(ttl));
            self.has_changed = true;
        }
    }

    fn put(&mut self, name: &str, task: Task) {
        self.changed.insert(name.to_owned());
        self.tasks.insert(name.to_owned(), task);
        self.has_changed = true;
    }
}

/// For the file that it is kept in.
#[cfg(feature = "file")]
impl Execution {
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn of(head: Head) -> Self {
        Self {
            head: Some(head),
            ..Self::default()
        }
    }

    pub(super) fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.get(name)
    }

    pub(super) fn put_back(&mut self, name: &str, task: Task) {
        self.tasks.insert(name.to_owned(), task);
    }
}

#[cfg(test)]
mod tests;
