//! Locks on Redis and Valkey: a hash per lock, a queue beside it while somebody waits, one script per transition.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use quorate_link::{Frame, Lane, Link};

use super::ask::{AcquireReply, Ask, LockHolder, LockKey, LockKind, LockStatus, LockWaiter};
use super::lease::{FencingToken, LeaseId};
use super::news::WaiterId;
use super::port::{LockPort, ScannedLocks, announcement};
use crate::clock::Micros;
use crate::error::Result;
use crate::events::Channel;
use crate::glob;
use crate::key::{Namespace, hash_tag, untag};
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, flag, from_link, micros, unexpected};
use crate::scan::ScanCursor;

/// Keys that a server looks at for one page of a scan.
const LOOKED_AT: &[u8] = b"500";
/// What the scripts have in common.
const LIBRARY: &str = include_str!("library.lua");

static ACQUIRE: Script = Script::with_library(include_str!("scripts/acquire.lua"), LIBRARY);
static EXTEND: Script = Script::with_library(include_str!("scripts/extend.lua"), LIBRARY);
static RELEASE: Script = Script::with_library(include_str!("scripts/release.lua"), LIBRARY);
static FORCE: Script = Script::with_library(include_str!("scripts/force.lua"), LIBRARY);
static LOOK: Script = Script::with_library(include_str!("scripts/look.lua"), LIBRARY);

/// Locks of one server.
pub(crate) struct RedisLocks {
    link: Link,
    scripts: ScriptRunner,
}

impl RedisLocks {
    pub(crate) fn new(link: Link, scripts: ScriptRunner) -> Self {
        Self { link, scripts }
    }

    async fn run(
        &self,
        script: &'static Script,
        lock: &LockKey,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let keys = ["", ":queue", ":waiting", ":alive"].map(|rest| lock.unit(rest));
        let keys = keys.each_ref().map(String::as_bytes);
        self.scripts.run(script, &keys, arguments, options).await
    }
}

#[async_trait]
impl LockPort for RedisLocks {
    async fn acquire(
        &self,
        lock: &LockKey,
        ask: &Ask,
        options: CallOptions,
    ) -> Result<AcquireReply> {
        let channel = announcement(lock);
        let (lease, length) = (ask.lease.to_string(), micros(ask.length));
        let (weight, capacity) = (ask.weight.to_string(), ask.capacity.to_string());
        let arguments = [
            lease.as_bytes(),
            length.as_bytes(),
            weight.as_bytes(),
            capacity.as_bytes(),
            digit(ask.reentrant),
            ask.owner.as_bytes(),
            digit(ask.wait),
            channel.name.as_bytes(),
            digit(lock.kind().is_watched()),
        ];
        let reply = self.run(&ACQUIRE, lock, &arguments, options).await?;
        acquired(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<bool> {
        let (lease, length) = (lease.to_string(), micros(length));
        let channel = announcement(lock);
        let arguments = [lease.as_bytes(), length.as_bytes(), channel.name.as_bytes()];
        flag(&self.run(&EXTEND, lock, &arguments, options).await?)
    }

    async fn release(&self, lock: &LockKey, lease: LeaseId, options: CallOptions) -> Result<bool> {
        let (lease, channel) = (lease.to_string(), announcement(lock));
        let arguments = [
            lease.as_bytes(),
            channel.name.as_bytes(),
            digit(lock.kind().is_watched()),
        ];
        flag(&self.run(&RELEASE, lock, &arguments, options).await?)
    }

    async fn force_release(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Vec<FencingToken>> {
        let token = token.map_or_else(String::new, |token| token.to_string());
        let channel = announcement(lock);
        let arguments = [token.as_bytes(), channel.name.as_bytes()];
        let reply = self.run(&FORCE, lock, &arguments, options).await?;
        let tokens = reply.as_array().map(|tokens| tokens.iter().map(to_token));
        let tokens = tokens.and_then(Iterator::collect);
        tokens.ok_or_else(|| unexpected(&reply))
    }

    async fn look(&self, lock: &LockKey, options: CallOptions) -> Result<LockStatus> {
        let reply = self.run(&LOOK, lock, &[], options).await?;
        status(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn scan(
        &self,
        namespace: &Namespace,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScannedLocks> {
        let area = glob::escape(&namespace.qualify(""));
        // Of every kind: their names are no patterns, and few keys of others look like that.
        let pattern = format!("{area}*:{{{}*}}", glob::escape(&hash_tag(prefix)));
        let cursor = from.map_or("0", ScanCursor::as_str);
        let parts: [&[u8]; 8] = [
            b"SCAN",
            cursor.as_bytes(),
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            LOOKED_AT,
            b"TYPE",
            b"hash",
        ];
        let options = options.link().lane(Lane::Bulk);
        let reply = self.link.call(&parts, &options).await.map_err(from_link)?;
        let Some([next, Frame::Array(keys)]) = reply.as_array() else {
            return Err(unexpected(&reply));
        };
        let Some(next) = next.as_str() else {
            return Err(unexpected(&reply));
        };
        let locks = keys
            .iter()
            .filter_map(|key| named(namespace, key.as_str()?));
        Ok(ScannedLocks {
            locks: locks.collect(),
            next: (next != "0").then(|| ScanCursor::new(next)),
        })
    }

    fn announced_on(&self, lock: &LockKey) -> Option<Channel> {
        Some(announcement(lock))
    }
}

/// The lock whose hash this key is.
fn named(namespace: &Namespace, key: &str) -> Option<(LockKind, String)> {
    let (kind, tag) = namespace.strip(key)?.split_once(":{")?;
    let tag = tag.strip_suffix('}').filter(|tag| !tag.contains('}'))?;
    let kind = LockKind::ALL.into_iter().find(|it| it.as_str() == kind)?;
    Some((kind, untag(tag)))
}

const fn digit(flag: bool) -> &'static [u8] {
    if flag { b"1" } else { b"0" }
}

fn number(frame: &Frame) -> Option<u64> {
    frame.as_int()?.try_into().ok()
}

fn to_token(frame: &Frame) -> Option<FencingToken> {
    number(frame).map(FencingToken::new)
}

fn acquired(reply: &Frame) -> Option<AcquireReply> {
    let (verb, rest) = reply.as_array()?.split_first()?;
    Some(match (verb.as_str()?, rest) {
        ("acquired", [token]) => AcquireReply::Acquired {
            token: to_token(token)?,
        },
        ("held", [left]) => AcquireReply::Held {
            remaining: Duration::from_micros(number(left)?),
        },
        ("queued", [ahead, left, last]) => AcquireReply::Queued {
            ahead: number(ahead)?,
            remaining: Duration::from_micros(number(left)?),
            last: to_token(last)?,
        },
        ("full", []) => AcquireReply::QueueFull,
        _ => return None,
    })
}

fn status(reply: &Frame) -> Option<LockStatus> {
    let [now, holders, waiters, waiting] = reply.as_array()? else {
        return None;
    };
    let now = Micros::new(number(now)?);
    let holders = holders.as_array()?.iter().map(|entry| holder(now, entry));
    let mut holders = holders.collect::<Option<Vec<_>>>()?;
    // Those of a hash come in no order.
    holders.sort_unstable();
    let waiters = waiters.as_array()?.iter().map(|entry| waiter(now, entry));
    Some(LockStatus {
        holders,
        waiters: waiters.collect::<Option<_>>()?,
        waiting: number(waiting)?,
    })
}

fn holder(now: Micros, entry: &Frame) -> Option<LockHolder> {
    let [ends, token, lease, since, weight, owner] = entry.as_array()? else {
        return None;
    };
    let (ends, since) = (Micros::new(number(ends)?), Micros::new(number(since)?));
    let weight = number(weight)?.try_into().ok()?;
    let owner = owner.as_str()?.to_owned();
    let (held_for, remaining) = (now.since(since), ends.since(now));
    Some(LockHolder::new(
        to_token(token)?,
        WaiterId::parse(lease.as_str()?)?,
        owner,
        weight,
        held_for,
        remaining,
    ))
}

fn waiter(now: Micros, entry: &Frame) -> Option<LockWaiter> {
    let [weight, since, owner] = entry.as_array()? else {
        return None;
    };
    let since = Micros::new(number(since)?);
    let weight = number(weight)?.try_into().ok()?;
    let owner = owner.as_str()?.to_owned();
    Some(LockWaiter::new(owner, weight, now.since(since)))
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

#[cfg(test)]
mod tests {
    use super::super::state::{
        HEARTBEAT, MOST_COLLECTED, MOST_GRANTS, MOST_HOLDERS, MOST_SHOWN, MOST_WAITERS, RETENTION,
        UNHEARD,
    };
    use super::*;

    /// What the scripts count by is what their twin counts by.
    #[test]
    fn the_library_has_the_constants_of_its_twin() {
        let times = format!(
            "local HEARTBEAT, RETENTION, UNHEARD = {}, {}, {}\n",
            micros(HEARTBEAT),
            micros(RETENTION),
            micros(UNHEARD)
        );
        assert!(LIBRARY.contains(&times), "{times}");
        let most = [
            MOST_HOLDERS,
            MOST_WAITERS,
            MOST_GRANTS,
            MOST_COLLECTED,
            MOST_SHOWN,
        ];
        let most = most.map(|it| it.to_string()).join(", ");
        assert!(
            LIBRARY.contains(&format!("MOST_SHOWN = {most}\n")),
            "{most}"
        );
    }
}
