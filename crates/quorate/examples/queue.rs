//! Jobs that survive the instance that took them.
//!
//! ```text
//! cargo run -p quorate --example queue                      # in this process
//! cargo run -p quorate --example queue redis://localhost    # on a server
//! ```

use std::time::Duration;

use quorate::{
    Backoff, CancellationToken, Ended, Fleet, Job, JobError, OrAbort, QueueSpec, WorkerStatus,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Email {
    to: String,
}

/// Tried three times, soon after each other.
const EMAILS: QueueSpec<Email, String> =
    QueueSpec::new("example-emails")
        .max_attempts(3)
        .backoff(Backoff {
            initial: Duration::from_millis(50),
            ..Backoff::DEFAULT
        });

async fn send(job: Job<Email>) -> Result<String, JobError> {
    let (_, host) = job
        .input
        .to
        .split_once('@')
        .ok_or("no mailbox")
        .or_abort()?;
    if host == "busy" && job.attempt() < 3 {
        println!("{}: attempt {} fails", job.input.to, job.attempt());
        return Err(JobError::retry("try again later"));
    }
    job.log(format!("sent to {host}")).await?;
    Ok(format!(
        "{} has it after {} attempts",
        job.input.to,
        job.attempt()
    ))
}

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    println!("a queue on {fleet}");

    // Another instance works.
    let other = fleet.instance("worker").await?;
    let stop = CancellationToken::new();
    let worker = other.queue(&EMAILS).worker(send).concurrency(4);
    let mut status = worker.status();
    let mut working = tokio::task::JoinSet::new();
    working.spawn(worker.run(stop.child_token()));

    // This one pushes, and waits.
    let emails = fleet.queue(&EMAILS);
    let to = |to: &str| Email { to: to.to_owned() };
    let ann = emails.push(&to("ann@home")).unique("order-42").await?;
    let again = emails.push(&to("ann@home")).unique("order-42").await?;
    println!("pushed twice, one job: {}", ann.id() == again.id());
    println!("{}", ann.result().timeout(Duration::from_secs(10)).await?);
    println!("{}", emails.push(&to("bob@busy")).await?.result().await?);
    if let Ended::Dead(why) = emails.push(&to("nobody")).await?.ended().await? {
        println!("nobody: dead, {why}");
    }
    let later = emails
        .push(&to("eve@home"))
        .delay(Duration::from_secs(3600))
        .await?;
    later.cancel().await?;
    println!("eve: {:?}", later.ended().await?);

    stop.cancel();
    while let Some(worked) = working.join_next().await {
        worked.expect("it does not panic")?;
    }
    let stopped = *status.borrow_and_update() == WorkerStatus::Stopped;
    println!("the worker has stopped: {stopped}");
    other.close().await;
    fleet.close().await;
    Ok(())
}
