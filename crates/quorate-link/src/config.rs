//! How a link is configured.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::LinkError;
pub use crate::tls::TlsConfig;

/// The longest time that makes sense for any timeout.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A value that must not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// The secret itself. Keep it out of messages.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl<T: Into<Arc<str>>> From<T> for Secret {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Which version of the protocol to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// RESP3, falling back to RESP2 where the peer refuses `HELLO`.
    #[default]
    Resp3,
    /// RESP2 from the start, for proxies that mishandle `HELLO`.
    Resp2,
}

/// What a call does while there is no connection or no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenUnavailable {
    /// Wait until the call's deadline, or for the command timeout where it has none.
    #[default]
    WaitUntilDeadline,
    /// Fail at once with `Disconnected` or `Overloaded`, outcome `NotApplied`.
    FailNow,
}

/// When to try again after a connection failed or broke.
#[derive(Clone)]
#[non_exhaustive]
pub enum ReconnectPolicy {
    /// Endless exponential backoff.
    Backoff {
        /// The delay before the first attempt.
        initial: Duration,
        /// What the delay is multiplied with after each failed attempt; at least 1.
        factor: f64,
        /// The longest delay.
        max: Duration,
        /// The share of the delay that is random, 0 to 1: many clients that lost the same server
        /// must not come back in the same instant.
        jitter: f64,
    },
    /// Do not reconnect: the link closes itself when its command connection is lost.
    Never,
    /// Called with the number of failed attempts so far (1 after a connection was lost); `None`
    /// gives up and closes the link.
    Custom(Arc<dyn Fn(u32) -> Option<Duration> + Send + Sync>),
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self::Backoff {
            initial: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.5,
        }
    }
}

impl ReconnectPolicy {
    /// Endless exponential backoff; see [`ReconnectPolicy::Backoff`] for what the values mean.
    #[must_use]
    pub fn backoff(initial: Duration, factor: f64, max: Duration, jitter: f64) -> Self {
        Self::Backoff {
            initial,
            factor,
            max,
            jitter,
        }
    }

    /// The delay before the next attempt after `failed` failed ones; `random` is in `0.0..1.0`.
    pub(crate) fn delay(&self, failed: u32, random: f64) -> Option<Duration> {
        match self {
            Self::Backoff {
                initial,
                factor,
                max,
                jitter,
            } => {
                let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
                // An overflow to infinity is cut off by the maximum like any other long delay.
                let full = (initial.as_secs_f64() * factor.powi(exponent)).min(max.as_secs_f64());
                let delay = Duration::try_from_secs_f64(full * (1.0 - jitter * random));
                Some(delay.unwrap_or(*max))
            }
            Self::Never => None,
            Self::Custom(decide) => decide(failed),
        }
    }
}

impl fmt::Debug for ReconnectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backoff {
                initial,
                factor,
                max,
                jitter,
            } => f
                .debug_struct("Backoff")
                .field("initial", initial)
                .field("factor", factor)
                .field("max", max)
                .field("jitter", jitter)
                .finish(),
            Self::Never => f.write_str("Never"),
            Self::Custom(_) => f.write_str("Custom(..)"),
        }
    }
}

/// Bounds on what one connection may hold, and on what a peer may make us hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Commands in flight per lane.
    pub max_in_flight: usize,
    /// Bytes of encoded commands in flight per lane. A single command beyond it is refused.
    pub max_in_flight_bytes: usize,
    /// The largest string accepted in a reply, in bytes.
    pub max_bulk: usize,
    /// The most elements accepted in one reply, nested ones included.
    pub max_frame_elements: usize,
    /// How deep replies may nest.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 65_536,
            max_in_flight_bytes: 64 << 20,
            max_bulk: 512 << 20,
            max_frame_elements: 1 << 24,
            max_depth: 64,
        }
    }
}

/// Everything a [`Link`](crate::Link) needs to know.
///
/// Start from [`LinkConfig::new`] and change fields; [`validate`](LinkConfig::validate) is called by
/// [`Link::open`](crate::Link::open).
// Debug is safe to derive: `Secret` and `TlsConfig` redact themselves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The ACL user; `None` means the default user.
    pub username: Option<String>,
    /// The password; `None` connects without authenticating.
    pub password: Option<Secret>,
    /// The numbered database.
    pub db: u32,
    /// TLS, or `None` for plain TCP.
    pub tls: Option<TlsConfig>,
    /// How long one attempt to connect may take, from name resolution to a usable connection.
    pub connect_timeout: Duration,
    /// How long one command may take from being sent to its reply.
    pub command_timeout: Duration,
    /// When to try again.
    pub reconnect: ReconnectPolicy,
    /// The name shown in `CLIENT LIST`.
    pub client_name: Option<String>,
    /// Hold calls back until the server has loaded its data set and is not busy.
    pub ready_check: bool,
    /// Connect on first use instead of at once.
    pub lazy: bool,
    /// The protocol version.
    pub protocol: Protocol,
    /// Bounds.
    pub limits: Limits,
    /// What calls do while there is no connection or no room.
    pub when_unavailable: WhenUnavailable,
    /// A connection on which nothing was sent or received for this long is asked whether it is
    /// alive; `None` asks only after a command timed out. A command that blocks on the server for
    /// longer than this and `ping_timeout` together looks like a dead connection.
    pub ping_interval: Option<Duration>,
    /// How long the answer may take before the connection is given up.
    pub ping_timeout: Duration,
    /// TCP keepalive idle time; `None` leaves it off.
    pub tcp_keepalive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged by the peer's TCP before the kernel gives the
    /// connection up (`TCP_USER_TIMEOUT`, where the platform has it).
    pub tcp_user_timeout: Option<Duration>,
}

impl LinkConfig {
    /// The defaults for a server at `host:port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            username: None,
            password: None,
            db: 0,
            tls: None,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(5),
            reconnect: ReconnectPolicy::default(),
            client_name: None,
            ready_check: true,
            lazy: false,
            protocol: Protocol::default(),
            limits: Limits::default(),
            when_unavailable: WhenUnavailable::default(),
            ping_interval: Some(Duration::from_secs(10)),
            ping_timeout: Duration::from_secs(3),
            tcp_keepalive: Some(Duration::from_secs(30)),
            tcp_user_timeout: Some(Duration::from_secs(15)),
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`LinkErrorKind::Config`](crate::LinkErrorKind::Config), naming the field and the rule.
    pub fn validate(&self) -> Result<(), LinkError> {
        let rule = |ok: bool, message: &'static str| {
            if ok {
                Ok(())
            } else {
                Err(LinkError::config(message))
            }
        };
        rule(!self.host.is_empty(), "host: must not be empty")?;
        rule(
            !self
                .host
                .contains(|c: char| c.is_whitespace() || c.is_control()),
            "host: must not contain whitespace or control characters",
        )?;
        rule(self.port != 0, "port: must be between 1 and 65535")?;
        rule(
            self.username.is_none() || self.password.is_some(),
            "password: is required where username is set",
        )?;
        if let Some(name) = &self.client_name {
            rule(
                !name.is_empty() && name.bytes().all(|b| (b'!'..=b'~').contains(&b)),
                "client_name: must be printable ASCII without spaces",
            )?;
        }
        for (field, value) in [
            ("connect_timeout", Some(self.connect_timeout)),
            ("command_timeout", Some(self.command_timeout)),
            ("ping_interval", self.ping_interval),
            ("ping_timeout", Some(self.ping_timeout)),
            ("tcp_keepalive", self.tcp_keepalive),
            ("tcp_user_timeout", self.tcp_user_timeout),
        ] {
            // Beyond it, adding to a point in time might overflow.
            if value.is_some_and(|v| v.is_zero() || v > LONGEST) {
                return Err(LinkError::config(format!(
                    "{field}: must be longer than zero and at most a year"
                )));
            }
        }
        let at_least = |value: Option<Duration>, least| value.is_none_or(|v| v >= least);
        rule(
            at_least(self.tcp_keepalive, Duration::from_secs(1)),
            "tcp_keepalive: must be at least a second, or absent",
        )?;
        rule(
            at_least(self.tcp_user_timeout, Duration::from_millis(1)),
            "tcp_user_timeout: must be at least a millisecond, or absent",
        )?;
        if let ReconnectPolicy::Backoff {
            initial,
            factor,
            max,
            jitter,
        } = &self.reconnect
        {
            rule(
                !initial.is_zero(),
                "reconnect.initial: must be longer than zero",
            )?;
            rule(
                max >= initial,
                "reconnect.max: must not be shorter than reconnect.initial",
            )?;
            rule(
                factor.is_finite() && *factor >= 1.0,
                "reconnect.factor: must be at least 1",
            )?;
            rule(
                (0.0..=1.0).contains(jitter),
                "reconnect.jitter: must be between 0 and 1",
            )?;
        }
        self.limits.validate()
    }

    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Limits {
    fn validate(&self) -> Result<(), LinkError> {
        for (value, message) in [
            (
                self.max_in_flight,
                "limits.max_in_flight: must be at least 1",
            ),
            (
                self.max_in_flight_bytes,
                "limits.max_in_flight_bytes: must be at least 1",
            ),
            (self.max_bulk, "limits.max_bulk: must be at least 1"),
            (
                self.max_frame_elements,
                "limits.max_frame_elements: must be at least 1",
            ),
            (self.max_depth, "limits.max_depth: must be at least 1"),
        ] {
            if value == 0 {
                return Err(LinkError::config(message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_maximum_and_jitter_shortens_them() {
        let policy = ReconnectPolicy::default();
        let delay = |failed, random| policy.delay(failed, random).unwrap().as_millis();
        assert_eq!([1, 2, 3, 4].map(|n| delay(n, 0.0)), [100, 200, 400, 800]);
        assert_eq!(
            [9, 10, 11, 1000, u32::MAX].map(|n| delay(n, 0.0)),
            [25_600, 30_000, 30_000, 30_000, 30_000]
        );
        assert_eq!(delay(1, 1.0), 50);
        assert_eq!(ReconnectPolicy::Never.delay(1, 0.0), None);
    }

    #[test]
    fn rules_name_their_field() {
        type Breakage = fn(&mut LinkConfig);
        let broken: [(&str, Breakage); 15] = [
            ("host:", |c| c.host.clear()),
            ("host:", |c| c.host = "two words".to_owned()),
            ("port:", |c| c.port = 0),
            ("password:", |c| c.username = Some("user".to_owned())),
            ("client_name:", |c| {
                c.client_name = Some("two words".to_owned())
            }),
            ("connect_timeout:", |c| c.connect_timeout = Duration::ZERO),
            ("command_timeout:", |c| c.command_timeout = Duration::ZERO),
            ("ping_timeout:", |c| c.ping_timeout = Duration::ZERO),
            ("command_timeout:", |c| c.command_timeout = Duration::MAX),
            ("ping_interval:", |c| c.ping_interval = Some(Duration::ZERO)),
            ("tcp_keepalive:", |c| {
                c.tcp_keepalive = Some(Duration::from_millis(1))
            }),
            ("limits.max_depth:", |c| c.limits.max_depth = 0),
            ("reconnect.initial:", |c| {
                c.reconnect =
                    ReconnectPolicy::backoff(Duration::ZERO, 2.0, Duration::from_secs(1), 0.5);
            }),
            ("reconnect.factor:", |c| {
                let second = Duration::from_secs(1);
                c.reconnect = ReconnectPolicy::backoff(second, f64::NAN, second, 0.5);
            }),
            ("reconnect.jitter:", |c| {
                let second = Duration::from_secs(1);
                c.reconnect = ReconnectPolicy::backoff(second, 2.0, second, 1.5);
            }),
        ];
        assert!(LinkConfig::new("localhost", 6379).validate().is_ok());
        for (field, breakage) in broken {
            let mut config = LinkConfig::new("localhost", 6379);
            breakage(&mut config);
            let error = config.validate().unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = LinkConfig::new("localhost", 6379);
        config.password = Some("hunter2".into());
        let mut tls = TlsConfig::new();
        tls.client_key_pem = Some("hunter2".into());
        config.tls = Some(tls);
        assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    }
}
