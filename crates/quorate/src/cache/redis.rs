//! Caches on Redis and Valkey: a string per entry, what is known of tags beside it, a script per transition.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quorate_link::{Frame, Lane, Link};

use super::area::{CacheArea, CacheKey, PARTITIONS, tags_key};
use super::port::{CachePort, Changes, Sought, Tracked};
use super::record::{is_plain, stored, taken, timed};
use super::slot::{FailedLoad, Fence, LoadId, NotAdded, Put, Stored, Take, Taken, Wish};
use super::tracking::Tracking;
use crate::clock::{Micros, whole_millis};
use crate::error::{Outcome, Result};
use crate::events::Channel;
use crate::glob;
use crate::key::Namespace;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptCall, ScriptRunner, flag, from_link, unexpected};
use crate::scan::{ScanCursor, ScanPage};

const LIBRARY: &str = include_str!("library.lua");

static GET: Script = Script::with_library(include_str!("scripts/get.lua"), LIBRARY);
static PUT: Script = Script::with_library(include_str!("scripts/put.lua"), LIBRARY);
static TAKE: Script = Script::with_library(include_str!("scripts/take.lua"), LIBRARY);
static RENEW: Script = Script::new(include_str!("scripts/renew.lua"));
static FAIL: Script = Script::with_library(include_str!("scripts/fail.lua"), LIBRARY);
static GIVE_UP: Script = Script::new(include_str!("scripts/give_up.lua"));
static REMOVE: Script = Script::with_library(include_str!("scripts/remove.lua"), LIBRARY);
static EXPIRE: Script = Script::with_library(include_str!("scripts/expire.lua"), LIBRARY);
static ADD: Script = Script::with_library(include_str!("scripts/add.lua"), LIBRARY);
static INVALIDATE: Script = Script::with_library(include_str!("scripts/invalidate.lua"), LIBRARY);

/// Keys that a server looks at for one page of a scan.
const LOOKED_AT: &[u8] = b"512";

/// Caches of one server.
pub(crate) struct RedisCaches {
    scripts: ScriptRunner,
    link: Link,
    /// Whether what is announced there is heard.
    is_heard: bool,
    tracking: Tracking,
}

impl RedisCaches {
    pub(crate) fn new(scripts: ScriptRunner, link: Link, is_heard: bool) -> Self {
        Self {
            tracking: Tracking::new(link.clone()),
            scripts,
            link,
            is_heard,
        }
    }

    async fn read_by_script(&self, key: &CacheKey, options: CallOptions) -> Result<Option<Stored>> {
        let (entry, tags) = (key.entry(), key.tags());
        let keys = [entry.as_bytes(), tags.as_bytes()];
        let reply = self.scripts.run(&GET, &keys, &[], options).await?;
        timed(reply)
    }

    /// Calls in one round trip, and what is understood of their replies.
    async fn each<T>(
        &self,
        calls: impl Iterator<Item = ScriptCall>,
        options: CallOptions,
        understand: impl Fn(Frame) -> Result<T>,
    ) -> Result<Vec<T>> {
        let calls: Vec<_> = calls.collect();
        let replies = self.scripts.run_many(&calls, options).await?;
        let understood = replies.into_iter().map(|reply| understand(reply?));
        // Others of them may be done.
        understood
            .collect::<Result<_>>()
            .map_err(|error| error.with_outcome(Outcome::Unknown))
    }

    /// Names whose keys are there.
    async fn look_for(
        &self,
        area: &CacheArea,
        glob: &str,
        sought: Sought,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        let before = glob::escape(&area.namespace().qualify("cache:{"));
        let kinds = match sought {
            Sought::Entries => "e",
            Sought::EntriesAndLoads => "[el]",
            Sought::Loads => "l",
        };
        let pattern = format!("{before}*}}:{kinds}:{}:{glob}", area.cache());
        let scan: [&[u8]; 6] = [
            b"SCAN",
            from.map_or("0", ScanCursor::as_str).as_bytes(),
            b"MATCH",
            pattern.as_bytes(),
            b"COUNT",
            LOOKED_AT,
        ];
        let link = options.link().lane(Lane::Bulk);
        let reply = self.link.call(&scan, &link).await.map_err(from_link)?;
        let Some([next, Frame::Array(found)]) = reply.as_array() else {
            return Err(unexpected(&reply));
        };
        let next = next.as_str().ok_or_else(|| unexpected(&reply))?;
        let names = found
            .iter()
            .filter_map(|key| area.name_of(key.as_str()?))
            // The pattern cannot tell where the tag ends.
            .filter(|name| glob::matches(glob.as_bytes(), name.as_bytes()));
        Ok(ScanPage {
            names: names.map(str::to_owned).collect(),
            next: (next != "0").then(|| ScanCursor::new(next)),
        })
    }

    /// Without the names of entries that have ended with their tags: their keys stay until their time is over.
    async fn alive_of(
        &self,
        area: &Arc<CacheArea>,
        page: ScanPage,
        options: CallOptions,
    ) -> Result<ScanPage> {
        let keys = page.names.into_iter().map(|name| area.key(&name));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let calls: Vec<_> = keys.iter().map(remaining_call).collect();
        let replies = self.scripts.run_many(&calls, options).await?;
        let mut names = Vec::with_capacity(keys.len());
        for (key, reply) in keys.iter().zip(replies) {
            if left(&reply?)?.is_some() {
                names.push(key.name().to_owned());
            }
        }
        let next = page.next;
        Ok(ScanPage { names, next })
    }
}

/// A script for a key, with what it takes.
fn call(script: &'static Script, key: &CacheKey, arguments: Vec<Vec<u8>>) -> ScriptCall {
    let keys = [key.entry().to_owned(), key.tags(), key.lease()];
    ScriptCall {
        script,
        keys: keys.into_iter().map(String::into_bytes).collect(),
        arguments,
    }
}

/// Ends a load: the one with this id, or without one whichever there is.
fn end_call(key: &CacheKey, id: Vec<u8>) -> ScriptCall {
    ScriptCall {
        script: &GIVE_UP,
        keys: vec![key.lease().into_bytes()],
        arguments: vec![id, key.announced_on().into_bytes()],
    }
}

/// Asks how long an entry is kept.
fn remaining_call(key: &CacheKey) -> ScriptCall {
    call(&EXPIRE, key, vec![b"0".to_vec()])
}

/// What it answers; `None` if there is no such entry.
fn left(reply: &Frame) -> Result<Option<Duration>> {
    let left = reply.as_int().ok_or_else(|| unexpected(reply))?;
    Ok(u64::try_from(left).ok().map(Duration::from_millis))
}

fn get_calls(keys: &[CacheKey]) -> Vec<ScriptCall> {
    let call = |key: &CacheKey| ScriptCall {
        script: &GET,
        keys: vec![key.entry().into(), key.tags().into_bytes()],
        arguments: Vec::new(),
    };
    keys.iter().map(call).collect()
}

fn digits(id: LoadId) -> Vec<u8> {
    id.get().to_string().into_bytes()
}

fn millis(time: Duration) -> Vec<u8> {
    whole_millis(time).to_string().into_bytes()
}

fn put_call(key: &CacheKey, put: &Put, fence: Fence) -> ScriptCall {
    let (mode, id) = match fence {
        Fence::Always => ("always", 0),
        Fence::Absent => ("absent", 0),
        Fence::Load(id) => ("load", id.get()),
    };
    let needs_time = put.is_timed || !put.tags.is_empty() || put.fresh < put.keep;
    if needs_time {
        key.area().will_need_scripts();
    }
    let mut arguments = vec![
        mode.into(),
        id.to_string().into_bytes(),
        millis(put.fresh),
        millis(put.keep),
        millis(put.cost),
        put.value.to_vec(),
        key.announced_on().into_bytes(),
        if needs_time { "2" } else { "1" }.into(),
    ];
    arguments.extend(put.tags.iter().map(|tag| tag.clone().into_bytes()));
    call(&PUT, key, arguments)
}

#[async_trait]
impl CachePort for RedisCaches {
    async fn get(&self, key: &CacheKey, options: CallOptions) -> Result<Option<Stored>> {
        // On the heap, both times: a plain read need not carry what a script takes.
        if key.area().needs_scripts() {
            return Box::pin(self.read_by_script(key, options)).await;
        }
        let parts = [b"GET".as_slice(), key.entry().as_bytes()];
        let reply = self.scripts.call(&parts, options).await?;
        match &reply {
            Frame::Null => Ok(None),
            Frame::Bulk(value) if is_plain(value) => stored(reply, Micros::new(0)).map(Some),
            _ => {
                key.area().will_need_scripts();
                Box::pin(self.read_by_script(key, options)).await
            }
        }
    }

    async fn get_many(
        &self,
        keys: &[CacheKey],
        options: CallOptions,
    ) -> Result<Vec<Option<Stored>>> {
        let replies = self.scripts.run_many(&get_calls(keys), options).await?;
        replies.into_iter().map(|reply| timed(reply?)).collect()
    }

    async fn put(
        &self,
        key: &CacheKey,
        put: &Put,
        fence: Fence,
        options: CallOptions,
    ) -> Result<bool> {
        let _told = self.tracking.own_change(|| vec![key.entry().to_owned()]);
        let call = put_call(key, put, fence);
        flag(&self.scripts.run_call(&call, options).await?)
    }

    async fn put_many(
        &self,
        entries: &[(CacheKey, Put, Fence)],
        options: CallOptions,
    ) -> Result<Vec<bool>> {
        let keys = || {
            entries
                .iter()
                .map(|(key, ..)| key.entry().to_owned())
                .collect()
        };
        let _told = self.tracking.own_change(keys);
        let calls = entries
            .iter()
            .map(|(key, put, fence)| put_call(key, put, *fence));
        self.each(calls, options, |reply| flag(&reply)).await
    }

    async fn take(
        &self,
        keys: &[CacheKey],
        take: Take,
        options: CallOptions,
    ) -> Result<Vec<Taken>> {
        let wish = match take.wish {
            Wish::Value => vec![b"value".to_vec()],
            Wish::Early(seen) => vec![b"early".to_vec(), seen.get().to_string().into_bytes()],
            Wish::Anew => vec![b"anew".to_vec()],
        };
        let calls = keys.iter().map(|key| {
            let mut arguments = vec![digits(take.id), millis(take.lease)];
            arguments.extend_from_slice(&wish);
            call(&TAKE, key, arguments)
        });
        self.each(calls, options, taken).await
    }

    async fn renew(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Vec<bool>> {
        let calls = keys.iter().map(|key| ScriptCall {
            script: &RENEW,
            keys: vec![key.lease().into_bytes()],
            arguments: vec![digits(id), millis(lease)],
        });
        self.each(calls, options, |reply| flag(&reply)).await
    }

    async fn give_up(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        options: CallOptions,
    ) -> Result<Vec<bool>> {
        let calls = keys.iter().map(|key| end_call(key, digits(id)));
        self.each(calls, options, |reply| flag(&reply)).await
    }

    async fn end_loads(&self, keys: &[CacheKey], options: CallOptions) -> Result<u64> {
        let calls = keys.iter().map(|key| end_call(key, Vec::new()));
        let ended = self.each(calls, options, |reply| flag(&reply)).await?;
        Ok(ended.into_iter().map(u64::from).sum())
    }

    async fn fail(
        &self,
        keys: &[CacheKey],
        id: LoadId,
        failed: &FailedLoad,
        options: CallOptions,
    ) -> Result<Vec<Option<Stored>>> {
        let calls = keys.iter().map(|key| {
            let mut arguments = vec![
                digits(id),
                millis(failed.throttle),
                millis(failed.told),
                failed.message.clone().into_bytes(),
                key.announced_on().into_bytes(),
            ];
            arguments.extend(failed.tags.iter().map(|tag| tag.clone().into_bytes()));
            call(&FAIL, key, arguments)
        });
        self.each(calls, options, timed).await
    }

    async fn remove(&self, keys: &[CacheKey], options: CallOptions) -> Result<u64> {
        let entries = || keys.iter().map(|key| key.entry().to_owned()).collect();
        let _told = self.tracking.own_change(entries);
        let calls = keys
            .iter()
            .map(|key| call(&REMOVE, key, vec![key.announced_on().into_bytes()]));
        let replies = self
            .scripts
            .run_many(&calls.collect::<Vec<_>>(), options)
            .await?;
        let mut removed = 0;
        for reply in replies {
            // Others of them may be removed.
            let there = reply.and_then(|reply| flag(&reply));
            let there = there.map_err(|error| error.with_outcome(Outcome::Unknown))?;
            removed += u64::from(there);
        }
        Ok(removed)
    }

    async fn remaining(&self, key: &CacheKey, options: CallOptions) -> Result<Option<Duration>> {
        left(&self.scripts.run_call(&remaining_call(key), options).await?)
    }

    async fn expire(&self, key: &CacheKey, keep: Duration, options: CallOptions) -> Result<bool> {
        let _told = self.tracking.own_change(|| vec![key.entry().to_owned()]);
        let call = call(&EXPIRE, key, vec![millis(keep)]);
        let reply = self.scripts.run_call(&call, options).await?;
        let left = reply.as_int().ok_or_else(|| unexpected(&reply))?;
        Ok(left >= 0)
    }

    async fn add(
        &self,
        key: &CacheKey,
        by: i64,
        keep: Duration,
        options: CallOptions,
    ) -> Result<Result<i64, NotAdded>> {
        let arguments = vec![
            by.to_string().into_bytes(),
            millis(keep),
            key.announced_on().into_bytes(),
        ];
        let _told = self.tracking.own_change(|| vec![key.entry().to_owned()]);
        let call = call(&ADD, key, arguments);
        let reply = self.scripts.run_call(&call, options).await?;
        match reply.as_str() {
            Some("none") => Ok(Err(NotAdded::NoCounter)),
            Some("overflow") => Ok(Err(NotAdded::Overflow)),
            Some(digits) => digits.parse().map(Ok).map_err(|_| unexpected(&reply)),
            None => Err(unexpected(&reply)),
        }
    }

    async fn invalidate(
        &self,
        namespace: &Namespace,
        tags: &[String],
        options: CallOptions,
    ) -> Result<()> {
        let of_tags = |partition| tags_key(namespace, partition);
        let _told = self
            .tracking
            .own_change(|| (0..PARTITIONS).map(of_tags).collect());
        let arguments: Vec<_> = tags.iter().map(|tag| tag.clone().into_bytes()).collect();
        let calls = (0..PARTITIONS).map(|partition| ScriptCall {
            script: &INVALIDATE,
            keys: vec![of_tags(partition).into_bytes()],
            arguments: arguments.clone(),
        });
        for reply in self
            .scripts
            .run_many(&calls.collect::<Vec<_>>(), options)
            .await?
        {
            // It may be done in other partitions.
            reply.map_err(|error| error.with_outcome(Outcome::Unknown))?;
        }
        Ok(())
    }

    async fn scan(
        &self,
        area: &Arc<CacheArea>,
        glob: &str,
        sought: Sought,
        from: Option<&ScanCursor>,
        options: CallOptions,
    ) -> Result<ScanPage> {
        let page = self.look_for(area, glob, sought, from, options).await?;
        match sought {
            Sought::Entries => self.alive_of(area, page, options).await,
            Sought::EntriesAndLoads | Sought::Loads => Ok(page),
        }
    }

    fn announced_on(&self, key: &CacheKey) -> Option<Channel> {
        self.is_heard.then(|| Channel {
            name: key.announced_on().into(),
            sharded: true,
        })
    }

    fn track(&self, changes: Arc<dyn Changes>) {
        self.tracking.listen(changes);
    }

    async fn get_tracked(&self, keys: &[CacheKey], options: CallOptions) -> Result<Vec<Tracked>> {
        if !self.tracking.is_worth_trying() {
            let found = self.get_many(keys, options).await?;
            let tracked = |stored| Tracked {
                stored,
                is_told: false,
            };
            return Ok(found.into_iter().map(tracked).collect());
        }
        let replies = self.scripts.run_tracked(&get_calls(keys), options).await?;
        if replies
            .iter()
            .any(|(reply, is_told)| reply.is_ok() && !is_told)
        {
            self.tracking.was_refused();
        }
        let tracked = |(reply, is_told): (Result<Frame>, bool)| {
            let stored = timed(reply?)?;
            Ok(Tracked { stored, is_told })
        };
        replies.into_iter().map(tracked).collect()
    }

    async fn confirm(&self, options: CallOptions) -> Result<()> {
        // What was told before this is answered came over the same connection before the answer.
        self.scripts.call(&[b"PING"], options).await?;
        Ok(())
    }
}

impl fmt::Display for RedisCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("caches on Redis")
    }
}

impl fmt::Debug for RedisCaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisCaches")
    }
}
