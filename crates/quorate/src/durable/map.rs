//! The same for each of many, and one of several.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::{FutureExt, StreamExt, stream};

use super::cx::Cx;
use super::entry::Did;
use super::failure::Failure;
use super::scope::{Op, Scope};

/// How many at a time, unless told otherwise.
const CONCURRENCY: usize = 16;

/// What each is called in its scope.
const ITEM: &str = "item";

type Each<'a, I, T> = Arc<dyn Fn(Cx, I) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'a>;

/// The same about to be done with each of many: options, then `.await`.
///
/// It gives what came of each, in the order of the list.
///
/// # Errors
/// If some fail, the others go on until they are over; then it is the first of the failures, by place.
#[must_use = "nothing is done without `.await`"]
pub struct Map<'a, I, T> {
    op: Op,
    items: Vec<I>,
    body: Each<'a, I, T>,
    concurrency: usize,
}

impl<'a, I: Send + 'a, T> Map<'a, I, T> {
    pub(super) fn new<F, Fut>(op: Op, items: Vec<I>, body: F) -> Self
    where
        F: Fn(Cx, I) -> Fut + Send + Sync + 'a,
        Fut: Future<Output = Result<T, Failure>> + Send + 'a,
    {
        Self {
            op,
            items,
            body: Arc::new(move |cx, item| body(cx, item).boxed()),
            concurrency: CONCURRENCY,
        }
    }

    /// How many at a time, at least one. Default 16.
    pub const fn concurrency(mut self, items: usize) -> Self {
        self.concurrency = items;
        self
    }

    async fn run(mut self) -> Result<Vec<T>, Failure> {
        self.op.ready().await;
        let scope = self.op.scope();
        let number = self.items.len();
        let each = self.items.into_iter().enumerate().map(|(place, item)| {
            let (scope, body) = (scope.clone(), self.body.clone());
            async move { (place, one(&scope, place, item, &*body).await) }
        });
        // Not in the order of the list: one that takes long keeps no other from being begun.
        let mut ended = stream::iter(each).buffer_unordered(self.concurrency.max(1));
        let mut all: Vec<Option<Result<T, Failure>>> = Vec::new();
        all.resize_with(number, || None);
        while let Some((place, result)) = ended.next().await {
            all[place] = Some(result);
        }
        drop(ended);
        scope.end().await;
        self.op.passed(scope.now());
        all.into_iter().flatten().collect()
    }
}

async fn one<'a, I, T>(
    scope: &Arc<Scope>,
    place: usize,
    item: I,
    body: &(dyn Fn(Cx, I) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'a),
) -> Result<T, Failure> {
    let place =
        u32::try_from(place).map_err(|_| Failure::fatal("a list must have at most 2^32 items"))?;
    let mut op = scope.begin_at(ITEM.into(), place);
    op.ready().await;
    let inner = op.scope();
    let ended = body(Cx(inner.clone()), item).await;
    inner.end().await;
    op.passed(inner.now());
    ended
}

impl<'a, I: Send + 'a, T: Send + 'a> IntoFuture for Map<'a, I, T> {
    type Output = Result<Vec<T>, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl<I, T> fmt::Debug for Map<'_, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("path", &self.op.path)
            .field("items", &self.items.len())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl Cx {
    /// Waits for whichever is over first, and drops the other. Which that was is written down.
    ///
    /// A step that is dropped may have been under way; a signal that the other waited for is still there.
    ///
    /// # Errors
    /// That of what was over first.
    ///
    /// # Example
    /// ```
    /// use quorate::{Cx, Either, Failure, Signal};
    /// use std::time::Duration;
    ///
    /// const PAID: Signal<u32> = Signal::new("paid");
    ///
    /// async fn dunning(cx: Cx, _: ()) -> Result<&'static str, Failure> {
    ///     let week = Duration::from_secs(7 * 24 * 3600);
    ///     match cx.select(cx.signal(&PAID), cx.sleep("a week", week)).await? {
    ///         Either::Left(_) => Ok("paid"),
    ///         Either::Right(()) => Ok("not paid"),
    ///     }
    /// }
    /// ```
    pub fn select<A, B>(
        &self,
        a: impl IntoFuture<Output = Result<A, Failure>>,
        b: impl IntoFuture<Output = Result<B, Failure>>,
    ) -> impl Future<Output = Result<Either<A, B>, Failure>> {
        let mut op = self.0.begin("select".into());
        let (a, b) = (a.into_future(), b.into_future());
        async move {
            op.ready().await;
            if let Some((when, did)) = op.take_records().into_iter().next() {
                let ended = match did {
                    Did::Select(0) => a.await.map(Either::Left),
                    Did::Select(1) => b.await.map(Either::Right),
                    other => return op.diverge(&other, "a select").await,
                };
                op.passed(when);
                return ended;
            }
            let (a, b) = (pin!(a), pin!(b));
            let (ended, place) = match select(a, b).await {
                Either::Left((ended, _)) => (ended.map(Either::Left), 0),
                Either::Right((ended, _)) => (ended.map(Either::Right), 1),
            };
            if op.is_stopped() && ended.as_ref().is_err_and(Failure::is_cancelled) {
                // Nothing is written down once the run was asked to stop: whoever replays it is told the same.
                return ended;
            }
            op.record(&Did::Select(place)).await;
            ended
        }
    }
}
