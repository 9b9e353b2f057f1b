//! How a fleet is made.

mod ports;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "redis")]
use tokio::time::Instant;

use crate::cache::{CachePort, Caches};
use crate::clock::TestClock;
use crate::config::{FleetConfig, Protocol, Secret, Settings, Target, WhenUnavailable};
use crate::context::Context;
use crate::embedded::EmbeddedHome;
use crate::error::{Error, Result};
use crate::events::{EventsPort, Hub};
use crate::execution::ExecutionPort;
use crate::fleet::{Fleet, Home, Inner};
use crate::history::{GroupPort, HistoryPort, MemoryGroups, MemoryHistory};
use crate::hooks::{ErrorSource, Hooks};
use crate::limit::{LimitPort, Limiters};
use crate::lock::{LockPort, Locks, MemoryLocks, MemoryVotes, VotePort};
use crate::presence::{MemoryPresence, PresencePort, Presences};
use crate::queue::{MemoryQueues, QueuePort, Queues};
#[cfg(feature = "redis")]
use crate::redis::RedisHome;
use crate::session::{MemorySessions, SessionPort, SharedSessions};
use crate::state::{ConnectionState, Monitor, StateChange};
use crate::store::{StorePort, Stores};
use crate::told::{Tell, Telling};

/// Makes a [`Fleet`]: options, hooks, and ports of your own.
///
/// An option named in the URL wins over the same option here, and one given here wins over the
/// environment.
///
/// # Clone
/// Clones are independent.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::Fleet;
/// use std::time::Duration;
///
/// let fleet = Fleet::builder()
///     .url("memory:")
///     .namespace("shop:prod")
///     .command_timeout(Duration::from_secs(2))
///     .on_error(|source, error| eprintln!("{}: {error}", source.as_str()))
///     .build()
///     .await?;
/// # let _ = fleet;
/// # Ok(()) }
/// ```
#[must_use = "a builder does nothing until `build`"]
#[derive(Clone, Default)]
pub struct FleetBuilder {
    config: FleetConfig,
    environment: FleetConfig,
    hooks: Hooks,
    events: Option<Arc<dyn EventsPort>>,
    history: Option<Arc<dyn HistoryPort>>,
    groups: Option<Arc<dyn GroupPort>>,
    limits: Option<Arc<dyn LimitPort>>,
    locks: Option<Arc<dyn LockPort>>,
    presence: Option<Arc<dyn PresencePort>>,
    queues: Option<Arc<dyn QueuePort>>,
    sessions: Option<Arc<dyn SessionPort>>,
    executions: Option<Arc<dyn ExecutionPort>>,
    stores: Option<Arc<dyn StorePort>>,
    caches: Option<Arc<dyn CachePort>>,
    reconnect: Option<Arc<dyn Fn(u32) -> Option<Duration> + Send + Sync>>,
    clock: Option<TestClock>,
    /// The name of a further instance: wins over the service in the URL.
    instance: Option<String>,
}

/// Setters for the fields of [`FleetConfig`], each with the field's own documentation nearby.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty;)*) => {
        impl FleetBuilder {
            $(
                $(#[doc = $doc])+
                pub fn $name(mut self, $name: impl Into<$type>) -> Self {
                    self.config.$name = Some($name.into());
                    self
                }
            )*
        }
    };
}

options! {
    /// Where the state lives; see [`Fleet::connect`].
    url: Secret;
    /// A second server, one that may evict, for cached values.
    cache_url: Secret;
    /// Server name or address, when there is no URL.
    host: String;
    /// Server port.
    port: u16;
    /// ACL user.
    username: String;
    /// Password.
    password: Secret;
    /// Database number.
    db: u32;
    /// Use TLS.
    tls: bool;
    /// PEM file with the certificate authorities to trust.
    tls_ca: PathBuf;
    /// PEM file with the client's certificate chain.
    tls_cert: PathBuf;
    /// PEM file with the client's private key.
    tls_key: PathBuf;
    /// The name to expect in the server's certificate.
    tls_server_name: String;
    /// Prefix of all keys and channels.
    namespace: String;
    /// Name of this service: the default source of messages and the client name.
    service: String;
    /// The connection's name on the server.
    client_name: String;
    /// Time to connect, TLS and login included. Default 10 s.
    connect_timeout: Duration;
    /// Time for one attempt of one command. Default 5 s.
    command_timeout: Duration;
    /// Time for a whole call with all its attempts.
    deadline: Duration;
    /// Attempts in total, the first included; 0 is without limit. Default 3.
    retries: u32;
    /// Delay before the first retry. Default 1 s.
    retry_delay: Duration;
    /// Growth of that delay. Default 2.
    retry_factor: f64;
    /// Cap of that delay. Default 30 s.
    max_retry_delay: Duration;
    /// Share of that delay that chance may take off. Default 0.5.
    retry_jitter: f64;
    /// Reconnect when the connection is lost. Default yes, without end.
    reconnect: bool;
    /// Delay before the first reconnect. Default 100 ms.
    reconnect_delay: Duration;
    /// Cap of that delay. Default 30 s.
    max_reconnect_delay: Duration;
    /// Wait until the server has loaded its data before using it. Default yes.
    ready_check: bool;
    /// Connect at the first use instead of at once. Default no.
    lazy: bool;
    /// Which protocol to speak.
    protocol: Protocol;
    /// What a call does while there is no connection or no room.
    when_unavailable: WhenUnavailable;
    /// Commands under way at once. Default 65 536.
    max_in_flight: u32;
    /// Bytes of commands under way at once. Default 64 MiB.
    max_in_flight_bytes: u64;
    /// Largest message payload in bytes. Default 1 MiB.
    max_payload: u64;
    /// Bytes of cached values that an in-process home keeps. Default 256 MiB.
    cache_bytes: u64;
    /// How often an idle connection is probed. Default 10 s.
    ping_interval: Duration;
    /// How soon after a message its publisher confirms what it last sent. Default 1 s.
    beacon_interval: Duration;
    /// How long the members of an instance outlive it on rosters. Default 10 s.
    presence_lease: Duration;
    /// What this instance tells the others of its caches; see [`Fleet::cache_figures`]. Default nothing.
    tell_caches: Tell;
    /// How often it does, if something has changed. Default 10 s.
    tell_caches_every: Duration;
    /// What this instance tells the others of its limiters; see [`Fleet::limit_figures`]. Default nothing.
    tell_limits: Tell;
    /// How often it does, if something has changed. Default 10 s.
    tell_limits_every: Duration;
}

impl FleetBuilder {
    pub(crate) fn named(mut self, instance: &str) -> Self {
        self.instance = Some(instance.to_owned());
        self
    }

    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes options from a configuration struct; those given here before win.
    pub fn config(mut self, config: FleetConfig) -> Self {
        self.config = self.config.over(config);
        self
    }

    /// Takes options from the environment, under those given here; see [`FleetConfig::from_env`].
    ///
    /// # Errors
    /// `Config` if a variable breaks its rule, or none says where the server is.
    pub fn environment(mut self) -> Result<Self> {
        self.environment = FleetConfig::from_env()?;
        Ok(self)
    }

    /// Decides how long to wait before reconnect number `n` (from 1), or, with `None`, to give up.
    pub fn reconnect_with(
        mut self,
        decide: impl Fn(u32) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        self.reconnect = Some(Arc::new(decide));
        self
    }

    /// Called when the home can be used (again).
    pub fn on_connect(mut self, hook: impl Fn(&StateChange) + Send + Sync + 'static) -> Self {
        self.hooks.on_connect = Some(Arc::new(hook));
        self
    }

    /// Called when the home can no longer be used.
    pub fn on_disconnect(mut self, hook: impl Fn(&StateChange) + Send + Sync + 'static) -> Self {
        self.hooks.on_disconnect = Some(Arc::new(hook));
        self
    }

    /// Called for errors that no caller is waiting for. Without it they are logged.
    pub fn on_error(mut self, hook: impl Fn(ErrorSource, &Error) + Send + Sync + 'static) -> Self {
        self.hooks.on_error = Some(Arc::new(hook));
        self
    }

    /// Lets the home decide by a time that tests move.
    pub fn test_clock(mut self, clock: TestClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the fleet, and waits for its first connection unless it is `lazy`.
    ///
    /// # Errors
    /// `Config` if an option breaks its rule, `Auth` and the like at once, and whatever else kept the
    /// first connection from being made within `connect_timeout`.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing is left behind.
    #[cfg_attr(
        not(any(feature = "file", feature = "redis")),
        expect(clippy::unused_async, reason = "only a file or a server is waited for")
    )]
    pub async fn build(self) -> Result<Fleet> {
        let settings = self.settings()?;
        match &settings.state {
            Target::Memory => {
                let home = EmbeddedHome::new(self.clock.clone());
                self.with_home(settings, Home::Embedded(home))
            }
            #[cfg(feature = "file")]
            Target::File(path) => {
                let opened = EmbeddedHome::open(path.clone(), self.clock.clone()).await;
                let home = opened.map_err(|error| error.with_operation("connect"))?;
                self.with_home(settings, Home::Embedded(home))
            }
            #[cfg(not(feature = "file"))]
            Target::File(_) => Err(Error::config("url", "needs the crate's feature `file`")),
            #[cfg(feature = "redis")]
            Target::Server(server) => {
                let cache = match &settings.cache {
                    Some(Target::Server(cache)) => Some(cache),
                    _ => None,
                };
                let home = RedisHome::open(
                    &settings,
                    server,
                    cache,
                    self.reconnect.as_ref(),
                    self.clock.clone(),
                )?;
                let (lazy, within) = (
                    settings.connection.lazy,
                    settings.connection.connect_timeout,
                );
                let fleet = self.with_home(settings, Home::Redis(home.clone()))?;
                if !lazy {
                    let connected = home.first_ready(Instant::now() + within).await;
                    if let Err(error) = connected {
                        fleet.close_within(Duration::ZERO).await;
                        return Err(error.with_operation("connect"));
                    }
                }
                Ok(fleet)
            }
            #[cfg(not(feature = "redis"))]
            Target::Server(_) => Err(Error::config("url", "needs the crate's feature `redis`")),
        }
    }

    pub(crate) fn build_embedded(self) -> Fleet {
        let recipe = self.url("memory:");
        let home = EmbeddedHome::new(recipe.clock.clone());
        recipe.join(home).expect("the defaults are valid")
    }

    /// A further instance of an in-process home.
    pub(crate) fn join(self, home: EmbeddedHome) -> Result<Fleet> {
        let settings = self.settings()?;
        self.with_home(settings, Home::Embedded(home))
    }

    fn settings(&self) -> Result<Settings> {
        Settings::resolve(self.config.clone().over(self.environment.clone()))
    }

    fn with_home(self, settings: Settings, home: Home) -> Result<Fleet> {
        let home = match home {
            Home::Embedded(home) => {
                if let Some(bytes) = settings.cache_bytes {
                    home.keep_cached(bytes);
                }
                Home::Embedded(home.join(&self.hooks)?)
            }
            #[cfg(feature = "redis")]
            home @ Home::Redis(_) => home,
        };
        let context = Arc::new(Context::new(
            settings.retry,
            settings.command_timeout,
            settings.deadline,
            self.hooks.clone(),
        ));
        context.remember_runtime();
        let events: Arc<dyn EventsPort> = match (&self.events, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => Arc::new(home.events()),
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.events()),
        };
        let history: Arc<dyn HistoryPort> = match (&self.history, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => {
                Arc::new(MemoryHistory::new(home.histories(), events.clone()))
            }
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.histories()),
        };
        let groups: Option<Arc<dyn GroupPort>> = match (&self.groups, &home) {
            (Some(port), _) => Some(port.clone()),
            // The home's own would look for messages where there are none.
            (None, _) if self.history.is_some() => None,
            (None, Home::Embedded(home)) => Some(Arc::new(MemoryGroups::new(home.histories()))),
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Some(Arc::new(home.groups())),
        };
        let locks: Arc<dyn LockPort> = match (&self.locks, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => {
                let (table, disk) = (home.locks(), home.disk());
                Arc::new(MemoryLocks::new(table, disk, events.clone()))
            }
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.locks()),
        };
        let votes: Arc<dyn VotePort> = match &home {
            Home::Embedded(home) => Arc::new(MemoryVotes::new(home.votes(), home.disk())),
            #[cfg(feature = "redis")]
            Home::Redis(home) => Arc::new(home.votes()),
        };
        let limits: Arc<dyn LimitPort> = match (&self.limits, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => Arc::new(home.limits()),
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.limits()),
        };
        let presence: Arc<dyn PresencePort> = match (&self.presence, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => {
                Arc::new(MemoryPresence::new(home.rosters(), events.clone()))
            }
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.presence()),
        };
        let queues: Arc<dyn QueuePort> = match (&self.queues, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => {
                let (table, disk) = (home.queues(), home.disk());
                Arc::new(MemoryQueues::new(table, disk, events.clone()))
            }
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.queues()),
        };
        let sessions: Arc<dyn SessionPort> = match (&self.sessions, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => {
                let (table, disk) = (home.sessions(), home.disk());
                Arc::new(MemorySessions::new(table, disk, events.clone()))
            }
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.sessions()),
        };
        let stores: Arc<dyn StorePort> = match (&self.stores, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => Arc::new(home.stores()),
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.stores()),
        };
        let caches: Arc<dyn CachePort> = match (&self.caches, &home) {
            (Some(port), _) => port.clone(),
            (None, Home::Embedded(home)) => Arc::new(home.caches(events.clone())),
            #[cfg(feature = "redis")]
            (None, Home::Redis(home)) => Arc::new(home.caches()),
        };
        let monitor = Arc::new(match &home {
            Home::Embedded(_) => {
                Monitor::new(ConnectionState::Ready, "in-process", self.hooks.clone())
            }
            #[cfg(feature = "redis")]
            Home::Redis(_) => {
                Monitor::new(ConnectionState::Idle, "not connected", self.hooks.clone())
            }
        });
        match &home {
            Home::Embedded(home) => home.report_to(&monitor),
            #[cfg(feature = "redis")]
            Home::Redis(home) => home.report_to(&monitor, &context),
        }
        let service: Arc<str> = self.instance.clone().unwrap_or(settings.service).into();
        let hub = Hub::new(
            context.clone(),
            events,
            history,
            groups,
            service.clone(),
            settings.max_payload,
            settings.beacon_interval,
        );
        let locks = Arc::new(Locks {
            context: context.clone(),
            port: locks,
            hub: hub.clone(),
            service: service.clone(),
        });
        let lease = settings.presence_lease;
        let presences = Presences::new(context.clone(), presence, hub.clone(), lease);
        let telling = |what, every| Telling {
            context: context.clone(),
            presences: presences.clone(),
            what,
            every,
        };
        let tell_limits = telling(settings.tell_limits, settings.tell_limits_every);
        let tell_caches = telling(settings.tell_caches, settings.tell_caches_every);
        let limiters = Limiters::new(context.clone(), limits, self.clock.clone(), tell_limits);
        let limiters = Arc::new(limiters);
        let queues = Arc::new(Queues::new(context.clone(), queues, hub.clone()));
        let sessions = Arc::new(SharedSessions {
            context: context.clone(),
            port: sessions,
            hub: hub.clone(),
        });
        let executions = Arc::new(self.executions_on(&home, &context));
        let stores = Arc::new(Stores {
            context: context.clone(),
            port: stores,
        });
        let clock = self.clock.clone().unwrap_or_default();
        let caches = Caches::new(context.clone(), caches, hub.clone(), clock, tell_caches);
        let caches = Arc::new(caches);
        let inner = Inner {
            context,
            hub,
            locks,
            votes,
            limiters,
            presences,
            queues,
            sessions,
            executions,
            stores,
            caches,
            monitor,
            home,
            service,
            #[cfg(feature = "redis")]
            connect_timeout: settings.connection.connect_timeout,
            recipe: self,
        };
        Ok(Fleet::assemble(inner, settings.namespace))
    }
}

impl fmt::Debug for FleetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetBuilder")
            .field("config", &self.config)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}
