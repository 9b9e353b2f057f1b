//! Running a request that is ours, and keeping what it is answered.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use futures_util::FutureExt;
use quorate::{ErrorKind, Outcome, Result as QuorateResult};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::layer::Shared;
use super::record::{Fingerprint, Record, StoredResponse};
use crate::body::{Collected, collect, known_size, whole};
use crate::problem::Problem;

/// Between two attempts to keep what a request was answered.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long that is attempted.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that one instance runs.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) entry: String,
    pub(super) fingerprint: Fingerprint,
    running: Record,
}

/// What a handler came to.
enum Ran<E> {
    /// A response that is the answer for good, and what is kept of it.
    Final(Response<Body>, Option<StoredResponse>),
    /// Anything else: the request can be sent again.
    Again(Result<Response<Body>, E>),
    Panicked(Box<dyn Any + Send>),
}

impl Claim {
    pub(super) fn new(entry: String, fingerprint: Fingerprint) -> Self {
        let running = Record::Running {
            fingerprint,
            owner: rand::random(),
        };
        Self {
            entry,
            fingerprint,
            running,
        }
    }

    /// Takes the request; `false` if there is something of it, or if it is not known whether it was taken: then what is there
    /// tells.
    pub(super) async fn take(&self, shared: &Shared) -> QuorateResult<bool> {
        let take = shared.store.set_if_absent(&self.entry, &self.running);
        match take.ttl(shared.options.lease).await {
            Err(error) if error.outcome() == Outcome::Unknown => Ok(false),
            taken => taken,
        }
    }

    /// Whether a record is this one's.
    pub(super) fn is(&self, record: &Record) -> bool {
        self.running == *record
    }

    /// Keeps it taken, until that does not succeed any more.
    async fn hold(&self, shared: &Shared) {
        let lease = shared.options.lease;
        loop {
            sleep(lease / 3).await;
            let (store, running) = (&shared.store, &self.running);
            let prolong = store.compare_and_set(&self.entry, Some(running), running);
            match prolong.ttl(lease).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(
                        "a request is no longer this instance's own, and may be run again"
                    );
                    return;
                }
                Err(error) => tracing::warn!(%error, "a request could not be kept taken"),
            }
        }
    }

    /// Lets the request be sent again.
    async fn give_back(&self, shared: &Shared) -> QuorateResult<()> {
        let removal = shared.store.compare_and_delete(&self.entry, &self.running);
        removal.await?;
        shared.tell(&self.entry).await
    }

    /// Keeps what the request was answered.
    async fn keep(&self, shared: &Shared, done: &Record) -> QuorateResult<()> {
        let store = &shared.store;
        let ours = store.compare_and_set(&self.entry, Some(&self.running), done);
        if !ours.await? {
            // The lease has ended; or this was done, and the reply was lost. What somebody else has made of the request since
            // then stays.
            store.set_if_absent(&self.entry, done).await?;
        }
        shared.tell(&self.entry).await
    }
}

/// Runs a request, and keeps what it is answered.
pub(super) async fn supervise<E: Send>(
    shared: Arc<Shared>,
    claim: Claim,
    run: impl Future<Output = Result<Response<Body>, E>> + Send,
) -> Result<Response<Body>, E> {
    // In a task of its own: a handler may keep its thread for longer than the lease.
    let (held, holder) = (claim.clone(), shared.clone());
    let holding = shared.tasks.spawn(async move { held.hold(&holder).await });
    let holding = AbortOnDropHandle::new(holding);
    let ran = shared.ran(run).await;
    drop(holding);
    match ran {
        Ran::Final(response, stored) => {
            shared.settle(claim, stored).await;
            Ok(response)
        }
        Ran::Again(again) => {
            shared.free(&claim).await;
            again
        }
        Ran::Panicked(panic) => {
            shared.free(&claim).await;
            resume_unwind(panic)
        }
    }
}

impl Shared {
    async fn ran<E>(&self, run: impl Future<Output = Result<Response<Body>, E>> + Send) -> Ran<E> {
        let response = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(again) => return Ran::Again(again),
            Err(panic) => return Ran::Panicked(panic),
        };
        // What may have been done is not done again, whatever the status says.
        let problem = response.extensions().get::<Problem>();
        let may_be_done = problem.is_some_and(|it| it.outcome() == Outcome::Unknown);
        if !may_be_done && !(self.options.is_final)(response.status()) {
            return Ran::Again(Ok(response));
        }
        let (head, body) = response.into_parts();
        // A stream may go on for as long as somebody listens: reading it to its end would hold it back.
        if known_size(&head.headers, &body).is_none() {
            return Ran::Final(Response::from_parts(head, body), None);
        }
        match collect(body, self.options.most_answered).await {
            Collected::Whole { bytes, trailers } => {
                let stored = StoredResponse::of(&head, bytes.clone());
                Ran::Final(Response::from_parts(head, whole(bytes, trailers)), stored)
            }
            Collected::Part(body) => Ran::Final(Response::from_parts(head, body), None),
        }
    }

    /// Keeps what a request was answered: it is told at once if that is done or does not succeed at first, and attempted again
    /// in the background.
    async fn settle(self: &Arc<Self>, claim: Claim, response: Option<StoredResponse>) {
        let done = Record::Done {
            fingerprint: claim.fingerprint,
            response,
        };
        let Err(error) = claim.keep(self, &done).await else {
            return;
        };
        tracing::warn!(%error, "the response of a request could not be kept, which is tried again");
        let shared = self.clone();
        self.tasks.spawn(async move {
            let until = Instant::now() + PATIENCE;
            let mut error = error;
            while Instant::now() < until && error.kind() != ErrorKind::Closed {
                sleep(PAUSE).await;
                match claim.keep(&shared, &done).await {
                    Ok(()) => return,
                    Err(again) => error = again,
                }
            }
            shared.meters.lost();
            tracing::error!(%error, "the response of a request could not be kept: sent again, it is run again");
        });
    }

    /// Lets a request be sent again; if that does not succeed, it can be when its lease has ended.
    pub(super) async fn free(&self, claim: &Claim) {
        if let Err(error) = claim.give_back(self).await {
            tracing::warn!(%error, "a request stays taken until its lease ends");
        }
    }
}
