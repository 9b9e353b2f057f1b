//! The one choke point that every call passes: deadline, retry, metrics, error context.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::RetryPolicy;
use crate::clock::after;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::hooks::Hooks;
use crate::port::CallOptions;
use crate::telemetry;

/// What every call of a fleet shares.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) retry: RetryPolicy,
    pub(crate) command_timeout: Duration,
    pub(crate) deadline: Option<Duration>,
    pub(crate) hooks: Hooks,
    tasks: TaskTracker,
    /// Remembered from the first call, so that a guard dropped outside of the runtime can still
    /// release what it holds.
    runtime: OnceLock<Handle>,
    closed: CancellationToken,
    /// The same, for each call to look at: the token has a lock.
    is_closed: AtomicBool,
}

/// Whether applying an operation twice does harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Repeating is harmless, even when the first reply was lost.
    Harmless,
    /// Only an attempt known to have had no effect may be repeated.
    OnlyIfNotApplied,
}

/// What one call may do differently from the others of its fleet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Bounds the whole call, instead of the fleet's own deadline.
    pub(crate) deadline: Option<Duration>,
    /// Instead of the fleet's own policy.
    pub(crate) retry: Option<RetryPolicy>,
    /// Repeating is harmless, whatever the operation says of itself.
    pub(crate) is_harmless: bool,
    /// Time of each attempt that the server is asked to wait.
    pub(crate) more_time: Duration,
}

/// A kind of operation: its names, its safety, and its metrics.
#[derive(Debug)]
pub(crate) struct Operation {
    /// `capability.verb`, the name in errors.
    pub(crate) name: &'static str,
    capability: &'static str,
    verb: &'static str,
    repeat: Repeat,
    meters: OnceLock<Meters>,
}

/// Handles looked up once: a lookup per call would cost more than the rest of the bookkeeping.
#[derive(Debug)]
struct Meters {
    ok: Counter,
    seconds: Histogram,
    in_flight: Gauge,
}

impl Operation {
    /// `name` is `capability.verb`.
    pub(crate) const fn new(
        name: &'static str,
        capability: &'static str,
        verb: &'static str,
        repeat: Repeat,
    ) -> Self {
        Self {
            name,
            capability,
            verb,
            repeat,
            meters: OnceLock::new(),
        }
    }

    fn meters(&self) -> &Meters {
        self.meters.get_or_init(|| Meters {
            ok: metrics::counter!(telemetry::OPERATIONS,
                "capability" => self.capability, "operation" => self.verb, "result" => "ok"),
            seconds: metrics::histogram!(telemetry::OPERATION_SECONDS,
                "capability" => self.capability, "operation" => self.verb),
            in_flight: metrics::gauge!(telemetry::IN_FLIGHT, "capability" => self.capability),
        })
    }
}

/// One call under way; counted down also when its future is dropped.
pub(crate) struct Call<'a> {
    operation: &'a Operation,
    started: Instant,
    /// When the whole call must have ended.
    ends: Option<Instant>,
    limits: Limits,
}

impl Call<'_> {
    /// Counts the call's result.
    pub(crate) fn finish<T>(&self, result: &Result<T>) {
        let meters = self.operation.meters();
        meters.seconds.record(self.started.elapsed());
        match result {
            Ok(_) => meters.ok.increment(1),
            // Failures are rare enough to pay for a lookup.
            Err(error) => metrics::counter!(telemetry::OPERATIONS,
                "capability" => self.operation.capability,
                "operation" => self.operation.verb,
                "result" => error.kind().as_str())
            .increment(1),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.operation.meters().in_flight.decrement(1.0);
    }
}

/// Bounds of one attempt, given to the closure that makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// When it began: read once, for whoever needs a present.
    pub(crate) began: Instant,
    /// When the attempt must have ended.
    pub(crate) deadline: Instant,
}

impl Attempt {
    /// The bounds, for a backend that is called at once.
    pub(crate) fn options(self) -> CallOptions {
        CallOptions::until(self.deadline).as_of(self.began)
    }
}

impl Context {
    pub(crate) fn new(
        retry: RetryPolicy,
        command_timeout: Duration,
        deadline: Option<Duration>,
        hooks: Hooks,
    ) -> Self {
        Self {
            retry,
            command_timeout,
            deadline,
            hooks,
            tasks: TaskTracker::new(),
            runtime: OnceLock::new(),
            closed: CancellationToken::new(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Runs `attempt` until it succeeds, fails for good, or time is up.
    ///
    /// `deadline` bounds the whole call and replaces the fleet's own.
    pub(crate) async fn run<T, F, Fut>(
        &self,
        operation: &Operation,
        target: &str,
        deadline: Option<Duration>,
        attempt: F,
    ) -> Result<T>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let limits = Limits {
            deadline,
            ..Limits::default()
        };
        self.run_within(limits, operation, target, attempt).await
    }

    /// Like [`run`](Self::run), with more to say about the call.
    pub(crate) async fn run_within<T, F, Fut>(
        &self,
        limits: Limits,
        operation: &Operation,
        target: &str,
        attempt: F,
    ) -> Result<T>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let call = self.begin_within(limits, operation);
        self.resume(call, target, None, attempt).await
    }

    /// Counts a call that was answered with a look into the process, which neither waits nor fails. It is not timed: the
    /// clock would be most of it.
    pub(crate) fn at_once(&self, operation: &Operation) -> Result<()> {
        self.check_open()
            .map_err(|error| error.with_operation(operation.name))?;
        operation.meters().ok.increment(1);
        Ok(())
    }

    /// Starts counting one call, for who makes its first attempt by itself.
    pub(crate) fn begin<'o>(
        &self,
        operation: &'o Operation,
        deadline: Option<Duration>,
    ) -> Call<'o> {
        let limits = Limits {
            deadline,
            ..Limits::default()
        };
        self.begin_within(limits, operation)
    }

    fn begin_within<'o>(&self, limits: Limits, operation: &'o Operation) -> Call<'o> {
        operation.meters().in_flight.increment(1.0);
        // Clocks are read as seldom as can be: on the fast path they are a good part of a call.
        let started = Instant::now();
        Call {
            operation,
            started,
            ends: limits
                .deadline
                .or(self.deadline)
                .and_then(|limit| started.checked_add(limit)),
            limits,
        }
    }

    /// The bounds of a call's first attempt.
    pub(crate) fn first_attempt(&self, call: &Call<'_>) -> Attempt {
        self.attempt(call, call.started)
    }

    fn attempt(&self, call: &Call<'_>, began: Instant) -> Attempt {
        let own = began + self.command_timeout + call.limits.more_time;
        let deadline = call.ends.map_or(own, |ends| ends.min(own));
        Attempt { began, deadline }
    }

    /// Like [`run`](Self::run), for a call that was begun: after its first attempt if that `failed`.
    pub(crate) async fn resume<T, F, Fut>(
        &self,
        call: Call<'_>,
        target: &str,
        mut failed: Option<Error>,
        mut attempt: F,
    ) -> Result<T>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let operation = call.operation;
        let mut number = 1;
        let mut began = call.started;
        // An earlier attempt may have been applied, whatever becomes of the last one.
        let mut may_be_applied = false;
        let result = loop {
            let error = if let Some(error) = failed.take() {
                error
            } else {
                if let Err(closed) = self.check_open() {
                    break Err(closed);
                }
                match attempt(self.attempt(&call, began)).await {
                    Ok(value) => break Ok(value),
                    Err(error) => error,
                }
            };
            may_be_applied |= error.outcome() == Outcome::Unknown;
            let Some(pause) = self.pause_before_retry(&call, &error, number) else {
                break Err(error);
            };
            metrics::counter!(telemetry::RETRIES,
                "capability" => operation.capability, "operation" => operation.verb)
            .increment(1);
            tracing::debug!(operation = operation.name, number, %error, ?pause, "retrying");
            // On the heap: a call that succeeds at once need not carry it.
            if !Box::pin(self.stays_open_for(pause)).await {
                break Err(error);
            }
            number += 1;
            began = Instant::now();
        };
        let result = result.map_err(|error| {
            let error = error.with_operation(operation.name).with_target(target);
            if may_be_applied {
                error.with_outcome(Outcome::Unknown)
            } else {
                error
            }
        });
        call.finish(&result);
        result
    }

    /// How long to wait before another attempt, or `None` if there must not be one.
    fn pause_before_retry(&self, call: &Call<'_>, error: &Error, number: u32) -> Option<Duration> {
        let safe = error.outcome() == Outcome::NotApplied
            || call.operation.repeat == Repeat::Harmless
            || call.limits.is_harmless;
        let retry = call.limits.retry.as_ref().unwrap_or(&self.retry);
        if !(error.is_retryable() && safe && retry.allows_after(number)) {
            return None;
        }
        let pause = retry.backoff.delay(number);
        // A retry that could only begin after the end would report the wait instead of the cause.
        let ends = call.ends;
        (ends.is_none_or(|ends| after(Instant::now(), pause) < ends)).then_some(pause)
    }

    /// Waits for so long; `false` as soon as the fleet is closed.
    async fn stays_open_for(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.closed.cancelled() => false,
        }
    }

    /// When a call without a deadline of its own must have ended its present attempt.
    pub(crate) fn attempt_deadline(&self) -> Instant {
        Instant::now() + self.command_timeout
    }

    /// Runs `future` in the background until it ends. Shutdown waits for it.
    ///
    /// Returns whether it could be started: outside of a runtime, and before any call was made
    /// inside of one, there is nothing to run it on.
    pub(crate) fn spawn<F>(&self, future: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match Handle::try_current() {
            Ok(runtime) => {
                self.tasks.spawn_on(future, &runtime);
                self.runtime.get_or_init(|| runtime);
                true
            }
            Err(_) => self.runtime.get().is_some_and(|runtime| {
                self.tasks.spawn_on(future, runtime);
                true
            }),
        }
    }

    /// Whether there is a runtime to `spawn` on.
    pub(crate) fn has_runtime(&self) -> bool {
        Handle::try_current().is_ok() || self.runtime.get().is_some()
    }

    /// Remembers the runtime, for work that may have to be started outside of it later.
    pub(crate) fn remember_runtime(&self) {
        if let Ok(runtime) = Handle::try_current() {
            self.runtime.get_or_init(|| runtime);
        }
    }

    /// Resolves when the fleet is closed.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Refuses work on a closed fleet.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            Err(Error::closed("the fleet"))
        } else {
            Ok(())
        }
    }

    /// Marks the fleet closed, so that background work ends, and waits for it until `deadline`.
    pub(crate) async fn shut_down(&self, deadline: Instant) {
        self.is_closed.store(true, Ordering::Release);
        self.closed.cancel();
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.tasks.len(),
                "background work outlived the shutdown"
            );
        }
    }
}

/// The error of an attempt whose time ran out after it was sent.
#[cfg(feature = "redis")]
pub(crate) fn timed_out_after_sending(what: &str) -> Error {
    timed_out_waiting(what).with_outcome(Outcome::Unknown)
}

/// The error of an attempt whose time ran out before anything was sent.
pub(crate) fn timed_out_waiting(what: &str) -> Error {
    Error::new(ErrorKind::Timeout).with_message(format!("time ran out while waiting for {what}"))
}
