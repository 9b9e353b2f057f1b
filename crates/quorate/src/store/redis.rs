//! Stores on Redis and Valkey: a string per entry, a command per operation, a script where one command does
//! not do.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quorate_link::{Batch, Frame, Lane, Link};

use super::area::{Area, StoreKey};
use super::entry::{Expiry, Remaining, When, Write, Written};
use super::fence::REMEMBERED;
use super::port::{StorePort, WriteOptions};
use crate::clock::whole_millis;
use crate::durability::{Durability, Reached};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::glob;
use crate::lock::FencingToken;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, from_link, unexpected};
use crate::scan::{ScanCursor, ScanPage};

static WRITE: Script = Script::new(include_str!("scripts/write.lua"));
static DELETE: Script = Script::new(include_str!("scripts/delete.lua"));

/// Keys that a server looks at for one page of a scan.
const LOOKED_AT: &[u8] = b"512";

/// Reads and writes of more entries than this go where they hold up nobody.
const FEW: usize = 64;

/// Stores of one server.
pub(crate) struct RedisStores {
    scripts: ScriptRunner,
    link: Link,
}

/// A command that does a whole write, and how its reply is read.
struct Plain<'a> {
    parts: Vec<&'a [u8]>,
    read: Read,
}

type Read = fn(&Frame) -> Option<Written>;

impl RedisStores {
    pub(crate) fn new(scripts: ScriptRunner, link: Link) -> Self {
        Self { scripts, link }
    }

    async fn script(
        &self,
        script: &'static Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        options: &WriteOptions,
    ) -> Result<(Frame, Reached)> {
        let call = options.call;
        match options.durability {
            None => {
                let reply = self.scripts.run(script, keys, arguments, call).await?;
                Ok((reply, Reached::default()))
            }
            Some(durability) => {
                self.scripts
                    .run_durably(durability, script, keys, arguments, call)
                    .await
            }
        }
    }

    async fn plain(
        &self,
        parts: &[&[u8]],
        durability: Option<Durability>,
        options: CallOptions,
    ) -> Result<(Frame, Reached)> {
        match durability {
            None => Ok((self.scripts.call(parts, options).await?, Reached::default())),
            Some(durability) => self.scripts.call_durably(durability, parts, options).await,
        }
    }

    async fn by_script(
        &self,
        key: &StoreKey,
        write: &Write,
        options: &WriteOptions,
    ) -> Result<(Written, Reached)> {
        let memory = options.once.as_ref().map(|once| key.once(&once.id));
        let fence = options.token.map(|_| key.fence());
        let mut keys = vec![key.text().as_bytes()];
        keys.extend(memory.as_ref().map(|memory| memory.as_bytes()));
        keys.extend(fence.as_ref().map(|fence| fence.as_bytes()));
        let token = options
            .token
            .map_or_else(String::new, |token| token.to_string());
        let seen_for = whole_millis(REMEMBERED).to_string();
        let once = options.once.as_ref();
        let fingerprint = once.map_or([0; 8], |once| once.fingerprint);
        let remember = once.map_or(0, |once| whole_millis(once.remember));
        let remember = remember.to_string();
        let remembered: [&[u8]; 2] = [&fingerprint, remember.as_bytes()];
        if let Write::Delete { when } = write {
            let (when, expected) = condition(when);
            let arguments = [
                when,
                expected,
                remembered[0],
                remembered[1],
                token.as_bytes(),
                seen_for.as_bytes(),
            ];
            let (reply, reached) = self.script(&DELETE, &keys, &arguments, options).await?;
            return Ok((answer(&reply)?, reached));
        }
        let always = When::Always;
        let number;
        let (verb, when, operand, expiry): (&[u8], _, &[u8], _) = match write {
            Write::Set {
                value,
                expiry,
                when,
            } => (b"set", when, value, *expiry),
            Write::Add { by, expiry } => {
                number = by.to_string();
                (b"add", &always, number.as_bytes(), *expiry)
            }
            Write::Expire { expiry } => (b"expire", &always, b"", *expiry),
            Write::Delete { .. } => unreachable!("has a script of its own"),
        };
        let ((when, expected), (expiry, millis)) = (condition(when), expiry.parts());
        let millis = millis.to_string();
        let arguments = [
            verb,
            when,
            expected,
            operand,
            expiry.as_bytes(),
            millis.as_bytes(),
            remembered[0],
            remembered[1],
            token.as_bytes(),
            seen_for.as_bytes(),
        ];
        let (reply, reached) = self.script(&WRITE, &keys, &arguments, options).await?;
        Ok((answer(&reply)?, reached))
    }
}

/// The command for a write, if there is one that does it all. `text` keeps its numbers.
fn plain<'a>(key: &'a StoreKey, write: &'a Write, text: &'a mut String) -> Option<Plain<'a>> {
    let key = key.text().as_bytes();
    let (mut parts, read): (Vec<&[u8]>, Read) = match write {
        Write::Set { value, when, .. } => match when {
            When::Equals(_) => return None,
            When::Absent => (vec![b"SET", key, value, b"NX"], if_ok),
            When::Always => (vec![b"SET", key, value], if_ok),
        },
        Write::Delete { when: When::Always } => (vec![b"DEL", key], if_one),
        Write::Add {
            by,
            expiry: Expiry::Keep,
        } => {
            *text = by.to_string();
            return Some(Plain {
                parts: vec![b"INCRBY", key, text.as_bytes()],
                read: |reply| reply.as_int().map(Written::Count),
            });
        }
        Write::Expire {
            expiry: expiry @ Expiry::After(_),
        } => {
            *text = expiry.parts().1.to_string();
            return Some(Plain {
                parts: vec![b"PEXPIRE", key, text.as_bytes()],
                read: if_one,
            });
        }
        _ => return None,
    };
    if let Write::Set { expiry, when, .. } = write {
        match (expiry, when) {
            // What is absent has no end to keep.
            (Expiry::Never, _) | (Expiry::Keep, When::Absent) => {}
            (Expiry::Keep, _) => parts.push(b"KEEPTTL"),
            (Expiry::After(_), _) | (Expiry::AfterIfNew(_), When::Absent) => {
                *text = expiry.parts().1.to_string();
                parts.extend([b"PX", text.as_bytes()]);
            }
            (Expiry::AfterIfNew(_), _) => return None,
        }
    }
    Some(Plain { parts, read })
}

fn if_ok(reply: &Frame) -> Option<Written> {
    match reply {
        Frame::Null => Some(Written::Refused),
        reply => reply.is_ok().then_some(Written::Applied),
    }
}

fn if_one(reply: &Frame) -> Option<Written> {
    match reply.as_int()? {
        0 => Some(Written::Refused),
        _ => Some(Written::Applied),
    }
}

/// A condition, as scripts take it.
fn condition(when: &When) -> (&'static [u8], &[u8]) {
    match when {
        When::Always => (b"always", b""),
        When::Absent => (b"absent", b""),
        When::Equals(expected) => (b"equals", expected),
    }
}

/// What a script says.
fn answer(reply: &Frame) -> Result<Written> {
    Ok(match reply.as_str() {
        Some("applied") => Written::Applied,
        Some("refused") => Written::Refused,
        Some("not-a-counter") => Written::NotACounter,
        Some("overflow") => Written::Overflow,
        Some("other") => Written::OtherWrite,
        Some(text) if text.starts_with("stale ") => {
            let greatest = text["stale ".len()..].parse();
            Written::Stale(FencingToken::new(greatest.map_err(|_| unexpected(reply))?))
        }
        Some(digits) => Written::Count(digits.parse().map_err(|_| unexpected(reply))?),
        None => return Err(unexpected(reply)),
    })
}

/// What an error reply to a plain command means, where it is an answer.
fn refusal(error: Error) -> Result<Written> {
    let said = error.message().unwrap_or_default();
    if error.kind() != ErrorKind::Backend {
        Err(error)
    } else if said.contains("would overflow") {
        Ok(Written::Overflow)
    } else if said.contains("not an integer") {
        Ok(Written::NotACounter)
    } else {
        Err(error)
    }
}

fn lane_for(entries: usize) -> Lane {
    if entries > FEW {
        Lane::Bulk
    } else {
        Lane::Command
    }
}

fn value(reply: Frame) -> Result<Option<Bytes>> {
    match reply {
        Frame::Null => Ok(None),
        Frame::Bulk(bytes) => Ok(Some(bytes)),
        other => Err(unexpected(&other)),
    }
}

#[async_trait]
impl StorePort for RedisStores {
    async fn get(&self, key: &StoreKey, options: CallOptions) -> Result<Option<Bytes>> {
        let parts: [&[u8]; 2] = [b"GET", key.text().as_bytes()];
        value(self.scripts.call(&parts, options).await?)
    }

    async fn get_many(
        &self,
        keys: &[StoreKey],
        options: CallOptions,
    ) -> Result<Vec<Option<Bytes>>> {
        // Not MGET, whose keys would have to be in one slot.
        let mut batch = Batch::new();
        for key in keys {
            batch.command(&[b"GET", key.text().as_bytes()]);
        }
        let options = options.link().lane(lane_for(keys.len()));
        let replies = self.link.pipeline(&batch, &options).await;
        let replies = replies.map_err(from_link)?;
        let values = replies
            .into_iter()
            .map(|reply| value(reply.map_err(from_link)?));
        values.collect()
    }

    async fn write(
        &self,
        key: &StoreKey,
        write: &Write,
        options: WriteOptions,
    ) -> Result<(Written, Reached)> {
        let mut text = String::new();
        let plain = match (&options.once, options.token) {
            (None, None) => plain(key, write, &mut text),
            _ => None,
        };
        let Some(Plain { parts, read }) = plain else {
            return self.by_script(key, write, &options).await;
        };
        match self.plain(&parts, options.durability, options.call).await {
            Ok((reply, reached)) => Ok((read(&reply).ok_or_else(|| unexpected(&reply))?, reached)),
            Err(error) => Ok((refusal(error)?, Reached::default())),
        }
    }

    async fn set_many(
        &self,
        entries: &[(StoreKey, Bytes)],
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<()> {
        let millis = ttl.map(|ttl| whole_millis(ttl).to_string());
        let mut batch = Batch::new();
        for (key, value) in entries {
            let key = key.text().as_bytes();
            match &millis {
                None => batch.command(&[b"SET", key, value]),
                Some(millis) => batch.command(&[b"SET", key, value, b"PX", millis.as_bytes()]),
            };
        }
        let options = options.link().lane(lane_for(entries.len()));
        for reply in self
            .link
            .pipeline(&batch, &options)
            .await
            .map_err(from_link)?
        {
            // Others of them may have been set.
            reply.map_err(|error| from_link(error).with_outcome(Outcome::Unknown))?;
        }
        Ok(())
    }

    async fn remaining(&self, key: &StoreKey, options: CallOptions) -> Result<Option<Remaining>> {
        let parts: [&[u8]; 2] = [b"PTTL", key.text().as_bytes()];
        let reply = self.scripts.call(&parts, options).await?;
        match reply.as_int() {
            Some(-2) => Ok(None),
            Some(-1) => Ok(Some(Remaining::Forever)),
            Some(millis) => match u64::try_from(millis) {
                Ok(millis) => Ok(Some(Remaining::For(Duration::from_millis(millis)))),
                Err(_) => Err(unexpected(&reply)),
            },
            None => Err(unexpected(&reply)),
        }
    }

    async fn scan(
        &self,
        area: &Area,
        prefix: &str,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        let pattern = format!("{}*", glob::escape(&area.beginning_with(prefix)));
        let cursor = from.map_or("0", ScanCursor::as_str);
        let parts: [&[u8]; 8] = [
            b"SCAN",
            cursor.as_bytes(),
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            LOOKED_AT,
            b"TYPE",
            b"string",
        ];
        let options = options.link().lane(Lane::Bulk);
        let reply = self.link.call(&parts, &options).await.map_err(from_link)?;
        let Some([next, Frame::Array(keys)]) = reply.as_array() else {
            return Err(unexpected(&reply));
        };
        let Some(next) = next.as_str() else {
            return Err(unexpected(&reply));
        };
        let named = |key: &Frame| area.name_of(key.as_str()?);
        Ok(ScanPage {
            names: keys.iter().filter_map(named).collect(),
            next: (next != "0").then(|| ScanCursor::new(next)),
        })
    }
}

impl fmt::Display for RedisStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stores on Redis")
    }
}

impl fmt::Debug for RedisStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisStores")
    }
}
