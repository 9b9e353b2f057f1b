//! A queue as a pure function of its state and the time. `library.lua` and `scripts/*.lua` mirror it.
//!
//! A job is in one place: ready, due, active, ended or dead. Everything is done in batches, and what nobody asked for but
//! has to happen (leases that ran out, jobs that are due, ends that are over) is done in bounded steps by whoever comes by.

mod fsck;
mod group;
mod groups;
mod journals;
mod limits;
mod notes;
mod operate;
mod outbox;
mod places;
mod push;
#[cfg(feature = "file")]
mod rows;
mod schedules;
mod side;
#[cfg(test)]
mod tests;
mod totals;
mod unique;
mod view;
mod watch;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use self::groups::Groups;
#[cfg(all(test, feature = "redis"))]
pub(super) use self::groups::MOST_TOLD;
pub use self::groups::TELLING;
use self::journals::Journals;
use self::limits::{Limiting, Limits, Room};
use self::notes::AllNotes;
use self::outbox::Outbox;
use self::places::{Job, Over, Place};
use self::schedules::Schedules;
pub use self::totals::QueueTotals;
use self::unique::Uniques;
pub use self::watch::WATCHED;
use self::watch::Watch;
use super::ask::{Ask, Renewed, Turn, WorkerId};
use super::fairness::{Fairness, Rank};
use super::group::MOST_BROUGHT;
use super::happened::JobEventKind;
use super::job::{ById, Delivered, JobEnd, JobId, JobState, LeaseNumber, Settled, Settlement};
use super::news::News;
use crate::clock::Micros;

/// How many jobs one transition moves that nobody asked for, of each kind; the next goes on.
pub(super) const MOST_MOVED: usize = 100;
/// How long an idle worker counts, unless it asks again.
pub const PARKED: Duration = Duration::from_secs(10);
/// How long the last turn of a worker is remembered, for one whose reply was lost.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a queue without jobs is remembered.
pub(super) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the end of a job is announced after somebody asked for that.
pub const AWAITED: Duration = Duration::from_secs(10);
/// How long is kept what became of a job that failed for good.
pub const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// Why a delivery failed that nobody settled.
pub(super) const RAN_OUT: &str = "its lease ran out";

/// Everything remembered of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Those that are not over, or dead.
    jobs: ById<Job>,
    /// What became of the others.
    over: ById<Over>,
    ready: BTreeSet<(Rank, JobId)>,
    due: BTreeSet<(Micros, JobId)>,
    active: BTreeSet<(Micros, LeaseNumber, JobId)>,
    /// By until when they are kept.
    ended: BTreeSet<(Micros, JobId)>,
    /// Likewise, of those that failed for good.
    dead: BTreeSet<(Micros, JobId)>,
    fairness: Fairness,
    /// The last one given out.
    lease: u64,
    paused: bool,
    /// Who is idle, the longest first, by until when they count.
    parked: VecDeque<(WorkerId, Micros)>,
    /// Whose ends are waited for, and until when.
    awaited: ById<Micros>,
    awaited_by: BTreeSet<(Micros, JobId)>,
    uniques: Uniques,
    schedules: Schedules,
    notes: AllNotes,
    journals: Journals,
    groups: Groups,
    outbox: Outbox,
    limiting: Limiting,
    totals: QueueTotals,
    watch: Watch,
    turns: HashMap<WorkerId, LastTurn>,
    /// How long it is remembered without jobs.
    until: Micros,
    /// Jobs that came, changed or went since this was last asked, some of them more than once.
    changed: Vec<JobId>,
    /// Whether it was paused, or not any more, since then.
    turned: bool,
}

/// What is remembered of a worker's last turn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastTurn {
    number: u64,
    settled: Vec<bool>,
    delivered: Vec<(JobId, LeaseNumber)>,
    until: Micros,
}

/// What a transition answers, and what of it is announced.
pub(super) type Told<R> = (R, Vec<News>);

impl QueueState {
    /// Settles what a worker had, and gives it more.
    pub(super) fn turn(&mut self, now: Micros, ask: &Ask) -> Told<Turn> {
        match self.turns.get(&ask.worker).filter(|last| last.until > now) {
            Some(last) if last.number == ask.number => {
                return (self.again(now, ask, &last.clone()), Vec::new());
            }
            // It was overtaken by the next, so nobody waits for its answer.
            Some(last) if last.number > ask.number => return (none_of(ask), Vec::new()),
            _ => {}
        }
        let (mut news, limits) = (Vec::new(), Limits::of(ask));
        let (settled, soonest) = self.settle_and_move(now, ask, &mut news);
        self.put_back(now, ask, &limits);
        let delivered = self.deliver(now, ask, &limits, &mut news);
        let room = self.room(now, &limits);
        let is_hungry = delivered.len() < ask.want;
        self.parked.retain(|(worker, _)| *worker != ask.worker);
        if is_hungry {
            self.parked.push_back((ask.worker, now.plus(PARKED)));
        } else {
            // Who could have more leaves nothing, and knows when to come again.
            let is_looked_at = self.limiting.next_look().is_some_and(|at| at <= now);
            let is_wanted = !self.ready.is_empty() || self.is_next(soonest) || is_looked_at;
            news.extend(self.wake(now, is_wanted && !room.is_full));
        }
        let held = delivered.iter().map(|it| (it.id, it.lease)).collect();
        self.remember(now, ask, settled.clone(), held);
        let effects = self.outbox.hand_out(now, MOST_BROUGHT);
        let groups = if ask.takes_groups {
            self.groups.hand_out(now)
        } else {
            Vec::new()
        };
        let next = if is_hungry {
            self.next(now, &room)
        } else {
            None
        };
        let turn = Turn {
            settled,
            delivered,
            effects,
            groups,
            next,
        };
        (turn, news)
    }

    /// Lets deliveries last for `lease` from now.
    pub(super) fn renew(
        &mut self,
        now: Micros,
        held: &[(JobId, LeaseNumber)],
        lease: Duration,
    ) -> Vec<Renewed> {
        let renew = |(id, number): &(JobId, LeaseNumber)| {
            let Some(cancelled) = self.holds(now, *id, *number) else {
                return Renewed::Lost;
            };
            self.prolong(*id, now.plus(lease));
            if cancelled {
                Renewed::Cancelled
            } else {
                Renewed::Held
            }
        };
        held.iter().map(renew).collect()
    }

    /// Lets a job end that nobody has, and asks whoever has it to stop. `None`: there is no such job.
    pub(super) fn cancel(&mut self, now: Micros, id: JobId) -> Told<Option<JobState>> {
        let (mut news, effects) = (Vec::new(), self.outbox.len());
        let state = match self.look(now, id) {
            Some(JobState::Ready | JobState::Due(_) | JobState::Limited) => {
                self.until = now.plus(RETENTION);
                self.end(now, id, JobEnd::Cancelled, &mut news);
                news.extend(self.wake(now, self.outbox.len() > effects));
                Some(JobState::Ended(JobEnd::Cancelled))
            }
            Some(JobState::Active { .. }) => {
                self.mark_cancelled(id);
                news.push(News::Cancelled(id));
                Some(JobState::Active { cancelled: true })
            }
            over => over,
        };
        (state, news)
    }

    /// Whether jobs are delivered. Those that workers have go on.
    pub(super) fn pause(&mut self, now: Micros, paused: bool) -> Told<()> {
        self.turned |= self.paused != paused;
        self.paused = paused;
        ((), self.wake(now, !self.ready.is_empty()))
    }

    /// What the first answer to a turn said, of what still counts.
    fn again(&self, now: Micros, ask: &Ask, last: &LastTurn) -> Turn {
        let held = last.delivered.iter();
        let held = held.filter(|(id, lease)| self.holds(now, *id, *lease).is_some());
        let delivered = held.map(|(id, lease)| self.delivered(*id, *lease));
        let delivered: Vec<_> = delivered.collect();
        // Who wanted more had better look.
        let next = (delivered.len() < ask.want).then_some(Duration::ZERO);
        Turn {
            settled: last.settled.clone(),
            delivered,
            next,
            ..Turn::default()
        }
    }

    fn remember(
        &mut self,
        now: Micros,
        ask: &Ask,
        settled: Vec<bool>,
        delivered: Vec<(JobId, LeaseNumber)>,
    ) {
        self.until = now.plus(RETENTION);
        let last = LastTurn {
            number: ask.number,
            settled,
            delivered,
            until: now.plus(REMEMBERED),
        };
        if self.turns.insert(ask.worker, last).is_none() {
            self.turns.retain(|_, turn| turn.until > now);
        }
    }

    /// What a worker says of its jobs, and what has to happen by now. Returns beside whether its deliveries counted the
    /// soonest time at which a job is due since.
    fn settle_and_move(
        &mut self,
        now: Micros,
        ask: &Ask,
        news: &mut Vec<News>,
    ) -> (Vec<bool>, Option<Micros>) {
        let mut soonest = None;
        let settled = ask.settled.iter().map(|it| {
            let counted = self.settle(now, it, news);
            if counted && let Some(Place::Due(at)) = self.jobs.get(&it.id).map(|job| &job.place) {
                soonest = sooner(soonest, *at);
            }
            counted
        });
        let settled = settled.collect();
        let ran_out = self.active.iter().take_while(|(ends, ..)| *ends <= now);
        let ran_out: Vec<_> = ran_out.take(MOST_MOVED).map(|(.., id)| *id).collect();
        for id in ran_out {
            self.fail(now, id, Duration::ZERO, RAN_OUT, news);
        }
        for id in first(&self.due, now, MOST_MOVED.max(ask.want)) {
            self.make_ready(id);
        }
        // As many as come at least.
        let most = MOST_MOVED + ask.settled.len();
        for id in first(&self.ended, now, most) {
            self.forget_job(id);
        }
        for id in first(&self.dead, now, most) {
            self.forget_job(id);
        }
        self.uniques.forget(now, most);
        (settled, soonest)
    }

    fn settle(&mut self, now: Micros, it: &Settled, news: &mut Vec<News>) -> bool {
        let Some(cancelled) = self.holds(now, it.id, it.lease) else {
            return false;
        };
        match &it.settlement {
            Settlement::Succeeded { result, keep, work } => {
                self.succeed(
                    now,
                    it.id,
                    JobEnd::Succeeded(result.clone()),
                    *keep,
                    work.as_deref(),
                    news,
                );
            }
            Settlement::Dead(error) => self.end(now, it.id, JobEnd::Dead(error.clone()), news),
            Settlement::Failed { after, error } => self.fail(now, it.id, *after, error, news),
            Settlement::Cancelled => self.end(now, it.id, JobEnd::Cancelled, news),
            Settlement::Deferred(_) | Settlement::Waiting { .. } if cancelled => {
                self.end(now, it.id, JobEnd::Cancelled, news);
            }
            Settlement::Deferred(after) => self.defer(now, it.id, *after),
            Settlement::Waiting { after, seen } => {
                self.notes.has_begun(it.id);
                let is_told_more = self.journals.messages(it.id).len() as u64 > *seen;
                let after = if is_told_more { Duration::ZERO } else { *after };
                self.defer(now, it.id, after);
            }
        }
        true
    }

    /// Counts a delivery that failed.
    fn fail(&mut self, now: Micros, id: JobId, after: Duration, error: &str, news: &mut Vec<News>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.is_cancelled() {
            return self.end(now, id, JobEnd::Cancelled, news);
        }
        job.tries += 1;
        self.totals.failed += 1;
        job.error = Some(error.to_owned());
        if job.tries >= job.attempts {
            self.end(now, id, JobEnd::Dead(error.to_owned()), news);
        } else {
            self.watch.happened(now, id, || JobEventKind::Failed {
                error: error.to_owned(),
                retry: now.plus(after),
            });
            self.queue_again(now, id, after);
        }
    }

    /// Puts a job back that was not tried.
    fn defer(&mut self, now: Micros, id: JobId, after: Duration) {
        self.totals.deferred += 1;
        let until = now.plus(after);
        self.watch
            .happened(now, id, || JobEventKind::Deferred { until });
        self.queue_again(now, id, after);
    }

    fn queue_again(&mut self, now: Micros, id: JobId, after: Duration) {
        if is_nothing(after) {
            self.make_ready(id);
        } else {
            self.make_due(id, now.plus(after));
        }
    }

    /// Gives a worker what it wants of what is ready. What nobody need begin any more ends, and others take its place, within
    /// bounds.
    fn deliver(
        &mut self,
        now: Micros,
        ask: &Ask,
        limits: &Limits,
        news: &mut Vec<News>,
    ) -> Vec<Delivered> {
        let (mut delivered, mut passed) = (Vec::new(), 0);
        let want = ask.want.min(self.room(now, limits).jobs);
        while !self.paused && delivered.len() < want && passed < MOST_MOVED {
            let missing = want - delivered.len();
            let next: Vec<_> = self.ready.iter().take(missing).copied().collect();
            for (rank, id) in &next {
                if self.jobs[id].expires.is_some_and(|at| at <= now) {
                    self.end(now, *id, JobEnd::Expired, news);
                    passed += 1;
                    continue;
                }
                let (may_begin, counts) = self.admit(now, limits, (*rank, *id));
                if !may_begin {
                    passed += 1;
                    continue;
                }
                let job = &self.jobs[id];
                self.fairness.claimed(*rank, job.priority);
                let lease = LeaseNumber::after(self.lease, now, job.is_bound() || counts);
                self.lease = lease.get();
                let it = self.delivered(*id, lease);
                let attempt = it.attempt;
                self.watch
                    .happened(now, *id, || JobEventKind::Started { attempt });
                delivered.push(it);
                self.hold(*id, lease, now.plus(ask.lease));
            }
            if next.len() < missing {
                break;
            }
        }
        self.begin(now, limits, delivered.len());
        delivered
    }

    /// Wakes one who is idle, if there may be something for it.
    fn wake(&mut self, now: Micros, is_wanted: bool) -> Vec<News> {
        if !is_wanted || self.paused {
            return Vec::new();
        }
        self.parked.retain(|(_, until)| *until > now);
        let next = self.parked.pop_front();
        next.map(|(worker, _)| News::Wake(worker))
            .into_iter()
            .collect()
    }

    /// In how long something is to be had, a job is due, a lease runs out, or there is something to be brought elsewhere.
    fn next(&self, now: Micros, room: &Room) -> Option<Duration> {
        let brought = self.outbox.next_due();
        if self.paused {
            return brought.map(|at| at.since(now));
        }
        let ends = self.active.first().map(|(ends, ..)| *ends);
        let ready = (!self.ready.is_empty()).then(|| now.plus(room.wait));
        let due = self.due.first().map(|(at, _)| *at);
        let to_begin = ready.into_iter().chain(due);
        let to_begin = to_begin.chain(self.limiting.next_look());
        let to_begin = to_begin.filter(|_| !room.is_full);
        let first = to_begin.chain(ends).chain(brought).min();
        first.map(|at| at.since(now))
    }

    /// Whether this is the first time at which something is due: who is idle knows only of those before it.
    fn is_next(&self, due: Option<Micros>) -> bool {
        due.is_some() && self.due.first().map(|(at, _)| *at) == due
    }

    /// Whether there is anything of such a job.
    fn has(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || self.over.contains_key(&id)
    }

    /// Whether it is remembered that there is, or was, such a job.
    fn knows(&self, now: Micros, id: JobId) -> bool {
        self.look(now, id).is_some()
    }

    /// Forgets all that is not to be kept any longer.
    pub(super) fn forget(&mut self, now: Micros) {
        for id in first(&self.ended, now, usize::MAX) {
            self.forget_job(id);
        }
        for id in first(&self.dead, now, usize::MAX) {
            self.forget_job(id);
        }
        self.uniques.forget(now, usize::MAX);
        self.groups.forget(now, usize::MAX);
    }

    /// When there is something to forget; nothing is left at all then if there is no job, and nobody has a uniqueness key.
    pub(super) fn forgotten_at(&self) -> Option<Micros> {
        let has_jobs = !self.jobs.is_empty() || !self.over.is_empty();
        let is_empty = !has_jobs && self.uniques.is_empty() && self.outbox.is_empty();
        if is_empty && !self.paused && !self.has_open_groups() {
            let last = self.groups.last_end().unwrap_or_default();
            return Some(self.until.max(last).max(self.schedules.until()));
        }
        let (ended, dead) = (self.ended.first(), self.dead.first());
        let kept = ended.into_iter().chain(dead).map(|(at, _)| *at);
        let kept = kept.chain(self.uniques.next_end());
        kept.chain(self.groups.next_end()).min()
    }
}

/// Whether it is shorter than a home can tell.
const fn is_nothing(time: Duration) -> bool {
    time.as_micros() == 0
}

fn sooner(one: Option<Micros>, other: Micros) -> Option<Micros> {
    Some(one.map_or(other, |one| one.min(other)))
}

/// The answer to a turn that comes too late.
fn none_of(ask: &Ask) -> Turn {
    Turn {
        settled: vec![false; ask.settled.len()],
        ..Turn::default()
    }
}

/// Those whose time has come, the first ones.
fn first(dated: &BTreeSet<(Micros, JobId)>, now: Micros, most: usize) -> Vec<JobId> {
    let come = dated.iter().take_while(|(at, _)| *at <= now);
    come.take(most).map(|(_, id)| *id).collect()
}
