//! `quorate subscribe`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use quorate::events::Subscribe;
use quorate::{Codec, Fleet, Keep, Position, TopicSpec};
use quorate_http::{Selector, TopicPath, event_line};

use super::backend::BackendArgs;
use crate::failure::Failure;

/// Print events as JSON, one line each, gaps too, until interrupted.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A topic (`orders`, `orders:42`) or a glob (`orders:*`).
    #[arg(value_name = "TOPIC|PATTERN")]
    topic: String,
    /// Begin with what follows this position of a kept topic, and miss nothing from there on.
    #[arg(long, value_name = "POSITION", conflicts_with = "from_beginning")]
    after: Option<Position>,
    /// Begin with the oldest message of a kept topic, and miss nothing from there on.
    #[arg(long)]
    from_beginning: bool,
    /// End after this many messages.
    #[arg(long, value_name = "MESSAGES")]
    count: Option<u64>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let selector = Selector::parse(&args.topic)?;
    if selector.is_pattern() && (args.after.is_some() || args.from_beginning) {
        let rule = "--after and --from-beginning need one topic, not a pattern";
        return Err(Failure::usage(rule));
    }
    let fleet = args.backend.connect().await?;
    let subscribe = match (&selector, args.after) {
        (Selector::Topic(path), Some(position)) => kept(path, &fleet)?.after(position),
        (Selector::Topic(path), None) if args.from_beginning => {
            kept(path, &fleet)?.from_beginning()
        }
        _ => selector.subscribe(&fleet)?,
    };
    let mut subscription = subscribe.await?;
    let name = selector.to_string();
    eprintln!("subscribed to {name}; Ctrl-C ends it");
    let mut left = args.count;
    while left != Some(0) {
        let event = tokio::select! {
            event = subscription.next() => event,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| {
                    Failure::failed(format!("cannot listen to signals: {error}"))
                })?;
                break;
            }
        };
        let Some(event) = event else { break };
        if let Some(line) = event_line(&name, &event) {
            let mut out = std::io::stdout().lock();
            // Whoever read our output has left: there is nobody to go on for.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        if event.message().is_some() {
            left = left.map(|left| left - 1);
        }
    }
    fleet.close().await;
    Ok(ExitCode::SUCCESS)
}

/// A topic as one that is kept.
fn kept(path: &TopicPath, fleet: &Fleet) -> Result<Subscribe<Bytes>, Failure> {
    // How much is kept is for publishers to say: who only reads is asked for bounds, and they mean nothing.
    const BOUNDS: Keep = Keep {
        time: Duration::from_secs(1),
        messages: 1,
        bytes: 1,
    };
    let spec = TopicSpec::try_with_codec(path.name(), Codec::bytes())?.try_keep(BOUNDS)?;
    let topic = fleet.topic(&spec);
    let topic = match path.key() {
        Some(key) => topic.key(key)?,
        None => topic,
    };
    Ok(topic.subscribe())
}
