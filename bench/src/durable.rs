//! `durable`: steps that do nothing.
//!
//! 256 runs at a time, each of so many steps that starting and ending it hardly counts, with every default: leases, entries that are written before
//! the function goes on. The floor appends the same bytes to as many lists with `RPUSH`, one after the other in each, by hand: no owner
//! that is looked at, no number that is checked, nobody who could go on.

mod ours;

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use quorate::Fleet;
use tokio::time::Instant;

use self::ours::Ours;
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::{Contender, Load, Series, percentile, window};
use crate::report::{Better, Bound, Figure};

/// Runs at a time.
const RUNS: usize = 256;
/// Steps of each.
const STEPS: u32 = 200;
const LEAST_OF_FLOOR: f64 = 0.5;
/// Steps per second that are aimed at in memory.
const AIM_IN_PROCESS: f64 = 200_000.0;
/// Round trips for a run of three steps.
const AIM_TRIPS: f64 = 5.0;
/// Steps of the run that is replayed, and how long that may take.
const LONG: u32 = 10_000;
const AIM_REPLAY: f64 = 50.0;
/// Steps of the run whose last ones are to cost what its first ones do.
const LONGEST: u32 = 100_000;

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for flavour in Flavour::ALL {
        let name = format!("durable.steps.{}", flavour.name());
        if context.wants(&name) {
            context.expect(1, 2);
            figures.extend(flavour.runtime()?.block_on(steps(context, &name))?);
        }
        let name = format!("durable.in_process.{}", flavour.name());
        if context.wants(&name) {
            context.expect(1, 2);
            figures.extend(flavour.runtime()?.block_on(in_process(context, &name))?);
        }
    }
    let runtime = Flavour::CurrentThread.runtime()?;
    if context.wants("durable.three_steps") && !context.is_solo() {
        context.expect(1, 2);
        figures.extend(runtime.block_on(three_steps(context))?);
    }
    if context.wants("durable.replay") && !context.is_solo() {
        figures.push(runtime.block_on(replay(context))?);
    }
    if context.wants("durable.long") && !context.is_solo() {
        figures.push(runtime.block_on(long(context))?);
    }
    Ok(figures)
}

/// On the server, beside the floor.
async fn steps(context: &Context, name: &str) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Ours::new(&fleet)?;
    let floor = Appends::connect(context.server.port()).await?;
    let contenders = vec![
        Contender::custom("quorate", move |tasks, length| {
            Box::pin(ours.clone().window(tasks, STEPS, length))
        }),
        Contender::custom("floor", move |tasks, length| {
            Box::pin(floor.clone().rate(tasks, length))
        }),
    ];
    let series = context.turns(name, contenders, RUNS, context.plan).await?;
    fleet.redis()?.command(&["FLUSHALL", "ASYNC"]).await?;
    fleet.close().await;
    compared(context, name, &series).map(|figure| {
        figure.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)).collect()
    })
}

/// In memory, beside what a task and a channel for each step take.
async fn in_process(context: &Context, name: &str) -> Result<Vec<Figure>> {
    let fleet = Fleet::embedded();
    let ours = Ours::new(&fleet)?;
    let contenders = vec![
        Contender::custom("quorate", move |tasks, length| {
            Box::pin(ours.clone().window(tasks, STEPS, length))
        }),
        Contender::custom("channel", |tasks, length| Box::pin(ours::channel(tasks, length))),
    ];
    let series = context.turns(name, contenders, RUNS, context.plan).await?;
    fleet.close().await;
    compared(context, name, &series).map(|figure| {
        let aim = Bound::AtLeast(AIM_IN_PROCESS);
        figure.into_iter().map(|it| it.within(aim)).collect()
    })
}

/// A run of three steps from its start to its result, one after the other, in round trips of the same connection.
async fn three_steps(context: &Context) -> Result<Vec<Figure>> {
    let name = "durable.three_steps";
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Ours::new(&fleet)?;
    let pings = Floor::connect(("127.0.0.1", context.server.port())).await?;
    let contenders = vec![
        Contender::custom("quorate", move |_, length| Box::pin(ours.clone().latencies(3, length))),
        Contender::custom("round trip", move |_, length| {
            Box::pin(round_trips(pings.clone(), length))
        }),
    ];
    let series = context.turns(name, contenders, 1, context.plan).await?;
    fleet.close().await;
    let [mut ours, mut trips] =
        <[_; 2]>::try_from(series).map_err(|_| anyhow::anyhow!("two are measured"))?;
    let of = |windows: &mut [Vec<f64>]| {
        let values = windows.iter_mut().map(|it| percentile(it, 0.5));
        values.collect::<Result<Vec<_>>>()
    };
    let (ours, trips) = (of(&mut ours.windows)?, of(&mut trips.windows)?);
    let in_trips: Vec<_> = ours.iter().zip(&trips).map(|(ours, trip)| ours / trip).collect();
    let ones = vec![1.0; in_trips.len()];
    Ok(vec![
        Figure::of_pairs(format!("{name}.p50"), "µs", Better::Less, &ours, ("round trip", &trips))?,
        Figure::of_pairs(format!("{name}.trips"), "trips", Better::Less, &in_trips, ("one", &ones))?
            .within(Bound::AtMost(AIM_TRIPS)),
    ])
}

async fn round_trips(floor: Floor, length: Duration) -> Result<Vec<f64>> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < length {
        let asked = Instant::now();
        floor.call(&[b"PING"]).await?;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// Until a run that waits behind many steps has gone through them and on, beside one of a few.
async fn replay(context: &Context) -> Result<Figure> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Ours::new(&fleet)?;
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for _ in 0..context.plan.rounds {
        long.push(ours.wake(LONG).await?);
        short.push(ours.wake(10).await?);
    }
    fleet.redis()?.command(&["FLUSHALL", "ASYNC"]).await?;
    fleet.close().await;
    let pair = ("ten steps", &short[..]);
    let figure = Figure::of_pairs("durable.replay10000", "ms", Better::Less, &long, pair)?;
    Ok(figure.within(Bound::AtMost(AIM_REPLAY)))
}

/// What the last steps of a long run take, beside its first ones.
async fn long(context: &Context) -> Result<Figure> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Ours::new(&fleet)?;
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..context.plan.rounds.min(3) {
        let times = ours.times(LONGEST).await?;
        let mut early = times.get(10..1_010).context("there are so many")?.to_vec();
        let mut late = times.get(times.len() - 1_000..).context("there are so many")?.to_vec();
        first.push(percentile(&mut early, 0.5)?);
        last.push(percentile(&mut late, 0.5)?);
    }
    fleet.redis()?.command(&["FLUSHALL", "ASYNC"]).await?;
    fleet.close().await;
    let pair = ("first", &first[..]);
    Figure::of_pairs("durable.long100000", "µs", Better::Less, &last, pair)
}

fn compared(context: &Context, name: &str, series: &[Series<f64>]) -> Result<Vec<Figure>> {
    if context.is_solo() {
        for Series { name, windows } in series {
            for rate in windows {
                context.say(&format!("{name}: {rate:.0} step/s"));
            }
        }
        return Ok(Vec::new());
    }
    let [ours, theirs] = series else {
        anyhow::bail!("two are measured");
    };
    let pair = (theirs.name, &theirs.windows[..]);
    Ok(vec![Figure::of_pairs(name, "step/s", Better::More, &ours.windows, pair)?])
}

/// Appends by hand.
#[derive(Clone)]
struct Appends {
    floor: Floor,
    key: Bytes,
    entry: Bytes,
}

impl Appends {
    async fn connect(port: u16) -> Result<Self> {
        // As long as what ours writes for such a step.
        let entry = r#"01234567{"at":[["step",123]],"did":{"step":{"outcome":{"ok":123},"took":1}}}"#;
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", port)).await?,
            key: Bytes::new(),
            entry: Bytes::from_static(entry.as_bytes()),
        })
    }

    async fn rate(self, tasks: usize, length: Duration) -> Result<f64> {
        Ok(window(self, tasks, length).await?.rate())
    }
}

impl Load for Appends {
    async fn step(&mut self) -> Result<()> {
        self.floor.call(&[b"RPUSH", &self.key, &self.entry]).await?;
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        Self {
            key: format!("{{bench-bare}}:journal:{task}").into(),
            ..self.clone()
        }
    }
}
