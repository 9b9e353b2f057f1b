//! Publishing through a server, beside the same bytes published by the floor.

use anyhow::{Result, anyhow, ensure};
use quorate::{Fleet, Topic};

use super::{TOPIC, payload};
use crate::capture::{Command, commands_of};
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::{Contender, Load, Window};
use crate::report::{Better, Figure, compare};

const TASKS: [usize; 3] = [1, 64, 512];
const CONTENDERS: usize = 2;
/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.7;

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let cases: Vec<_> = Flavour::ALL
        .into_iter()
        .flat_map(|flavour| TASKS.map(|tasks| (flavour, tasks)))
        .map(|(flavour, tasks)| (flavour, tasks, name_of(flavour, tasks)))
        .filter(|(_, _, name)| context.wants(name))
        .collect();
    context.expect(cases.len(), CONTENDERS);
    let mut figures = Vec::new();
    for (flavour, tasks, name) in cases {
        let measured = flavour.runtime()?.block_on(measure(context, &name, tasks));
        figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
    }
    Ok(figures)
}

/// The multi-thread runtime is what services run on, so its figures have the short names.
fn name_of(flavour: Flavour, tasks: usize) -> String {
    match flavour {
        Flavour::MultiThread => format!("events.publish.tasks{tasks}"),
        Flavour::CurrentThread => format!("events.publish.{}.tasks{tasks}", flavour.name()),
    }
}

async fn measure(context: &Context, name: &str, tasks: usize) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = FleetPublish {
        topic: fleet.topic(&TOPIC),
        payload: payload(),
    };
    let floor = FloorPublish::like(context.server.port(), &ours).await?;
    let contenders = vec![
        Contender::new("quorate", ours),
        Contender::new("floor", floor),
    ];
    let series = context.rounds(name, contenders, tasks, 1).await?;
    let figures = compare(name, "op/s", Better::More, &series, Window::rate)?;
    fleet.close().await;
    Ok(figures)
}

/// Ours: encoded, numbered, in order, confirmed by the server.
#[derive(Clone)]
struct FleetPublish {
    topic: Topic<String>,
    payload: String,
}

impl Load for FleetPublish {
    async fn step(&mut self) -> Result<()> {
        let receipt = self.topic.publish(&self.payload).await?;
        ensure!(receipt.receivers == Some(0), "the server did not count");
        Ok(())
    }
}

/// `PUBLISH` of a message that ours was seen to send.
#[derive(Clone)]
struct FloorPublish {
    floor: Floor,
    command: Command,
}

impl FloorPublish {
    async fn like(port: u16, ours: &FleetPublish) -> Result<Self> {
        let mut ours = ours.clone();
        let sent = commands_of(port, "PUBLISH", async { ours.step().await }).await?;
        let command = sent
            .into_iter()
            .find(|command| command.len() == 3 && command[2].len() > super::PAYLOAD_LENGTH)
            .ok_or_else(|| anyhow!("nothing was published"))?;
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", port)).await?,
            command,
        })
    }
}

impl Load for FloorPublish {
    async fn step(&mut self) -> Result<()> {
        let parts: [&[u8]; 3] = std::array::from_fn(|at| self.command[at].as_slice());
        let reply = self.floor.call(&parts).await?;
        ensure!(*reply == *b":0\r\n", "not published");
        Ok(())
    }
}
