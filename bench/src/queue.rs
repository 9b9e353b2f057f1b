//! `queue`: jobs that do nothing, from push to settlement.
//!
//! One process pushes in batches of 50 and works with 100 at a time, with every default: leases, attempts, results kept. The floor is
//! a loop by hand that moves the same bytes in the same batches between what any queue with leases has: bodies by id, who is ready, in
//! order, and who is active, by when its lease ends. Nothing else: leases that nobody looks at, no guard, no attempts, no delays, no
//! fairness, no results, nobody woken. A list, from which what is lost is lost but for a hash of what is active, stands beside it.

mod bare;
mod ours;
mod pickup;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quorate::Fleet;

use self::bare::{Bare, Kind};
use self::ours::{Channel, Crowd, Ours};
use crate::context::{Context, Flavour};
use crate::machine::free_memory;
use crate::measure::{Contender, Series};
use crate::report::{Better, Bound, Figure};

/// Jobs at a time.
const CONCURRENCY: usize = 100;
/// Jobs of a push.
const BATCH: usize = 50;
/// Jobs pushed that are not done yet, at most.
const BACKLOG: usize = 2_000;
/// What a waiting job takes of the server's memory, and more for what the server does with it meanwhile.
const BYTES_OF_A_JOB: u64 = 600;
const LEAST_OF_FLOOR: f64 = 0.6;
/// Jobs per second that are aimed at.
const AIM: f64 = 50_000.0;
const AIM_IN_PROCESS: f64 = 500_000.0;

/// What came of one window.
#[derive(Clone, Copy, Debug)]
struct Done {
    /// Jobs per second.
    rate: f64,
    /// Commands that clients sent, per job.
    commands: f64,
    /// Microseconds the server took for them, per job.
    server: f64,
}

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for flavour in Flavour::ALL {
        for (suffix, fsync) in [("", None), (".aof_always", Some("always"))] {
            let name = format!("queue.work.{}{suffix}", flavour.name());
            if context.wants(&name) {
                context.expect(1, 3);
                figures.extend(flavour.runtime()?.block_on(work(context, &name, fsync))?);
            }
        }
        let name = format!("queue.pickup.{}", flavour.name());
        if context.wants(&name) && !context.is_solo() {
            context.expect(1, 2);
            figures.extend(flavour.runtime()?.block_on(pickup::measure(context, &name))?);
        }
        let name = format!("queue.in_process.{}", flavour.name());
        if context.wants(&name) {
            context.expect(1, 2);
            figures.extend(flavour.runtime()?.block_on(in_process(context, &name))?);
        }
    }
    let runtime = Flavour::CurrentThread.runtime()?;
    if context.wants("queue.file") {
        context.expect(1, 2);
        figures.extend(runtime.block_on(in_file(context))?);
    }
    if !context.is_solo() {
        figures.extend(runtime.block_on(waiting(context))?);
        figures.extend(runtime.block_on(groups(context))?);
    }
    Ok(figures)
}

/// Push to settlement, beside the floor.
async fn work(context: &Context, name: &str, fsync: Option<&str>) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    configure(&fleet, fsync).await?;
    let port = context.server.port();
    let leases = Bare::connect(port, fleet.clone(), Kind::Leases).await?;
    let list = Bare::connect(port, fleet.clone(), Kind::List).await?;
    let ours = Ours::new(&fleet, Crowd::default());
    let contenders = vec![
        Contender::custom("quorate", move |tasks, length| {
            Box::pin(ours.clone().window(tasks, length))
        }),
        Contender::custom("floor", move |tasks, length| {
            Box::pin(leases.clone().window(tasks, length))
        }),
        Contender::custom("list", move |tasks, length| {
            Box::pin(list.clone().window(tasks, length))
        }),
    ];
    let series = context.turns(name, contenders, CONCURRENCY, context.plan).await?;
    configure(&fleet, None).await?;
    fleet.close().await;
    if context.is_solo() {
        say(context, &series);
        return Ok(Vec::new());
    }
    let [ours, floor, list] = &series[..] else {
        anyhow::bail!("three are measured");
    };
    let mut figures = compared(name, [ours, floor])?;
    figures[0] = figures[0].clone().at_least(LEAST_OF_FLOOR);
    if fsync.is_none() {
        figures[0] = figures[0].clone().within(Bound::AtLeast(AIM));
        figures[1] = figures[1].clone().within(Bound::AtMost(1.0));
    }
    figures.push(compared(name, [ours, list])?.swap_remove(0));
    Ok(figures)
}

/// In memory, beside a channel and a task for each job.
async fn in_process(context: &Context, name: &str) -> Result<Vec<Figure>> {
    let fleet = Fleet::embedded();
    let ours = Ours::new(&fleet, Crowd::default());
    let contenders = vec![
        Contender::custom("quorate", move |tasks, length| {
            Box::pin(ours.clone().window(tasks, length))
        }),
        Contender::custom("channel", |tasks, length| Box::pin(Channel::window(tasks, length))),
    ];
    let series = context.turns(name, contenders, CONCURRENCY, context.plan).await?;
    fleet.close().await;
    if context.is_solo() {
        say(context, &series);
        return Ok(Vec::new());
    }
    let rate = compared(name, pair(&series)?)?.swap_remove(0);
    Ok(vec![rate.within(Bound::AtLeast(AIM_IN_PROCESS))])
}

/// In a file, beside the same in memory: what it costs that everything survives the process.
async fn in_file(context: &Context) -> Result<Vec<Figure>> {
    let name = "queue.file";
    let directory = std::env::temp_dir().join(format!("quorate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let url = format!("file:{}", directory.join("queue.redb").display());
    let (kept, memory) = (Fleet::connect(&url).await?, Fleet::embedded());
    let contenders = [("quorate", &kept), ("memory", &memory)].map(|(who, fleet)| {
        let ours = Ours::new(fleet, Crowd::default());
        Contender::custom(who, move |tasks, length| Box::pin(ours.clone().window(tasks, length)))
    });
    let series = context.turns(name, contenders.into(), CONCURRENCY, context.plan).await?;
    kept.close().await;
    memory.close().await;
    std::fs::remove_dir_all(&directory)?;
    if context.is_solo() {
        say(context, &series);
        return Ok(Vec::new());
    }
    Ok(vec![compared(name, pair(&series)?)?.swap_remove(0)])
}

/// The same work in front of many jobs that wait, beside a thousand of them. Ten million take minutes: not with `--quick`.
async fn waiting(context: &Context) -> Result<Vec<Figure>> {
    let mut counts = vec![100_000];
    if context.plan.rounds > 5 {
        counts.push(10_000_000);
    }
    let mut figures = Vec::new();
    for count in counts {
        let name = format!("queue.waiting{count}");
        let few = Crowd { waiting: 1_000, ..Crowd::default() };
        let many = Crowd { waiting: count, ..Crowd::default() };
        if !context.wants(&name) {
            continue;
        }
        let (takes, free) = (u64::try_from(count)? * BYTES_OF_A_JOB, free_memory()?);
        if takes > free {
            let why = format!("{name} LEFT OUT: it takes {takes} bytes of memory, {free} are free");
            context.say(&why);
            continue;
        }
        figures.extend(crowds(context, &name, many, ("thousand", few)).await?);
    }
    Ok(figures)
}

/// The same work for a thousand fairness groups, beside one.
async fn groups(context: &Context) -> Result<Vec<Figure>> {
    let name = "queue.groups1000";
    let many = Crowd { groups: 1_000, ..Crowd::default() };
    if !context.wants(name) {
        return Ok(Vec::new());
    }
    crowds(context, name, many, ("one", Crowd::default())).await
}

/// The same work under two circumstances.
async fn crowds(
    context: &Context,
    name: &str,
    crowd: Crowd,
    (other, than): (&'static str, Crowd),
) -> Result<Vec<Figure>> {
    context.expect(2, 2);
    let fleet = Fleet::connect(&context.server.url()).await?;
    let (mut lives, mut claims) = (Vec::new(), Vec::new());
    for (who, crowd) in [("quorate", crowd), (other, than)] {
        let ours = Ours::new(&fleet, crowd);
        ours.fill(context).await?;
        let same = ours.clone();
        lives.push(Contender::custom(who, move |tasks, length| {
            Box::pin(ours.clone().window(tasks, length))
        }));
        claims.push(Contender::custom(who, move |tasks, length| {
            Box::pin(same.clone().claims(tasks, length))
        }));
    }
    let lives = context.turns(name, lives, CONCURRENCY, context.plan).await?;
    let claims = context.turns(name, claims, CONCURRENCY, context.plan).await?;
    fleet.redis()?.command(&["FLUSHALL", "ASYNC"]).await?;
    fleet.close().await;
    let mut figures = compared(name, pair(&lives)?)?;
    // While nobody pushes: only what the server takes for it says something.
    figures.extend(compared(&format!("{name}.claims"), pair(&claims)?)?.pop());
    Ok(figures)
}

/// Rate, commands and server time of ours beside theirs.
fn compared(name: &str, [ours, theirs]: [&Series<Done>; 2]) -> Result<Vec<Figure>> {
    let reference = theirs.name;
    let of = |pick: fn(&Done) -> f64| {
        let values = |series: &Series<Done>| series.windows.iter().map(pick).collect::<Vec<_>>();
        (values(ours), values(theirs))
    };
    let (rate, their_rate) = of(|it| it.rate);
    let mut figures = vec![Figure::of_pairs(
        name,
        "job/s",
        Better::More,
        &rate,
        (reference, &their_rate),
    )?];
    let (commands, their_commands) = of(|it| it.commands);
    if commands.iter().chain(&their_commands).all(|it| *it > 0.0) {
        let name = format!("{name}.commands");
        let pair = (reference, &their_commands[..]);
        figures.push(Figure::of_pairs(name, "/job", Better::Less, &commands, pair)?);
    }
    let (server, their_server) = of(|it| it.server);
    if server.iter().chain(&their_server).all(|it| *it > 0.0) {
        let name = format!("{name}.server");
        let pair = (reference, &their_server[..]);
        figures.push(Figure::of_pairs(name, "µs/job", Better::Less, &server, pair)?);
    }
    Ok(figures)
}

fn pair(series: &[Series<Done>]) -> Result<[&Series<Done>; 2]> {
    match series {
        [ours, theirs] => Ok([ours, theirs]),
        _ => anyhow::bail!("two are measured"),
    }
}

fn say(context: &Context, series: &[Series<Done>]) {
    for Series { name, windows } in series {
        for Done { rate, commands, server } in windows {
            context.say(&format!(
                "{name}: {rate:.0} job/s, {commands:.3} commands and {server:.1} µs of the server's each"
            ));
        }
    }
}

/// Whether, and when, the server writes to its disk.
async fn configure(fleet: &Fleet, fsync: Option<&str>) -> Result<()> {
    let redis = fleet.redis()?;
    if let Some(fsync) = fsync {
        redis.command(&["CONFIG", "SET", "appendfsync", fsync]).await?;
    }
    let is_on = if fsync.is_some() { "yes" } else { "no" };
    redis.command(&["CONFIG", "SET", "appendonly", is_on]).await?;
    if fsync.is_some() {
        // The first write of the file is no part of what is measured.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// What the server counted of the calls of clients: how many, and the microseconds they took.
struct Counted(f64, f64);

/// Begins to count anew.
async fn reset(fleet: &Fleet) -> Result<()> {
    if let Ok(redis) = fleet.redis() {
        redis.command(&["CONFIG", "RESETSTAT"]).await?;
    }
    Ok(())
}

/// What the server counted since.
async fn counted(fleet: &Fleet) -> Result<Counted> {
    let Ok(redis) = fleet.redis() else {
        return Ok(Counted(0.0, 0.0));
    };
    let info = redis.command(&["INFO", "commandstats"]).await?;
    let info = info.as_str().context("text")?;
    let (mut calls, mut micros) = (0.0, 0.0);
    // Only what clients call here: what scripts do is counted with them.
    for verb in ["cmdstat_evalsha:", "cmdstat_rpush:"] {
        let line = info.lines().find_map(|line| line.strip_prefix(verb));
        for part in line.into_iter().flat_map(|line| line.split(',')) {
            if let Some(count) = part.strip_prefix("calls=") {
                calls += count.parse::<f64>()?;
            } else if let Some(time) = part.strip_prefix("usec=") {
                micros += time.parse::<f64>()?;
            }
        }
    }
    ensure!(calls > 0.0, "the server counts its calls");
    Ok(Counted(calls, micros))
}
