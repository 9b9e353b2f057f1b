//! Topics that keep their messages: appending, beside a bare `XADD` and `PUBLISH`, and reading back,
//! beside a bare `XRANGE`.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use quorate::{Event, Fleet, Topic, TopicSpec};

use super::{check, payload};
use crate::capture::{Command, commands_of};
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::{Contender, Load, Window};
use crate::report::{Better, Figure, compare};

const TASKS: [usize; 3] = [1, 64, 512];
const CONTENDERS: usize = 2;
/// Messages that are kept, by either side.
const KEPT_MESSAGES: u32 = 1_000;
/// Messages of one read.
const PAGE: u32 = 100;

const TOPIC: TopicSpec<String> =
    TopicSpec::new("bench-history").keep(Duration::from_secs(3600), KEPT_MESSAGES, 16 << 20);
/// Where the floor keeps what it adds.
const STREAM: &[u8] = b"bench:stream";
const CHANNEL: &[u8] = b"bench:channel";

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let cases: Vec<_> = ["events.keep", "events.history"]
        .into_iter()
        .flat_map(|what| TASKS.map(|tasks| (what, tasks, format!("{what}.tasks{tasks}"))))
        .filter(|(_, _, name)| context.wants(name))
        .collect();
    context.expect(cases.len(), CONTENDERS);
    let mut figures = Vec::new();
    for (what, tasks, name) in cases {
        let runtime = Flavour::MultiThread.runtime()?;
        figures.extend(match what {
            "events.keep" => runtime.block_on(append(context, &name, tasks)),
            _ => runtime.block_on(read(context, &name, tasks)),
        }?);
    }
    Ok(figures)
}

async fn append(context: &Context, name: &str, tasks: usize) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Append {
        topic: fleet.topic(&TOPIC),
        payload: payload(),
    };
    let floor = Floor::connect(("127.0.0.1", context.server.port())).await?;
    let floor = FloorAppend::like(context.server.port(), floor, &ours).await?;
    let contenders = vec![
        Contender::new("quorate", ours),
        Contender::new("floor", floor),
    ];
    let series = context.rounds(name, contenders, tasks, 1).await?;
    fleet.close().await;
    compare(name, "op/s", Better::More, &series, Window::rate)
}

async fn read(context: &Context, name: &str, tasks: usize) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let mut ours = Append {
        topic: fleet.topic(&TOPIC),
        payload: payload(),
    };
    let floor = Floor::connect(("127.0.0.1", context.server.port())).await?;
    let mut theirs = FloorAppend::like(context.server.port(), floor, &ours).await?;
    for _ in 0..KEPT_MESSAGES {
        ours.step().await?;
        theirs.step().await?;
    }
    let contenders = vec![
        Contender::new("quorate", Read(ours.topic)),
        Contender::new("floor", FloorRead(theirs.floor)),
    ];
    let series = context.rounds(name, contenders, tasks, 1).await?;
    fleet.close().await;
    let rate = |window: &Window| window.rate() * f64::from(PAGE);
    compare(name, "msg/s", Better::More, &series, rate)
}

/// Ours: one script appends, trims and announces.
#[derive(Clone)]
struct Append {
    topic: Topic<String>,
    payload: String,
}

impl Load for Append {
    async fn step(&mut self) -> Result<()> {
        let receipt = self.topic.publish(&self.payload).await?;
        ensure!(receipt.position.is_some(), "it was not kept");
        Ok(())
    }
}

/// `XADD` and `PUBLISH` of a message that ours was seen to keep, in one go.
#[derive(Clone)]
struct FloorAppend {
    floor: Floor,
    message: Vec<u8>,
}

impl FloorAppend {
    async fn like(port: u16, floor: Floor, ours: &Append) -> Result<Self> {
        let mut ours = ours.clone();
        let sent = commands_of(port, "EVALSHA", async { ours.step().await }).await?;
        let mut arguments = sent.into_iter().flat_map(Command::into_iter);
        let message = arguments
            .find(|argument| argument.len() > super::PAYLOAD_LENGTH)
            .ok_or_else(|| anyhow!("nothing was kept"))?;
        Ok(Self { floor, message })
    }
}

impl Load for FloorAppend {
    async fn step(&mut self) -> Result<()> {
        let most = KEPT_MESSAGES.to_string();
        let add: [&[u8]; 8] = [
            b"XADD",
            STREAM,
            b"MAXLEN",
            b"=",
            most.as_bytes(),
            b"*",
            b"m",
            &self.message,
        ];
        let publish: [&[u8]; 3] = [b"PUBLISH", CHANNEL, &self.message];
        // Both are asked for before either is waited for.
        let (added, published) =
            tokio::try_join!(self.floor.call(&add), self.floor.call(&publish))?;
        ensure!(added.starts_with(b"$"), "it was not added");
        ensure!(*published == *b":0\r\n", "it was not published");
        Ok(())
    }
}

/// Ours: the latest page, opened and checked.
#[derive(Clone)]
struct Read(Topic<String>);

impl Load for Read {
    async fn step(&mut self) -> Result<()> {
        let history = self.0.history().latest(PAGE).await?;
        let count = history.events.len();
        ensure!(
            count == usize::try_from(PAGE)?,
            "{count} messages were read"
        );
        for event in &history.events {
            match event {
                Event::Message(message) => check(message)?,
                other => return Err(anyhow!("expected a message, got {other:?}")),
            }
        }
        Ok(())
    }
}

/// As many entries as they come, unread.
#[derive(Clone)]
struct FloorRead(Floor);

impl Load for FloorRead {
    async fn step(&mut self) -> Result<()> {
        let count = PAGE.to_string();
        let reply = self
            .0
            .call(&[b"XREVRANGE", STREAM, b"+", b"-", b"COUNT", count.as_bytes()])
            .await?;
        ensure!(reply.starts_with(b"*100\r\n"), "not a page");
        Ok(())
    }
}
