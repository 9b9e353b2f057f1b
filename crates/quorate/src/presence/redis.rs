//! Rosters on Redis and Valkey: a hash and a sorted set per roster, a hash of members per instance on it,
//! one script per transition.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::{Frame, Lane};

use super::member::{InstanceId, Member, RosterVersion};
use super::port::{PresencePort, UNIT, announcement};
use super::roster::{Cursor, Ending, Look, OnRoster, PAGE, Page, RETENTION, Removal, Standing};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, micros, unexpected};

/// What the scripts that change the place of an instance have in common.
const LIBRARY: &str = include_str!("library.lua");

static JOIN: Script = Script::with_library(include_str!("scripts/join.lua"), LIBRARY);
static LEAVE: Script = Script::with_library(include_str!("scripts/leave.lua"), LIBRARY);
static RENEW: Script = Script::with_library(include_str!("scripts/renew.lua"), LIBRARY);
static REMOVE: Script = Script::with_library(include_str!("scripts/remove.lua"), LIBRARY);
static LOOK: Script = Script::new(include_str!("scripts/look.lua"));
static PAGE_OF: Script = Script::new(include_str!("scripts/page.lua"));

/// Rosters of one server.
pub(crate) struct RedisPresence {
    scripts: ScriptRunner,
}

impl RedisPresence {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
    }

    /// A transition of what one instance has on a roster.
    async fn transition(
        &self,
        script: &'static Script,
        key: &Key,
        instance: InstanceId,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Standing> {
        let keys = [roster(key), leases(key), members(key, instance)];
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let instance = instance.to_string();
        let mut all: Vec<&[u8]> = Vec::with_capacity(arguments.len() + 1);
        all.push(instance.as_bytes());
        all.extend(arguments);
        let reply = self.scripts.run(script, &keys, &all, options).await?;
        standing(&reply).ok_or_else(|| unexpected(&reply))
    }
}

fn roster(key: &Key) -> String {
    key.unit(UNIT, "")
}

fn leases(key: &Key) -> String {
    key.unit(UNIT, ":leases")
}

fn members(key: &Key, instance: InstanceId) -> String {
    key.unit(UNIT, &format!(":members:{instance}"))
}

#[async_trait]
impl PresencePort for RedisPresence {
    async fn join(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        members: &[(String, Bytes)],
        options: CallOptions,
    ) -> Result<Standing> {
        let (lease, keep, channel) = (micros(lease), micros(RETENTION), announcement(key));
        let mut arguments: Vec<&[u8]> = Vec::with_capacity(3 + 2 * members.len());
        arguments.extend([lease.as_bytes(), keep.as_bytes(), channel.name.as_bytes()]);
        for (id, info) in members {
            arguments.extend([id.as_bytes(), info]);
        }
        self.transition(&JOIN, key, instance, &arguments, options)
            .await
    }

    async fn leave(
        &self,
        key: &Key,
        instance: InstanceId,
        ids: &[String],
        options: CallOptions,
    ) -> Result<Standing> {
        let channel = announcement(key);
        let mut arguments: Vec<&[u8]> = Vec::with_capacity(1 + ids.len());
        arguments.push(channel.name.as_bytes());
        arguments.extend(ids.iter().map(String::as_bytes));
        self.transition(&LEAVE, key, instance, &arguments, options)
            .await
    }

    async fn renew(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Standing> {
        let (lease, keep) = (micros(lease), micros(RETENTION));
        let arguments = [lease.as_bytes(), keep.as_bytes()];
        self.transition(&RENEW, key, instance, &arguments, options)
            .await
    }

    async fn remove(
        &self,
        key: &Key,
        instance: InstanceId,
        removal: Removal,
        options: CallOptions,
    ) -> Result<Standing> {
        let channel = announcement(key);
        let only_ended: &[u8] = match removal {
            Removal::IfEnded => b"1",
            Removal::Now => b"0",
        };
        let arguments = [channel.name.as_bytes(), only_ended];
        self.transition(&REMOVE, key, instance, &arguments, options)
            .await
    }

    async fn look(&self, key: &Key, options: CallOptions) -> Result<Look> {
        let keys = [roster(key), leases(key)];
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let reply = self.scripts.run(&LOOK, &keys, &[], options).await?;
        look(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn page(
        &self,
        key: &Key,
        instances: &[InstanceId],
        cursor: Option<&Cursor>,
        options: CallOptions,
    ) -> Result<Page> {
        let mut keys = vec![roster(key), leases(key)];
        keys.extend(instances.iter().map(|instance| members(key, *instance)));
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let nth = cursor.map_or(0, |cursor| cursor.nth).to_string();
        let within = cursor.map_or("0", |cursor| &*cursor.within);
        let size = PAGE.to_string();
        let arguments = [size.as_bytes(), nth.as_bytes(), within.as_bytes()];
        // A lane of its own, so that no renewal waits behind a large reply.
        let reply = self
            .scripts
            .run_on(Lane::Bulk, &PAGE_OF, &keys, &arguments, options)
            .await?;
        page(&reply, instances).ok_or_else(|| unexpected(&reply))
    }

    fn announced_on(&self, key: &Key) -> Channel {
        announcement(key)
    }
}

fn number(frame: &Frame) -> Option<u64> {
    frame.as_str()?.parse().ok()
}

/// A number, or nothing where there is none.
fn optional(frame: &Frame) -> Option<Option<u64>> {
    match frame.as_str()? {
        "" => Some(None),
        number => Some(Some(number.parse().ok()?)),
    }
}

fn version(parts: &[Frame]) -> Option<RosterVersion> {
    Some(RosterVersion::new(
        number(parts.first()?)?,
        number(parts.get(1)?)?,
    ))
}

fn standing(reply: &Frame) -> Option<Standing> {
    let Frame::Array(parts) = reply else {
        return None;
    };
    let [_, _, at, before, members, next, left] = &parts[..] else {
        return None;
    };
    let mut standing = Standing::new(version(parts)?);
    standing.at = optional(at)?;
    standing.before = optional(before)?;
    standing.members = number(members)?;
    if !next.as_str()?.is_empty() {
        standing.next = Some(Ending {
            instance: InstanceId::parse(next.as_str()?)?,
            remaining: Duration::from_micros(number(left)?),
        });
    }
    Some(standing)
}

fn look(reply: &Frame) -> Option<Look> {
    let Frame::Array(parts) = reply else {
        return None;
    };
    let instances = parts.get(2..)?.chunks(3).map(|triple| {
        let [instance, left, members] = triple else {
            return None;
        };
        Some(OnRoster {
            instance: InstanceId::parse(instance.as_str()?)?,
            remaining: Duration::from_micros(number(left)?),
            members: number(members)?,
        })
    });
    Some(Look {
        version: version(parts)?,
        instances: instances.collect::<Option<_>>()?,
    })
}

fn page(reply: &Frame, instances: &[InstanceId]) -> Option<Page> {
    let Frame::Array(parts) = reply else {
        return None;
    };
    let [_, _, ended, nth, within, found @ ..] = &parts[..] else {
        return None;
    };
    let next = match nth.as_str()? {
        "" => None,
        nth => Some(Cursor {
            nth: nth.parse().ok()?,
            within: within.as_str()?.to_owned(),
        }),
    };
    let members = found.chunks(3).map(|triple| {
        let [nth, id, info] = triple else { return None };
        let nth: usize = nth.as_str()?.parse().ok()?;
        // Copied: a slice would keep a whole read buffer of the connection alive.
        let info = Bytes::copy_from_slice(info.as_bytes()?);
        Some(Member::new(id.as_str()?, info, *instances.get(nth)?))
    });
    Some(Page {
        version: version(parts)?,
        ended: ended.as_str()? == "1",
        members: members.collect::<Option<_>>()?,
        next,
    })
}

impl fmt::Display for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("presence on Redis")
    }
}

impl fmt::Debug for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisPresence")
    }
}
