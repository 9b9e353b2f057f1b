//! Where users start.

mod caches;
mod executions;
mod limits;
mod locks;
mod ports;
mod queues;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::builder::FleetBuilder;
use crate::cache::{Cache, CacheSpec, Caches};
use crate::clock::after;
use crate::config::FleetConfig;
use crate::context::Context;
use crate::embedded::EmbeddedHome;
#[cfg(feature = "redis")]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::events::{self, Hub, RawChannel, Subscribe, Target, Topic, TopicSpec};
use crate::execution::SharedExecutions;
use crate::hooks::ErrorSource;
use crate::key::Namespace;
use crate::limit::Limiters;
use crate::lock::{Locks, VotePort};
use crate::presence::{Presence, Presences};
use crate::queue::Queues;
#[cfg(feature = "redis")]
use crate::redis::{RedisCommands, RedisHome};
use crate::session::{Sessions, SharedSessions};
use crate::state::{ConnectionState, ConnectionStatus, Health, Monitor, StateChange};
use crate::store::{Store, StoreSpec, Stores};

/// How long [`Fleet::close`] waits for what is under way.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Everything the instances of a service have to agree on, wherever it is kept.
///
/// A fleet is one *instance* of a service and its connections to the home that all instances share:
/// in this process (`memory:`, or `file:` with a file that outlives it) or a Redis or Valkey server. Every capability means the same on each.
///
/// # Clone
/// Clones are the same instance and share its connections; cloning is cheap. The connections are
/// closed by [`close`](Self::close), or when the last handle made from the fleet is dropped.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, TopicSpec};
///
/// const ORDERS: TopicSpec<u64> = TopicSpec::new("orders");
///
/// let a = Fleet::embedded();          // in production: Fleet::connect("redis://localhost").await?
/// let b = a.instance("b").await?;     // a second instance of the service
/// let mut orders = a.topic(&ORDERS).subscribe().await?;
/// b.topic(&ORDERS).publish(&42).await?;
/// assert_eq!(*orders.next_message().await.unwrap(), 42);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
    namespace: Namespace,
}

pub(crate) struct Inner {
    pub(crate) context: Arc<Context>,
    pub(crate) executions: Arc<SharedExecutions>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limiters: Arc<Limiters>,
    pub(crate) locks: Arc<Locks>,
    pub(crate) votes: Arc<dyn VotePort>,
    pub(crate) presences: Arc<Presences>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) sessions: Arc<SharedSessions>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) home: Home,
    pub(crate) service: Arc<str>,
    #[cfg(feature = "redis")]
    pub(crate) connect_timeout: Duration,
    /// To make further instances like this one.
    pub(crate) recipe: FleetBuilder,
}

/// Where the state lives.
#[derive(Clone, Debug)]
pub(crate) enum Home {
    Embedded(EmbeddedHome),
    #[cfg(feature = "redis")]
    Redis(RedisHome),
}

/// Fleets handed out by [`Fleet::shared`]. Few, and looked through only when one is asked for.
static SHARED: tokio::sync::Mutex<Vec<SharedFleet>> = tokio::sync::Mutex::const_new(Vec::new());

struct SharedFleet {
    config: FleetConfig,
    runtime: tokio::runtime::Id,
    inner: Weak<Inner>,
    namespace: Namespace,
}

impl Fleet {
    /// Connects to the home a URL names, and returns when it is connected.
    ///
    /// `memory:` · `file:/path/to/it` · `redis://` · `rediss://` (TLS) · `valkey://` · `valkeys://`, the last
    /// four in the form `redis://user:password@host:port/db?option=value`. The options are the fields of
    /// [`FleetConfig`].
    ///
    /// # Errors
    /// `Config` if the URL breaks a rule, `Auth` and the like at once, and whatever else kept the first
    /// connection from being made within `connect_timeout`. With `lazy=true` nothing is waited for.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder().url(url).build().await
    }

    /// A fresh home in this process: for tests, development, and services of one instance.
    ///
    /// Further instances join it with [`instance`](Self::instance).
    #[must_use]
    pub fn embedded() -> Self {
        Self::builder().build_embedded()
    }

    /// Connects to the server named by `REDIS_URL`, or `REDIS_HOST` and its companions; see
    /// [`FleetConfig::from_env`].
    ///
    /// # Errors
    /// `Config` if nothing is set (never silently in-process) or a variable breaks its rule, and those
    /// of [`connect`](Self::connect).
    pub async fn from_env() -> Result<Self> {
        Self::builder().environment()?.build().await
    }

    /// A fleet with options, hooks, or ports of your own.
    pub fn builder() -> FleetBuilder {
        FleetBuilder::new()
    }

    /// The fleet that others with the same *whole* configuration already use on this runtime, or a new
    /// one. It lives as long as any handle to it.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect), and `Config` outside of a runtime.
    pub async fn shared(config: FleetConfig) -> Result<Self> {
        let runtime = Handle::try_current()
            .map_err(|error| Error::config("runtime", "must be tokio's").with_source(error))?
            .id();
        // Held while connecting: a second caller waits for the first one's connections.
        let mut shared = SHARED.lock().await;
        shared.retain(|known| known.inner.strong_count() > 0);
        for known in &*shared {
            if known.runtime == runtime
                && known.config == config
                && let Some(inner) = known.inner.upgrade()
                && inner.context.check_open().is_ok()
            {
                return Ok(Self {
                    inner,
                    namespace: known.namespace.clone(),
                });
            }
        }
        let fleet = Self::builder().config(config.clone()).build().await?;
        let (inner, namespace) = (Arc::downgrade(&fleet.inner), fleet.namespace.clone());
        shared.push(SharedFleet {
            config,
            runtime,
            inner,
            namespace,
        });
        Ok(fleet)
    }

    pub(crate) fn assemble(inner: Inner, namespace: Namespace) -> Self {
        Self {
            inner: Arc::new(inner),
            namespace,
        }
    }

    /// A further instance on the same home, called `service`: its own publisher, its own connections.
    ///
    /// # Errors
    /// `InvalidInput` if the name is empty or too long, and those of [`connect`](Self::connect).
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "only a server is waited for")
    )]
    pub async fn instance(&self, service: &str) -> Result<Self> {
        crate::key::check_name("service", service)?;
        self.inner.context.check_open()?;
        let recipe = self.inner.recipe.clone().named(service);
        let mut instance = match &self.inner.home {
            Home::Embedded(home) => recipe.join(home.clone())?,
            #[cfg(feature = "redis")]
            Home::Redis(_) => recipe.build().await?,
        };
        instance.namespace = self.namespace.clone();
        Ok(instance)
    }

    /// The same instance and connections under a namespace within this one.
    ///
    /// # Errors
    /// `Config` if the namespace breaks the rules of [`Namespace`].
    pub fn namespaced(&self, namespace: &str) -> Result<Self> {
        Ok(Self {
            inner: self.inner.clone(),
            namespace: self.namespace.nested(namespace)?,
        })
    }

    /// The namespace of keys and channels.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The name of the service: the default source of its messages.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// The topic of a spec.
    #[must_use]
    pub fn topic<T: Send + Sync + 'static>(&self, spec: &TopicSpec<T>) -> Topic<T> {
        Topic::new(&self.inner.hub, &self.namespace, spec)
    }

    /// A channel of bytes, exactly `<namespace>:<name>` on the wire.
    ///
    /// # Errors
    /// `InvalidInput` if the name is empty, has more than 512 bytes or a control character, or begins
    /// with `__`.
    pub fn channel(&self, name: &str) -> Result<RawChannel> {
        RawChannel::new(&self.inner.hub, &self.namespace, name)
    }

    /// Subscribes to every channel of this namespace that matches a glob (`*`, `?`, `[…]`, `\`).
    pub fn channels(&self, glob: &str) -> Subscribe<bytes::Bytes> {
        events::raw_pattern(&self.inner.hub, &self.namespace, glob)
    }

    /// The roster called `name`: who is present there.
    #[must_use]
    pub fn presence(&self, name: &str) -> Presence {
        Presence::new(self.inner.presences.clone(), &self.namespace, name)
    }

    /// Who is logged in.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.inner.sessions.clone(), &self.namespace)
    }

    /// The store of a spec.
    #[must_use]
    pub fn store<K: ?Sized, V>(&self, spec: &StoreSpec<K, V>) -> Store<K, V> {
        Store::new(self.inner.stores.clone(), &self.namespace, spec)
    }

    /// The cache of a spec.
    #[must_use]
    pub fn cache<K: ?Sized, V>(&self, spec: &CacheSpec<K, V>) -> Cache<K, V> {
        Cache::new(self.inner.caches.clone(), &self.namespace, spec)
    }

    /// Tells `on_error` of an error that nobody waits for: for what is built upon a fleet.
    pub fn report(&self, source: ErrorSource, error: &Error) {
        self.inner.context.hooks.error(source, error);
    }

    /// What this instance is subscribed to, with the number of local subscriptions of each.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<(Target, usize)> {
        self.inner.hub.targets()
    }

    /// Ends every subscription and listener of this instance: their streams end after what they have
    /// buffered.
    pub fn unsubscribe_all(&self) {
        self.inner.hub.end_all();
    }

    /// The state of the connections.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        // From the source: the monitor hears of a change a moment later.
        #[cfg(feature = "redis")]
        if let Home::Redis(home) = &self.inner.home {
            return home.current_state();
        }
        self.inner.monitor.status().borrow().state
    }

    /// The state of the connections, and a way to wait for the next.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConnectionStatus> {
        self.inner.monitor.status()
    }

    /// Every change of the connections' state from now on. A reader more than 64 changes behind misses
    /// the oldest.
    pub fn changes(&self) -> impl Stream<Item = StateChange> + Send + Unpin + use<> {
        self.inner.monitor.changes()
    }

    /// Waits until the home can be used, for at most `connect_timeout`.
    ///
    /// # Errors
    /// Why it cannot be used.
    ///
    /// # Cancel safety
    /// Yes.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "only a server is waited for")
    )]
    pub async fn ready(&self) -> Result<()> {
        self.inner.context.check_open()?;
        match &self.inner.home {
            Home::Embedded(_) => Ok(()),
            #[cfg(feature = "redis")]
            Home::Redis(home) => {
                let deadline = Instant::now() + self.inner.connect_timeout;
                home.ready(deadline)
                    .await
                    .map_err(|error| error.with_operation("connect"))
            }
        }
    }

    /// Looks at the home: one round trip, given up after `timeout`.
    ///
    /// # Cancel safety
    /// Yes.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "only a server is waited for")
    )]
    pub async fn health(&self, timeout: Duration) -> Health {
        match &self.inner.home {
            Home::Embedded(home) => {
                let _ = timeout; // there is no round trip to wait for
                let error = self.inner.context.check_open().err();
                let error = error.or_else(|| home.trouble());
                Health {
                    healthy: error.is_none(),
                    response_time: Duration::ZERO,
                    server: None,
                    error,
                    cache: None,
                }
            }
            #[cfg(feature = "redis")]
            Home::Redis(home) => home.health(timeout).await,
        }
    }

    /// Looks at the home now and then every `interval`, until the stream is dropped.
    pub fn health_checks(
        &self,
        interval: Duration,
        timeout: Duration,
    ) -> impl Stream<Item = Health> + Send + use<> {
        let fleet = self.clone();
        let interval = interval.max(Duration::from_millis(1));
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio_stream::wrappers::IntervalStream::new(ticks).then(move |_| {
            let fleet = fleet.clone();
            async move { fleet.health(timeout).await }
        })
    }

    /// Closes the instance: subscriptions end, locks are given back, its members leave every roster, what is under way may finish for
    /// at most 5 s. Repeating it is harmless, and it does not hang on a dead server.
    ///
    /// Further instances, and whoever shares this one's home, are not touched. When it was the last one of a
    /// home in a file, the file can be opened again when this returns.
    ///
    /// # Cancel safety
    /// Call it again to finish what a dropped future began.
    pub async fn close(&self) {
        self.close_within(CLOSE_GRACE).await;
    }

    /// [`close`](Self::close), waiting for at most `grace` for what is under way.
    pub async fn close_within(&self, grace: Duration) {
        let deadline = after(Instant::now(), grace);
        self.inner.hub.end_all();
        self.inner.context.shut_down(deadline).await;
        match &self.inner.home {
            Home::Embedded(home) => home.leave(deadline).await,
            #[cfg(feature = "redis")]
            Home::Redis(home) => {
                home.close(deadline.saturating_duration_since(Instant::now()))
                    .await
            }
        }
        self.inner.monitor.closed();
    }

    /// Any command on the server that keeps the state.
    ///
    /// # Errors
    /// `Unsupported` in-process: there is no server to run commands on.
    #[cfg(feature = "redis")]
    pub fn redis(&self) -> Result<RedisCommands> {
        match &self.inner.home {
            Home::Redis(home) => Ok(RedisCommands::new(
                self.inner.context.clone(),
                home.state.clone(),
            )),
            Home::Embedded(_) => Err(no_server("redis")),
        }
    }

    /// Any command on the server for cached values; the one that keeps the state if there is only one.
    ///
    /// # Errors
    /// `Unsupported` in-process: there is no server to run commands on.
    #[cfg(feature = "redis")]
    pub fn redis_cache(&self) -> Result<RedisCommands> {
        match &self.inner.home {
            Home::Redis(home) => {
                let link = home.cache.as_ref().unwrap_or(&home.state);
                Ok(RedisCommands::new(self.inner.context.clone(), link.clone()))
            }
            Home::Embedded(_) => Err(no_server("redis_cache")),
        }
    }

    /// What the server was found to be when the last connection was made; `None` in-process, and
    /// before the first connection.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn server(&self) -> Option<Arc<quorate_link::ServerInfo>> {
        match &self.inner.home {
            Home::Redis(home) => home.state.server(),
            Home::Embedded(_) => None,
        }
    }
}

#[cfg(feature = "redis")]
fn no_server(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported)
        .with_operation(operation)
        .with_message("an in-process home has no server to run commands on")
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.home {
            Home::Embedded(home) => home.fmt(f),
            #[cfg(feature = "redis")]
            Home::Redis(_) => match self.server() {
                Some(server) => {
                    write!(f, "{} {} ({})", server.flavour, server.version, server.mode)
                }
                None => f.write_str("a server not yet reached"),
            },
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("home", &self.to_string())
            .field("namespace", &self.namespace)
            .field("service", &self.inner.service)
            .field("state", &self.state())
            .finish()
    }
}
