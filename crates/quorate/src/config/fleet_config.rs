//! The options, every one of them optional.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::values::{duration, flag, flexible, number};
use crate::told::Tell;

/// Which protocol to speak to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// RESP3, or RESP2 where the server or a proxy before it refuses `HELLO`.
    #[default]
    Auto,
    /// RESP2.
    Resp2,
}

/// What a call does while there is no connection, or no room for another command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WhenUnavailable {
    /// Wait until the attempt's time is up.
    #[default]
    Wait,
    /// Fail at once with `Disconnected` or `Overloaded`.
    Fail,
}

/// Every option of a fleet.
///
/// It deserialises (unknown fields are refused), so that it can stand in a configuration file;
/// [`FleetBuilder::config`](crate::FleetBuilder::config) takes it. In files and URLs a duration is
/// text with a unit (`500ms`, `5s`). A field left out means the default given with it.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, FleetConfig};
///
/// let config: FleetConfig =
///     serde_json::from_str(r#"{"url": "memory:", "namespace": "shop", "command_timeout": "2s"}"#)
///         .unwrap();
/// let fleet = Fleet::builder().config(config).build().await?;
/// assert_eq!(fleet.namespace().as_str(), "shop");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built with `..FleetConfig::default()`"
)]
pub struct FleetConfig {
    /// Where the state lives: `memory:`, `file:path`, `redis://`, `rediss://`, `valkey://`, `valkeys://`.
    ///
    /// A secret, because it may hold a password.
    pub url: Option<Secret>,
    /// A second server, one that may evict, for cached values. Default: the first one.
    pub cache_url: Option<Secret>,
    /// Server name or address, when there is no URL. Default `localhost`.
    pub host: Option<String>,
    /// Server port, from 1. Default 6379.
    #[serde(deserialize_with = "flexible")]
    pub port: Option<u16>,
    /// ACL user. Default: the server's default user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Database number. Default 0; a cluster knows only 0.
    #[serde(deserialize_with = "flexible")]
    pub db: Option<u32>,
    /// Use TLS. Default: as the URL's scheme says, else no.
    #[serde(deserialize_with = "flag")]
    pub tls: Option<bool>,
    /// PEM file with the certificate authorities to trust. Default: those of the system.
    pub tls_ca: Option<PathBuf>,
    /// PEM file with the client's certificate chain; needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the client's private key; needs `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The name to expect in the server's certificate. Default: the host.
    pub tls_server_name: Option<String>,
    /// Prefix of all keys and channels. Default `quorate`; may be empty.
    pub namespace: Option<String>,
    /// Name of this service: the default source of messages and the client name. Default `quorate`.
    pub service: Option<String>,
    /// The connection's name on the server (`CLIENT SETNAME`). Default: the service name.
    pub client_name: Option<String>,
    /// Time to connect, TLS and login included; at least 10 ms. Default 10 s.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Option<Duration>,
    /// Time for one attempt of one command; at least 1 ms. Default 5 s.
    #[serde(deserialize_with = "duration")]
    pub command_timeout: Option<Duration>,
    /// Time for a whole call with all its attempts. Default: what the attempts add up to.
    #[serde(deserialize_with = "duration")]
    pub deadline: Option<Duration>,
    /// Attempts in total, the first included; 0 is without limit. Default 3.
    #[serde(deserialize_with = "flexible")]
    pub retries: Option<u32>,
    /// Delay before the first retry. Default 1 s.
    #[serde(deserialize_with = "duration")]
    pub retry_delay: Option<Duration>,
    /// Growth of that delay; at least 1. Default 2.
    #[serde(deserialize_with = "number")]
    pub retry_factor: Option<f64>,
    /// Cap of that delay. Default 30 s.
    #[serde(deserialize_with = "duration")]
    pub max_retry_delay: Option<Duration>,
    /// Share of that delay that chance may take off, 0 to 1. Default 0.5.
    #[serde(deserialize_with = "number")]
    pub retry_jitter: Option<f64>,
    /// Reconnect when the connection is lost. Default yes, without end.
    #[serde(deserialize_with = "flag")]
    pub reconnect: Option<bool>,
    /// Delay before the first reconnect. Default 100 ms.
    #[serde(deserialize_with = "duration")]
    pub reconnect_delay: Option<Duration>,
    /// Cap of that delay, which doubles each time. Default 30 s.
    #[serde(deserialize_with = "duration")]
    pub max_reconnect_delay: Option<Duration>,
    /// Wait until the server has loaded its data before using it. Default yes.
    #[serde(deserialize_with = "flag")]
    pub ready_check: Option<bool>,
    /// Connect at the first use instead of at once. Default no.
    #[serde(deserialize_with = "flag")]
    pub lazy: Option<bool>,
    /// `auto` or `resp2`. Default `auto`.
    pub protocol: Option<Protocol>,
    /// `wait` or `fail`. Default `wait`.
    pub when_unavailable: Option<WhenUnavailable>,
    /// Commands under way at once; at least 1. Default 65 536.
    #[serde(deserialize_with = "flexible")]
    pub max_in_flight: Option<u32>,
    /// Bytes of commands under way at once. Default 64 MiB.
    #[serde(deserialize_with = "flexible")]
    pub max_in_flight_bytes: Option<u64>,
    /// Largest message payload in bytes. Default 1 MiB.
    #[serde(deserialize_with = "flexible")]
    pub max_payload: Option<u64>,
    /// Bytes of cached values, with keys and tags, that an in-process home keeps; at least 64 KiB. Default 256 MiB.
    ///
    /// When there are more, those go first that were put first and not read since. A server has its `maxmemory` for that.
    #[serde(deserialize_with = "flexible")]
    pub cache_bytes: Option<u64>,
    /// How often an idle connection is probed. Default 10 s.
    #[serde(deserialize_with = "duration")]
    pub ping_interval: Option<Duration>,
    /// How soon after a message its publisher confirms what it last sent; at least 10 ms. Default 1 s.
    ///
    /// A message lost at the end of a burst is noticed within twice this time.
    #[serde(deserialize_with = "duration")]
    pub beacon_interval: Option<Duration>,
    /// How long the members of an instance outlive it on rosters; from 100 ms to 1 h. Default 10 s.
    ///
    /// It is renewed every third of this time.
    #[serde(deserialize_with = "duration")]
    pub presence_lease: Option<Duration>,
    /// What this instance tells the others of its caches: `nothing`, `counts` or `keys`. Default `nothing`.
    pub tell_caches: Option<Tell>,
    /// How often it does, if something has changed; from 100 ms to 1 h. Default 10 s.
    #[serde(deserialize_with = "duration")]
    pub tell_caches_every: Option<Duration>,
    /// What this instance tells the others of its limiters: `nothing`, `counts` or `keys`. Default `nothing`.
    pub tell_limits: Option<Tell>,
    /// How often it does, if something has changed; from 100 ms to 1 h. Default 10 s.
    #[serde(deserialize_with = "duration")]
    pub tell_limits_every: Option<Duration>,
}

impl FleetConfig {
    /// These options, and where one is missing, that of `under`.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        macro_rules! each {
            ($($field:ident),* $(,)?) => { Self { $($field: self.$field.or(under.$field)),* } };
        }
        each!(
            url,
            cache_url,
            host,
            port,
            username,
            password,
            db,
            tls,
            tls_ca,
            tls_cert,
            tls_key,
            tls_server_name,
            namespace,
            service,
            client_name,
            connect_timeout,
            command_timeout,
            deadline,
            retries,
            retry_delay,
            retry_factor,
            max_retry_delay,
            retry_jitter,
            reconnect,
            reconnect_delay,
            max_reconnect_delay,
            ready_check,
            lazy,
            protocol,
            when_unavailable,
            max_in_flight,
            max_in_flight_bytes,
            max_payload,
            cache_bytes,
            ping_interval,
            beacon_interval,
            presence_lease,
            tell_caches,
            tell_caches_every,
            tell_limits,
            tell_limits_every,
        )
    }
}
