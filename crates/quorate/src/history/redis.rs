//! Kept topics on Redis and Valkey: a stream and a hash per topic, one script per transition.

use std::fmt;

use async_trait::async_trait;
use quorate_link::{Frame, Lane, Link, ServerMode};

use super::Position;
use super::log::{From, PageLimit, RETENTION, Replay};
use super::port::{Append, Appended, HistoryPort, UNIT, inconclusive};
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, micros, unexpected};

static APPEND: Script = Script::new(include_str!("scripts/append.lua"));
static READ: Script = Script::new(include_str!("scripts/read.lua"));

/// Kept topics of one server.
pub(crate) struct RedisHistory {
    scripts: ScriptRunner,
    link: Link,
}

impl RedisHistory {
    pub(crate) fn new(scripts: ScriptRunner, link: Link) -> Self {
        Self { scripts, link }
    }

    /// In a cluster a node knows only its own subscribers.
    fn counts_receivers(&self) -> bool {
        self.link
            .server()
            .is_some_and(|server| server.mode != ServerMode::Cluster)
    }
}

#[async_trait]
impl HistoryPort for RedisHistory {
    async fn append(&self, topic: &Key, append: Append, options: CallOptions) -> Result<Appended> {
        let keys = [topic.unit(UNIT, ""), topic.unit(UNIT, ":meta")];
        let keep = append.keep;
        let command: &[u8] = if append.channel.sharded {
            b"SPUBLISH"
        } else {
            b"PUBLISH"
        };
        let (time, messages) = (micros(keep.time), keep.messages.to_string());
        let (bytes, retention) = (keep.bytes.to_string(), micros(RETENTION));
        let again = append.again.map(micros).unwrap_or_default();
        let arguments: [&[u8]; 9] = [
            &append.message,
            &append.id,
            time.as_bytes(),
            messages.as_bytes(),
            bytes.as_bytes(),
            command,
            append.channel.name.as_bytes(),
            again.as_bytes(),
            retention.as_bytes(),
        ];
        let reply = self
            .scripts
            .run(
                &APPEND,
                &[keys[0].as_bytes(), keys[1].as_bytes()],
                &arguments,
                options,
            )
            .await?;
        let Frame::Array(parts) = &reply else {
            return Err(unexpected(&reply));
        };
        let text = |at: usize| parts.get(at).and_then(Frame::as_str);
        let number = |at: usize| text(at)?.parse::<u64>().ok();
        match (text(0), number(1), number(2)) {
            (Some("appended" | "repeated"), Some(epoch), Some(offset)) => {
                let receivers = number(3).filter(|_| self.counts_receivers());
                let position = Position::of(epoch, offset, append.id);
                Ok(Appended::at(position, receivers))
            }
            (Some("inconclusive"), ..) => Err(inconclusive()),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn read(
        &self,
        topic: &Key,
        from: From,
        limit: PageLimit,
        options: CallOptions,
    ) -> Result<Replay> {
        let keys = [topic.unit(UNIT, ""), topic.unit(UNIT, ":meta")];
        let (verb, first, second, mark) = match from {
            From::Beginning => ("beginning", 0_u64, 0_u64, 0_u32),
            From::Latest(count) => ("latest", count.into(), 0, 0),
            From::After(at) => ("after", at.epoch(), at.offset(), at.mark()),
        };
        let (first, second) = (first.to_string(), second.to_string());
        let (messages, bytes) = (limit.messages.to_string(), limit.bytes.to_string());
        let (mark, retention) = (mark.to_be_bytes(), micros(RETENTION));
        let arguments: [&[u8]; 7] = [
            verb.as_bytes(),
            first.as_bytes(),
            second.as_bytes(),
            &mark,
            messages.as_bytes(),
            bytes.as_bytes(),
            retention.as_bytes(),
        ];
        let keys = [keys[0].as_bytes(), keys[1].as_bytes()];
        // Pages are large, and small replies do not wait behind them.
        let reply = self
            .scripts
            .run_on(Lane::Bulk, &READ, &keys, &arguments, options)
            .await?;
        replay(&reply).ok_or_else(|| unexpected(&reply))
    }
}

fn replay(reply: &Frame) -> Option<Replay> {
    let Frame::Array(parts) = reply else {
        return None;
    };
    let [found, epoch, last, mark, page @ ..] = &parts[..] else {
        return None;
    };
    let mark = u32::from_be_bytes(mark.as_bytes()?.try_into().ok()?);
    let top = Position::new(
        epoch.as_str()?.parse().ok()?,
        last.as_str()?.parse().ok()?,
        mark,
    );
    match (found.as_str()?, page) {
        ("lost", []) => Some(Replay::Lost { top }),
        ("page", [first, messages @ ..]) => {
            let messages = messages.iter().map(|message| match message {
                Frame::Bulk(bytes) => Some(bytes.clone()),
                _ => None,
            });
            Some(Replay::Page {
                messages: messages.collect::<Option<_>>()?,
                first: first.as_str()?.parse().ok()?,
                top,
            })
        }
        _ => None,
    }
}

impl fmt::Display for RedisHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("histories on Redis")
    }
}

impl fmt::Debug for RedisHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisHistory")
    }
}
