//! The journals and inboxes of jobs, on Redis and Valkey: as `append.lua`, `read.lua`, `tell.lua` and `rewind.lua` take them.

use bytes::Bytes;
use quorate_link::Frame;

use super::super::job::{JobId, JobState};
use super::super::journal::{
    Append, Appended, JournalPage, MOST_ENTRIES, MOST_MESSAGES, ReadFrom, check_appends,
    check_entry, inbox_is_full, journal_is_shorter,
};
use super::super::port::announcement;
use super::RedisQueues;
use super::keys::{journal_key, journal_keys};
use super::packed::{bytes, pack_delivery, state, whole};
use super::scripts::{LIBRARY, REDRIVING};
use crate::clock::Micros;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, unexpected};

static APPEND: Script = Script::new(include_str!("../scripts/append.lua"));
static READ: Script = Script::with_library(include_str!("../scripts/read.lua"), LIBRARY);
static TELL: Script = Script::with_library(include_str!("../scripts/tell.lua"), LIBRARY);
static REWIND: Script = Script::with_library(include_str!("../scripts/rewind.lua"), REDRIVING);

impl RedisQueues {
    pub(super) async fn append_to(
        &self,
        queue: &Key,
        appends: &[Append],
        options: CallOptions,
    ) -> Result<Vec<Appended>> {
        check_appends(appends)?;
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ["", ":active", ":tries", ":notes"].map(|rest| queue.unit("queue", rest));
        let journals = appends.iter().map(|it| journal_key(queue, it.id));
        let keys: Vec<_> = keys.into_iter().chain(journals).collect();
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let heads: Vec<u8> = appends.iter().flat_map(pack_head).collect();
        let deliveries = appends.iter().map(|it| pack_delivery(it.id, it.lease));
        let deliveries: Vec<_> = deliveries.collect();
        let mut arguments = vec![&heads[..]];
        arguments.extend(deliveries.iter().map(|it| &it[..]));
        let entries = appends.iter().flat_map(|it| &it.entries);
        arguments.extend(entries.map(|entry| &entry[..]));
        let run = self.scripts.run(&APPEND, &keys, &arguments, options);
        let reply = run.await?;
        to_appended(&reply, appends.len()).ok_or_else(|| unexpected(&reply))
    }

    pub(super) async fn read_of(
        &self,
        queue: &Key,
        id: JobId,
        from: ReadFrom,
        options: CallOptions,
    ) -> Result<Option<JournalPage>> {
        let from = [
            from.entry.min(MOST_ENTRIES).to_string(),
            from.message.min(MOST_MESSAGES).to_string(),
        ];
        let arguments = [&id.bytes()[..], from[0].as_bytes(), from[1].as_bytes()];
        let keys = journal_keys(queue, id);
        let reply = self
            .run_with(&READ, queue, keys, &arguments, options)
            .await?;
        match &reply {
            Frame::Null => Ok(None),
            reply => to_read(reply).map(Some).ok_or_else(|| unexpected(reply)),
        }
    }

    pub(super) async fn tell_job(
        &self,
        queue: &Key,
        id: JobId,
        message: &Bytes,
        options: CallOptions,
    ) -> Result<Option<JobState>> {
        check_entry("message", message)?;
        let (channel, most) = (announcement(queue), MOST_MESSAGES.to_string());
        let arguments = [
            &id.bytes()[..],
            channel.name.as_bytes(),
            most.as_bytes(),
            message,
        ];
        let keys = journal_keys(queue, id);
        let reply = self
            .run_with(&TELL, queue, keys, &arguments, options)
            .await?;
        if reply.as_str() == Some("full") {
            return Err(inbox_is_full());
        }
        state(&reply)
    }

    pub(super) async fn rewind_job(
        &self,
        queue: &Key,
        id: JobId,
        entries: u64,
        options: CallOptions,
    ) -> Result<bool> {
        let channel = announcement(queue);
        // What is more than any journal has is more than this one has.
        let first = entries.min(MOST_ENTRIES + 1).to_string();
        let arguments = [channel.name.as_bytes(), &id.bytes(), first.as_bytes()];
        let keys = journal_keys(queue, id);
        let reply = self
            .run_with(&REWIND, queue, keys, &arguments, options)
            .await?;
        match reply.as_array() {
            Some([done]) => match done.as_int() {
                Some(done @ (0 | 1)) => Ok(done == 1),
                _ => Err(unexpected(&reply)),
            },
            Some([_, length]) => {
                let length = length.as_int().and_then(|it| it.try_into().ok());
                Err(length.map_or_else(|| unexpected(&reply), journal_is_shorter))
            }
            _ => Err(unexpected(&reply)),
        }
    }
}

/// How many entries are before these, and how many these are.
fn pack_head(it: &Append) -> [u8; 8] {
    let number = |it: u64| u32::try_from(it).expect("more were refused");
    let head = number(it.at).to_le_bytes();
    let count = number(it.entries.len() as u64).to_le_bytes();
    [head, count].concat().try_into().expect("four bytes each")
}

/// When entries are there; 0: the lease has ended; less: others are.
fn to_appended(reply: &Frame, count: usize) -> Option<Vec<Appended>> {
    let said = bytes(reply)?.chunks_exact(8).map(|it| {
        let since = f64::from_le_bytes(it.try_into().ok()?);
        Some(if since > 0.0 {
            Appended::Written(Micros::new(whole(since)))
        } else if since < 0.0 {
            Appended::Conflict
        } else {
            Appended::Lost
        })
    });
    let said = said.collect::<Option<Vec<_>>>()?;
    (said.len() == count).then_some(said)
}

fn to_read(reply: &Frame) -> Option<JournalPage> {
    let [now, entries, length, messages, told] = reply.as_array()? else {
        return None;
    };
    Some(JournalPage {
        now: Micros::new(now.as_str()?.parse().ok()?),
        entries: to_lines(entries)?,
        length: length.as_int()?.try_into().ok()?,
        messages: to_lines(messages)?,
        told: told.as_int()?.try_into().ok()?,
    })
}

/// When each was written, and itself.
fn to_lines(lines: &Frame) -> Option<Vec<(Micros, Bytes)>> {
    let lines = lines.as_array()?.iter().map(|line| {
        let line = bytes(line)?;
        let at = f64::from_le_bytes(line.get(..8)?.try_into().ok()?);
        Some((Micros::new(whole(at)), line.slice(8..)))
    });
    lines.collect()
}
