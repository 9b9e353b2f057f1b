//! Asks the backend now and then, while values of the process are given, whether all changes have been told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::versions::Versions;
use crate::cache::port::{CachePort, Changes as _};
use crate::context::Context;
use crate::port::CallOptions;

/// Asks so often within the time that values may be stale.
const OFTEN: u32 = 3;

/// Starts asking, unless that was begun before.
pub(crate) fn start(context: &Context, port: &Arc<dyn CachePort>, versions: &Arc<Versions>) {
    if !versions.begin_keeping() {
        return;
    }
    let closed = context.closed().clone();
    let (port, kept) = (port.clone(), versions.clone());
    let started = context.spawn(async move {
        tokio::select! {
            // Nothing of it is given any more.
            () = closed.cancelled() => kept.all_changed(),
            () = keep(&*port, &kept) => {}
        }
    });
    if !started {
        versions.end_keeping();
    }
}

async fn keep(port: &dyn CachePort, versions: &Versions) {
    loop {
        versions.used().await;
        while versions.was_used() {
            let pause = Duration::from_nanos(versions.staleness()) / OFTEN;
            let at = versions.now();
            let options = CallOptions::until(Instant::now() + pause);
            match port.confirm(options).await {
                Ok(()) => versions.confirm(at),
                // Then values are asked for again, and whoever asks sees why that fails.
                Err(error) => tracing::debug!(%error, "cannot say whether all changes were told"),
            }
            tokio::time::sleep(pause).await;
        }
    }
}
