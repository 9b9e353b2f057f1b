//! `lock`: taking a free lock and giving it back, on one server or a quorum of three, and handing one over among many who want it.

mod handoff;
mod quorum;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail, ensure};
use quorate::{Acquire, Fleet, Lock};

use crate::capture::{Command, commands_of};
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::{Contender, Load, Window};
use crate::replay::slices;
use crate::report::{Better, Figure, compare};

const TASKS: [usize; 3] = [1, 64, 512];
const CONTENDERS: usize = 2;
/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.8;

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let cases: Vec<_> = Flavour::ALL
        .into_iter()
        .flat_map(|flavour| TASKS.map(|tasks| (flavour, tasks)))
        .map(|(flavour, tasks)| {
            let name = format!("lock.acquire_release.{}.tasks{tasks}", flavour.name());
            (flavour, tasks, name)
        })
        .filter(|(_, _, name)| context.wants(name))
        .collect();
    context.expect(cases.len(), CONTENDERS);
    let mut figures = Vec::new();
    for (flavour, tasks, name) in cases {
        let measured = flavour.runtime()?.block_on(measure(context, &name, tasks));
        figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
    }
    figures.extend(handoff::run(context)?);
    figures.extend(quorum::run(context)?);
    Ok(figures)
}

async fn measure(context: &Context, name: &str, tasks: usize) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = FleetLock::new(&fleet, 0);
    let floor = FloorLock::like(context.server.port(), &ours).await?;
    let contenders = vec![
        Contender::new("quorate", ours),
        Contender::new("floor", floor),
    ];
    // The two scripts; what they do inside is counted by some servers and not by others.
    let series = context.rounds(name, contenders, tasks, 2).await?;
    let figures = compare(name, "op/s", Better::More, &series, Window::rate)?;
    fleet.close().await;
    Ok(figures)
}

/// The name of a task's lock. All are equally long, so that one can stand for another.
fn name_of(task: usize) -> String {
    format!("bench-{task:06}")
}

/// Ours, with every default: renewal, fencing token, announced release.
#[derive(Clone)]
struct FleetLock {
    fleet: Fleet,
    lock: Lock,
}

impl FleetLock {
    fn new(fleet: &Fleet, task: usize) -> Self {
        Self {
            fleet: fleet.clone(),
            lock: fleet.lock(&name_of(task)),
        }
    }
}

impl Load for FleetLock {
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
        Self::new(&self.fleet, task)
    }
}

/// The same two scripts with arguments of the same lengths, and nothing around them.
#[derive(Clone)]
struct FloorLock {
    floor: Floor,
    acquire: Command,
    release: Command,
    /// Where a lease stands in both.
    place: usize,
    /// Distinguishes leases.
    leases: Arc<AtomicU64>,
}

/// What stands before a lease in both commands, beside the keys: the verb, the hash, and how many keys there are.
const BEFORE_KEYS: usize = 3;

impl FloorLock {
    /// Sends what `ours` was seen to send.
    async fn like(port: u16, ours: &FleetLock) -> Result<Self> {
        let mut ours = ours.clone();
        // The first time the scripts are sent in full.
        ours.step().await?;
        let sent = commands_of(port, "EVALSHA", async { ours.step().await }).await?;
        let [acquire, release] = <[Command; 2]>::try_from(sent)
            .map_err(|sent| anyhow::anyhow!("one round sent {} scripts, not 2", sent.len()))?;
        let keys: usize = std::str::from_utf8(&acquire[BEFORE_KEYS - 1])?.parse()?;
        let place = BEFORE_KEYS + keys;
        let is_lease = acquire.get(place).is_some_and(|it| it.len() == 32);
        ensure!(
            is_lease && acquire.get(place) == release.get(place),
            "the leases differ"
        );
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", port)).await?,
            acquire,
            release,
            place,
            leases: Arc::default(),
        })
    }

    /// Puts another name in the place of the captured one, wherever it stands.
    fn rename(command: &Command, task: usize) -> Command {
        let (old, new) = (name_of(0), name_of(task));
        let renamed = command.iter().map(|part| {
            let mut part = part.clone();
            let found = part.windows(old.len()).position(|it| it == old.as_bytes());
            if let Some(at) = found {
                part[at..at + new.len()].copy_from_slice(new.as_bytes());
            }
            part
        });
        renamed.collect()
    }
}

impl Load for FloorLock {
    async fn step(&mut self) -> Result<()> {
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        let lease = format!("{number:016x}");
        for command in [&mut self.acquire, &mut self.release] {
            let place = &mut command[self.place];
            let from = place.len() - lease.len();
            place[from..].copy_from_slice(lease.as_bytes());
        }
        let reply = self.floor.call(&slices(&self.acquire)).await?;
        ensure!(
            reply.starts_with(b"*2\r\n$8\r\nacquired\r\n"),
            "not acquired"
        );
        let reply = self.floor.call(&slices(&self.release)).await?;
        ensure!(*reply == *b":1\r\n", "not released");
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        Self {
            acquire: Self::rename(&self.acquire, task),
            release: Self::rename(&self.release, task),
            ..self.clone()
        }
    }
}
