//! Schedules on Redis and Valkey: moments as `fire.lua` takes them and answers.

use std::time::Duration;

use quorate_link::Frame;

use super::super::ask::Pushed;
use super::super::firing::{Fired, Firing, KEEP_SCHEDULES, check_schedule};
use super::super::job::{JobId, NewJob};
use super::super::port::announcement;
use super::packed::{bytes, maybe, pack};
use super::scripts::PUSHING;
use super::{RedisQueues, limit_keys};
use crate::clock::Micros;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, from_link, micros, unexpected};

static FIRE: Script = Script::with_library(include_str!("../scripts/fire.lua"), PUSHING);

/// What the last moments of schedules are called behind the name of their queue.
const SCHEDULES: &str = ":schedules";

impl RedisQueues {
    pub(super) async fn fire_moment(
        &self,
        queue: &Key,
        firing: &Firing,
        options: CallOptions,
    ) -> Result<(Fired, Micros)> {
        firing.check()?;
        let mut schedules = limit_keys(queue);
        schedules.push(queue.unit("queue", SCHEDULES));
        let channel = announcement(queue);
        let number = |it: Micros| it.get().to_string();
        let (after, moment) = (firing.after.map(number), firing.moment.map(number));
        let keep = KEEP_SCHEDULES.as_millis().to_string();
        let mut arguments = vec![
            channel.name.as_bytes(),
            firing.schedule.as_bytes(),
            after.as_deref().unwrap_or_default().as_bytes(),
            moment.as_deref().unwrap_or_default().as_bytes(),
            keep.as_bytes(),
        ];
        let job = firing.job.as_ref().map(pack_job);
        arguments.extend(job.iter().flatten().map(Vec::as_slice));
        let fired = self.run_with_outbox(&FIRE, queue, schedules, &arguments, options);
        let reply = fired.await?;
        to_fired(&reply).ok_or_else(|| unexpected(&reply))
    }

    pub(super) async fn list_schedules(
        &self,
        queue: &Key,
        options: CallOptions,
    ) -> Result<Vec<(String, Micros)>> {
        let key = queue.unit("queue", SCHEDULES);
        let parts: [&[u8]; 2] = [b"HGETALL", key.as_bytes()];
        let reply = self.link.call(&parts, &options.link()).await;
        let reply = reply.map_err(from_link)?;
        to_schedules(reply.clone()).ok_or_else(|| unexpected(&reply))
    }

    pub(super) async fn forget_schedule(
        &self,
        queue: &Key,
        name: &str,
        options: CallOptions,
    ) -> Result<bool> {
        check_schedule(name)?;
        let key = queue.unit("queue", SCHEDULES);
        let parts: [&[u8]; 3] = [b"HDEL", key.as_bytes(), name.as_bytes()];
        let reply = self.link.call(&parts, &options.link()).await;
        let reply = reply.map_err(from_link)?;
        match reply.as_int() {
            Some(gone @ (0 | 1)) => Ok(gone == 1),
            _ => Err(unexpected(&reply)),
        }
    }
}

/// Its id, what is kept of it, and in how long it is due.
fn pack_job(job: &NewJob) -> [Vec<u8>; 3] {
    let due = micros(job.delay).into_bytes();
    [job.id.bytes().to_vec(), pack(job), due]
}

/// With the time by the clock of the server.
fn to_fired(reply: &Frame) -> Option<(Fired, Micros)> {
    let (now, answer) = reply.as_array()?.split_first()?;
    let (how, rest) = answer.split_first()?;
    let fired = match (how.as_str()?, rest) {
        ("done", [said, other]) => Fired::Done(match maybe(said)?.map(|it| &it[..]) {
            None => None,
            Some(b"0") => Some(Pushed::Known),
            Some(b"1") => Some(Pushed::New),
            Some(b"2") => {
                let id = bytes(other)?[..].try_into().ok()?;
                Some(Pushed::Same(JobId::from_bytes(id)))
            }
            Some(_) => return None,
        }),
        ("other", [last]) => Fired::Other(match maybe(last)? {
            Some(_) => Some(to_moment(last)?),
            None => None,
        }),
        ("later", [time]) => Fired::NotYet(Duration::from_micros(to_moment(time)?.get())),
        _ => return None,
    };
    Some((fired, to_moment(now)?))
}

/// In the order of their names.
fn to_schedules(reply: Frame) -> Option<Vec<(String, Micros)>> {
    let pairs = reply.into_pairs()?.into_iter();
    let pairs = pairs.map(|(name, moment)| Some((name.as_str()?.to_owned(), to_moment(&moment)?)));
    let mut schedules = pairs.collect::<Option<Vec<_>>>()?;
    schedules.sort();
    Some(schedules)
}

fn to_moment(number: &Frame) -> Option<Micros> {
    number.as_str()?.parse().ok().map(Micros::new)
}
