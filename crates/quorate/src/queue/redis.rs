//! Queues on Redis and Valkey: few keys in one slot, each with many jobs in it, and one script per transition, for a batch.

mod events;
mod firing;
mod fsck;
mod groups;
mod journals;
mod keys;
mod notes;
mod packed;
mod scripts;
mod start;
#[cfg(test)]
mod tests;
mod views;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::{Frame, Link};

use self::fsck::{read_fsck, to_fsck};
use self::groups::{pack_bring, to_effects, works_of};
use self::keys::{KEYS, OUTBOX, UNTOLD, group_keys, journal_keys, limit_keys};
use self::packed::{
    bytes, each, flags, pack_delivery, pack_jobs, pack_limits, pack_settled, state, to_pushed,
    to_turn,
};
use self::scripts::{
    AWAIT, BRING, CANCEL, EDIT, FSCK, INSPECT, LIST, LOOK, PAUSE, PUSH, REDRIVE, REMOVE, RENEW,
    STATS, TURN,
};
use self::views::{key_of, pack_spot, to_page, to_stats, to_view};
use super::ask::{
    Ask, Pushed, Removed, Renewed, Started, Turn, check_jobs, check_number, check_renewal,
};
use super::firing::{Fired, Firing};
use super::fsck::FsckPage;
use super::group::{Bring, Effect, GroupView};
use super::job::{JobId, JobState, LeaseNumber, NewJob};
use super::journal::{Append, Appended, JournalPage, ReadFrom};
use super::note::Note;
use super::port::{QueuePort, announcement, events_channel};
use super::view::{
    JobPage, JobPlace, JobView, MAX_PAGE, QueueStats, Spot, check_most, check_purged,
};
use crate::clock::Micros;
use crate::error::Result;
use crate::events::Channel;
use crate::key::{Key, Namespace};
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, micros, unexpected};
use crate::scan::{ScanCursor, ScanPage};

/// Queues of one server.
pub(crate) struct RedisQueues {
    link: Link,
    scripts: ScriptRunner,
}

impl RedisQueues {
    pub(crate) fn new(link: Link, scripts: ScriptRunner) -> Self {
        Self { link, scripts }
    }

    /// Runs a script that does something with these jobs.
    async fn operate(
        &self,
        script: &'static Script,
        queue: &Key,
        how: &[u8],
        ids: &[JobId],
        options: CallOptions,
    ) -> Result<Frame> {
        let channel = announcement(queue);
        let ids: Vec<_> = ids.iter().map(|id| id.bytes()).collect();
        let mut arguments = vec![channel.name.as_bytes(), how];
        arguments.extend(ids.iter().map(|id| &id[..]));
        self.run_with_outbox(script, queue, limit_keys(queue), &arguments, options)
            .await
    }

    async fn run(
        &self,
        script: &'static Script,
        queue: &Key,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        self.run_with(script, queue, Vec::new(), arguments, options)
            .await
    }

    /// The same with keys behind those.
    async fn run_with(
        &self,
        script: &'static Script,
        queue: &Key,
        more: Vec<String>,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let keys = KEYS.map(|rest| queue.unit("queue", rest)).into_iter();
        let keys: Vec<_> = keys.chain(more).collect();
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        self.scripts.run(script, &keys, arguments, options).await
    }

    /// The same of one in which jobs end, with keys behind those.
    async fn run_with_outbox(
        &self,
        script: &'static Script,
        queue: &Key,
        more: Vec<String>,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let keys = KEYS.iter().chain(&OUTBOX);
        let keys = keys.map(|rest| queue.unit("queue", rest)).chain(more);
        let keys: Vec<_> = keys.collect();
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        self.scripts.run(script, &keys, arguments, options).await
    }
}

#[async_trait]
impl QueuePort for RedisQueues {
    async fn push(
        &self,
        queue: &Key,
        jobs: &[NewJob],
        options: CallOptions,
    ) -> Result<Vec<Pushed>> {
        check_jobs(jobs)?;
        let (are_alike, packed) = pack_jobs(jobs);
        let channel = announcement(queue);
        let are_alike: &[u8] = if are_alike { b"1" } else { b"0" };
        let mut arguments = vec![channel.name.as_bytes(), are_alike];
        arguments.extend(packed.iter().map(Vec::as_slice));
        // What has ended, and of which its group is not told yet, is known as well; and who is debounced may be aside.
        let reply = if jobs
            .iter()
            .any(|it| it.member_of.is_some() || it.unique.is_some())
        {
            let keys = limit_keys(queue);
            self.run_with_outbox(&PUSH, queue, keys, &arguments, options)
                .await?
        } else {
            self.run(&PUSH, queue, &arguments, options).await?
        };
        to_pushed(&reply, jobs.len()).ok_or_else(|| unexpected(&reply))
    }

    async fn start(
        &self,
        queue: &Key,
        job: &NewJob,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Started> {
        self.start_job(queue, job, lease, options).await
    }

    async fn turn(&self, queue: &Key, ask: &Ask, options: CallOptions) -> Result<Turn> {
        ask.check()?;
        let mut keys = limit_keys(queue);
        if ask.takes_groups {
            keys.extend(UNTOLD.map(|rest| queue.unit("queue", rest)));
        }
        let first = KEYS.len() + OUTBOX.len() + keys.len() + 1;
        keys.extend(works_of(ask).flat_map(|it| group_keys(queue, it.group.group)));
        keys.push(queue.unit("queue", &format!(":claims:{}", ask.worker)));
        let numbers = [ask.worker, ask.number, ask.want as u64].map(|it| it.to_string());
        let (lease, channel) = (micros(ask.lease), announcement(queue));
        let settled = pack_settled(&ask.settled, first);
        let mut arguments: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
        let limits = pack_limits(&ask.limits)?;
        arguments.extend([lease.as_bytes(), channel.name.as_bytes(), &limits]);
        arguments.extend(settled.arguments.iter().map(Vec::as_slice));
        let turn = self.run_with_outbox(&TURN, queue, keys, &arguments, options);
        let reply = turn.await?;
        to_turn(&reply, &settled).ok_or_else(|| unexpected(&reply))
    }

    async fn renew(
        &self,
        queue: &Key,
        held: &[(JobId, LeaseNumber)],
        lease: Duration,
        options: CallOptions,
    ) -> Result<Vec<Renewed>> {
        check_renewal(held, lease)?;
        let lease = micros(lease);
        let held: Vec<_> = held
            .iter()
            .map(|(id, lease)| pack_delivery(*id, *lease))
            .collect();
        let mut arguments = vec![lease.as_bytes()];
        arguments.extend(held.iter().map(|it| &it[..]));
        let reply = self.run(&RENEW, queue, &arguments, options).await?;
        let renewed = |digit: u8| match digit {
            b'0' => Some(Renewed::Lost),
            b'1' => Some(Renewed::Held),
            b'2' => Some(Renewed::Cancelled),
            _ => None,
        };
        each(&reply, held.len(), renewed).ok_or_else(|| unexpected(&reply))
    }

    async fn cancel(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        let (id, channel) = (id.bytes(), announcement(queue));
        let arguments = [&id[..], channel.name.as_bytes()];
        let cancel = self.run_with_outbox(&CANCEL, queue, limit_keys(queue), &arguments, options);
        state(&cancel.await?)
    }

    async fn look(
        &self,
        queue: &Key,
        id: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        let script = if wait { &AWAIT } else { &LOOK };
        state(&self.run(script, queue, &[&id.bytes()], options).await?)
    }

    async fn note(
        &self,
        queue: &Key,
        id: JobId,
        lease: LeaseNumber,
        note: Note,
        options: CallOptions,
    ) -> Result<bool> {
        self.note_of(queue, (id, lease), note, options).await
    }

    async fn inspect(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobView>> {
        let keys = journal_keys(queue, id);
        let reply = self
            .run_with(&INSPECT, queue, keys, &[&id.bytes()], options)
            .await?;
        match &reply {
            Frame::Null => Ok(None),
            reply => to_view(reply, id)
                .map(Some)
                .ok_or_else(|| unexpected(reply)),
        }
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
        let (score, member) = pack_spot(place, after.map(Spot::read).transpose()?);
        let numbers = [limit, MAX_PAGE].map(|it| it.to_string());
        let [limit, bytes] = numbers.each_ref().map(String::as_bytes);
        let arguments = [key_of(place), limit, bytes, score.as_bytes(), &member];
        let reply = self.run(&LIST, queue, &arguments, options).await?;
        to_page(&reply, place).ok_or_else(|| unexpected(&reply))
    }

    async fn stats(&self, queue: &Key, options: CallOptions) -> Result<QueueStats> {
        let reply = self
            .run_with_outbox(&STATS, queue, Vec::new(), &[], options)
            .await?;
        to_stats(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn queues(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        self.scan(namespace, prefix, from, options).await
    }

    async fn redrive(&self, queue: &Key, ids: &[JobId], options: CallOptions) -> Result<Vec<bool>> {
        check_number("ids", ids.len())?;
        let reply = self.operate(&REDRIVE, queue, b"0", ids, options).await?;
        flags(&reply, ids.len()).ok_or_else(|| unexpected(&reply))
    }

    async fn redrive_dead(&self, queue: &Key, most: usize, options: CallOptions) -> Result<usize> {
        check_most("most", most)?;
        let (channel, most) = (announcement(queue), most.to_string());
        let arguments = [channel.name.as_bytes(), most.as_bytes()];
        let reply = self.run(&REDRIVE, queue, &arguments, options).await?;
        let done = bytes(&reply).ok_or_else(|| unexpected(&reply))?;
        Ok(done.iter().filter(|it| **it == b'1').count())
    }

    async fn edit(
        &self,
        queue: &Key,
        id: JobId,
        input: Bytes,
        options: CallOptions,
    ) -> Result<bool> {
        let reply = self
            .run(&EDIT, queue, &[&id.bytes(), &input], options)
            .await?;
        match reply.as_int() {
            Some(done @ (0 | 1)) => Ok(done == 1),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn remove(
        &self,
        queue: &Key,
        ids: &[JobId],
        options: CallOptions,
    ) -> Result<Vec<Removed>> {
        check_number("ids", ids.len())?;
        let reply = self.operate(&REMOVE, queue, b"0", ids, options).await?;
        let removed = |digit: u8| match digit {
            b'0' => Some(Removed::Unknown),
            b'1' => Some(Removed::Gone),
            b'2' => Some(Removed::Active),
            _ => None,
        };
        each(&reply, ids.len(), removed).ok_or_else(|| unexpected(&reply))
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
        let (channel, most) = (announcement(queue), most.to_string());
        let arguments = [channel.name.as_bytes(), key_of(place), most.as_bytes()];
        let remove = self.run_with_outbox(&REMOVE, queue, limit_keys(queue), &arguments, options);
        let reply = remove.await?;
        let done = bytes(&reply).ok_or_else(|| unexpected(&reply))?;
        Ok(done.iter().filter(|it| **it == b'1').count())
    }

    async fn fsck(
        &self,
        queue: &Key,
        from: Option<&ScanCursor>,
        repair: bool,
        options: CallOptions,
    ) -> Result<FsckPage> {
        let (part, cursor) = read_fsck(from)?;
        let channel = announcement(queue);
        let repair: &[u8] = if repair { b"1" } else { b"0" };
        let arguments = [
            channel.name.as_bytes(),
            repair,
            part.as_bytes(),
            cursor.as_bytes(),
        ];
        let fsck = self.run_with_outbox(&FSCK, queue, limit_keys(queue), &arguments, options);
        let reply = fsck.await?;
        to_fsck(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn bring(&self, queue: &Key, bring: &Bring, options: CallOptions) -> Result<Vec<Effect>> {
        bring.check()?;
        let channel = announcement(queue);
        let (arguments, groups) = pack_bring(bring);
        let mut parts = vec![channel.name.as_bytes()];
        parts.extend(arguments.iter().map(|it| &it[..]));
        let keys = UNTOLD.map(|rest| queue.unit("queue", rest)).into_iter();
        let groups = groups.into_iter().flat_map(|id| group_keys(queue, id));
        let keys = keys.chain(groups).collect();
        let brought = self.run_with_outbox(&BRING, queue, keys, &parts, options);
        let reply = brought.await?;
        to_effects(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn look_group(
        &self,
        queue: &Key,
        group: JobId,
        wait: bool,
        options: CallOptions,
    ) -> Result<Option<GroupView>> {
        self.group_of(queue, group, wait, options).await
    }

    async fn fire(
        &self,
        queue: &Key,
        firing: &Firing,
        options: CallOptions,
    ) -> Result<(Fired, Micros)> {
        self.fire_moment(queue, firing, options).await
    }

    async fn schedules(&self, queue: &Key, options: CallOptions) -> Result<Vec<(String, Micros)>> {
        self.list_schedules(queue, options).await
    }

    async fn unschedule(&self, queue: &Key, name: &str, options: CallOptions) -> Result<bool> {
        self.forget_schedule(queue, name, options).await
    }

    async fn pause(&self, queue: &Key, paused: bool, options: CallOptions) -> Result<()> {
        let channel = announcement(queue);
        let paused: &[u8] = if paused { b"1" } else { b"0" };
        let arguments = [paused, channel.name.as_bytes()];
        let reply = self.run(&PAUSE, queue, &arguments, options).await?;
        match reply.as_int() {
            Some(1) => Ok(()),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn watch(&self, queue: &Key, options: CallOptions) -> Result<u64> {
        self.watch_events(queue, options).await
    }

    async fn append(
        &self,
        queue: &Key,
        appends: &[Append],
        options: CallOptions,
    ) -> Result<Vec<Appended>> {
        self.append_to(queue, appends, options).await
    }

    async fn read(
        &self,
        queue: &Key,
        id: JobId,
        from: ReadFrom,
        options: CallOptions,
    ) -> Result<Option<JournalPage>> {
        self.read_of(queue, id, from, options).await
    }

    async fn tell(
        &self,
        queue: &Key,
        id: JobId,
        message: Bytes,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        self.tell_job(queue, id, &message, options).await
    }

    async fn rewind(
        &self,
        queue: &Key,
        id: JobId,
        entries: u64,
        options: CallOptions,
    ) -> Result<bool> {
        self.rewind_job(queue, id, entries, options).await
    }

    fn announced_on(&self, queue: &Key) -> Option<Channel> {
        Some(announcement(queue))
    }

    fn told_on(&self, queue: &Key) -> Option<Channel> {
        Some(events_channel(queue))
    }
}

impl fmt::Display for RedisQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("queues on Redis")
    }
}

impl fmt::Debug for RedisQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisQueues")
    }
}
