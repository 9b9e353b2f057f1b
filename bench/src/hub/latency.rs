//! From a publish on one instance to the frame at a client of another.

use std::time::Duration;

use anyhow::Result;
use quorate::{Fleet, Topic};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::probe::Probe;
use super::stage::{self, TOPIC};
use crate::context::{Context, Flavour};
use crate::latency::{self, Carrier};
use crate::report::Figure;

const NAME: &str = "hub.latency";
/// Between messages: a moderate rate, at which nothing is awake already.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    if !latency::is_wanted(context, NAME) {
        return Ok(Vec::new());
    }
    context.expect(1, 2);
    Flavour::MultiThread.runtime()?.block_on(async {
        let mut ours = Served::start(&context.server.url()).await?;
        let figures = latency::measure(context, NAME, &mut ours, PAUSE).await;
        ours.stop().await;
        figures
    })
}

/// Two instances, one of which has the client.
struct Served {
    publisher: Fleet,
    server: Fleet,
    topic: Topic<String>,
    browser: Probe,
    _serving: JoinSet<()>,
}

impl Served {
    async fn start(url: &str) -> Result<Self> {
        let server = Fleet::connect(url).await?;
        let publisher = Fleet::connect(url).await?;
        let (serving, port) = stage::serve(stage::hub(server.clone())?.router())?;
        Ok(Self {
            topic: publisher.topic(&TOPIC),
            publisher,
            server,
            browser: Probe::subscribe(port, TOPIC.name()).await?,
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
        let publish = async {
            self.topic.publish(&text).await?;
            Ok(())
        };
        let receive = async {
            self.browser.hear(&text).await?;
            anyhow::Ok(Instant::now())
        };
        let ((), arrived) = tokio::try_join!(publish, receive)?;
        Ok(arrived)
    }
}
