//! A cold key that everybody asks for at once: a thousand tasks in each of four processes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quorate::{CacheSpec, Fleet};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::context::{Context, Flavour};
use crate::report::{Better, Bound, Figure};

const PROCESSES: usize = 4;
const TASKS: usize = 1000;
const NAME: &str = "cache.cold_key";
/// How long loading takes.
const LOAD: Duration = Duration::from_millis(100);
/// From when the processes are started until all of them ask.
const GATHER: Duration = Duration::from_millis(1500);
const VALUES: CacheSpec<u64, u64> = CacheSpec::new("bench-cold");

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    if !context.wants(NAME) || context.is_solo() {
        return Ok(Vec::new());
    }
    let rounds = context.plan.gatherings;
    context.expect_turns(1, context.plan.of_gatherings());
    let (mut loads, mut longest) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        context.tick(NAME);
        let (count, millis) = storm(&context.server.url(), round)?;
        loads.push(f64::from(count));
        longest.push(millis);
    }
    let one = vec![1.0; rounds];
    let load = vec![LOAD.as_secs_f64() * 1e3; rounds];
    let count = Figure::of_pairs(
        "cache.cold_key.loads",
        "loads",
        Better::Less,
        &loads,
        ("one", &one),
    )?;
    let time = Figure::of_pairs(
        "cache.cold_key.all_served",
        "ms",
        Better::Less,
        &longest,
        ("load", &load),
    )?;
    ensure!(loads.iter().all(|count| *count >= 1.0), "nobody loaded");
    Ok(vec![count.within(Bound::AtMost(1.0)), time])
}

/// How often was loaded, and how long the last one waited, in ms.
fn storm(url: &str, round: usize) -> Result<(u32, f64)> {
    let this = std::env::current_exe()?;
    let ask = || {
        Command::new(&this)
            .args(["--ask", &format!("{url} {round}")])
            .stdout(Stdio::piped())
            .spawn()
            .context("start a process that asks")
    };
    let asking: Vec<_> = (0..PROCESSES).map(|_| ask()).collect();
    let (mut loads, mut longest) = (0, 0.0_f64);
    for process in asking {
        let output = process?.wait_with_output()?;
        ensure!(output.status.success(), "a process that asks failed");
        let said = String::from_utf8(output.stdout)?;
        let (count, millis) = said.trim().split_once(' ').context("two numbers")?;
        loads += count.parse::<u32>()?;
        longest = longest.max(millis.parse()?);
    }
    Ok((loads, longest))
}

/// Is one of the processes: asks for the key of a round with all tasks at once, and says how often it loaded and
/// how long the last one waited.
///
/// # Errors
/// If the server cannot be reached.
pub(crate) fn ask(what: &str) -> Result<String> {
    let (url, round) = what.split_once(' ').context("URL and round")?;
    let key: u64 = round.parse()?;
    let begin = Instant::now() + GATHER;
    Flavour::MultiThread.runtime()?.block_on(async {
        let fleet = Fleet::connect(url).await?;
        let cache = fleet.cache(&VALUES);
        let loads = Arc::new(AtomicU32::new(0));
        tokio::time::sleep_until(begin).await;
        let mut asking = JoinSet::new();
        for _ in 0..TASKS {
            let (cache, loads) = (cache.clone(), loads.clone());
            asking.spawn(async move {
                let load = async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(LOAD).await;
                    Ok::<_, std::io::Error>(key)
                };
                cache.get_or_load(&key, load).await
            });
        }
        while let Some(read) = asking.join_next().await {
            ensure!(read?? == key, "another value");
        }
        let millis = begin.elapsed().as_secs_f64() * 1e3;
        fleet.close().await;
        Ok(format!("{} {millis}", loads.load(Ordering::Relaxed)))
    })
}
