//! A stream of who joins and leaves.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Future, FutureExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep};
use tokio_stream::wrappers::WatchStream;

use super::announcement::Announcement;
use super::follower::{Follower, Scan};
use super::handle::{Presences, WATCH};
use super::member::PresenceEvent;
use super::scan::scan;
use super::seat::Present;
use crate::backoff::Backoff;
use crate::context::Operation;
use crate::error::{ErrorKind, Result};
use crate::events::{Event, Subscription, subscribe_channel};
use crate::hooks::ErrorSource;
use crate::key::Key;
use crate::telemetry;

/// Announcements to buffer while the consumer is busy. With more the roster is read again.
const BUFFER: usize = 1024;

/// How long announcements may take that the home has made, before they count as lost; never more than a
/// third of the lease.
const GRACE: Duration = Duration::from_secs(1);

/// Between two reads that failed.
const RETRY: Backoff = Backoff {
    initial: Duration::from_millis(100),
    factor: 2.0,
    max: Duration::from_secs(5),
    jitter: 0.5,
};

/// A stream of [`PresenceEvent`]s, active when it is handed out.
///
/// The first is the whole roster ([`PresenceEvent::Resync`]). Every change after it is exact: applied one by
/// one they give the roster. Where changes may be missing (the connection was interrupted, an announcement
/// was lost, this consumer was too slow) the whole roster comes again and replaces what was known. A loss
/// that nothing follows is noticed with the next look at the roster's version, a third of a lease later.
///
/// It ends (`None`) when the fleet is closed. Dropping it stops watching.
pub struct PresenceWatch {
    /// Dropped first: the roster is not looked at for us any more.
    place: Place,
    announcements: Subscription<Bytes>,
    present: WatchStream<Present>,
    follower: Follower,
    /// When the follower was last told what changed.
    heard_at: Instant,
    reading: Option<BoxFuture<'static, Result<Scan>>>,
    failures: u32,
    /// When what is awaited counts as lost.
    grace: Option<Pin<Box<Sleep>>>,
    /// The first whole roster has been told.
    begun: bool,
}

/// Being one of those who watch.
struct Place {
    presences: Arc<Presences>,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.presences
            .with_existing(&self.key, |seat| seat.watchers -= 1);
    }
}

impl PresenceWatch {
    pub(super) async fn begin(
        presences: &Arc<Presences>,
        key: &Key,
        operation: &'static Operation,
    ) -> Result<Self> {
        let named =
            |error: crate::Error| error.with_operation(operation.name).with_target(key.name());
        presences.context.check_open().map_err(named)?;
        let channel = presences.port.announced_on(key);
        let announcements = subscribe_channel(&presences.hub, channel)
            .buffer(BUFFER)
            .await?;
        let present = presences.with_seat(key, |seat, _| seat.watch());
        let place = Place {
            presences: presences.clone(),
            key: key.clone(),
        };
        let mut follower = Follower::new();
        follower.begin_read();
        // What is announced meanwhile waits in the subscription's buffer.
        follower.scanned(scan(presences, key, operation).await?);
        Ok(Self {
            place,
            announcements,
            present: WatchStream::new(present),
            follower,
            heard_at: Instant::now(),
            reading: None,
            failures: 0,
            grace: None,
            begun: false,
        })
    }

    /// The next event, or `None` at the end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<PresenceEvent> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The roster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.place.key.name()
    }

    fn poll_event(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<PresenceEvent>> {
        loop {
            if let Some(event) = self.follower.next_event() {
                if matches!(event, PresenceEvent::Resync(_))
                    && std::mem::replace(&mut self.begun, true)
                {
                    metrics::counter!(telemetry::PRESENCE_RESYNCS).increment(1);
                }
                return Poll::Ready(Some(event));
            }
            match self.announcements.poll_next_unpin(cx) {
                Poll::Ready(Some(event)) => {
                    self.heard(&event);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            while let Poll::Ready(Some(present)) = self.present.poll_next_unpin(cx) {
                let since = present.asked > self.heard_at;
                self.follower.known(present.version, since);
            }
            if self.poll_grace(cx).is_ready() {
                self.follower.lost();
            }
            // Something to tell, or nothing before the next announcement, read or moment.
            ready!(self.poll_read(cx));
        }
    }

    fn heard(&mut self, event: &Event<Bytes>) {
        self.heard_at = Instant::now();
        let announcement = match event {
            Event::Message(message) => Announcement::decode(message),
            _ => None,
        };
        match announcement {
            Some(announcement) => self.follower.heard(announcement),
            // A gap, or something that is not ours: what it said is not known.
            None => self.follower.lost(),
        }
    }

    /// Ready when the follower has been behind for too long.
    fn poll_grace(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if !self.follower.is_behind() {
            self.grace = None;
            return Poll::Pending;
        }
        let grace = GRACE.min(self.place.presences.lease / 3);
        let sleep = self
            .grace
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(grace)));
        ready!(sleep.as_mut().poll(cx));
        self.grace = None;
        Poll::Ready(())
    }

    /// Ready when a read has ended; pending also where none is needed.
    fn poll_read(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.follower.begin_read() {
            self.reading = Some(self.read());
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Pending;
        };
        match ready!(reading.poll_unpin(cx)) {
            Ok(scan) => {
                self.reading = None;
                self.failures = 0;
                self.heard_at = Instant::now();
                self.follower.scanned(scan);
            }
            Err(error) => {
                // The end of a closed fleet's stream says enough.
                if self.failures == 0 && error.kind() != ErrorKind::Closed {
                    let context = &self.place.presences.context;
                    context.hooks.error(ErrorSource::Presence, &error);
                }
                self.failures = self.failures.saturating_add(1);
                self.reading = Some(self.read());
            }
        }
        Poll::Ready(())
    }

    fn read(&self) -> BoxFuture<'static, Result<Scan>> {
        let (presences, key) = (self.place.presences.clone(), self.place.key.clone());
        let pause = (self.failures > 0).then(|| RETRY.delay(self.failures));
        Box::pin(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            scan(&presences, &key, &WATCH).await
        })
    }
}

impl Stream for PresenceWatch {
    type Item = PresenceEvent;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<PresenceEvent>> {
        self.poll_event(cx)
    }
}

impl fmt::Debug for PresenceWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceWatch")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
