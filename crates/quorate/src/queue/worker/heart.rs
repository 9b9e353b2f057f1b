//! The part of a worker that lets leases last longer, and learns which jobs it has lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::ask::{MOST_AT_ONCE, Renewed};
use super::super::job::{JobId, LeaseNumber};
use super::super::queues::Queues;
use super::desk::{SharedDesk, Why};
use crate::key::Key;

/// How often a lease is looked at while it lasts: it is renewed when a third is over, and three more attempts follow should
/// that fail.
const BEATS: u32 = 6;

pub(super) struct Heart {
    pub(super) queues: Arc<Queues>,
    pub(super) key: Key,
    pub(super) desk: SharedDesk,
    pub(super) lease: Duration,
}

impl Heart {
    /// Beats until it is dropped.
    pub(super) async fn run(self) {
        let beat = (self.lease / BEATS).max(Duration::from_millis(1));
        loop {
            let now = Instant::now();
            let first = self.desk.until_first_end(now).unwrap_or(beat);
            // Those of which a third is over; all, where that one was cancelled may have been missed.
            let least = tokio::select! {
                () = tokio::time::sleep(beat.min(first)) => self.lease * 2 / 3,
                () = self.desk.unsure.notified() => self.lease * 2,
            };
            self.desk.stop_ended(Instant::now());
            let ending = self.desk.ending(Instant::now() + least);
            for some in ending.chunks(MOST_AT_ONCE) {
                self.renew(some).await;
            }
        }
    }

    async fn renew(&self, held: &[(JobId, LeaseNumber)]) {
        let asked = Instant::now();
        // No longer than until the first lease ends, whose handler has to know.
        let time = self.desk.until_first_end(asked).unwrap_or(self.lease);
        let time = time.min(self.lease / BEATS);
        match self.queues.renew(&self.key, held, self.lease, time).await {
            Ok(renewed) => self.heed(held, &renewed, asked),
            Err(error) => self.queues.report(&error),
        }
    }

    /// Takes note of what was said of leases.
    pub(super) fn heed(&self, held: &[(JobId, LeaseNumber)], renewed: &[Renewed], asked: Instant) {
        for ((id, lease), renewed) in held.iter().zip(renewed) {
            match renewed {
                Renewed::Lost => self.desk.stop(*id, *lease, Why::Lost),
                Renewed::Held => self.desk.prolong(*id, *lease, asked + self.lease),
                Renewed::Cancelled => {
                    self.desk.prolong(*id, *lease, asked + self.lease);
                    self.desk.stop(*id, *lease, Why::Cancelled);
                }
            }
        }
    }
}
