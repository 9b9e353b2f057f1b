//! How a figure comes about: windows of equal length, ours and theirs by turns, the median of pairs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::future::LocalBoxFuture;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Something done again and again by one task.
pub(crate) trait Load: Clone + Send + 'static {
    /// Does it once.
    ///
    /// # Errors
    /// Whatever makes the figure worthless.
    fn step(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// The copy for task number `task`; by default all tasks do the same.
    #[must_use]
    fn for_task(&self, _task: usize) -> Self {
        self.clone()
    }
}

/// What was done in one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Steps that were done.
    pub(crate) operations: u64,
    /// How long they took.
    pub(crate) elapsed: Duration,
    /// CPU time this process, all its threads, took for them.
    pub(crate) cpu: Duration,
}

impl Window {
    /// Operations per second.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        count(self.operations) / self.elapsed.as_secs_f64()
    }

    /// Microseconds of CPU per operation.
    #[must_use]
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count(self.operations)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^53, and a figure has three digits"
)]
fn count(operations: u64) -> f64 {
    operations as f64
}

/// Runs `load` in `tasks` tasks of the present runtime for `length`.
///
/// # Errors
/// The first error of a step.
pub(crate) async fn window<L: Load>(load: L, tasks: usize, length: Duration) -> Result<Window> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    let loads: Vec<_> = (0..tasks).map(|task| load.for_task(task)).collect();
    let (begin, cpu) = (Instant::now(), cpu_time());
    for mut load in loads {
        let stop = stop.clone();
        running.spawn(async move {
            let mut operations = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                load.step().await?;
                operations += 1;
            }
            Ok::<_, anyhow::Error>(operations)
        });
    }
    let ended_early = tokio::select! {
        () = tokio::time::sleep(length) => None,
        // Only an error ends a task before it is told to stop.
        first = running.join_next() => first,
    };
    stop.store(true, Ordering::Relaxed);
    let mut operations = 0;
    if let Some(result) = ended_early {
        operations += result??;
    }
    while let Some(result) = running.join_next().await {
        operations += result??;
    }
    Ok(Window {
        operations,
        elapsed: begin.elapsed(),
        cpu: cpu_time() - cpu,
    })
}

/// CPU time of this process so far.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("CPU time is not negative")
}

/// One who is measured. What it does in a round is a window, or several under different circumstances.
pub(crate) struct Contender<T = Window> {
    /// As it is called in the report.
    pub(crate) name: &'static str,
    run: Box<dyn Fn(usize, Duration) -> LocalBoxFuture<'static, Result<T>>>,
}

impl<T> std::fmt::Debug for Contender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Contender").field(&self.name).finish()
    }
}

impl Contender {
    /// One who does `load`. Boxed once per window, not per operation.
    pub(crate) fn new<L: Load>(name: &'static str, load: L) -> Self {
        Self {
            name,
            run: Box::new(move |tasks, length| Box::pin(window(load.clone(), tasks, length))),
        }
    }
}

/// Steps between looks at the clock of a load that never waits.
const UNWATCHED: u64 = 256;

impl Contender {
    /// One who does `load` in one task and never waits: it would not let a timer of its runtime go off.
    pub(crate) fn busy<L: Load>(name: &'static str, load: L) -> Self {
        Self::custom(name, move |_, length| {
            let mut load = load.clone();
            Box::pin(async move {
                let (begin, cpu) = (Instant::now(), cpu_time());
                let mut operations = 0;
                while begin.elapsed() < length {
                    for _ in 0..UNWATCHED {
                        load.step().await?;
                    }
                    operations += UNWATCHED;
                }
                Ok(Window {
                    operations,
                    elapsed: begin.elapsed(),
                    cpu: cpu_time() - cpu,
                })
            })
        })
    }
}

impl<T> Contender<T> {
    /// One who measures itself: given the number of tasks and the length of a window.
    pub(crate) fn custom(
        name: &'static str,
        run: impl Fn(usize, Duration) -> LocalBoxFuture<'static, Result<T>> + 'static,
    ) -> Self {
        Self {
            name,
            run: Box::new(run),
        }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Of one window.
    pub(crate) length: Duration,
    /// Of the window before those that count.
    pub(crate) warm_up: Duration,
    /// Rounds, and so pairs.
    pub(crate) rounds: usize,
    /// Rounds of what ten thousand clients come to: their coming takes longer than what is measured.
    pub(crate) gatherings: usize,
}

impl Plan {
    /// The same for ten thousand clients.
    #[must_use]
    pub(crate) const fn of_gatherings(self) -> Self {
        Self {
            rounds: self.gatherings,
            ..self
        }
    }
}

/// What `contenders` did, in the order of `contenders`: a window for each round.
#[derive(Clone, Debug)]
pub(crate) struct Series<T = Window> {
    /// The name of the contender.
    pub(crate) name: &'static str,
    /// Its window of each round.
    pub(crate) windows: Vec<T>,
}

/// Measures everybody in every round, beginning with another one each time, so that what changes on
/// the machine meanwhile meets all alike.
///
/// # Errors
/// The first error of anybody, with its name.
pub(crate) async fn rounds<T>(
    contenders: &[Contender<T>],
    tasks: usize,
    plan: Plan,
    tick: &dyn Fn(&str),
) -> Result<Vec<Series<T>>> {
    let mut series: Vec<_> = contenders
        .iter()
        .map(|contender| Series {
            name: contender.name,
            windows: Vec::with_capacity(plan.rounds),
        })
        .collect();
    let named = |contender: &Contender<T>| {
        let name = contender.name;
        move |error: anyhow::Error| error.context(format!("while measuring {name}"))
    };
    for contender in contenders {
        tick(contender.name);
        (contender.run)(tasks, plan.warm_up)
            .await
            .map_err(named(contender))?;
    }
    for round in 0..plan.rounds {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let contender = &contenders[at];
            tick(contender.name);
            let window = (contender.run)(tasks, plan.length)
                .await
                .map_err(named(contender))?;
            series[at].windows.push(window);
        }
    }
    Ok(series)
}

/// The middle one; between the middle two of an even number.
///
/// # Errors
/// If there are no values.
pub(crate) fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => Err(anyhow!("nothing was measured")),
        even if even % 2 == 0 => Ok(f64::midpoint(values[middle - 1], values[middle])),
        _ => Ok(values[middle]),
    }
}

/// The value below which `share` of `values` lie.
///
/// # Errors
/// If there are no values.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index, not negative, far below 2^53"
    )]
    let at = (values.len() as f64 * share) as usize;
    values
        .get(at.min(values.len().saturating_sub(1)))
        .copied()
        .ok_or_else(|| anyhow!("nothing was measured"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]).unwrap(), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]).unwrap(), 2.5);
        assert!(median(Vec::new()).is_err());
    }

    #[test]
    fn percentiles_are_of_sorted_values() {
        let mut values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5).unwrap(), 50.0);
        assert_eq!(percentile(&mut values, 0.99).unwrap(), 99.0);
    }
}
