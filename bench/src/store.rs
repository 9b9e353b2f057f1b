//! `store`: reading, writing and counting one entry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use parking_lot::Mutex;
use quorate::{Codec, Fleet, Store, StoreSpec};

use crate::context::{Context, Flavour};
use crate::measure::{Contender, Load, Window};
use crate::replay::Replay;
use crate::report::{Better, Figure, compare};

const TASKS: [usize; 3] = [1, 64, 512];
/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.8;
/// What the ratio to the bare map ought to be in-process.
const LEAST_OF_MAP: f64 = 0.33;
const KEY: &str = "bench";
const VALUES: StoreSpec<str, Bytes> = StoreSpec::with_codec("bench", Codec::bytes());
const COUNTERS: StoreSpec<str, i64> = StoreSpec::new("bench-counters");
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
enum Verb {
    Get,
    Set,
    Increment,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Get, Self::Set, Self::Increment];

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Increment => "increment",
        }
    }

    /// The command it is on a server.
    const fn command(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Set => "SET",
            Self::Increment => "EVALSHA",
        }
    }
}

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = on_the_server(context)?;
    figures.extend(in_process(context)?);
    Ok(figures)
}

fn on_the_server(context: &Context) -> Result<Vec<Figure>> {
    let mut cases = Vec::new();
    for verb in Verb::ALL {
        for flavour in Flavour::ALL {
            for tasks in TASKS {
                let name = format!("store.{}.{}.tasks{tasks}", verb.name(), flavour.name());
                if context.wants(&name) {
                    cases.push((verb, flavour, tasks, name));
                }
            }
        }
    }
    context.expect(cases.len(), 2);
    let mut figures = Vec::new();
    for (verb, flavour, tasks, name) in cases {
        let measured = flavour
            .runtime()?
            .block_on(beside_the_floor(context, verb, &name, tasks));
        figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
    }
    Ok(figures)
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
    let figures = compare(name, "op/s", Better::More, &series, Window::rate)?;
    fleet.close().await;
    Ok(figures)
}

fn in_process(context: &Context) -> Result<Vec<Figure>> {
    let name = "store.get.in_process";
    if !context.wants(name) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    let measured = Flavour::CurrentThread.runtime()?.block_on(async {
        let fleet = Fleet::embedded();
        let ours = Ours::new(&fleet, Verb::Get).await?;
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
    values: Store<str, Bytes>,
    counters: Store<str, i64>,
    value: Bytes,
}

impl Ours {
    async fn new(fleet: &Fleet, verb: Verb) -> Result<Self> {
        let ours = Self {
            verb,
            values: fleet.store(&VALUES),
            counters: fleet.store(&COUNTERS),
            value: Bytes::from_static(&[b'x'; 100]),
        };
        ours.values.set(KEY, &ours.value).ttl(HOUR).await?;
        Ok(ours)
    }
}

impl Load for Ours {
    async fn step(&mut self) -> Result<()> {
        match self.verb {
            Verb::Get => ensure!(self.values.get(KEY).await?.is_some(), "it is gone"),
            Verb::Set => {
                self.values.set(KEY, &self.value).ttl(HOUR).await?;
            }
            Verb::Increment => {
                self.counters.increment(KEY, 1).ttl(HOUR).await?;
            }
        }
        Ok(())
    }
}

/// A map under a lock, with the same key and value.
#[derive(Clone)]
pub(crate) struct BareMap(Arc<Mutex<HashMap<String, Bytes>>>);

impl BareMap {
    pub(crate) fn new() -> Self {
        let value = Bytes::from_static(&[b'x'; 100]);
        Self(Arc::new(Mutex::new([(KEY.to_owned(), value)].into())))
    }
}

impl Load for BareMap {
    async fn step(&mut self) -> Result<()> {
        // As a task would: it is built anew for each read.
        let key = KEY.to_owned();
        let value = self.0.lock().get(&key).cloned();
        ensure!(value.is_some(), "it is gone");
        Ok(())
    }
}
