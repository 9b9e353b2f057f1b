//! `quorate publish`.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use quorate::{Codec, Topic};
use quorate_http::TopicPath;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::backend::BackendArgs;
use crate::failure::Failure;

/// Publish events: the JSON given, or each line of standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `name`, or `name:key`.
    topic: String,
    /// The payload. Without it, every line of standard input is one.
    json: Option<String>,
    /// The messages' type; the topic's name unless given.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// An id that ties the messages to a request.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let path = TopicPath::parse(&args.topic)?;
    // What can be seen to be wrong is refused before anything is connected.
    let given = args.json.as_deref().map(check).transpose()?;
    let fleet = args.backend.connect().await?;
    let publisher = Publisher {
        topic: path.topic(&fleet, Codec::bytes())?,
        event_type: args.event_type,
        correlation_id: args.correlation_id,
    };
    let result = match given {
        Some(payload) => {
            let receivers = publisher.publish(payload).await?;
            println!("published to {path}{receivers}");
            Ok(())
        }
        None => publisher.lines().await,
    };
    fleet.close().await;
    result.map(|()| ExitCode::SUCCESS)
}

struct Publisher {
    topic: Topic<Bytes>,
    event_type: Option<String>,
    correlation_id: Option<String>,
}

impl Publisher {
    /// Publishes, and says who received it.
    async fn publish(&self, payload: Bytes) -> Result<String, Failure> {
        let mut publish = self
            .topic
            .publish(&payload)
            .content_type(Codec::<serde_json::Value>::json().content_type());
        if let Some(event_type) = &self.event_type {
            publish = publish.event_type(event_type);
        }
        if let Some(id) = &self.correlation_id {
            publish = publish.correlation_id(id);
        }
        Ok(match publish.await?.receivers {
            Some(1) => ", received by 1 instance".to_owned(),
            Some(count) => format!(", received by {count} instances"),
            None => String::new(),
        })
    }

    /// Publishes each line, in order. Stops at the first that cannot be.
    async fn lines(&self) -> Result<(), Failure> {
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {human_pos} published, {per_sec} [{elapsed}]")
                .expect("the template is a constant"),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut number = 0_u64;
        loop {
            let line = lines.next_line().await.map_err(|error| {
                Failure::failed(format!("cannot read line {}: {error}", number + 1))
            })?;
            let Some(line) = line else { break };
            number += 1;
            if line.trim().is_empty() {
                continue;
            }
            let at_line =
                |failure: Failure| failure.at(format_args!("line {number}"), bar.position());
            let payload = check(&line).map_err(at_line)?;
            self.publish(payload).await.map_err(at_line)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("published {} to {}", bar.position(), self.topic.name());
        Ok(())
    }
}

fn check(text: &str) -> Result<Bytes, Failure> {
    let json: &RawValue = serde_json::from_str(text)
        .map_err(|error| Failure::usage(format!("payload must be JSON: {error}")))?;
    Ok(Bytes::copy_from_slice(json.get().as_bytes()))
}
