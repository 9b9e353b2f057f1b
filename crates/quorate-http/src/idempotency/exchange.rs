//! What becomes of one request.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use quorate::Result as QuorateResult;
use tokio::time::Instant;
use tracing::Instrument;

use super::layer::Shared;
use super::meters::Answered;
use super::record::{Record, StoredResponse};
use super::request::{Asked, Keyed};
use super::supervise::{Claim, supervise};
use crate::problem::{Code, Problem};

/// What was found of a request before it is run.
enum Found {
    /// Nothing: it is ours to run.
    Ours(Claim),
    /// It was run.
    Done(Option<StoredResponse>),
    /// Somebody else is running it, and has been for as long as was waited.
    Running,
    /// The key is that of another request.
    Another,
}

/// Handles a request by `run`, or by what is kept of it.
pub(super) async fn handle<R, Fut, E>(
    shared: Arc<Shared>,
    run: R,
    request: Request<Body>,
) -> Result<Response<Body>, E>
where
    R: FnOnce(Request<Body>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<Body>, E>> + Send + 'static,
    E: Send + 'static,
{
    let Keyed {
        entry,
        fingerprint,
        request,
    } = match shared.options.asked(request).await {
        Ok(Asked::Plain(request)) => return run(request).await,
        Ok(Asked::Keyed(keyed)) => keyed,
        Err(problem) => return Ok(problem.into_response()),
    };
    let taking = Taking::new(shared.clone(), Claim::new(entry, fingerprint));
    let found = match taking.find().await {
        Ok(found) => found,
        Err(error) => {
            shared.meters.count(Answered::Failed);
            return Ok(Problem::from(&error).into_response());
        }
    };
    match found {
        Found::Ours(claim) => {
            shared.meters.count(Answered::Ran);
            let running = supervise(shared.clone(), claim, run(request));
            // Where the request is traced.
            ran(shared.tasks.spawn(running.in_current_span())).await
        }
        Found::Done(response) => Ok(shared.replayed(response)),
        Found::Running => Ok(shared.running()),
        Found::Another => Ok(shared.another()),
    }
}

/// What a handler of its own task came to.
async fn ran<E>(
    task: tokio::task::JoinHandle<Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    match task.await {
        Ok(ran) => ran,
        Err(error) => match error.try_into_panic() {
            // As if it had run here.
            Ok(panic) => resume_unwind(panic),
            Err(_) => {
                let problem = Problem::new(Code::Cancelled, "the server is going down");
                Ok(problem
                    .with_status(StatusCode::SERVICE_UNAVAILABLE)
                    .into_response())
            }
        },
    }
}

/// A request that may be taken or not. Dropped before that is known, it is given back.
struct Taking {
    shared: Arc<Shared>,
    claim: Option<Claim>,
}

impl Taking {
    fn new(shared: Arc<Shared>, claim: Claim) -> Self {
        let claim = Some(claim);
        Self { shared, claim }
    }

    /// Takes the request, or finds what there is of it.
    async fn find(mut self) -> QuorateResult<Found> {
        let shared = self.shared.clone();
        let give_up = Instant::now() + shared.options.wait_for;
        let mut turn = None;
        let claim = self.claim.clone().expect("it is there until this ends");
        loop {
            if claim.take(&shared).await? {
                return Ok(self.ends(Found::Ours(claim)));
            }
            // Gone meanwhile: somebody gave it back.
            let Some(record) = shared.store.get(&claim.entry).await? else {
                continue;
            };
            if claim.is(&record) {
                return Ok(self.ends(Found::Ours(claim)));
            }
            if *record.fingerprint() != claim.fingerprint {
                return Ok(self.ends(Found::Another));
            }
            if let Record::Done { response, .. } = record {
                return Ok(self.ends(Found::Done(response)));
            }
            if Instant::now() >= give_up {
                return Ok(self.ends(Found::Running));
            }
            shared.wait(&claim.entry, &mut turn, give_up).await?;
        }
    }

    /// It is known.
    fn ends(&mut self, found: Found) -> Found {
        self.claim = None;
        found
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let shared = self.shared.clone();
        // Outside of a runtime nothing can be asked, and the lease ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let tasks = shared.tasks.clone();
            tasks.spawn_on(async move { shared.free(&claim).await }, &runtime);
        }
    }
}

impl Shared {
    fn replayed(&self, response: Option<StoredResponse>) -> Response<Body> {
        self.meters.count(Answered::Replayed);
        response
            .and_then(StoredResponse::replayed)
            .unwrap_or_else(|| {
                let detail = "this request was handled, and its response was too large to be kept";
                Problem::new(Code::AlreadyExists, detail).into_response()
            })
    }

    fn running(&self) -> Response<Body> {
        self.meters.count(Answered::Conflict);
        let detail = "a request with this Idempotency-Key is being handled";
        Problem::new(Code::Aborted, detail)
            .with_retry_after(Duration::from_secs(1))
            .into_response()
    }

    fn another(&self) -> Response<Body> {
        self.meters.count(Answered::Mismatch);
        let detail = "Idempotency-Key was used for another request: each needs a key of its own";
        Problem::new(Code::FailedPrecondition, detail)
            .with_status(StatusCode::UNPROCESSABLE_ENTITY)
            .into_response()
    }
}
