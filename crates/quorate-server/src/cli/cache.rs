//! `quorate cache`.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use quorate::cache::Oversized;
use quorate::{Cache, CacheSpec, Codec, Fleet};
use serde::Serialize;

use super::backend::BackendArgs;
use super::value;
use crate::api::figures::{CacheList, CacheView};
use crate::failure::Failure;
use crate::json::MOST_BYTES;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Get(Get),
    Put(Put),
    Remove(Remove),
    Invalidate(Invalidate),
    Clear(Clear),
    List(List),
    Stats(Stats),
}

/// Print the value of an entry.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The cache.
    cache: String,
    /// The key, as text.
    key: String,
    /// Also one that is no longer fresh, and only kept for when loading fails.
    #[arg(long)]
    stale: bool,
    /// Print a document with the value, its age, how long it is fresh, and its tags.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Put a value into a cache: the JSON given, or standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The cache.
    cache: String,
    /// The key, as text.
    key: String,
    /// The value, as JSON. Without it, standard input is the value.
    value: Option<String>,
    /// How long it is fresh.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// What it is about; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only if there is no entry.
    #[arg(long)]
    if_absent: bool,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Remove entries. No load that is under way keeps its value.
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// The cache.
    cache: String,
    /// The keys, as text.
    #[arg(required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// End every entry of every cache that has one of the tags, however many there are.
#[derive(Debug, clap::Args)]
pub(super) struct Invalidate {
    #[arg(required = true)]
    tags: Vec<String>,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Remove the entries of a cache whose keys match. Looks at every key of the server's database.
#[derive(Debug, clap::Args)]
pub(super) struct Clear {
    /// The cache.
    cache: String,
    /// A glob: `*` for any text, `?` for one byte, `[abc]`, and `\` before what is meant as it is; `*` alone for all of them.
    glob: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Print the keys of a cache, one on each line. Looks at every key of the server's database.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The cache.
    cache: String,
    /// A glob, as for `clear`.
    #[arg(default_value = "*")]
    glob: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Print what is known of all caches of the fleet.
///
/// Each instance counts its own reads from its start, and tells of them every few seconds if it is configured to (`tell_caches`). The keys that
/// are asked for most are an estimate over about the last ten minutes, and told only where that is switched on.
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Only this cache.
    cache: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Get(args) => args.run().await,
        Command::Put(args) => args.run().await,
        Command::Remove(args) => args.run().await,
        Command::Invalidate(args) => args.run().await,
        Command::Clear(args) => args.run().await,
        Command::List(args) => args.run().await,
        Command::Stats(args) => args.run().await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn open(name: &str, backend: BackendArgs) -> Result<(Fleet, Cache<str, Bytes>), Failure> {
    let spec = CacheSpec::try_with_codec(name, Codec::bytes())?;
    let spec = spec.max_bytes(MOST_BYTES, Oversized::Refuse);
    let fleet = backend.connect().await?;
    let cache = fleet.cache(&spec);
    Ok((fleet, cache))
}

/// An entry with all that is known of it.
#[derive(Debug, Serialize)]
struct Document {
    cache: String,
    key: String,
    #[serde(flatten)]
    value: value::Shown,
    age_ms: u64,
    /// `null` for a counter: it is fresh for as long as it is there.
    fresh_for_ms: Option<u64>,
    tags: Vec<String>,
}

impl Get {
    async fn run(self) -> Result<(), Failure> {
        let (fleet, cache) = open(&self.cache, self.backend).await?;
        let entry = cache.entry(&self.key).await?;
        let entry = entry.filter(|entry| entry.is_fresh() || self.stale);
        fleet.close().await;
        let entry = entry.ok_or_else(|| {
            let why = format!("the cache `{}` has no `{}`", self.cache, self.key);
            Failure::with_code(Failure::NOT_THERE, why)
        })?;
        if !self.json {
            return value::print(&entry.value);
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let is_counter = entry.stored_at == quorate::Micros::default();
        value::print_json(&Document {
            cache: self.cache,
            key: self.key,
            value: (&entry.value).into(),
            age_ms: millis(entry.age),
            fresh_for_ms: (!is_counter).then(|| millis(entry.fresh_for)),
            tags: entry.tags,
        })
    }
}

impl Put {
    async fn run(self) -> Result<(), Failure> {
        let value = value::read(self.value)?;
        let (fleet, cache) = open(&self.cache, self.backend).await?;
        let mut put = cache.put(&self.key, &value).ttl(self.ttl).tags(self.tags);
        if self.if_absent {
            put = put.if_absent();
        }
        let kept = put.await?;
        fleet.close().await;
        if kept {
            return Ok(());
        }
        let why = format!("the cache `{}` has `{}` already", self.cache, self.key);
        Err(Failure::with_code(Failure::NOT_THERE, why))
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failure> {
        let (fleet, cache) = open(&self.cache, self.backend).await?;
        let removed = cache
            .remove_many(self.keys.iter().map(String::as_str))
            .await?;
        println!("removed {removed}");
        fleet.close().await;
        Ok(())
    }
}

impl Invalidate {
    async fn run(self) -> Result<(), Failure> {
        let fleet = self.backend.connect().await?;
        fleet.invalidate_tags(self.tags).await?;
        fleet.close().await;
        Ok(())
    }
}

impl Clear {
    async fn run(self) -> Result<(), Failure> {
        let (fleet, cache) = open(&self.cache, self.backend).await?;
        let removed = cache.clear_matching(&self.glob).await?;
        println!("removed {removed}");
        fleet.close().await;
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let (fleet, cache) = open(&self.cache, self.backend).await?;
        value::print_keys(cache.scan(&self.glob)).await?;
        fleet.close().await;
        Ok(())
    }
}

impl Stats {
    async fn run(self) -> Result<(), Failure> {
        let fleet = self.backend.connect().await?;
        let mut figures = fleet.cache_figures().await?;
        fleet.close().await;
        if let Some(cache) = &self.cache {
            figures.retain(|it| it.cache == *cache);
            if figures.is_empty() {
                let why = format!("no instance tells of a cache `{cache}`");
                return Err(Failure::with_code(Failure::NOT_THERE, why));
            }
        }
        let caches: Vec<_> = figures.into_iter().map(CacheView::from).collect();
        if self.json {
            return value::print_json(&CacheList { caches });
        }
        if caches.is_empty() {
            eprintln!("no instance tells of a cache: see `tell_caches`");
        }
        caches
            .iter()
            .try_for_each(|cache| value::print(shown(cache).as_bytes()))
    }
}

/// A cache for people.
fn shown(cache: &CacheView) -> String {
    let reads = &cache.reads;
    let ratio = cache.hit_ratio.map_or_else(
        || "no reads".to_owned(),
        |ratio| format!("{:.1} % hits", ratio * 100.0),
    );
    let mut text = format!(
        "{}: {ratio}, told by {}\n  reads  {} (near hit {}, hit {}, stale {}, loaded {}, followed {}, miss {})\n  \
         written  {} values, {}",
        cache.cache,
        cache.instances,
        reads.total,
        reads.near_hit,
        reads.hit,
        reads.stale,
        reads.loaded,
        reads.followed,
        reads.miss,
        cache.values,
        indicatif::HumanBytes(cache.bytes),
    );
    for hot in cache.hottest.iter().flatten() {
        text.push_str(&format!("\n  {:>10.0}  {}", hot.reads, hot.key));
    }
    text
}
