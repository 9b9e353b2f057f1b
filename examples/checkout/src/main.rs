//! `checkout`: see the README.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use checkout::{APPROVED, CHECKOUT, LEASE, Order, Receipt, Shop, register};
use clap::{Args, Parser, Subcommand};
use quorate::{Fleet, RunHandle};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command as Process};
use tokio_util::sync::CancellationToken;

/// How long a run may take before nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(3600);

/// An order that is charged, reserved, approved and shipped, although a process dies in the middle.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Two processes, one of which is killed between two steps, in front of your eyes.
    Demo {
        #[command(flatten)]
        home: Home,
        /// How long each step takes, in milliseconds.
        #[arg(long, default_value_t = 1_000)]
        pace: u64,
    },
    /// Works until stopped.
    Work {
        #[command(flatten)]
        home: Home,
        /// What the process is called in what it prints.
        #[arg(long, default_value = "worker")]
        name: String,
        /// How long each step takes, in milliseconds.
        #[arg(long, default_value_t = 1_000)]
        pace: u64,
    },
    /// Orders something, and waits for it. Orders of the same name are one.
    Order {
        /// The name of the order.
        id: String,
        #[command(flatten)]
        home: Home,
        /// What.
        #[arg(long, default_value = "tea")]
        item: String,
        /// What it costs, in cents; from 10000 on somebody has to approve it.
        #[arg(long, default_value_t = 1_250)]
        cents: u32,
    },
    /// Says yes to an order that waits for that; or no, and what was done is undone.
    Approve {
        /// The name of the order.
        id: String,
        #[command(flatten)]
        home: Home,
        /// Says no.
        #[arg(long)]
        no: bool,
    },
    /// Asks an order to stop; what was done is undone.
    Cancel {
        /// The name of the order.
        id: String,
        #[command(flatten)]
        home: Home,
    },
}

#[derive(Debug, Args)]
struct Home {
    /// The server on which the processes meet: redis://…
    #[arg(long = "home", value_name = "URL")]
    url: String,
}

impl Home {
    /// A home that other processes can join.
    async fn connect(&self) -> Result<Fleet> {
        let url = &self.url;
        ensure!(
            !url.starts_with("memory:") && !url.starts_with("file:"),
            "--home {url} is the home of one process, which no other can join"
        );
        Ok(Fleet::connect(url).await?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("checkout: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo { home, pace } => demo(&home, pace).await,
        Command::Work { home, name, pace } => {
            let fleet = home.connect().await?;
            let shop = Shop::new(name, Duration::from_millis(pace));
            let durable = register(&fleet, shop)?;
            let stop = CancellationToken::new();
            let working = durable.work(stop.clone());
            println!("working");
            let (worked, asked) = tokio::join!(working, stop_when_asked(&stop));
            fleet.close().await;
            worked?;
            asked
        }
        Command::Order {
            id,
            home,
            item,
            cents,
        } => {
            let fleet = home.connect().await?;
            let run = order(&fleet, &id, Order { item, cents }).await?;
            match run.result().timeout(PATIENCE).await? {
                Ok(receipt) => tell(&receipt),
                Err(failure) => bail!("{id}: {failure}"),
            }
            fleet.close().await;
            Ok(())
        }
        Command::Approve { id, home, no } => {
            let fleet = home.connect().await?;
            let run = fleet.durable().build()?.run(&CHECKOUT, &id)?;
            ensure!(
                run.signal(&APPROVED, &!no).await?,
                "{id}: there is no such order under way"
            );
            fleet.close().await;
            Ok(())
        }
        Command::Cancel { id, home } => {
            let fleet = home.connect().await?;
            let run = fleet.durable().build()?.run(&CHECKOUT, &id)?;
            ensure!(
                run.cancel("the customer changed their mind").await?,
                "{id}: there is no such order under way"
            );
            fleet.close().await;
            Ok(())
        }
    }
}

async fn order(fleet: &Fleet, id: &str, order: Order) -> Result<RunHandle<Receipt>> {
    let durable = fleet.durable().build()?;
    let run = durable.start(&CHECKOUT, id, &order).await?;
    let when = if run.is_new() { "now" } else { "before" };
    println!("{id}: ordered {when}");
    Ok(run)
}

fn tell(receipt: &Receipt) {
    println!("receipt: {}, {}", receipt.charge, receipt.parcel);
}

/// A process that works, and what it prints.
struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(name: &str, url: &str, pace: u64) -> Result<Self> {
        let mut child = Process::new(std::env::current_exe()?)
            .args([
                "work",
                "--home",
                url,
                "--name",
                name,
                "--pace",
                &pace.to_string(),
            ])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start a worker")?;
        let lines = child.stdout.take().context("its output is piped")?;
        let lines = BufReader::new(lines).lines();
        Ok(Self { child, lines })
    }

    /// Prints what it prints, until a line ends so.
    async fn until(&mut self, end: &str) -> Result<()> {
        while let Some(line) = self.lines.next_line().await? {
            println!("{line}");
            if line.ends_with(end) {
                return Ok(());
            }
        }
        bail!("a worker ended before it had {end}")
    }
}

async fn demo(home: &Home, pace: u64) -> Result<()> {
    let fleet = home.connect().await?;
    let mut east = Worker::start("east", &home.url, pace)?;
    east.until("working").await?;
    let id = format!("order-{:08x}", std::process::id());
    let wanted = Order {
        item: "a bicycle".to_owned(),
        cents: 4_999,
    };
    let run = order(&fleet, &id, wanted).await?;
    east.until("begins to ship").await?;
    println!("--- east is killed, while it ships: nobody knows whether the parcel is on its way");
    east.child.kill().await.context("kill east")?;
    let mut west = Worker::start("west", &home.url, pace)?;
    println!(
        "--- west takes over when east's lease is over, within {LEASE:?}: what was done is not done again"
    );
    west.until("did mail").await?;
    match run.result().await? {
        Ok(receipt) => tell(&receipt),
        Err(failure) => bail!("{id}: {failure}"),
    }
    if let Some(history) = run.history().await? {
        println!("--- written down of it:");
        for entry in &history.entries {
            println!("{} {}", entry.when.get(), entry.what.get());
        }
    }
    fleet.close().await;
    Ok(())
}

async fn stop_when_asked(stop: &CancellationToken) -> Result<()> {
    let asked = tokio::select! {
        asked = tokio::signal::ctrl_c() => asked.context("listen for signals"),
        () = stop.cancelled() => Ok(()),
    };
    stop.cancel();
    asked
}
