//! Signals: what others tell a run that waits for it, or will.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use super::entry::Did;
use super::failure::{Failure, FailureKind};
use super::inbox::Signal as Sent;
use super::scope::Op;
use crate::clock::{Micros, whole_micros};
use crate::entry_key::check_area;
use crate::error::{Error, Result as CallResult};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of a signal, and the type of what it says: a `const` that runs and those who tell them share.
///
/// # Example
/// ```
/// use quorate::Signal;
///
/// const APPROVED: Signal<bool> = Signal::new("approved");
/// assert_eq!(APPROVED.name(), "approved");
/// ```
pub struct Signal<T> {
    name: Cow<'static, str>,
    says: PhantomData<fn(T) -> T>,
}

impl<T> Signal<T> {
    /// A signal called `name`, which says something that is JSON.
    ///
    /// A name has 1 to 128 letters, digits and `_ . / -`.
    ///
    /// # Panics
    /// If the name breaks that rule; in a `const` this is a compile error. For names known only at run time there is
    /// [`try_new`](Self::try_new).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        if let Err(rule) = check_area(name.as_bytes()) {
            panic!("{}", rule);
        }
        Self {
            name: Cow::Borrowed(name),
            says: PhantomData,
        }
    }

    /// A signal whose name is known at run time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the name breaks the rule of [`new`](Self::new).
    pub fn try_new(name: impl Into<String>) -> CallResult<Self> {
        let name = name.into();
        check_area(name.as_bytes()).map_err(|rule| Error::invalid("signal", rule))?;
        Ok(Self {
            name: Cow::Owned(name),
            says: PhantomData,
        })
    }

    /// The signal's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> Cow<'static, str> {
        self.name.clone()
    }
}

// Not derived: the type need not be `Clone` or `Debug`.
impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            says: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Signal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signal").field(&self.name).finish()
    }
}

/// A signal about to be waited for: options, then `.await`.
///
/// It gives the first of this name that nobody has taken: one that came before is there. Each is taken once. While a run does nothing but wait
/// it need not be in memory; it goes on when the signal comes, on whichever instance.
///
/// # Errors
/// A [`Failure`] that [is a timeout](Failure::is_timeout) if none came in [time](Self::timeout), or [is
/// cancelled](Failure::is_cancelled) if the run was asked to stop.
///
/// # Cancel safety
/// When the future is dropped, no signal is lost.
#[must_use = "nothing is waited for without `.await`"]
pub struct Receive<T> {
    op: Op,
    timeout: Option<Duration>,
    says: PhantomData<fn() -> T>,
}

/// A signal that was taken, and goes back unless it is what the function goes on with.
struct Taken<'a> {
    op: &'a Op,
    message: u64,
    signal: Option<Sent>,
}

impl<T> Receive<T> {
    pub(super) const fn new(op: Op) -> Self {
        Self {
            op,
            timeout: None,
            says: PhantomData,
        }
    }

    /// How long to wait at most, by the clock of the home. It outlives the process. Default: for ever.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<T: DeserializeOwned + Send> Receive<T> {
    async fn run(mut self) -> Result<T, Failure> {
        self.op.ready().await;
        let (mut ends, mut taken) = (None, None);
        for (when, did) in self.op.take_records() {
            match did {
                Did::Wait { time } => ends = Some(when.plus(Duration::from_micros(time))),
                Did::Signal { value, .. } => taken = Some((when, value)),
                Did::Returned { .. } => taken = None,
                Did::TimedOut => {
                    self.op.passed(when);
                    return Err(self.timed_out());
                }
                other => return self.op.diverge(&other, "a wait for a signal").await,
            }
        }
        if let Some((when, value)) = taken {
            self.op.passed(when);
            return Ok(self.op.read(&value).await);
        }
        self.op.run().gate(self.op.scope.is_shielded).await?;
        if ends.is_none()
            && let Some(time) = self.timeout
        {
            let wait = Did::Wait {
                time: whole_micros(time),
            };
            ends = Some(self.op.record(&wait).await.plus(time));
        }
        self.receive(ends).await
    }

    async fn receive(&self, ends: Option<Micros>) -> Result<T, Failure> {
        let run = self.op.run();
        run.inbox.want();
        let waits = run.activity.waiting(ends.map(|ends| run.instant(ends)));
        let is_shielded = self.op.scope.is_shielded;
        let found = tokio::select! {
            biased;
            found = run.inbox.until(|inbox| inbox.take(self.op.name(), ends)) => Some(found),
            failure = run.stopped(is_shielded) => return Err(failure),
            () = until(run, ends) => None,
        };
        let Some((message, signal)) = found else {
            self.op.record(&Did::TimedOut).await;
            return Err(self.timed_out());
        };
        // From here on there is something under way.
        let _busy = run.activity.busy();
        drop(waits);
        let value = signal.value.clone();
        let mut taken = Taken {
            op: &self.op,
            message,
            signal: Some(signal),
        };
        let did = Did::Signal {
            message,
            value: value.clone(),
        };
        self.op.record(&did).await;
        taken.signal = None;
        Ok(self.op.read(&value).await)
    }

    fn timed_out(&self) -> Failure {
        let why = format!("no signal `{}` came in time", self.op.name());
        Failure::new(FailureKind::TimedOut, why)
    }
}

/// Until then; for ever, if that is never.
async fn until(run: &super::running::Running, ends: Option<Micros>) {
    match ends {
        Some(ends) => tokio::time::sleep_until(run.instant(ends)).await,
        None => std::future::pending().await,
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(signal) = self.signal.take() {
            let run = self.op.run();
            // Behind the entry that says it was taken.
            let returned = Did::Returned {
                message: self.message,
            };
            run.note(&self.op.path, &returned);
            run.inbox.give_back(self.message, signal);
        }
    }
}

impl<T: DeserializeOwned + Serialize + Send + 'static> IntoFuture for Receive<T> {
    type Output = Result<T, Failure>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl<T> fmt::Debug for Receive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receive")
            .field("path", &self.op.path)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
