//! Queues on Redis and Valkey: few keys in one slot, each with many jobs in it, and one script per transition, for a batch.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::Frame;

use super::ask::{Ask, Renewed, Turn, check_jobs, check_renewal};
use super::job::{Delivered, JobEnd, JobId, JobState, LeaseNumber, NewJob, Settled, Settlement};
use super::port::{QueuePort, announcement};
use crate::clock::{Micros, whole_micros};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, micros, unexpected};

/// What the scripts have in common.
const LIBRARY: &str = include_str!("library.lua");

static PUSH: Script = Script::with_library(include_str!("scripts/push.lua"), LIBRARY);
static TURN: Script = Script::with_library(include_str!("scripts/turn.lua"), LIBRARY);
static RENEW: Script = Script::with_library(include_str!("scripts/renew.lua"), LIBRARY);
static CANCEL: Script = Script::with_library(include_str!("scripts/cancel.lua"), LIBRARY);
static LOOK: Script = Script::with_library(include_str!("scripts/look.lua"), LIBRARY);
static AWAIT: Script = Script::with_library(include_str!("scripts/await.lua"), LIBRARY);
static PAUSE: Script = Script::with_library(include_str!("scripts/pause.lua"), LIBRARY);

/// What the keys of a queue are called behind its name, in the order of `library.lua`.
const KEYS: [&str; 13] = [
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
];

/// Queues of one server.
pub(crate) struct RedisQueues {
    scripts: ScriptRunner,
}

impl RedisQueues {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
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
    async fn push(&self, queue: &Key, jobs: &[NewJob], options: CallOptions) -> Result<Vec<bool>> {
        check_jobs(jobs)?;
        let packed: Vec<_> = jobs.iter().map(pack).collect();
        let channel = announcement(queue);
        let mut arguments = vec![channel.name.as_bytes()];
        for (id, delay, job) in &packed {
            arguments.extend([&id[..], delay.as_bytes(), job]);
        }
        let reply = self.run(&PUSH, queue, &arguments, options).await?;
        flags(&reply, jobs.len()).ok_or_else(|| unexpected(&reply))
    }

    async fn turn(&self, queue: &Key, ask: &Ask, options: CallOptions) -> Result<Turn> {
        ask.check()?;
        let mut keys = KEYS.map(|rest| queue.unit("queue", rest)).to_vec();
        keys.push(queue.unit("queue", &format!(":claims:{}", ask.worker)));
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let numbers = [ask.worker, ask.number, ask.want as u64].map(|it| it.to_string());
        let (lease, channel) = (micros(ask.lease), announcement(queue));
        let settled: Vec<_> = ask.settled.iter().map(pack_settled).collect();
        let mut arguments: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
        arguments.extend([lease.as_bytes(), channel.name.as_bytes()]);
        for (delivery, how, text) in &settled {
            arguments.extend([&delivery[..], how.as_bytes(), text]);
        }
        let reply = self.scripts.run(&TURN, &keys, &arguments, options).await?;
        to_turn(&reply, ask).ok_or_else(|| unexpected(&reply))
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

/// A whole number as scripts pack it: all that occur are below 2^53.
#[expect(clippy::cast_precision_loss, reason = "what is greater was refused")]
fn double(number: u64) -> f64 {
    number as f64
}

/// The number that a script packed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scripts pack whole numbers, and a strange one saturates"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

/// A job as `push.lua` takes it: its id, in how long it is due, and the rest.
fn pack(job: &NewJob) -> ([u8; 16], String, Vec<u8>) {
    let expires = job.expires.map_or(0, whole_micros);
    let mut packed = Vec::with_capacity(27 + job.group.len() + job.input.len());
    for number in [whole_micros(job.keep), expires, job.attempts.into()] {
        packed.extend(double(number).to_le_bytes());
    }
    packed.push(job.priority);
    let length = u16::try_from(job.group.len()).expect("a longer name was refused");
    packed.extend(length.to_le_bytes());
    packed.extend(job.group.as_bytes());
    packed.extend(&job.input);
    (job.id.bytes(), micros(job.delay), packed)
}

fn pack_delivery(id: JobId, lease: LeaseNumber) -> [u8; 24] {
    let mut packed = [0; 24];
    packed[..8].copy_from_slice(&double(lease.get()).to_be_bytes());
    packed[8..].copy_from_slice(&id.bytes());
    packed
}

fn pack_settled(it: &Settled) -> ([u8; 24], String, &[u8]) {
    let (how, text): (_, &[u8]) = match &it.settlement {
        Settlement::Succeeded { result, keep } => (format!("S{}", micros(*keep)), result),
        Settlement::Failed { after, error } => (format!("F{}", micros(*after)), error.as_bytes()),
        Settlement::Deferred(after) => (format!("R{}", micros(*after)), b""),
        Settlement::Dead(error) => ("D0".to_owned(), error.as_bytes()),
    };
    (pack_delivery(it.id, it.lease), how, text)
}

/// What each byte of a reply says.
fn each<T>(reply: &Frame, count: usize, read: impl Fn(u8) -> Option<T>) -> Option<Vec<T>> {
    let said = bytes(reply)?;
    let all = said
        .iter()
        .map(|byte| read(*byte))
        .collect::<Option<Vec<_>>>()?;
    (all.len() == count).then_some(all)
}

fn flags(reply: &Frame, count: usize) -> Option<Vec<bool>> {
    each(reply, count, |byte| match byte {
        b'0' => Some(false),
        b'1' => Some(true),
        _ => None,
    })
}

const fn bytes(frame: &Frame) -> Option<&Bytes> {
    match frame {
        Frame::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

fn to_turn(reply: &Frame, ask: &Ask) -> Option<Turn> {
    let [settled, delivered, next] = reply.as_array()? else {
        return None;
    };
    let delivered = delivered.as_array()?.chunks(3).map(to_delivered);
    let next = match next {
        Frame::Null => None,
        next => Some(Duration::from_micros(next.as_str()?.parse().ok()?)),
    };
    Some(Turn {
        settled: flags(settled, ask.settled.len())?,
        delivered: delivered.collect::<Option<_>>()?,
        next,
    })
}

fn to_delivered(parts: &[Frame]) -> Option<Delivered> {
    let [delivery, tries, job] = parts else {
        return None;
    };
    let (lease, id) = bytes(delivery)?.split_first_chunk::<8>()?;
    let job = bytes(job)?;
    let number = |at: usize| {
        let part = job.get(at * 8..at * 8 + 8)?.try_into().ok()?;
        Some(whole(f64::from_le_bytes(part)))
    };
    let length = u16::from_le_bytes(job.get(33..35)?.try_into().ok()?);
    let input = 35 + usize::from(length);
    let group = job.get(35..input)?;
    Some(Delivered {
        id: JobId::from_bytes(id.try_into().ok()?),
        lease: LeaseNumber::new(whole(f64::from_be_bytes(*lease))),
        attempt: u32::try_from(tries.as_int()?).ok()?.checked_add(1)?,
        attempts: number(3)?.try_into().ok()?,
        queued: Micros::new(number(0)?),
        input: job.slice(input..),
        group: std::str::from_utf8(group).ok()?.to_owned(),
        keep: Duration::from_micros(number(1)?),
    })
}

fn state(reply: &Frame) -> Result<Option<JobState>> {
    match reply {
        Frame::Null => Ok(None),
        reply => to_state(reply).map(Some).ok_or_else(|| unexpected(reply)),
    }
}

fn to_state(reply: &Frame) -> Option<JobState> {
    let (place, rest) = reply.as_array()?.split_first()?;
    Some(match (place.as_str()?, rest) {
        ("ready", []) => JobState::Ready,
        ("due", [due]) => JobState::Due(Micros::new(due.as_str()?.parse().ok()?)),
        ("active", [cancelled]) => JobState::Active {
            cancelled: cancelled.as_int()? == 1,
        },
        ("ended", [end]) => JobState::Ended(to_end(bytes(end)?)?),
        _ => return None,
    })
}

fn to_end(end: &Bytes) -> Option<JobEnd> {
    Some(match end.split_first()? {
        (b'S', _) => JobEnd::Succeeded(end.slice(1..)),
        (b'D', why) => JobEnd::Dead(std::str::from_utf8(why).ok()?.to_owned()),
        (b'C', []) => JobEnd::Cancelled,
        (b'E', []) => JobEnd::Expired,
        _ => return None,
    })
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
        ] {
            assert!(LIBRARY.contains(&line), "{line}");
        }
    }
}
