//! Leads a function through a delivery of its run: to its end, to where it only waits, or to where its owner loses it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::child::tell_parent;
use super::cx::Cx;
use super::failure::Failure;
use super::inbox::Gate;
use super::running::{Begin, Halt, Loaded, Running};
use super::scope::Scope;
use super::workflow::{RunInput, RunOutput};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::queue::{
    Job, JobContext, JobError, JobWaiter, MAX_TIME, MOST_ENTRIES, Queues, ReadFrom,
};

/// How long a run that only waits stays in memory.
const LINGER: Duration = Duration::from_secs(1);

/// How often the inbox is read, in case an announcement was lost.
const REREAD: Duration = Duration::from_secs(10);

/// The same where nothing is announced, and after it could not be read.
const POLL: Duration = Duration::from_secs(1);

/// What parks a run, before the reason.
pub(super) const PARKED: &str = "parked: ";

/// What a worker needs to do the runs of a function.
pub(super) struct Driver {
    pub(super) workflow: Arc<str>,
    pub(super) writer: Arc<Writer>,
    pub(super) drains: CancellationToken,
}

impl Driver {
    /// Does what is left of a run.
    pub(super) async fn drive<F>(
        &self,
        job: Job<RunInput>,
        function: impl FnOnce(Cx, Box<RawValue>) -> F,
    ) -> Result<RunOutput, JobError>
    where
        F: Future<Output = Result<Box<RawValue>, Failure>>,
    {
        let (input, job) = job.split();
        // What comes behind this is announced to it, and what came before is read.
        let news = job.queues().hear_messages(job.queue(), job.id());
        let loaded = match load(&job).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(why)) => return Err(ended(&Halt::Broken(why))),
            Err(error) => {
                // Nothing was done, and it is not the run's fault: no attempt.
                let hooks = &job.queues().context.hooks;
                hooks.error(ErrorSource::Durable, &error);
                return Err(JobError::defer(POLL));
            }
        };
        let (running, recorded) = Running::new(Begin {
            workflow: self.workflow.clone(),
            input,
            job,
            writer: self.writer.clone(),
            drains: self.drains.clone(),
            loaded,
        });
        let (started, parent) = (running.started, running.input.parent.clone());
        let input = running.input.input.clone();
        let scope = Scope::new(running.clone(), Vec::new(), recorded, started, false);
        let function = async {
            let ended = function(Cx(scope.clone()), input).await;
            scope.end().await;
            for parent in parent.into_iter().chain(running.inbox.parents()) {
                tell_parent(&running, &parent, &ended).await;
            }
            ended
        };
        go_on(&running, news, function).await
    }
}

/// Until the function has ended, waits, or is not to go on here.
async fn go_on(
    running: &Running,
    news: JobWaiter,
    function: impl Future<Output = Result<Box<RawValue>, Failure>>,
) -> Result<RunOutput, JobError> {
    let listen = pin!(listen(running, news));
    tokio::select! {
        biased;
        () = running.job.cancelled().cancelled() => {
            Err(JobError::retry("its owner gave it up"))
        }
        () = running.halted.notified() => {
            Err(ended(&running.take_halt().unwrap_or(Halt::Lost)))
        }
        ended = function => settle(running, ended),
        () = drained(running) => {
            let idle = running.activity.idle();
            let idle = idle.filter(|_| !running.is_held.load(Ordering::Relaxed));
            Err(idle.map_or(JobError::defer(Duration::ZERO), |idle| wait(running, idle.until)))
        }
        until = suspended(running) => Err(wait(running, until)),
        never = listen => match never {},
    }
}

fn settle(running: &Running, ended: Result<Box<RawValue>, Failure>) -> Result<RunOutput, JobError> {
    let failure = match ended {
        Ok(value) => {
            let run = running.input.run.clone();
            return Ok(RunOutput { run, value });
        }
        Err(failure) => failure,
    };
    let is_asked = matches!(running.inbox.gate(), Gate::Cancelled(_));
    if failure.is_cancelled() && is_asked {
        return Err(JobError::cancelled());
    }
    Err(JobError::abort(failure.write()))
}

fn wait(running: &Running, until: Option<Instant>) -> JobError {
    let after = until.map_or(MAX_TIME, |until| running.until(until));
    JobError::wait(after, running.inbox.seen())
}

/// What becomes of a run that cannot go on.
fn ended(why: &Halt) -> JobError {
    match why {
        Halt::Lost => JobError::retry(why.to_string()),
        Halt::Diverged(_) | Halt::Broken(_) => JobError::abort(format!("{PARKED}{why}")),
        Halt::Full => JobError::abort(Failure::fatal(why.to_string()).write()),
    }
}

/// What stands in journal and inbox. The inner error says what is wrong with it.
async fn load(job: &JobContext) -> Result<Result<Loaded, String>> {
    let mut loaded = Loaded::default();
    if !job.goes_on() {
        return Ok(Ok(loaded));
    }
    let mut from = ReadFrom::default();
    loop {
        let page = job.queues().read(job.queue(), job.id(), from).await?;
        // What is not there any more is not ours either.
        let page = page.ok_or_else(|| Error::closed("the run"))?;
        loaded.now = Some(page.now);
        for (when, entry) in &page.entries {
            match loaded.recorded.insert(*when, entry) {
                Ok(Some((message, is_taken))) => loaded.inbox.replay(message, is_taken),
                Ok(None) => {}
                Err(why) => return Ok(Err(format!("entry {} {why}", from.entry))),
            }
            from.entry += 1;
        }
        from.message += page.messages.len() as u64;
        let wrong = loaded.inbox.read(&page.messages);
        report(job.queues(), job.queue(), wrong);
        let is_read = from.entry >= page.length && from.message >= page.told;
        if is_read || (page.entries.is_empty() && page.messages.is_empty()) {
            loaded.length = from.entry;
            return Ok(Ok(loaded));
        }
    }
}

/// Reads what others tell the run.
async fn listen(running: &Running, news: JobWaiter) -> std::convert::Infallible {
    let (queues, key) = (running.job.queues(), running.job.queue());
    loop {
        let pause = if news.hears() { REREAD } else { POLL };
        tokio::select! {
            () = news.news.notified() => {}
            () = running.inbox.wanted.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        while let Err(error) = read_inbox(queues, key, running).await {
            queues.context.hooks.error(ErrorSource::Durable, &error);
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn read_inbox(queues: &Queues, key: &Key, running: &Running) -> Result<()> {
    loop {
        let from = ReadFrom {
            // What the journal has, its owner wrote.
            entry: MOST_ENTRIES,
            message: running.inbox.seen(),
        };
        let Some(page) = queues.read(key, running.job.id(), from).await? else {
            return Ok(());
        };
        report(queues, key, running.inbox.read(&page.messages));
        if page.messages.is_empty() || running.inbox.seen() >= page.told {
            return Ok(());
        }
    }
}

/// Tells of messages that are none.
fn report(queues: &Queues, key: &Key, wrong: Vec<String>) {
    for why in wrong {
        let error = Error::new(crate::error::ErrorKind::Decode)
            .with_message(why)
            .with_target(key.name());
        queues.context.hooks.error(ErrorSource::Durable, &error);
    }
}

/// Until the run has only waited for a while, and will for longer. Returns until when at the latest.
async fn suspended(running: &Running) -> Option<Instant> {
    let activity = &running.activity;
    loop {
        let changed = activity.changed.notified();
        let Some(idle) = activity.idle() else {
            changed.await;
            continue;
        };
        let leaves = idle.since + LINGER;
        if idle.until.is_some_and(|until| until <= leaves) {
            changed.await;
            continue;
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(leaves) => {
                if activity.idle() == Some(idle) {
                    return idle.until;
                }
            }
        }
    }
}

/// Until its owner wants to be rid of it, and nothing is under way.
async fn drained(running: &Running) {
    running.drains.cancelled().await;
    running.activity.quiet().await;
}
