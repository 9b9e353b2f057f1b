//! One instance's place on one roster: what it wants to be there, what the home has acknowledged, and what
//! is to be done next. Decisions only; [`keeper`](super::keeper) carries them out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::member::{InstanceId, RosterVersion};
use super::port::MAX_BATCH;
use super::roster::{Removal, Standing};
use crate::backoff::Backoff;
use crate::error::{Error, Outcome, Result};

/// What one request to join carries at most, in bytes of ids and infos; a single member always passes.
const MAX_BATCH_BYTES: usize = 64 * 1024;

/// How much later than a lease we call ended, so that two clocks need not run alike to the microsecond.
const MARGIN: Duration = Duration::from_millis(1);

/// Between two attempts at something that failed; never more than a third of the lease.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(50),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// What a caller waits for: that the home has what it asked for.
pub(super) type Settled = Result<(), Arc<Error>>;

type Waiters = HashMap<String, Vec<oneshot::Sender<Settled>>>;

/// A member that is wanted on the roster.
#[derive(Debug)]
struct Wanted {
    info: Bytes,
    /// Which guard stands for it: the one that joined last.
    guard: u64,
}

/// One request to the home.
#[derive(Debug)]
pub(super) enum Job {
    Join(Vec<(String, Bytes)>, Waiters),
    Leave(Vec<String>, Waiters),
    Renew,
    Remove(InstanceId, Removal),
    Look,
}

/// What is to be done about a seat.
#[derive(Debug)]
pub(super) enum Next {
    /// This, now.
    Run(Job),
    /// Something, at this moment.
    At(Instant),
    /// Nothing until somebody asks for something.
    Nothing,
    /// Nothing, and the seat may be forgotten.
    Empty,
}

/// What came of a job besides the answer.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The instance had been taken off the roster, and is joining again.
    pub(super) rejoining: bool,
    /// A failure that is the first in a row, and that nobody waits for.
    pub(super) report: Option<Error>,
}

/// How far the home is known to have got, for the watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) version: RosterVersion,
    /// When it was asked.
    pub(super) asked: Instant,
}

#[derive(Debug)]
pub(super) struct Seat {
    own: InstanceId,
    lease: Duration,
    wanted: BTreeMap<String, Wanted>,
    /// Ids that are wanted, and that the home may not have, or not so.
    joining: BTreeSet<String>,
    /// Ids that are not wanted, and that the home may have.
    leaving: BTreeSet<String>,
    waiting: Waiters,
    /// What the home said last: our members are there as of this version.
    at: Option<RosterVersion>,
    /// A change may have been applied without our knowing.
    unsure: bool,
    /// Everybody is joining once more, because the home may not have what it acknowledged.
    checking: bool,
    /// Our lease has ended, or we have more there than we know of: begin again.
    astray: bool,
    pub(super) watchers: usize,
    present: watch::Sender<Present>,
    ending: Option<(InstanceId, Instant)>,
    /// When our lease is to be renewed, or the roster looked at.
    due: Instant,
    /// Nothing failed is tried again before.
    retry: Instant,
    failures: u32,
    /// A job of this seat is under way.
    busy: bool,
    /// The keeper has been told, and has not looked yet.
    pub(super) told: bool,
    /// When the keeper is going to look by itself.
    pub(super) appointed: Option<Instant>,
}

impl Seat {
    pub(super) fn new(own: InstanceId, lease: Duration, now: Instant) -> Self {
        Self {
            own,
            lease,
            wanted: BTreeMap::new(),
            joining: BTreeSet::new(),
            leaving: BTreeSet::new(),
            waiting: HashMap::new(),
            at: None,
            unsure: false,
            checking: false,
            astray: false,
            watchers: 0,
            present: watch::Sender::new(Present {
                version: RosterVersion::default(),
                asked: now,
            }),
            ending: None,
            due: now,
            retry: now,
            failures: 0,
            busy: false,
            told: false,
            appointed: None,
        }
    }

    /// Wants a member there, in the name of `guard`. Whoever stood for the id before does no longer.
    pub(super) fn want(&mut self, id: &str, info: Bytes, guard: u64) {
        self.wanted.insert(id.to_owned(), Wanted { info, guard });
        self.unsettle(id.to_owned());
    }

    /// Replaces a member's info. `false`: `guard` does not stand for it any more.
    pub(super) fn replace(&mut self, id: &str, info: Bytes, guard: u64) -> bool {
        match self.wanted.get_mut(id) {
            Some(wanted) if wanted.guard == guard => {
                wanted.info = info;
                self.unsettle(id.to_owned());
                true
            }
            _ => false,
        }
    }

    /// Wants a member gone. `false`: it was not there, or `guard` does not stand for it any more.
    pub(super) fn unwant(&mut self, id: &str, guard: Option<u64>) -> bool {
        let stands = |wanted: &Wanted| guard.is_none_or(|guard| guard == wanted.guard);
        if !self.wanted.get(id).is_some_and(stands) {
            return false;
        }
        self.wanted.remove(id);
        self.unsettle(id.to_owned());
        true
    }

    /// Asks for `id`, and resolves when the home has what is wanted of it by then, whoever wants it.
    pub(super) fn settled(&mut self, id: &str, now: Instant) -> oneshot::Receiver<Settled> {
        let (sender, receiver) = oneshot::channel();
        self.unsettle(id.to_owned());
        self.waiting.entry(id.to_owned()).or_default().push(sender);
        // Somebody waits: what failed before is no reason to let him.
        self.retry = now;
        receiver
    }

    /// How many members this instance wants there.
    pub(super) fn members(&self) -> usize {
        self.wanted.len()
    }

    pub(super) fn watch(&mut self) -> watch::Receiver<Present> {
        self.watchers += 1;
        self.present.subscribe()
    }

    /// Takes note of an answer: how far the roster has changed, and whose lease ends next.
    pub(super) fn note(&mut self, standing: &Standing, asked: Instant, now: Instant) {
        let version = standing.version;
        self.present.send_replace(Present { version, asked });
        // By the time the answer is here, less is left than it says: never too early.
        let next = standing.next.filter(|next| next.instance != self.own);
        self.ending = next.map(|next| (next.instance, now + next.remaining + MARGIN));
    }

    /// Whether something of ours may be on the roster: then closing has to take it off.
    pub(super) fn may_be_there(&self) -> bool {
        self.at.is_some() || self.unsure || self.busy
    }

    /// The job to begin at `now`, or when to look again.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if self.busy {
            return Next::Nothing;
        }
        match self.job(now) {
            Some(job) => {
                self.busy = true;
                Next::Run(job)
            }
            None => self.pause(),
        }
    }

    fn job(&mut self, now: Instant) -> Option<Job> {
        // First, so that nothing that fails again and again lets the lease end.
        if self.at.is_some() && now >= self.due {
            return Some(Job::Renew);
        }
        if now >= self.retry {
            if self.astray {
                return Some(Job::Remove(self.own, Removal::Now));
            }
            if !self.is_settled() {
                return Some(self.batch());
            }
        }
        if let Some((instance, at)) = self.ending
            && now >= at.max(self.retry)
        {
            return Some(Job::Remove(instance, Removal::IfEnded));
        }
        (self.at.is_none() && self.watchers > 0 && now >= self.due).then_some(Job::Look)
    }

    fn pause(&self) -> Next {
        let unsettled = (self.astray || !self.is_settled()).then_some(self.retry);
        let ending = self.ending.map(|(_, at)| at.max(self.retry));
        let due = (self.at.is_some() || self.watchers > 0).then_some(self.due);
        if due.is_none() && unsettled.is_none() {
            // Whose lease ends on a roster we have nothing to do with is not our business.
            return Next::Empty;
        }
        [unsettled, ending, due]
            .into_iter()
            .flatten()
            .min()
            .map_or(Next::Nothing, Next::At)
    }

    /// Takes out what fits into one request: of what is to go, or else of what is to come.
    fn batch(&mut self) -> Job {
        let mut waiters = Waiters::new();
        let mut leaving = Vec::new();
        while leaving.len() < MAX_BATCH
            && let Some(id) = self.leaving.pop_first()
        {
            waiters.extend(self.waiting.remove_entry(&id));
            leaving.push(id);
        }
        if !leaving.is_empty() {
            return Job::Leave(leaving, waiters);
        }
        let (mut joining, mut bytes) = (Vec::new(), 0);
        while joining.len() < MAX_BATCH
            && let Some(id) = self.joining.pop_first()
        {
            let Some(wanted) = self.wanted.get(&id) else {
                continue;
            };
            bytes += id.len() + wanted.info.len();
            if bytes > MAX_BATCH_BYTES && !joining.is_empty() {
                self.joining.insert(id);
                break;
            }
            waiters.extend(self.waiting.remove_entry(&id));
            joining.push((id, wanted.info.clone()));
        }
        Job::Join(joining, waiters)
    }

    /// Takes note of what came of a job that was begun at `asked`.
    pub(super) fn done(
        &mut self,
        job: Job,
        asked: Instant,
        now: Instant,
        result: Result<Standing>,
    ) -> Done {
        self.busy = false;
        match result {
            Ok(standing) => {
                self.failures = 0;
                self.note(&standing, asked, now);
                self.succeeded(job, asked, &standing)
            }
            Err(error) => self.failed(job, now, error),
        }
    }

    fn succeeded(&mut self, job: Job, asked: Instant, standing: &Standing) -> Done {
        let RosterVersion { epoch, .. } = standing.version;
        let of_epoch = |number: Option<u64>| number.map(|it| RosterVersion::new(epoch, it));
        let at = of_epoch(standing.at);
        let renewed = || {
            // Less up to a fifth at random, so that the rosters of an instance do not keep step.
            asked + (self.lease / 3).mul_f64(1.0 - 0.2 * rand::random::<f64>())
        };
        match job {
            Job::Join(members, waiters) if at.is_none() => {
                // Our lease has ended: everybody has to join again, these too.
                let ids = members.into_iter().map(|(id, _)| id);
                self.put_back(ids, waiters);
                self.astray = true;
                return Done::default();
            }
            Job::Join(_, waiters) => {
                settle(waiters);
                self.due = renewed();
            }
            Job::Leave(_, waiters) => settle(waiters),
            Job::Renew if at.is_some() => self.due = renewed(),
            Job::Renew => {}
            Job::Remove(instance, _) if instance == self.own => {
                let rejoining = self.has_settled();
                (self.at, self.unsure, self.astray) = (None, false, false);
                self.joining.extend(self.wanted.keys().cloned());
                return Done {
                    rejoining,
                    report: None,
                };
            }
            Job::Remove(..) => return Done::default(),
            Job::Look => {
                self.due = renewed();
                return Done::default();
            }
        }
        let doubtful = self.unsure || of_epoch(standing.before) != self.at;
        (self.at, self.unsure) = (at, false);
        self.compare(standing, doubtful);
        Done::default()
    }

    /// Compares what the home has of ours with what is wanted.
    fn compare(&mut self, standing: &Standing, doubtful: bool) {
        if self.at.is_none() {
            self.astray |= self.has_settled();
            return;
        }
        // What was acknowledged was taken back, or what failed may have been applied in part.
        let differs = self.is_settled() && standing.members != self.wanted.len() as u64;
        if differs && (self.checking || self.wanted.is_empty()) {
            // Everybody has joined, and more are there: nothing but to begin again.
            (self.astray, self.checking) = (true, false);
        } else if doubtful || differs {
            self.checking = true;
            self.joining.extend(self.wanted.keys().cloned());
        } else if self.is_settled() {
            self.checking = false;
        }
    }

    fn failed(&mut self, job: Job, now: Instant, error: Error) -> Done {
        let first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        let pause = RETRY.delay(self.failures).min(self.lease / 3);
        let (ids, waiters) = match job {
            Job::Join(members, waiters) => {
                let ids = members.into_iter().map(|(id, _)| id);
                (ids.collect(), waiters)
            }
            Job::Leave(ids, waiters) => (ids, waiters),
            Job::Renew | Job::Look => {
                self.due = now + pause;
                (Vec::new(), Waiters::new())
            }
            Job::Remove(..) => {
                self.retry = now + pause;
                (Vec::new(), Waiters::new())
            }
        };
        let error = Arc::new(error);
        let mut heard = false;
        if !ids.is_empty() {
            self.retry = now + pause;
            self.unsure |= error.outcome() == Outcome::Unknown;
            for waiter in waiters.into_values().flatten() {
                heard |= waiter.send(Err(error.clone())).is_ok();
            }
            self.put_back(ids.into_iter(), Waiters::new());
        }
        Done {
            rejoining: false,
            report: (first && !heard).then(|| shared(&error)),
        }
    }

    /// Whether the home has said that it has everything that is wanted.
    fn is_settled(&self) -> bool {
        self.joining.is_empty() && self.leaving.is_empty()
    }

    /// Whether the home has said that it has anything that is wanted.
    fn has_settled(&self) -> bool {
        self.wanted.len() > self.joining.len()
    }

    fn unsettle(&mut self, id: String) {
        if self.wanted.contains_key(&id) {
            self.leaving.remove(&id);
            self.joining.insert(id);
        } else {
            self.joining.remove(&id);
            self.leaving.insert(id);
        }
    }

    fn put_back(&mut self, ids: impl Iterator<Item = String>, waiters: Waiters) {
        for id in ids {
            self.unsettle(id);
        }
        for (id, senders) in waiters {
            self.waiting.entry(id).or_default().extend(senders);
        }
    }
}

fn settle(waiters: Waiters) {
    for waiter in waiters.into_values().flatten() {
        // Whoever no longer waits has left word that it is to be undone.
        let _ = waiter.send(Ok(()));
    }
}

/// An error that several callers wait for, for one of them.
pub(super) fn shared(error: &Arc<Error>) -> Error {
    let mut own = Error::new(error.kind())
        .with_outcome(error.outcome())
        .with_retryable(error.is_retryable())
        .with_source(error.clone());
    if let Some(message) = error.message() {
        own = own.with_message(message);
    }
    if let Some(code) = error.code() {
        own = own.with_code(code);
    }
    own
}

#[cfg(test)]
mod tests;
