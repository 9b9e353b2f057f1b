//! Reading and keeping one entry.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use quorate::{Cache, CacheSpec, Codec, Fleet, ReadKind};

use crate::context::{Context, Flavour};
use crate::measure::{Contender, Load, Window};
use crate::replay::Replay;
use crate::report::{Better, Bound, Figure, compare};
use crate::store::BareMap;

const TASKS: [usize; 3] = [1, 64, 512];
/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.8;
/// What the ratio of `get_or_load` to `get` ought to be.
const LEAST_OF_GET: f64 = 0.9;
/// What the ratio to the bare map ought to be in-process.
const LEAST_OF_MAP: f64 = 0.33;
/// How long a read from the process ought to take at most, and how many of them one from the server.
const MOST_NEAR: f64 = 120.0;
const NEARER: f64 = 50.0;

const KEY: &str = "bench";
const PLAIN: CacheSpec<str, Bytes> =
    CacheSpec::with_codec("bench", Codec::bytes()).ttl(Duration::from_secs(3600));
const NEAR: CacheSpec<str, Bytes> = PLAIN.near(1 << 20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Get,
    GetTagged,
    GetOrLoad,
    Put,
    PutTagged,
    Near,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetTagged => "get_tagged",
            Self::GetOrLoad => "get_or_load",
            Self::Put => "put",
            Self::PutTagged => "put_with_3_tags",
            Self::Near => "near",
        }
    }

    /// The command it is on a server.
    const fn command(self) -> &'static str {
        match self {
            Self::Get | Self::GetOrLoad | Self::Near => "GET",
            Self::GetTagged | Self::Put | Self::PutTagged => "EVALSHA",
        }
    }
}

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for verb in [Verb::Get, Verb::GetTagged, Verb::Put, Verb::PutTagged] {
        for (flavour, tasks, name) in cases(context, verb) {
            context.expect(1, 2);
            let measured = flavour
                .runtime()?
                .block_on(beside_the_floor(context, verb, &name, tasks));
            figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
        }
    }
    for (flavour, tasks, name) in cases(context, Verb::GetOrLoad) {
        context.expect(1, 2);
        let measured = flavour
            .runtime()?
            .block_on(beside_a_get(context, &name, tasks));
        figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_GET)));
    }
    figures.extend(near(context)?);
    figures.extend(in_process(context)?);
    Ok(figures)
}

fn cases(context: &Context, verb: Verb) -> Vec<(Flavour, usize, String)> {
    let mut cases = Vec::new();
    for flavour in Flavour::ALL {
        for tasks in TASKS {
            let name = format!("cache.{}.{}.tasks{tasks}", verb.name(), flavour.name());
            if context.wants(&name) {
                cases.push((flavour, tasks, name));
            }
        }
    }
    cases
}

async fn beside_the_floor(
    context: &Context,
    verb: Verb,
    name: &str,
    tasks: usize,
) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Ours::new(&fleet, verb).await?;
    let floor = Replay::of(context.server.port(), verb.command(), &ours).await?;
    let contenders = vec![
        Contender::new("quorate", ours),
        Contender::new("floor", floor),
    ];
    let series = context.rounds(name, contenders, tasks, 1).await?;
    fleet.close().await;
    compare(name, "op/s", Better::More, &series, Window::rate)
}

async fn beside_a_get(context: &Context, name: &str, tasks: usize) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let contenders = vec![
        Contender::new("quorate", Ours::new(&fleet, Verb::GetOrLoad).await?),
        Contender::new("get", Ours::new(&fleet, Verb::Get).await?),
    ];
    let series = context.rounds(name, contenders, tasks, 1).await?;
    fleet.close().await;
    compare(name, "op/s", Better::More, &series, Window::rate)
}

/// A read from the process beside one from the server, one after the other.
fn near(context: &Context) -> Result<Vec<Figure>> {
    let name = "cache.near";
    if !context.wants(name) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    let measured = Flavour::CurrentThread.runtime()?.block_on(async {
        let fleet = Fleet::connect(&context.server.url()).await?;
        let contenders = vec![
            Contender::busy("quorate", Ours::new(&fleet, Verb::Near).await?),
            Contender::new("get", Ours::new(&fleet, Verb::Get).await?),
        ];
        let series = context.turns(name, contenders, 1, context.plan).await?;
        let series = context.unless_solo(series);
        fleet.close().await;
        compare(name, "ns", Better::Less, &series, |window| {
            1e9 / window.rate()
        })
    });
    let aim = |figure: Figure| figure.at_least(NEARER).within(Bound::AtMost(MOST_NEAR));
    Ok(measured?.into_iter().map(aim).collect())
}

fn in_process(context: &Context) -> Result<Vec<Figure>> {
    let name = "cache.get.in_process";
    if !context.wants(name) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    let measured = Flavour::CurrentThread.runtime()?.block_on(async {
        let ours = Ours::new(&Fleet::embedded(), Verb::Get).await?;
        let contenders = vec![
            Contender::busy("quorate", ours),
            Contender::busy("map", BareMap::new()),
        ];
        let series = context.turns(name, contenders, 1, context.plan).await?;
        let series = context.unless_solo(series);
        compare(name, "op/s", Better::More, &series, Window::rate)
    });
    Ok(measured?
        .into_iter()
        .map(|it| it.at_least(LEAST_OF_MAP))
        .collect())
}

/// Ours, with every default.
#[derive(Clone)]
struct Ours {
    verb: Verb,
    cache: Cache<str, Bytes>,
    value: Bytes,
}

impl Ours {
    async fn new(fleet: &Fleet, verb: Verb) -> Result<Self> {
        // Reading by script is remembered by a cache: each way of reading has one of its own.
        let tagged = CacheSpec::try_with_codec("bench-tagged", Codec::bytes())?;
        let cache = match verb {
            Verb::Near => fleet.cache(&NEAR),
            Verb::GetTagged | Verb::PutTagged => fleet.cache(&tagged),
            Verb::Get | Verb::GetOrLoad | Verb::Put => fleet.cache(&PLAIN),
        };
        let value = Bytes::from_static(&[b'x'; 100]);
        let ours = Self { verb, cache, value };
        ours.put().await?;
        ours.cache.get(KEY).await?;
        Ok(ours)
    }

    async fn put(&self) -> Result<()> {
        let put = self.cache.put(KEY, &self.value);
        match self.verb {
            Verb::GetTagged | Verb::PutTagged => put.tags(["one", "two", "three"]).await?,
            _ => put.await?,
        };
        Ok(())
    }
}

impl Load for Ours {
    async fn step(&mut self) -> Result<()> {
        match self.verb {
            Verb::Get | Verb::GetTagged => {
                ensure!(self.cache.get(KEY).await?.is_some(), "it is gone");
            }
            Verb::Near => {
                let read = self.cache.read(KEY).await?;
                // Now and then the backend has to be asked.
                ensure!(
                    matches!(read.kind, ReadKind::NearHit | ReadKind::Hit),
                    "it is gone"
                );
            }
            Verb::GetOrLoad => {
                let load = async { Err::<Bytes, _>(std::io::Error::other("it is gone")) };
                self.cache.get_or_load(KEY, load).await?;
            }
            Verb::Put | Verb::PutTagged => self.put().await?,
        }
        Ok(())
    }
}
