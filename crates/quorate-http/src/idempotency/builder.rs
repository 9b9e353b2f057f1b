//! What a layer is told.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use quorate::{Codec, Error, Fleet, Result, StoreSpec};
use tokio_util::task::TaskTracker;

use super::layer::{IdempotencyLayer, Shared};
use super::meters::Meters;
use super::record::{HEAD, Record};
use super::scope::IdempotencyScope;

/// Builds an [`IdempotencyLayer`]. Made by [`IdempotencyLayer::builder`].
#[must_use]
pub struct IdempotencyBuilder {
    fleet: Fleet,
    options: Options,
    name: String,
    keep_for: Duration,
}

/// What requests are handled by.
pub(super) struct Options {
    pub(super) scope: IdempotencyScope,
    pub(super) methods: HashSet<Method>,
    pub(super) is_required: bool,
    pub(super) lease: Duration,
    pub(super) wait_for: Duration,
    pub(super) most_asked: usize,
    pub(super) most_answered: usize,
    pub(super) is_final: fn(StatusCode) -> bool,
}

/// Whether a response is the answer for good: not what says that nothing was done, and to try again.
fn is_final(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
    )
}

impl IdempotencyBuilder {
    pub(super) fn new(fleet: &Fleet, scope: IdempotencyScope) -> Self {
        Self {
            fleet: fleet.clone(),
            options: Options {
                scope,
                methods: [Method::POST, Method::PATCH].into(),
                is_required: false,
                lease: Duration::from_secs(30),
                wait_for: Duration::ZERO,
                most_asked: 1024 * 1024,
                most_answered: 1024 * 1024,
                is_final,
            },
            name: "http".to_owned(),
            keep_for: Duration::from_secs(24 * 3600),
        }
    }

    /// The name of its keys: layers with the same one share them. Services that pass requests on to one another within a
    /// namespace need names of their own, or the second waits for the first. 1 to 100 letters, digits and `_ . / -`. Default `http`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long a response is kept, 1 s to a year: for so long a request may be sent again. Default 24 h.
    pub const fn keep_for(mut self, time: Duration) -> Self {
        self.keep_for = time;
        self
    }

    /// For how long a request stays taken when the instance that handles it is gone, 1 s to 1 h. It is prolonged while the
    /// handler runs. Default 30 s.
    pub const fn lease(mut self, time: Duration) -> Self {
        self.options.lease = time;
        self
    }

    /// How long a request waits for the one before it with the same key, if that is still running; then it is answered with
    /// 409. At most 5 min. Default: not at all.
    pub const fn wait_for(mut self, time: Duration) -> Self {
        self.options.wait_for = time;
        self
    }

    /// Which methods may have a key; with others it is ignored. Default `POST` and `PATCH`.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.options.methods = methods.into_iter().collect();
        self
    }

    /// That requests without a key are answered with 400. Default: they are handled each time.
    pub const fn required(mut self) -> Self {
        self.options.is_required = true;
        self
    }

    /// The largest body of a request with a key, in bytes, which is read before it is handled: two requests are the same if
    /// their bodies are. Larger ones are answered with 413. Default 1 MiB.
    pub const fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.options.most_asked = bytes;
        self
    }

    /// The largest body of a response that is kept, in bytes. Of a larger one, and of one that is streamed, it is known that
    /// there was one: whoever sends the request again is answered with 409, and the handler does not run. At most 256 MiB.
    /// Default 1 MiB.
    pub const fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.options.most_answered = bytes;
        self
    }

    /// Which responses are the answer for good; after others the request can be sent again, and is handled again. Default: all
    /// but 408, 421, 425, 429 and 503, which say that nothing was done.
    pub const fn final_when(mut self, is_final: fn(StatusCode) -> bool) -> Self {
        self.options.is_final = is_final;
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// `Config` if an option breaks its rule; the message names both.
    pub fn build(self) -> Result<IdempotencyLayer> {
        let Self {
            fleet,
            options,
            name,
            keep_for,
        } = self;
        let second = Duration::from_secs(1);
        check(
            "keep_for",
            keep_for,
            second,
            second * 365 * 24 * 3600,
            "1 s to a year",
        )?;
        check("lease", options.lease, second, second * 3600, "1 s to 1 h")?;
        check(
            "wait_for",
            options.wait_for,
            Duration::ZERO,
            second * 300,
            "at most 5 min",
        )?;
        if options.most_answered > 256 * 1024 * 1024 {
            return Err(Error::config(
                "max_response_bytes",
                "must be at most 256 MiB",
            ));
        }
        if name.len() > 100 {
            return Err(Error::config("name", "must be at most 100 bytes"));
        }
        let spec = StoreSpec::try_with_codec(format!("idempotency/{name}"), Codec::message_pack())?
            .ttl(keep_for)
            .max_bytes(options.most_answered + HEAD);
        let meters = Meters::new(&name);
        Ok(IdempotencyLayer::new(Arc::new(Shared {
            store: fleet.store::<str, Record>(&spec),
            fleet,
            options,
            meters,
            tasks: TaskTracker::new(),
        })))
    }
}

fn check(field: &str, time: Duration, least: Duration, most: Duration, rule: &str) -> Result<()> {
    if time < least || time > most {
        return Err(Error::config(field, format_args!("must be {rule}")));
    }
    Ok(())
}

impl fmt::Debug for IdempotencyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyBuilder")
            .field("name", &self.name)
            .field("scope", &self.options.scope)
            .finish_non_exhaustive()
    }
}
