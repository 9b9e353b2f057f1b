//! A job group as who waits for it holds it.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::group::{GroupView, MemberEnd};
use super::job::{JobId, JobState};
use super::queues::{LOOK_GROUP, Queues};
use super::result::{PATIENCE, POLL, RECHECK};
use crate::clock::after;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;

/// A job, and all that it and what it leaves [leave](super::Leaves::leave): what becomes of them together, from any instance.
///
/// # Clone
/// Clones are the same group. Dropping one does nothing to the group.
#[derive(Clone)]
pub struct JobGroup {
    shared: Arc<Queues>,
    key: std::result::Result<Key, Arc<Error>>,
    id: JobId,
}

impl JobGroup {
    pub(super) const fn new(
        shared: Arc<Queues>,
        key: std::result::Result<Key, Arc<Error>>,
        id: JobId,
    ) -> Self {
        Self { shared, key, id }
    }

    /// Which: the id of its first job.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Waits until none of its jobs is left to be done. Gives how they ended, and the value of the group; `None` if that is not kept any longer,
    /// or never was. A job that leaves nothing is a group of one.
    pub fn ended(&self) -> GroupEnded {
        GroupEnded {
            group: self.clone(),
            timeout: PATIENCE,
        }
    }

    /// How it stands; `None` if that is not kept any longer, or there never was such a job. A job that is not over yet, or left nothing, is a group
    /// of one.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn state(&self) -> Result<Option<GroupView>> {
        self.look(self.key()?, false).await
    }

    fn key(&self) -> Result<&Key> {
        self.key.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(LOOK_GROUP.name)
        })
    }

    async fn look(&self, key: &Key, wait: bool) -> Result<Option<GroupView>> {
        if let Some(view) = self.shared.look_group(key, self.id, wait).await? {
            return Ok(Some(view));
        }
        let Some(state) = self.shared.look(key, self.id, wait).await? else {
            return Ok(None);
        };
        let mut one = GroupView::default();
        match &state {
            JobState::Ended(end) => one.count(MemberEnd::of(end)),
            _ => one.open = 1,
        }
        if !one.is_over() {
            return Ok(Some(one));
        }
        // It may have ended between the two looks, and left something.
        let begun = self.shared.look_group(key, self.id, wait).await?;
        Ok(Some(begun.unwrap_or(one)))
    }

    /// `None` if it is not over by then.
    async fn wait(&self, timeout: Duration) -> Result<Option<Option<GroupView>>> {
        let key = self.key()?;
        let waiter = self.shared.wait_for(key, self.id);
        let (deadline, mut asked) = (after(Instant::now(), timeout), 0);
        loop {
            let seen = self.look(key, true).await?;
            if seen.as_ref().is_none_or(GroupView::is_over) {
                return Ok(Some(seen));
            }
            asked += 1;
            let pause = if waiter.hears() {
                RECHECK.delay(1)
            } else {
                POLL.delay(asked)
            };
            let next = (Instant::now() + pause).min(deadline);
            tokio::select! {
                () = waiter.news.notified() => {}
                () = tokio::time::sleep_until(next) => if next == deadline {
                    return Ok(None);
                },
                () = self.shared.context.closed().cancelled() => {
                    return Err(Error::closed("the fleet"));
                }
            }
        }
    }
}

impl GroupView {
    /// The last of its values, or the only one; `None` if nobody said any.
    ///
    /// # Errors
    /// `Decode` if it is of another type.
    pub fn value<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.values.last().map(read).transpose()
    }

    /// All its values.
    ///
    /// # Errors
    /// `Decode` if one is of another type.
    pub fn values_as<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        self.values.iter().map(read).collect()
    }
}

fn read<T: DeserializeOwned>(value: &Bytes) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| {
        Error::new(ErrorKind::Decode)
            .with_operation(LOOK_GROUP.name)
            .with_source(error)
    })
}

/// The end of a group, waited for: options, then `.await`.
///
/// # Errors
/// `Timeout` if it is not over in time (its jobs go on), and those of the backend.
///
/// # Cancel safety
/// Yes.
#[must_use = "nothing is waited for without `.await`"]
#[derive(Debug)]
pub struct GroupEnded {
    group: JobGroup,
    timeout: Duration,
}

impl GroupEnded {
    /// How long to wait at most. Default a minute.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl IntoFuture for GroupEnded {
    type Output = Result<Option<GroupView>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let waited = self.group.wait(self.timeout).await;
            let over = waited.and_then(|over| {
                let late =
                    || Error::new(ErrorKind::Timeout).with_message("the group is not over yet");
                over.ok_or_else(late)
            });
            over.map_err(|error| {
                error
                    .with_operation(LOOK_GROUP.name)
                    .with_target(self.group.id.to_string())
            })
        })
    }
}

impl fmt::Debug for JobGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobGroup")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
