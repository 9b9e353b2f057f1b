//! What durable runs need of queues: a run is a job whose id is known beforehand, and which may wait for messages.

use std::sync::Arc;
use std::time::Duration;

use super::ask::Pushed;
use super::handle::Queue;
use super::job::JobId;
use super::options::JobOptions;
use super::push::Input;
use super::queues::{PUSH, Queues};
use super::result::JobHandle;
use super::work::{JobContext, JobError, What};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::key::Key;

impl<I, O> Queue<I, O> {
    /// Queues a job that has this id, unless there is one. Begins it in this process where that has room. Says whether it is new.
    pub(crate) async fn push_as(
        &self,
        id: JobId,
        input: &I,
        options: JobOptions,
    ) -> Result<(JobHandle<O>, bool)> {
        let named = |error: Error| error.with_operation(PUSH.name).with_target(self.name());
        let key = self.key(&PUSH)?;
        let job = Input::new(&self.spec, input).and_then(|input| input.job(options, None));
        let mut job = job.map_err(named)?;
        job.id = id;
        let pushed = match self.shared.room_here(key, &job).await {
            Some(room) => self.shared.start_here(key, job, room).await?,
            None => {
                let pushed = self.shared.push(key, std::slice::from_ref(&job)).await?;
                pushed.first().copied().unwrap_or(Pushed::Known)
            }
        };
        Ok((self.job(id), pushed == Pushed::New))
    }

    /// Where it is kept.
    pub(crate) fn home(&self) -> Result<(&Arc<Queues>, &Key)> {
        Ok((&self.shared, self.key(&PUSH)?))
    }
}

impl JobContext {
    pub(crate) fn queues(&self) -> &Arc<Queues> {
        &self.0.home.queues
    }

    pub(crate) fn queue(&self) -> &Key {
        &self.0.home.key
    }

    /// When it was pushed, by the clock of the home.
    pub(crate) fn queued(&self) -> Micros {
        self.0.queued
    }

    /// Whether a delivery before this one left something behind.
    pub(crate) fn goes_on(&self) -> bool {
        self.0.checkpoint.is_some()
    }
}

impl JobError {
    /// It waits for so long, or for a message that it has not seen.
    pub(crate) const fn wait(after: Duration, seen: u64) -> Self {
        Self(What::Wait { after, seen })
    }

    /// It ends because it was asked to.
    pub(crate) const fn cancelled() -> Self {
        Self(What::Cancel)
    }
}
