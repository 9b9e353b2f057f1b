//! Queues in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::ask::{
    Ask, Pushed, Removed, Renewed, Started, Turn, check_jobs, check_number, check_renewal,
    check_start,
};
use super::firing::{Fired, Firing, check_schedule};
use super::fsck::FsckPage;
use super::group::{Bring, Effect, GroupView};
use super::job::{JobId, JobState, LeaseNumber, NewJob};
use super::journal::{Append, Appended, JournalPage, ReadFrom, check_appends, check_entry};
use super::note::Note;
use super::port::{QueuePort, announcement, events_channel};
use super::state::{QueueState, Told};
use super::view::{JobPage, JobPlace, JobView, QueueStats, Spot, check_most, check_purged};
use crate::clock::{HomeClock, Micros};
use crate::embedded::{Disk, State, Table, Ticket};
use crate::error::{Error, Outcome, Result};
use crate::events::{Channel, EventsPort};
use crate::key::{Key, Namespace};
use crate::port::CallOptions;
use crate::scan::{ScanCursor, ScanPage};

/// The queues of a home.
pub(crate) type QueueTable = Table<QueueState>;

impl State for QueueState {
    fn forgotten_at(&self, _now: Micros) -> Option<Micros> {
        self.forgotten_at()
    }

    fn expire(&mut self, now: Micros) {
        self.forget(now);
    }

    fn changed_sides(&mut self) -> Vec<Arc<str>> {
        self.take_changed().into_iter().map(Into::into).collect()
    }

    fn forget_changed_sides(&mut self) {
        self.forget_changed();
    }
}

/// Each job has a side row, and so has each uniqueness key, so that a change of one does not write the others.
#[cfg(feature = "file")]
impl crate::embedded::Kept for QueueState {
    const TABLE: &'static str = "queue";

    fn row(&self) -> Option<Vec<u8>> {
        self.row()
    }

    fn from_row(row: &[u8]) -> Option<Self> {
        Self::from_row(row)
    }

    const SIDES: Option<&'static str> = Some("queue-job");

    fn side_row(&self, name: &str) -> Option<Vec<u8>> {
        self.side_row(name)
    }

    fn take_side(&mut self, name: &str, row: &[u8]) -> Option<()> {
        self.take_side(name, row)
    }
}

/// One instance's access to the queues of its home.
pub(crate) struct MemoryQueues {
    table: Arc<QueueTable>,
    disk: Disk,
    events: Arc<dyn EventsPort>,
}

impl MemoryQueues {
    pub(crate) fn new(table: Arc<QueueTable>, disk: Disk, events: Arc<dyn EventsPort>) -> Self {
        Self {
            table,
            disk,
            events,
        }
    }

    /// One transition, announced at once and answered when it is on disk.
    async fn change<R>(
        &self,
        queue: &Key,
        options: CallOptions,
        apply: impl FnOnce(&mut QueueState, Micros) -> Told<R>,
    ) -> Result<R> {
        self.disk.check_writable()?;
        let ((reply, news), ticket) = self.table.change(queue, |state, now| {
            let told = apply(state, now);
            if let Some(batch) = state.take_happened() {
                // Under the lock of the queue: batches are told in the order of their numbers.
                let channel = events_channel(queue);
                self.events.publish(&channel, batch.encode(), options);
            }
            (told, state.is_changed())
        });
        // Not behind the wait: who gives up meanwhile does not take it back, and who hears of it waits for the disk itself.
        for it in news {
            let text = Bytes::from(it.to_string());
            self.events.publish(&announcement(queue), text, options);
        }
        self.written(ticket, options, Outcome::Unknown).await?;
        Ok(reply)
    }

    /// What is seen of a queue, if there is one, when it is on disk.
    async fn see<R>(
        &self,
        queue: &Key,
        options: CallOptions,
        look: impl FnOnce(&QueueState, Micros) -> R,
    ) -> Result<Option<R>> {
        self.disk.check_open()?;
        let look = |state: &QueueState, clock: &HomeClock| look(state, clock.now());
        let (seen, ticket) = self.table.look_kept(queue, look);
        self.written(ticket, options, Outcome::NotApplied).await?;
        Ok(seen)
    }

    /// Waits until what was seen is on disk.
    async fn written(&self, ticket: Ticket, options: CallOptions, outcome: Outcome) -> Result<()> {
        match self.disk.written(ticket, options.deadline, outcome) {
            Some(written) => written.await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl QueuePort for MemoryQueues {
    async fn push(
        &self,
        queue: &Key,
        jobs: &[NewJob],
        options: CallOptions,
    ) -> Result<Vec<Pushed>> {
        check_jobs(jobs)?;
        let jobs = jobs.to_vec();
        self.change(queue, options, |state, now| state.push(now, jobs))
            .await
    }

    async fn start(
        &self,
        queue: &Key,
        job: &NewJob,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Started> {
        check_start(job, lease)?;
        let job = job.clone();
        self.change(queue, options, |state, now| state.start(now, job, lease))
            .await
    }

    async fn turn(&self, queue: &Key, ask: &Ask, options: CallOptions) -> Result<Turn> {
        ask.check()?;
        self.change(queue, options, |state, now| state.turn(now, ask))
            .await
    }

    async fn renew(
        &self,
        queue: &Key,
        held: &[(JobId, LeaseNumber)],
        lease: Duration,
        options: CallOptions,
    ) -> Result<Vec<Renewed>> {
        check_renewal(held, lease)?;
        self.change(queue, options, |state, now| {
            (state.renew(now, held, lease), Vec::new())
        })
        .await
    }

    async fn cancel(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        self.change(queue, options, |state, now| state.cancel(now, id))
            .await
    }

    async fn look(
        &self,
        queue: &Key,
        id: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        if !wait {
            let seen = self.see(queue, options, |state, now| state.look(now, id));
            return Ok(seen.await?.flatten());
        }
        self.disk.check_open()?;
        let (seen, ticket) = self
            .table
            .change(queue, |state, now| (state.look_and_wait(now, id), false));
        self.written(ticket, options, Outcome::NotApplied).await?;
        Ok(seen)
    }

    async fn note(
        &self,
        queue: &Key,
        id: JobId,
        lease: LeaseNumber,
        note: Note,
        options: CallOptions,
    ) -> Result<bool> {
        note.check()?;
        self.change(queue, options, |state, now| {
            state.note(now, id, lease, note)
        })
        .await
    }

    async fn inspect(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobView>> {
        let seen = self.see(queue, options, |state, now| state.inspect(now, id));
        Ok(seen.await?.flatten())
    }

    async fn list(
        &self,
        queue: &Key,
        place: JobPlace,
        after: Option<&ScanCursor>,
        limit: usize,
        options: CallOptions,
    ) -> Result<JobPage> {
        check_most("limit", limit)?;
        let after = after.map(Spot::read).transpose()?;
        let seen = self.see(queue, options, |state, now| {
            state.list(now, place, after, limit)
        });
        Ok(seen.await?.unwrap_or_default())
    }

    async fn stats(&self, queue: &Key, options: CallOptions) -> Result<QueueStats> {
        let seen = self.see(queue, options, QueueState::stats).await?;
        Ok(seen.unwrap_or_default())
    }

    async fn queues(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        _options: CallOptions,
    ) -> Result<ScanPage> {
        self.disk.check_open()?;
        // A page is what one part of the table holds, which is locked meanwhile.
        let part = from.map_or(0, |cursor| cursor.as_str().parse().unwrap_or(usize::MAX));
        let mut names = Vec::new();
        let more = self.table.each_of(part, |queue, _, _| {
            if queue.namespace() == namespace && queue.name().starts_with(prefix) {
                names.push(queue.name().to_owned());
            }
        });
        let next = more.then(|| ScanCursor::new((part + 1).to_string()));
        Ok(ScanPage { names, next })
    }

    async fn redrive(&self, queue: &Key, ids: &[JobId], options: CallOptions) -> Result<Vec<bool>> {
        check_number("ids", ids.len())?;
        self.change(queue, options, |state, now| state.redrive(now, ids))
            .await
    }

    async fn redrive_dead(&self, queue: &Key, most: usize, options: CallOptions) -> Result<usize> {
        check_most("most", most)?;
        self.change(queue, options, |state, now| state.redrive_dead(now, most))
            .await
    }

    async fn edit(
        &self,
        queue: &Key,
        id: JobId,
        input: Bytes,
        options: CallOptions,
    ) -> Result<bool> {
        self.change(queue, options, |state, now| {
            (state.edit(now, id, input), Vec::new())
        })
        .await
    }

    async fn remove(
        &self,
        queue: &Key,
        ids: &[JobId],
        options: CallOptions,
    ) -> Result<Vec<Removed>> {
        check_number("ids", ids.len())?;
        self.change(queue, options, |state, now| state.remove(now, ids))
            .await
    }

    async fn purge(
        &self,
        queue: &Key,
        place: JobPlace,
        most: usize,
        options: CallOptions,
    ) -> Result<usize> {
        check_most("most", most)?;
        check_purged(place)?;
        self.change(queue, options, |state, now| state.purge(now, place, most))
            .await
    }

    async fn fsck(
        &self,
        queue: &Key,
        from: Option<&ScanCursor>,
        repair: bool,
        options: CallOptions,
    ) -> Result<FsckPage> {
        if from.is_some() {
            return Err(Error::invalid("cursor", "must be none: there is one page"));
        }
        self.change(queue, options, |state, _| (state.fsck(repair), Vec::new()))
            .await
    }

    async fn bring(&self, queue: &Key, bring: &Bring, options: CallOptions) -> Result<Vec<Effect>> {
        bring.check()?;
        let bring = bring.clone();
        self.change(queue, options, |state, now| state.bring(now, bring))
            .await
    }

    async fn look_group(
        &self,
        queue: &Key,
        group: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<GroupView>> {
        self.disk.check_open()?;
        let look = |state: &mut QueueState, now| (state.look_group(now, group, wait), false);
        let (seen, ticket) = self.table.change(queue, look);
        self.written(ticket, options, Outcome::NotApplied).await?;
        Ok(seen)
    }

    async fn fire(
        &self,
        queue: &Key,
        firing: &Firing,
        options: CallOptions,
    ) -> Result<(Fired, Micros)> {
        firing.check()?;
        let firing = firing.clone();
        self.change(queue, options, |state, now| {
            let (fired, news) = state.fire(now, firing);
            ((fired, now), news)
        })
        .await
    }

    async fn schedules(&self, queue: &Key, options: CallOptions) -> Result<Vec<(String, Micros)>> {
        let seen = self.see(queue, options, QueueState::schedules).await?;
        Ok(seen.unwrap_or_default())
    }

    async fn unschedule(&self, queue: &Key, name: &str, options: CallOptions) -> Result<bool> {
        check_schedule(name)?;
        self.change(queue, options, |state, now| {
            (state.unschedule(now, name), Vec::new())
        })
        .await
    }

    async fn pause(&self, queue: &Key, paused: bool, options: CallOptions) -> Result<()> {
        self.change(queue, options, |state, now| state.pause(now, paused))
            .await
    }

    async fn watch(&self, queue: &Key, options: CallOptions) -> Result<u64> {
        self.disk.check_open()?;
        let (number, ticket) = self
            .table
            .change(queue, |state, now| (state.watch(now), false));
        self.written(ticket, options, Outcome::NotApplied).await?;
        Ok(number)
    }

    async fn append(
        &self,
        queue: &Key,
        appends: &[Append],
        options: CallOptions,
    ) -> Result<Vec<Appended>> {
        check_appends(appends)?;
        self.change(queue, options, |state, now| {
            (state.append(now, appends), Vec::new())
        })
        .await
    }

    async fn read(
        &self,
        queue: &Key,
        id: JobId,
        from: ReadFrom,
        options: CallOptions,
    ) -> Result<Option<JournalPage>> {
        let seen = self.see(queue, options, |state, now| state.read(now, id, from));
        Ok(seen.await?.flatten())
    }

    async fn tell(
        &self,
        queue: &Key,
        id: JobId,
        message: Bytes,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        check_entry("message", &message)?;
        self.change(queue, options, |state, now| state.tell(now, id, message))
            .await?
    }

    async fn rewind(
        &self,
        queue: &Key,
        id: JobId,
        entries: u64,
        options: CallOptions,
    ) -> Result<bool> {
        self.change(queue, options, |state, now| state.rewind(now, id, entries))
            .await?
    }

    fn announced_on(&self, queue: &Key) -> Option<Channel> {
        Some(announcement(queue))
    }

    fn told_on(&self, queue: &Key) -> Option<Channel> {
        Some(events_channel(queue))
    }
}

impl fmt::Display for MemoryQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in-process queues")
    }
}

impl fmt::Debug for MemoryQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryQueues")
    }
}
