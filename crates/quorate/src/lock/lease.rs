//! What tells one acquisition from another, and the later from the earlier.

use serde::{Deserialize, Serialize};

/// Identifies one acquisition, so that a repeated request is recognised. 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u128);

impl LeaseId {
    /// A new one, never seen before.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads the form that `Display` writes: 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
    }

    /// The half of it that others may know.
    pub(super) const fn public(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who knows the id can release the lock: logs show enough to tell two apart.
        write!(f, "LeaseId({:08x}…)", self.0 >> 96)
    }
}

/// A number that grows with every acquisition of a lock.
///
/// Pass it to whatever the lock protects, and let that refuse a token smaller than the largest it has
/// seen: a holder that was paused past its lease then does no harm.
///
/// Holders that share a lock have a token each. Those of a re-entrant lock have one together: a nested acquisition with
/// a greater one would shut the outer one out.
///
/// It is `max(last + 1, server time in microseconds)`, so that it also grows after the counter was
/// lost. The residue: a server whose data was lost *and* whose clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// From its number, as passed on by [`get`](Self::get).
    #[must_use]
    pub const fn new(token: u64) -> Self {
        Self(token)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for FencingToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_read_back_what_they_write() {
        let id = LeaseId::random();
        assert_eq!(LeaseId::parse(&id.to_string()), Some(id));
        assert_eq!(LeaseId::parse("xyz"), None);
        assert_eq!(LeaseId::parse(&"+".repeat(32)), None);
    }
}
