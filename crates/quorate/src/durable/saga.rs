//! Undoing what was done, when what comes behind it fails.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::cx::Cx;
use super::failure::Failure;
use super::step::Step;

/// How often an undo is tried: what is not undone costs somebody.
const ATTEMPTS: u32 = 20;

type Undoing<'a> = Box<dyn FnMut() -> BoxFuture<'a, Result<(), Failure>> + Send + 'a>;

/// What is to be undone, and what the step is called that does it.
type Named<'a> = (Cow<'static, str>, Undoing<'a>);

/// What is to be undone if what comes behind it fails, the last first: see [`Cx::saga`].
///
/// # Clone
/// Clones are the same.
#[derive(Clone)]
pub struct Undo<'a>(Arc<Mutex<Vec<Named<'a>>>>);

impl<'a> Undo<'a> {
    /// Undoes what was done by calling `body`, in a step called `name`, if the saga fails. Tried 20 times.
    pub fn with<F, Fut, E>(&self, name: impl Into<Cow<'static, str>>, mut body: F)
    where
        F: FnMut() -> Fut + Send + 'a,
        Fut: Future<Output = Result<(), E>> + Send + 'a,
        E: Into<Failure>,
    {
        let body: Undoing<'a> = Box::new(move || body().map(|it| it.map_err(Into::into)).boxed());
        let mut all = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        all.push((name.into(), body));
    }

    fn take(&self) -> Option<Named<'a>> {
        let mut all = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        all.pop()
    }
}

impl Cx {
    /// Does a part of the function that is undone if it fails, or the run is asked to stop: what it said to [undo](Undo::with) is
    /// done, the last first, each as a step that goes on although the run was asked to stop.
    ///
    /// # Errors
    /// Those of `body`. If something cannot be undone, the failure says that as well, and what is left to be undone is undone all the same.
    ///
    /// # Example
    /// ```
    /// use quorate::{Cx, Failure};
    ///
    /// # async fn pay(_: u32) -> Result<u64, std::io::Error> { Ok(1) }
    /// # async fn refund(_: u64) -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn ship(_: u32) -> Result<(), std::io::Error> { Ok(()) }
    /// async fn order(cx: Cx, item: u32) -> Result<(), Failure> {
    ///     cx.saga("order", async |cx, undo| {
    ///         let payment = cx.step("pay", || pay(item)).await?;
    ///         undo.with("refund", move || refund(payment));
    ///         cx.step("ship", || ship(item)).await
    ///     })
    ///     .await
    /// }
    /// ```
    pub fn saga<'a, T, F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        body: F,
    ) -> impl Future<Output = Result<T, Failure>>
    where
        F: FnOnce(Self, Undo<'a>) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let undo = Undo(Arc::default());
        self.scope(name, move |cx| async move {
            let ended = body(cx.clone(), undo.clone()).await;
            match ended {
                Ok(value) => Ok(value),
                Err(failure) => Err(undo_all(&cx.shielded(), &undo, failure).await),
            }
        })
    }
}

/// The failure, and what could not be undone.
async fn undo_all(cx: &Cx, undo: &Undo<'_>, failure: Failure) -> Failure {
    let mut left = Vec::new();
    while let Some((name, body)) = undo.take() {
        let step: Step<'_, ()> = cx.step(name.clone(), body);
        if let Err(why) = step.max_attempts(ATTEMPTS).await {
            left.push(format!("`{name}`: {why}"));
        }
    }
    if left.is_empty() {
        return failure;
    }
    failure.and(&format!("not undone: {}", left.join(", ")))
}

impl fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undo")
    }
}
