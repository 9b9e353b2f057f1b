//! The options after defaults and validation: what the rest of the crate sees.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::target::{self, Place, ServerTarget, Target};
use super::{FleetConfig, Protocol, WhenUnavailable};
use crate::backoff::{Backoff, RetryPolicy};
use crate::error::{Error, Result};
use crate::key::Namespace;
use crate::told::Tell;

/// Validated options of one fleet.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "the connection's options serve the Redis home")
)]
pub(crate) struct Settings {
    pub(crate) state: Target,
    pub(crate) cache: Option<Target>,
    pub(crate) namespace: Namespace,
    pub(crate) service: String,
    pub(crate) retry: RetryPolicy,
    pub(crate) command_timeout: Duration,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_payload: usize,
    /// Bytes of cached values that an in-process home keeps, where that is said.
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) beacon_interval: Duration,
    pub(crate) presence_lease: Duration,
    pub(crate) tell_caches: Tell,
    pub(crate) tell_caches_every: Duration,
    pub(crate) tell_limits: Tell,
    pub(crate) tell_limits_every: Duration,
    pub(crate) connection: ConnectionSettings,
}

/// Options of the connections to a server.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "the connection's options serve the Redis home")
)]
pub(crate) struct ConnectionSettings {
    pub(crate) client_name: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) reconnect: Option<Backoff>,
    pub(crate) ready_check: bool,
    pub(crate) lazy: bool,
    pub(crate) protocol: Protocol,
    pub(crate) when_unavailable: WhenUnavailable,
    pub(crate) max_in_flight: usize,
    pub(crate) max_in_flight_bytes: usize,
    pub(crate) ping_interval: Duration,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) tls_identity: Option<(PathBuf, PathBuf)>,
    pub(crate) tls_server_name: Option<String>,
}

impl Settings {
    /// Checks `config` as a whole. The URL has been laid over it already by [`resolve`](Self::resolve).
    pub(crate) fn resolve(config: FleetConfig) -> Result<Self> {
        let (place, config) = match config.url.clone() {
            None => (Place::Server, config),
            Some(url) => {
                let (place, named) = target::parse("url", url.reveal())?;
                (place, named.over(config))
            }
        };
        if config.url.is_none() && config.host.is_none() && config.port.is_none() {
            return Err(Error::config(
                "url",
                "or `host` must be given (`memory:` keeps the state in this process, `file:` in a file as well)",
            ));
        }
        let place_is_server = matches!(place, Place::Server);
        let state = match place {
            Place::Memory => Target::Memory,
            Place::File(path) => Target::File(path),
            Place::Server => Target::Server(server_target(&config)?),
        };
        let cache = config
            .cache_url
            .as_ref()
            .map(|url| cache_target(url.reveal(), &state))
            .transpose()?;
        let service = config
            .service
            .clone()
            .unwrap_or_else(|| "quorate".to_owned());
        crate::key::check_name("service", &service).map_err(as_config)?;
        Ok(Self {
            state,
            cache,
            namespace: Namespace::new(config.namespace.as_deref().unwrap_or("quorate"))?,
            retry: retry_policy(&config)?,
            command_timeout: at_least(
                "command_timeout",
                config.command_timeout,
                secs(5),
                millis(1),
            )?,
            deadline: config
                .deadline
                .map(|it| at_least("deadline", Some(it), it, millis(1)))
                .transpose()?,
            max_payload: size(
                "max_payload",
                config.max_payload,
                1024 * 1024,
                512 * 1024 * 1024,
            )?,
            cache_bytes: cache_bytes(&config, place_is_server)?,
            beacon_interval: at_least(
                "beacon_interval",
                config.beacon_interval,
                secs(1),
                millis(10),
            )?,
            presence_lease: within_an_hour("presence_lease", config.presence_lease)?,
            tell_caches: config.tell_caches.unwrap_or_default(),
            tell_caches_every: within_an_hour("tell_caches_every", config.tell_caches_every)?,
            tell_limits: config.tell_limits.unwrap_or_default(),
            tell_limits_every: within_an_hour("tell_limits_every", config.tell_limits_every)?,
            connection: connection(&config, &service)?,
            service,
        })
    }
}

fn server_target(config: &FleetConfig) -> Result<ServerTarget> {
    let host = config
        .host
        .clone()
        .unwrap_or_else(|| "localhost".to_owned());
    crate::key::check_name("host", &host).map_err(as_config)?;
    let port = config.port.unwrap_or(6379);
    if port == 0 {
        return Err(Error::config("port", "must be from 1 to 65535"));
    }
    if config.username.is_some() && config.password.is_none() {
        return Err(Error::config("username", "must come with a password"));
    }
    Ok(ServerTarget {
        host,
        port,
        username: config.username.clone(),
        password: config.password.clone(),
        db: config.db.unwrap_or(0),
        tls: config.tls.unwrap_or(false),
    })
}

/// The second server shares nothing with the first but the options that its URL does not name; its
/// place and login are its own.
fn cache_target(url: &str, state: &Target) -> Result<Target> {
    let (target, named) = target::parse("cache_url", url)?;
    let place = |config: FleetConfig| FleetConfig {
        host: config.host,
        port: config.port,
        username: config.username,
        password: config.password,
        db: config.db,
        tls: config.tls,
        ..FleetConfig::default()
    };
    let only_place = place(named.clone());
    if only_place != named {
        return Err(Error::config(
            "cache_url",
            "may carry only host, port, login, database and `tls`",
        ));
    }
    match (target, state) {
        (Place::Memory, _) => Ok(Target::Memory),
        (Place::File(_), _) => Err(Error::config(
            "cache_url",
            "must not be a file: cached values need not outlive the process",
        )),
        (Place::Server, Target::Memory | Target::File(_)) => Err(Error::config(
            "cache_url",
            "must be `memory:` or absent when the state is in this process",
        )),
        (Place::Server, Target::Server(_)) => Ok(Target::Server(server_target(&only_place)?)),
    }
}

fn cache_bytes(config: &FleetConfig, is_server: bool) -> Result<Option<u64>> {
    const LEAST: u64 = 64 << 10;
    match config.cache_bytes {
        Some(_) if is_server => Err(Error::config(
            "cache_bytes",
            "is for `memory:` and `file:`; a server has `maxmemory`",
        )),
        Some(bytes) if bytes < LEAST => Err(Error::config("cache_bytes", "must be at least 65536")),
        bytes => Ok(bytes),
    }
}

fn retry_policy(config: &FleetConfig) -> Result<RetryPolicy> {
    let backoff = Backoff {
        initial: at_most(
            "retry_delay",
            config.retry_delay.unwrap_or(Backoff::DEFAULT.initial),
        )?,
        factor: config.retry_factor.unwrap_or(Backoff::DEFAULT.factor),
        max: at_most(
            "max_retry_delay",
            config.max_retry_delay.unwrap_or(Backoff::DEFAULT.max),
        )?,
        jitter: config.retry_jitter.unwrap_or(Backoff::DEFAULT.jitter),
    };
    if !(backoff.factor.is_finite() && backoff.factor >= 1.0) {
        return Err(Error::config(
            "retry_factor",
            "must be a finite number of at least 1",
        ));
    }
    if !(0.0..=1.0).contains(&backoff.jitter) {
        return Err(Error::config("retry_jitter", "must be from 0 to 1"));
    }
    let attempts = NonZeroU32::new(config.retries.unwrap_or(3));
    if attempts.is_none() && config.deadline.is_none() {
        return Err(Error::config(
            "retries",
            "may be without limit (0) only together with `deadline`",
        ));
    }
    Ok(RetryPolicy { attempts, backoff })
}

fn connection(config: &FleetConfig, service: &str) -> Result<ConnectionSettings> {
    let client_name = config
        .client_name
        .clone()
        .unwrap_or_else(|| service.replace(' ', "-"));
    if client_name.is_empty() || !client_name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::config(
            "client_name",
            "must be printable ASCII without spaces",
        ));
    }
    let reconnect = Backoff {
        initial: at_least(
            "reconnect_delay",
            config.reconnect_delay,
            millis(100),
            millis(1),
        )?,
        max: at_least(
            "max_reconnect_delay",
            config.max_reconnect_delay,
            secs(30),
            millis(1),
        )?,
        ..Backoff::DEFAULT
    };
    let tls_identity = match (config.tls_cert.clone(), config.tls_key.clone()) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => return Err(Error::config("tls_cert", "must come with `tls_key`")),
        (None, Some(_)) => return Err(Error::config("tls_key", "must come with `tls_cert`")),
    };
    let wants_tls =
        config.tls_ca.is_some() || tls_identity.is_some() || config.tls_server_name.is_some();
    if wants_tls && config.tls != Some(true) {
        return Err(Error::config(
            "tls",
            "must be true (or the scheme `rediss`) for the other TLS options",
        ));
    }
    Ok(ConnectionSettings {
        client_name,
        connect_timeout: at_least(
            "connect_timeout",
            config.connect_timeout,
            secs(10),
            millis(10),
        )?,
        reconnect: config.reconnect.unwrap_or(true).then_some(reconnect),
        ready_check: config.ready_check.unwrap_or(true),
        lazy: config.lazy.unwrap_or(false),
        protocol: config.protocol.unwrap_or_default(),
        when_unavailable: config.when_unavailable.unwrap_or_default(),
        max_in_flight: size(
            "max_in_flight",
            config.max_in_flight.map(u64::from),
            65_536,
            1 << 22,
        )?,
        max_in_flight_bytes: size(
            "max_in_flight_bytes",
            config.max_in_flight_bytes,
            64 << 20,
            4 << 30,
        )?,
        ping_interval: at_least("ping_interval", config.ping_interval, secs(10), millis(10))?,
        tls_ca: config.tls_ca.clone(),
        tls_identity,
        tls_server_name: config.tls_server_name.clone(),
    })
}

/// A time from 100 ms to an hour; 10 s unless given.
fn within_an_hour(field: &'static str, time: Option<Duration>) -> Result<Duration> {
    let time = time.unwrap_or(secs(10));
    if !(millis(100)..=secs(3600)).contains(&time) {
        return Err(Error::config(field, "must be from 100 ms to 1 h"));
    }
    Ok(time)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn at_least(
    field: &str,
    given: Option<Duration>,
    default: Duration,
    least: Duration,
) -> Result<Duration> {
    let value = given.unwrap_or(default);
    if value < least {
        let least = humantime::format_duration(least);
        return Err(Error::config(
            field,
            format_args!("must be at least {least}"),
        ));
    }
    at_most(field, value)
}

/// Beyond it nobody waits, and sums of times would overflow.
const LONGEST: Duration = secs(30 * 24 * 3600);

fn at_most(field: &str, value: Duration) -> Result<Duration> {
    if value > LONGEST {
        return Err(Error::config(field, "must be at most 30 days"));
    }
    Ok(value)
}

fn size(field: &str, given: Option<u64>, default: u64, most: u64) -> Result<usize> {
    let value = given.unwrap_or(default);
    if value == 0 || value > most {
        return Err(Error::config(
            field,
            format_args!("must be from 1 to {most}"),
        ));
    }
    usize::try_from(value).map_err(|_| Error::config(field, "does not fit this machine"))
}

/// A name in the configuration that breaks a rule is a configuration error.
#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn as_config(error: Error) -> Error {
    Error::new(crate::error::ErrorKind::Config).with_message(error.message().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str) -> Result<Settings> {
        Settings::resolve(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let settings = resolve(r#"{"url":"redis://h"}"#).unwrap();
        assert_eq!(settings.command_timeout, secs(5));
        assert_eq!(settings.presence_lease, secs(10));
        assert_eq!(settings.tell_caches, Tell::Nothing);
        assert_eq!(settings.tell_caches_every, secs(10));
        assert_eq!(settings.tell_limits, Tell::Nothing);
        assert_eq!(settings.tell_limits_every, secs(10));
        assert_eq!(settings.connection.connect_timeout, secs(10));
        assert_eq!(settings.retry, RetryPolicy::DEFAULT);
        assert_eq!(settings.namespace.as_str(), "quorate");
        let reconnect = settings.connection.reconnect.unwrap();
        assert_eq!((reconnect.initial, reconnect.max), (millis(100), secs(30)));
    }

    #[test]
    fn the_url_wins_for_what_it_names() {
        let settings = resolve(
            r#"{"url":"redis://h?namespace=url","namespace":"builder","service":"builder"}"#,
        )
        .unwrap();
        assert_eq!(settings.namespace.as_str(), "url");
        assert_eq!(settings.service, "builder");
    }

    #[test]
    fn each_rule_names_its_field() {
        for (json, field) in [
            ("{}", "url"),
            (r#"{"host":"h","port":0}"#, "port"),
            (r#"{"host":""}"#, "host"),
            (r#"{"host":"h","username":"u"}"#, "username"),
            (r#"{"host":"h","command_timeout":"0s"}"#, "command_timeout"),
            (r#"{"host":"h","connect_timeout":"1ms"}"#, "connect_timeout"),
            (r#"{"host":"h","retries":0}"#, "retries"),
            (r#"{"host":"h","retry_factor":0.5}"#, "retry_factor"),
            (r#"{"host":"h","retry_jitter":2}"#, "retry_jitter"),
            (r#"{"host":"h","tls_cert":"c"}"#, "tls_cert"),
            (r#"{"host":"h","tls_ca":"c"}"#, "tls"),
            (r#"{"host":"h","max_in_flight":0}"#, "max_in_flight"),
            (r#"{"host":"h","max_payload":0}"#, "max_payload"),
            (r#"{"url":"memory:","cache_bytes":65535}"#, "cache_bytes"),
            (r#"{"host":"h","cache_bytes":65536}"#, "cache_bytes"),
            (r#"{"host":"h","client_name":"a b"}"#, "client_name"),
            (r#"{"host":"h","namespace":"*"}"#, "namespace"),
            (r#"{"host":"h","service":""}"#, "service"),
            (r#"{"url":"memory:","cache_url":"redis://h"}"#, "cache_url"),
            (r#"{"url":"file:a","cache_url":"redis://h"}"#, "cache_url"),
            (r#"{"url":"redis://h","cache_url":"file:a"}"#, "cache_url"),
            (
                r#"{"host":"h","cache_url":"redis://h?namespace=x"}"#,
                "cache_url",
            ),
            (r#"{"host":"h","beacon_interval":"1ms"}"#, "beacon_interval"),
            (r#"{"host":"h","presence_lease":"99ms"}"#, "presence_lease"),
            (r#"{"host":"h","presence_lease":"2h"}"#, "presence_lease"),
            (
                r#"{"host":"h","tell_caches_every":"99ms"}"#,
                "tell_caches_every",
            ),
            (
                r#"{"host":"h","tell_limits_every":"2h"}"#,
                "tell_limits_every",
            ),
            (r#"{"host":"h","deadline":"31days"}"#, "deadline"),
        ] {
            let error = resolve(json).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Config);
            assert!(
                error.message().unwrap().starts_with(field),
                "{json}: {error}"
            );
        }
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(serde_json::from_str::<FleetConfig>(r#"{"colour":"red"}"#).is_err());
    }
}
