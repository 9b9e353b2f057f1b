//! The floor: a list of jobs and a hash of those that are active, in batches, by hand.

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

const WAITING: &[u8] = b"{bench-bare}:waiting";
const ACTIVE: &[u8] = b"{bench-bare}:active";
/// As long as ours with its id.
const BODY: usize = 16 + 100;
const ID: usize = 16;
/// Turns under way: the server works on one while we take the other apart.
const TURNS: usize = 2;

/// Settles what a worker had, and takes more.
const TURN: &[u8] = b"if #ARGV > 1 then redis.call('HDEL', KEYS[2], unpack(ARGV, 2)) end \
    local jobs = redis.call('LPOP', KEYS[1], ARGV[1]) \
    if not jobs then return {} end \
    local held = {} \
    for nth, job in ipairs(jobs) do held[nth * 2 - 1] = string.sub(job, 1, 16) held[nth * 2] = job end \
    redis.call('HSET', KEYS[2], unpack(held)) \
    return jobs";

#[derive(Clone)]
pub(super) struct Bare {
    floor: Floor,
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
    pub(super) async fn connect(port: u16, fleet: Fleet) -> Result<Self> {
        let floor = Floor::connect(("127.0.0.1", port)).await?;
        let reply = floor.call(&[b"SCRIPT", b"LOAD", TURN]).await?;
        let hash = reply.strip_prefix(b"$40\r\n").context("the hash of a script")?;
        let turn = Arc::new(hash[..40].to_vec());
        Ok(Self { floor, turn, fleet })
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
        for _ in 0..TURNS {
            producing.spawn(self.clone().produce(shared.clone(), begin + length));
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

    async fn produce(self, shared: Arc<Shared>, until: Instant) -> Result<()> {
        let body = vec![b'x'; BODY];
        let mut number = 0_u64;
        while Instant::now() < until {
            shared.room.acquire_many(u32::try_from(BATCH)?).await?.forget();
            let bodies: Vec<_> = (0..BATCH)
                .map(|_| {
                    let mut body = body.clone();
                    number += 1;
                    body[..8].copy_from_slice(&number.to_be_bytes());
                    body
                })
                .collect();
            let mut parts: Vec<&[u8]> = vec![b"RPUSH", WAITING];
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
            let mut parts: Vec<&[u8]> =
                vec![b"EVALSHA", &self.turn, b"2", WAITING, ACTIVE, want.as_bytes()];
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
