//! What kind of server this is, asked once per connection.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::connection::{Batch, Greeting, is_auth, refused};
use crate::error::{LinkError, LinkErrorKind, Outcome};
use crate::frame::Frame;
use crate::server_code::code_of;

/// Which program the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

/// A server version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a version has these three parts")]
pub struct Version {
    /// Incompatible changes.
    pub major: u16,
    /// New features.
    pub minor: u16,
    /// Fixes.
    pub patch: u16,
}

impl Version {
    /// A version from its parts.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// How the server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerMode {
    /// One server, perhaps with replicas.
    Standalone,
    /// A node of a cluster.
    Cluster,
    /// A sentinel.
    Sentinel,
}

impl fmt::Display for ServerMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "standalone",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        })
    }
}

/// Whether the server takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerRole {
    /// It takes writes.
    Primary,
    /// It copies another server and refuses writes.
    Replica,
}

/// What the probe found when the connection was made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Redis or Valkey. Valkey reports a Redis version for compatibility; this is the real program.
    pub flavour: Flavour,
    /// The program's own version.
    pub version: Version,
    /// Standalone, cluster node or sentinel.
    pub mode: ServerMode,
    /// Primary or replica.
    pub role: ServerRole,
    /// The protocol in use on the command connection: 3 or 2.
    pub protocol: u8,
    /// Whether scripts may be run; an operator can switch them off, or an ACL forbid them.
    pub scripting: bool,
    /// Whether `SSUBSCRIBE` exists.
    pub sharded_pubsub: bool,
    /// `maxmemory-policy`; anything but `noeviction` may delete what must not be lost. `None`
    /// where the user may not read it.
    pub eviction_policy: Option<String>,
    /// Connected clients when probed.
    pub connected_clients: Option<u64>,
    /// Memory used when probed, in bytes.
    pub used_memory: Option<u64>,
    /// Identifies the running process: another one means another server, or a restart.
    pub run_id: Option<String>,
    pub(crate) commands: HashSet<String>,
}

impl ServerInfo {
    /// Whether the server knows a command, such as `"HPEXPIRE"`. Case does not matter.
    ///
    /// `false` too where the user may not list commands: then use the form every version has.
    #[must_use]
    pub fn supports(&self, command: &str) -> bool {
        self.commands.contains(&command.to_ascii_lowercase())
    }
}

/// The oldest versions that have what the library builds on.
const OLDEST_REDIS: Version = Version::new(7, 0, 0);
const OLDEST_VALKEY: Version = Version::new(8, 0, 0);

/// A script that does nothing, written so that a full memory does not get in its way.
const NOTHING: &[u8] = b"#!lua flags=no-writes\nreturn 1";

/// What the probe asks, all at once.
pub(crate) fn questions() -> Batch {
    let mut batch = Batch::new();
    batch.command(&[b"INFO"]);
    batch.command(&[b"COMMAND", b"LIST"]);
    batch.command(&[b"EVAL", NOTHING, b"0"]);
    batch
}

/// Whether the server can be worked with.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It can.
    Ready(Box<ServerInfo>),
    /// Not yet; the reason is for people.
    NotYet(String),
}

/// Understands the replies to [`questions`].
pub(crate) fn judge(greeting: &Greeting, replies: Vec<Frame>) -> Result<Verdict, LinkError> {
    let [info, commands, eval]: [Frame; 3] = replies
        .try_into()
        .map_err(|_| unsupported("the server did not answer the probe".to_owned()))?;
    if let Some(reason) = passing(&info) {
        return Ok(Verdict::NotYet(reason));
    }
    if is_auth(&info) {
        return Err(refused("the probe", &info));
    }
    let text = match &info {
        Frame::Error(_) => String::new(), // an ACL may forbid INFO: HELLO has told the version
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let fields = Fields::parse(&text);
    if fields.get("loading") == Some("1") {
        let eta = fields.get("loading_eta_seconds").unwrap_or("unknown");
        return Ok(Verdict::NotYet(format!(
            "the server is loading its data (eta {eta} s)"
        )));
    }
    let identity = fields
        .identity()
        .or_else(|| hello_identity(&greeting.hello));
    let Some((flavour, version, mode)) = identity else {
        let why = info
            .as_str()
            .unwrap_or("no version in its reply")
            .to_owned();
        return Err(unsupported(format!(
            "cannot tell the server's version: {why}; grant the user +info or +hello"
        )));
    };
    check_floor(flavour, version, mode)?;
    let role = fields
        .get("role")
        .map(str::to_owned)
        .or_else(|| field(&greeting.hello, "role"));
    let role = match role.as_deref() {
        Some("slave" | "replica") => ServerRole::Replica,
        _ => ServerRole::Primary,
    };
    let commands = commands.into_array().unwrap_or_default();
    Ok(Verdict::Ready(Box::new(ServerInfo {
        flavour,
        version,
        mode,
        role,
        protocol: greeting.protocol,
        scripting: eval.as_int() == Some(1) || passing(&eval).is_some(),
        sharded_pubsub: true, // since Redis 7.0, the floor
        eviction_policy: fields.get("maxmemory_policy").map(str::to_owned),
        connected_clients: fields.number("connected_clients"),
        used_memory: fields.number("used_memory"),
        run_id: fields.get("run_id").map(str::to_owned),
        commands: commands
            .iter()
            .filter_map(|c| c.as_str().map(str::to_ascii_lowercase))
            .collect(),
    })))
}

/// What is known when nobody waits for the server to be ready: the answer to `HELLO`.
pub(crate) fn from_greeting(greeting: &Greeting) -> Option<ServerInfo> {
    let (flavour, version, mode) = hello_identity(&greeting.hello)?;
    Some(ServerInfo {
        flavour,
        version,
        mode,
        role: ServerRole::Primary,
        protocol: greeting.protocol,
        scripting: true,
        sharded_pubsub: true,
        eviction_policy: None,
        connected_clients: None,
        used_memory: None,
        run_id: None,
        commands: HashSet::new(),
    })
}

/// An error reply that will be another one soon.
pub(crate) fn passing(reply: &Frame) -> Option<String> {
    let Frame::Error(_) = reply else { return None };
    let line = reply.as_str()?;
    let waits = matches!(code_of(line), "LOADING" | "BUSY" | "MASTERDOWN");
    waits.then(|| line.to_owned())
}

fn check_floor(flavour: Flavour, version: Version, mode: ServerMode) -> Result<(), LinkError> {
    let oldest = match flavour {
        Flavour::Redis => OLDEST_REDIS,
        Flavour::Valkey => OLDEST_VALKEY,
    };
    if version < oldest {
        return Err(unsupported(format!(
            "the server is {flavour} {version}; upgrade it to Redis {OLDEST_REDIS} or Valkey \
             {OLDEST_VALKEY} or later"
        )));
    }
    if mode == ServerMode::Sentinel {
        return Err(unsupported(
            "this port belongs to a sentinel; connect to the server it watches".to_owned(),
        ));
    }
    Ok(())
}

fn unsupported(message: String) -> LinkError {
    LinkError::new(LinkErrorKind::Unsupported, Outcome::NotApplied, message)
}

fn field(pairs: &[(Frame, Frame)], name: &str) -> Option<String> {
    let (_, value) = pairs.iter().find(|(key, _)| key.as_str() == Some(name))?;
    value.as_str().map(str::to_owned)
}

fn hello_identity(pairs: &[(Frame, Frame)]) -> Option<(Flavour, Version, ServerMode)> {
    let version = Version::parse(&field(pairs, "version")?)?;
    let flavour = match field(pairs, "server").as_deref() {
        Some("valkey") => Flavour::Valkey,
        _ => Flavour::Redis,
    };
    Some((flavour, version, mode(field(pairs, "mode").as_deref())))
}

fn mode(text: Option<&str>) -> ServerMode {
    match text {
        Some("cluster") => ServerMode::Cluster,
        Some("sentinel") => ServerMode::Sentinel,
        _ => ServerMode::Standalone,
    }
}

impl Version {
    /// `7.0.15`; what is missing or not a number counts as zero, except the first part.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '-']);
        let major = parts.next()?.parse().ok()?;
        let mut next = || parts.next().and_then(|p| p.parse().ok()).unwrap_or(0);
        Some(Self {
            major,
            minor: next(),
            patch: next(),
        })
    }
}

/// The reply to `INFO`.
pub(crate) struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        Self(
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Valkey also reports a Redis version it is compatible with: its own comes first.
    pub(crate) fn identity(&self) -> Option<(Flavour, Version, ServerMode)> {
        let (flavour, version) = match self.get("valkey_version") {
            Some(version) => (Flavour::Valkey, version),
            None => (Flavour::Redis, self.get("redis_version")?),
        };
        let name = if flavour == Flavour::Valkey {
            "server_mode"
        } else {
            "redis_mode"
        };
        let mode = mode(self.get(name).or_else(|| self.get("redis_mode")));
        Some((flavour, Version::parse(version)?, mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Greeting {
        Greeting {
            protocol: 3,
            hello: Vec::new(),
        }
    }

    fn replies(info: &'static str) -> Vec<Frame> {
        let info = match info.strip_prefix('-') {
            Some(line) => Frame::Error(line.into()),
            None => Frame::Bulk(info.into()),
        };
        vec![
            info,
            Frame::Array(vec![Frame::Bulk("GET".into())]),
            Frame::Integer(1),
        ]
    }

    #[test]
    fn valkey_is_recognised_behind_its_redis_version() {
        let info = "redis_version:7.2.4\r\nserver_mode:cluster\r\nvalkey_version:8.1.8\r\n\
                    role:master\r\nmaxmemory_policy:noeviction\r\nused_memory:12\r\n";
        let Verdict::Ready(server) = judge(&greeting(), replies(info)).unwrap() else {
            panic!()
        };
        assert_eq!(server.flavour, Flavour::Valkey);
        assert_eq!(server.version, Version::new(8, 1, 8));
        assert_eq!(server.mode, ServerMode::Cluster);
        assert_eq!(server.eviction_policy.as_deref(), Some("noeviction"));
        assert_eq!(server.used_memory, Some(12));
        assert!(server.supports("get") && server.supports("GET") && !server.supports("HPEXPIRE"));
    }

    #[test]
    fn an_old_server_is_refused_with_advice() {
        let error = judge(&greeting(), replies("redis_version:6.2.1\r\n")).unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Unsupported);
        assert!(error.to_string().contains("Redis 6.2.1"), "{error}");
        assert!(
            error.to_string().contains("upgrade it to Redis 7.0.0"),
            "{error}"
        );
    }

    #[test]
    fn a_sentinel_is_refused() {
        let info = "redis_version:7.0.15\r\nredis_mode:sentinel\r\n";
        let error = judge(&greeting(), replies(info)).unwrap_err();
        assert!(error.to_string().contains("sentinel"), "{error}");
    }

    #[test]
    fn loading_and_busy_are_waited_for() {
        for info in [
            "redis_version:7.0.15\r\nloading:1\r\nloading_eta_seconds:9\r\n",
            "-BUSY Redis is busy running a script",
        ] {
            assert!(
                matches!(judge(&greeting(), replies(info)), Ok(Verdict::NotYet(_))),
                "{info}"
            );
        }
    }

    #[test]
    fn where_info_is_forbidden_the_greeting_tells() {
        let pair =
            |k: &'static str, v: &'static str| (Frame::Bulk(k.into()), Frame::Bulk(v.into()));
        let hello = vec![
            pair("server", "redis"),
            pair("version", "7.4.1"),
            pair("role", "slave"),
        ];
        let greeting = Greeting { protocol: 3, hello };
        let verdict = judge(&greeting, replies("-NOPERM no INFO for you")).unwrap();
        let Verdict::Ready(server) = verdict else {
            panic!()
        };
        assert_eq!(
            (server.version, server.role),
            (Version::new(7, 4, 1), ServerRole::Replica)
        );
    }

    #[test]
    fn versions_are_read_tolerantly() {
        assert_eq!(Version::parse("7.0.15"), Some(Version::new(7, 0, 15)));
        assert_eq!(Version::parse("8.0-rc1"), Some(Version::new(8, 0, 0)));
        assert_eq!(Version::parse("unstable"), None);
    }
}
