//! Asking for a folder to be made small, and waiting for that.

use std::time::Duration;

use anyhow::{Context, Result};
use quorate::queue::{GroupView, JobGroup};
use quorate::{ErrorKind, Fleet};

use crate::jobs::{FOLDERS, Folder};

/// How often is told how far it is.
const TELL: Duration = Duration::from_secs(1);

/// What was ordered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ordered {
    /// All that grows out of it.
    pub group: JobGroup,
    /// Whether this was the first time.
    pub is_new: bool,
}

/// Orders that a folder is made small. Orders of the same name are one, for a day after it was begun: who died and
/// orders again goes on waiting for what is under way.
///
/// # Errors
/// Those of a push.
pub async fn order(fleet: &Fleet, folder: &Folder, name: &str) -> quorate::Result<Ordered> {
    let folders = fleet.queue(&FOLDERS);
    let job = folders.push(folder).idempotency_key(name).await?;
    Ok(Ordered {
        group: job.group(),
        is_new: job.is_new(),
    })
}

/// Waits until all that was ordered is there, or failed for good. `each` hears every second how far it is.
///
/// # Errors
/// Those of the backend, and when nothing is known of the order any more.
pub async fn follow(group: &JobGroup, mut each: impl FnMut(&GroupView)) -> Result<GroupView> {
    loop {
        match group.ended().timeout(TELL).await {
            Ok(over) => return over.context("nothing is known of this order any more"),
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(view) = group.state().await? {
            each(&view);
        }
    }
}
