//! `quorate serve`.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use quorate::{ErrorKind, Fleet, Tell};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::config::{Flags, ServeConfig};
use crate::failure::Failure;
use crate::instances::{self, About};
use crate::{net, observe};

/// Between two attempts at the first connection, each of which takes its own time too.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What closing the fleet may take even when everything before it used up the time.
const LEAST_CLOSE: Duration = Duration::from_secs(1);

/// Serve events, locks and a page to look at them over HTTP.
///
/// The backend is that of --backend, else of QUORATE_BACKEND, else of the configuration file, else a
/// home in this process. Without a token (QUORATE_TOKEN, --token-file or the configuration file) it
/// listens on loopback addresses only.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the state is kept: redis://, rediss://, valkey://, valkeys://, memory: or file:PATH
    #[arg(long, value_name = "URL")]
    backend: Option<String>,
    /// Address and port to listen on; 127.0.0.1:8080 unless configured. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// A configuration file in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the token that clients have to show.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let flags = Flags {
        backend: args.backend,
        listen: args.listen,
        config: args.config,
        token_file: args.token_file,
    };
    let config = ServeConfig::load(flags, |name| std::env::var(name).ok())?;
    net::raise_descriptor_limit();
    // Before the fleet: what it counts would go nowhere.
    let metrics = observe::record_metrics()?;
    let mut options = config.fleet.clone();
    // Of the keys only if whoever runs it says so.
    options.tell_caches.get_or_insert(Tell::Counts);
    options.tell_limits.get_or_insert(Tell::Counts);
    let fleet = Fleet::builder().config(options).lazy(true).build().await?;
    // Before anything is announced: whoever reads the address may stop us at once.
    let mut stopping = Stopping::new()?;
    let listener = net::listen(config.listen).map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {}: {error}; --listen chooses another address",
            config.listen
        ))
    })?;
    let app = App::new(&config, fleet.clone(), metrics.clone());
    let address = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("cannot say where I listen: {error}")))?;
    announce(&config, address)?;

    let background = TaskTracker::new();
    let ended = CancellationToken::new();
    let _ended = ended.clone().drop_guard();
    background.spawn(
        ended
            .clone()
            .run_until_cancelled_owned(connect(fleet.clone())),
    );
    background.spawn(ended.clone().run_until_cancelled_owned(async move {
        let mut upkeep = interval(observe::UPKEEP);
        loop {
            upkeep.tick().await;
            metrics.run_upkeep();
        }
    }));

    let stop = app.stopping.clone();
    let about = About::new(&fleet, address);
    background.spawn(instances::announce(app.clone(), about, stop.clone()));
    let router = app.router(&config);
    let limits = config.limits.clone();
    let serving = {
        let stop = stop.clone();
        background.spawn(async move { net::serve(listener, router, &limits, stop).await })
    };
    let signal = stopping.next().await;
    tracing::info!(signal, grace = ?config.limits.shutdown_grace, "shutting down");
    let deadline = Instant::now() + config.limits.shutdown_grace;
    stop.cancel();
    let finish = async {
        let drained = timeout_at(deadline, async {
            app.hub.drain().await;
            // Its panic, if it had one, has been reported by now.
            let _ = serving.await;
        });
        if drained.await.is_err() {
            tracing::warn!("some requests were still under way, and are broken off");
        }
        let left = deadline.saturating_duration_since(Instant::now());
        fleet.close_within(left.max(LEAST_CLOSE)).await;
    };
    tokio::select! {
        () = finish => {
            tracing::info!("bye");
            Ok(ExitCode::SUCCESS)
        }
        signal = stopping.next() => Err(Failure::failed(format!("{signal} again: not waiting any longer"))),
    }
}

/// Makes the first connection. The fleet is lazy, so that the server starts also while its backend is
/// down; `/readyz` tells. Once connected, the fleet looks after itself.
async fn connect(fleet: Fleet) {
    loop {
        match fleet.ready().await {
            Ok(()) => {
                tracing::info!(backend = %fleet, "connected");
                return;
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => tracing::warn!(%error, "the backend cannot be used yet"),
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Says, on standard output, where everything is.
fn announce(config: &ServeConfig, address: SocketAddr) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("cannot say where I listen: {error}"));
    let mut out = std::io::stdout().lock();
    let (bold, reset) = if out.is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    let token = if config.token.is_some() {
        "required"
    } else {
        "none: this machine only"
    };
    // A name that resolves to this machine is friendlier than an address that means all of them.
    let host = if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    write!(
        out,
        "{bold}quorate {}{reset}\n  backend  {}, {}\n  token    {token}\n  open     {bold}http://{host}/{reset}\n",
        env!("CARGO_PKG_VERSION"),
        config.backend(),
        config.source,
    )
    .and_then(|()| out.flush())
    .map_err(failed)
}

/// The signals that ask a process to end.
struct Stopping {
    term: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stopping {
    fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("cannot listen to signals: {error}"));
        Ok(Self {
            term: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
