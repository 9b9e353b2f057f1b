//! What kind of server this is, asked once per connection.

use std::collections::HashSet;
use std::fmt;

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
