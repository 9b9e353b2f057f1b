//! A run as others hold it.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::drive::PARKED;
use super::failure::{Failure, FailureKind, RunFailure};
use super::history::RunHistory;
use super::message::{Message, Says};
use super::signal::Signal;
use super::step::MAX_STEP_VALUE;
use super::workflow::{RunInput, RunOutput};
use crate::clock::Micros;
use crate::error::{Error, ErrorKind, Result};
use crate::queue::{Ended, JobHandle, JobState, Queue};

/// How long to wait for the end of a run, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that was started: what becomes of it, and what it is told, from any instance.
///
/// # Clone
/// Clones are the same run. Dropping one does nothing to the run.
pub struct RunHandle<O = ()> {
    queue: Queue<RunInput, RunOutput>,
    job: JobHandle<RunOutput>,
    run: String,
    is_new: bool,
    gives: PhantomData<fn() -> O>,
}

/// How a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// It waits for an instance that does it.
    Queued,
    /// It waits until then, by the clock of the home, or for what comes before that.
    Waiting(Micros),
    /// An instance does it.
    Running,
    /// It is over, and has a result.
    Succeeded,
    /// It is over, and this is why.
    Failed(Failure),
    /// It was put aside, for this reason, until somebody decides: its code and its journal disagree. [`retry`](RunHandle::retry) lets it go
    /// on, with other code.
    Parked(String),
    /// It ended because it was asked to.
    Cancelled,
}

impl<O> RunHandle<O> {
    pub(super) const fn new(
        queue: Queue<RunInput, RunOutput>,
        job: JobHandle<RunOutput>,
        run: String,
        is_new: bool,
    ) -> Self {
        Self {
            queue,
            job,
            run,
            is_new,
            gives: PhantomData,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.run
    }

    /// Whether the call that gave this handle started it, or found it.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// How it does; `None` if there is no such run, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn state(&self) -> Result<Option<RunState>> {
        Ok(self.job.state().await?.map(RunState::from))
    }

    /// Waits until it is over.
    pub fn result(&self) -> RunResult<O> {
        RunResult {
            run: self.clone(),
            timeout: PATIENCE,
        }
    }

    /// Tells it something that it [waits](super::Cx::signal) for, or will. `false`: it is over, or there is no such run, or not any more.
    ///
    /// Signals are taken in the order in which they come, each once, also if the call that sent it was repeated because its reply was lost.
    ///
    /// # Errors
    /// `Encode`, `InvalidInput` for a value of more than 900 KiB or a run that has 100 000 of them, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, the signal may or may not be sent.
    pub async fn signal<T: Serialize>(&self, signal: &Signal<T>, value: &T) -> Result<bool> {
        let value = to_raw_value(value)
            .map_err(|error| Error::new(ErrorKind::Encode).with_source(error))?;
        if value.get().len() > MAX_STEP_VALUE {
            let rule = format_args!("must be at most {MAX_STEP_VALUE} bytes of JSON");
            return Err(Error::invalid("value", rule));
        }
        let name = signal.name().to_owned();
        self.tell(Says::Signal { name, value }).await
    }

    /// Asks it to stop: what it waits for, and what it does, gives a failure that [is cancelled](Failure::is_cancelled), as does whatever it
    /// begins from then on, unless that is [shielded](super::Cx::shielded). `false`: it is over, or there is no such run, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be asked.
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<bool> {
        let reason = reason.into();
        self.tell(Says::Cancel { reason }).await
    }

    /// Lets it begin nothing new until it is [resumed](Self::resume). What is under way goes on. `false`: it is over, or there is no
    /// such run, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be paused.
    pub async fn pause(&self) -> Result<bool> {
        self.tell(Says::Pause).await
    }

    /// Lets it go on that was [paused](Self::pause).
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not be resumed.
    pub async fn resume(&self) -> Result<bool> {
        self.tell(Says::Resume).await
    }

    /// Lets it go on that has failed, or was parked, from where it stopped: with the steps that are over, and other code perhaps. A step that
    /// failed is over, too. `false`: it has not, or there is no such run, or not any more.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not go on.
    pub async fn retry(&self) -> Result<bool> {
        let redriven = self.queue.redrive(&[self.job.id()]).await?;
        Ok(redriven == [true])
    }

    /// The same, from an earlier place: only the first entries of its [journal](Self::history) are kept, and what was done behind them is done
    /// again.
    ///
    /// # Errors
    /// `InvalidInput` if its journal has fewer, and those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, it may or may not go on.
    pub async fn retry_from(&self, entries: u64) -> Result<bool> {
        let (queues, key) = self.queue.home()?;
        queues.rewind(key, self.job.id(), entries).await
    }

    /// All that is written down of it, for people and for [replays](RunHistory); `None` if there is no such run, or not any more.
    ///
    /// It is read in parts: what is written meanwhile may be in it or not.
    ///
    /// # Errors
    /// `Decode` for what no run wrote, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn history(&self) -> Result<Option<RunHistory>> {
        RunHistory::read(&self.queue, self.job.id()).await
    }

    /// What it last said of how far it is; `None` if it said nothing, or is not there.
    ///
    /// # Errors
    /// `Decode` if it is of another type, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn progress<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let record = self.queue.inspect(self.job.id()).await?;
        let progress = record.and_then(|record| record.progress.clone());
        let read = |bytes: Bytes| serde_json::from_slice(&bytes);
        let progress = progress.map(read).transpose();
        progress.map_err(|error| Error::new(ErrorKind::Decode).with_source(error))
    }

    async fn tell(&self, says: Says) -> Result<bool> {
        let (queues, key) = self.queue.home()?;
        let message = Message::new(says).encode();
        let state = queues.tell(key, self.job.id(), &message).await?;
        Ok(state.is_some_and(|state| !matches!(state, JobState::Ended(_))))
    }
}

/// The end of a run, waited for: options, then `.await`.
///
/// It gives what the function returned, or the failure it ended with, as an error; one that is cancelled if it was asked to stop.
///
/// # Errors
/// `Timeout` if it is not over in time (the run goes on), `JobFailed` if it is parked, or what became of it is not kept any longer,
/// `Decode` for a result of another type, and those of the backend.
///
/// # Cancel safety
/// Yes.
#[must_use = "nothing is waited for without `.await`"]
#[derive(Debug)]
pub struct RunResult<O> {
    run: RunHandle<O>,
    timeout: Duration,
}

impl<O: DeserializeOwned> RunResult<O> {
    /// How long to wait at most. Default a minute.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn wait(self) -> Result<Result<O, RunFailure>> {
        let lost = |why: String| {
            let error = Error::new(ErrorKind::JobFailed).with_message(why);
            Err(error.with_target(self.run.run.clone()))
        };
        match self.run.job.ended().timeout(self.timeout).await? {
            Ended::Succeeded(output) => serde_json::from_str(output.value.get())
                .map(Ok)
                .map_err(|error| Error::new(ErrorKind::Decode).with_source(error)),
            Ended::Dead(why) if why.starts_with(PARKED) => lost(format!("the run is {why}")),
            Ended::Dead(why) => Ok(Err(RunFailure::new(Failure::read(&why)))),
            Ended::Cancelled | Ended::Expired => {
                let why = "it was asked to stop";
                let failure = Failure::new(FailureKind::Cancelled, why);
                Ok(Err(RunFailure::new(failure)))
            }
            Ended::Forgotten => lost("what became of the run is not kept any longer".to_owned()),
        }
    }
}

impl<O: DeserializeOwned + Send + 'static> IntoFuture for RunResult<O> {
    type Output = Result<Result<O, RunFailure>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.wait().boxed()
    }
}

// Not derived: the type need not be `Clone` or `Debug`.
impl<O> Clone for RunHandle<O> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            job: self.job.clone(),
            run: self.run.clone(),
            is_new: self.is_new,
            gives: PhantomData,
        }
    }
}

impl<O> fmt::Debug for RunHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHandle")
            .field("run", &self.run)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}
