//! How soon a job is begun where little is to be done: one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use quorate::{CancellationToken, Fleet, QueueSpec};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ours::input;
use crate::context::Context;
use crate::floor::Floor;
use crate::latency::receive;
use crate::measure::{Contender, percentile};
use crate::report::{Better, Figure};

const JOBS: QueueSpec<String> = QueueSpec::new("bench-pickup");
const PATIENCE: Duration = Duration::from_secs(10);
const WAITING: &[u8] = b"{bench-bare}:pickup";
const CHANNEL: &str = "{bench-bare}:pushed";

pub(super) async fn measure(context: &Context, name: &str) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let (ours, port) = (fleet.clone(), context.server.port());
    let contenders = vec![
        Contender::custom("quorate", move |_, length| Box::pin(window(ours.clone(), length))),
        Contender::custom("floor", move |_, length| Box::pin(bare(port, length))),
    ];
    let series = context.turns(name, contenders, 1, context.plan).await?;
    fleet.close().await;
    let [mut ours, mut floor] =
        <[_; 2]>::try_from(series).map_err(|_| anyhow::anyhow!("two are measured"))?;
    let mut figures = Vec::new();
    for (share, which) in [(0.5, "p50"), (0.99, "p99")] {
        let of = |windows: &mut [Vec<f64>]| {
            let values = windows.iter_mut().map(|it| percentile(it, share));
            values.collect::<Result<Vec<_>>>()
        };
        let (mine, theirs) = (of(&mut ours.windows)?, of(&mut floor.windows)?);
        let name = format!("{name}.{which}");
        let pair = ("floor", &theirs[..]);
        figures.push(Figure::of_pairs(name, "µs", Better::Less, &mine, pair)?);
    }
    Ok(figures)
}

/// From before the push to the handler, in microseconds.
async fn window(fleet: Fleet, length: Duration) -> Result<Vec<f64>> {
    let (told, mut hears) = mpsc::unbounded_channel();
    let (queue, stop) = (fleet.queue(&JOBS), CancellationToken::new());
    let worker = queue.worker(move |_| {
        let told = told.send(Instant::now());
        async move { Ok(told?) }
    });
    let mut running = JoinSet::new();
    running.spawn(worker.run(stop.clone()));
    let (mut waits, begin, input) = (Vec::new(), Instant::now(), input());
    while begin.elapsed() < length {
        let pushed = Instant::now();
        queue.push(&input).await?;
        let began = tokio::time::timeout(PATIENCE, hears.recv()).await?;
        let began = began.context("the worker runs")?;
        waits.push(began.saturating_duration_since(pushed).as_secs_f64() * 1e6);
        // So that the worker is idle again.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    while let Some(worker) = running.join_next().await {
        worker??;
    }
    Ok(waits)
}

/// A push to a list that is announced, and a listener that takes from the list.
async fn bare(port: u16, length: Duration) -> Result<Vec<f64>> {
    let floor = Floor::connect(("127.0.0.1", port)).await?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let subscribe = format!("SUBSCRIBE {CHANNEL}\r\n");
    stream.write_all(subscribe.as_bytes()).await?;
    let mut reader = BufReader::new(stream);
    receive(&mut reader, CHANNEL).await?;
    let (mut waits, begin, input) = (Vec::new(), Instant::now(), input());
    let push = b"redis.call('RPUSH', KEYS[1], ARGV[2]) return redis.call('PUBLISH', ARGV[1], 'go')";
    while begin.elapsed() < length {
        let pushed = Instant::now();
        let channel = CHANNEL.as_bytes();
        let parts = [b"EVAL", &push[..], b"1", WAITING, channel, input.as_bytes()];
        floor.call(&parts).await?;
        tokio::time::timeout(PATIENCE, receive(&mut reader, "go")).await??;
        floor.call(&[b"LPOP", WAITING, b"10"]).await?;
        waits.push(pushed.elapsed().as_secs_f64() * 1e6);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(waits)
}
