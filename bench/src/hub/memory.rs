//! What a connected client weighs, in a process of its own: pages an earlier measurement left behind
//! would hide what this one takes. Buffers of the kernel are not counted.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use quorate::Fleet;
use tokio::sync::broadcast;

use super::crowd::{Crowd, Join, Order, Until};
use super::stage::{self, AxumStage, TOPIC};
use crate::context::{Context, Flavour};
use crate::machine::{self, resident};
use crate::report::{Better, Figure};

/// Clients that are there before, so that what exists once is not counted.
const BEFORE: u32 = 1_000;
/// Clients that are weighed.
const COUNT: u32 = 9_000;
/// What a client ought to weigh at most, in bytes.
const AIM: f64 = 8.0 * 1024.0;
/// Messages each client has had before it is weighed as [`WeighedClient::Served`].
const MESSAGES: u32 = 100;
/// Buffers as small as those of the hub.
const SMALL: usize = 4 * 1024;

/// What is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeighedClient {
    /// Of a hub, greeted.
    Idle,
    /// Of a hub, subscribed to the same topic as all others.
    Subscribed,
    /// The same, after it was sent messages.
    Served,
    /// Of a bare axum WebSocket.
    Axum,
    /// Of a bare axum WebSocket with small buffers.
    AxumSmall,
}

/// Ours; who stands beside them is the same for all.
const OURS: [(WeighedClient, &str); 3] = [
    (WeighedClient::Idle, "hub.memory.idle"),
    (WeighedClient::Subscribed, "hub.memory.subscribed"),
    (WeighedClient::Served, "hub.memory.served"),
];
const BESIDE: [(WeighedClient, &str); 2] = [
    (WeighedClient::Axum, "axum"),
    (WeighedClient::AxumSmall, "axum, 4 KiB buffers"),
];

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let wanted: Vec<_> = OURS
        .into_iter()
        .filter(|(_, name)| context.wants(name) && !context.is_solo())
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let weigh = |weighed: WeighedClient| {
        context.say(&format!("weighing {COUNT} clients: {weighed:?}"));
        machine::weigh_elsewhere("--weigh-client", &weighed)
    };
    let mut beside = vec![("aim", AIM)];
    for (weighed, name) in BESIDE {
        beside.push((name, weigh(weighed)?));
    }
    let mut figures = Vec::new();
    for (weighed, name) in wanted {
        let ours = weigh(weighed)?;
        for (reference, theirs) in &beside {
            let theirs = (*reference, &[*theirs][..]);
            let figure = Figure::of_pairs(name, "B", Better::Less, &[ours], theirs)?;
            figures.push(if *reference == "aim" {
                figure.at_least(1.0)
            } else {
                figure
            });
        }
    }
    Ok(figures)
}

/// Bytes of resident memory each of [`COUNT`] clients takes, measured in this process.
///
/// # Errors
/// If a client is refused, or the kernel does not tell.
pub(crate) fn weigh(weighed: WeighedClient) -> Result<f64> {
    machine::allow_many_files()?;
    Flavour::MultiThread.runtime()?.block_on(async {
        let fleet = Fleet::embedded();
        let (sender, _) = broadcast::channel(1);
        let (routes, until) = match weighed {
            WeighedClient::Axum => (AxumStage::routes(&sender, None), Until::Upgraded),
            WeighedClient::AxumSmall => (AxumStage::routes(&sender, Some(SMALL)), Until::Upgraded),
            WeighedClient::Idle => (stage::hub(fleet.clone())?.router(), Until::Greeted),
            WeighedClient::Subscribed | WeighedClient::Served => {
                let until = Until::Subscribed(TOPIC.name().to_owned());
                (stage::hub(fleet.clone())?.router(), until)
            }
        };
        let (_serving, port) = stage::serve(routes)?;
        let mut crowd = Crowd::start(None)?;
        let messages = (weighed == WeighedClient::Served).then_some(MESSAGES);
        let mut join = async |clients: u32| {
            let join = Join {
                port,
                clients: usize::try_from(clients)?,
                until: until.clone(),
                after: Vec::new(),
            };
            crowd.join(join).await?;
            for _ in 0..messages.unwrap_or(0) {
                crowd.order(&Order::Count(vec![1])).await?;
                let payload = "x".repeat(100);
                fleet.topic(&TOPIC).publish(&payload).await?;
                crowd.report().await?;
            }
            // What a connection leaves behind when it has been made is freed by its task, which may not
            // have run yet.
            tokio::time::sleep(Duration::from_millis(500)).await;
            resident()
        };
        let before = join(BEFORE).await?;
        let after = join(COUNT).await?;
        crowd.obey(&Order::Leave).await?;
        crowd.close().await?;
        fleet.close().await;
        ensure!(after > before, "no memory was taken");
        Ok(f64::from(u32::try_from(after - before)?) / f64::from(COUNT))
    })
}
