//! What a roster consists of.

use std::fmt;

use bytes::Bytes;

/// The most information a member may carry, in bytes.
pub const MAX_INFO: usize = 8 * 1024;

/// Identifies one instance for as long as it runs: a service that is started again is another. 64 random
/// bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(u64);

impl InstanceId {
    /// A new one, never seen before.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads the form that `Display` writes: 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

/// Somebody, or something, that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The id it joined with.
    pub id: String,
    /// What it says about itself.
    pub info: Bytes,
    /// The instance that it joined on. The same id on two instances is two members.
    pub instance: InstanceId,
}

impl Member {
    /// For backends of your own.
    #[must_use]
    pub fn new(id: impl Into<String>, info: impl Into<Bytes>, instance: InstanceId) -> Self {
        Self {
            id: id.into(),
            info: info.into(),
            instance,
        }
    }
}

/// How far a roster has changed.
///
/// Two equal versions of one roster have the same members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub struct RosterVersion {
    /// When its numbers began, in µs of the home's clock: a roster that was lost begins a later epoch. 0
    /// while there is no roster.
    pub epoch: u64,
    /// How many changes of members there were in this epoch.
    pub number: u64,
}

impl RosterVersion {
    /// The version `number` of an epoch.
    #[must_use]
    pub const fn new(epoch: u64, number: u64) -> Self {
        Self { epoch, number }
    }
}

impl fmt::Display for RosterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.number)
    }
}

/// A whole roster, as it was at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Roster {
    /// The version.
    pub version: RosterVersion,
    /// Everybody, by instance and then by id.
    pub members: Vec<Member>,
    /// How many there are.
    pub count: u64,
}

/// What a watch yields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// Somebody joined.
    Joined(Member),
    /// A member's information was replaced.
    Updated(Member),
    /// Somebody left, or was lost with its instance.
    Left(Member),
    /// The whole roster: first of all, and where changes in between may be missing. It replaces what was
    /// known.
    Resync(Roster),
}
