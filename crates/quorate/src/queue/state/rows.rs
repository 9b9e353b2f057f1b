//! A queue in the file of its home: what it counts in its row, and each job in a side row.

use super::super::fairness::{Fairness, Rank};
use super::super::group::Effect;
use super::super::job::{JobId, LeaseNumber};
use super::super::limits::Begun;
use super::places::{Job, Over, Place};
use super::side::Side;
use super::{QueueState, QueueTotals};
use crate::clock::Micros;
use crate::embedded::{decode, encode};

/// What the row of a job begins with that is over, and not dead.
const OVER: u8 = 2;

impl QueueState {
    /// What it counts, if there is anything to count on.
    pub(in crate::queue) fn row(&self) -> Option<Vec<u8>> {
        let has_jobs = !self.jobs.is_empty() || !self.over.is_empty() || !self.uniques.is_empty();
        let has_groups = !self.groups.is_empty() || !self.outbox.is_empty();
        let is_there = self.paused || has_jobs || has_groups || !self.schedules.is_empty();
        let numbers = || (self.fairness.turn(), self.lease, self.paused, self.totals);
        is_there.then(|| encode(1, &numbers()))
    }

    /// To be followed by its jobs. Until a worker comes by it is not forgotten, though it seems to have none.
    pub(in crate::queue) fn from_row(row: &[u8]) -> Option<Self> {
        let (turn, lease, paused, totals): (Rank, u64, bool, QueueTotals) = decode(1, row)?;
        Some(Self {
            fairness: Fairness::after(turn),
            lease,
            paused,
            totals,
            until: Micros::new(u64::MAX),
            ..Self::default()
        })
    }

    /// The row of what is called so.
    pub(in crate::queue) fn side_row(&self, name: &str) -> Option<Vec<u8>> {
        match Side::parse(name)? {
            Side::Job(id) => {
                let over = || self.over.get(&id).map(|over| encode(OVER, over));
                self.jobs.get(&id).map(|job| encode(1, job)).or_else(over)
            }
            Side::Notes(id) => self.notes.of(id).map(|notes| encode(1, notes)),
            Side::Line(line) => self.journals.line(line).map(|line| encode(1, line)),
            Side::Unique(key) => {
                let holder = self.uniques.get(key)?;
                Some(encode(1, &(holder.id, holder.until)))
            }
            Side::Group(id, part) => self.groups.row(id, part),
            Side::Begun(group) => {
                let begun = self.limiting.begun_row(group)?;
                Some(encode(1, &begun.0))
            }
            Side::Effect(name) => self.outbox.get(name).map(|effect| encode(1, effect)),
            Side::Schedule(name) => {
                let moment = self.schedules.get(name)?;
                Some(encode(1, &(moment, self.schedules.until())))
            }
        }
    }

    /// Takes back what is called so.
    pub(in crate::queue) fn take_side(&mut self, name: &str, row: &[u8]) -> Option<()> {
        match Side::parse(name)? {
            Side::Job(id) => self.take_job(id, row),
            // Gone with its job, which was to be kept no longer.
            Side::Notes(id) if !self.has(id) => {
                self.notes.changed().push(id);
                Some(())
            }
            Side::Notes(id) => {
                self.notes.put_back(id, decode(1, row)?);
                Some(())
            }
            Side::Line(line) if !self.has(line.0) => {
                self.journals.is_gone(line);
                Some(())
            }
            Side::Line(line) => self.journals.put_back(line, decode(1, row)?),
            Side::Unique(key) => {
                let (id, until): (JobId, Option<Micros>) = decode(1, row)?;
                self.uniques.give(key, id, until);
                self.uniques.changed().clear();
                Some(())
            }
            Side::Group(id, part) => self.groups.put_back(id, part, row),
            Side::Effect(_) => self.take_effect(row),
            Side::Begun(group) => {
                let begun: Micros = decode(1, row)?;
                self.limiting.put_back(group, Begun(begun));
                Some(())
            }
            Side::Schedule(name) => {
                let (moment, until): (Micros, Micros) = decode(1, row)?;
                self.schedules.put_back(name, moment, until);
                Some(())
            }
        }
    }

    /// Takes an effect back. Who was performing it is gone with the process.
    fn take_effect(&mut self, row: &[u8]) -> Option<()> {
        let effect: Effect = decode(1, row)?;
        self.outbox.add(Micros::default(), effect);
        self.outbox.changed().clear();
        Some(())
    }

    /// Takes a job back. A worker that had it is gone with the process, so its lease has ended.
    fn take_job(&mut self, id: JobId, row: &[u8]) -> Option<()> {
        if let Some(over) = decode::<Over>(OVER, row) {
            self.ended.insert((over.until, id));
            self.over.insert(id, over);
            return Some(());
        }
        let mut job: Job = decode(1, row)?;
        if let Place::Limited(rank) = job.place {
            // Nobody has jobs of its group any more.
            job.place = Place::Ready(rank);
        }
        match &mut job.place {
            Place::Ready(rank) => {
                self.ready.insert((*rank, id));
                self.fairness.saw(&job.group, *rank, job.priority);
            }
            Place::Due(due) => {
                self.due.insert((*due, id));
            }
            Place::Active { lease, ends, .. } => {
                *ends = Micros::default();
                self.active.insert((*ends, *lease, id));
                self.lease = self.lease.max(LeaseNumber::get(*lease));
            }
            Place::Dead(until, _) => {
                self.dead.insert((*until, id));
            }
            Place::Limited(_) => {}
        }
        self.jobs.insert(id, job);
        Some(())
    }
}
