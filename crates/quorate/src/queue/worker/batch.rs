//! Jobs that are gathered, to be run together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::queues::Queues;
use super::super::work::{Job, JobError};
use super::execute;
use super::shop::{Running, Shop};
use crate::clock::after;

/// Jobs of a batch, unless told otherwise.
pub(super) const SIZE: usize = 50;
/// How long the first of a batch waits for others, unless told otherwise.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(50);

/// A job that waits for others.
pub(super) type Begun<I> = (Job<I>, Running);

/// Gathers what is delivered, and runs it together.
pub(super) struct Gatherer<I, O, H> {
    pub(super) queues: Arc<Queues>,
    pub(super) shop: Arc<Shop<I, O>>,
    pub(super) handler: Arc<H>,
    pub(super) size: usize,
    pub(super) max_wait: Duration,
}

impl<I, O, H, F> Gatherer<I, O, H>
where
    I: Send + Sync + 'static,
    O: Send + Sync + 'static,
    H: Fn(Vec<Job<I>>) -> F + Send + Sync + 'static,
    F: Future<Output = Vec<Result<O, JobError>>> + Send + 'static,
{
    /// Until nobody sends any more.
    pub(super) async fn run(self, mut delivered: mpsc::UnboundedReceiver<Begun<I>>) {
        while let Some(first) = delivered.recv().await {
            let until = after(Instant::now(), self.max_wait);
            let mut batch = vec![first];
            while batch.len() < self.size {
                match tokio::time::timeout_at(until, delivered.recv()).await {
                    Ok(Some(next)) => batch.push(next),
                    _ => break,
                }
            }
            let (shop, handler) = (self.shop.clone(), self.handler.clone());
            self.queues
                .context
                .spawn(execute::many(shop, handler, batch));
        }
    }
}
