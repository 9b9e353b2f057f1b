//! A lock of three servers: taking it and giving it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use quorate::{Acquire, Fleet, Lock, QuorumLocks};
use quorate_testing::servers::{Server, ServerKind};

use super::{FloorLock, LEAST_OF_FLOOR, name_of};
use crate::capture::{Command, commands_of};
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::{Contender, Load, Window};
use crate::replay::slices;
use crate::report::{Better, Figure, compare};

const TASKS: [usize; 2] = [1, 64];
/// What reaches each server for one round: the vote, the token, and the vote back.
const STEPS: usize = 3;
/// What stands before the lease in each: the verb, the hash, how many keys, the key.
const BEFORE_LEASE: usize = 4;
/// Where the token stands in the second.
const TOKEN: usize = 6;
/// The floor's locks are others: tokens of the two would get in each other's way.
const FLOORS: usize = 500_000;

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for flavour in Flavour::ALL {
        for tasks in TASKS {
            let name = format!("lock.quorum.{}.tasks{tasks}", flavour.name());
            if !context.wants(&name) {
                continue;
            }
            context.expect(1, 2);
            let others = [start(context)?, start(context)?];
            let measured = flavour
                .runtime()?
                .block_on(measure(context, &others, &name, tasks));
            figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
        }
    }
    Ok(figures)
}

/// One more server, on the core of the first.
fn start(context: &Context) -> Result<Server> {
    let start = || Server::builder(ServerKind::Redis).start_blocking();
    let server = match context.cores() {
        Some(cores) => {
            let (server, pinned) = cores.place(start);
            pinned.map_err(anyhow::Error::msg)?;
            server
        }
        None => start(),
    };
    server.context("start a server")
}

async fn measure(
    context: &Context,
    others: &[Server; 2],
    name: &str,
    tasks: usize,
) -> Result<Vec<Figure>> {
    let [second, third] = others;
    let servers = [&context.server, second, third];
    let mut fleets = Vec::new();
    for server in servers {
        fleets.push(Fleet::connect(&server.url()).await?);
    }
    let quorum = QuorumLocks::over(fleets.clone())?.trust_new_servers();
    let ours = Ours::new(&quorum, 0);
    let floor = FloorQuorum::like(servers.map(Server::port), &ours).await?;
    let contenders = vec![
        Contender::new("quorate", ours),
        Contender::new("floor", floor),
    ];
    // On the first server; the others see as many.
    let commands = u64::try_from(STEPS)?;
    let series = context.rounds(name, contenders, tasks, commands).await?;
    for fleet in fleets {
        fleet.close().await;
    }
    compare(name, "op/s", Better::More, &series, Window::rate)
}

/// With every default, but for the servers, which are as new as this run.
#[derive(Clone)]
struct Ours {
    quorum: QuorumLocks,
    lock: Lock,
}

impl Ours {
    fn new(quorum: &QuorumLocks, task: usize) -> Self {
        Self {
            quorum: quorum.clone(),
            lock: quorum.lock(&name_of(task)),
        }
    }
}

impl Load for Ours {
    async fn step(&mut self) -> Result<()> {
        match self.lock.acquire().await? {
            Acquire::Acquired(guard) => {
                ensure!(guard.release().await?, "the lock was lost");
                Ok(())
            }
            _ => bail!("a lock of one task was held by another"),
        }
    }

    fn for_task(&self, task: usize) -> Self {
        Self::new(&self.quorum, task)
    }
}

/// The same three scripts on each of three servers at once, and an answer of all of them awaited.
#[derive(Clone)]
struct FloorQuorum {
    floors: [Floor; 3],
    steps: [Command; STEPS],
    /// Distinguishes leases, and makes tokens grow.
    leases: Arc<AtomicU64>,
    token: u64,
}

impl FloorQuorum {
    /// Sends what `ours` was seen to send.
    async fn like([first, second, third]: [u16; 3], ours: &Ours) -> Result<Self> {
        let mut ours = ours.clone();
        // The first time the scripts are sent in full.
        ours.step().await?;
        let twice = async {
            ours.step().await?;
            // What is under way of a round when it is decided has arrived before the next.
            ours.step().await
        };
        let sent = commands_of(first, "EVALSHA", twice).await?;
        let lease = sent
            .first()
            .and_then(|command| command.get(BEFORE_LEASE))
            .context("nothing was sent")?;
        let of_one = sent.iter().filter(|it| it.get(BEFORE_LEASE) == Some(lease));
        let steps: Vec<_> = of_one.cloned().collect();
        let steps = <[Command; STEPS]>::try_from(steps)
            .map_err(|sent| anyhow::anyhow!("a server got {} scripts, not {STEPS}", sent.len()))?;
        let token = steps[1].get(TOKEN).context("no token was written")?;
        let token: u64 = std::str::from_utf8(token)?.parse()?;
        let connect = |port| Floor::connect(("127.0.0.1", port));
        Ok(Self {
            floors: [
                connect(first).await?,
                connect(second).await?,
                connect(third).await?,
            ],
            steps,
            leases: Arc::default(),
            token,
        })
    }

    async fn everywhere(&self, step: &Command) -> Result<[Bytes; 3]> {
        let parts = slices(step);
        let [first, second, third] = &self.floors;
        let (first, second, third) =
            tokio::try_join!(first.call(&parts), second.call(&parts), third.call(&parts))?;
        Ok([first, second, third])
    }
}

impl Load for FloorQuorum {
    async fn step(&mut self) -> Result<()> {
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        for step in &mut self.steps {
            step[BEFORE_LEASE] = format!("{number:032x}").into_bytes();
        }
        self.steps[1][TOKEN] = (self.token + number).to_string().into_bytes();
        let [vote, record, withdraw] = &self.steps;
        let votes = self.everywhere(vote).await?;
        let is_given = |vote: &Bytes| vote.windows(5).any(|it| it == b"given");
        ensure!(votes.iter().all(is_given), "a vote was not given");
        for step in [record, withdraw] {
            let done = self.everywhere(step).await?;
            ensure!(
                done.iter().all(|reply| **reply == *b":1\r\n"),
                "it was not done"
            );
        }
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        let rename = |step: &Command| FloorLock::rename(step, FLOORS + task);
        Self {
            steps: [0, 1, 2].map(|step| rename(&self.steps[step])),
            ..self.clone()
        }
    }
}
