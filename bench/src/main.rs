//! How fast Quorate is, beside a hand-written floor and other clients.
//!
//! Started by `cargo xtask bench NAME…`. Never a test: figures depend on the machine.

#![forbid(unsafe_code)]

mod cache;
mod capture;
mod connection;
mod context;
mod durable;
mod events;
mod floor;
mod hub;
mod latency;
mod limit;
mod lock;
mod machine;
mod measure;
mod peers;
mod plot;
mod queue;
mod replay;
mod report;
mod session;
mod store;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::context::{Context, plan};
use crate::report::Figure;

/// Measures capabilities, each beside the best that could be and beside others.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(required_unless_present_any = ["weigh", "weigh_client", "crowd", "ask"], value_enum)]
    names: Vec<Name>,
    /// Shorter windows: within a minute per capability, and noisier.
    #[arg(long)]
    quick: bool,
    /// One line of JSON per figure instead of a table.
    #[arg(long)]
    json: bool,
    /// Only figures whose name contains these parts, such as `publish` or `get.multi_thread`.
    #[arg(long, value_name = "PARTS")]
    only: Option<String>,
    /// Also draws the figures into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Run only this contender (quorate, floor, …), for profilers; gives no figures.
    #[arg(long, value_name = "CONTENDER")]
    solo: Option<String>,
    /// Prints the bytes one subscription takes; how `events` measures in a fresh process.
    #[arg(long, hide = true)]
    weigh: Option<events::Weighed>,
    /// Prints the bytes one client takes; how `hub` measures in a fresh process.
    #[arg(long, hide = true)]
    weigh_client: Option<hub::WeighedClient>,
    /// Is a crowd of clients; how `hub` gets its audience.
    #[arg(long, hide = true)]
    crowd: bool,
    /// Asks for a key with many tasks; how `cache` gets four processes.
    #[arg(long, hide = true)]
    ask: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Reading and keeping entries; what an invalidation costs; a cold key.
    Cache,
    /// GET through one connection.
    Connection,
    /// Steps of durable runs that do nothing.
    Durable,
    /// Publishing, handing out, and what a subscription weighs.
    Events,
    /// WebSocket clients: what they weigh, broadcasts, and coming back.
    Hub,
    /// Deciding about requests, on the server and in the process.
    Limit,
    /// Taking a free lock and giving it back.
    Lock,
    /// Jobs that do nothing, from push to settlement.
    Queue,
    /// Making, reading, using and listing sessions.
    Session,
    /// Reading, writing and counting one entry.
    Store,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(weighed) = arguments.weigh {
        return Ok(writeln!(std::io::stdout(), "{}", events::weigh(weighed)?)?);
    }
    if let Some(weighed) = arguments.weigh_client {
        return Ok(writeln!(std::io::stdout(), "{}", hub::weigh(weighed)?)?);
    }
    if arguments.crowd {
        return hub::attend();
    }
    if let Some(what) = arguments.ask {
        return Ok(writeln!(std::io::stdout(), "{}", cache::ask(&what)?)?);
    }
    let context = Context::start(plan(arguments.quick), arguments.only, arguments.solo)?;
    let mut figures = Vec::new();
    for name in arguments.names {
        let more = match name {
            Name::Cache => cache::run(&context)?,
            Name::Connection => connection::run(&context)?,
            Name::Durable => durable::run(&context)?,
            Name::Events => events::run(&context)?,
            Name::Hub => hub::run(&context)?,
            Name::Limit => limit::run(&context)?,
            Name::Lock => lock::run(&context)?,
            Name::Queue => queue::run(&context)?,
            Name::Session => session::run(&context)?,
            Name::Store => store::run(&context)?,
        };
        figures.extend(more);
    }
    context.finish();
    print(&figures, arguments.json)?;
    match arguments.plot {
        Some(file) => plot::svg(&figures, &file),
        None => Ok(()),
    }
}

fn print(figures: &[Figure], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if !json {
        return Ok(write!(out, "{}", report::table(figures))?);
    }
    for figure in figures {
        writeln!(out, "{}", figure.json()?)?;
    }
    Ok(())
}
