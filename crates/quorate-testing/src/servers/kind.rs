//! What can be started, and what is known about each flavour.

use std::fmt;

/// Whose program a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// Redis, 7.0 or later.
    Redis,
    /// Valkey, 8.0 or later.
    Valkey,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    /// The name in lower case, as in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }

    /// The environment variable that names a server binary to use instead of looking for one.
    #[must_use]
    pub const fn override_variable(self) -> &'static str {
        match self {
            Self::Redis => "QUORATE_REDIS_SERVER",
            Self::Valkey => "QUORATE_VALKEY_SERVER",
        }
    }

    /// The name of the program, as looked for on the `PATH`.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        }
    }

    /// The oldest `(major, minor)` Quorate supports.
    #[must_use]
    pub const fn floor(self) -> (u32, u32) {
        match self {
            Self::Redis => (7, 0),
            Self::Valkey => (8, 0),
        }
    }

    /// The word a program of this flavour begins its `--version` line with.
    pub(super) const fn version_word(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version_word())
    }
}

/// What kind of server a test runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerKind {
    /// One Redis server.
    Redis,
    /// One Valkey server.
    Valkey,
    /// One Redis server in cluster mode that holds all slots: it refuses cross-slot commands, so a
    /// key outside its unit fails on the first day.
    RedisCluster,
}

impl ServerKind {
    /// Every kind the main suites run on.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Valkey, Self::RedisCluster];

    /// Whose program runs.
    #[must_use]
    pub const fn flavour(self) -> Flavour {
        match self {
            Self::Redis | Self::RedisCluster => Flavour::Redis,
            Self::Valkey => Flavour::Valkey,
        }
    }

    /// Whether the server enforces cluster slots.
    #[must_use]
    pub const fn is_cluster(self) -> bool {
        matches!(self, Self::RedisCluster)
    }

    /// The name in lower case, as on command lines and in file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::RedisCluster => "cluster",
        }
    }

    /// The environment variable with the URL of a running server for tests to share.
    #[must_use]
    pub const fn url_variable(self) -> &'static str {
        match self {
            Self::Redis => "QUORATE_TEST_REDIS_URL",
            Self::Valkey => "QUORATE_TEST_VALKEY_URL",
            Self::RedisCluster => "QUORATE_TEST_CLUSTER_URL",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
