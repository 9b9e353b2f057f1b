//! `quorate store`.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use quorate::store::{ConditionalWrite, Fenced, Increment as Added, RemoveEntry, SetEntry};
use quorate::{Codec, FencingToken, Fleet, Remaining, Store, StoreSpec};
use serde::Serialize;

use super::backend::BackendArgs;
use super::value;
use crate::failure::Failure;
use crate::fenced::{admitted, send};
use crate::json::MOST_BYTES;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Get(Get),
    Set(Set),
    Delete(Delete),
    Increment(Increment),
    Expire(Expire),
    List(List),
}

/// Which entry.
#[derive(Debug, clap::Args)]
struct Entry {
    /// The store.
    store: String,
    /// The key, as text.
    key: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Which holder of a lock writes.
#[derive(Debug, clap::Args)]
struct Fence {
    /// Only if nobody wrote with a greater fencing token: what `quorate lock run` passes in QUORATE_FENCE.
    #[arg(long = "fencing-token", visible_alias = "fence", value_name = "N")]
    token: Option<u64>,
}

impl Fence {
    fn token(&self) -> Option<FencingToken> {
        self.token.map(FencingToken::new)
    }
}

fn unless_stale<T>(fenced: Fenced<T>) -> Result<T, Failure> {
    admitted(fenced).map_err(|why| Failure::with_code(Failure::NOT_THERE, why))
}

/// Print the value of an entry.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    #[command(flatten)]
    entry: Entry,
    /// Print a document with the value and how long it stays.
    #[arg(long)]
    json: bool,
}

/// Set the value of an entry: the JSON given, or standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    entry: Entry,
    /// The value, as JSON. Without it, standard input is the value.
    value: Option<String>,
    /// How long it lives; without it, until it is deleted.
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "keep_ttl")]
    ttl: Option<Duration>,
    /// Let it end when it would have ended before.
    #[arg(long)]
    keep_ttl: bool,
    /// Only if there is no entry.
    #[arg(long, conflicts_with = "if_value")]
    if_absent: bool,
    /// Only if it has this value, as JSON.
    #[arg(long, value_name = "JSON")]
    if_value: Option<String>,
    #[command(flatten)]
    fence: Fence,
}

/// Delete an entry.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    entry: Entry,
    /// Only if it has this value, as JSON.
    #[arg(long, value_name = "JSON")]
    if_value: Option<String>,
    #[command(flatten)]
    fence: Fence,
}

/// Add to a counter, which begins at 0, and print what it stands at.
#[derive(Debug, clap::Args)]
pub(super) struct Increment {
    #[command(flatten)]
    entry: Entry,
    /// How much is added.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
    /// How long the counter lives from now on; without it, as long as before, and a new one until it is deleted.
    #[arg(long, value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Repeated with the same key within ten minutes, it adds once and prints the same.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    fence: Fence,
}

/// Change how long an entry lives.
#[derive(Debug, clap::Args)]
pub(super) struct Expire {
    #[command(flatten)]
    entry: Entry,
    /// For how long from now; without it, until it is deleted.
    #[arg(value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    fence: Fence,
}

/// Print the keys of a store, one on each line. Looks at every key of the server's database.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The store.
    store: String,
    /// What the keys begin with.
    #[arg(default_value = "")]
    prefix: String,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Get(args) => args.run().await,
        Command::Set(args) => args.run().await,
        Command::Delete(args) => args.run().await,
        Command::Increment(args) => args.run().await,
        Command::Expire(args) => args.run().await,
        Command::List(args) => args.run().await,
    }?;
    Ok(ExitCode::SUCCESS)
}

fn spec(name: &str) -> Result<StoreSpec<str, Bytes>, Failure> {
    let spec = StoreSpec::try_with_codec(name, Codec::bytes())?;
    Ok(spec.max_bytes(MOST_BYTES))
}

impl Entry {
    async fn open(self) -> Result<(Fleet, Store<str, Bytes>, String), Failure> {
        let spec = spec(&self.store)?;
        let fleet = self.backend.connect().await?;
        let store = fleet.store(&spec);
        Ok((fleet, store, self.key))
    }
}

fn not_there(store: &str, key: &str) -> Failure {
    Failure::with_code(
        Failure::NOT_THERE,
        format!("the store `{store}` has no `{key}`"),
    )
}

/// An entry with all that is known of it.
#[derive(Debug, Serialize)]
struct Document {
    store: String,
    key: String,
    #[serde(flatten)]
    value: value::Shown,
    /// `null` for ever.
    expires_in_ms: Option<u64>,
}

impl Get {
    async fn run(self) -> Result<(), Failure> {
        let (fleet, store, key) = self.entry.open().await?;
        let found = store.get(&key).await?;
        let found = found.ok_or_else(|| not_there(store.name(), &key))?;
        if self.json {
            let remaining = store.remaining(&key).await?;
            let remaining = remaining.ok_or_else(|| not_there(store.name(), &key))?;
            value::print_json(&Document {
                store: store.name().to_owned(),
                value: (&found).into(),
                expires_in_ms: match remaining {
                    Remaining::Forever => None,
                    Remaining::For(left) => u64::try_from(left.as_millis()).ok(),
                },
                key,
            })?;
        } else {
            value::print(&found)?;
        }
        fleet.close().await;
        Ok(())
    }
}

impl Set {
    async fn run(self) -> Result<(), Failure> {
        let value = value::read(self.value)?;
        let expected = self
            .if_value
            .map(|text| value::read(Some(text)))
            .transpose()?;
        let (fleet, store, key) = self.entry.open().await?;
        let (ttl, keep, token) = (self.ttl, self.keep_ttl, self.fence.token());
        let conditional = match expected {
            Some(expected) => Some(store.compare_and_set(&key, Some(&expected), &value)),
            None => self.if_absent.then(|| store.set_if_absent(&key, &value)),
        };
        let made = if let Some(write) = conditional {
            let write = match (ttl, keep) {
                (Some(ttl), _) => write.ttl(ttl),
                (None, true) => write.keep_ttl(),
                (None, false) => write,
            };
            // Once, also where a reply is lost on the way.
            let write = write.idempotent();
            unless_stale(send(write, token, ConditionalWrite::fenced).await?)
        } else {
            let write = store.set(&key, &value);
            let write = match (ttl, keep) {
                (Some(ttl), _) => write.ttl(ttl),
                (None, true) => write.keep_ttl(),
                (None, false) => write,
            };
            unless_stale(send(write, token, SetEntry::fenced).await?).map(|()| true)
        };
        fleet.close().await;
        if made? {
            return Ok(());
        }
        let why = if self.if_absent {
            format!("the store `{}` has `{key}` already", store.name())
        } else {
            format!(
                "`{key}` of the store `{}` does not have that value",
                store.name()
            )
        };
        Err(Failure::with_code(Failure::NOT_THERE, why))
    }
}

impl Delete {
    async fn run(self) -> Result<(), Failure> {
        let expected = self
            .if_value
            .map(|text| value::read(Some(text)))
            .transpose()?;
        let (fleet, store, key) = self.entry.open().await?;
        let write = match &expected {
            Some(expected) => store.compare_and_delete(&key, expected),
            None => store.delete(&key),
        };
        let token = self.fence.token();
        let made = send(write.idempotent(), token, RemoveEntry::fenced).await?;
        fleet.close().await;
        match (unless_stale(made)?, expected) {
            (true, _) => Ok(()),
            (false, None) => Err(not_there(store.name(), &key)),
            (false, Some(_)) => Err(Failure::with_code(
                Failure::NOT_THERE,
                format!(
                    "`{key}` of the store `{}` does not have that value",
                    store.name()
                ),
            )),
        }
    }
}

impl Increment {
    async fn run(self) -> Result<(), Failure> {
        let Entry {
            store,
            key,
            backend,
        } = self.entry;
        let spec = StoreSpec::<str, i64>::try_new(store)?;
        let fleet = backend.connect().await?;
        let mut write = fleet.store(&spec).increment(&key, self.by);
        if let Some(ttl) = self.ttl {
            write = write.ttl(ttl);
        }
        let write = match self.idempotency_key {
            Some(once) => write.idempotency_key(once),
            None => write.idempotent(),
        };
        let count = send(write, self.fence.token(), Added::fenced).await?;
        fleet.close().await;
        println!("{}", unless_stale(count)?);
        Ok(())
    }
}

impl Expire {
    async fn run(self) -> Result<(), Failure> {
        let (fleet, store, key) = self.entry.open().await?;
        let write = match self.ttl {
            Some(ttl) => store.expire(&key, ttl),
            None => store.persist(&key),
        };
        let made = send(write, self.fence.token(), RemoveEntry::fenced).await?;
        fleet.close().await;
        if unless_stale(made)? {
            Ok(())
        } else {
            Err(not_there(store.name(), &key))
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let spec = spec(&self.store)?;
        let fleet = self.backend.connect().await?;
        value::print_keys(fleet.store(&spec).scan(&self.prefix)).await?;
        fleet.close().await;
        Ok(())
    }
}
