//! One lock that many want: how often it changes hands, and how long who wants it waits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use quorate::{Acquire, Fleet};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::context::{Context, Flavour};
use crate::floor::Floor;
use crate::latency::receive;
use crate::measure::{Contender, percentile};
use crate::report::{Better, Figure};

const CONTENDERS: usize = 16;
const LEAST_OF_FLOOR: f64 = 0.8;
/// Nobody waits so long, unless a word was lost.
const PATIENCE: Duration = Duration::from_secs(10);
const LOCK: &str = "bench-handoff";
/// Of the bare loop: who has it, who wants it, and where is said who has it next.
const HELD: &[u8] = b"{bench-bare}:held";
const WANTED: &[u8] = b"{bench-bare}:wanted";
const CHANNEL: &str = "{bench-bare}:go";
const WANT: &[u8] = b"if redis.call('SET', KEYS[1], ARGV[1], 'NX') then return 1 end \
    redis.call('RPUSH', KEYS[2], ARGV[1]) return 0";
const HAND_OVER: &[u8] = b"local next = redis.call('LPOP', KEYS[2]) \
    if next then redis.call('SET', KEYS[1], next) redis.call('PUBLISH', ARGV[1], 'go ' .. next) \
    else redis.call('DEL', KEYS[1]) end return 1";

/// What came of one window.
#[derive(Debug)]
struct Turns {
    /// Per second.
    rate: f64,
    /// How long each was waited for, in microseconds.
    waits: Vec<f64>,
}

pub(super) fn run(context: &Context) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for flavour in Flavour::ALL {
        let name = format!("lock.handoff.{}.contenders{CONTENDERS}", flavour.name());
        if context.wants(&name) && !context.is_solo() {
            context.expect(1, 2);
            let measured = flavour.runtime()?.block_on(measure(context, &name));
            figures.extend(measured?);
        }
    }
    Ok(figures)
}

async fn measure(context: &Context, name: &str) -> Result<Vec<Figure>> {
    let fleet = Fleet::connect(&context.server.url()).await?;
    let bare = Bare::connect(context.server.port()).await?;
    let ours = fleet.clone();
    let contenders = vec![
        Contender::custom("quorate", move |tasks, length| {
            let turns = (0..tasks).map(|_| Ours(ours.clone())).collect();
            Box::pin(contend(turns, length))
        }),
        Contender::custom("floor", move |tasks, length| {
            let turns = (0..tasks).map(|task| bare.contender(task)).collect();
            Box::pin(contend(turns, length))
        }),
    ];
    let plan = context.plan;
    let series = context.turns(name, contenders, CONTENDERS, plan).await?;
    let [mut ours, mut floor] =
        <[_; 2]>::try_from(series).map_err(|_| anyhow::anyhow!("two are measured"))?;
    let mut figures = Vec::new();
    let rates = |turns: &[Turns]| turns.iter().map(|it| it.rate).collect::<Vec<_>>();
    let (mine, theirs) = (rates(&ours.windows), rates(&floor.windows));
    let rate = Figure::of_pairs(name, "op/s", Better::More, &mine, ("floor", &theirs))?;
    figures.push(rate.at_least(LEAST_OF_FLOOR));
    for (share, which) in [(0.5, "p50"), (0.99, "p99")] {
        let of = |turns: &mut [Turns]| {
            let values = turns.iter_mut().map(|it| percentile(&mut it.waits, share));
            values.collect::<Result<Vec<_>>>()
        };
        let (mine, theirs) = (of(&mut ours.windows)?, of(&mut floor.windows)?);
        let name = format!("{name}.{which}");
        figures.push(Figure::of_pairs(
            name,
            "µs",
            Better::Less,
            &mine,
            ("floor", &theirs),
        )?);
    }
    fleet.close().await;
    Ok(figures)
}

/// Somebody who wants it, again and again.
trait Contends: Send + 'static {
    /// Waits for it, hands it over, and says how long that was waited for.
    fn turn(&mut self) -> impl Future<Output = Result<Duration>> + Send;
}

/// Lets all of them take turns for so long.
async fn contend<C: Contends>(contenders: Vec<C>, length: Duration) -> Result<Turns> {
    let mut running = JoinSet::new();
    let begin = Instant::now();
    for mut contender in contenders {
        running.spawn(async move {
            let mut waits = Vec::new();
            while begin.elapsed() < length {
                waits.push(contender.turn().await?);
            }
            Ok::<_, anyhow::Error>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(task) = running.join_next().await {
        waits.extend(task??.into_iter().map(|wait| wait.as_secs_f64() * 1e6));
    }
    let turns = u32::try_from(waits.len())?;
    Ok(Turns {
        rate: f64::from(turns) / begin.elapsed().as_secs_f64(),
        waits,
    })
}

/// With every default.
struct Ours(Fleet);

impl Contends for Ours {
    async fn turn(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        let Acquire::Acquired(guard) = self.0.lock(LOCK).acquire().await? else {
            bail!("it is waited for");
        };
        let waited = begin.elapsed();
        ensure!(guard.release().await?, "the lock was lost");
        Ok(waited)
    }
}

/// A queue and a push: no leases, no tokens, nobody who dies, nobody who gives up.
struct Bare {
    floor: Floor,
    scripts: Arc<[Vec<u8>; 2]>,
    /// Who is woken, by number.
    wake: Arc<[Notify; CONTENDERS]>,
    _listening: Arc<JoinSet<()>>,
}

impl Bare {
    async fn connect(port: u16) -> Result<Self> {
        let floor = Floor::connect(("127.0.0.1", port)).await?;
        let mut scripts = [WANT, HAND_OVER].map(<[u8]>::to_vec);
        for script in &mut scripts {
            let reply = floor.call(&[b"SCRIPT", b"LOAD", script]).await?;
            let hash = reply
                .strip_prefix(b"$40\r\n")
                .context("the hash of a script")?;
            *script = hash[..40].to_vec();
        }
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let subscribe = format!("SUBSCRIBE {CHANNEL}\r\n");
        stream.write_all(subscribe.as_bytes()).await?;
        let mut reader = BufReader::new(stream);
        receive(&mut reader, CHANNEL).await?;
        let wake: Arc<[Notify; CONTENDERS]> = Arc::new(std::array::from_fn(|_| Notify::new()));
        let mut listening = JoinSet::new();
        listening.spawn(listen(reader, wake.clone()));
        Ok(Self {
            floor,
            scripts: Arc::new(scripts),
            wake,
            _listening: Arc::new(listening),
        })
    }

    fn contender(&self, task: usize) -> BareContender {
        BareContender {
            floor: self.floor.clone(),
            scripts: self.scripts.clone(),
            wake: self.wake.clone(),
            task,
        }
    }
}

/// Wakes whoever has it next.
async fn listen(mut reader: BufReader<TcpStream>, wake: Arc<[Notify; CONTENDERS]>) {
    let mut line = String::new();
    loop {
        line.clear();
        // Whoever waits then gives up.
        if !reader.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            return;
        }
        let next = line.trim_end().strip_prefix("go ");
        if let Some(next) = next.and_then(|next| next.parse::<usize>().ok()) {
            wake[next].notify_one();
        }
    }
}

struct BareContender {
    floor: Floor,
    scripts: Arc<[Vec<u8>; 2]>,
    wake: Arc<[Notify; CONTENDERS]>,
    task: usize,
}

impl Contends for BareContender {
    async fn turn(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        let [want, hand_over] = &*self.scripts;
        let me = self.task.to_string();
        let parts = [b"EVALSHA", &**want, b"2", HELD, WANTED, me.as_bytes()];
        if &*self.floor.call(&parts).await? == b":0\r\n" {
            let woken = self.wake[self.task].notified();
            let woken = tokio::time::timeout(PATIENCE, woken).await;
            woken.context("nobody handed it over")?;
        }
        let waited = begin.elapsed();
        let parts = [
            b"EVALSHA",
            &**hand_over,
            b"2",
            HELD,
            WANTED,
            CHANNEL.as_bytes(),
        ];
        let reply = self.floor.call(&parts).await?;
        ensure!(*reply == *b":1\r\n", "it was not handed over");
        Ok(waited)
    }
}
