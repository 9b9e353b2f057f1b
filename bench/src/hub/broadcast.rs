//! One message to everybody: a hub beside a bare loop over sockets.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::crowd::{Crowd, Join, Order};
use super::probe::Probe;
use super::stage::{AxumStage, HubStage, LoopStage, Show, Stage, TOPIC};
use crate::context::{Context, Flavour};
use crate::measure::{Contender, Window, cpu_time};
use crate::report::{Better, Figure, compare};

const CLIENTS: [usize; 2] = [1_000, 10_000];
const BYTES: [usize; 2] = [100, 1024];
/// Messages published before the publisher waits until everybody has them all.
const BURSTS: [u32; 2] = [1, 16];
const CONTENDERS: usize = 3;
/// What the ratio to the bare loop ought to be.
const LEAST_OF_LOOP: f64 = 0.7;

/// The circumstances of a figure.
#[derive(Clone, Copy, Debug)]
struct Case {
    clients: usize,
    bytes: usize,
    burst: u32,
}

impl Case {
    /// Everything that is told apart; of bursts, only the small messages.
    fn all() -> impl Iterator<Item = Self> {
        let cases = BURSTS.into_iter().flat_map(|burst| {
            BYTES.into_iter().flat_map(move |bytes| {
                CLIENTS.map(|clients| Self {
                    clients,
                    bytes,
                    burst,
                })
            })
        });
        cases.filter(|case| case.burst == 1 || case.bytes == BYTES[0])
    }

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

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let cases: Vec<_> = Case::all()
        .filter(|case| context.wants(&case.name("broadcast")))
        .collect();
    context.expect(cases.len(), CONTENDERS);
    let mut figures = Vec::new();
    for case in cases {
        let measured = Flavour::MultiThread
            .runtime()?
            .block_on(measure(context, case));
        figures.extend(measured?);
    }
    Ok(figures)
}

async fn measure(context: &Context, case: Case) -> Result<Vec<Figure>> {
    let name = case.name("broadcast");
    let audience = Rc::new(Mutex::new(Audience {
        crowd: Crowd::start(context.cores())?,
        busy: 0.0,
    }));
    let show = Rc::new(show(case.bytes).await?);
    let contenders = vec![
        contender::<HubStage>("quorate", &audience, case, &show),
        contender::<LoopStage>("loop", &audience, case, &show),
        contender::<AxumStage>("axum", &audience, case, &show),
    ];
    let series = context.rounds(&name, contenders, case.clients, 0).await?;
    let Audience { crowd, busy } = Rc::into_inner(audience)
        .context("the contenders are gone")?
        .into_inner();
    crowd.close().await?;
    // Nearly all of the time would mean that it was measured, and not who served it.
    let percent = busy * 100.0;
    context.say(&format!(
        "{name}: the crowd was busy {percent:.0} % of the time"
    ));
    let mut figures = compare(&name, "msg/s", Better::More, &series, Window::rate)?;
    if let Some(floor) = figures.first_mut() {
        *floor = floor.clone().at_least(LEAST_OF_LOOP);
    }
    let name = case.name("broadcast.cpu");
    let cpu = Window::cpu_micros;
    figures.extend(compare(&name, "µs/msg", Better::Less, &series, cpu)?);
    Ok(figures)
}

/// Who is sent everything.
struct Audience {
    crowd: Crowd,
    /// The largest share of a window that its process was at work.
    busy: f64,
}

fn contender<S: Stage + 'static>(
    name: &'static str,
    audience: &Rc<Mutex<Audience>>,
    case: Case,
    show: &Rc<Show>,
) -> Contender {
    let (audience, show) = (audience.clone(), show.clone());
    Contender::custom(name, move |_, length| {
        let (audience, show) = (audience.clone(), show.clone());
        Box::pin(async move {
            let audience = &mut *audience.lock().await;
            evening::<S>(audience, case, &show, length).await
        })
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

/// One window: clients come, are sent burst after burst, and go.
async fn evening<S: Stage>(
    audience: &mut Audience,
    case: Case,
    show: &Show,
    length: Duration,
) -> Result<Window> {
    let (mut stage, port) = S::open().await?;
    let join = Join {
        port,
        clients: case.clients,
        until: S::until(),
        after: Vec::new(),
    };
    let crowd = &mut audience.crowd;
    let before = crowd.join(join).await?.before;
    // What is done once, such as growing buffers, is done with this one.
    play(crowd, &mut stage, case, show).await?;
    let each = u64::from(case.burst) * u64::try_from(case.clients)?;
    let (begin, cpu) = (Instant::now(), cpu_time());
    let (mut operations, mut busy) = (0, Duration::ZERO);
    while begin.elapsed() < length {
        busy += play(crowd, &mut stage, case, show).await?;
        operations += each;
    }
    let window = Window {
        operations,
        elapsed: begin.elapsed(),
        cpu: cpu_time() - cpu,
    };
    let share = busy.as_secs_f64() / window.elapsed.as_secs_f64();
    audience.busy = audience.busy.max(share);
    let expected = each + operations;
    let after = crowd.obey(&Order::Leave).await?.totals;
    stage.close().await;
    let (messages, gaps) = (after.messages - before.messages, after.gaps - before.gaps);
    let bytes = after.bytes - before.bytes;
    ensure!(
        (messages, gaps) == (expected, 0),
        "{expected} messages were sent, {messages} received, and {gaps} gaps"
    );
    // Times differ in their last digits, and those at the end are left out.
    let least = (u64::try_from(show.frame.len())? - 8) * expected;
    ensure!(bytes >= least, "something shorter was received");
    Ok(window)
}

/// One burst, until everybody has it. Returns how long the crowd was at work.
async fn play<S: Stage>(
    crowd: &mut Crowd,
    stage: &mut S,
    case: Case,
    show: &Show,
) -> Result<Duration> {
    crowd.order(&Order::Count(vec![case.burst])).await?;
    for _ in 0..case.burst {
        stage.perform(show).await?;
    }
    Ok(crowd.report().await?.cpu)
}
