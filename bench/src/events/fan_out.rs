//! One publisher, many subscriptions of the same process, beside a bare broadcast channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use quorate::{Event, Fleet};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{TOPIC, payload};
use crate::context::{Context, Flavour};
use crate::measure::{Contender, Window, cpu_time};
use crate::report::{Better, Figure, compare};

const SUBSCRIPTIONS: [usize; 4] = [1, 10, 100, 1000];
const CONTENDERS: usize = 2;
/// What the ratio to the bare channel ought to be.
const LEAST_OF_BROADCAST: f64 = 0.3;

/// Messages published before the publisher waits until everybody has them: few enough that nobody's
/// buffer overflows, on either side.
const BURST: u32 = 128;
/// What either side may buffer.
const BUFFER: usize = 1024;

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let cases: Vec<_> = SUBSCRIPTIONS
        .map(|count| (count, format!("events.fan_out.subscriptions{count}")))
        .into_iter()
        .filter(|(_, name)| context.wants(name))
        .collect();
    context.expect(cases.len(), CONTENDERS);
    let mut figures = Vec::new();
    for (count, name) in cases {
        let contenders = vec![
            Contender::custom("quorate", |count, length| Box::pin(ours(count, length))),
            Contender::custom("broadcast", |count, length| Box::pin(theirs(count, length))),
        ];
        let rounds = context.rounds(&name, contenders, count, 0);
        let series = Flavour::MultiThread.runtime()?.block_on(rounds)?;
        let compared = compare(&name, "msg/s", Better::More, &series, Window::rate)?;
        figures.extend(
            compared
                .into_iter()
                .map(|it| it.at_least(LEAST_OF_BROADCAST)),
        );
    }
    Ok(figures)
}

/// The subscribers of one window, whoever they subscribed to.
struct Audience {
    tasks: JoinSet<Result<()>>,
    desk: Arc<Desk>,
    count: u32,
}

/// Where subscribers say that they have a whole burst.
struct Desk {
    delivered: AtomicU64,
    done: Semaphore,
}

impl Desk {
    /// Counts one delivery; the last of a burst is announced.
    fn deliver(&self, seen: &mut u32) {
        *seen += 1;
        if *seen == BURST {
            *seen = 0;
            self.delivered
                .fetch_add(u64::from(BURST), Ordering::Relaxed);
            self.done.add_permits(1);
        }
    }
}

impl Audience {
    fn new(count: usize) -> Result<Self> {
        Ok(Self {
            tasks: JoinSet::new(),
            desk: Arc::new(Desk {
                delivered: AtomicU64::new(0),
                done: Semaphore::new(0),
            }),
            count: u32::try_from(count)?,
        })
    }

    /// Waits until everybody has the burst.
    async fn applause(&mut self) -> Result<()> {
        tokio::select! {
            permits = self.desk.done.acquire_many(self.count) => {
                permits?.forget();
                Ok(())
            }
            Some(ended) = self.tasks.join_next() => {
                ended??;
                bail!("a subscription ended")
            }
        }
    }

    /// Publishes burst after burst for `length`.
    async fn perform(
        mut self,
        length: Duration,
        mut publish: impl AsyncFnMut() -> Result<()>,
    ) -> Result<Window> {
        let (begin, cpu) = (Instant::now(), cpu_time());
        while begin.elapsed() < length {
            for _ in 0..BURST {
                publish().await?;
            }
            self.applause().await?;
        }
        Ok(Window {
            operations: self.desk.delivered.load(Ordering::Relaxed),
            elapsed: begin.elapsed(),
            cpu: cpu_time() - cpu,
        })
    }
}

async fn ours(count: usize, length: Duration) -> Result<Window> {
    let fleet = Fleet::embedded();
    let topic = fleet.topic(&TOPIC);
    let mut audience = Audience::new(count)?;
    for _ in 0..count {
        let mut subscription = topic.subscribe().buffer(BUFFER).await?;
        let desk = audience.desk.clone();
        audience.tasks.spawn(async move {
            let mut seen = 0;
            while let Some(event) = subscription.next().await {
                match event {
                    Event::Message(message) => {
                        super::check(&message)?;
                        desk.deliver(&mut seen);
                    }
                    other => bail!("expected a message, got {other:?}"),
                }
            }
            Ok(())
        });
    }
    let payload = payload();
    let window = audience
        .perform(length, async || {
            topic.publish(&payload).await?;
            Ok(())
        })
        .await;
    fleet.close().await;
    window
}

async fn theirs(count: usize, length: Duration) -> Result<Window> {
    let (sender, _) = broadcast::channel::<Arc<str>>(BUFFER);
    let mut audience = Audience::new(count)?;
    for _ in 0..count {
        let mut subscription = sender.subscribe();
        let desk = audience.desk.clone();
        audience.tasks.spawn(async move {
            let mut seen = 0;
            loop {
                super::check(&subscription.recv().await?)?;
                desk.deliver(&mut seen);
            }
        });
    }
    let payload: Arc<str> = payload().into();
    audience
        .perform(length, async || {
            sender.send(payload.clone())?;
            Ok(())
        })
        .await
}
