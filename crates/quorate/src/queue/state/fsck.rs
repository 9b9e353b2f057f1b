//! Whether a queue is what its jobs say: a pure function. Here a job says where it is, so that only what is kept beside it can be
//! wrong; `fsck.lua` does the same where its place is all that says so.

use super::super::fsck::{FsckPage, Stray};
use super::super::job::JobId;
use super::QueueState;
use super::places::Place;
use crate::clock::Micros;

impl QueueState {
    /// All of it at once. With `repair`, what is wrong is put right.
    pub(in crate::queue) fn fsck(&mut self, repair: bool) -> FsckPage {
        let (mut checked, mut strays) = (0, Vec::new());
        for (id, is_there) in self.members() {
            checked += 1;
            if !is_there {
                strays.push(Stray::Member(id));
            }
        }
        for (id, job) in &self.jobs {
            checked += 1;
            if !self.is_indexed(*id, &job.place) {
                strays.push(Stray::Unplaced(*id));
            }
        }
        for (id, over) in &self.over {
            checked += 1;
            if !self.ended.contains(&(over.until, *id)) {
                strays.push(Stray::Unplaced(*id));
            }
        }
        let keys = self.uniques.strays(|id| {
            let place = self.jobs.get(&id).map(|job| &job.place);
            place.is_some_and(|place| !matches!(place, Place::Dead(..)))
        });
        let notes = self.notes.without(|id| self.has(id));
        let journals = self.journals.without(|id| self.has(id));
        if repair {
            if !strays.is_empty() {
                self.index_anew();
            }
            keys.iter().for_each(|key| self.uniques.drop_key(key));
            notes.iter().for_each(|id| self.notes.forget(*id));
            journals.iter().for_each(|id| self.journals.forget(*id));
        }
        strays.extend(keys.into_iter().map(Stray::Key));
        strays.extend(notes.into_iter().map(Stray::Note));
        strays.extend(journals.into_iter().map(Stray::Journal));
        FsckPage {
            checked,
            strays,
            next: None,
        }
    }

    /// Who is in an index, and whether the job says so.
    fn members(&self) -> impl Iterator<Item = (JobId, bool)> {
        let place = |id: &JobId| self.jobs.get(id).map(|job| &job.place);
        let ready = self.ready.iter().map(move |(rank, id)| {
            let is_there = matches!(place(id), Some(Place::Ready(it)) if it == rank);
            (*id, is_there)
        });
        let due = self.due.iter().map(move |(at, id)| {
            let is_there = matches!(place(id), Some(Place::Due(it)) if it == at);
            (*id, is_there)
        });
        let active = self.active.iter().map(move |(until, number, id)| {
            let is_there = matches!(place(id),
                Some(Place::Active { lease, ends, .. }) if (ends, lease) == (until, number));
            (*id, is_there)
        });
        let ended = self.ended.iter().map(move |(at, id)| {
            let is_there = self.over.get(id).is_some_and(|over| over.until == *at);
            (*id, is_there)
        });
        let dead = self.dead.iter().map(move |(at, id)| {
            let is_there = matches!(place(id), Some(Place::Dead(until, _)) if until == at);
            (*id, is_there)
        });
        let aside = self.limiting.aside().iter().map(move |(rank, id)| {
            let is_there = matches!(place(id), Some(Place::Limited(it)) if it == rank);
            (*id, is_there)
        });
        let waiting = ready.chain(due).chain(aside);
        waiting.chain(active).chain(ended).chain(dead)
    }

    fn is_indexed(&self, id: JobId, place: &Place) -> bool {
        match place {
            Place::Ready(rank) => self.ready.contains(&(*rank, id)),
            Place::Due(at) => self.due.contains(&(*at, id)),
            Place::Active { lease, ends, .. } => self.active.contains(&(*ends, *lease, id)),
            Place::Limited(rank) => self.limiting.aside().contains(&(*rank, id)),
            Place::Dead(until, _) => self.dead.contains(&(*until, id)),
        }
    }

    fn index_anew(&mut self) {
        self.ready.clear();
        self.due.clear();
        self.active.clear();
        self.ended.clear();
        self.dead.clear();
        self.limiting.clear_aside();
        for (id, job) in &self.jobs {
            match &job.place {
                Place::Ready(rank) => {
                    self.ready.insert((*rank, *id));
                }
                Place::Due(at) => {
                    self.due.insert((*at, *id));
                }
                Place::Active { lease, ends, .. } => {
                    self.active.insert((*ends, *lease, *id));
                }
                Place::Dead(until, _) => {
                    self.dead.insert((*until, *id));
                }
                Place::Limited(rank) => {
                    let looked_at = Micros::default();
                    self.limiting.put_aside(&job.group, (*rank, *id), looked_at);
                }
            }
        }
        let over = self.over.iter().map(|(id, over)| (over.until, *id));
        self.ended.extend(over);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Micros;
    use crate::queue::job::NewJob;

    /// Whatever is wrong beside the jobs, they say what is right.
    #[test]
    fn indexes_are_made_anew_from_the_jobs() {
        let mut queue = QueueState::default();
        let job = |delay| NewJob {
            id: JobId::random(),
            input: Bytes::new(),
            delay: Duration::from_secs(delay),
            priority: 0,
            group: String::new(),
            attempts: 1,
            expires: None,
            keep: Duration::ZERO,
            member_of: None,
            unique: None,
        };
        queue.push(Micros::new(1), vec![job(0), job(0), job(9)]);
        let right = (queue.ready.clone(), queue.due.clone());
        assert_eq!(queue.fsck(true).strays, []);
        let lost = queue.ready.pop_first().unwrap().1;
        let stranger = JobId::random();
        queue.due.insert((Micros::new(5), stranger));
        let strays = [Stray::Member(stranger), Stray::Unplaced(lost)];
        assert_eq!(queue.fsck(false).strays, strays);
        assert_eq!(queue.fsck(true).strays, strays);
        assert_eq!(queue.fsck(true).strays, []);
        assert_eq!((queue.ready, queue.due), right);
    }
}
