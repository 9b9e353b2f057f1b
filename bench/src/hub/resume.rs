//! Everybody comes to an instance at once, and is given what they missed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::SinkExt;
use quorate::Fleet;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::crowd::{Crowd, Join, Order, Report, Until};
use super::probe::Probe;
use super::stage::{self, KEPT};
use crate::context::{Context, Flavour};
use crate::measure::{Contender, Window, cpu_time, median};
use crate::report::{Better, Figure, compare};

const CLIENTS: usize = 10_000;
/// The most messages anybody missed; others missed fewer, down to half of them.
const MISSED: u32 = 100;
/// What the floor sends everybody: as much as clients have missed on average.
const AVERAGE: u32 = 75;
const CONTENDERS: usize = 2;

const RATE: &str = "hub.resume.messages";
const TIME: &str = "hub.resume.time";
const COMMANDS: &str = "hub.resume.commands";

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    if ![RATE, TIME, COMMANDS]
        .into_iter()
        .any(|name| context.wants(name))
    {
        return Ok(Vec::new());
    }
    context.expect_turns(CONTENDERS, context.plan.of_gatherings());
    Flavour::MultiThread.runtime()?.block_on(measure(context))
}

async fn measure(context: &Context) -> Result<Vec<Figure>> {
    let past = Rc::new(Past::make(context).await?);
    let crowd = Rc::new(Mutex::new(Crowd::start(context.cores())?));
    let commands = Rc::new(RefCell::new(Vec::new()));
    let ours = {
        let (past, crowd, commands) = (past.clone(), crowd.clone(), commands.clone());
        Contender::custom("quorate", move |_, _| {
            let (past, crowd, commands) = (past.clone(), crowd.clone(), commands.clone());
            Box::pin(async move {
                let (window, used) = ours(&past, &mut *crowd.lock().await).await?;
                commands.borrow_mut().push(used);
                Ok(window)
            })
        })
    };
    let floor = {
        let (past, crowd) = (past.clone(), crowd.clone());
        Contender::custom("floor", move |_, _| {
            let (past, crowd) = (past.clone(), crowd.clone());
            Box::pin(async move { floor(&past, &mut *crowd.lock().await).await })
        })
    };
    let plan = context.plan.of_gatherings();
    let series = context
        .turns(RATE, vec![ours, floor], CLIENTS, plan)
        .await?;
    let series = context.unless_solo(series);
    Rc::into_inner(crowd)
        .context("the contenders are gone")?
        .into_inner()
        .close()
        .await?;
    if series.is_empty() {
        return Ok(Vec::new());
    }
    let mut figures = compare(RATE, "msg/s", Better::More, &series, Window::rate)?;
    let millis = |window: &Window| window.elapsed.as_secs_f64() * 1e3;
    figures.extend(compare(TIME, "ms", Better::Less, &series, millis)?);
    let used = median(commands.take())?;
    let each = f64::from(u32::try_from(CLIENTS)?);
    let beside = ("a read each", &[each][..]);
    figures.push(Figure::of_pairs(
        COMMANDS,
        "",
        Better::Less,
        &[used],
        beside,
    )?);
    Ok(figures)
}

/// What everybody missed.
struct Past {
    url: String,
    /// The server, to ask what it did.
    port: u16,
    /// Where clients were, each as many messages before the last as the number beside.
    positions: Vec<(String, u32)>,
    /// The frames a hub sends for the last of the messages.
    frames: Arc<[Utf8Bytes]>,
}

impl Past {
    async fn make(context: &Context) -> Result<Self> {
        let fleet = Fleet::connect(&context.server.url()).await?;
        let topic = fleet.topic(&KEPT);
        let (_serving, port) = stage::serve(stage::hub(fleet.clone())?.router())?;
        let mut probe = Probe::subscribe(port, KEPT.name()).await?;
        let (mut positions, mut frames) = (Vec::new(), Vec::new());
        for left in (0..=MISSED).rev() {
            let text = format!("{left:0100}");
            let receipt = topic.publish(&text).await?;
            let position = receipt.position.context("it is not kept")?;
            frames.push(Utf8Bytes::from(probe.hear(&text).await?));
            if left > MISSED / 2 {
                positions.push((position.to_string(), left));
            }
        }
        let frames = frames.split_off(frames.len() - usize::try_from(AVERAGE)?);
        drop(probe);
        fleet.close().await;
        Ok(Self {
            url: context.server.url(),
            port: context.server.port(),
            positions,
            frames: frames.into(),
        })
    }
}

/// An instance that knows nothing yet.
async fn ours(past: &Past, crowd: &mut Crowd) -> Result<(Window, f64)> {
    let fleet = Fleet::connect(&past.url).await?;
    let (_serving, port) = stage::serve(stage::hub(fleet.clone())?.router())?;
    let (after, missed): (Vec<_>, Vec<_>) = past.positions.iter().cloned().unzip();
    let join = Join {
        port,
        clients: CLIENTS,
        until: Until::Subscribed(KEPT.name().to_owned()),
        after,
    };
    let before = commands(past.port).await?;
    let window = come(crowd, join, missed).await?;
    // One of them is the question.
    let used = commands(past.port).await? - before - 1.0;
    fleet.close().await;
    Ok((window, used))
}

/// Has the frames, and sends them to whoever comes.
async fn floor(past: &Past, crowd: &mut Crowd) -> Result<Window> {
    let listener = stage::listen()?;
    let port = listener.local_addr()?.port();
    let frames = past.frames.clone();
    let mut serving = JoinSet::new();
    // Kept open until the end.
    let (served, _sockets) = mpsc::unbounded_channel();
    serving.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (frames, served) = (frames.clone(), served.clone());
            clients.spawn(async move {
                stream.set_nodelay(true)?;
                let mut socket = tokio_tungstenite::accept_async(stream).await?;
                for frame in &*frames {
                    socket.feed(Message::Text(frame.clone())).await?;
                }
                socket.flush().await?;
                // Fails only when nobody needs it any more.
                let _ = served.send(socket);
                anyhow::Ok(())
            });
        }
    });
    let join = Join {
        port,
        clients: CLIENTS,
        until: Until::Upgraded,
        after: Vec::new(),
    };
    come(crowd, join, vec![AVERAGE]).await
}

/// Everybody comes, waits until they have what they missed, and goes.
async fn come(crowd: &mut Crowd, join: Join, missed: Vec<u32>) -> Result<Window> {
    let cpu = cpu_time();
    let places = missed.iter().cycle().take(join.clients);
    let expected: u64 = places.map(|missed| u64::from(*missed)).sum();
    let joined = crowd.join(join).await?;
    let order = Order::Count(missed);
    let counted: Report = tokio::time::timeout(Duration::from_secs(60), crowd.obey(&order))
        .await
        .context("not everybody got what they missed")??;
    let cpu = cpu_time() - cpu;
    let after = crowd.obey(&Order::Leave).await?.totals;
    let before = joined.before;
    let (messages, gaps) = (after.messages - before.messages, after.gaps - before.gaps);
    ensure!(
        (messages, gaps) == (expected, 0),
        "{expected} messages were missed, {messages} received, and {gaps} gaps"
    );
    Ok(Window {
        operations: messages,
        elapsed: counted.ended - joined.began,
        cpu,
    })
}

/// Commands the server has processed, also within scripts.
async fn commands(port: u16) -> Result<f64> {
    let floor = crate::floor::Floor::connect(("127.0.0.1", port)).await?;
    let info = floor.call(&[b"INFO", b"stats"]).await?;
    let info = std::str::from_utf8(&info)?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    Ok(line
        .context("the server does not count its commands")?
        .trim()
        .parse()?)
}
