//! Time: commands that get no reply, and peers that have fallen silent.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::ending::fail;
use super::{Driver, End};
use crate::connection::queue::ReplySink;
use crate::error::{LinkError, LinkErrorKind, Outcome};

impl<S> Driver<S> {
    /// Makes sure the timer fires at `at` or before.
    pub(super) fn arm(&mut self, at: Instant) {
        if self.timer.deadline() > at {
            self.timer.as_mut().reset(at);
        }
    }

    /// One timer serves every command and the probe. It may fire too early, since what it was set
    /// for may be long answered; then it is set again.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if self.next_expiry.is_some_and(|at| at <= now) {
                self.sweep(now);
            }
            let idle_since = self.last_active;
            if self
                .config
                .ping_interval
                .is_some_and(|i| idle_since + i <= now)
            {
                self.want_probe(now);
            }
            if let Some(since) = self.probe
                && since + self.config.ping_timeout <= now
            {
                return Poll::Ready(End::Lost(self.silent()));
            }
            let quiet = self.config.ping_interval.map(|interval| {
                let due = self.last_active + interval;
                if due > now { due } else { now + interval }
            });
            let next = [
                self.next_expiry,
                self.probe.map(|since| since + self.config.ping_timeout),
                quiet,
            ];
            let next = next.into_iter().flatten().min();
            let far = now + self.config.command_timeout;
            self.timer.as_mut().reset(next.unwrap_or(far));
            if self.probe_unsent {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Gives up on commands whose time is over. Their places in the queue of replies stay, so that
    /// no later command receives what was meant for them.
    fn sweep(&mut self, now: Instant) {
        let mut earliest: Option<Instant> = None;
        let mut expired = 0_usize;
        for entry in &mut self.in_flight {
            let Some(expiry) = entry.deadline else {
                continue;
            };
            if expiry > now {
                earliest = Some(earliest.map_or(expiry, |e| e.min(expiry)));
                continue;
            }
            entry.deadline = None;
            expired += 1;
            let error = LinkError::new(
                LinkErrorKind::Timeout,
                Outcome::Unknown,
                "the reply did not arrive in time",
            );
            fail(
                std::mem::replace(&mut entry.sink, ReplySink::Abandoned),
                &error,
            );
        }
        self.next_expiry = earliest;
        if expired > 0 {
            tracing::debug!(
                expired,
                "commands timed out; asking whether the server is alive"
            );
            self.want_probe(now);
        }
    }

    fn want_probe(&mut self, now: Instant) {
        if self.probe.is_none() {
            // Counted from now and not from when it is written: a socket that takes no bytes is as
            // dead as one that brings none.
            self.probe = Some(now);
            self.probe_unsent = true;
        }
    }

    fn silent(&self) -> LinkError {
        LinkError::new(
            LinkErrorKind::ConnectionLost,
            Outcome::Unknown,
            format!(
                "the server was silent for {:?} after a ping",
                self.config.ping_timeout
            ),
        )
    }
}
