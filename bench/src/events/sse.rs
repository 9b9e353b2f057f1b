//! From a publish on one instance to the bytes a browser connected to another would get.

use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use quorate::{Fleet, Topic};
use quorate_http::Hub;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TOPIC;
use crate::context::{Context, Flavour};
use crate::latency::{self, Carrier, receive};
use crate::report::Figure;

const NAME: &str = "events.sse";

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    if !latency::is_wanted(context, NAME) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    Flavour::MultiThread.runtime()?.block_on(async {
        let mut ours = Served::start(&context.server.url()).await?;
        let figures = latency::measure(context, NAME, &mut ours, Duration::ZERO).await;
        ours.stop().await;
        figures
    })
}

/// Ours: two instances, one of which serves HTTP.
struct Served {
    publisher: Fleet,
    server: Fleet,
    topic: Topic<String>,
    browser: BufReader<TcpStream>,
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
            _serving: serving,
        })
    }

    async fn stop(self) {
        drop(self.browser);
        self.publisher.close().await;
        self.server.close().await;
    }
}

impl Carrier for Served {
    async fn carry(&mut self, text: &str) -> Result<Instant> {
        let text = text.to_owned();
        let publish = async { Ok(self.topic.publish(&text).await?) };
        let (_, arrived) = tokio::try_join!(publish, receive(&mut self.browser, &text))?;
        Ok(arrived)
    }
}
