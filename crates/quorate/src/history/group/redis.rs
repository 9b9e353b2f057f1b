//! Consumer groups on Redis and Valkey: a hash, a sorted set and a hash per group, in the slot of the
//! topic's history; one script per transition.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use quorate_link::{Frame, Lane};

use super::super::Position;
use super::super::log::{From, RETENTION};
use super::super::port::UNIT;
use super::{Content, GroupPort, GroupStatus, Handed, Settle, Settlement, Take, TakeReply, Taken};
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, flag, micros, unexpected};

static JOIN: Script = Script::new(include_str!("../scripts/group_join.lua"));
static TAKE: Script = Script::new(include_str!("../scripts/group_take.lua"));
static SETTLE: Script = Script::new(include_str!("../scripts/group_settle.lua"));
static STATUS: Script = Script::new(include_str!("../scripts/group_status.lua"));
static DELETE: Script = Script::new(include_str!("../scripts/group_delete.lua"));

/// Consumer groups of one server.
pub(crate) struct RedisGroups {
    scripts: ScriptRunner,
}

impl RedisGroups {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
    }

    async fn run(
        &self,
        script: &'static Script,
        lane: Lane,
        keys: &[String],
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let runner = &self.scripts;
        runner.run_on(lane, script, &keys, arguments, options).await
    }
}

/// The history, what is known of it, then the group and its deliveries.
fn keys(topic: &Key, group: &str) -> [String; 5] {
    [
        topic.unit(UNIT, ""),
        topic.unit(UNIT, ":meta"),
        topic.unit(UNIT, &format!(":group:{group}")),
        topic.unit(UNIT, &format!(":pending:{group}")),
        topic.unit(UNIT, &format!(":deliveries:{group}")),
    ]
}

#[async_trait]
impl GroupPort for RedisGroups {
    async fn join(
        &self,
        topic: &Key,
        group: &str,
        from: From,
        options: CallOptions,
    ) -> Result<bool> {
        let (verb, first, second, mark) = match from {
            From::Beginning => ("beginning", 0_u64, 0_u64, 0_u32),
            From::Latest(count) => ("latest", count.into(), 0, 0),
            From::After(at) => ("after", at.epoch(), at.offset(), at.mark()),
        };
        let (first, second) = (first.to_string(), second.to_string());
        let (mark, retention) = (mark.to_be_bytes(), micros(RETENTION));
        let arguments: [&[u8]; 5] = [
            verb.as_bytes(),
            first.as_bytes(),
            second.as_bytes(),
            &mark,
            retention.as_bytes(),
        ];
        let keys = keys(topic, group);
        let reply = self.run(&JOIN, Lane::Command, &keys, &arguments, options);
        flag(&reply.await?)
    }

    async fn take(
        &self,
        topic: &Key,
        group: &str,
        take: Take,
        options: CallOptions,
    ) -> Result<TakeReply> {
        let (messages, bytes) = (
            take.limit.messages.to_string(),
            take.limit.bytes.to_string(),
        );
        let (id, visibility) = (take.id.to_bytes(), micros(take.visibility));
        let again = take.again.map(micros).unwrap_or_default();
        let retention = micros(RETENTION);
        let arguments: [&[u8]; 6] = [
            &id,
            messages.as_bytes(),
            bytes.as_bytes(),
            visibility.as_bytes(),
            again.as_bytes(),
            retention.as_bytes(),
        ];
        // What is handed out is large, and small replies do not wait behind it.
        let keys = keys(topic, group);
        let reply = self.run(&TAKE, Lane::Bulk, &keys, &arguments, options);
        let reply = reply.await?;
        taken(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn settle(
        &self,
        topic: &Key,
        group: &str,
        settlements: &[Settlement],
        again: bool,
        options: CallOptions,
    ) -> Result<Vec<bool>> {
        let retention = micros(RETENTION);
        let mut arguments = vec![
            retention.into_bytes(),
            u8::from(again).to_string().into_bytes(),
        ];
        for settlement in settlements {
            let (verb, length) = match settlement.settle {
                Settle::Acknowledge => ("acknowledge", Duration::ZERO),
                Settle::Extend(length) => ("extend", length),
                Settle::Retry(after) => ("retry", after),
                Settle::Return => ("return", Duration::ZERO),
            };
            arguments.extend([
                settlement.offset.to_string().into_bytes(),
                settlement.take.to_bytes().to_vec(),
                verb.as_bytes().to_vec(),
                micros(length).into_bytes(),
            ]);
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let keys = keys(topic, group);
        let reply = self.run(&SETTLE, Lane::Command, &keys[1..], &arguments, options);
        let reply = reply.await?;
        let Frame::Array(parts) = &reply else {
            return Err(unexpected(&reply));
        };
        if parts.len() != settlements.len() {
            return Err(unexpected(&reply));
        }
        parts.iter().map(flag).collect()
    }

    async fn status(
        &self,
        topic: &Key,
        group: &str,
        options: CallOptions,
    ) -> Result<Option<GroupStatus>> {
        let keys = keys(topic, group);
        let reply = self.run(&STATUS, Lane::Command, &keys[1..4], &[], options);
        let reply = reply.await?;
        let Frame::Array(parts) = &reply else {
            return Err(unexpected(&reply));
        };
        let number = |at: usize| parts.get(at)?.as_str()?.parse::<u64>().ok();
        match (number(0), number(1), number(2), number(3)) {
            (Some(epoch), Some(offset), Some(pending), Some(lag)) => {
                let position = Position::new(epoch, offset, 0);
                Ok(Some(GroupStatus::new(pending, lag, position)))
            }
            (None, ..) if parts.is_empty() => Ok(None),
            _ => Err(unexpected(&reply)),
        }
    }

    async fn delete(&self, topic: &Key, group: &str, options: CallOptions) -> Result<bool> {
        let retention = micros(RETENTION);
        let keys = keys(topic, group);
        let arguments: [&[u8]; 1] = [retention.as_bytes()];
        let reply = self.run(&DELETE, Lane::Command, &keys[2..], &arguments, options);
        flag(&reply.await?)
    }
}

/// `{'deleted'}`, or `{'taken', epoch, next or '', …}` with four parts per delivery.
fn taken(reply: &Frame) -> Option<TakeReply> {
    let Frame::Array(parts) = reply else {
        return None;
    };
    let [found, rest @ ..] = &parts[..] else {
        return None;
    };
    match (found.as_str()?, rest) {
        ("deleted", []) => Some(TakeReply::Deleted),
        ("taken", [epoch, next, handed @ ..]) if handed.len() % 4 == 0 => {
            let next = match next.as_str()? {
                "" => None,
                micros => Some(Duration::from_micros(micros.parse().ok()?)),
            };
            Some(TakeReply::Taken(Taken {
                epoch: epoch.as_str()?.parse().ok()?,
                deliveries: handed.chunks_exact(4).map(one).collect::<Option<_>>()?,
                next,
            }))
        }
        _ => None,
    }
}

fn one(parts: &[Frame]) -> Option<Handed> {
    let [offset, attempt, kind, content] = parts else {
        return None;
    };
    let content = match (kind.as_str()?, content) {
        ("message", Frame::Bulk(message)) => Content::Message(message.clone()),
        ("gone", missed) => match missed.as_str()? {
            "?" => Content::Gone(None),
            missed => Content::Gone(Some(missed.parse().ok()?)),
        },
        _ => return None,
    };
    Some(Handed {
        offset: offset.as_str()?.parse().ok()?,
        attempt: attempt.as_str()?.parse().ok()?,
        content,
    })
}

impl fmt::Display for RedisGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("consumer groups on Redis")
    }
}

impl fmt::Debug for RedisGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisGroups")
    }
}
