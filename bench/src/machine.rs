//! Which core does what, how many files there may be, and how much memory is taken.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of the server and of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    server: usize,
    client: usize,
}

impl Cores {
    /// The first two cores this process may use.
    ///
    /// # Errors
    /// A sentence for people, if there are not two or the kernel does not say.
    pub(crate) fn choose() -> Result<Self, String> {
        let allowed =
            sched_getaffinity(None).map_err(|error| format!("the kernel does not say: {error}"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        match (cores.next(), cores.next()) {
            (Some(server), Some(client)) => Ok(Self { server, client }),
            _ => Err("there is only one core".to_owned()),
        }
    }

    /// Runs `start` on the server's core, so that what it starts stays there, and brings this thread,
    /// and the threads it starts from now on, to the client's.
    ///
    /// # Errors
    /// A sentence for people, if the kernel refuses; `start` has run nevertheless.
    pub(crate) fn place<T>(self, start: impl FnOnce() -> T) -> (T, Result<(), String>) {
        let first = pin(self.server);
        let started = start();
        let second = pin(self.client);
        (started, first.and(second))
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "server on core {}, client on core {}",
            self.server, self.client
        )
    }
}

fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("the kernel refuses: {error}"))
}

/// Sockets of the largest figure, and what else is open.
const FILES: u64 = 12_000;

/// Lets this process, and those it starts, open as many files as the system allows.
///
/// # Errors
/// If those are not enough.
pub(crate) fn allow_many_files() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raise the limit of open files")?;
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= FILES),
        "a process may have only {} files open, {FILES} are needed: see `ulimit -Hn`",
        limit.maximum.unwrap_or_default()
    );
    Ok(())
}

/// Files this process has open now.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn open_files() -> Result<usize> {
    let files = std::fs::read_dir("/proc/self/fd").context("the kernel does not tell")?;
    Ok(files.count())
}

/// Bytes of each, measured by a new process of this program that gets this argument.
///
/// # Errors
/// If that fails.
pub(crate) fn weigh_elsewhere<W: ValueEnum>(argument: &str, weighed: &W) -> Result<f64> {
    let value = weighed
        .to_possible_value()
        .context("every value has a name")?;
    let output = Command::new(std::env::current_exe()?)
        .args([argument, value.get_name()])
        .output()
        .context("start another process of this program")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "weighing failed: {said}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Bytes that programs may still take.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn free_memory() -> Result<u64> {
    let sizes = std::fs::read_to_string("/proc/meminfo").context("the kernel does not tell")?;
    let free = sizes.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = free.and_then(|rest| rest.trim().strip_suffix("kB"));
    let kibibytes = kibibytes.context("the kernel tells something else")?;
    Ok(kibibytes.trim().parse::<u64>()? * 1024)
}

/// Bytes of this process that are in memory.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn resident() -> Result<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm").context("the kernel does not tell")?;
    let pages: u64 = sizes
        .split_whitespace()
        .nth(1)
        .context("the kernel tells something else")?
        .parse()?;
    Ok(pages * u64::try_from(rustix::param::page_size())?)
}
