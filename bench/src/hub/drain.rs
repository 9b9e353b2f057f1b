//! An instance is drained: everybody comes back to another one and goes on where they were. Meanwhile
//! somebody there waits for messages.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use quorate::{Fleet, TopicSpec};
use quorate_http::Hub;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::crowd::{Crowd, Join, Order, Until};
use super::probe::Probe;
use super::stage::{self, KEPT};
use crate::context::{Context, Flavour};
use crate::report::{Better, Figure};

const CLIENTS: usize = 10_000;
/// The hub's own.
const SPREAD: Duration = Duration::from_secs(5);
/// What a message ought to take at worst.
const AIM: Duration = Duration::from_secs(1);
/// Between messages to the one who waits.
const BEAT: Duration = Duration::from_millis(2);
/// Between messages that everybody has to get, however late.
const NEWS: Duration = Duration::from_millis(500);
/// For how long it is quiet before.
const QUIET: Duration = Duration::from_secs(2);

const WORST: &str = "hub.drain.worst";
const BACK: &str = "hub.drain.back";

/// What the one who waits is subscribed to.
const PROBED: TopicSpec<String> = TopicSpec::new("bench-probe");

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let wanted = [WORST, BACK].map(|name| context.wants(name));
    if !wanted.contains(&true) || context.is_solo() {
        return Ok(Vec::new());
    }
    let mut rounds = Vec::new();
    // What counts is the worst.
    let times = context.plan.gatherings;
    for number in 1..=times {
        context.say(&format!("draining {CLIENTS} clients, {number} of {times}"));
        // A runtime of its own: what the drained instance leaves behind ends with it.
        rounds.push(Flavour::MultiThread.runtime()?.block_on(round(context))?);
    }
    let worst = |of: fn(&Round) -> Duration| {
        let worst = rounds.iter().map(of).max();
        worst.map_or(0.0, |worst| worst.as_secs_f64() * 1e3)
    };
    let figure = |name, ours: f64, reference, theirs: f64| {
        Figure::of_pairs(name, "ms", Better::Less, &[ours], (reference, &[theirs]))
    };
    let during = worst(|round| round.worst);
    let back = worst(|round| round.back);
    Ok(vec![
        figure(WORST, during, "aim", AIM.as_secs_f64() * 1e3)?.at_least(1.0),
        figure(WORST, during, "quiet", worst(|round| round.quiet))?,
        figure(BACK, back, "told", worst(|round| round.told))?,
    ])
}

/// What happened in one round.
struct Round {
    /// The worst latency before.
    quiet: Duration,
    /// The worst latency until everybody was back.
    worst: Duration,
    /// How long that took.
    back: Duration,
    /// The longest that anybody was told to stay away.
    told: Duration,
}

/// An instance with a hub.
struct Instance {
    fleet: Fleet,
    hub: Hub,
    port: u16,
    _serving: JoinSet<()>,
}

impl Instance {
    async fn start(url: &str) -> Result<Self> {
        let fleet = Fleet::connect(url).await?;
        let hub = stage::builder(fleet.clone())?
            .reconnect_spread(SPREAD)
            .build()?;
        let (serving, port) = stage::serve(hub.router())?;
        Ok(Self {
            fleet,
            hub,
            port,
            _serving: serving,
        })
    }
}

async fn round(context: &Context) -> Result<Round> {
    let url = context.server.url();
    let left = Instance::start(&url).await?;
    let reached = Instance::start(&url).await?;
    let publisher = Fleet::connect(&url).await?;
    let mut crowd = Crowd::start(context.cores())?;
    let join = Join {
        port: left.port,
        clients: CLIENTS,
        until: Until::Subscribed(KEPT.name().to_owned()),
        after: Vec::new(),
    };
    let before = crowd.join(join).await?.before;
    crowd.obey(&Order::Follow(reached.port)).await?;
    let mut watch = Watch {
        probe: Probe::subscribe(reached.port, PROBED.name()).await?,
        publisher: publisher.clone(),
        sent: 0,
        worst: Duration::ZERO,
        news: 0,
    };
    let quiet = async {
        tokio::time::sleep(QUIET).await;
        Ok(())
    };
    watch.during(quiet).await?;
    let (quiet, quiet_news) = (std::mem::take(&mut watch.worst), watch.news);
    ensure!(quiet_news > 0, "nobody was told anything");

    let begin = Instant::now();
    let back = async {
        crowd.order(&Order::Return).await?;
        let back = async { Ok((crowd.report().await?, begin.elapsed())) };
        let drain = async {
            left.hub.drain().await;
            Ok(())
        };
        tokio::try_join!(back, drain)
    };
    let ((returned, back), ()) = watch.during(back).await?;
    // Everybody has everything that was published meanwhile, once, and in order.
    let order = Order::Count(vec![watch.news]);
    let after = tokio::time::timeout(Duration::from_secs(30), crowd.obey(&order)).await;
    let after = after.context("not everybody got everything")??.totals;
    let sent_away = usize::try_from(after.sent_away - before.sent_away)?;
    ensure!(
        (sent_away, after.gaps) == (CLIENTS, 0),
        "{sent_away} clients were sent away, and told of {} gaps",
        after.gaps
    );
    crowd.obey(&Order::Leave).await?;
    crowd.close().await?;
    for fleet in [left.fleet, reached.fleet, publisher] {
        fleet.close().await;
    }
    Ok(Round {
        quiet,
        worst: watch.worst,
        back,
        told: Duration::from_millis(returned.totals.longest_away),
    })
}

/// The one who waits.
struct Watch {
    probe: Probe,
    publisher: Fleet,
    sent: u32,
    worst: Duration,
    /// Messages that everybody has to get.
    news: u32,
}

impl Watch {
    /// Publishes and waits, again and again, until `end`.
    async fn during<T>(&mut self, end: impl Future<Output = Result<T>>) -> Result<T> {
        let mut end = std::pin::pin!(end);
        let (mut beat, mut news) = (interval(BEAT), interval(NEWS));
        loop {
            tokio::select! {
                done = &mut end => return done,
                _ = beat.tick() => {}
                _ = news.tick() => {
                    self.news += 1;
                    let text = format!("{:0100}", self.news);
                    self.publisher.topic(&KEPT).publish(&text).await?;
                    continue;
                }
            }
            self.sent += 1;
            let text = format!("{:0100}", self.sent);
            let begin = Instant::now();
            let probe = async {
                self.publisher.topic(&PROBED).publish(&text).await?;
                self.probe.hear(&text).await
            };
            let heard = tokio::time::timeout(Duration::from_secs(30), probe).await;
            heard.context("a message was lost")??;
            self.worst = self.worst.max(begin.elapsed());
        }
    }
}
