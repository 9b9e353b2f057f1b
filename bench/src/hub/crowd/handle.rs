//! What gives a crowd its orders.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::order::{Join, Order, Report};
use crate::machine::Cores;

/// The argument that makes this program a crowd.
pub(crate) const ARGUMENT: &str = "--crowd";

/// How long an order may take: several times what the longest does on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A crowd in a process of its own. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    process: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Crowd {
    /// A crowd without clients, on the server's core if there are two.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub(crate) fn start(cores: Option<Cores>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut start = || command.spawn();
        let (process, pinned) = match cores {
            Some(cores) => cores.place(start),
            None => (start(), Ok(())),
        };
        pinned.map_err(anyhow::Error::msg)?;
        let mut process = process.context("start another process of this program")?;
        let orders = process.stdin.take().context("its input is ours")?;
        let reports = process.stdout.take().context("its output is ours")?;
        Ok(Self {
            process,
            orders,
            reports: BufReader::new(reports),
        })
    }

    /// Gives an order without waiting for the report, which [`report`](Self::report) does.
    ///
    /// # Errors
    /// If the crowd is gone.
    pub(crate) async fn order(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let sent = self.orders.write_all(&line).await;
        sent.context("the crowd is gone; what it said stands above")
    }

    /// Waits until the order is done.
    ///
    /// # Errors
    /// If the crowd is gone, or waits in vain.
    pub(crate) async fn report(&mut self) -> Result<Report> {
        let mut line = String::new();
        let length = tokio::time::timeout(PATIENCE, self.reports.read_line(&mut line))
            .await
            .with_context(|| format!("the crowd waits for something since {PATIENCE:?}"))??;
        ensure!(length > 0, "the crowd is gone; what it said stands above");
        Ok(serde_json::from_str(&line)?)
    }

    /// Gives an order, and waits until it is done.
    ///
    /// # Errors
    /// If the crowd is gone.
    pub(crate) async fn obey(&mut self, order: &Order) -> Result<Report> {
        self.order(order).await?;
        self.report().await
    }

    /// Lets clients in.
    ///
    /// # Errors
    /// If the crowd is gone.
    pub(crate) async fn join(&mut self, join: Join) -> Result<Report> {
        self.obey(&Order::Join(join)).await
    }

    /// Ends the process.
    ///
    /// # Errors
    /// If it has failed.
    pub(crate) async fn close(self) -> Result<()> {
        let Self {
            mut process,
            orders,
            ..
        } = self;
        // No more orders: the process ends by itself.
        drop(orders);
        let status = process.wait().await?;
        ensure!(status.success(), "the crowd failed: {status}");
        Ok(())
    }
}
