//! Limits on Redis and Valkey: a string of numbers per key, one script per transition.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use quorate_link::Frame;

use super::policy::{Algorithm, Rate};
use super::port::{LimitKey, LimitPort};
use super::slots::Entered;
use super::template;
use super::usage::{Charge, Standing, Verdict};
use crate::clock::Micros;
use crate::error::Result;
use crate::lock::LeaseId;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, flag, micros, unexpected};

static ENTER: Script = Script::new(include_str!("scripts/enter.lua"));
static STAY: Script = Script::new(include_str!("scripts/stay.lua"));
static LEAVE: Script = Script::new(include_str!("scripts/leave.lua"));
static TAKEN: Script = Script::new(include_str!("scripts/taken.lua"));

/// The scripts for one combination of algorithms.
#[derive(Debug)]
struct Scripts {
    take: Script,
    look: Script,
    give_back: Script,
    block: Script,
    reset: Script,
}

/// Limits of one server.
pub(crate) struct RedisLimits {
    scripts: ScriptRunner,
}

impl RedisLimits {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
    }

    async fn run(
        &self,
        script: &'static Script,
        key: &LimitKey,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let keys = [key.text().as_bytes()];
        self.scripts.run(script, &keys, arguments, options).await
    }

    async fn ask(
        &self,
        script: &'static Script,
        key: &LimitKey,
        rates: &[Rate],
        charge: Charge,
        options: CallOptions,
    ) -> Result<Verdict> {
        let (policies, cost) = (packed(rates), charge.cost.to_string());
        let block_for = micros(charge.block_for);
        let arguments: [&[u8]; 3] = [&policies, cost.as_bytes(), block_for.as_bytes()];
        let asked = 2 + usize::from(!charge.block_for.is_zero());
        let reply = self.run(script, key, &arguments[..asked], options).await?;
        verdict(&reply, rates.len()).ok_or_else(|| unexpected(&reply))
    }
}

/// The scripts for policies that are counted like this. There are few combinations, so those in use are kept for good.
fn scripts(rates: &[Rate]) -> &'static Scripts {
    static KNOWN: RwLock<Option<HashMap<Vec<Algorithm>, &'static Scripts>>> = RwLock::new(None);
    let same = |known: &HashMap<Vec<Algorithm>, &'static Scripts>| {
        let algorithms: Vec<_> = rates.iter().map(|rate| rate.algorithm).collect();
        known.get(&algorithms).copied()
    };
    if let Some(scripts) = KNOWN.read().as_ref().and_then(same) {
        return scripts;
    }
    let algorithms: Vec<_> = rates.iter().map(|rate| rate.algorithm).collect();
    let script = |template| Script::new(template::render(template, &algorithms).leak());
    let mut known = KNOWN.write();
    let known = known.get_or_insert_default();
    known.entry(algorithms.clone()).or_insert_with(|| {
        Box::leak(Box::new(Scripts {
            take: script(include_str!("scripts/take.lua")),
            look: script(include_str!("scripts/look.lua")),
            give_back: script(include_str!("scripts/give_back.lua")),
            block: script(include_str!("scripts/block.lua")),
            reset: script(include_str!("scripts/reset.lua")),
        }))
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "all of a rate is far below 2^53"
)]
fn packed(rates: &[Rate]) -> Vec<u8> {
    let longest = rates.iter().map(Rate::longest).max().unwrap_or(0);
    let mut bytes = Vec::with_capacity(8 + 32 * rates.len());
    let mut number = |number: u64| bytes.extend((number as f64).to_le_bytes());
    number(longest);
    for rate in rates {
        for part in [rate.capacity, rate.window, rate.drained, rate.token] {
            number(part);
        }
    }
    bytes
}

/// What a script says. All numbers are whole; -1 says that there is nothing to wait for.
fn verdict(reply: &Frame, count: usize) -> Option<Verdict> {
    let Frame::Bulk(bytes) = reply else {
        return None;
    };
    let (numbers, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let number = |at: usize| numbers.get(at).copied().map(f64::from_le_bytes);
    let at = Micros::new(whole(number(0)?));
    let time = |number: f64| Duration::from_micros(whole(number));
    if numbers.len() == 2 {
        return Some(Verdict::blocked(at, time(number(1)?)));
    }
    if numbers.len() != 1 + 3 * count {
        return None;
    }
    let standing = |place: usize| {
        let [left, resets, waits] =
            [0, 1, 2].map(|part| number(1 + 3 * place + part).unwrap_or(0.0));
        let retry_after = (waits >= 0.0).then(|| time(waits));
        Standing::new(whole(left), time(resets), retry_after)
    };
    Some(Verdict::new(at, (0..count).map(standing)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scripts answer with whole numbers below 2^53; a cast saturates"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[async_trait]
impl LimitPort for RedisLimits {
    async fn take(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        charge: Charge,
        options: CallOptions,
    ) -> Result<Verdict> {
        self.ask(&scripts(rates).take, key, rates, charge, options)
            .await
    }

    async fn look(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        cost: u64,
        options: CallOptions,
    ) -> Result<Verdict> {
        self.ask(&scripts(rates).look, key, rates, Charge::of(cost), options)
            .await
    }

    async fn give_back(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        at: Micros,
        cost: u64,
        options: CallOptions,
    ) -> Result<bool> {
        let (policies, cost, at) = (packed(rates), cost.to_string(), at.get().to_string());
        let arguments: [&[u8]; 3] = [&policies, cost.as_bytes(), at.as_bytes()];
        let script = &scripts(rates).give_back;
        flag(&self.run(script, key, &arguments, options).await?)
    }

    async fn reset(&self, key: &LimitKey, rates: &[Rate], options: CallOptions) -> Result<bool> {
        let script = &scripts(rates).reset;
        flag(&self.run(script, key, &[&packed(rates)], options).await?)
    }

    async fn block(
        &self,
        key: &LimitKey,
        rates: &[Rate],
        time: Duration,
        options: CallOptions,
    ) -> Result<()> {
        let time = micros(time);
        let script = &scripts(rates).block;
        flag(&self.run(script, key, &[time.as_bytes()], options).await?).map(drop)
    }

    async fn enter(
        &self,
        key: &LimitKey,
        lease: LeaseId,
        most: u64,
        length: Duration,
        options: CallOptions,
    ) -> Result<Entered> {
        let (lease, most, length) = (lease.to_string(), most.to_string(), micros(length));
        let arguments = [lease.as_bytes(), most.as_bytes(), length.as_bytes()];
        let reply = self.run(&ENTER, key, &arguments, options).await?;
        let Frame::Array(parts) = &reply else {
            return Err(unexpected(&reply));
        };
        let number = |at: usize| parts.get(at)?.as_str()?.parse::<u64>().ok();
        match (number(0), number(1)) {
            (Some(1), Some(remaining)) => Ok(Entered::Entered { remaining }),
            (Some(0), Some(left)) => Ok(Entered::Full {
                retry_after: Duration::from_micros(left),
            }),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn stay(
        &self,
        key: &LimitKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        let (lease, length) = (lease.to_string(), micros(length));
        let arguments = [lease.as_bytes(), length.as_bytes()];
        flag(&self.run(&STAY, key, &arguments, options).await?)
    }

    async fn leave(&self, key: &LimitKey, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let lease = lease.to_string();
        flag(&self.run(&LEAVE, key, &[lease.as_bytes()], options).await?)
    }

    async fn taken(&self, key: &LimitKey, options: CallOptions) -> Result<u64> {
        let reply = self.run(&TAKEN, key, &[], options).await?;
        let taken = reply.as_int().and_then(|taken| u64::try_from(taken).ok());
        taken.ok_or_else(|| unexpected(&reply))
    }
}

impl fmt::Display for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("limits on Redis")
    }
}

impl fmt::Debug for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLimits")
    }
}
