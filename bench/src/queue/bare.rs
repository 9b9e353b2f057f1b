//! Queues by hand, in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use quorate::Fleet;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{BACKLOG, BATCH, Counted, Done, counted, reset};
use crate::floor::Floor;

/// As long as ours with its id.
const BODY: usize = 16 + 100;
const ID: usize = 16;
/// Turns under way: the server works on one while we take the other apart.
const TURNS: usize = 2;

/// How jobs are kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Bodies by id, who is ready, and until when who is active has it.
    Leases,
    /// A list, and what is active beside it.
    List,
}

impl Kind {
    const fn keys(self) -> [&'static [u8]; 3] {
        match self {
            Self::Leases => [b"{bench-bare}:bodies", b"{bench-bare}:ready", b"{bench-bare}:leased"],
            Self::List => [b"{bench-bare}:waiting", b"{bench-bare}:active", b"{bench-bare}:none"],
        }
    }

    /// Queues bodies.
    const fn push(self) -> &'static [u8] {
        match self {
            Self::Leases => {
                b"local bodies, ready, now = {}, {}, redis.call('TIME') \
                local rank = now[1] * 1000000 + now[2] \
                for nth, body in ipairs(ARGV) do \
                    local id = string.sub(body, 1, 16) \
                    bodies[nth * 2 - 1] = id bodies[nth * 2] = body \
                    ready[nth * 2 - 1] = rank ready[nth * 2] = id \
                end \
                redis.call('HSET', KEYS[1], unpack(bodies)) \
                return redis.call('ZADD', KEYS[2], unpack(ready))"
            }
            Self::List => b"return redis.call('RPUSH', KEYS[1], unpack(ARGV))",
        }
    }

    /// Settles what a worker had, and takes more.
    const fn turn(self) -> &'static [u8] {
        match self {
            Self::Leases => {
                b"if #ARGV > 1 then \
                    redis.call('ZREM', KEYS[3], unpack(ARGV, 2)) \
                    redis.call('HDEL', KEYS[1], unpack(ARGV, 2)) \
                end \
                local popped, ids, held = redis.call('ZPOPMIN', KEYS[2], ARGV[1]), {}, {} \
                if #popped == 0 then return {} end \
                local now = redis.call('TIME') \
                local ends = now[1] * 1000000 + now[2] + 30000000 \
                for nth = 1, #popped, 2 do \
                    ids[#ids + 1] = popped[nth] \
                    held[nth] = ends held[nth + 1] = popped[nth] \
                end \
                redis.call('ZADD', KEYS[3], unpack(held)) \
                return redis.call('HMGET', KEYS[1], unpack(ids))"
            }
            Self::List => {
                b"if #ARGV > 1 then redis.call('HDEL', KEYS[2], unpack(ARGV, 2)) end \
                local jobs = redis.call('LPOP', KEYS[1], ARGV[1]) \
                if not jobs then return {} end \
                local held = {} \
                for nth, job in ipairs(jobs) do \
                    held[nth * 2 - 1] = string.sub(job, 1, 16) held[nth * 2] = job \
                end \
                redis.call('HSET', KEYS[2], unpack(held)) \
                return jobs"
            }
        }
    }
}

#[derive(Clone)]
pub(super) struct Bare {
    floor: Floor,
    kind: Kind,
    /// Hashes of the scripts.
    push: Arc<Vec<u8>>,
    turn: Arc<Vec<u8>>,
    /// To ask what the server counted.
    fleet: Fleet,
}

/// What the tasks of a window share.
struct Shared {
    room: Semaphore,
    /// Something was pushed.
    pushed: Notify,
    done: AtomicU64,
    over: AtomicBool,
}

impl Bare {
    pub(super) async fn connect(port: u16, fleet: Fleet, kind: Kind) -> Result<Self> {
        let floor = Floor::connect(("127.0.0.1", port)).await?;
        let mut hashes = Vec::new();
        for script in [kind.push(), kind.turn()] {
            let reply = floor.call(&[b"SCRIPT", b"LOAD", script]).await?;
            let hash = reply.strip_prefix(b"$40\r\n").context("the hash of a script")?;
            hashes.push(Arc::new(hash[..40].to_vec()));
        }
        let [push, turn] = <[_; 2]>::try_from(hashes).expect("two were loaded");
        Ok(Self {
            floor,
            kind,
            push,
            turn,
            fleet,
        })
    }

    /// A script with its keys.
    fn begin<'a>(&self, script: &'a [u8]) -> Vec<&'a [u8]> {
        let mut parts: Vec<&[u8]> = vec![b"EVALSHA", script, b"3"];
        parts.extend(self.kind.keys());
        parts
    }

    pub(super) async fn window(self, concurrency: usize, length: Duration) -> Result<Done> {
        let shared = Arc::new(Shared {
            room: Semaphore::new(BACKLOG),
            pushed: Notify::new(),
            done: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        reset(&self.fleet).await?;
        let begin = Instant::now();
        let mut working = JoinSet::new();
        for _ in 0..TURNS {
            working.spawn(self.clone().work(shared.clone(), concurrency / TURNS));
        }
        let mut producing = JoinSet::new();
        for nth in 0..TURNS as u64 {
            producing.spawn(self.clone().produce(nth, shared.clone(), begin + length));
        }
        while let Some(producer) = producing.join_next().await {
            producer??;
        }
        shared.room.acquire_many(u32::try_from(BACKLOG)?).await?.forget();
        let elapsed = begin.elapsed();
        shared.over.store(true, Ordering::Relaxed);
        shared.pushed.notify_waiters();
        while let Some(worker) = working.join_next().await {
            worker??;
        }
        let jobs = f64::from(u32::try_from(shared.done.load(Ordering::Relaxed))?);
        let Counted(calls, micros) = counted(&self.fleet).await?;
        Ok(Done {
            rate: jobs / elapsed.as_secs_f64(),
            commands: calls / jobs,
            server: micros / jobs,
        })
    }

    async fn produce(self, nth: u64, shared: Arc<Shared>, until: Instant) -> Result<()> {
        let body = vec![b'x'; BODY];
        let mut number = 0_u64;
        while Instant::now() < until {
            shared.room.acquire_many(u32::try_from(BATCH)?).await?.forget();
            let bodies: Vec<_> = (0..BATCH)
                .map(|_| {
                    let mut body = body.clone();
                    number += 1;
                    body[..8].copy_from_slice(&number.to_be_bytes());
                    body[8..ID].copy_from_slice(&nth.to_be_bytes());
                    body
                })
                .collect();
            let mut parts = self.begin(&self.push);
            parts.extend(bodies.iter().map(Vec::as_slice));
            self.floor.call(&parts).await?;
            shared.pushed.notify_waiters();
        }
        Ok(())
    }

    async fn work(self, shared: Arc<Shared>, want: usize) -> Result<()> {
        let want = want.to_string();
        let mut settled: Vec<Bytes> = Vec::new();
        while !shared.over.load(Ordering::Relaxed) {
            let mut parts = self.begin(&self.turn);
            parts.push(want.as_bytes());
            parts.extend(settled.iter().map(|id| &id[..]));
            let pushed = shared.pushed.notified();
            let reply = self.floor.call(&parts).await?;
            settled = ids(&reply);
            if settled.is_empty() {
                // An empty list is announced by who pushes; a little later it is asked for anyway.
                let _ = tokio::time::timeout(Duration::from_millis(1), pushed).await;
            }
            shared.done.fetch_add(settled.len() as u64, Ordering::Relaxed);
            shared.room.add_permits(settled.len());
        }
        Ok(())
    }
}

/// The ids of an array of jobs, all of them alike.
fn ids(reply: &Bytes) -> Vec<Bytes> {
    let head = format!("${BODY}\r\n").len();
    let Some(first) = reply.iter().position(|byte| *byte == b'$') else {
        return Vec::new();
    };
    let each = head + BODY + 2;
    let count = (reply.len() - first) / each;
    let id = |nth| first + nth * each + head;
    (0..count).map(|nth| reply.slice(id(nth)..id(nth) + ID)).collect()
}
