//! Jobs that are begun where they are pushed, on Redis and Valkey: as `start.lua` takes and answers them.

use std::time::Duration;

use quorate_link::Frame;

use super::super::ask::{Pushed, Started, check_start};
use super::super::job::{JobId, LeaseNumber, NewJob};
use super::super::port::announcement;
use super::RedisQueues;
use super::packed::{bytes, maybe, pack, whole};
use super::scripts::PUSHING;
use crate::clock::Micros;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, micros, unexpected};

static START: Script = Script::with_library(include_str!("../scripts/start.lua"), PUSHING);

impl RedisQueues {
    pub(super) async fn start_job(
        &self,
        queue: &Key,
        job: &NewJob,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Started> {
        check_start(job, lease)?;
        let (channel, packed) = (announcement(queue), pack(job));
        let (id, lease, due) = (job.id.bytes(), micros(lease), micros(job.delay));
        let arguments = [
            channel.name.as_bytes(),
            lease.as_bytes(),
            &id,
            &packed,
            due.as_bytes(),
        ];
        let start = self.run_with_outbox(&START, queue, Vec::new(), &arguments, options);
        let reply = start.await?;
        to_started(&reply).ok_or_else(|| unexpected(&reply))
    }
}

fn to_started(reply: &Frame) -> Option<Started> {
    let [now, said, same, delivery] = reply.as_array()? else {
        return None;
    };
    let pushed = match said.as_str()? {
        "0" => Pushed::Known,
        "1" => Pushed::New,
        "2" => Pushed::Same(JobId::from_bytes(bytes(same)?[..].try_into().ok()?)),
        _ => return None,
    };
    let lease = match maybe(delivery)? {
        Some(delivery) => {
            let (lease, _) = delivery.split_first_chunk::<8>()?;
            Some(LeaseNumber::new(whole(f64::from_be_bytes(*lease))))
        }
        None => None,
    };
    Some(Started {
        pushed,
        at: Micros::new(now.as_str()?.parse().ok()?),
        lease,
    })
}
