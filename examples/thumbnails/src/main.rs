//! `thumbnails`: see the README.

use std::path::{self, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use quorate::Fleet;
use quorate::queue::GroupView;
use thumbnails::{CONTACT_SHEET, Folder, SIZES, Workers, draw, follow, order, work};
use tokio_util::sync::CancellationToken;

/// A folder of images made small by any number of workers, and a contact sheet when all are there.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draws images to try it with.
    Draw {
        /// Where they are put.
        folder: PathBuf,
        /// How many.
        #[arg(long, default_value_t = 24)]
        count: u32,
    },
    /// Works until stopped.
    Work {
        /// The server on which the processes meet: redis://…
        #[arg(long, value_name = "URL")]
        home: String,
        #[command(flatten)]
        how: How,
    },
    /// Orders that a folder is made small, and waits for it.
    Order {
        #[command(flatten)]
        what: What,
        /// The server on which the processes meet: redis://…
        #[arg(long, value_name = "URL")]
        home: String,
    },
    /// Orders and works, in one process.
    Run {
        #[command(flatten)]
        what: What,
        /// memory:, file:path to go on after a crash, or a server
        #[arg(long, value_name = "URL", default_value = "memory:")]
        home: String,
        #[command(flatten)]
        how: How,
    },
}

#[derive(Debug, Args)]
struct What {
    /// Where the images are.
    from: PathBuf,
    /// Where the thumbnails are put.
    to: PathBuf,
    /// The name of the order; orders of the same name are one. Without it, the two folders are its name.
    #[arg(long)]
    order: Option<String>,
}

#[derive(Debug, Args)]
struct How {
    /// How many images at a time.
    #[arg(long, default_value_t = 2)]
    concurrency: usize,
    /// A pause after each thumbnail, to watch it.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    rest: Duration,
}

impl How {
    const fn workers(&self) -> Workers {
        Workers {
            concurrency: self.concurrency,
            rest: self.rest,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thumbnails: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, of which many a message has the next in it already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Draw { folder, count } => {
            draw(&folder, count).with_context(|| format!("draw into {}", folder.display()))?;
            println!("{count} images in {}", folder.display());
            Ok(())
        }
        Command::Work { home, how } => {
            let fleet = shared(&home).await?;
            let stop = CancellationToken::new();
            println!("working on {fleet}");
            let (worked, asked) = tokio::join!(
                work(&fleet, how.workers(), stop.clone()),
                stop_when_asked(&stop)
            );
            fleet.close().await;
            worked?;
            asked
        }
        Command::Order { what, home } => {
            let fleet = shared(&home).await?;
            let done = make(&fleet, &what).await;
            fleet.close().await;
            done
        }
        Command::Run { what, home, how } => {
            let fleet = Fleet::connect(&home).await?;
            let stop = CancellationToken::new();
            let worked = async {
                let worked = work(&fleet, how.workers(), stop.clone()).await;
                stop.cancel(); // nobody works any more
                worked
            };
            let made = async {
                let made = tokio::select! {
                    made = make(&fleet, &what) => made,
                    asked = stop_when_asked(&stop) => asked.and_then(|()| bail!("stopped; the same command goes on")),
                };
                stop.cancel();
                made
            };
            let (worked, made) = tokio::join!(worked, made);
            fleet.close().await;
            worked?;
            made
        }
    }
}

/// A home that other processes can join.
async fn shared(home: &str) -> Result<Fleet> {
    ensure!(
        !home.starts_with("memory:") && !home.starts_with("file:"),
        "--home {home} is the home of one process, which no other can join: `thumbnails run` orders and works in one"
    );
    Ok(Fleet::connect(home).await?)
}

/// Orders, waits, and says what became of it.
async fn make(fleet: &Fleet, what: &What) -> Result<()> {
    ensure!(
        what.from.is_dir(),
        "{}: there is no such folder",
        what.from.display()
    );
    // A worker may have been started elsewhere.
    let folder = Folder {
        from: path::absolute(&what.from)?,
        to: path::absolute(&what.to)?,
    };
    let folders = || format!("{} to {}", folder.from.display(), folder.to.display());
    let name = what.order.clone().unwrap_or_else(folders);
    let ordered = order(fleet, &folder, &name).await?;
    let group = ordered.group;
    if ordered.is_new {
        println!("ordered: group {}", group.id());
    } else {
        println!(
            "ordered before: group {} (--order NAME for another)",
            group.id()
        );
    }
    let over = follow(&group, |view| {
        println!("{} done, {} to do", view.succeeded, view.open);
    });
    tell(&over.await?, &folder)
}

fn tell(over: &GroupView, folder: &Folder) -> Result<()> {
    ensure!(
        over.dead == 0 && over.cancelled == 0,
        "{} jobs failed for good, and {} were cancelled; `quorate queue list images --place dead`, or of folders, says why",
        over.dead,
        over.cancelled
    );
    let bytes = over.values_as::<u64>()?;
    println!(
        "{} images, {} thumbnails, {} KiB; see {}",
        bytes.len(),
        bytes.len() * SIZES.len(),
        bytes.iter().sum::<u64>().div_ceil(1024),
        folder.to.join(CONTACT_SHEET).display()
    );
    Ok(())
}

async fn stop_when_asked(stop: &CancellationToken) -> Result<()> {
    let asked = tokio::select! {
        asked = asked_to_stop() => asked.context("listen for signals"),
        () = stop.cancelled() => Ok(()),
    };
    stop.cancel();
    asked
}

#[cfg(unix)]
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
