//! What a backend for presence must do.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::member::InstanceId;
use super::roster::{Cursor, Look, Page, Removal, Standing};
use crate::error::Result;
use crate::events::Channel;
use crate::key::Key;
use crate::port::CallOptions;

/// What the keys of rosters begin with, after the namespace.
pub(super) const UNIT: &str = "presence";

/// The most members that one call joins, or takes off.
pub const MAX_BATCH: usize = 256;

/// The most instances that one call reads pages of.
pub const MAX_INSTANCES: usize = 64;

/// Where our own backends announce the changes of a roster.
pub(super) fn announcement(key: &Key) -> Channel {
    Channel {
        name: key.unit(UNIT, ":changed").into(),
        sharded: true,
    }
}

/// A backend for presence.
///
/// # Contract
/// * The version of a roster grows by one per member that joins, whose info changes, or who leaves, and by
///   nothing else. Its epoch is later than that of any roster of that name that was lost before.
/// * Every change is announced on the channel named by `announced_on`, as
///   [`Announcement::encode`](super::Announcement::encode) writes it, in the order of the versions.
/// * `join` and `renew` let the lease of the instance end `lease` from the backend's now. Once it has ended
///   they change nothing, and answer with `at: None`.
/// * `remove` takes all members of an instance off in one change; with `IfEnded` only if its lease has
///   ended.
/// * An instance without members is not on the roster.
/// * `look` and `page` change nothing. Whoever is on the roster from the first page to the last is in one of
///   them; a page says whether any lease on the roster has ended.
/// * `join` takes 1 to [`MAX_BATCH`] members, `leave` as many ids, each id at most once; `page` takes 1 to
///   [`MAX_INSTANCES`] instances.
/// * Every operation may be repeated when its reply was lost.
#[async_trait]
pub trait PresencePort: Debug + Display + Send + Sync + 'static {
    /// Puts members there, or replaces their info.
    ///
    /// # Errors
    /// Those of the backend.
    async fn join(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        members: &[(String, Bytes)],
        options: CallOptions,
    ) -> Result<Standing>;

    /// Takes members off.
    ///
    /// # Errors
    /// Those of the backend.
    async fn leave(
        &self,
        key: &Key,
        instance: InstanceId,
        ids: &[String],
        options: CallOptions,
    ) -> Result<Standing>;

    /// Lets the instance's lease end `lease` from now.
    ///
    /// # Errors
    /// Those of the backend.
    async fn renew(
        &self,
        key: &Key,
        instance: InstanceId,
        lease: Duration,
        options: CallOptions,
    ) -> Result<Standing>;

    /// Takes everybody of an instance off.
    ///
    /// # Errors
    /// Those of the backend.
    async fn remove(
        &self,
        key: &Key,
        instance: InstanceId,
        removal: Removal,
        options: CallOptions,
    ) -> Result<Standing>;

    /// Who is on the roster, without the members themselves.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look(&self, key: &Key, options: CallOptions) -> Result<Look>;

    /// Some members of `instances`; `cursor` is the `next` of the page before.
    ///
    /// # Errors
    /// Those of the backend.
    async fn page(
        &self,
        key: &Key,
        instances: &[InstanceId],
        cursor: Option<&Cursor>,
        options: CallOptions,
    ) -> Result<Page>;

    /// Where changes are announced.
    fn announced_on(&self, key: &Key) -> Channel;
}
