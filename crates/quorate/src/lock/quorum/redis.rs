//! Votes of a Redis or Valkey server: a hash per lock, one script per transition.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use quorate_link::Frame;

use super::ballot::{Ballot, Seat, Vote, Voted};
use super::port::VotePort;
use crate::error::Result;
use crate::lock::{FencingToken, LeaseId, LockKey, WaiterId};
use crate::port::CallOptions;
use crate::redis::{Script, ScriptRunner, flag, micros, unexpected};

/// What the scripts have in common.
const LIBRARY: &str = include_str!("library.lua");

static VOTE: Script = Script::with_library(include_str!("scripts/vote.lua"), LIBRARY);
static RECORD: Script = Script::with_library(include_str!("scripts/record.lua"), LIBRARY);
static EXTEND: Script = Script::with_library(include_str!("scripts/extend.lua"), LIBRARY);
static WITHDRAW: Script = Script::with_library(include_str!("scripts/withdraw.lua"), LIBRARY);
static FORCE: Script = Script::with_library(include_str!("scripts/force.lua"), LIBRARY);
static LOOK: Script = Script::with_library(include_str!("scripts/look.lua"), LIBRARY);

/// Votes of one server.
pub(crate) struct RedisVotes {
    scripts: ScriptRunner,
}

impl RedisVotes {
    pub(crate) fn new(scripts: ScriptRunner) -> Self {
        Self { scripts }
    }

    async fn run(
        &self,
        script: &'static Script,
        lock: &LockKey,
        arguments: &[&[u8]],
        options: CallOptions,
    ) -> Result<Frame> {
        let hash = lock.key().unit("quorum", "");
        let keys = [hash.as_bytes()];
        self.scripts.run(script, &keys, arguments, options).await
    }
}

#[async_trait]
impl VotePort for RedisVotes {
    async fn vote(&self, lock: &LockKey, ballot: &Ballot, options: CallOptions) -> Result<Voted> {
        let (lease, number) = (ballot.lease.to_string(), ballot.number.to_string());
        let (length, quarantine) = (micros(ballot.length), micros(ballot.quarantine));
        let token = ballot.token.map_or(0, FencingToken::get).to_string();
        let arguments = [
            lease.as_bytes(),
            number.as_bytes(),
            length.as_bytes(),
            quarantine.as_bytes(),
            token.as_bytes(),
            ballot.owner.as_bytes(),
        ];
        let reply = self.run(&VOTE, lock, &arguments, options).await?;
        voted(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn record(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        token: FencingToken,
        options: CallOptions,
    ) -> Result<bool> {
        let (lease, number) = (lease.to_string(), number.to_string());
        let token = token.to_string();
        let arguments = [lease.as_bytes(), number.as_bytes(), token.as_bytes()];
        flag(&self.run(&RECORD, lock, &arguments, options).await?)
    }

    async fn extend(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        length: Duration,
        options: CallOptions,
    ) -> Result<Option<FencingToken>> {
        let (lease, length) = (lease.to_string(), micros(length));
        let arguments = [lease.as_bytes(), length.as_bytes()];
        token_or_none(&self.run(&EXTEND, lock, &arguments, options).await?)
    }

    async fn withdraw(
        &self,
        lock: &LockKey,
        lease: LeaseId,
        number: u64,
        options: CallOptions,
    ) -> Result<bool> {
        let (lease, number) = (lease.to_string(), number.to_string());
        let arguments = [lease.as_bytes(), number.as_bytes()];
        flag(&self.run(&WITHDRAW, lock, &arguments, options).await?)
    }

    async fn force(
        &self,
        lock: &LockKey,
        token: Option<FencingToken>,
        options: CallOptions,
    ) -> Result<Option<FencingToken>> {
        let token = token.map_or_else(String::new, |token| token.to_string());
        let reply = self.run(&FORCE, lock, &[token.as_bytes()], options).await?;
        token_or_none(&reply)
    }

    async fn look(&self, lock: &LockKey, options: CallOptions) -> Result<Option<Seat>> {
        match self.run(&LOOK, lock, &[], options).await? {
            Frame::Null => Ok(None),
            reply => match seat(&reply) {
                Some(seat) => Ok(Some(seat)),
                None => Err(unexpected(&reply)),
            },
        }
    }
}

fn number(frame: &Frame) -> Option<u64> {
    frame.as_str()?.parse().ok()
}

fn duration(frame: &Frame) -> Option<Duration> {
    number(frame).map(Duration::from_micros)
}

fn token_or_none(reply: &Frame) -> Result<Option<FencingToken>> {
    if matches!(reply, Frame::Null) {
        return Ok(None);
    }
    let token = number(reply).ok_or_else(|| unexpected(reply))?;
    Ok(Some(FencingToken::new(token)))
}

fn voted(reply: &Frame) -> Option<Voted> {
    let [server, verb, rest @ ..] = reply.as_array()? else {
        return None;
    };
    let vote = match (verb.as_str()?, rest) {
        ("given", [floor, token]) => Vote::Given {
            floor: FencingToken::new(number(floor)?),
            token: match number(token)? {
                0 => None,
                token => Some(FencingToken::new(token)),
            },
        },
        ("held", [left]) => Vote::Held {
            remaining: duration(left)?,
        },
        ("silent", [left]) => Vote::Silent {
            remaining: duration(left)?,
        },
        ("refused", []) => Vote::Refused,
        _ => return None,
    };
    let server = server.as_str()?.to_owned();
    Some(Voted { server, vote })
}

fn seat(reply: &Frame) -> Option<Seat> {
    let [lease, token, owner, held_for, remaining] = reply.as_array()? else {
        return None;
    };
    Some(Seat {
        lease: WaiterId::parse(lease.as_str()?)?,
        token: FencingToken::new(number(token)?),
        owner: owner.as_str()?.to_owned(),
        held_for: duration(held_for)?,
        remaining: duration(remaining)?,
    })
}

impl fmt::Display for RedisVotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("votes on Redis")
    }
}

impl fmt::Debug for RedisVotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisVotes")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ballot::EVERY_ATTEMPT;
    use super::super::state::RETENTION;
    use super::*;

    /// What the scripts count by is what their twin counts by.
    #[test]
    fn the_library_has_the_constants_of_its_twin() {
        let constants = format!(
            "local RETENTION, EVERY_ATTEMPT = {}, {EVERY_ATTEMPT}\n",
            micros(RETENTION)
        );
        assert!(LIBRARY.contains(&constants), "{constants}");
    }
}
