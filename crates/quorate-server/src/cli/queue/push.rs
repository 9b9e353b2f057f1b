//! `quorate queue push`.

use std::io::BufRead;
use std::process::ExitCode;

use serde_json::json;

use super::{AT_ONCE, Which, close};
use crate::api::queues::{PushBody, RawInput, RawQueue};
use crate::cli::value;
use crate::failure::Failure;
use crate::json::compact;

/// Bytes of inputs that are pushed with one call, unless a single one has more.
const MOST_TOGETHER: usize = 8 * 1024 * 1024;

/// Queue a job, and print its id: the input is the JSON given, or standard input.
///
/// Prints `{"id", "new"}`; `new` is false where another job has its key.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Push {
    #[command(flatten)]
    which: Which,
    /// What its handler gets, as JSON. Without it, standard input is that.
    #[arg(conflicts_with = "lines")]
    input: Option<String>,
    /// Queue a job for each line of standard input, which is JSON.
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    job: PushBody,
}

impl Push {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let options = self.job.options().map_err(Failure::usage)?;
        let job = |bytes| RawInput {
            bytes,
            options: options.clone(),
        };
        if !self.lines {
            let input = job(value::read(self.input)?);
            let (fleet, queue) = self.which.open().await?;
            push(&queue, &[input]).await?;
            close(&fleet).await;
            return Ok(ExitCode::SUCCESS);
        }
        let (fleet, queue) = self.which.open().await?;
        let (mut inputs, mut bytes, mut pushed) = (Vec::new(), 0, 0);
        for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
            let failed =
                |failure: Failure, pushed| failure.at(format_args!("line {number}"), pushed);
            let line = line.map_err(|error| {
                let cannot = Failure::failed(format!("cannot read standard input: {error}"));
                failed(cannot, pushed)
            })?;
            if line.trim().is_empty() {
                continue;
            }
            let input = compact(line.as_bytes());
            let input = input.map_err(|rule| failed(Failure::usage(rule), pushed))?;
            if !inputs.is_empty()
                && (inputs.len() == AT_ONCE || bytes + input.len() > MOST_TOGETHER)
            {
                push(&queue, &inputs).await?;
                pushed += inputs.len() as u64;
                (inputs, bytes) = (Vec::new(), 0);
            }
            bytes += input.len();
            inputs.push(job(input));
        }
        push(&queue, &inputs).await?;
        close(&fleet).await;
        Ok(ExitCode::SUCCESS)
    }
}

async fn push(queue: &RawQueue, inputs: &[RawInput]) -> Result<(), Failure> {
    for job in queue.push_many(inputs).await? {
        value::print_json(&json!({ "id": job.id().to_string(), "new": job.is_new() }))?;
    }
    Ok(())
}
