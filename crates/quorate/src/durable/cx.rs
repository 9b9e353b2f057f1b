//! What a durable function does its work with.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::entry::Did;
use super::failure::{Failure, FailureKind};
use super::map::Map;
use super::running::Running;
use super::scope::{Op, Scope};
use super::signal::{Receive, Signal};
use super::step::{Step, StepContext};
use crate::clock::{Micros, whole_micros};
use crate::hooks::ErrorSource;
use crate::queue::MAX_TIME;

/// What a durable function does its work with: whatever is done through it is written down, so that the function can be led through again,
/// to where it stopped, by another process.
///
/// # Rules of determinism
/// A function that is led through again must come to the same operations in the same order. So what may be different the next time
/// belongs into a [step](Self::step): calls, files, clocks, random numbers, what others can change. What a step gave, the input, [`now`](Self::now),
/// [`random`](Self::random) and [`uuid`](Self::uuid) are the same each time. Waiting is [`sleep`](Self::sleep) and [`signal`](Self::signal);
/// doing things at the same time is [`join`](Self::join), [`select`](Self::select) and [`map`](Self::map), or whatever polls futures: an
/// operation has its place by when it was begun, not by when it was polled. A part with several operations, of which another part knows nothing,
/// is a [`scope`](Self::scope).
///
/// Where the code comes to something else than what is written down, the run is put aside, and says where.
///
/// # Clone
/// Clones are the same scope of the same run.
#[derive(Clone, Debug)]
pub struct Cx(pub(super) Arc<Scope>);

impl Cx {
    pub(super) fn run(&self) -> &Arc<Running> {
        &self.0.run
    }

    /// What the run was called by who started it.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run().input.run
    }

    /// The version of the function that the run was started with.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.run().input.version
    }

    /// Does something once: `body` is called, and what it gives is written down before the function goes on.
    pub fn step<'a, T, F, Fut, E>(
        &self,
        name: impl Into<Cow<'static, str>>,
        mut body: F,
    ) -> Step<'a, T>
    where
        F: FnMut() -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Failure>,
    {
        Step::new(self.0.begin(name.into()), move |_| body())
    }

    /// The same of a `body` that wants to know its [idempotency key](StepContext::idempotency_key), or which attempt it is.
    pub fn step_with<'a, T, F, Fut, E>(
        &self,
        name: impl Into<Cow<'static, str>>,
        body: F,
    ) -> Step<'a, T>
    where
        F: FnMut(StepContext) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Failure>,
    {
        Step::new(self.0.begin(name.into()), body)
    }

    /// Waits so long, by the clock of the home, whatever becomes of this process. At most 36 500 days.
    ///
    /// # Errors
    /// If the run is asked to stop.
    pub fn sleep(
        &self,
        name: impl Into<Cow<'static, str>>,
        time: Duration,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        sleep(self.0.begin(name.into()), Pause::For(time))
    }

    /// Waits until then, by the clock of the home.
    ///
    /// # Errors
    /// If the run is asked to stop.
    pub fn sleep_until(
        &self,
        name: impl Into<Cow<'static, str>>,
        time: SystemTime,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let op = self.0.begin(name.into());
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let until = Micros::new(whole_micros(since.unwrap_or_default()));
        sleep(op, Pause::Until(until))
    }

    /// Waits for a signal, which others [send](super::RunHandle::signal).
    pub fn signal<T>(&self, signal: &Signal<T>) -> Receive<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        Receive::new(self.0.begin(signal.shared_name()))
    }

    /// Does a part of the function in a scope of its own: what is begun there has its places there, so that parts that run at the same time
    /// need not know of each other.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn scope<T, F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        body: F,
    ) -> impl Future<Output = Result<T, Failure>>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let mut op = self.0.begin(name.into());
        async move {
            op.ready().await;
            let scope = op.scope();
            let ended = body(Self(scope.clone())).await;
            scope.end().await;
            op.passed(scope.now());
            ended
        }
    }

    /// Does the same with each of many, at most [so many](Map::concurrency) at a time. Each has a scope of its own, by its place
    /// in the list.
    ///
    /// # Example
    /// ```
    /// # use quorate::{Cx, Failure};
    /// # async fn mail(_: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// async fn invite(cx: Cx, friends: Vec<String>) -> Result<usize, Failure> {
    ///     let sent = cx
    ///         .map("invite", friends, |cx, friend| async move {
    ///             cx.step("mail", || mail(&friend)).await
    ///         })
    ///         .concurrency(20)
    ///         .await?;
    ///     Ok(sent.len())
    /// }
    /// ```
    pub fn map<'a, I, T, F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        items: I,
        body: F,
    ) -> Map<'a, I::Item, T>
    where
        I: IntoIterator,
        I::Item: Send + 'a,
        F: Fn(Self, I::Item) -> Fut + Send + Sync + 'a,
        Fut: Future<Output = Result<T, Failure>> + Send + 'a,
    {
        Map::new(self.0.begin(name.into()), items.into_iter().collect(), body)
    }

    /// Whether the code goes on as it is since a change that is called `name`: a run that passed this place before the change goes on as
    /// it was.
    ///
    /// ```
    /// # use quorate::{Cx, Failure};
    /// # async fn weigh() -> Result<u32, std::io::Error> { Ok(1) }
    /// # async fn measure() -> Result<u32, std::io::Error> { Ok(1) }
    /// async fn pack(cx: Cx, _: ()) -> Result<u32, Failure> {
    ///     if cx.patched("measure first").await? {
    ///         cx.step("measure", measure).await?;
    ///     }
    ///     cx.step("weigh", weigh).await
    /// }
    /// ```
    ///
    /// # Errors
    /// If the run is asked to stop.
    pub fn patched(
        &self,
        name: impl Into<Cow<'static, str>>,
    ) -> impl Future<Output = Result<bool, Failure>> + Send + 'static {
        let name = name.into();
        // A run that passed this place before there was a mark has none.
        let is_marked = self.0.is_next(&name) != Some(false);
        let op = is_marked.then(|| self.0.begin(name));
        async move {
            match op {
                Some(op) => mark(op).await,
                None => Ok(false),
            }
        }
    }

    /// The same scope, in which operations go on although the run was asked to stop: to undo what was done.
    #[must_use]
    pub fn shielded(&self) -> Self {
        Self(self.0.shielded())
    }

    /// When the last operation of this scope was over, by the clock of the home; when the run was started, if there was none. The same in
    /// each replay.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.0.now().get())
    }

    /// A random number, another each time, and the same in each replay.
    #[must_use]
    pub fn random(&self) -> u64 {
        let [first, second] = halves(self.0.draw());
        first ^ second
    }

    /// A random UUID (version 4), another each time, and the same in each replay.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.0.draw()).into_uuid()
    }

    /// Whether the function is led through what it did before, in this scope: for what is to be told once, such as a line of a log.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.0.is_replaying()
    }

    /// Says how far the run is, for whoever [looks](super::RunHandle::progress): anything that is JSON, of at most 16 KiB, in place of what
    /// was said before. Not while the function is led through what it did before. Where it cannot be said, `on_error` is told.
    pub async fn progress<T: Serialize + Sync + ?Sized>(&self, value: &T) {
        if self.is_replaying() {
            return;
        }
        let _busy = self.run().activity.busy();
        if let Err(error) = self.run().job.progress(value).await {
            let hooks = &self.run().job.queues().context.hooks;
            hooks.error(ErrorSource::Durable, &error);
        }
    }

    /// Waits for both, which go on at the same time. If one fails, the other goes on until it is over; then it is the first of the failures, by
    /// place.
    ///
    /// # Errors
    /// Those of what is waited for.
    pub async fn join<A, B>(
        &self,
        a: impl IntoFuture<Output = Result<A, Failure>>,
        b: impl IntoFuture<Output = Result<B, Failure>>,
    ) -> Result<(A, B), Failure> {
        let (a, b) = futures_util::future::join(a.into_future(), b.into_future()).await;
        Ok((a?, b?))
    }

    /// The same of three.
    ///
    /// # Errors
    /// Those of what is waited for.
    pub async fn join3<A, B, C>(
        &self,
        a: impl IntoFuture<Output = Result<A, Failure>>,
        b: impl IntoFuture<Output = Result<B, Failure>>,
        c: impl IntoFuture<Output = Result<C, Failure>>,
    ) -> Result<(A, B, C), Failure> {
        let (a, b, c) = (a.into_future(), b.into_future(), c.into_future());
        let (a, b, c) = futures_util::future::join3(a, b, c).await;
        Ok((a?, b?, c?))
    }

    /// The same of many.
    ///
    /// # Errors
    /// Those of what is waited for.
    pub async fn join_all<T, I>(&self, all: I) -> Result<Vec<T>, Failure>
    where
        I: IntoIterator,
        I::Item: IntoFuture<Output = Result<T, Failure>>,
    {
        let all = all.into_iter().map(IntoFuture::into_future);
        let all = futures_util::future::join_all(all).await;
        all.into_iter().collect()
    }
}

/// Takes note that the code goes on as it is since a change.
async fn mark(mut op: Op) -> Result<bool, Failure> {
    op.ready().await;
    if let Some((when, did)) = op.take_records().into_iter().next() {
        return match did {
            Did::Patched => {
                op.passed(when);
                Ok(true)
            }
            other => op.diverge(&other, "a mark of a change").await,
        };
    }
    op.run().gate(op.scope.is_shielded).await?;
    op.record(&Did::Patched).await;
    Ok(true)
}

/// How long to wait.
enum Pause {
    /// From when it is first asked for.
    For(Duration),
    /// By the clock of the home.
    Until(Micros),
}

/// Waits, whatever becomes of this process.
async fn sleep(mut op: Op, pause: Pause) -> Result<(), Failure> {
    op.ready().await;
    let mut until = None;
    for (when, did) in op.take_records() {
        match did {
            Did::Sleep { time } => until = Some(when.plus(Duration::from_micros(time))),
            Did::SleepUntil { time } => until = Some(Micros::new(time)),
            Did::Stopped { reason } => {
                op.passed(when);
                return Err(Failure::new(FailureKind::Cancelled, reason));
            }
            other => return op.diverge(&other, "a sleep").await,
        }
    }
    let is_shielded = op.scope.is_shielded;
    if until.is_none() {
        op.run().gate(is_shielded).await?;
    }
    let until = match (until, pause) {
        (Some(until), _) => until,
        (None, Pause::For(time)) => {
            let time = time.min(MAX_TIME);
            let sleep = Did::Sleep {
                time: whole_micros(time),
            };
            op.record(&sleep).await.plus(time)
        }
        (None, Pause::Until(until)) => {
            let sleep = Did::SleepUntil { time: until.get() };
            op.record(&sleep).await;
            until
        }
    };
    if let Err(stopped) = op.run().sleep(until, is_shielded).await {
        // Its time will have come when this is replayed: it is to end as it did.
        let reason = stopped.message().to_owned();
        op.record(&Did::Stopped { reason }).await;
        return Err(stopped);
    }
    op.passed(until);
    Ok(())
}

fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let number = u128::from_be_bytes(bytes);
    [(number >> 64) as u64, number as u64]
}
