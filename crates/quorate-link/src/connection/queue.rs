//! The meeting point of callers and one lane's connection.
//!
//! Callers encode their command straight into the out-buffer under one short lock and leave a slot
//! for the reply; the connection's task takes both in one go. The queue outlives connections: while
//! there is none, its door is shut and callers wait, fail, or give up, as they are configured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::encode::encode;
use super::permit::Permit;
use super::slot::{Answer, BatchSlot, Reply, Slot};
use crate::config::{Limits, WhenUnavailable};
use crate::error::{LinkError, LinkErrorKind, Outcome};

/// One command in flight.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) sink: ReplySink,
    /// Encoded length, for the bound and for telling what was written when a connection breaks.
    pub(crate) bytes: usize,
    /// The caller's own deadline; the connection adds the command timeout.
    pub(crate) deadline: Option<Instant>,
}

impl Entry {
    /// Whether it is the connection's own, which the queue never counted.
    pub(crate) fn is_probe(&self) -> bool {
        matches!(self.sink, ReplySink::Probe)
    }
}

/// Who gets the reply.
#[derive(Debug)]
pub(crate) enum ReplySink {
    One(Arc<Slot<Answer>>),
    Batch {
        batch: Arc<BatchSlot>,
        last: bool,
    },
    /// A change of subscription, answered by a push that names it.
    Ack {
        slot: Arc<Slot<Answer>>,
        verb: &'static str,
        name: Bytes,
    },
    /// The connection's own question whether the server is alive.
    Probe,
    /// Timed out: its reply is still to come and belongs to nobody.
    Abandoned,
}

/// Whether commands are taken.
#[derive(Debug)]
enum Door {
    Open,
    /// No connection; the error says why, as far as known.
    Down(LinkError),
    /// For good.
    Closed(LinkError),
}

#[derive(Debug)]
struct State {
    door: Door,
    out: Vec<u8>,
    entries: Vec<Entry>,
    in_flight: usize,
    in_flight_bytes: usize,
    waiters: VecDeque<Waiter>,
    /// The connection's task, when it has found nothing to do.
    driver: Option<Waker>,
    /// The connection is asked to finish what it has and end.
    drain: bool,
}

#[derive(Debug)]
struct Waiter {
    commands: usize,
    bytes: usize,
    grant: oneshot::Sender<Permit>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    // One lock for all of it: each critical section is a few moves and one copy of the command's
    // bytes, and splitting it would make every command take two.
    state: Mutex<State>,
    max_commands: usize,
    max_bytes: usize,
    when_unavailable: WhenUnavailable,
    /// Somebody wants a connection: wakes a lane that is opened on first use.
    demand: Notify,
}

/// Figures for [`LaneStats`](crate::LaneStats).
pub(crate) struct QueueStats {
    pub(crate) connected: bool,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) waiting: usize,
}

/// What the connection takes from the queue.
#[derive(Debug, PartialEq)]
pub(crate) enum Collected {
    /// Bytes and entries were moved out.
    Some,
    /// Nothing there; the task is registered to be woken.
    None,
    /// Nothing there, and the connection is asked to end once its replies have come.
    Drain,
}

impl Queue {
    pub(crate) fn new(limits: &Limits, when_unavailable: WhenUnavailable) -> Self {
        let not_yet = LinkError::new(
            LinkErrorKind::Disconnected,
            Outcome::NotApplied,
            "not connected yet",
        );
        Self {
            state: Mutex::new(State {
                door: Door::Down(not_yet),
                out: Vec::new(),
                entries: Vec::new(),
                in_flight: 0,
                in_flight_bytes: 0,
                waiters: VecDeque::new(),
                driver: None,
                drain: false,
            }),
            max_commands: limits.max_in_flight,
            max_bytes: limits.max_in_flight_bytes,
            when_unavailable,
            demand: Notify::new(),
        }
    }

    // ── callers ──────────────────────────────────────────────────────────────────────────────

    /// Puts a command on the wire at once if there is a connection, room, and nobody waiting.
    pub(crate) fn submit(
        &self,
        parts: &[&[u8]],
        deadline: Option<Instant>,
        script: bool,
    ) -> Option<Reply> {
        // Allocated before the lock is taken: it is usually needed.
        let slot = Arc::new(Slot::new());
        let sink = ReplySink::One(Arc::clone(&slot));
        let mut state = self.state.lock();
        if !matches!(state.door, Door::Open) || !state.waiters.is_empty() {
            return None;
        }
        if state.in_flight >= self.max_commands || state.in_flight_bytes >= self.max_bytes {
            return None;
        }
        let start = state.out.len();
        encode(parts, &mut state.out);
        let bytes = state.out.len() - start;
        if bytes > self.max_bytes - state.in_flight_bytes {
            state.out.truncate(start);
            return None;
        }
        state.in_flight += 1;
        state.in_flight_bytes += bytes;
        state.entries.push(Entry {
            sink,
            bytes,
            deadline,
        });
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Some(Reply::new(slot, script))
    }

    /// Waits for a connection and for room, first come first served.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        commands: usize,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Permit, LinkError> {
        let granted = match self.take_place(commands, bytes)? {
            Place::Granted(permit) => return Ok(permit),
            Place::Waiting(granted) => granted,
        };
        match tokio::time::timeout_at(deadline, granted).await {
            Ok(Ok(permit)) => Ok(permit),
            // The queue dropped the sender: it was closed meanwhile.
            Ok(Err(_)) => Err(self.refusal()),
            Err(_) => {
                self.forget_the_gone();
                Err(self.refusal())
            }
        }
    }

    fn take_place(self: &Arc<Self>, commands: usize, bytes: usize) -> Result<Place, LinkError> {
        if bytes > self.max_bytes || commands > self.max_commands {
            return Err(LinkError::config(format!(
                "limits.max_in_flight_bytes and limits.max_in_flight: {commands} commands of \
                 {bytes} bytes can never be sent where {} of {} are allowed",
                self.max_commands, self.max_bytes
            )));
        }
        let mut state = self.state.lock();
        let open = match &state.door {
            Door::Open => true,
            Door::Down(_) => {
                self.demand.notify_one();
                false
            }
            Door::Closed(error) => return Err(error.clone()),
        };
        if open && state.waiters.is_empty() && self.fits(&state, commands, bytes) {
            state.in_flight += commands;
            state.in_flight_bytes += bytes;
            drop(state);
            return Ok(Place::Granted(Permit::new(self, commands, bytes)));
        }
        if self.when_unavailable == WhenUnavailable::FailNow {
            drop(state);
            return Err(self.refusal());
        }
        let (grant, granted) = oneshot::channel();
        state.waiters.push_back(Waiter {
            commands,
            bytes,
            grant,
        });
        Ok(Place::Waiting(granted))
    }

    /// Removes waiters that gave up. Only from the front, where the oldest are: scanning them all for
    /// each one that times out would be quadratic while a server is down.
    fn forget_the_gone(&self) {
        let mut state = self.state.lock();
        while state.waiters.front().is_some_and(|w| w.grant.is_closed()) {
            state.waiters.pop_front();
        }
    }

    /// Why a caller that could wait no longer got no place.
    fn refusal(&self) -> LinkError {
        match &self.state.lock().door {
            Door::Open => LinkError::new(
                LinkErrorKind::Overloaded,
                Outcome::NotApplied,
                "too many commands in flight, and no room before the deadline",
            ),
            Door::Down(error) | Door::Closed(error) => error.clone(),
        }
    }

    fn fits(&self, state: &State, commands: usize, bytes: usize) -> bool {
        // In this order the subtraction cannot wrap; a permit may have been exceeded a little.
        state.in_flight + commands <= self.max_commands
            && state.in_flight_bytes.saturating_add(bytes) <= self.max_bytes
    }

    /// Puts entries behind their bytes, if there is a connection.
    pub(super) fn append(
        &self,
        permit: Permit,
        write: impl FnOnce(&mut Vec<u8>, &mut Vec<Entry>),
    ) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        let refused = match &state.door {
            Door::Open => None,
            Door::Down(error) | Door::Closed(error) => Some(error.clone()),
        };
        if let Some(error) = refused {
            drop(state);
            drop(permit); // gives its room back, which takes the lock
            return Err(error);
        }
        let start = state.out.len();
        let State { out, entries, .. } = &mut *state;
        write(out, entries);
        let written = state.out.len() - start;
        // The permit's estimate becomes the truth, so that what is released is what was taken.
        let (_, reserved) = permit.defuse();
        state.in_flight_bytes = state.in_flight_bytes + written - reserved;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    // ── the connection and its lane ──────────────────────────────────────────────────────────

    /// Waits until somebody wants a connection.
    pub(crate) async fn demanded(&self) {
        self.demand.notified().await;
    }

    /// Asks for a connection.
    pub(crate) fn ask_for_connection(&self) {
        self.demand.notify_one();
    }

    /// There is a connection.
    pub(crate) fn open(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if matches!(state.door, Door::Closed(_)) {
            return;
        }
        state.door = Door::Open;
        state.drain = false;
        let grants = self.grant(&mut state);
        drop(state);
        hand_over(grants);
    }

    /// There is no connection, because of `reason`. Callers wait on.
    pub(crate) fn shut(&self, reason: LinkError) {
        let mut state = self.state.lock();
        if !matches!(state.door, Door::Closed(_)) {
            state.door = Door::Down(reason);
        }
    }

    /// There will be no connection any more.
    pub(crate) fn close(&self, reason: LinkError) {
        let mut state = self.state.lock();
        if matches!(state.door, Door::Closed(_)) {
            return;
        }
        state.door = Door::Closed(reason);
        // Their receivers see the sender gone and report the door's reason.
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        drop(waiters);
    }

    /// Asks the connection to finish what it has and end. Commands already queued are sent.
    pub(crate) fn drain(&self) {
        let mut state = self.state.lock();
        state.drain = true;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Why there is no connection, if there is none.
    pub(crate) fn down_reason(&self) -> Option<LinkError> {
        match &self.state.lock().door {
            Door::Open => None,
            Door::Down(error) | Door::Closed(error) => Some(error.clone()),
        }
    }

    /// How many bytes wait to be taken.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.state.lock().out.len()
    }

    /// Moves what waits behind `out` and `entries`.
    pub(crate) fn collect(
        &self,
        out: &mut Vec<u8>,
        entries: &mut VecDeque<Entry>,
        waker: &Waker,
    ) -> Collected {
        let mut state = self.state.lock();
        if state.entries.is_empty() {
            if state.drain {
                return Collected::Drain;
            }
            if state.driver.as_ref().is_none_or(|w| !w.will_wake(waker)) {
                state.driver = Some(waker.clone());
            }
            return Collected::None;
        }
        if out.is_empty() {
            std::mem::swap(&mut state.out, out);
        } else {
            out.append(&mut state.out);
        }
        entries.extend(state.entries.drain(..));
        Collected::Some
    }

    /// The connection is gone: gives back what it held, and everything it never took.
    pub(crate) fn abandon(&self, commands: usize, bytes: usize, reason: LinkError) -> Vec<Entry> {
        let mut state = self.state.lock();
        if !matches!(state.door, Door::Closed(_)) {
            state.door = Door::Down(reason);
        }
        state.driver = None;
        state.drain = false;
        state.out.clear();
        let entries = std::mem::take(&mut state.entries);
        state.in_flight -= commands + entries.len();
        state.in_flight_bytes -= bytes + entries.iter().map(|e| e.bytes).sum::<usize>();
        entries
    }

    /// Sets room aside for those who wait, in order, as far as there is any. To be handed over
    /// without the lock: waking runs foreign code, and a permit that finds its taker gone takes the
    /// lock itself.
    #[must_use]
    fn grant(self: &Arc<Self>, state: &mut State) -> Vec<Grant> {
        let mut grants = Vec::new();
        if !matches!(state.door, Door::Open) {
            return grants;
        }
        while let Some(next) = state.waiters.front() {
            let gone = next.grant.is_closed();
            if !gone && !self.fits(state, next.commands, next.bytes) {
                break;
            }
            let Some(Waiter {
                commands,
                bytes,
                grant,
            }) = state.waiters.pop_front()
            else {
                break;
            };
            if gone {
                continue;
            }
            state.in_flight += commands;
            state.in_flight_bytes += bytes;
            grants.push((grant, Permit::new(self, commands, bytes)));
        }
        grants
    }

    /// Gives room back, and on to those who wait for it.
    pub(crate) fn release(self: &Arc<Self>, commands: usize, bytes: usize) {
        let mut state = self.state.lock();
        state.in_flight -= commands;
        state.in_flight_bytes -= bytes;
        let grants = self.grant(&mut state);
        drop(state);
        hand_over(grants);
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let state = self.state.lock();
        QueueStats {
            connected: matches!(state.door, Door::Open),
            in_flight: state.in_flight,
            in_flight_bytes: state.in_flight_bytes,
            waiting: state
                .waiters
                .iter()
                .filter(|w| !w.grant.is_closed())
                .count(),
        }
    }
}

/// Room set aside, and whom it is for.
type Grant = (oneshot::Sender<Permit>, Permit);

fn hand_over(grants: Vec<Grant>) {
    for (taker, permit) in grants {
        // Whose taker has just gone comes back, and its drop passes the room on.
        drop(taker.send(permit));
    }
}

enum Place {
    Granted(Permit),
    Waiting(oneshot::Receiver<Permit>),
}
