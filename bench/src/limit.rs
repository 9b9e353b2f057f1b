//! `limit`: deciding about requests, on the server and in the process.

mod by_hand;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use quorate::{Fleet, Limiter, Policy};

use self::by_hand::ByHand;
use crate::context::{Context, Flavour};
use crate::measure::{Contender, Load, Window, window};
use crate::replay::Replay;
use crate::report::{Better, Figure, compare};

/// Tasks that ask at a time.
const TASKS: usize = 256;
/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.8;
/// What the ratio to `governor` ought to be in-process.
const LEAST_OF_GOVERNOR: f64 = 0.33;
/// What the ratio to the server's time for scripts written by hand ought to be.
const LEAST_OF_BY_HAND: f64 = 1.0;
/// How many times as fast decisions from a batch ought to be.
const LEAST_OF_PLAIN: f64 = 20.0;
/// More than anybody asks for: what is measured are decisions that allow.
const MANY: u64 = 1_000_000_000;
/// A log is at most so long.
const LONG: u64 = 10_000;
const SECOND: Duration = Duration::from_secs(1);
const KEYS: usize = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Fixed,
    Counter,
    Bucket,
    Log,
    BucketAndCounter,
}

impl Algorithm {
    const ALL: [Self; 5] = [
        Self::Fixed,
        Self::Counter,
        Self::Bucket,
        Self::Log,
        Self::BucketAndCounter,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed_window",
            Self::Counter => "sliding_counter",
            Self::Bucket => "token_bucket",
            Self::Log => "sliding_log",
            Self::BucketAndCounter => "bucket_and_counter",
        }
    }

    /// What is allowed, and in what time.
    const fn window(self) -> (u64, Duration) {
        match self {
            // So short that it is never full.
            Self::Log => (LONG, Duration::from_millis(5)),
            _ => (MANY, SECOND),
        }
    }

    fn limiter(self, fleet: &Fleet) -> Limiter {
        let (limit, length) = self.window();
        let bucket = || Policy::token_bucket(limit, length);
        let counter = || Policy::sliding_counter(limit, length);
        match self {
            Self::Fixed => fleet.limiter("bench", Policy::fixed_window(limit, length)),
            Self::Counter => fleet.limiter("bench", counter()),
            Self::Bucket => fleet.limiter("bench", bucket()),
            Self::Log => fleet.limiter("bench", Policy::sliding_log(limit, length)),
            Self::BucketAndCounter => fleet.limiter("bench", [bucket(), counter()]),
        }
    }
}

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = on_the_server(context)?;
    figures.extend(cost(context)?);
    figures.extend(in_batches(context)?);
    figures.extend(in_process(context, "limit.in_process.one_key", 1)?);
    figures.extend(in_process(context, "limit.in_process.million_keys", KEYS)?);
    Ok(figures)
}

fn on_the_server(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for algorithm in Algorithm::ALL {
        for flavour in Flavour::ALL {
            let name = format!("limit.consume.{}.{}", algorithm.name(), flavour.name());
            if !context.wants(&name) {
                continue;
            }
            context.expect(1, 2);
            let measured = flavour.runtime()?.block_on(async {
                let fleet = Fleet::connect(&context.server.url()).await?;
                let ours = Ours::new(algorithm.limiter(&fleet), 1);
                let floor = Replay::of(context.server.port(), "EVALSHA", &ours).await?;
                let contenders = vec![
                    Contender::new("quorate", ours),
                    Contender::new("floor", floor),
                ];
                let series = context.rounds(&name, contenders, TASKS, 1).await?;
                fleet.close().await;
                compare(&name, "op/s", Better::More, &series, Window::rate)
            });
            figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
        }
    }
    Ok(figures)
}

/// The server's own time for a decision, by its own count, beside that for the scripts that people write.
fn cost(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for algorithm in Algorithm::ALL {
        let name = format!("limit.server_time.{}", algorithm.name());
        if context.is_solo() || !context.wants(&name) {
            continue;
        }
        context.expect(1, 2);
        let runtime = Flavour::CurrentThread.runtime()?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..context.plan.rounds {
            let fleet = runtime.block_on(Fleet::connect(&context.server.url()))?;
            let asking = Ours::new(algorithm.limiter(&fleet), 1);
            ours.push(runtime.block_on(server_time(context, asking))?);
            runtime.block_on(fleet.close());
            let port = context.server.port();
            let by_hand = runtime.block_on(ByHand::connect(port, algorithm))?;
            let scripts = by_hand.scripts();
            theirs.push(scripts * runtime.block_on(server_time(context, by_hand))?);
            context.tick(&name);
        }
        let reference = ("by hand", theirs.as_slice());
        let figure = Figure::of_pairs(name, "µs", Better::Less, &ours, reference)?;
        figures.push(figure.at_least(LEAST_OF_BY_HAND));
    }
    Ok(figures)
}

/// What a script takes of the server's time under this load, on average and by its own count, in µs.
async fn server_time(context: &Context, load: impl Load) -> Result<f64> {
    // The first time a script is sent in full.
    load.clone().step().await?;
    context.server.command_blocking(&["CONFIG", "RESETSTAT"])?;
    window(load, TASKS, context.plan.length).await?;
    let info = context.server.command_blocking(&["INFO", "commandstats"])?;
    let told = info.as_str().and_then(|info| {
        let stats = info
            .lines()
            .find_map(|it| it.strip_prefix("cmdstat_evalsha:"))?;
        let value = stats
            .split(',')
            .find_map(|it| it.strip_prefix("usec_per_call="))?;
        value.parse().ok()
    });
    told.context("the server does not say what its scripts took")
}

/// Decisions from a batch, by one task, beside 256 that ask the server.
fn in_batches(context: &Context) -> Result<Vec<Figure>> {
    let name = "limit.local";
    if !context.wants(name) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    let measured = Flavour::CurrentThread.runtime()?.block_on(async {
        let fleet = Fleet::connect(&context.server.url()).await?;
        let plain = Algorithm::Bucket.limiter(&fleet);
        let batches = plain.clone().local(1000);
        let contenders = vec![
            Contender::busy("quorate", Ours::new(batches, 1)),
            Contender::new("plain", Ours::new(plain, 1)),
        ];
        let series = context.turns(name, contenders, TASKS, context.plan).await?;
        let series = context.unless_solo(series);
        fleet.close().await;
        compare(name, "op/s", Better::More, &series, Window::rate)
    });
    let aim = |it: Figure| it.at_least(LEAST_OF_PLAIN);
    Ok(measured?.into_iter().map(aim).collect())
}

fn in_process(context: &Context, name: &str, keys: usize) -> Result<Vec<Figure>> {
    if !context.wants(name) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    let measured = Flavour::CurrentThread.runtime()?.block_on(async {
        let fleet = Fleet::embedded();
        let ours = Ours::new(Algorithm::Bucket.limiter(&fleet), keys);
        let theirs = Governor::new(keys);
        let (mut first, mut second) = (ours.clone(), theirs.clone());
        for _ in 0..keys {
            // Every key is there.
            first.step().await?;
            second.step().await?;
        }
        let contenders = vec![
            Contender::busy("quorate", ours),
            Contender::busy("governor", theirs),
        ];
        let series = context.turns(name, contenders, 1, context.plan).await?;
        let series = context.unless_solo(series);
        compare(name, "op/s", Better::More, &series, Window::rate)
    });
    let aim = |it: Figure| it.at_least(LEAST_OF_GOVERNOR);
    Ok(measured?.into_iter().map(aim).collect())
}

fn names(keys: usize) -> Arc<[String]> {
    (0..keys).map(|key| format!("user:{key}")).collect()
}

/// Ours, with every default.
#[derive(Clone)]
struct Ours {
    limiter: Limiter,
    keys: Arc<[String]>,
    next: usize,
}

impl Ours {
    fn new(limiter: Limiter, keys: usize) -> Self {
        Self {
            limiter,
            keys: names(keys),
            next: 0,
        }
    }
}

impl Load for Ours {
    async fn step(&mut self) -> Result<()> {
        let key = &*self.keys[self.next];
        self.next = (self.next + 1) % self.keys.len();
        ensure!(
            self.limiter.consume(key).await?.is_allowed(),
            "it was denied"
        );
        Ok(())
    }
}

/// The crate `governor`, keyed, with every default.
#[derive(Clone)]
struct Governor {
    limiter: Arc<DefaultKeyedRateLimiter<String>>,
    keys: Arc<[String]>,
    next: usize,
}

impl Governor {
    fn new(keys: usize) -> Self {
        let quota = Quota::per_second(NonZeroU32::MAX);
        Self {
            limiter: Arc::new(RateLimiter::keyed(quota)),
            keys: names(keys),
            next: 0,
        }
    }
}

impl Load for Governor {
    async fn step(&mut self) -> Result<()> {
        let key = &self.keys[self.next];
        self.next = (self.next + 1) % self.keys.len();
        ensure!(self.limiter.check_key(key).is_ok(), "it was denied");
        Ok(())
    }
}
