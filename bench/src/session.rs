//! `session`: making, reading and using sessions, and listing those of a user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use quorate::{Fleet, SessionId, SessionKey, Sessions};

use crate::capture::{Command, commands_of};
use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::measure::{Contender, Load, Window};
use crate::replay::{Replay, slices};
use crate::report::{Better, Figure, compare};
use crate::store::BareMap;

const TASKS: [usize; 3] = [1, 64, 256];
const MOST_TASKS: usize = TASKS[TASKS.len() - 1];
/// What the ratio to the floor ought to be.
const LEAST_OF_FLOOR: f64 = 0.8;
/// What the ratio to the bare map ought to be in-process.
const LEAST_OF_MAP: f64 = 0.33;
/// The most sessions of a user.
const MANY: usize = 1000;
const BESIDE: SessionKey<String> = SessionKey::new("bench");

#[derive(Clone, Copy, Debug)]
enum Verb {
    GetAndTouch,
    Get,
    Create,
}

impl Verb {
    const ALL: [Self; 3] = [Self::GetAndTouch, Self::Get, Self::Create];

    const fn name(self) -> &'static str {
        match self {
            Self::GetAndTouch => "get_and_touch",
            Self::Get => "get",
            Self::Create => "create",
        }
    }
}

/// Measures.
///
/// # Errors
/// If anybody fails.
pub(crate) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = on_the_server(context)?;
    figures.extend(list(context)?);
    figures.extend(in_process(context)?);
    Ok(figures)
}

fn on_the_server(context: &Context) -> Result<Vec<Figure>> {
    let mut cases = Vec::new();
    for verb in Verb::ALL {
        for flavour in Flavour::ALL {
            for tasks in TASKS {
                let name = format!("session.{}.{}.tasks{tasks}", verb.name(), flavour.name());
                if context.wants(&name) {
                    cases.push((verb, flavour, tasks, name));
                }
            }
        }
    }
    context.expect(cases.len(), 2);
    let mut figures = Vec::new();
    for (verb, flavour, tasks, name) in cases {
        let measured = flavour
            .runtime()?
            .block_on(beside_the_floor(context, verb, &name, tasks));
        figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_FLOOR)));
    }
    Ok(figures)
}

async fn beside_the_floor(
    context: &Context,
    verb: Verb,
    name: &str,
    tasks: usize,
) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let ours = Ours::new(&fleet, verb).await?;
    let port = context.server.port();
    let floor = match verb {
        Verb::Create => Contender::new("floor", FloorCreate::like(port, &ours).await?),
        _ => Contender::new(
            "floor",
            Replay::of_tasks(port, "EVALSHA", &ours, tasks).await?,
        ),
    };
    let contenders = vec![Contender::new("quorate", ours), floor];
    let series = context.rounds(name, contenders, tasks, 1).await?;
    let figures = compare(name, "op/s", Better::More, &series, Window::rate)?;
    fleet.close().await;
    Ok(figures)
}

/// All the sessions of a user who has as many as there may be.
fn list(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for flavour in Flavour::ALL {
        let name = format!("session.list.{}.sessions{MANY}", flavour.name());
        if !context.wants(&name) {
            continue;
        }
        context.expect(1, 2);
        let measured = flavour.runtime()?.block_on(async {
            let fleet = Fleet::connect(&context.server.url()).await?;
            let sessions = fleet.sessions();
            let user = format!("bench-{}", flavour.name());
            for _ in 0..MANY {
                made(&sessions, &user).await?;
            }
            let ours = List { sessions, user };
            // Fails if it takes more than one command.
            let floor = Replay::of(context.server.port(), "EVALSHA", &ours).await?;
            let contenders = vec![
                Contender::new("quorate", ours),
                Contender::new("floor", floor),
            ];
            let series = context.rounds(&name, contenders, 1, 1).await?;
            fleet.close().await;
            compare(&name, "µs", Better::Less, &series, |window| {
                1e6 / window.rate()
            })
        });
        figures.extend(measured?);
    }
    Ok(figures)
}

fn in_process(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for verb in [Verb::GetAndTouch, Verb::Get] {
        let name = format!("session.in_process.{}", verb.name());
        if !context.wants(&name) {
            continue;
        }
        context.expect(1, 2);
        let measured = Flavour::CurrentThread.runtime()?.block_on(async {
            let fleet = Fleet::embedded();
            let ours = Ours::new(&fleet, verb).await?;
            let contenders = vec![
                Contender::busy("quorate", ours),
                Contender::busy("map", BareMap::new()),
            ];
            let series = context.turns(&name, contenders, 1, context.plan).await?;
            let series = context.unless_solo(series);
            compare(&name, "op/s", Better::More, &series, Window::rate)
        });
        figures.extend(measured?.into_iter().map(|it| it.at_least(LEAST_OF_MAP)));
    }
    Ok(figures)
}

fn user_of(task: usize) -> String {
    format!("bench-{task:06}")
}

/// A session as an application has it: a device, and a field of 100 bytes.
async fn made(sessions: &Sessions, user: &str) -> Result<SessionId> {
    let made = sessions
        .create(user)
        .device_info("Firefox on Linux")
        .field(&BESIDE, &"x".repeat(100));
    Ok(made.await?.id)
}

/// Ours, with every default; each task has a user of its own.
#[derive(Clone)]
struct Ours {
    verb: Verb,
    sessions: Sessions,
    ids: Arc<[SessionId]>,
    task: usize,
}

impl Ours {
    async fn new(fleet: &Fleet, verb: Verb) -> Result<Self> {
        let sessions = match verb {
            // Whoever logs in again loses the session before: there are never more of them.
            Verb::Create => fleet.sessions().max_per_user(1),
            _ => fleet.sessions(),
        };
        let mut ids = Vec::with_capacity(MOST_TASKS);
        for task in 0..MOST_TASKS {
            ids.push(made(&sessions, &user_of(task)).await?);
        }
        Ok(Self {
            verb,
            sessions,
            ids: ids.into(),
            task: 0,
        })
    }
}

impl Load for Ours {
    async fn step(&mut self) -> Result<()> {
        let id = &self.ids[self.task];
        match self.verb {
            Verb::GetAndTouch => {
                let found = self.sessions.get_and_touch(id).await?;
                ensure!(found.is_some(), "it is gone");
            }
            Verb::Get => ensure!(self.sessions.get(id).await?.is_some(), "it is gone"),
            Verb::Create => {
                made(&self.sessions, &user_of(self.task)).await?;
            }
        }
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        Self {
            task,
            ..self.clone()
        }
    }
}

#[derive(Clone)]
struct List {
    sessions: Sessions,
    user: String,
}

impl Load for List {
    async fn step(&mut self) -> Result<()> {
        let found = self.sessions.list(&self.user).await?.len();
        ensure!(found == MANY, "{found} sessions");
        Ok(())
    }
}

/// The script that makes a session, each time with another serial.
#[derive(Clone)]
struct FloorCreate {
    floor: Floor,
    /// That of each task.
    commands: Arc<[Command]>,
    command: Command,
    /// Distinguishes serials.
    serials: Arc<AtomicU64>,
}

/// What stands before the serial: the verb, the hash, how many keys, and the keys.
const BEFORE_SERIAL: usize = 5;

impl FloorCreate {
    async fn like(port: u16, ours: &Ours) -> Result<Self> {
        // The first time the script is sent in full.
        ours.clone().step().await?;
        let each = async {
            for task in 0..MOST_TASKS {
                ours.for_task(task).step().await?;
            }
            Ok(())
        };
        let commands = commands_of(port, "EVALSHA", each).await?;
        ensure!(commands.len() == MOST_TASKS, "{} scripts", commands.len());
        let first = commands.first().context("nothing was sent")?;
        let is_serial = first.get(BEFORE_SERIAL).is_some_and(|it| it.len() == 32);
        ensure!(is_serial, "there is no serial where one was");
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", port)).await?,
            command: first.clone(),
            commands: commands.into(),
            serials: Arc::default(),
        })
    }
}

impl Load for FloorCreate {
    async fn step(&mut self) -> Result<()> {
        let number = self.serials.fetch_add(1, Ordering::Relaxed);
        let serial = format!("{number:032x}");
        self.command[BEFORE_SERIAL].copy_from_slice(serial.as_bytes());
        let reply = self.floor.call(&slices(&self.command)).await?;
        ensure!(
            reply.starts_with(b"*3\r\n"),
            "none was made in the place of another"
        );
        Ok(())
    }

    fn for_task(&self, task: usize) -> Self {
        Self {
            command: self.commands[task].clone(),
            ..self.clone()
        }
    }
}
