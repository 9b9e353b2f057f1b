//! Which handler answers which type of request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use quorate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout;

use super::context::Cx;
use super::error::HandlerError;
use super::spec::{MessageSpec, is_reserved};
use crate::hub::event::read_data;
use crate::hub::seam::{Dispatch, RequestContext};
use crate::problem::{Code, Problem};
use crate::telemetry;

/// What a request is answered with.
type Answer = Result<Box<RawValue>, HandlerError>;

type Handle = Box<dyn Fn(Cx, Box<RawValue>) -> BoxFuture<'static, Answer> + Send + Sync>;

struct Handler {
    kind: &'static str,
    deadline: Duration,
    handle: Handle,
}

/// The handlers of requests, by type.
///
/// A handler is an async function of a [`Cx`] and the payload. It runs as part of the client's connection,
/// beside the client's other requests, and is dropped with it; what must go on regardless is spawned. A
/// request that has no handler, a payload that is none of its type, and a handler that fails or panics
/// are answered with an error, and the connection stays.
///
/// # Example
/// ```
/// use quorate_http::{Code, Cx, HandlerError, MessageRouter, MessageSpec};
///
/// const DIVIDE: MessageSpec<(i64, i64), i64> = MessageSpec::new("divide");
/// const WHOAMI: MessageSpec<(), String> = MessageSpec::new("whoami");
///
/// let router = MessageRouter::new()
///     .on(&DIVIDE, async |_cx, (a, b)| {
///         a.checked_div(b).ok_or_else(|| HandlerError::new(Code::InvalidArgument, "divisor must not be 0"))
///     })
///     .on(&WHOAMI, async |cx: Cx, ()| Ok(cx.user().unwrap_or("nobody").to_owned()));
/// # let _ = router;
/// ```
#[derive(Default)]
#[must_use = "a router does nothing until it is given to a hub"]
pub struct MessageRouter {
    handlers: HashMap<&'static str, Arc<Handler>>,
    /// The first thing that was wrong.
    error: Option<Error>,
}

impl MessageRouter {
    /// A router without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers requests of a type with `handler`.
    ///
    /// A type that has a handler already is an error when the hub is made.
    ///
    /// An `async |cx, payload| …` closure works as long as it captures nothing; one that does is written
    /// `move |cx, payload| { let db = db.clone(); async move { … } }`, because the language cannot say yet
    /// that an async closure's future may change threads.
    pub fn on<T, R, F, Fut>(mut self, spec: &MessageSpec<T, R>, handler: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Cx, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        let (kind, deadline, rule) = (spec.kind(), spec.time(), spec.rule());
        let handler = Arc::new(handler);
        let handle: Handle = Box::new(move |cx, data| {
            let handler = handler.clone();
            let answer = async move {
                let payload: T = read_data(&data)?;
                drop(data);
                if let Some(Err(rule)) = rule.map(|validate| validate(&payload)) {
                    let detail = format!("data: {rule}");
                    return Err(HandlerError::new(Code::InvalidArgument, detail));
                }
                let answer = handler(cx, payload).await?;
                Ok(to_raw_value(&answer)?)
            };
            answer.boxed()
        });
        self.insert(Handler {
            kind,
            deadline,
            handle,
        });
        self
    }

    /// The handlers of another router beside one's own.
    pub fn merge(mut self, other: Self) -> Self {
        if let Some(error) = other.error {
            self.error.get_or_insert(error);
        }
        for handler in other.handlers.into_values() {
            self.add(handler);
        }
        self
    }

    fn insert(&mut self, handler: Handler) {
        self.add(Arc::new(handler));
    }

    fn add(&mut self, handler: Arc<Handler>) {
        match self.handlers.entry(handler.kind) {
            Entry::Vacant(entry) => {
                entry.insert(handler);
            }
            Entry::Occupied(_) => {
                let rule = format!("`{}` has a handler already", handler.kind);
                self.error
                    .get_or_insert_with(|| Error::config("request", rule));
            }
        }
    }

    /// The router, if nothing was wrong.
    pub(crate) fn finish(mut self) -> Result<Arc<dyn Dispatch>> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(Arc::new(self)),
        }
    }
}

impl fmt::Debug for MessageRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.handlers.keys().collect();
        kinds.sort_unstable();
        f.debug_struct("MessageRouter")
            .field("handlers", &kinds)
            .field("error", &self.error)
            .finish()
    }
}

impl Dispatch for MessageRouter {
    fn dispatch(
        &self,
        context: RequestContext,
        kind: &str,
        data: Box<RawValue>,
    ) -> Option<BoxFuture<'static, Result<Option<Box<RawValue>>, Problem>>> {
        if is_reserved(kind) {
            let rule = "type must not begin with `__` or `$`, which are reserved";
            return Some(ready(Err(Problem::new(Code::InvalidArgument, rule))).boxed());
        }
        let handler = self.handlers.get(kind)?.clone();
        Some(answer(handler, Cx::new(context), data).boxed())
    }
}

/// Runs a handler to its end: its answer, its failure, its panic, its deadline, or the client's wish.
async fn answer(
    handler: Arc<Handler>,
    cx: Cx,
    data: Box<RawValue>,
) -> Result<Option<Box<RawValue>>, Problem> {
    let kind = handler.kind;
    // What the handler started elsewhere learns that it is over also when this future is dropped.
    let over = cx.cancellation().clone().drop_guard();
    let cancelled = cx.cancellation().clone();
    let working = {
        let cx = cx.clone();
        // Called within, so that its panics are caught.
        AssertUnwindSafe(async { (handler.handle)(cx, data).await }).catch_unwind()
    };
    let answered = tokio::select! {
        // The handler first: it may be done at the moment it is given up, and who waits for
        // `cancelled` may finish.
        biased;
        answered = timeout(handler.deadline, working) => answered,
        () = cancelled.cancelled() => {
            return counted(kind, Err(Problem::new(Code::Cancelled, "the request was cancelled")));
        }
    };
    let answer = match answered {
        Ok(Ok(Ok(answer))) => {
            over.disarm();
            Ok(Some(answer))
        }
        Ok(Ok(Err(error))) => {
            over.disarm();
            Err(error.into_problem(kind, cx.client_id()))
        }
        Ok(Err(_panic)) => {
            tracing::error!(kind, client = cx.client_id(), "a handler panicked");
            Err(Problem::new(Code::Internal, "the request failed"))
        }
        Err(_elapsed) => {
            let detail = format!("the request took longer than {:?}", handler.deadline);
            Err(Problem::new(Code::DeadlineExceeded, detail))
        }
    };
    counted(kind, answer)
}

/// Counts the request by what became of it.
fn counted<T>(kind: &'static str, answer: Result<T, Problem>) -> Result<T, Problem> {
    let code = match &answer {
        Ok(_) => "OK",
        Err(problem) => problem.code().as_str(),
    };
    metrics::counter!(telemetry::REQUESTS, "type" => kind, "code" => code).increment(1);
    answer
}
