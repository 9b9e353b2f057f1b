//! The queues of a fleet, whatever their types: for who operates them.

use std::sync::Arc;

use bytes::Bytes;

use super::handle::Queue;
use super::queues::{Queues, operation};
use super::spec::QueueSpec;
use crate::codec::Codec;
use crate::context::Operation;
use crate::error::Result;
use crate::key::Namespace;
use crate::scan::{Scan, ScanCursor, ScanPage};

static SCAN: Operation = operation("queue.scan", "scan");

/// The queues of a fleet, whatever their types: to be listed, and operated.
///
/// # Clone
/// Clones are the same.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use futures_util::TryStreamExt;
/// use quorate::{Fleet, QueueSpec};
///
/// const EMAILS: QueueSpec<String> = QueueSpec::new("emails");
///
/// let fleet = Fleet::embedded();
/// fleet.queue(&EMAILS).push(&"hello".to_owned()).await?;
/// let mut names = fleet.queues().scan("");
/// while let Some(name) = names.try_next().await? {
///     let stats = fleet.queues().of(&name)?.stats().await?;
///     println!("{name}: {} wait, {} are dead", stats.ready, stats.dead);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AllQueues {
    shared: Arc<Queues>,
    namespace: Namespace,
}

impl AllQueues {
    pub(crate) fn new(shared: Arc<Queues>, namespace: &Namespace) -> Self {
        let namespace = namespace.clone();
        Self { shared, namespace }
    }

    /// The queue of this name, with inputs and results as they are kept: JSON, unless its spec says otherwise.
    ///
    /// # Errors
    /// `InvalidInput` if the name breaks the rule of [`QueueSpec::new`].
    pub fn of(&self, name: &str) -> Result<Queue<Bytes, Bytes>> {
        let spec = QueueSpec::try_with_codecs(name, Codec::bytes(), Codec::bytes())?;
        Ok(Queue::new(self.shared.clone(), &self.namespace, &spec))
    }

    /// The names of the queues that begin with `prefix` (empty for all), of those that have jobs, or had within the last week.
    ///
    /// Every queue that is there from beginning to end comes once; one that comes or goes meanwhile may be missing. On a server
    /// this looks at every key of the whole database, some hundred at a time: it is for operators, not for requests.
    pub fn scan(&self, prefix: &str) -> Scan {
        let (all, prefix) = (self.clone(), prefix.to_owned());
        Scan::new(move |from| {
            let (all, prefix) = (all.clone(), prefix.clone());
            Box::pin(async move { all.page(&prefix, from.as_ref()).await })
        })
    }

    async fn page(&self, prefix: &str, from: Option<&ScanCursor>) -> Result<ScanPage> {
        let Self { shared, namespace } = self;
        let page = |attempt: crate::context::Attempt| {
            let options = attempt.options();
            shared.port.queues(namespace, prefix, from, options)
        };
        shared.context.run(&SCAN, prefix, None, page).await
    }
}
