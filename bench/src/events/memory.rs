//! What a subscription weighs, in a process of its own: pages an earlier measurement left behind
//! would hide what this one takes.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use quorate::{Fleet, TopicSpec};
use tokio::sync::broadcast;

use super::TOPIC;
use crate::context::{Context, Flavour};
use crate::machine::{resident, weigh_elsewhere};
use crate::report::{Better, Figure};

/// How many subscriptions are weighed.
const COUNT: u32 = 100_000;
/// As many are made before, so that what exists once is not counted.
const BEFORE: u32 = 1000;
/// What a subscription ought to weigh at most, in bytes.
const AIM: f64 = 1024.0;

/// What is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weighed {
    /// Subscriptions to one topic.
    OneTopic,
    /// Subscriptions to a topic each.
    TopicEach,
    /// Receivers of a bare broadcast channel.
    Broadcast,
}

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (weighed, name) in [
        (Weighed::OneTopic, "events.memory.one_topic"),
        (Weighed::TopicEach, "events.memory.topic_each"),
    ] {
        if !context.wants(name) || context.is_solo() {
            continue;
        }
        context.say(&format!("weighing {COUNT} subscriptions: {name}"));
        let ours = weigh_elsewhere("--weigh", &weighed)?;
        let figure = |reference, theirs: f64| {
            let theirs = (reference, &[theirs][..]);
            Figure::of_pairs(name, "B", Better::Less, &[ours], theirs)
        };
        let aim = figure("aim", AIM)?;
        figures.push(if weighed == Weighed::OneTopic {
            aim.at_least(1.0)
        } else {
            aim
        });
        figures.push(figure(
            "broadcast",
            weigh_elsewhere("--weigh", &Weighed::Broadcast)?,
        )?);
    }
    Ok(figures)
}

/// Bytes of resident memory each of [`COUNT`] takes, measured in this process.
///
/// # Errors
/// If subscribing fails, or the kernel does not tell.
pub(crate) fn weigh(weighed: Weighed) -> Result<f64> {
    Flavour::CurrentThread.runtime()?.block_on(async {
        match weighed {
            Weighed::OneTopic => {
                let fleet = Fleet::embedded();
                let topic = fleet.topic(&TOPIC);
                each(async |_| Ok(topic.subscribe().await?)).await
            }
            Weighed::TopicEach => {
                let fleet = Fleet::embedded();
                each(async |number| {
                    let spec = TopicSpec::<String>::try_new(format!("bench/{number:06}"))?;
                    Ok(fleet.topic(&spec).subscribe().await?)
                })
                .await
            }
            Weighed::Broadcast => {
                let (sender, _) = broadcast::channel::<String>(1024);
                each(async |_| Ok(sender.subscribe())).await
            }
        }
    })
}

async fn each<T>(mut make: impl AsyncFnMut(u32) -> Result<T>) -> Result<f64> {
    let mut kept = Vec::with_capacity(usize::try_from(BEFORE + COUNT)?);
    for number in 0..BEFORE {
        kept.push(make(number).await?);
    }
    let before = resident()?;
    for number in BEFORE..BEFORE + COUNT {
        kept.push(make(number).await?);
    }
    let after = resident()?;
    drop(kept);
    ensure!(after > before, "no memory was taken");
    Ok(f64::from(u32::try_from(after - before)?) / f64::from(COUNT))
}
