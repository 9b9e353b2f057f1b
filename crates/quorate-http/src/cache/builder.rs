//! How a cache of responses is made.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate::cache::{CacheSpec, Oversized};
use quorate::{Error, Fleet, Result};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::codec::{CODEC, HEAD};
use super::declared::Declared;
use super::handle::{ResponseCache, Shared};
use super::meters::Meters;
use super::mode::{LONGEST, Mode};
use super::standard::Standard;

/// The largest body that a server takes, with what stands beside it.
const MOST_BODY: usize = 256 * 1024 * 1024;

/// How a cache of responses is made; see [`ResponseCache::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ResponseCacheBuilder {
    fleet: Fleet,
    name: String,
    mode: Mode,
    max_body: usize,
    buffers_streams: bool,
    looks_at_host: bool,
    pass_for: Duration,
    wait_for: Duration,
    deadline: Duration,
    unattended: usize,
    unattended_for: Duration,
}

impl ResponseCacheBuilder {
    pub(super) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            name: "http".to_owned(),
            mode: Mode::Standard(Standard::new()),
            max_body: 1024 * 1024,
            buffers_streams: false,
            looks_at_host: true,
            pass_for: Duration::from_secs(5),
            wait_for: Duration::from_secs(10),
            deadline: Duration::from_secs(1),
            unattended: 64,
            unattended_for: Duration::from_secs(30),
        }
    }

    /// The name of the cache in the namespace; default `http`. Two services that answer differently need two names.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The service says how long its responses are kept.
    pub fn declared(mut self, mode: Declared) -> Self {
        self.mode = Mode::Declared(mode);
        self
    }

    /// Responses say how long they are kept. The default.
    pub fn standard(mut self, mode: Standard) -> Self {
        self.mode = Mode::Standard(mode);
        self
    }

    /// The largest body that is kept; default 1 MiB, at most 256 MiB. A larger one is passed on.
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Whether bodies that do not say their size are read, as far as `max_body`, before any of it is sent. Default no: they
    /// are passed on as they come, and not kept.
    pub const fn buffer_streams(mut self, yes: bool) -> Self {
        self.buffers_streams = yes;
        self
    }

    /// The answers are the same for every host. Default no.
    pub const fn ignore_host(mut self) -> Self {
        self.looks_at_host = false;
        self
    }

    /// How long it is remembered, by the whole fleet, that the last answer under a key was not for others (it is not kept, or the
    /// service failed): so long nobody waits for the next one. The first that is for others is kept, and ends that. Where something
    /// stale stands in for a failure, one at a time asks the service so long, and the others are given that. From 1 ms to an
    /// hour; default 5 s.
    pub const fn pass_for(mut self, time: Duration) -> Self {
        self.pass_for = time;
        self
    }

    /// How long a request waits for the answer to another one (in both modes, and in the whole fleet): then it asks the
    /// service for itself, and so does for a while (`pass_for`) whoever comes. What the other one is answered with is kept all the
    /// same. From 1 ms to an hour; default 10 s.
    pub const fn wait_for(mut self, time: Duration) -> Self {
        self.wait_for = time;
        self
    }

    /// How long each call of the cache's backend may take before a request goes on without it. Default 1 s.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many requests to the service go on at the same time though nobody waits for them (the client has gone, or was
    /// given a stale response), and for how long each at the most. Default 64, and 30 s. Where there is no place left, a
    /// stale response is given without asking for a new one.
    pub const fn unattended(mut self, count: usize, time: Duration) -> Self {
        self.unattended = count;
        self.unattended_for = time;
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// `Config` or `InvalidInput` with the option and its rule.
    pub fn build(self) -> Result<ResponseCache> {
        if self.max_body == 0 || self.max_body > MOST_BODY {
            return Err(Error::config("max_body", "must be from 1 to 256 MiB"));
        }
        let hour = Duration::from_secs(3600);
        if self.pass_for < Duration::from_millis(1) || self.pass_for > hour {
            return Err(Error::config("pass_for", "must be from 1 ms to an hour"));
        }
        if self.wait_for < Duration::from_millis(1) || self.wait_for > hour {
            return Err(Error::config("wait_for", "must be from 1 ms to an hour"));
        }
        if self.deadline.is_zero() {
            return Err(Error::config("deadline", "must not be zero"));
        }
        if self.unattended > Semaphore::MAX_PERMITS || self.unattended_for > LONGEST {
            return Err(Error::config(
                "unattended",
                "must be fewer, and at most a year",
            ));
        }
        let mode = self.mode.checked()?;
        let spec = CacheSpec::<str, _>::try_with_codec(self.name, CODEC)?
            .max_bytes(self.max_body + HEAD, Oversized::Skip);
        let entries = self.fleet.cache(&spec).deadline(self.deadline);
        Ok(ResponseCache {
            shared: Arc::new(Shared {
                meters: Meters::new(spec.name()),
                fleet: self.fleet,
                entries,
                mode,
                max_body: self.max_body,
                buffers_streams: self.buffers_streams,
                looks_at_host: self.looks_at_host,
                pass_for: self.pass_for,
                wait_for: self.wait_for,
                unattended: Arc::new(Semaphore::new(self.unattended)),
                unattended_for: self.unattended_for,
                refreshing: Mutex::new(HashSet::new()),
                tasks: TaskTracker::new(),
            }),
        })
    }
}
