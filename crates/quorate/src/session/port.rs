//! What a backend for sessions must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::id::{IdDigest, Serial};
use super::partition::{Change, Claim, Creation, Deleted, NewSession, Rotated, Updated};
use super::record::Record;
use crate::clock::Micros;
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;

/// What the keys of sessions begin with, after the namespace.
pub(super) const UNIT: &str = "session";

/// Where our own backends tell which sessions of a unit were removed.
pub(super) fn announcement(key: &Key) -> Channel {
    Channel {
        name: key.unit(UNIT, ":revoked").into(),
        sharded: true,
    }
}

/// Why sessions were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokedWhy {
    /// Somebody deleted them.
    Deleted,
    /// The user has as many sessions as there may be, and they were the oldest.
    Evicted,
    /// Somebody logged in: the session goes on under another id.
    Moved,
}

impl RevokedWhy {
    const ALL: [Self; 3] = [Self::Deleted, Self::Evicted, Self::Moved];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Evicted => "evicted",
            Self::Moved => "moved",
        }
    }

    /// The payload of an announcement: why, a space, and serials with commas between them.
    #[must_use]
    pub fn encode(self, serials: &[Serial]) -> Bytes {
        let serials: Vec<_> = serials.iter().map(ToString::to_string).collect();
        format!("{} {}", self.as_str(), serials.join(",")).into()
    }

    /// What an announcement says; `None` if it cannot be read.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<(Self, Vec<Serial>)> {
        let (why, serials) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
        let why = Self::ALL.into_iter().find(|known| known.as_str() == why)?;
        let serials: Option<Vec<_>> = serials.split(',').map(Serial::parse).collect();
        Some((why, serials?))
    }
}

/// A session as it was at a moment of the backend's clock. Fields of it may have ended by then.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more")]
pub struct Found {
    /// When it was read.
    pub now: Micros,
    /// What is kept of it.
    pub record: Record,
}

/// A backend for sessions.
///
/// # Contract
/// * A unit holds the sessions of one user. Each call is one moment of the unit, by the backend's clock.
/// * A session is there from `create` until its end, or until it is removed; then nothing brings it back.
///   A claim with a digest means it only if that is of its id, or of the one before while that is good.
/// * `create` never leaves more than `most` sessions, removes those that were made first, and says which.
/// * `touch` moves the end to `ttl` from now, never behind `absolute`; it may leave out what is less than a
///   minute and less than a twentieth of `ttl` after the last that was written down. Another `ttl` is written at once.
/// * `update` makes its changes in order and leaves other fields alone, or, where there would be more than 64
///   fields or 64 KiB of them, makes none.
/// * `rotate` lets the old id be good for `overlap` more. Repeated, it answers the same; for an id that is
///   good only for a while it does nothing.
/// * `delete` and `clear` remove what is there. What they, and `create`, remove is announced on the channel
///   named by `announced_on`, as [`RevokedWhy::encode`] writes it. What ends by itself is not.
/// * `list` and `count` know only what is there.
/// * Nothing is left of what has ended, without anybody coming to clean.
#[async_trait]
pub trait SessionPort: Debug + Display + Send + Sync + 'static {
    /// Makes a session.
    ///
    /// # Errors
    /// Those of the backend.
    async fn create(&self, key: &Key, new: &NewSession, options: CallOptions) -> Result<Creation>;

    /// The session, if it is there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn get(&self, key: &Key, claim: &Claim, options: CallOptions) -> Result<Option<Found>>;

    /// Lets the session live on from now, with `ttl` for that long from this use on; it is given as it is then.
    ///
    /// # Errors
    /// Those of the backend.
    async fn touch(
        &self,
        key: &Key,
        claim: &Claim,
        ttl: Option<Duration>,
        options: CallOptions,
    ) -> Result<Option<Found>>;

    /// Changes fields.
    ///
    /// # Errors
    /// Those of the backend.
    async fn update(
        &self,
        key: &Key,
        claim: &Claim,
        changes: &[Change],
        options: CallOptions,
    ) -> Result<Updated>;

    /// Gives the session a new id.
    ///
    /// # Errors
    /// Those of the backend.
    async fn rotate(
        &self,
        key: &Key,
        claim: &Claim,
        digest: IdDigest,
        overlap: Duration,
        options: CallOptions,
    ) -> Result<Rotated>;

    /// Removes the session; with `changes`, only if its fields were changed so often.
    ///
    /// # Errors
    /// Those of the backend.
    async fn delete(
        &self,
        key: &Key,
        claim: &Claim,
        changes: Option<u64>,
        why: RevokedWhy,
        options: CallOptions,
    ) -> Result<Deleted>;

    /// Removes all sessions but the one to keep.
    ///
    /// # Errors
    /// Those of the backend.
    async fn clear(
        &self,
        key: &Key,
        keep: Option<Serial>,
        options: CallOptions,
    ) -> Result<Vec<Serial>>;

    /// The sessions that are there, in any order.
    ///
    /// # Errors
    /// Those of the backend.
    async fn list(&self, key: &Key, options: CallOptions) -> Result<Vec<(Serial, Found)>>;

    /// How many sessions are there.
    ///
    /// # Errors
    /// Those of the backend.
    async fn count(&self, key: &Key, options: CallOptions) -> Result<u64>;

    /// Where removals are announced; `None` if they are not.
    fn announced_on(&self, key: &Key) -> Option<Channel>;
}
