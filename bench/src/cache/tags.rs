//! What it costs to invalidate a tag, by how many entries have it.

use anyhow::Result;
use bytes::Bytes;
use quorate::{CacheSpec, Codec, Fleet};

use crate::context::{Context, Flavour};
use crate::measure::{Contender, Load, Window};
use crate::report::{Better, Figure, compare};

/// Entries put in one call.
const AT_ONCE: usize = 2_000;
const SIZES: [(usize, &str); 3] = [(10, "10"), (10_000, "10k"), (1_000_000, "1m")];
/// What the ratio to a tag of ten entries ought to be: the same, but for noise.
const LEAST_OF_SMALL: f64 = 0.9;

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let wanted = SIZES
        .iter()
        .any(|(_, name)| context.wants(&figure_of(name)));
    if !wanted || context.is_solo() {
        return Ok(Vec::new());
    }
    context.expect(1, SIZES.len());
    Flavour::CurrentThread.runtime()?.block_on(measure(context))
}

fn figure_of(size: &str) -> String {
    format!("cache.invalidate.entries{size}")
}

async fn measure(context: &Context) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let mut contenders = Vec::new();
    for (entries, name) in SIZES {
        context.say(&format!("tagging {entries} entries"));
        fill(&fleet, entries, name).await?;
        let tag = name.to_owned();
        let fleet = fleet.clone();
        contenders.push(Contender::new(name, Invalidate { fleet, tag }));
    }
    let mut series = context
        .turns("cache.invalidate", contenders, 1, context.plan)
        .await?;
    let small = series.remove(0);
    let mut figures = Vec::new();
    for big in series {
        let name = figure_of(big.name);
        let pair = [big, small.clone()];
        let micros = |window: &Window| 1e6 / window.rate();
        let compared = compare(&name, "µs", Better::Less, &pair, micros)?;
        figures.extend(compared.into_iter().map(|it| it.at_least(LEAST_OF_SMALL)));
    }
    fleet.redis()?.command(&["FLUSHALL"]).await?;
    fleet.close().await;
    Ok(figures)
}

/// Puts so many entries with one tag.
async fn fill(fleet: &Fleet, entries: usize, tag: &str) -> Result<()> {
    let name = format!("bench-tags-{tag}");
    let spec: CacheSpec<u64, Bytes> = CacheSpec::try_with_codec(name, Codec::bytes())?;
    let cache = fleet.cache(&spec);
    let value = Bytes::from_static(b"x");
    let keys: Vec<u64> = (0..u64::try_from(entries)?).collect();
    for keys in keys.chunks(AT_ONCE) {
        let entries = keys.iter().map(|key| (key, &value));
        cache.put_many(entries).tags([tag]).await?;
    }
    Ok(())
}

/// Invalidates a tag, again and again: what it held stays where it is until its time is over.
#[derive(Clone)]
struct Invalidate {
    fleet: Fleet,
    tag: String,
}

impl Load for Invalidate {
    async fn step(&mut self) -> Result<()> {
        self.fleet.invalidate_tags([self.tag.as_str()]).await?;
        Ok(())
    }
}
