//! The Redis home: its links, and what is built on them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use quorate_link::{Link, LinkConfig, LinkState, PushSink, ReconnectPolicy, TlsConfig};

use super::durable::DurableLane;
use super::push::PushRouter;
use super::reply::from_link;
use super::script::ScriptRunner;
use crate::cache::RedisCaches;
use crate::clock::TestClock;
use crate::config::{Protocol, ServerTarget, Settings, WhenUnavailable};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::events::RedisEvents;
use crate::execution::RedisExecutions;
use crate::history::{RedisGroups, RedisHistory};
use crate::hooks::ErrorSource;
use crate::limit::RedisLimits;
use crate::lock::{RedisLocks, RedisVotes};
use crate::presence::RedisPresence;
use crate::queue::RedisQueues;
use crate::session::RedisSessions;
use crate::state::{ConnectionState, Health, Monitor, ServerSummary, StateChange};
use crate::store::RedisStores;

/// A function that decides how long to wait before reconnect number `n`, or to give up.
pub(crate) type ReconnectWith = Arc<dyn Fn(u32) -> Option<Duration> + Send + Sync>;

/// The links of one instance.
#[derive(Clone, Debug)]
pub(crate) struct RedisHome {
    pub(crate) state: Link,
    /// The second server, where one is configured.
    pub(crate) cache: Option<Link>,
    router: Arc<PushRouter>,
    scripts: ScriptRunner,
}

impl RedisHome {
    /// Starts the links. They connect in the background.
    pub(crate) fn open(
        settings: &Settings,
        state: &ServerTarget,
        cache: Option<&ServerTarget>,
        reconnect: Option<&ReconnectWith>,
        clock: Option<TestClock>,
    ) -> Result<Self> {
        let router = Arc::new(PushRouter::default());
        let sink: Arc<dyn PushSink> = router.clone();
        let open = |target: &ServerTarget, sink| {
            Link::open(link_config(settings, target, reconnect)?, sink).map_err(from_link)
        };
        let state = open(state, Some(sink))?;
        let cache = cache.map(|target| open(target, None)).transpose()?;
        let scripts = ScriptRunner::new(state.clone(), DurableLane::new(state.clone()), clock);
        Ok(Self {
            state,
            cache,
            router,
            scripts,
        })
    }

    pub(crate) fn events(&self) -> RedisEvents {
        RedisEvents::new(self.state.clone(), self.router.clone())
    }

    pub(crate) fn histories(&self) -> RedisHistory {
        RedisHistory::new(self.scripts.clone(), self.state.clone())
    }

    pub(crate) fn groups(&self) -> RedisGroups {
        RedisGroups::new(self.scripts.clone())
    }

    pub(crate) fn locks(&self) -> RedisLocks {
        RedisLocks::new(self.state.clone(), self.scripts.clone())
    }

    pub(crate) fn votes(&self) -> RedisVotes {
        RedisVotes::new(self.scripts.clone())
    }

    pub(crate) fn limits(&self) -> RedisLimits {
        RedisLimits::new(self.scripts.clone())
    }

    pub(crate) fn presence(&self) -> RedisPresence {
        RedisPresence::new(self.scripts.clone())
    }

    pub(crate) fn queues(&self) -> RedisQueues {
        RedisQueues::new(self.state.clone(), self.scripts.clone())
    }

    pub(crate) fn caches(&self) -> RedisCaches {
        match &self.cache {
            None => RedisCaches::new(self.scripts.clone(), self.state.clone(), true),
            // What is published there, nobody hears.
            Some(link) => RedisCaches::new(self.scripts.on(link.clone()), link.clone(), false),
        }
    }

    pub(crate) fn executions(&self) -> RedisExecutions {
        RedisExecutions::new(self.scripts.clone())
    }

    pub(crate) fn sessions(&self) -> RedisSessions {
        RedisSessions::new(self.scripts.clone())
    }

    pub(crate) fn stores(&self) -> RedisStores {
        RedisStores::new(self.scripts.clone(), self.state.clone())
    }

    /// Passes the link's changes of state on to the fleet's monitor.
    pub(crate) fn report_to(&self, monitor: &Arc<Monitor>, context: &Arc<Context>) {
        let mut changes = self.state.changes();
        let status = self.state.status().borrow().clone();
        monitor.begin(state_of(status.state), &status.reason, status.epoch);
        let (monitor, hooks) = (monitor.clone(), context.hooks.clone());
        let closed = context.closed().clone();
        context.spawn(async move {
            loop {
                let change = tokio::select! {
                    change = changes.next() => change,
                    () = closed.cancelled() => None,
                };
                // The stream holds no link: it ends when the last handle is dropped.
                let Some(change) = change else { return };
                let new = state_of(change.new);
                if matches!(
                    new,
                    ConnectionState::Reconnecting | ConnectionState::Failover
                ) {
                    let error = Error::new(crate::ErrorKind::ConnectionLost)
                        .with_operation("connection")
                        .with_message(&*change.reason);
                    hooks.error(ErrorSource::Connection, &error);
                }
                monitor.report(&StateChange {
                    previous: state_of(change.previous),
                    new,
                    at: change.at,
                    reason: change.reason,
                    epoch: change.epoch,
                });
            }
        });
    }

    pub(crate) fn current_state(&self) -> ConnectionState {
        state_of(self.state.status().borrow().state)
    }

    pub(crate) async fn ready(&self, deadline: tokio::time::Instant) -> Result<()> {
        self.state.ready(deadline).await.map_err(from_link)?;
        if let Some(cache) = &self.cache {
            cache
                .ready(deadline)
                .await
                .map_err(|error| from_link(error).with_target("cache_url"))?;
        }
        Ok(())
    }

    /// Waits for the first connections, and gives up at once where trying again cannot help: wrong
    /// credentials, an untrusted certificate, a server that is too old.
    pub(crate) async fn first_ready(&self, deadline: tokio::time::Instant) -> Result<()> {
        let links = [Some(&self.state), self.cache.as_ref()];
        let hopeless = links.into_iter().flatten().map(hopeless);
        tokio::select! {
            ready = self.ready(deadline) => ready,
            (error, ..) = futures_util::future::select_all(hopeless.map(Box::pin)) => Err(error),
        }
    }

    pub(crate) async fn health(&self, timeout: Duration) -> Health {
        let state = async { health_of(&self.state, timeout).await };
        let cache = async {
            match &self.cache {
                Some(link) => Some(Box::new(health_of(link, timeout).await)),
                None => None,
            }
        };
        let (mut health, cache) = tokio::join!(state, cache);
        health.cache = cache;
        health
    }

    pub(crate) async fn close(&self, grace: Duration) {
        match &self.cache {
            Some(cache) => {
                tokio::join!(self.state.close(grace), cache.close(grace));
            }
            None => self.state.close(grace).await,
        }
        self.router.clear();
    }
}

/// Resolves once a link has failed in a way that does not pass by itself.
async fn hopeless(link: &Link) -> Error {
    let mut status = link.status();
    loop {
        if let Some(error) = link.down_reason() {
            use quorate_link::LinkErrorKind::{Auth, Config, Tls, Unsupported};
            if matches!(error.kind(), Auth | Config | Tls | Unsupported) {
                return from_link(error);
            }
        }
        if status.changed().await.is_err() {
            // The link is gone; whoever waits for it to be ready is told so.
            return std::future::pending().await;
        }
    }
}

async fn health_of(link: &Link, timeout: Duration) -> Health {
    let found = link.health(timeout).await;
    Health {
        healthy: found.healthy,
        response_time: found.response_time,
        server: found.server.map(|server| ServerSummary {
            flavour: server.flavour.to_string().to_lowercase(),
            version: server.version.to_string(),
            mode: server.mode.to_string(),
            connected_clients: server.connected_clients,
            used_memory: server.used_memory,
        }),
        error: found
            .error
            .map(|error| from_link(error).with_operation("health")),
        cache: None,
    }
}

fn state_of(state: LinkState) -> ConnectionState {
    match state {
        LinkState::Idle => ConnectionState::Idle,
        LinkState::Connecting => ConnectionState::Connecting,
        LinkState::Ready => ConnectionState::Ready,
        LinkState::Reconnecting => ConnectionState::Reconnecting,
        LinkState::Failover => ConnectionState::Failover,
        LinkState::Closed => ConnectionState::Closed,
        // Also what a newer link may add: connected or not, something is not as it should be.
        _ => ConnectionState::Degraded,
    }
}

fn link_config(
    settings: &Settings,
    target: &ServerTarget,
    reconnect: Option<&ReconnectWith>,
) -> Result<LinkConfig> {
    let connection = &settings.connection;
    let mut config = LinkConfig::new(target.host.clone(), target.port);
    config.username = target.username.clone();
    config.password = target
        .password
        .as_ref()
        .map(|password| quorate_link::Secret::new(password.reveal()));
    config.db = target.db;
    config.tls = if target.tls {
        Some(tls(settings)?)
    } else {
        None
    };
    config.connect_timeout = connection.connect_timeout;
    config.command_timeout = settings.command_timeout;
    config.reconnect = match (reconnect, connection.reconnect) {
        (Some(decide), _) => ReconnectPolicy::Custom(decide.clone()),
        (None, None) => ReconnectPolicy::Never,
        (None, Some(backoff)) => ReconnectPolicy::Backoff {
            initial: backoff.initial,
            factor: backoff.factor,
            max: backoff.max.max(backoff.initial),
            jitter: backoff.jitter,
        },
    };
    config.client_name = Some(connection.client_name.clone());
    config.ready_check = connection.ready_check;
    config.lazy = connection.lazy;
    config.protocol = match connection.protocol {
        Protocol::Resp2 => quorate_link::Protocol::Resp2,
        Protocol::Auto => quorate_link::Protocol::Resp3,
    };
    config.when_unavailable = match connection.when_unavailable {
        WhenUnavailable::Wait => quorate_link::WhenUnavailable::WaitUntilDeadline,
        WhenUnavailable::Fail => quorate_link::WhenUnavailable::FailNow,
    };
    config.limits.max_in_flight = connection.max_in_flight;
    config.limits.max_in_flight_bytes = connection.max_in_flight_bytes;
    config.ping_interval = Some(connection.ping_interval);
    config.ping_timeout = connection.ping_interval.min(config.ping_timeout);
    Ok(config)
}

fn tls(settings: &Settings) -> Result<TlsConfig> {
    let connection = &settings.connection;
    let read = |field: &'static str, path: &std::path::Path| {
        std::fs::read_to_string(path).map_err(|error| {
            Error::config(field, "must name a readable PEM file").with_source(error)
        })
    };
    let mut tls = TlsConfig::new();
    if let Some(path) = &connection.tls_ca {
        // A private authority replaces the system's: who names one means that one.
        tls.ca_pem = Some(read("tls_ca", path)?);
        tls.system_roots = false;
    }
    if let Some((cert, key)) = &connection.tls_identity {
        tls.client_cert_pem = Some(read("tls_cert", cert)?);
        tls.client_key_pem = Some(quorate_link::Secret::new(read("tls_key", key)?));
    }
    tls.server_name = connection.tls_server_name.clone();
    Ok(tls)
}
