//! What `quorate serve` is told: flags, the environment, a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::{FleetConfig, Keep, Secret};
use quorate_http::{HubBuilder, OriginPolicy};
use serde::Deserialize;

use crate::failure::Failure;

mod file;
mod topics;

/// Where the server listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Fewer could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// What an in-process home is called in URLs.
const MEMORY: &str = "memory:";
/// The variable with the secret that names of sessions' keys are made with.
pub(crate) const SESSION_KEY: &str = "QUORATE_SESSION_KEY";
/// What the URL of a home in a file begins with.
const FILE: &str = "file:";

/// The configuration file. Every field may be left out; others are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    listen: Option<SocketAddr>,
    backend: Option<Secret>,
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    session_key: Option<Secret>,
    allowed_origins: Vec<String>,
    allowed_hosts: Vec<String>,
    limits: Limits,
    topics: BTreeMap<String, topics::TopicConfig>,
    fleet: FleetConfig,
}

/// Bounds on what clients may ask of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// The largest request body, in bytes.
    pub(crate) max_body_bytes: usize,
    /// The largest request head, in bytes; hyper's smallest is 8 KiB.
    pub(crate) max_header_bytes: usize,
    /// Header fields in a request.
    pub(crate) max_headers: usize,
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// WebSocket and SSE clients at once.
    pub(crate) max_clients: usize,
    /// Subscriptions of one such client.
    pub(crate) max_subscriptions: usize,
    /// The largest WebSocket frame a client may send, in bytes.
    pub(crate) max_frame_bytes: usize,
    /// Messages kept per subscription for a slow client.
    pub(crate) client_buffer: usize,
    /// How long a client may take to send the head of a request, or leave a connection idle.
    #[serde(with = "humantime_serde")]
    pub(crate) header_timeout: Duration,
    /// How long a request may take until its answer begins.
    #[serde(with = "humantime_serde")]
    pub(crate) request_timeout: Duration,
    /// How long a client may refuse to take what is sent.
    #[serde(with = "humantime_serde")]
    pub(crate) write_timeout: Duration,
    /// How often an idle client is sent a sign of life.
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat: Duration,
    /// How long a shutdown may take.
    #[serde(with = "humantime_serde")]
    pub(crate) shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 2 * 1024 * 1024,
            max_header_bytes: 16 * 1024,
            max_headers: 64,
            max_connections: 10_000,
            max_clients: 8_000,
            max_subscriptions: 64,
            max_frame_bytes: 16 * 1024,
            client_buffer: 256,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), Failure> {
        for (field, value, least) in [
            ("max_body_bytes", self.max_body_bytes, 1),
            ("max_header_bytes", self.max_header_bytes, 8192),
            ("max_headers", self.max_headers, 8),
            ("max_connections", self.max_connections, 1),
            ("max_clients", self.max_clients, 1),
            ("max_subscriptions", self.max_subscriptions, 1),
            ("max_frame_bytes", self.max_frame_bytes, 256),
            ("client_buffer", self.client_buffer, 1),
        ] {
            if value < least {
                return Err(Failure::usage(format!(
                    "limits.{field} must be at least {least}"
                )));
            }
        }
        for (field, value) in [
            ("header_timeout", self.header_timeout),
            ("request_timeout", self.request_timeout),
            ("write_timeout", self.write_timeout),
            ("heartbeat", self.heartbeat),
        ] {
            if value < Duration::from_millis(100) {
                return Err(Failure::usage(format!(
                    "limits.{field} must be at least 100ms"
                )));
            }
        }
        Ok(())
    }

    /// The part of them that concerns WebSocket and SSE clients.
    pub(crate) fn hub(&self, hub: HubBuilder, origins: OriginPolicy) -> HubBuilder {
        hub.max_clients(self.max_clients)
            .max_subscriptions(self.max_subscriptions)
            .max_frame_bytes(self.max_frame_bytes)
            .buffer(self.client_buffer)
            .heartbeat(self.heartbeat)
            // Two heartbeats and a half: one may be lost, or late.
            .idle_timeout(self.heartbeat.mul_f64(2.5))
            .send_timeout(self.write_timeout)
            // The other half is for farewells, and for what is under way over plain HTTP.
            .drain_timeout(self.shutdown_grace / 2)
            .origins(origins)
    }
}

/// Who named the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendSource {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for BackendSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "named by --backend",
            Self::Environment => "named by QUORATE_BACKEND",
            Self::File => "named by the configuration file",
            Self::Default => "because neither --backend nor QUORATE_BACKEND names another",
        })
    }
}

/// What was given on the command line.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) backend: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
}

/// Everything the server needs to know, checked.
#[derive(Debug)]
pub(crate) struct ServeConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) source: BackendSource,
    pub(crate) token: Option<Secret>,
    /// What services give to `Sessions::partition_key`.
    pub(crate) session_key: Option<Secret>,
    pub(crate) origins: OriginPolicy,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) limits: Limits,
    /// Topics that are kept, by name: their keys are too.
    pub(crate) kept: BTreeMap<String, Keep>,
    /// Topics whose clients are present there, by name: on their keys too.
    pub(crate) present: BTreeSet<String>,
    /// With the backend as its URL.
    pub(crate) fleet: FleetConfig,
}

impl ServeConfig {
    /// Puts the flags over the environment over the file, and checks the whole.
    pub(crate) fn load(
        flags: Flags,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let file = match &flags.config {
            Some(path) => file::read(path)?,
            None => File::default(),
        };
        file.limits.check()?;
        let environment = |name| environment(name).filter(|value| !value.is_empty());
        let mut fleet = file.fleet;
        let (backend, source) = if let Some(url) = flags.backend {
            (Some(url.into()), BackendSource::Flag)
        } else if let Some(url) = environment("QUORATE_BACKEND") {
            (Some(url.into()), BackendSource::Environment)
        } else if file.backend.is_some() {
            (file.backend, BackendSource::File)
        } else if fleet.url.is_some() || fleet.host.is_some() {
            (None, BackendSource::File)
        } else {
            (Some(MEMORY.into()), BackendSource::Default)
        };
        fleet.url = backend.or(fleet.url);
        let listen = match flags.listen {
            Some(text) => parse_listen(&text)?,
            None => file.listen.unwrap_or(LISTEN),
        };
        let token = match (flags.token_file, environment("QUORATE_TOKEN")) {
            (Some(path), _) => Some(read_token(&path)?),
            (None, Some(token)) => Some(token.into()),
            (None, None) => match (file.token, file.token_file) {
                (Some(_), Some(_)) => {
                    return Err(Failure::usage("give either token or token_file, not both"));
                }
                (token, None) => token,
                (None, Some(path)) => Some(read_token(&path)?),
            },
        };
        if let Some(token) = &token {
            check_token(token)?;
        } else if !listen.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "listen must be a loopback address while no token is configured: everybody who \
                 reaches {listen} could publish. Set QUORATE_TOKEN, --token-file or `token` in the \
                 configuration file"
            )));
        }
        let mut origins = OriginPolicy::same_origin();
        for origin in &file.allowed_origins {
            origins = origins
                .allow(origin)
                .map_err(|error| Failure::usage(format!("allowed_origins: `{origin}`: {error}")))?;
        }
        let (kept, present) = topics::read(file.topics)?;
        Ok(Self {
            listen,
            source,
            token,
            session_key: environment(SESSION_KEY)
                .map(Into::into)
                .or(file.session_key),
            origins,
            allowed_hosts: file.allowed_hosts,
            limits: file.limits,
            kept,
            present,
            fleet,
        })
    }

    /// The backend without anything secret, for people.
    pub(crate) fn backend(&self) -> String {
        match &self.fleet.url {
            Some(url) => display_backend(url),
            None => format!(
                "{}:{}",
                self.fleet.host.as_deref().unwrap_or("localhost"),
                self.fleet.port.unwrap_or(6379)
            ),
        }
    }
}

/// A backend's URL without user, password and options.
pub(crate) fn display_backend(url: &Secret) -> String {
    let url = url.reveal();
    if url.starts_with(MEMORY) {
        return "embedded".to_owned();
    }
    if url.starts_with(FILE) {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        return format!("embedded, {path}");
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return "a backend".to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may hold an `@` that somebody forgot to escape: the last one counts.
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

fn parse_listen(text: &str) -> Result<SocketAddr, Failure> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        Failure::usage(format!(
            "listen must be ADDRESS:PORT, such as 127.0.0.1:8080, not `{text}`"
        ))
    })
}

fn read_token(path: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!(
            "token file: cannot read {}: {error}",
            path.display()
        ))
    })?;
    Ok(Secret::new(text.trim()))
}

fn check_token(token: &Secret) -> Result<(), Failure> {
    let token = token.reveal();
    if token.len() < SHORTEST_TOKEN {
        return Err(Failure::usage(format!(
            "token must have at least {SHORTEST_TOKEN} characters"
        )));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(
            "token must consist of visible ASCII characters without blanks",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, flags: Flags, vars: &[(&str, &str)]) -> Result<ServeConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quorate.toml");
        std::fs::write(&path, toml).unwrap();
        let flags = Flags {
            config: Some(path),
            ..flags
        };
        let vars = |name: &str| {
            vars.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        ServeConfig::load(flags, vars).map_err(|failure| failure.to_string())
    }

    fn backend(url: &str) -> Flags {
        Flags {
            backend: Some(url.to_owned()),
            ..Flags::default()
        }
    }

    #[test]
    fn the_flag_wins_over_the_environment_over_the_file() {
        let file = "backend = 'redis://file'";
        let vars = [("QUORATE_BACKEND", "redis://environment")];
        for (toml, flags, vars, shown, source) in [
            (
                file,
                backend("redis://u:p@flag:1/2?x=y"),
                &vars[..],
                "redis://flag:1",
                BackendSource::Flag,
            ),
            (
                file,
                Flags::default(),
                &vars[..],
                "redis://environment",
                BackendSource::Environment,
            ),
            (
                file,
                Flags::default(),
                &[],
                "redis://file",
                BackendSource::File,
            ),
            (
                "fleet.host = 'h'",
                Flags::default(),
                &[],
                "h:6379",
                BackendSource::File,
            ),
            (
                "backend = 'file:state/home.redb?service=x'",
                Flags::default(),
                &[],
                "embedded, file:state/home.redb",
                BackendSource::File,
            ),
            (
                "",
                Flags::default(),
                &[],
                "embedded",
                BackendSource::Default,
            ),
        ] {
            let config = load(toml, flags, vars).unwrap();
            assert_eq!((&*config.backend(), config.source), (shown, source));
        }
    }

    #[test]
    fn other_addresses_than_loopback_need_a_token() {
        let flags = || Flags {
            listen: Some("0.0.0.0:80".to_owned()),
            ..Flags::default()
        };
        assert!(load("", flags(), &[]).unwrap_err().contains("token"));
        let long = [("QUORATE_TOKEN", "0123456789abcdef")];
        let config = load("", flags(), &long).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn what_breaks_a_rule_is_named_and_secrets_are_not_shown() {
        for (toml, says) in [
            ("lisen = 1", ": `lisen` is not an option"),
            ("limits.max_cients = 1", ": `limits.max_cients` is not"),
            ("fleet.colour = 1", ": `fleet.colour` is not"),
            (
                "limits.max_body_bytes = 0",
                "max_body_bytes must be at least 1",
            ),
            ("limits.heartbeat = '1ms'", "heartbeat must be at least"),
            ("limits.heartbeat = 5", "heartbeat"),
            ("[topics.'a b'.keep]\ntime = '1h'", "topics.a b: topic may"),
            (
                "[topics.chat.keep]\ntime = '0s'",
                "topics.chat: keep.time must",
            ),
            ("[topics.chat]\nkept = true", "topics.chat.kept` is not"),
            (
                "[topics.chat]\npresence = 'yes'",
                "topics.chat.presence` must be",
            ),
            ("[topics.'a b']\npresence = true", "topics.a b: topic may"),
            ("listen = 'nowhere'", "listen"),
            ("token = 'secret-short'", "at least 16"),
            ("token = 'secret with blanks in it'", "visible"),
            ("token = 4242424242424242", "token"),
            ("token = 'secret0123456789'\ntoken_file = 'x'", "either"),
            ("token_file = '/nonexistent/file'", "cannot read"),
            ("allowed_origins = ['*']", "allowed_origins"),
            ("listen = ", "line 1, column 10: "),
            ("listen = 'x'\ntoken = \"supersecret\n", "line 2, column "),
            ("\nbackend=\"redis://u:secret@h", "line 2, column "),
            ("token = secret", "line 1, column 9: "),
            ("fleet = 'redis://u:secret@h'", "`fleet` must be"),
            ("fleet.password = ['secret']", "`fleet.password` must be"),
        ] {
            let error = load(toml, Flags::default(), &[]).unwrap_err();
            assert!(error.contains(says), "{toml}: {error}");
            assert!(
                !error.contains("secret") && !error.contains("4242"),
                "{error}"
            );
        }
        let flags = Flags {
            listen: Some("here".to_owned()),
            ..Flags::default()
        };
        assert!(load("", flags, &[]).unwrap_err().contains("listen must be"));
    }
}
