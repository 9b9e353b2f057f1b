//! The publishing side of a topic: its sequence, and the beacons that confirm it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::envelope::{self, Draft};
use super::port::{CallOptions, Channel, EventsPort, Submission};
use crate::clock::system_now;

/// Beacons sent after the last message of a burst: the second covers the loss of the first.
const BEACONS: u8 = 2;

/// The sequence of what this instance publishes on one channel.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: Channel,
    /// Held while a message takes its number and its place at the transport, so that both orders are
    /// one. Nothing under it waits.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the counter began, in microseconds: a later counter of this instance has a higher run.
    run: u64,
    last: u64,
    last_at: Instant,
    beacons_due: u8,
}

impl Outgoing {
    pub(crate) fn new(channel: Channel) -> Self {
        let state = State {
            run: system_now().get(),
            last: 0,
            last_at: Instant::now(),
            beacons_due: 0,
        };
        Self {
            channel,
            state: Mutex::new(state),
        }
    }

    /// Gives `draft` the next number, unless it has one, and offers it. `Unavailable` leaves no hole.
    pub(crate) fn submit(
        &self,
        port: &dyn EventsPort,
        publisher: u64,
        draft: &mut Draft,
        options: CallOptions,
    ) -> Submission {
        let mut state = self.state.lock();
        let mut fresh = match draft {
            Draft::Placed(bytes) => return port.publish(&self.channel, bytes.clone(), options),
            Draft::Fresh(bytes) => std::mem::take(bytes),
        };
        envelope::place(&mut fresh, publisher, state.run, state.last + 1);
        let bytes = fresh.freeze();
        let submission = port.publish(&self.channel, bytes.clone(), options);
        if matches!(submission, Submission::Unavailable) {
            *draft = Draft::Fresh(bytes.into());
        } else {
            *draft = Draft::Placed(bytes);
            state.last += 1;
            state.last_at = Instant::now();
            state.beacons_due = BEACONS;
        }
        submission
    }

    /// Whether a beacon is still to come.
    pub(crate) fn wants_beacon(&self) -> bool {
        self.state.lock().beacons_due > 0
    }

    /// Whether nothing was published for `time`, so that the counter may be forgotten.
    pub(crate) fn is_idle_for(&self, time: Duration) -> bool {
        let state = self.state.lock();
        state.beacons_due == 0 && state.last_at.elapsed() >= time
    }

    /// Says what was last sent, if a beacon is due: nothing was published for `quiet`.
    pub(crate) fn beacon(
        &self,
        port: &dyn EventsPort,
        publisher: u64,
        quiet: Duration,
        options: CallOptions,
    ) -> Option<Submission> {
        let mut state = self.state.lock();
        if state.beacons_due == 0 || state.last_at.elapsed() < quiet {
            return None;
        }
        let beacon = envelope::beacon(publisher, state.run, state.last);
        let submission = port.publish(&self.channel, beacon, options);
        // Without a connection the beacon stays due: subscribers hear of the loss on reconnect, and
        // of the number once it can be sent.
        if !matches!(submission, Submission::Unavailable) {
            state.beacons_due -= 1;
        }
        Some(submission)
    }
}

/// The sequences of this instance, by channel.
#[derive(Debug, Default)]
pub(crate) struct Outgoings(Mutex<std::collections::HashMap<Channel, Arc<Outgoing>>>);

impl Outgoings {
    pub(crate) fn of(&self, channel: &Channel) -> Arc<Outgoing> {
        let mut table = self.0.lock();
        if let Some(known) = table.get(channel) {
            return known.clone();
        }
        let outgoing = Arc::new(Outgoing::new(channel.clone()));
        table.insert(channel.clone(), outgoing.clone());
        outgoing
    }

    /// All of them. Those unused for a long time, and held by no handle, are forgotten.
    pub(crate) fn sweep(&self, idle: Duration) -> Vec<Arc<Outgoing>> {
        let mut table = self.0.lock();
        table.retain(|_, outgoing| Arc::strong_count(outgoing) > 1 || !outgoing.is_idle_for(idle));
        table
            .values()
            .filter(|outgoing| outgoing.wants_beacon())
            .cloned()
            .collect()
    }
}
