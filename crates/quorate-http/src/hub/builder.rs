//! How a hub is made.

use std::fmt;
use std::time::Duration;

use quorate::{Codec, Error, Fleet, Keep, Result, TopicSpec};

use super::access::Access;
use super::event::Events;
use super::handle::Hub;
use super::outbox::{Limits, Overflow};
use super::rate::Rate;
use super::request::MessageRouter;
use super::ring::RingLimits;
use super::seam::ReadLimit;
use super::source::Kept;
use crate::origin::OriginPolicy;

/// Longer than any connection lives, and short enough to be added to any moment.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Limits and times of a hub.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) max_clients: usize,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_requests: usize,
    pub(crate) buffer: usize,
    pub(crate) buffer_bytes: usize,
    pub(crate) overflow: Overflow,
    pub(crate) ring: RingLimits,
    pub(crate) rate: Rate,
    pub(crate) heartbeat: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) subscribe_deadline: Duration,
    pub(crate) authenticate_within: Duration,
    pub(crate) reconnect_spread: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) origins: OriginPolicy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            max_subscriptions: 64,
            max_frame_bytes: 16 * 1024,
            max_requests: 32,
            buffer: 256,
            buffer_bytes: 1024 * 1024,
            overflow: Overflow::default(),
            ring: RingLimits {
                events: 1024,
                bytes: 1024 * 1024,
            },
            rate: Rate::default(),
            heartbeat: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(40),
            send_timeout: Duration::from_secs(10),
            subscribe_deadline: Duration::from_secs(10),
            authenticate_within: Duration::from_secs(10),
            reconnect_spread: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            origins: OriginPolicy::same_origin(),
        }
    }
}

impl Options {
    /// What may wait for one client.
    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            messages: self.buffer,
            bytes: self.buffer_bytes,
            overflow: self.overflow,
        }
    }

    /// What may wait of it that is read again: the rest is for what comes meanwhile.
    pub(crate) const fn catching_up(&self) -> Limits {
        Limits {
            messages: self.buffer - self.buffer / 4,
            bytes: self.buffer_bytes - self.buffer_bytes / 4,
            ..self.limits()
        }
    }

    /// How much of a history is read at once: as much as finds room when what was read before is nearly
    /// gone.
    pub(crate) fn page(&self) -> ReadLimit {
        /// However much may wait.
        const MOST: u32 = 256;
        let messages = u32::try_from(self.buffer.div_ceil(2)).unwrap_or(MOST);
        let bytes = u64::try_from(self.buffer_bytes.div_ceil(2)).unwrap_or(u64::MAX);
        ReadLimit {
            messages: messages.min(MOST),
            bytes: bytes.min(ReadLimit::MAX_BYTES),
        }
    }
}

/// A [`Hub`] about to be made. A time longer than a year is taken as a year.
///
/// # Example
/// ```
/// # fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use quorate_http::Hub;
/// use std::time::Duration;
///
/// let hub = Hub::builder(Fleet::embedded())
///     .max_clients(1_000)
///     .heartbeat(Duration::from_secs(10))
///     .open()
///     .build()?;
/// # let _ = hub;
/// # Ok(()) }
/// ```
#[must_use = "a hub is made by `build`"]
pub struct HubBuilder {
    pub(crate) fleet: Fleet,
    pub(crate) options: Options,
    pub(crate) open: bool,
    pub(crate) kept: Kept,
    pub(crate) events: Events,
    pub(crate) access: Access,
    pub(crate) router: MessageRouter,
    /// The first thing that was wrong.
    pub(crate) error: Option<Error>,
}

impl HubBuilder {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            options: Options::default(),
            open: false,
            kept: Kept::new(),
            events: Events::default(),
            access: Access::default(),
            router: MessageRouter::new(),
            error: None,
        }
    }

    /// Lets clients subscribe to any topic and pattern of the fleet, declared or not. Put the routes
    /// behind a layer of your own: nothing here asks who they are.
    ///
    /// What is declared stays behind its hooks: an event that asks who may subscribe is reached by its own
    /// topics, and its messages come with no pattern, except in a stream that you answer with yourself
    /// ([`Hub::sse`]).
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Of an open hub: that the topic of this name, and its keys, are kept. Then clients resume after the
    /// position they know, and what they publish is kept so. All who publish to the topic must keep it.
    ///
    /// # Errors
    /// `InvalidInput` if the name or a bound breaks its rule.
    pub fn keep(mut self, name: impl Into<String>, keep: Keep) -> Result<Self> {
        let spec = TopicSpec::try_with_codec(name, Codec::bytes())?.try_keep(keep)?;
        self.kept.entry(spec.name().to_owned()).or_default().keep = Some(keep);
        Ok(self)
    }

    /// Of an open hub: that who subscribes to the topic of this name, or one of its keys, is present there,
    /// and that clients may ask who is.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks its rule.
    pub fn presence(mut self, name: impl Into<String>) -> Result<Self> {
        let spec = TopicSpec::try_with_codec(name, Codec::bytes())?;
        self.kept
            .entry(spec.name().to_owned())
            .or_default()
            .presence = true;
        Ok(self)
    }

    /// Clients at once, of both transports; more are refused. Default 10 000.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.options.max_clients = clients;
        self
    }

    /// Subscriptions of one client. Default 64.
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.options.max_subscriptions = subscriptions;
        self
    }

    /// The largest frame a client may send. Default 16 KiB.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.options.max_frame_bytes = bytes;
        self
    }

    /// Requests of one client that are worked on at once; more are refused. Default 32.
    pub fn max_requests(mut self, requests: usize) -> Self {
        self.options.max_requests = requests;
        self
    }

    /// Frames that one client may send in a second over a long time, and at once; at least 1. Default 50 and
    /// 100. What is beyond is refused with the time to wait; a client that goes on all the same is sent
    /// away (close code 1008).
    pub fn message_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.options.rate = Rate {
            per_second: per_second.max(1),
            burst: burst.max(1),
        };
        self
    }

    /// Messages that may wait for one client, of all its subscriptions; beyond them
    /// [`overflow`](Self::overflow) says what happens. At least 1. Default 256.
    pub fn buffer(mut self, messages: usize) -> Self {
        self.options.buffer = messages.max(1);
        self
    }

    /// Bytes of frames that may wait for one client. At least 1. Default 1 MiB. A single larger message
    /// still passes.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.options.buffer_bytes = bytes.max(1);
        self
    }

    /// What happens when a client is slower than the messages it subscribed to. Default: the oldest are
    /// dropped, and the client is told of the gap.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.options.overflow = overflow;
        self
    }

    /// Messages, and bytes of frames, that are kept in memory of each kept topic that clients of this
    /// instance subscribe to: who comes back is caught up from there, and from the topic's history only
    /// with what came before. Default 1 024 and 1 MiB.
    pub fn recover_from_memory(mut self, messages: usize, bytes: usize) -> Self {
        self.options.ring = RingLimits {
            events: messages,
            bytes,
        };
        self
    }

    /// How often a client is sent a sign of life; at least 10 ms. Default 15 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.options.heartbeat = interval.clamp(Duration::from_millis(10), LONGEST);
        self
    }

    /// How long a WebSocket client may be silent, its answers to our pings included: within that time a
    /// client that is not there any more is noticed, also when there is nothing else to send. More than two
    /// [heartbeats](Self::heartbeat) are well. Default 40 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.idle_timeout = timeout.min(LONGEST);
        self
    }

    /// How long a WebSocket client may take to accept what is sent, whatever it says meanwhile. Default 10 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.options.send_timeout = timeout.min(LONGEST);
        self
    }

    /// How long making a subscription may take. Default 10 s.
    pub fn subscribe_deadline(mut self, deadline: Duration) -> Self {
        self.options.subscribe_deadline = deadline.min(LONGEST);
        self
    }

    /// Within what time a client has to say who it is, where that is required. Default 10 s.
    pub fn authenticate_within(mut self, time: Duration) -> Self {
        self.options.authenticate_within = time.min(LONGEST);
        self
    }

    /// Over how long clients are told to spread their return after a drain. Default 5 s.
    pub fn reconnect_spread(mut self, spread: Duration) -> Self {
        self.options.reconnect_spread = spread.min(LONGEST);
        self
    }

    /// How long a WebSocket client that is sent away by a [drain](Hub::drain) may take to get what waits for
    /// it, and its requests that are under way to end. What is not done then is dropped, without an answer.
    /// Default 5 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.options.drain_timeout = timeout.min(LONGEST);
        self
    }

    /// Which pages may connect. Default: those of this service.
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.options.origins = origins;
        self
    }

    /// Makes the hub.
    ///
    /// # Errors
    /// `InvalidInput` or `Config` for the first thing that was declared wrongly: two events, or two handlers,
    /// that cannot be told apart.
    pub fn build(mut self) -> Result<Hub> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        Hub::new(self)
    }
}

impl fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBuilder")
            .field("fleet", &self.fleet)
            .field("options", &self.options)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
