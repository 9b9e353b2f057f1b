//! One message to everybody: a hub beside a bare loop over sockets.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::crowd::{Crowd, Join, Order, Report};
use super::probe::Probe;
use super::stage::{AxumStage, HubStage, LoopStage, Show, Stage, TOPIC};
use crate::context::{Context, Flavour};
use crate::machine::open_files;
use crate::measure::{Contender, Plan, Series, Window, cpu_time};
use crate::report::{Better, Figure, compare};

const CLIENTS: [usize; 2] = [1_000, 10_000];
const CONTENDERS: usize = 3;
/// How long it may take until all connections are closed, and how often that is looked at.
const CLOSING: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(50);
/// What the ratio to the bare loop ought to be.
const LEAST_OF_LOOP: f64 = 0.7;

/// What is sent, one after the other to the same clients: bytes of a message, and messages published
/// before the publisher waits until everybody has them all.
const PROGRAMME: [(usize, u32); 3] = [(100, 1), (1024, 1), (100, 16)];

/// The circumstances of a figure.
#[derive(Clone, Copy, Debug)]
struct Case {
    clients: usize,
    bytes: usize,
    burst: u32,
}

impl Case {
    fn name(self, what: &str) -> String {
        let Self {
            clients,
            bytes,
            burst,
        } = self;
        let burst = match burst {
            1 => String::new(),
            many => format!("burst{many}."),
        };
        format!("hub.{what}.{burst}bytes{bytes}.clients{clients}")
    }
}

/// Bursts of one case.
#[derive(Debug)]
struct Act {
    case: Case,
    show: Show,
}

impl Act {
    /// Messages that one burst is to all clients together.
    fn each(&self) -> Result<u64> {
        Ok(u64::from(self.case.burst) * u64::try_from(self.case.clients)?)
    }
}

/// What comes of one coming together: a window for each act.
type Windows = Vec<Window>;

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let wanted = |clients| {
        let cases = PROGRAMME.map(|(bytes, burst)| Case {
            clients,
            bytes,
            burst,
        });
        let wanted = |case: &Case| {
            let names = ["broadcast", "broadcast.cpu"].map(|what| case.name(what));
            names.iter().any(|name| context.wants(name))
        };
        cases.into_iter().filter(wanted).collect::<Vec<_>>()
    };
    let mut figures = Vec::new();
    for clients in CLIENTS {
        let cases = wanted(clients);
        if !cases.is_empty() {
            context.expect_turns(CONTENDERS, plan(context, clients));
            let runtime = Flavour::MultiThread.runtime()?;
            figures.extend(runtime.block_on(measure(context, clients, &cases))?);
        }
    }
    Ok(figures)
}

fn plan(context: &Context, clients: usize) -> Plan {
    match clients {
        few if few < CLIENTS[1] => context.plan,
        _ => context.plan.of_gatherings(),
    }
}

async fn measure(context: &Context, clients: usize, cases: &[Case]) -> Result<Vec<Figure>> {
    let mut acts = Vec::new();
    for case in cases.iter().copied() {
        let show = show(case.bytes).await?;
        acts.push(Act { case, show });
    }
    let audience = Rc::new(Mutex::new(Audience {
        crowd: Crowd::start(context.cores())?,
        clients,
        acts,
        busy: vec![0.0; cases.len()],
    }));
    let contenders = vec![
        contender::<HubStage>("quorate", &audience),
        contender::<LoopStage>("loop", &audience),
        contender::<AxumStage>("axum", &audience),
    ];
    let name = format!("hub.broadcast.clients{clients}");
    let plan = plan(context, clients);
    let evenings = context.turns(&name, contenders, clients, plan).await?;
    let Audience { crowd, busy, .. } = Rc::into_inner(audience)
        .context("the contenders are gone")?
        .into_inner();
    crowd.close().await?;
    let mut figures = Vec::new();
    for (at, (case, busy)) in cases.iter().zip(busy).enumerate() {
        // Nearly all of the time would mean that it was measured, and not who served it.
        let (name, percent) = (case.name("broadcast"), busy * 100.0);
        context.say(&format!(
            "{name}: the crowd was busy {percent:.0} % of the time"
        ));
        let series = context.unless_solo(act(&evenings, at));
        figures.extend(compared(context, *case, &series)?);
    }
    Ok(figures)
}

/// The windows of one act.
fn act(evenings: &[Series<Windows>], at: usize) -> Vec<Series> {
    let of = |series: &Series<Windows>| Series {
        name: series.name,
        windows: series.windows.iter().map(|windows| windows[at]).collect(),
    };
    evenings.iter().map(of).collect()
}

fn compared(context: &Context, case: Case, series: &[Series]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let name = case.name("broadcast");
    if context.wants(&name) {
        figures.extend(compare(&name, "msg/s", Better::More, series, Window::rate)?);
    }
    if let Some(floor) = figures.first_mut() {
        *floor = floor.clone().at_least(LEAST_OF_LOOP);
    }
    let name = case.name("broadcast.cpu");
    if context.wants(&name) {
        let cpu = Window::cpu_micros;
        figures.extend(compare(&name, "µs/msg", Better::Less, series, cpu)?);
    }
    Ok(figures)
}

/// Who is sent everything.
struct Audience {
    crowd: Crowd,
    clients: usize,
    acts: Vec<Act>,
    /// The largest share of a window of each act that its process was at work.
    busy: Vec<f64>,
}

fn contender<S: Stage + 'static>(
    name: &'static str,
    audience: &Rc<Mutex<Audience>>,
) -> Contender<Windows> {
    let (audience, evenings) = (audience.clone(), Cell::new(0));
    Contender::custom(name, move |_, length| {
        let (audience, number) = (audience.clone(), evenings.get());
        evenings.set(number + 1);
        Box::pin(async move { evening::<S>(&mut *audience.lock().await, number, length).await })
    })
}

/// What is shown, and the frame the hub makes of it.
async fn show(bytes: usize) -> Result<Show> {
    let payload = "x".repeat(bytes);
    let (mut stage, port) = HubStage::open().await?;
    let mut probe = Probe::subscribe(port, TOPIC.name()).await?;
    let mut show = Show {
        frame: String::new(),
        payload,
    };
    stage.perform(&show).await?;
    show.frame = probe.hear(&show.payload).await?;
    stage.close().await;
    Ok(show)
}

/// Clients come, are given act after act, and go. Coming takes longer than an act, so they do it once.
async fn evening<S: Stage>(
    audience: &mut Audience,
    number: usize,
    length: Duration,
) -> Result<Windows> {
    let files = open_files()?;
    let (mut stage, port) = S::open().await?;
    let Audience {
        crowd,
        clients,
        acts,
        busy,
    } = audience;
    let join = Join {
        port,
        clients: *clients,
        until: S::until(),
        after: Vec::new(),
    };
    let before = crowd.join(join).await?.before;
    stage.gather(*clients).await?;
    let (mut windows, mut expected) = (Vec::new(), 0);
    for turn in 0..acts.len() {
        // Another one begins each time: who has just let everybody in is not as it is later.
        let at = (number + turn) % acts.len();
        let act = &acts[at];
        // What is done once, such as growing buffers, is done with this one.
        play(crowd, &mut stage, act).await?;
        let (window, at_work) = window(crowd, &mut stage, act, length).await?;
        let share = at_work.as_secs_f64() / window.elapsed.as_secs_f64();
        busy[at] = busy[at].max(share);
        expected += act.each()? + window.operations;
        windows.push((at, window));
    }
    windows.sort_by_key(|(at, _)| *at);
    let windows = windows.into_iter().map(|(_, window)| window).collect();
    let after = crowd.obey(&Order::Leave).await?.totals;
    stage.close().await;
    let (messages, gaps) = (after.messages - before.messages, after.gaps - before.gaps);
    ensure!(
        (messages, gaps) == (expected, 0),
        "{expected} messages were sent, {messages} received, and {gaps} gaps"
    );
    empty(files).await?;
    Ok(windows)
}

/// One window, and how long the crowd was at work.
async fn window<S: Stage>(
    crowd: &mut Crowd,
    stage: &mut S,
    act: &Act,
    length: Duration,
) -> Result<(Window, Duration)> {
    let each = act.each()?;
    let (begin, cpu) = (Instant::now(), cpu_time());
    let (mut operations, mut bytes, mut busy) = (0, 0, Duration::ZERO);
    while begin.elapsed() < length {
        let played = play(crowd, stage, act).await?;
        busy += played.cpu;
        bytes += played.totals.bytes - played.before.bytes;
        operations += each;
    }
    let window = Window {
        operations,
        elapsed: begin.elapsed(),
        cpu: cpu_time() - cpu,
    };
    // Times differ in their last digits, and those at the end are left out.
    let least = (u64::try_from(act.show.frame.len())? - 8) * operations;
    ensure!(bytes >= least, "something shorter was received");
    Ok((window, busy))
}

/// One burst, until everybody has it.
async fn play<S: Stage>(crowd: &mut Crowd, stage: &mut S, act: &Act) -> Result<Report> {
    crowd.order(&Order::Count(vec![act.case.burst])).await?;
    for _ in 0..act.case.burst {
        stage.perform(&act.show).await?;
    }
    crowd.report().await
}

/// Waits until the connections of those who left are closed here too, so that the work of it is in nobody
/// else's window, and there are files for the next.
async fn empty(files: usize) -> Result<()> {
    let empty = async {
        while open_files()? > files {
            tokio::time::sleep(GLANCE).await;
        }
        anyhow::Ok(())
    };
    let waited = tokio::time::timeout(CLOSING, empty).await;
    waited.context("connections stay open that nobody has any more")?
}
