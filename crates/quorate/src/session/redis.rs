//! Sessions on Redis and Valkey: a hash of records and a sorted set of their ends per user, one script per
//! transition.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::Frame;

use super::id::{IdDigest, Serial};
use super::partition::{Change, Claim, Creation, Deleted, NewSession, Rotated, Updated};
use super::port::{Found, RevokedWhy, SessionPort, UNIT, announcement};
use super::record::{MAX_BYTES, MAX_FIELDS, Record, encode_about};
use crate::clock::Micros;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, micros, unexpected};

/// What the scripts have in common.
const LIBRARY: &str = include_str!("library.lua");

static CREATE: Script = Script::with_library(include_str!("scripts/create.lua"), LIBRARY);
static GET: Script = Script::with_library(include_str!("scripts/get.lua"), LIBRARY);
static TOUCH: Script = Script::with_library(include_str!("scripts/touch.lua"), LIBRARY);
static UPDATE: Script = Script::with_library(include_str!("scripts/update.lua"), LIBRARY);
static ROTATE: Script = Script::with_library(include_str!("scripts/rotate.lua"), LIBRARY);
static DELETE: Script = Script::with_library(include_str!("scripts/delete.lua"), LIBRARY);
static CLEAR: Script = Script::with_library(include_str!("scripts/clear.lua"), LIBRARY);
static LIST: Script = Script::new(include_str!("scripts/list.lua"));
static COUNT: Script = Script::new(include_str!("scripts/count.lua"));

/// Sessions of one server.
pub(crate) struct RedisSessions {
    scripts: ScriptRunner,
}

impl RedisSessions {
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
        let (sessions, ends) = (key.unit(UNIT, ""), key.unit(UNIT, ":ends"));
        let keys = [sessions.as_bytes(), ends.as_bytes()];
        self.scripts.run(script, &keys, arguments, options).await
    }

    /// A script about one session, whose serial and digest stand in front.
    async fn run_for(
        &self,
        script: &'static Script,
        key: &Key,
        claim: &Claim,
        rest: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let serial = claim.serial.to_string();
        let digest = claim
            .digest
            .as_ref()
            .map_or(&b""[..], |digest| digest.as_bytes());
        let mut arguments = vec![serial.as_bytes(), digest];
        arguments.extend(rest);
        self.run(script, key, &arguments, options).await
    }
}

/// Changes as scripts take them: four arguments each.
fn arguments_of(changes: &[Change]) -> Vec<Bytes> {
    let mut arguments = Vec::with_capacity(changes.len() * 4);
    for change in changes {
        let (verb, time, value) = match change {
            Change::Set { value, ttl, .. } => (
                "set",
                ttl.map_or_else(|| "0".to_owned(), micros),
                value.clone(),
            ),
            Change::Remove { .. } => ("remove", "0".to_owned(), Bytes::new()),
            Change::Take { .. } => ("take", "0".to_owned(), Bytes::new()),
        };
        let name = Bytes::copy_from_slice(change.name().as_bytes());
        arguments.extend([verb.into(), name, time.into(), value]);
    }
    arguments
}

fn moment(frame: &Frame) -> Option<Micros> {
    frame.as_str()?.parse().ok().map(Micros::new)
}

fn record(now: Micros, frame: &Frame) -> Result<Found> {
    let Frame::Bulk(bytes) = frame else {
        return Err(unexpected(frame));
    };
    let record = Record::decode(bytes).ok_or_else(|| {
        Error::new(ErrorKind::Decode).with_message("what is stored is no session")
    })?;
    Ok(Found { now, record })
}

fn found(reply: &Frame) -> Result<Option<Found>> {
    if matches!(reply, Frame::Null) {
        return Ok(None);
    }
    let Some([now, bytes]) = reply.as_array() else {
        return Err(unexpected(reply));
    };
    let now = moment(now).ok_or_else(|| unexpected(reply))?;
    record(now, bytes).map(Some)
}

fn creation(reply: &Frame) -> Option<Creation> {
    let [now, ends, evicted @ ..] = reply.as_array()? else {
        return None;
    };
    let serials = evicted.iter().map(serial);
    Some(Creation {
        now: moment(now)?,
        ends: moment(ends)?,
        evicted: serials.collect::<Option<_>>()?,
    })
}

fn serial(frame: &Frame) -> Option<Serial> {
    Serial::parse(frame.as_str()?)
}

fn updated(reply: &Frame) -> Option<Updated> {
    let [said, rest @ ..] = reply.as_array()? else {
        return None;
    };
    Some(match (said.as_str()?, rest) {
        ("gone", []) => Updated::Gone,
        ("large", []) => Updated::TooLarge,
        ("done", [changes, taken @ ..]) => {
            let value = |frame: &Frame| match frame {
                Frame::Null => Some(None),
                Frame::Bulk(bytes) => Some(Some(bytes.clone())),
                _ => None,
            };
            Updated::Done {
                changes: changes.as_str()?.parse().ok()?,
                taken: taken.iter().map(value).collect::<Option<_>>()?,
            }
        }
        _ => return None,
    })
}

fn rotated(reply: &Frame) -> Option<Rotated> {
    let [said, rest @ ..] = reply.as_array()? else {
        return None;
    };
    Some(match (said.as_str()?, rest) {
        ("gone", []) => Rotated::Gone,
        ("superseded", []) => Rotated::Superseded,
        ("done", [now, ends]) => Rotated::Done {
            now: moment(now)?,
            ends: moment(ends)?,
        },
        _ => return None,
    })
}

#[async_trait]
impl SessionPort for RedisSessions {
    async fn create(&self, key: &Key, new: &NewSession, options: CallOptions) -> Result<Creation> {
        let serial = new.serial.to_string();
        let absolute = new.absolute.map_or_else(|| "0".to_owned(), micros);
        let (ttl, most) = (micros(new.ttl), new.most.to_string());
        let about = encode_about(new.user.as_deref(), new.device.as_deref());
        let channel = announcement(key);
        let fields = arguments_of(&new.fields);
        let mut arguments: Vec<&[u8]> = vec![
            serial.as_bytes(),
            new.digest.as_bytes(),
            ttl.as_bytes(),
            absolute.as_bytes(),
            most.as_bytes(),
            &about,
            channel.name.as_bytes(),
        ];
        arguments.extend(fields.iter().map(|field| &field[..]));
        let reply = self.run(&CREATE, key, &arguments, options).await?;
        creation(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn get(&self, key: &Key, claim: &Claim, options: CallOptions) -> Result<Option<Found>> {
        found(&self.run_for(&GET, key, claim, &[], options).await?)
    }

    async fn touch(
        &self,
        key: &Key,
        claim: &Claim,
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<Option<Found>> {
        let ttl = ttl.map_or_else(|| "0".to_owned(), micros);
        let rest = [ttl.as_bytes()];
        found(&self.run_for(&TOUCH, key, claim, &rest, options).await?)
    }

    async fn update(
        &self,
        key: &Key,
        claim: &Claim,
        changes: &[Change],
        options: CallOptions,
    ) -> Result<Updated> {
        let (fields, bytes) = (MAX_FIELDS.to_string(), MAX_BYTES.to_string());
        let changes = arguments_of(changes);
        let mut arguments = vec![fields.as_bytes(), bytes.as_bytes()];
        arguments.extend(changes.iter().map(|change| &change[..]));
        let reply = self
            .run_for(&UPDATE, key, claim, &arguments, options)
            .await?;
        updated(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn rotate(
        &self,
        key: &Key,
        claim: &Claim,
        digest: IdDigest,
        overlap: Duration,
        options: CallOptions,
    ) -> Result<Rotated> {
        let overlap = micros(overlap);
        let arguments: [&[u8]; 2] = [digest.as_bytes(), overlap.as_bytes()];
        let reply = self
            .run_for(&ROTATE, key, claim, &arguments, options)
            .await?;
        rotated(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn delete(
        &self,
        key: &Key,
        claim: &Claim,
        changes: Option<u64>,
        why: RevokedWhy,
        options: CallOptions,
    ) -> Result<Deleted> {
        let changes = changes
            .map(|changes| changes.to_string())
            .unwrap_or_default();
        let channel = announcement(key);
        let arguments = [
            changes.as_bytes(),
            channel.name.as_bytes(),
            why.as_str().as_bytes(),
        ];
        let reply = self
            .run_for(&DELETE, key, claim, &arguments, options)
            .await?;
        match reply.as_str() {
            Some("done") => Ok(Deleted::Done),
            Some("changed") => Ok(Deleted::Changed),
            Some("gone") => Ok(Deleted::Gone),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn clear(
        &self,
        key: &Key,
        keep: Option<Serial>,
        options: CallOptions,
    ) -> Result<Vec<Serial>> {
        let keep = keep.map(|keep| keep.to_string()).unwrap_or_default();
        let channel = announcement(key);
        let arguments = [keep.as_bytes(), channel.name.as_bytes()];
        let reply = self.run(&CLEAR, key, &arguments, options).await?;
        let gone = reply
            .as_array()
            .map(|gone| gone.iter().map(serial).collect());
        gone.flatten().ok_or_else(|| unexpected(&reply))
    }

    async fn list(&self, key: &Key, options: CallOptions) -> Result<Vec<(Serial, Found)>> {
        let reply = self.run(&LIST, key, &[], options).await?;
        let Some([now, rest @ ..]) = reply.as_array() else {
            return Err(unexpected(&reply));
        };
        let now = moment(now).ok_or_else(|| unexpected(&reply))?;
        let pairs = rest.chunks_exact(2).map(|pair| {
            let serial = serial(&pair[0]).ok_or_else(|| unexpected(&reply))?;
            Ok((serial, record(now, &pair[1])?))
        });
        pairs.collect()
    }

    async fn count(&self, key: &Key, options: CallOptions) -> Result<u64> {
        let reply = self.run(&COUNT, key, &[], options).await?;
        let count = reply.as_int().and_then(|count| u64::try_from(count).ok());
        count.ok_or_else(|| unexpected(&reply))
    }

    fn announced_on(&self, key: &Key) -> Option<Channel> {
        Some(announcement(key))
    }
}

impl fmt::Display for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sessions on Redis")
    }
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisSessions")
    }
}
