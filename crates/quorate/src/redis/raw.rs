//! The escape hatch: any command, pipeline or script.

use std::sync::Arc;

use quorate_link::{Batch, CallOptions, Lane, Link};

use super::reply::from_link;
use crate::context::{Context, Operation, Repeat};
use crate::error::{Error, Result};

/// A server's reply.
pub use quorate_link::Frame as Value;

static COMMAND: Operation = Operation::new(
    "redis.command",
    "redis",
    "command",
    Repeat::OnlyIfNotApplied,
);
static PIPELINE: Operation = Operation::new(
    "redis.pipeline",
    "redis",
    "pipeline",
    Repeat::OnlyIfNotApplied,
);
static SCRIPT: Operation =
    Operation::new("redis.script", "redis", "script", Repeat::OnlyIfNotApplied);

/// Runs any command on the fleet's own connections.
///
/// Keys are the caller's: the namespace is not put in front of them. Commands that block, or that
/// change the connection itself (`SUBSCRIBE`, `SELECT`, `MULTI`, `CLIENT REPLY` …), are refused,
/// because the connection is shared with every other call.
///
/// # Clone
/// Cheap.
#[derive(Clone, Debug)]
pub struct RedisCommands {
    context: Arc<Context>,
    link: Link,
    lane: Lane,
}

/// Commands that would break, or hold up, a shared connection.
const REFUSED: [&str; 32] = [
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "RESET",
    "SELECT",
    "SHUTDOWN",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
    "WAIT",
];

/// Subcommands of `CLIENT` that change the connection, or stop the server for everybody.
const REFUSED_CLIENT: [&str; 5] = ["NO-EVICT", "PAUSE", "REPLY", "SETNAME", "TRACKING"];

impl RedisCommands {
    pub(crate) fn new(context: Arc<Context>, link: Link) -> Self {
        Self {
            context,
            link,
            lane: Lane::Command,
        }
    }

    /// Uses the connection for large replies, so that small commands do not wait behind them.
    #[must_use]
    pub fn bulk(mut self) -> Self {
        self.lane = Lane::Bulk;
        self
    }

    /// Runs one command.
    ///
    /// # Errors
    /// `InvalidInput` for a command that a shared connection cannot run, `Backend` for an error reply,
    /// and those of the connection. A lost reply is `Unknown` and the command is not repeated.
    ///
    /// # Cancel safety
    /// When the future is dropped, the command may or may not run.
    pub async fn command<P: AsRef<[u8]>>(&self, parts: &[P]) -> Result<Value> {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let name = check(&parts).map_err(|error| error.with_operation(COMMAND.name))?;
        self.context
            .run(&COMMAND, &name, None, |attempt| {
                let (link, parts) = (&self.link, &parts);
                let options = CallOptions::new()
                    .lane(self.lane)
                    .deadline(attempt.deadline);
                // A script may have written before it failed, whoever wrote it.
                let options = options.script(matches!(&*name, "EVAL" | "EVALSHA" | "FCALL"));
                async move { link.call(parts, &options).await.map_err(from_link) }
            })
            .await
    }

    /// Runs commands one after the other with nothing of others in between, in one round trip.
    ///
    /// They are not a transaction: each has a result of its own.
    ///
    /// # Errors
    /// As [`command`](Self::command); an error reply stands in its command's place.
    ///
    /// # Cancel safety
    /// When the future is dropped, the commands may or may not run.
    pub async fn pipeline<P: AsRef<[u8]>>(
        &self,
        commands: &[Vec<P>],
    ) -> Result<Vec<Result<Value>>> {
        let mut batch = Batch::new();
        for command in commands {
            let parts: Vec<&[u8]> = command.iter().map(AsRef::as_ref).collect();
            check(&parts).map_err(|error| error.with_operation(PIPELINE.name))?;
            batch.command(&parts);
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.context
            .run(&PIPELINE, "", None, |attempt| {
                let (link, batch) = (&self.link, &batch);
                let options = CallOptions::new()
                    .lane(self.lane)
                    .deadline(attempt.deadline)
                    .script(true);
                async move {
                    let replies = link.pipeline(batch, &options).await.map_err(from_link)?;
                    Ok(replies
                        .into_iter()
                        .map(|reply| reply.map_err(from_link))
                        .collect())
                }
            })
            .await
    }

    /// Runs a script, by hash where the server knows it.
    ///
    /// # Errors
    /// As [`command`](Self::command).
    ///
    /// # Cancel safety
    /// When the future is dropped, the script may or may not run.
    pub async fn script<P: AsRef<[u8]>>(
        &self,
        source: &str,
        keys: &[P],
        arguments: &[P],
    ) -> Result<Value> {
        let hash = sha1_smol::Sha1::from(source).digest().to_string();
        let count = keys.len().to_string();
        let mut parts: Vec<&[u8]> = vec![b"EVALSHA", hash.as_bytes(), count.as_bytes()];
        parts.extend(keys.iter().map(AsRef::as_ref));
        parts.extend(arguments.iter().map(AsRef::as_ref));
        let mut in_full = parts.clone();
        in_full[0] = b"EVAL";
        in_full[1] = source.as_bytes();
        self.context
            .run(&SCRIPT, &hash, None, |attempt| {
                let (link, parts, in_full) = (&self.link, &parts, &in_full);
                let options = CallOptions::new()
                    .lane(self.lane)
                    .deadline(attempt.deadline)
                    .script(true);
                async move {
                    match link.call(parts, &options).await {
                        Err(error) if error.server_code() == Some("NOSCRIPT") => {
                            link.call(in_full, &options).await.map_err(from_link)
                        }
                        reply => reply.map_err(from_link),
                    }
                }
            })
            .await
    }
}

/// The command's name in capitals, unless a shared connection cannot run it.
fn check(parts: &[&[u8]]) -> Result<String> {
    let Some(name) = parts.first() else {
        return Err(Error::invalid("command", "must not be empty"));
    };
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let argument = |wanted: &str| {
        parts
            .iter()
            .skip(1)
            .any(|part| part.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    let blocks = matches!(&*name, "XREAD" | "XREADGROUP") && argument("BLOCK");
    let verb = parts
        .get(1)
        .map(|verb| String::from_utf8_lossy(verb).to_ascii_uppercase());
    let verb = verb.filter(|verb| name == "CLIENT" && REFUSED_CLIENT.contains(&&**verb));
    if blocks || verb.is_some() || name == "WAITAOF" || REFUSED.contains(&&*name) {
        let refused = [Some(name), verb]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        let rule = format!("must not be {refused}: the connection is shared");
        return Err(Error::invalid("command", rule));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shared_connection_cannot_run_is_refused() {
        assert_eq!(check(&[b"get", b"k"]).unwrap(), "GET");
        for refused in [
            &[&b"BLPOP"[..], b"k", b"0"][..],
            &[b"multi"],
            &[b"XREAD", b"block", b"0", b"STREAMS", b"s", b"0"],
            &[b"CLIENT", b"reply", b"OFF"],
            &[],
        ] {
            assert!(check(refused).is_err());
        }
    }
}
