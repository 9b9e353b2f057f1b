//! Servers: fetched for a test run, or started for a person.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use quorate_testing::servers::{
    Binary, Detached, Flavour, Server, ServerKind, locate, servers_dir,
};

use crate::process;
use crate::progress::Progress;

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start servers that stay up until `down`, and print their URLs.
    Up {
        /// Which; all if none is named.
        kinds: Vec<Kind>,
    },
    /// Stop them.
    Down {
        /// Which; all if none is named.
        kinds: Vec<Kind>,
    },
    /// Show their logs.
    Logs {
        /// Which; all if none is named.
        kinds: Vec<Kind>,
        /// Go on showing what is added.
        #[arg(short, long)]
        follow: bool,
    },
    /// Say which run, where, and which programs there are.
    List,
}

/// A kind of server, as named on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    Redis,
    Valkey,
    /// One Redis server in cluster mode, with all slots.
    Cluster,
}

impl From<Kind> for ServerKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Redis => Self::Redis,
            Kind::Valkey => Self::Valkey,
            Kind::Cluster => Self::RedisCluster,
        }
    }
}

pub(crate) fn run(task: &Task) -> Result<()> {
    match task {
        Task::Up { kinds } => chosen(kinds).try_for_each(up),
        Task::Down { kinds } => chosen(kinds).try_for_each(|kind| {
            let stopped = detached(kind).stop()?;
            println!(
                "{kind} {}",
                if stopped {
                    "stopped"
                } else {
                    "was not running"
                }
            );
            Ok(())
        }),
        Task::Logs { kinds, follow } => logs(chosen(kinds), *follow),
        Task::List => {
            list();
            Ok(())
        }
    }
}

/// Finds a server of each flavour, fetching what is missing.
pub(crate) fn fetch() -> Result<Vec<Binary>> {
    Flavour::ALL.into_iter().map(fetch_one).collect()
}

/// Finds a server, fetching it if it is missing.
pub(crate) fn fetch_one(flavour: Flavour) -> Result<Binary> {
    let progress = Progress::start(&format!("looking for {flavour}"));
    let found = locate(flavour, &mut |what| progress.say(what));
    progress.finish(&match &found {
        Ok(binary) => format!("found {binary}"),
        Err(_) => format!("found no {flavour}"),
    });
    Ok(found?)
}

/// Starts one server of each kind for a test run; they end with the returned values.
pub(crate) fn start_shared() -> Result<Vec<Server>> {
    ServerKind::ALL
        .into_iter()
        .map(|kind| {
            let server = Server::builder(kind).start_blocking()?;
            eprintln!("started {kind}: {}", server.url());
            Ok(server)
        })
        .collect()
}

/// Tells tests which servers to share.
pub(crate) fn share_with(command: &mut Command, servers: &[Server]) {
    for server in servers {
        command.env(server.kind().url_variable(), server.url());
    }
}

fn up(kind: ServerKind) -> Result<()> {
    let found = detached(kind);
    let url = match found.url() {
        Some(url) => url,
        None => start(kind)?.url(),
    };
    eprintln!("{kind}: quorate serve --backend {url}");
    // Ready to be pasted, so that tests run by hand share it too.
    println!("export {}={url}", kind.url_variable());
    Ok(())
}

/// Starts a server where the last one was, so that whoever was connected finds it again after it was
/// killed; elsewhere if that port is taken.
fn start(kind: ServerKind) -> Result<Server> {
    let binary = fetch_one(kind.flavour())?;
    let remembered = home(kind).join("port");
    let builder = || {
        Server::builder(kind)
            .binary(binary.clone())
            .detached(home(kind))
    };
    let last = std::fs::read_to_string(&remembered)
        .ok()
        .and_then(|text| text.parse().ok());
    let again = last.and_then(|port| builder().port(port).start_blocking().ok());
    let server = match again {
        Some(server) => server,
        None => builder()
            .start_blocking()
            .with_context(|| format!("{kind} did not start"))?,
    };
    std::fs::write(&remembered, server.port().to_string())
        .with_context(|| format!("cannot write {}", remembered.display()))?;
    Ok(server)
}

fn logs(kinds: impl Iterator<Item = ServerKind>, follow: bool) -> Result<()> {
    let paths: Vec<_> = kinds
        .map(|kind| detached(kind).log_path())
        .filter(|path| path.is_file())
        .collect();
    if paths.is_empty() {
        bail!("no server was started with `cargo xtask servers up`");
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", "200"])
        .args(follow.then_some("-f"))
        .args(paths);
    process::run(&mut tail)
}

fn list() {
    for kind in ServerKind::ALL {
        let state = detached(kind)
            .url()
            .unwrap_or_else(|| "not running".to_owned());
        println!("{:<8} {state}", kind.name());
    }
    println!("\nfetched servers are kept in {}", servers_dir().display());
}

fn chosen(kinds: &[Kind]) -> impl Iterator<Item = ServerKind> {
    let all = kinds.is_empty().then_some(ServerKind::ALL);
    kinds
        .iter()
        .map(|&kind| kind.into())
        .chain(all.into_iter().flatten())
}

fn detached(kind: ServerKind) -> Detached {
    Detached::at(home(kind))
}

/// Where a server for people works.
fn home(kind: ServerKind) -> PathBuf {
    servers_dir().join("run").join(kind.name())
}
