//! Queues on Redis and Valkey: few keys in one slot, each with many jobs in it, and one script per transition, for a batch.

mod fsck;
mod packed;
mod views;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::{Frame, Lane, Link};

use self::fsck::{read_fsck, to_fsck};
use self::packed::{
    bytes, each, flags, pack_delivery, pack_jobs, pack_settled, state, to_pushed, to_turn,
};
use self::views::{key_of, pack_spot, to_names, to_page, to_stats, to_view};
use super::ask::{Ask, Pushed, Removed, Renewed, Turn, check_jobs, check_number, check_renewal};
use super::fsck::FsckPage;
use super::job::{JobId, JobState, LeaseNumber, NewJob};
use super::note::Note;
use super::port::{QueuePort, announcement};
use super::view::{
    JobPage, JobPlace, JobView, MAX_PAGE, QueueStats, Spot, check_most, check_purged,
};
use crate::error::Result;
use crate::events::Channel;
use crate::glob;
use crate::key::{Key, Namespace, hash_tag};
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, from_link, micros, unexpected};
use crate::scan::{ScanCursor, ScanPage};

/// Keys that a server looks at for one page of a scan.
const LOOKED_AT: &[u8] = b"500";
/// What the scripts have in common.
const LIBRARY: &str = include_str!("library.lua");
/// The same, for those in which jobs come or end.
const WITH_KEYS: &str = concat!(include_str!("library.lua"), include_str!("unique.lua"));

/// The same, for those that queue jobs.
const PUSHING: &str = concat!(
    include_str!("library.lua"),
    include_str!("unique.lua"),
    include_str!("pushing.lua")
);

static PUSH: Script = Script::with_library(include_str!("scripts/push.lua"), PUSHING);
static TURN: Script = Script::with_library(include_str!("scripts/turn.lua"), WITH_KEYS);
static RENEW: Script = Script::with_library(include_str!("scripts/renew.lua"), LIBRARY);
static CANCEL: Script = Script::with_library(include_str!("scripts/cancel.lua"), WITH_KEYS);
static LOOK: Script = Script::with_library(include_str!("scripts/look.lua"), LIBRARY);
static AWAIT: Script = Script::with_library(include_str!("scripts/await.lua"), LIBRARY);
static NOTE: Script = Script::with_library(include_str!("scripts/note.lua"), LIBRARY);
static INSPECT: Script = Script::with_library(include_str!("scripts/inspect.lua"), LIBRARY);
static LIST: Script = Script::with_library(include_str!("scripts/list.lua"), LIBRARY);
static STATS: Script = Script::with_library(include_str!("scripts/stats.lua"), LIBRARY);
static REDRIVE: Script = Script::with_library(include_str!("scripts/redrive.lua"), WITH_KEYS);
static EDIT: Script = Script::with_library(include_str!("scripts/edit.lua"), LIBRARY);
static REMOVE: Script = Script::with_library(include_str!("scripts/remove.lua"), WITH_KEYS);
static FSCK: Script = Script::with_library(include_str!("scripts/fsck.lua"), WITH_KEYS);
static PAUSE: Script = Script::with_library(include_str!("scripts/pause.lua"), LIBRARY);

/// What the keys of a queue are called behind its name, in the order of `library.lua` and `unique.lua`.
const KEYS: [&str; 16] = [
    "",
    ":jobs",
    ":ready",
    ":due",
    ":active",
    ":ended",
    ":results",
    ":tries",
    ":tags",
    ":parked",
    ":cancelled",
    ":awaited",
    ":dead",
    ":unique",
    ":unique-until",
    ":notes",
];

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
        self.run(script, queue, &arguments, options).await
    }

    async fn run(
        &self,
        script: &'static Script,
        queue: &Key,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let keys = KEYS.map(|rest| queue.unit("queue", rest));
        let keys = keys.each_ref().map(String::as_bytes);
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
        let reply = self.run(&PUSH, queue, &arguments, options).await?;
        to_pushed(&reply, jobs.len()).ok_or_else(|| unexpected(&reply))
    }

    async fn turn(&self, queue: &Key, ask: &Ask, options: CallOptions) -> Result<Turn> {
        ask.check()?;
        let mut keys = KEYS.map(|rest| queue.unit("queue", rest)).to_vec();
        keys.push(queue.unit("queue", &format!(":claims:{}", ask.worker)));
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let numbers = [ask.worker, ask.number, ask.want as u64].map(|it| it.to_string());
        let (lease, channel) = (micros(ask.lease), announcement(queue));
        let settled = pack_settled(&ask.settled);
        let mut arguments: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
        arguments.extend([lease.as_bytes(), channel.name.as_bytes()]);
        arguments.extend(settled.arguments.iter().map(Vec::as_slice));
        let reply = self.scripts.run(&TURN, &keys, &arguments, options).await?;
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
        state(&self.run(&CANCEL, queue, &arguments, options).await?)
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
        note.check()?;
        let (channel, delivery) = (announcement(queue), pack_delivery(id, lease));
        let (kind, said): (&[u8], &[u8]) = match &note {
            Note::Progress(value) => (b"p", value),
            Note::Checkpoint(value) => (b"c", value),
            Note::Log(line) => (b"l", line.as_bytes()),
        };
        let arguments = [channel.name.as_bytes(), &delivery, kind, said];
        let reply = self.run(&NOTE, queue, &arguments, options).await?;
        match reply.as_int() {
            Some(held @ (0 | 1)) => Ok(held == 1),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn inspect(
        &self,
        queue: &Key,
        id: JobId,
        options: CallOptions,
    ) -> Result<Option<JobView>> {
        let reply = self.run(&INSPECT, queue, &[&id.bytes()], options).await?;
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
        let reply = self.run(&STATS, queue, &[], options).await?;
        to_stats(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn queues(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        let area = glob::escape(&namespace.qualify("queue:{"));
        let pattern = format!("{area}{}*}}", glob::escape(&hash_tag(prefix)));
        let cursor = from.map_or("0", ScanCursor::as_str);
        let parts: [&[u8]; 8] = [
            b"SCAN",
            cursor.as_bytes(),
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            LOOKED_AT,
            b"TYPE",
            b"string",
        ];
        let options = options.link().lane(Lane::Bulk);
        let reply = self.link.call(&parts, &options).await.map_err(from_link)?;
        to_names(&reply, namespace).ok_or_else(|| unexpected(&reply))
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
        let reply = self.run(&REMOVE, queue, &arguments, options).await?;
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
        let reply = self.run(&FSCK, queue, &arguments, options).await?;
        to_fsck(&reply).ok_or_else(|| unexpected(&reply))
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

    fn announced_on(&self, queue: &Key) -> Option<Channel> {
        Some(announcement(queue))
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

#[cfg(test)]
mod tests {
    use super::super::fairness::HEAD_START;
    use super::super::note::{MAX_LOG, MOST_LINES};
    use super::super::state::{
        AWAITED, KEEP_DEAD, MOST_MOVED, PARKED, RAN_OUT, REMEMBERED, RETENTION,
    };
    use super::*;

    /// What the scripts count by is what their twin counts by.
    #[test]
    fn the_library_has_the_constants_of_its_twin() {
        let times = [PARKED, REMEMBERED, RETENTION, KEEP_DEAD, AWAITED].map(micros);
        for line in [
            format!("local MOST_MOVED, HEAD_START = {MOST_MOVED}, {HEAD_START}\n"),
            format!(
                "local PARKED, REMEMBERED, RETENTION, KEEP_DEAD, AWAITED = {}\n",
                times.join(", ")
            ),
            format!("local RAN_OUT = '{RAN_OUT}'\n"),
            format!("local MOST_LINES, MAX_LOG = {MOST_LINES}, {MAX_LOG}\n"),
        ] {
            assert!(LIBRARY.contains(&line), "{line}");
        }
    }
}
