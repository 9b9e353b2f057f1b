//! What a loader gives.

use std::time::Duration;

/// A value that was loaded, and how it is to be kept where that depends on it.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{CacheSpec, Fleet, Loaded};
/// use std::time::Duration;
///
/// const USERS: CacheSpec<u64, Option<String>> = CacheSpec::new("users");
///
/// let users = Fleet::embedded().cache(&USERS);
/// let user = users
///     .get_or_load(&7, async {
///         // That there is none may change soon.
///         Ok::<_, std::io::Error>(Loaded::new(None).ttl(Duration::from_secs(5)))
///     })
///     .await?;
/// assert_eq!(user, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Loaded<V> {
    pub(super) value: V,
    pub(super) ttl: Option<Duration>,
    pub(super) stale_for: Option<Duration>,
    pub(super) tags: Vec<String>,
    pub(super) is_kept: bool,
}

impl<V> Loaded<V> {
    /// A value that is kept as the call and the spec say.
    pub const fn new(value: V) -> Self {
        Self {
            value,
            ttl: None,
            stale_for: None,
            tags: Vec::new(),
            is_kept: true,
        }
    }

    /// How long it is fresh: at least 1 ms, at most a year.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long it is kept after that for when loading the next one fails, instead of what the spec's
    /// [`fail_safe`](crate::CacheSpec::fail_safe) says: at least 1 ms and at most a year, or zero for not at all.
    pub const fn stale_for(mut self, time: Duration) -> Self {
        self.stale_for = Some(time);
        self
    }

    /// What it is about, besides what the call says.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// It is handed to those who wait in this process, and not kept.
    pub const fn no_store(mut self) -> Self {
        self.is_kept = false;
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}
