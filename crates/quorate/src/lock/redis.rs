//! Locks on Redis and Valkey: one hash per lock, one script per transition.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use quorate_link::Frame;

use super::lease::{AcquireReply, FencingToken, LeaseId, RETENTION};
use super::port::{LockPort, UNIT, announcement};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, flag, micros, unexpected};

static ACQUIRE: Script = Script::new(include_str!("scripts/acquire.lua"));
static EXTEND: Script = Script::new(include_str!("scripts/extend.lua"));
static RELEASE: Script = Script::new(include_str!("scripts/release.lua"));

/// Locks of one server.
pub(crate) struct RedisLocks {
    scripts: ScriptRunner,
}

impl RedisLocks {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
    }

    async fn run(
        &self,
        script: &'static Script,
        key: &Key,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let hash = key.unit(UNIT, "");
        self.scripts
            .run(script, &[hash.as_bytes()], arguments, options)
            .await
    }
}

#[async_trait]
impl LockPort for RedisLocks {
    async fn acquire(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        let (lease, length, keep) = (lease.to_string(), micros(length), micros(RETENTION));
        let arguments = [lease.as_bytes(), length.as_bytes(), keep.as_bytes()];
        let reply = self.run(&ACQUIRE, key, &arguments, options).await?;
        let Frame::Array(parts) = &reply else {
            return Err(unexpected(&reply));
        };
        let number = |at: usize| parts.get(at)?.as_str()?.parse::<u64>().ok();
        match (number(0), number(1)) {
            (Some(1), Some(token)) => Ok(AcquireReply::Acquired {
                token: FencingToken::new(token),
            }),
            (Some(0), Some(left)) => Ok(AcquireReply::Held {
                remaining: Duration::from_micros(left),
            }),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn extend(
        &self,
        key: &Key,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        let (lease, length, keep) = (lease.to_string(), micros(length), micros(RETENTION));
        let arguments = [lease.as_bytes(), length.as_bytes(), keep.as_bytes()];
        flag(&self.run(&EXTEND, key, &arguments, options).await?)
    }

    async fn release(&self, key: &Key, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let (lease, keep) = (lease.to_string(), micros(RETENTION));
        let channel = announcement(key);
        let arguments = [lease.as_bytes(), channel.name.as_bytes(), keep.as_bytes()];
        flag(&self.run(&RELEASE, key, &arguments, options).await?)
    }

    fn announced_on(&self, key: &Key) -> Option<Channel> {
        Some(announcement(key))
    }
}

impl fmt::Display for RedisLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("locks on Redis")
    }
}

impl fmt::Debug for RedisLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLocks")
    }
}
