//! The scripts that people write for the same algorithms: short, right in the common case, and nothing around them.
//!
//! No blocks, no refunds, no clock that is set back, no cost beyond the limit, no other policy decided with them: what ours
//! do besides is to cost no more than these.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::Algorithm;
use crate::floor::Floor;
use crate::measure::Load;

/// `INCRBY` and an expiry with the first of a window.
const FIXED: &str = "\
local count = redis.call('INCRBY', KEYS[1], ARGV[3])
if count == tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local left = redis.call('PTTL', KEYS[1])
if count > tonumber(ARGV[1]) then
  redis.call('DECRBY', KEYS[1], ARGV[3])
  return {0, 0, left}
end
return {1, ARGV[1] - count, left}";

/// Two windows, of which the one before counts for as much as still is in sight.
const COUNTER: &str = "\
local time, length = redis.call('TIME'), tonumber(ARGV[2])
local now = time[1] * 1000 + time[2] / 1000
local window = math.floor(now / length)
local this, before = KEYS[1] .. ':' .. window, KEYS[1] .. ':' .. window - 1
local gone = now % length / length
local used = tonumber(redis.call('GET', this) or 0) + tonumber(redis.call('GET', before) or 0) * (1 - gone)
if used + ARGV[3] > tonumber(ARGV[1]) then return {0, 0, length * (1 - gone)} end
redis.call('INCRBY', this, ARGV[3])
redis.call('PEXPIRE', this, 2 * length)
return {1, math.floor(ARGV[1] - used - ARGV[3]), length * (1 - gone)}";

/// The generic cell rate algorithm: one arrival time, in microseconds.
const BUCKET: &str = "\
local time, length = redis.call('TIME'), ARGV[2] * 1000
local now = time[1] * 1000000 + time[2]
local each = length / ARGV[1]
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + each * ARGV[3]
local ahead = arrival - now
if ahead > length then return {0, 0, math.ceil(ahead - length)} end
redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.max(1, math.ceil(ahead / 1000)))
return {1, math.floor((length - ahead) / each), math.ceil(ahead)}";

/// A sorted set of requests by time.
const LOG: &str = "\
local time, length = redis.call('TIME'), ARGV[2] * 1000
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - length))
local count = redis.call('ZCARD', KEYS[1])
if count + ARGV[3] > tonumber(ARGV[1]) then return {0, 0, length} end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, ARGV[1] - count - ARGV[3], length}";

/// Asks by the scripts that stand for an algorithm, one after the other.
#[derive(Clone)]
pub(super) struct ByHand {
    floor: Floor,
    /// Their hashes.
    scripts: Arc<[Vec<u8>]>,
    limit: u64,
    /// Of a window, in milliseconds.
    length: u128,
    /// Tells requests of a log apart.
    asked: u64,
    task: usize,
}

impl ByHand {
    pub(super) async fn connect(port: u16, algorithm: Algorithm) -> Result<Self> {
        let scripts: &[&str] = match algorithm {
            Algorithm::Fixed => &[FIXED],
            Algorithm::Counter => &[COUNTER],
            Algorithm::Bucket => &[BUCKET],
            Algorithm::Log => &[LOG],
            Algorithm::BucketAndCounter => &[BUCKET, COUNTER],
        };
        let floor = Floor::connect(("127.0.0.1", port)).await?;
        let mut hashes = Vec::new();
        for script in scripts {
            let reply = floor.call(&[b"SCRIPT", b"LOAD", script.as_bytes()]).await?;
            let hash = reply.strip_prefix(b"$40\r\n");
            hashes.push(hash.context("the hash of a script")?[..40].to_vec());
        }
        let (limit, length) = algorithm.window();
        Ok(Self {
            floor,
            scripts: hashes.into(),
            limit,
            length: length.as_millis(),
            asked: 0,
            task: 0,
        })
    }

    /// How many scripts one decision takes.
    pub(super) fn scripts(&self) -> f64 {
        self.scripts.len() as f64
    }
}

impl Load for ByHand {
    async fn step(&mut self) -> Result<()> {
        self.asked += 1;
        let (limit, length) = (self.limit.to_string(), self.length.to_string());
        let request = format!("{}:{}", self.task, self.asked);
        for (nth, script) in self.scripts.iter().enumerate() {
            let key = format!("by-hand:{nth}:{{user:0}}");
            let parts: [&[u8]; 8] = [
                b"EVALSHA",
                script,
                b"1",
                key.as_bytes(),
                limit.as_bytes(),
                length.as_bytes(),
                b"1",
                request.as_bytes(),
            ];
            let reply = self.floor.call(&parts).await?;
            anyhow::ensure!(reply.starts_with(b"*3\r\n:1\r\n"), "it was denied");
        }
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        Self {
            task,
            ..self.clone()
        }
    }
}
