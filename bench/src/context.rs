//! What every capability is measured with: a server, a plan, runtimes, progress.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use quorate_testing::servers::{Server, ServerKind};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::machine::Cores;
use crate::measure::{Contender, Plan, Series, rounds};

/// Threads of the multi-thread runtime. All of them are on the client's core, as in a container with
/// one CPU: what a runtime with work to hand over costs shows, what a second core would add does not.
const WORKERS: usize = 2;

/// Between lines that say how far it is.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The runtimes a service may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// One thread.
    CurrentThread,
    /// Several, with work handed over between them.
    MultiThread,
}

impl Flavour {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::CurrentThread, Self::MultiThread];

    /// As it appears in the names of figures.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::MultiThread => "multi_thread",
        }
    }

    /// A new one.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub(crate) fn runtime(self) -> Result<Runtime> {
        let mut builder = match self {
            Self::CurrentThread => Builder::new_current_thread(),
            Self::MultiThread => Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(WORKERS).enable_all().build();
        runtime.context("start a runtime")
    }
}

/// What every capability is measured with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The server, on its own core where possible.
    pub(crate) server: Server,
    /// How long and how often.
    pub(crate) plan: Plan,
    only: Option<String>,
    solo: Option<String>,
    progress: ProgressBar,
    /// When a line said how far it is, where there is no terminal to draw on.
    said: Cell<Instant>,
    cores: Option<Cores>,
}

impl Context {
    /// Starts a server, and gives it and this process a core each.
    ///
    /// # Errors
    /// If no server can be started.
    pub(crate) fn start(plan: Plan, only: Option<String>, solo: Option<String>) -> Result<Self> {
        let progress = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {pos}/{len} {msg}")?;
        progress.set_style(style.progress_chars("=> "));
        // The clock goes on also while ten thousand clients come.
        progress.enable_steady_tick(Duration::from_secs(1));
        let start = || Server::builder(ServerKind::Redis).start_blocking();
        let (server, cores) = match Cores::choose() {
            Ok(cores) => {
                let (server, pinned) = cores.place(start);
                (server, pinned.map(|()| cores))
            }
            Err(problem) => (start(), Err(problem)),
        };
        let server = server.context("start a server")?;
        let said = match &cores {
            Ok(cores) => cores.to_string(),
            Err(problem) => format!(
                "server and client NOT on cores of their own, figures are of little use: {problem}"
            ),
        };
        eprintln!("{}; {said}", server.binary());
        Ok(Self {
            server,
            plan,
            only,
            solo,
            progress,
            said: Cell::new(Instant::now()),
            cores: cores.ok(),
        })
    }

    /// The cores, if server and client have one each.
    pub(crate) const fn cores(&self) -> Option<Cores> {
        self.cores
    }

    /// Whether figures of this name are asked for.
    #[must_use]
    pub(crate) fn wants(&self, name: &str) -> bool {
        let whole = |text: &str| format!(".{text}.");
        self.only
            .as_ref()
            .is_none_or(|only| whole(name).contains(&whole(only)))
    }

    /// Whether only one contender runs, and so nothing is compared.
    pub(crate) fn is_solo(&self) -> bool {
        self.solo.is_some()
    }

    /// Announces windows to come.
    pub(crate) fn expect(&self, cases: usize, contenders: usize) {
        self.expect_turns(cases * contenders, self.plan);
    }

    /// Announces the windows of so many contenders, or of as many figures of theirs.
    pub(crate) fn expect_turns(&self, contenders: usize, plan: Plan) {
        let windows = contenders * (plan.rounds + 1);
        self.progress
            .inc_length(u64::try_from(windows).unwrap_or(0));
    }

    /// One more window begins.
    pub(crate) fn tick(&self, what: &str) {
        self.progress.inc(1);
        self.progress.set_message(what.to_owned());
        if self.progress.is_hidden() && self.said.get().elapsed() >= BETWEEN_LINES {
            self.said.set(Instant::now());
            let (seconds, at) = (self.progress.elapsed().as_secs(), self.progress.position());
            let all = self.progress.length().unwrap_or(at);
            eprintln!("{seconds} s, {at}/{all}: {what}");
        }
    }

    /// A line beside the progress.
    pub(crate) fn say(&self, line: &str) {
        self.progress.suspend(|| eprintln!("{line}"));
    }

    /// Measures everybody, and checks what was counted against what the server counted.
    ///
    /// `commands` is how many commands reach the server for one operation.
    ///
    /// # Errors
    /// If somebody fails, or counted more than reached the server.
    pub(crate) async fn rounds(
        &self,
        name: &str,
        contenders: Vec<Contender>,
        tasks: usize,
        commands: u64,
    ) -> Result<Vec<Series>> {
        let before = self.commands_processed()?;
        let series = self.turns(name, contenders, tasks, self.plan).await?;
        let counted: u64 = series
            .iter()
            .flat_map(|series| &series.windows)
            .map(|window| window.operations * commands)
            .sum();
        let processed = self.commands_processed()? - before;
        ensure!(
            counted <= processed,
            "{name}: {counted} commands were counted, the server saw only {processed}"
        );
        Ok(self.unless_solo(series))
    }

    /// Measures everybody in turn; nothing is checked.
    ///
    /// # Errors
    /// If somebody fails.
    pub(crate) async fn turns<T>(
        &self,
        name: &str,
        mut contenders: Vec<Contender<T>>,
        tasks: usize,
        plan: Plan,
    ) -> Result<Vec<Series<T>>> {
        if let Some(solo) = &self.solo {
            contenders.retain(|contender| contender.name == solo);
        }
        let tick = |who: &str| self.tick(&format!("{name} {who}"));
        rounds(&contenders, tasks, plan, &tick).await
    }

    /// What is to be compared. Of one who runs alone it is only said, and nothing is left.
    pub(crate) fn unless_solo(&self, series: Vec<Series>) -> Vec<Series> {
        if !self.is_solo() {
            return series;
        }
        for series in &series {
            for window in &series.windows {
                let (rate, cpu) = (window.rate(), window.cpu_micros());
                let name = series.name;
                self.say(&format!("{name}: {rate:.0} op/s, {cpu:.2} µs of CPU each"));
            }
        }
        Vec::new()
    }

    fn commands_processed(&self) -> Result<u64> {
        let info = self.server.command_blocking(&["INFO", "stats"])?;
        info.as_str()
            .and_then(|info| {
                let line = info
                    .lines()
                    .find_map(|line| line.strip_prefix("total_commands_processed:"));
                line?.trim().parse().ok()
            })
            .context("the server does not count its commands")
    }

    /// Takes the progress away.
    pub(crate) fn finish(&self) {
        self.progress.finish_and_clear();
    }
}

/// Runs of a normal and of a quick measurement.
#[must_use]
pub(crate) const fn plan(quick: bool) -> Plan {
    if quick {
        Plan {
            length: Duration::from_millis(200),
            warm_up: Duration::from_millis(100),
            rounds: 5,
            gatherings: 3,
        }
    } else {
        Plan {
            length: Duration::from_secs(1),
            warm_up: Duration::from_millis(300),
            rounds: 7,
            gatherings: 5,
        }
    }
}
