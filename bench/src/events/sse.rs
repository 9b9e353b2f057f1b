//! From a publish on one instance to the bytes a browser connected to another would get.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use quorate::{Fleet, Topic};
use quorate_http::Hub;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{PAYLOAD_LENGTH, TOPIC};
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::percentile;
use crate::report::{Better, Figure};

const PERCENTILES: [(f64, &str); 2] = [(0.5, "events.sse.p50"), (0.99, "events.sse.p99")];
/// Messages of one round, one after the other; the 99th percentile needs some.
const MESSAGES: u32 = 300;
/// Of the warm-up.
const FIRST_MESSAGES: u32 = 50;

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let wanted = PERCENTILES.map(|(_, name)| context.wants(name));
    if !wanted.contains(&true) || context.is_solo() {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    Flavour::MultiThread.runtime()?.block_on(measure(context))
}

async fn measure(context: &Context) -> Result<Vec<Figure>> {
    let mut ours = Served::start(&context.server.url()).await?;
    let mut floor = Bare::connect(context.server.port()).await?;
    let (mut our_rounds, mut floor_rounds) = (Vec::new(), Vec::new());
    context.tick("events.sse quorate");
    ours.round(FIRST_MESSAGES).await?;
    context.tick("events.sse floor");
    floor.round(FIRST_MESSAGES).await?;
    for _ in 0..context.plan.rounds {
        context.tick("events.sse quorate");
        our_rounds.push(ours.round(MESSAGES).await?);
        context.tick("events.sse floor");
        floor_rounds.push(floor.round(MESSAGES).await?);
    }
    ours.stop().await;
    let figure = |(share, name)| {
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
        .filter(|(_, name)| context.wants(name))
        .map(figure)
        .collect()
}

/// A text that occurs once, as long as every other payload.
fn unique(number: u32) -> String {
    format!("{number:0PAYLOAD_LENGTH$}")
}

/// Reads until `text` has come, and says when that was.
async fn receive(reader: &mut BufReader<TcpStream>, text: &str) -> Result<Instant> {
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

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Ours: two instances, one of which serves HTTP.
struct Served {
    publisher: Fleet,
    server: Fleet,
    topic: Topic<String>,
    browser: BufReader<TcpStream>,
    sent: u32,
    _serving: JoinSet<std::io::Result<()>>,
}

impl Served {
    async fn start(url: &str) -> Result<Self> {
        let server = Fleet::connect(url).await?;
        let publisher = Fleet::connect(url).await?;
        let routes: Router = Hub::builder(server.clone()).open().build()?.router();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });

        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "GET /sse?topic={} HTTP/1.1\r\nHost: {address}\r\n\r\n",
            TOPIC.name()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut browser = BufReader::new(stream);
        // The greeting: from here on every event arrives.
        receive(&mut browser, "subscribed")
            .await
            .context("subscribe over HTTP")?;
        Ok(Self {
            topic: publisher.topic(&TOPIC),
            publisher,
            server,
            browser,
            sent: 0,
            _serving: serving,
        })
    }

    async fn round(&mut self, messages: u32) -> Result<Vec<f64>> {
        let mut latencies = Vec::new();
        for _ in 0..messages {
            self.sent += 1;
            let text = unique(self.sent);
            let begin = Instant::now();
            let publish = async { Ok(self.topic.publish(&text).await?) };
            let (_, arrived) = tokio::try_join!(publish, receive(&mut self.browser, &text))?;
            latencies.push(micros(arrived - begin));
        }
        Ok(latencies)
    }

    async fn stop(self) {
        drop(self.browser);
        self.publisher.close().await;
        self.server.close().await;
    }
}

/// The floor: `PUBLISH` and a bare subscriber, without HTTP.
struct Bare {
    publisher: Floor,
    subscriber: BufReader<TcpStream>,
    sent: u32,
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
            sent: 0,
        })
    }

    async fn round(&mut self, messages: u32) -> Result<Vec<f64>> {
        let mut latencies = Vec::new();
        for _ in 0..messages {
            self.sent += 1;
            let text = unique(self.sent);
            let begin = Instant::now();
            let parts = [b"PUBLISH", CHANNEL.as_bytes(), text.as_bytes()];
            let publish = async { Ok(self.publisher.call(&parts).await?) };
            let (_, arrived) = tokio::try_join!(publish, receive(&mut self.subscriber, &text))?;
            latencies.push(micros(arrived - begin));
        }
        Ok(latencies)
    }
}
