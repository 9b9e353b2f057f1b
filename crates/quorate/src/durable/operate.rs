//! The runs of a function, for whoever operates it.

use futures_util::{StreamExt, TryStreamExt};

use super::handle::RunHandle;
use super::history::{RunCounts, RunSummary};
use super::setup::DurableRuns;
use super::workflow::{QUEUES, Workflow};
use crate::error::Result;
use crate::queue::{JobId, JobPlace};
use crate::scan::ScanCursor;

/// Where runs are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a run is in one of these")]
pub enum RunPlace {
    /// They wait for an instance that does them: the next one first.
    Queued,
    /// They wait for a time, or for a signal: whose time comes first is first.
    Waiting,
    /// An instance does them.
    Running,
    /// They are over, and did not fail: what is forgotten last is first.
    Over,
    /// They failed, or are parked: the last one first.
    Failed,
}

/// Some of the runs of a place.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunPage {
    /// They.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<ScanCursor>,
}

impl DurableRuns {
    /// Some of the runs of a function, behind those of another page: at most so many, from 1 to 1 000, and fewer where they are
    /// large.
    ///
    /// # Errors
    /// `InvalidInput` for a limit that is out of range, or for another list's page, and those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn list<I, O>(
        &self,
        workflow: &Workflow<I, O>,
        place: RunPlace,
        after: Option<ScanCursor>,
        limit: usize,
    ) -> Result<RunPage> {
        let queue = self.queue(&workflow.queue()?);
        let mut list = queue.list(place.into()).limit(limit);
        if let Some(after) = after {
            list = list.after(after);
        }
        let page = list.next_page().await?;
        Ok(page.map_or(
            RunPage {
                runs: Vec::new(),
                next: None,
            },
            |page| RunPage {
                runs: page.jobs.iter().map(RunSummary::of).collect(),
                next: page.next,
            },
        ))
    }

    /// How many runs of a function there are, by how they do.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn count<I, O>(&self, workflow: &Workflow<I, O>) -> Result<RunCounts> {
        let stats = self.queue(&workflow.queue()?).stats().await?;
        Ok(RunCounts {
            queued: stats.ready + stats.limited,
            waiting: stats.due,
            running: stats.active,
            over: stats.ended,
            failed: stats.dead,
        })
    }

    /// The names of all functions of which there are runs, whoever does them, in no order.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn workflows(&self) -> Result<Vec<String>> {
        let queues = self.all_queues().scan(QUEUES);
        let names = queues.map(|name| name.map(|name| name[QUEUES.len()..].to_owned()));
        let mut names: Vec<_> = names.try_collect().await?;
        // A scan may give one twice.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A run that is listed, whatever it is called.
    ///
    /// # Errors
    /// `InvalidInput` for a workflow whose name breaks its rule.
    pub fn run_of<I, O>(&self, workflow: &Workflow<I, O>, job: JobId) -> Result<RunHandle<O>> {
        let queue = self.queue(&workflow.queue()?);
        let handle = queue.job(job);
        Ok(RunHandle::new(queue, handle, job.to_string(), false))
    }
}

impl From<RunPlace> for JobPlace {
    fn from(place: RunPlace) -> Self {
        match place {
            RunPlace::Queued => Self::Ready,
            RunPlace::Waiting => Self::Due,
            RunPlace::Running => Self::Active,
            RunPlace::Over => Self::Ended,
            RunPlace::Failed => Self::Dead,
        }
    }
}
