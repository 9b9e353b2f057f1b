//! The task that takes for one consumer, and parks while there is nothing to take.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::kept::PAGE;
use super::super::subscription::Subscription;
use super::calls::Calls;
use super::desk::Desk;
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};
use crate::history::{PageLimit, TakeReply};
use crate::hooks::ErrorSource;

/// An idle consumer asks at least this often, in case an announcement was lost; with a spread, so that a
/// fleet does not ask all at once.
const RECHECK: Backoff = Backoff {
    initial: Duration::from_secs(5),
    factor: 1.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// Between takes that fail. The consumer does not give up.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

pub(super) struct Taker<T> {
    pub(super) calls: Calls,
    pub(super) desk: Arc<Desk<T>>,
    /// Announcements of the topic.
    pub(super) wakes: Subscription<Bytes>,
    pub(super) visibility: Duration,
    pub(super) batch: u32,
    /// The consumer has gone.
    pub(super) gone: CancellationToken,
}

/// Why a wait is over.
enum Over {
    Time,
    Gone,
}

impl<T: Send + Sync + 'static> Taker<T> {
    /// Takes whenever the consumer waits, until it is gone or there is nothing to take from any more.
    pub(super) async fn run(mut self) {
        self.take_as_wanted().await;
        self.desk.end();
    }

    async fn take_as_wanted(&mut self) {
        let mut failures = 0;
        let closed = self.calls.hub.context.closed().clone();
        while !self.gone.is_cancelled() && !closed.is_cancelled() {
            if !self.desk.is_wanted() {
                tokio::select! {
                    () = self.desk.demand.notified() => {}
                    () = self.gone.cancelled() => {}
                    () = closed.cancelled() => {}
                }
                continue;
            }
            // What was announced before the take is seen by it.
            while let Some(wake) = self.wakes.next().now_or_never() {
                if wake.is_none() {
                    return;
                }
            }
            let limit = PageLimit {
                messages: self.batch,
                ..PAGE
            };
            let asked = Instant::now();
            let taken = tokio::select! {
                taken = self.calls.take(limit, self.visibility) => taken,
                () = self.calls.patience(&self.gone) => return,
            };
            let over = match taken {
                Ok((id, TakeReply::Taken(taken))) => {
                    failures = 0;
                    let next = taken.next;
                    if self.desk.fill(id, taken, asked) {
                        continue;
                    }
                    self.park(next).await
                }
                Ok((_, TakeReply::Deleted)) => {
                    self.report(&self.deleted());
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    failures += 1;
                    self.report(&error);
                    self.pause(RETRY.delay(failures)).await
                }
            };
            if matches!(over, Over::Gone) {
                return;
            }
        }
    }

    /// Waits until there may be something to take: something was announced or given back, a lease ends, or
    /// it is time to look.
    async fn park(&mut self, next: Option<Duration>) -> Over {
        let look = RECHECK.delay(1);
        let next = next.map(|next| next.saturating_add(Duration::from_millis(1)));
        let pause = next.map_or(look, |next| next.min(look));
        tokio::select! {
            // A gap may hide an announcement: ask again, as for a message.
            wake = self.wakes.next() => if wake.is_some() { Over::Time } else { Over::Gone },
            () = self.desk.sooner.notified() => Over::Time,
            () = tokio::time::sleep(pause) => Over::Time,
            () = self.gone.cancelled() => Over::Gone,
            () = self.calls.hub.context.closed().cancelled() => Over::Gone,
        }
    }

    async fn pause(&self, pause: Duration) -> Over {
        tokio::select! {
            () = tokio::time::sleep(pause) => Over::Time,
            () = self.gone.cancelled() => Over::Gone,
            () = self.calls.hub.context.closed().cancelled() => Over::Gone,
        }
    }

    fn report(&self, error: &Error) {
        self.calls
            .hub
            .context
            .hooks
            .error(ErrorSource::Group, error);
    }

    fn deleted(&self) -> Error {
        Error::new(ErrorKind::Closed)
            .with_operation("events.take")
            .with_target(self.calls.target())
            .with_message("the consumer group was deleted")
    }
}
