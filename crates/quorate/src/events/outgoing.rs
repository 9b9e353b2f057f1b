//! The publishing side of a topic: its sequence, and the beacons that confirm it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::envelope::{self, Draft};
use super::port::{CallOptions, Channel, EventsPort, Submission};
use crate::clock::system_now;
use crate::history::Position;

/// Beacons sent after the last message of a burst: the second covers the loss of the first.
const BEACONS: u8 = 2;

/// Room made for a message in advance, at most: a short message after a long one keeps no more for
/// nothing.
const MAX_ROOM: usize = 1024;

/// The sequence of what this instance publishes on one channel.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: Channel,
    /// Held while a message takes its number and its place at the transport, so that both orders are
    /// one. Nothing under it waits.
    state: Mutex<State>,
    /// How long the last message was: the next one is likely to fit into as much.
    room: AtomicUsize,
}

#[derive(Debug)]
struct State {
    /// When the counter began, in microseconds: a later counter of this instance has a higher run.
    run: u64,
    last: u64,
    /// Epoch and offset of the newest message known, if the topic is kept: then beacons tell them.
    kept: Option<(u64, u64)>,
    last_at: Instant,
    beacons_due: u8,
}

impl Outgoing {
    fn new(channel: Channel, run: u64) -> Self {
        let state = State {
            run,
            last: 0,
            kept: None,
            last_at: Instant::now(),
            beacons_due: 0,
        };
        Self {
            channel,
            state: Mutex::new(state),
            room: AtomicUsize::new(256),
        }
    }

    /// Bytes to make room for before a message is written.
    pub(crate) fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// Gives `draft` the next number, unless it has one, and offers it. `Unavailable` leaves no hole.
    ///
    /// `unconfirmed` hears of the first message that waits for a beacon.
    pub(crate) fn submit(
        &self,
        port: &dyn EventsPort,
        publisher: u64,
        draft: &mut Draft,
        now: Instant,
        options: CallOptions,
        unconfirmed: &Notify,
    ) -> Submission {
        let mut state = self.state.lock();
        let mut fresh = match draft {
            Draft::Placed(bytes) => return port.publish(&self.channel, bytes.clone(), options),
            Draft::Fresh(bytes) => std::mem::take(bytes),
        };
        envelope::place(&mut fresh, publisher, state.run, state.last + 1);
        let room = fresh.len().min(MAX_ROOM);
        if self.room() != room {
            self.room.store(room, Ordering::Relaxed);
        }
        let bytes = Bytes::from(fresh);
        let submission = port.publish(&self.channel, bytes.clone(), options);
        if matches!(submission, Submission::Unavailable) {
            *draft = Draft::Fresh(bytes.into());
        } else {
            *draft = Draft::Placed(bytes);
            state.last += 1;
            state.last_at = now;
            // While some are due, whoever sends them is awake.
            if std::mem::replace(&mut state.beacons_due, BEACONS) == 0 {
                unconfirmed.notify_one();
            }
        }
        submission
    }

    /// Notes that a message was kept at this place, so that beacons tell it.
    pub(crate) fn kept(&self, position: Position, now: Instant, unconfirmed: &Notify) {
        let mut state = self.state.lock();
        let place = (position.epoch(), position.offset());
        state.kept = state.kept.max(Some(place));
        state.last_at = now;
        if std::mem::replace(&mut state.beacons_due, BEACONS) == 0 {
            unconfirmed.notify_one();
        }
    }

    /// Whether a beacon is still to come.
    pub(crate) fn wants_beacon(&self) -> bool {
        self.state.lock().beacons_due > 0
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
        let kept = state.kept.is_some();
        let (run, last) = state.kept.unwrap_or((state.run, state.last));
        let beacon = envelope::beacon(kept, publisher, run, last);
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
///
/// A sequence is forgotten once its last message was confirmed and no handle uses it: the next message
/// begins a new run, and costs its subscribers nothing. So memory follows what is being published, not
/// what ever was.
#[derive(Debug, Default)]
pub(crate) struct Outgoings(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    sequences: HashMap<Channel, Arc<Outgoing>>,
    /// The last run begun: the system's clock may go back, runs must not.
    last_run: u64,
    /// How many sequences there may be before the idle ones are looked for.
    sweep_at: usize,
}

/// Below this many sequences nothing is swept for want of room.
const FEW: usize = 1024;

impl Outgoings {
    pub(crate) fn of(&self, channel: &Channel) -> Arc<Outgoing> {
        let mut table = self.0.lock();
        if let Some(known) = table.sequences.get(channel) {
            return known.clone();
        }
        if table.sequences.len() >= table.sweep_at.max(FEW) {
            table.forget_idle();
            // Twice what is left: the cost of sweeping is shared by as many insertions.
            table.sweep_at = 2 * table.sequences.len();
        }
        table.last_run = system_now().get().max(table.last_run + 1);
        let outgoing = Arc::new(Outgoing::new(channel.clone(), table.last_run));
        table.sequences.insert(channel.clone(), outgoing.clone());
        outgoing
    }

    /// Forgets idle sequences, and returns those that still have something to confirm.
    pub(crate) fn unconfirmed(&self) -> Vec<Arc<Outgoing>> {
        let mut table = self.0.lock();
        table.forget_idle();
        let waiting = table
            .sequences
            .values()
            .filter(|outgoing| outgoing.wants_beacon());
        waiting.cloned().collect()
    }
}

impl Table {
    fn forget_idle(&mut self) {
        // Counted under the table's lock, under which alone handles get theirs.
        self.sequences
            .retain(|_, outgoing| Arc::strong_count(outgoing) > 1 || outgoing.wants_beacon());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: usize) -> Channel {
        Channel {
            name: format!("c{number}").into(),
            sharded: false,
        }
    }

    #[tokio::test]
    async fn sequences_nobody_uses_are_forgotten() {
        let outgoings = Outgoings::default();
        let kept = outgoings.of(&channel(0));
        for number in 1..10 * FEW {
            outgoings.of(&channel(number));
        }
        assert!(outgoings.0.lock().sequences.len() <= 2 * FEW);
        assert!(Arc::ptr_eq(&kept, &outgoings.of(&channel(0))));
        outgoings.unconfirmed();
        assert_eq!(outgoings.0.lock().sequences.len(), 1);
    }

    #[tokio::test]
    async fn a_forgotten_sequence_begins_a_later_run() {
        let outgoings = Outgoings::default();
        let first = outgoings.of(&channel(0)).state.lock().run;
        outgoings.unconfirmed();
        assert!(outgoings.of(&channel(0)).state.lock().run > first);
    }
}
