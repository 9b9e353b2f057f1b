//! From a publish on one instance to the bytes a browser connected to another gets, message by message,
//! beside a bare `PUBLISH` and its subscriber.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::context::Context;
use crate::floor::Floor;
use crate::measure::percentile;
use crate::report::{Better, Figure};

const PERCENTILES: [(f64, &str); 2] = [(0.5, "p50"), (0.99, "p99")];
/// Messages of one round, one after the other; the 99th percentile needs some.
const MESSAGES: u32 = 300;
/// Of the warm-up.
const FIRST_MESSAGES: u32 = 50;
/// Bytes of a message.
const LENGTH: usize = 100;

/// Somebody who carries messages.
pub(crate) trait Carrier {
    /// Publishes `text`, and returns when it was received, however long the publisher's own
    /// confirmation takes.
    ///
    /// # Errors
    /// If it is not published, or not received.
    fn carry(&mut self, text: &str) -> impl Future<Output = Result<Instant>>;
}

/// Whether any of the figures of this name is asked for.
#[must_use]
pub(crate) fn is_wanted(context: &Context, name: &str) -> bool {
    let mut names = PERCENTILES
        .into_iter()
        .map(|(_, which)| format!("{name}.{which}"));
    !context.is_solo() && names.any(|name| context.wants(&name))
}

/// Measures `ours` and the floor by turns, with `pause` before each message.
///
/// # Errors
/// If a message is lost.
pub(crate) async fn measure(
    context: &Context,
    name: &str,
    ours: &mut impl Carrier,
    pause: Duration,
) -> Result<Vec<Figure>> {
    let mut floor = Bare::connect(context.server.port()).await?;
    let mut sent = 0;
    context.tick(&format!("{name} quorate"));
    round(ours, FIRST_MESSAGES, pause, &mut sent).await?;
    context.tick(&format!("{name} floor"));
    round(&mut floor, FIRST_MESSAGES, pause, &mut sent).await?;
    let (mut our_rounds, mut floor_rounds) = (Vec::new(), Vec::new());
    for _ in 0..context.plan.rounds {
        context.tick(&format!("{name} quorate"));
        our_rounds.push(round(ours, MESSAGES, pause, &mut sent).await?);
        context.tick(&format!("{name} floor"));
        floor_rounds.push(round(&mut floor, MESSAGES, pause, &mut sent).await?);
    }
    let figure = |(share, name): (f64, String)| {
        let of = |rounds: &mut [Vec<f64>]| {
            let values = rounds.iter_mut().map(|round| percentile(round, share));
            values.collect::<Result<Vec<_>>>()
        };
        let ours = of(&mut our_rounds)?;
        let theirs = of(&mut floor_rounds)?;
        Figure::of_pairs(name, "µs", Better::Less, &ours, ("floor", &theirs))
    };
    PERCENTILES
        .into_iter()
        .map(|(share, which)| (share, format!("{name}.{which}")))
        .filter(|(_, name)| context.wants(name))
        .map(figure)
        .collect()
}

/// Carries texts that occur once each, and returns how many microseconds each took.
async fn round(
    carrier: &mut impl Carrier,
    messages: u32,
    pause: Duration,
    sent: &mut u32,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for _ in 0..messages {
        *sent += 1;
        let text = format!("{sent:0LENGTH$}");
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let begin = Instant::now();
        let arrived = carrier.carry(&text).await?;
        latencies.push((arrived - begin).as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

/// Reads lines until `text` has come, and says when that was.
///
/// # Errors
/// If the connection ends.
pub(crate) async fn receive(reader: &mut BufReader<TcpStream>, text: &str) -> Result<Instant> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).await?;
        ensure!(length > 0, "the connection ended before the message came");
        if line.windows(text.len()).any(|part| part == text.as_bytes()) {
            return Ok(Instant::now());
        }
    }
}

/// The floor: `PUBLISH` and a bare subscriber, without HTTP.
struct Bare {
    publisher: Floor,
    subscriber: BufReader<TcpStream>,
}

const CHANNEL: &str = "bench:bare";

impl Bare {
    async fn connect(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        stream
            .write_all(format!("SUBSCRIBE {CHANNEL}\r\n").as_bytes())
            .await?;
        let mut subscriber = BufReader::new(stream);
        receive(&mut subscriber, CHANNEL)
            .await
            .context("subscribe")?;
        Ok(Self {
            publisher: Floor::connect(("127.0.0.1", port)).await?,
            subscriber,
        })
    }
}

impl Carrier for Bare {
    async fn carry(&mut self, text: &str) -> Result<Instant> {
        let parts = [b"PUBLISH", CHANNEL.as_bytes(), text.as_bytes()];
        let publish = async { Ok(self.publisher.call(&parts).await?) };
        let (_, arrived) = tokio::try_join!(publish, receive(&mut self.subscriber, text))?;
        Ok(arrived)
    }
}
