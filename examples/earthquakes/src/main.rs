//! `earthquakes`: see the README.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use earthquakes::{Quake, Report, Speed, replay, serve, week};
use indicatif::{ProgressBar, ProgressStyle};
use quorate::{Fleet, Receipt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A week of earthquakes, published on one instance and watched on another.
///
/// Without a command both instances are in this process, and the week is repeated until it is stopped.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the two instances meet: memory:, or the URL of a server, redis://…
    #[arg(long, value_name = "URL", default_value = "memory:")]
    backend: String,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    pace: Pace,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publishes the week, and ends.
    Publish {
        #[command(flatten)]
        backend: Backend,
        #[command(flatten)]
        pace: Pace,
        /// Begin anew after the end, until stopped.
        #[arg(long)]
        repeat: bool,
    },
    /// Serves the page, until stopped.
    Serve {
        #[command(flatten)]
        backend: Backend,
        #[command(flatten)]
        listen: Listen,
    },
}

#[derive(Debug, Args)]
struct Backend {
    /// The server on which the two processes meet: redis://…
    #[arg(long, value_name = "URL")]
    backend: String,
}

#[derive(Debug, Args)]
struct Listen {
    /// Where the page is served. Nobody has to log in: keep it on this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

#[derive(Debug, Args)]
struct Pace {
    /// How much faster than it happened; 3600 is an hour a second.
    #[arg(long, value_name = "FACTOR", default_value = "3600")]
    speed: Speed,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("earthquakes: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, of which many a message has the next in it already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

async fn start(cli: Cli) -> Result<()> {
    let stop = CancellationToken::new();
    let work = async {
        let result = run(cli, &stop).await;
        stop.cancel(); // there is nothing left to listen for
        result
    };
    let signals = async {
        tokio::select! {
            result = asked_to_stop() => {
                stop.cancel();
                result.context("listen for signals")
            }
            () = stop.cancelled() => Ok(()),
        }
    };
    let (worked, listened) = tokio::join!(work, signals);
    worked.and(listened)
}

async fn run(cli: Cli, stop: &CancellationToken) -> Result<()> {
    let quakes = week()?;
    match cli.command {
        None => {
            let listener = listen(cli.listen.listen).await?;
            let page = connect(&cli.backend, "page").await?;
            let seismograph = page.instance("seismograph").await?;
            let shown = async {
                let shown = show(&page, listener, stop).await;
                stop.cancel(); // also when it failed
                shown
            };
            let published = publish(&seismograph, &quakes, cli.pace.speed, true, stop);
            let (shown, ()) = tokio::join!(shown, published);
            seismograph.close().await;
            page.close().await;
            shown
        }
        Some(Command::Publish {
            backend,
            pace,
            repeat,
        }) => {
            let fleet = connect(&shared(backend)?, "seismograph").await?;
            publish(&fleet, &quakes, pace.speed, repeat, stop).await;
            fleet.close().await;
            Ok(())
        }
        Some(Command::Serve {
            backend,
            listen: at,
        }) => {
            let listener = listen(at.listen).await?;
            let fleet = connect(&shared(backend)?, "page").await?;
            let shown = show(&fleet, listener, stop).await;
            fleet.close().await;
            shown
        }
    }
}

/// The home of two processes.
fn shared(backend: Backend) -> Result<String> {
    if backend.backend.starts_with("memory:") {
        bail!(
            "--backend memory: is the home of one process, which no other can join; \
             without a command, both instances are in one"
        );
    }
    Ok(backend.backend)
}

async fn connect(url: &str, service: &str) -> Result<Fleet> {
    let fleet = Fleet::builder().url(url).service(service).build().await?;
    eprintln!("{service}: on {fleet}");
    Ok(fleet)
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

/// Serves the page until asked to stop.
async fn show(fleet: &Fleet, listener: TcpListener, stop: &CancellationToken) -> Result<()> {
    eprintln!("page: open http://{}", listener.local_addr()?);
    serve(fleet.clone(), listener, stop.clone()).await?;
    Ok(())
}

/// Publishes the week, once or until asked to stop.
async fn publish(
    fleet: &Fleet,
    quakes: &[Quake],
    speed: Speed,
    repeat: bool,
    stop: &CancellationToken,
) {
    let publishing = async {
        loop {
            let bar = progress_bar(quakes.len());
            let each = |report: &Report, result| show_progress(&bar, report, result);
            let replayed = replay(fleet, quakes, speed, each).await;
            bar.finish_and_clear();
            eprintln!(
                "seismograph: {} published, {} failed",
                replayed.published, replayed.failed
            );
            if !repeat {
                break;
            }
        }
    };
    tokio::select! {
        () = publishing => {}
        () = stop.cancelled() => {}
    }
}

fn progress_bar(quakes: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30.cyan/blue} {pos}/{len} {wide_msg}")
        .expect("the template is valid");
    ProgressBar::new(quakes as u64).with_style(style)
}

fn show_progress(bar: &ProgressBar, report: &Report, result: quorate::Result<Receipt>) {
    bar.set_position(report.number as u64);
    match result {
        Ok(_) => bar.set_message(format!(
            "{:.1} {}",
            report.quake.magnitude, report.quake.place
        )),
        Err(error) => bar.suspend(|| eprintln!("earthquake {}: {error}", report.number)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let error = anyhow::anyhow!("refused")
            .context("connect: refused")
            .context("start");
        assert_eq!(one_line(&error), "start: connect: refused");
    }
}
