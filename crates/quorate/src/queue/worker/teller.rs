//! Who is told of groups that are over, and for which nobody waited.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::super::group::{Bring, GroupView};
use super::super::job::JobId;
use super::super::queues::Queues;
use super::super::work::JobError;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;

type Tell =
    dyn Fn(JobId, GroupView) -> BoxFuture<'static, std::result::Result<(), JobError>> + Send + Sync;

/// Calls who wants to know.
#[derive(Clone)]
pub(super) struct Teller(Arc<Tell>);

impl Teller {
    pub(super) fn new<F>(tell: impl Fn(JobId, GroupView) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::result::Result<(), JobError>> + Send + 'static,
    {
        Self(Arc::new(move |id, view| Box::pin(tell(id, view))))
    }

    /// Tells of groups of a queue, in the background.
    pub(super) fn tell_behind(&self, queues: &Arc<Queues>, key: &Key, groups: Vec<JobId>) {
        if groups.is_empty() {
            return;
        }
        let (teller, queues, key) = (self.clone(), queues.clone(), key.clone());
        let context = queues.context.clone();
        context.spawn(async move {
            for id in groups {
                // It is told again if this failed.
                if let Err(error) = teller.tell(&queues, &key, id).await {
                    queues.report(&error);
                }
            }
        });
    }

    async fn tell(&self, queues: &Queues, key: &Key, id: JobId) -> Result<()> {
        // Of what is forgotten there is nothing to tell.
        if let Some(view) = queues.look_group(key, id, false).await? {
            let failed = |error: JobError| {
                Error::new(ErrorKind::JobFailed)
                    .with_message(format!("who is told of a group failed: {error:?}"))
                    .with_target(id.to_string())
            };
            (self.0)(id, view).await.map_err(failed)?;
        }
        let told = vec![id];
        let bring = Bring {
            told,
            ..Bring::default()
        };
        queues.bring(key, &bring).await.map(drop)
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}
