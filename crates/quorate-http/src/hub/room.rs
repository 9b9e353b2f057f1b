//! Rooms: one subscription to the fleet for all clients of this instance that want the same.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::{Stream, StreamExt};
use parking_lot::{Mutex, RwLock};
use quorate::{Fleet, Position};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::presence::{Attendance, Watch};
use super::reads::Reads;
use super::recover::Read;
use super::ring::{Ring, RingLimits};
use super::seam::{CloseWith, OpenRoom, RoomEvent, RoomEventKind, RoomOptions, RoomSource};
use super::stats::Meter;
use crate::problem::Problem;

/// Members that are served before other tasks get their turn.
const SHARD: usize = 256;

/// Events taken from the fleet and given to every member at once: what comes in a burst is written in
/// one go.
const BATCH: usize = 64;

/// One of them. It is open, or being opened, for as long as somebody is interested.
pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    pub(crate) options: RoomOptions,
    pub(super) source: Arc<dyn RoomSource>,
    pub(super) fleet: Fleet,
    /// Members and those who wait to become one. Only changed under the lock of the table of rooms, so
    /// that a room in the table always has somebody.
    pub(super) interested: AtomicUsize,
    /// The one attempt to subscribe that all who come meanwhile wait for.
    pub(super) opening: Shared<BoxFuture<'static, Result<(), Problem>>>,
    /// Of a kept topic: the latest events, for those who come back. Absent until it is open.
    pub(super) ring: Mutex<Option<Ring>>,
    /// Reads of its history.
    pub(super) reads: Arc<Reads<Read>>,
    pub(super) ring_limits: RingLimits,
    /// Who is there, where the event says so.
    pub(super) attendance: Option<Attendance>,
    tasks: TaskTracker,
    /// Members, in portions. A member never moves from one to another, so that one who walks through
    /// them passes by each exactly once.
    shards: RwLock<Vec<Arc<Shard>>>,
    /// Cancelled when nobody is interested any more.
    pub(super) left: tokio_util::sync::CancellationToken,
    /// Its subscription has ended, as it does when the fleet is closed.
    pub(super) ended: AtomicBool,
    pub(super) messages: AtomicU64,
    pub(super) rate: Mutex<Meter>,
    /// Messages that clients were too slow for.
    pub(super) dropped: AtomicU64,
}

#[derive(Default)]
pub(super) struct Shard {
    members: Mutex<Vec<Member>>,
}

struct Member {
    client: Arc<Client>,
    subscription: u32,
}

impl Room {
    pub(super) fn new(
        source: Arc<dyn RoomSource>,
        fleet: Fleet,
        ring_limits: RingLimits,
        tasks: TaskTracker,
        reads: Arc<Reads<Read>>,
        opening: BoxFuture<'static, Result<(), Problem>>,
    ) -> Self {
        let name: Arc<str> = source.name().into();
        let options = source.options();
        let attend = || Attendance::new(&fleet, name.clone());
        Self {
            attendance: options.presence.then(attend),
            name,
            options,
            source,
            fleet,
            tasks,
            interested: AtomicUsize::new(0),
            opening: opening.shared(),
            ring: Mutex::default(),
            reads,
            ring_limits,
            shards: RwLock::default(),
            left: tokio_util::sync::CancellationToken::new(),
            ended: AtomicBool::new(false),
            messages: AtomicU64::new(0),
            rate: Mutex::new(Meter::new(Instant::now())),
            dropped: AtomicU64::new(0),
        }
    }

    /// Hands events to the members for as long as there are some.
    pub(super) async fn pump(self: Arc<Self>, opened: OpenRoom) {
        let left = self.left.clone();
        let mut events = opened.events;
        let pump = async {
            let mut batch = Vec::new();
            let is_kept = self.ring.lock().is_some();
            while fill(&mut events, &mut batch, is_kept).await {
                self.count(&batch);
                let first = self.number(&batch);
                self.hand_out(first, &batch).await;
                batch.clear();
            }
            // A subscription only ends with its fleet.
            self.end();
        };
        left.run_until_cancelled(pump).await;
    }

    fn count(&self, batch: &[Arc<RoomEvent>]) {
        let is_message = |event: &&Arc<RoomEvent>| event.kind == RoomEventKind::Message;
        let messages = u32::try_from(batch.iter().filter(is_message).count()).unwrap_or(u32::MAX);
        self.messages.fetch_add(messages.into(), Ordering::Relaxed);
        self.rate.lock().add(messages, Instant::now());
    }

    /// Numbers events, and keeps those of a kept topic. Returns the first number.
    fn number(&self, batch: &[Arc<RoomEvent>]) -> u64 {
        let mut ring = self.ring.lock();
        match &mut *ring {
            Some(ring) => {
                let first = ring.end();
                for event in batch {
                    ring.push(event.clone());
                }
                first
            }
            // Nobody compares them.
            None => 0,
        }
    }

    async fn hand_out(&self, first: u64, batch: &[Arc<RoomEvent>]) {
        let mut at = 0;
        while let Some(shard) = self.shard(at) {
            if at > 0 {
                tokio::task::yield_now().await;
            }
            let mut dropped = 0;
            for member in &*shard.members.lock() {
                let Member {
                    client,
                    subscription,
                } = member;
                dropped += client.deliver(*subscription, self.options, first, batch);
            }
            if dropped > 0 {
                self.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
            at += 1;
        }
    }

    /// Watches who is there, from the first member on that wants to be told.
    pub(super) async fn watch(self: &Arc<Self>, attendance: &Attendance) -> Result<(), Problem> {
        let room = self.clone();
        let follow = |watch| drop(self.tasks.spawn(room.tell(watch)));
        attendance.watch(follow).await
    }

    /// Tells members who comes and goes.
    async fn tell(self: Arc<Self>, mut watch: Watch) {
        let left = self.left.clone();
        let tell = async {
            let Some(attendance) = &self.attendance else {
                return;
            };
            while let Some(update) = attendance.changed(&mut watch).await {
                let mut at = 0;
                while let Some(shard) = self.shard(at) {
                    if at > 0 {
                        tokio::task::yield_now().await;
                    }
                    for member in &*shard.members.lock() {
                        member.client.tell(member.subscription, &update);
                    }
                    at += 1;
                }
            }
        };
        left.run_until_cancelled(tell).await;
    }

    fn shard(&self, at: usize) -> Option<Arc<Shard>> {
        self.shards.read().get(at).cloned()
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let mut at = 0;
        while let Some(shard) = self.shard(at) {
            for member in &*shard.members.lock() {
                member.client.end(CloseWith::FleetClosed);
            }
            at += 1;
        }
    }

    /// Makes a client a member, if `welcome` still wants it. No event of the room comes between: it is
    /// told the number of the first event that the client will be handed, and the position before it.
    pub(super) fn join(
        &self,
        client: &Arc<Client>,
        subscription: u32,
        welcome: impl FnOnce(u64, Option<Position>) -> bool,
    ) -> Option<Arc<Shard>> {
        let sit = |members: &mut Vec<Member>| {
            let ring = self.ring.lock();
            let (next, position) = match &*ring {
                Some(ring) => (ring.end(), Some(ring.top())),
                None => (0, None),
            };
            let welcome = welcome(next, position);
            drop(ring);
            if welcome {
                members.push(Member {
                    client: client.clone(),
                    subscription,
                });
            }
            welcome
        };
        // Nearly always it is the last one that has room.
        for shard in self.shards.read().iter().rev() {
            let mut members = shard.members.lock();
            if members.len() < SHARD {
                return sit(&mut members).then(|| shard.clone());
            }
        }
        let shard = Arc::new(Shard::default());
        let mut members = shard.members.lock();
        // Listed before anybody joins: who was told that it is subscribed must be found. Nobody can wait
        // for the lock held here while it holds the other.
        self.shards.write().push(shard.clone());
        let joined = sit(&mut members);
        drop(members);
        joined.then_some(shard)
    }

    /// Clients of this instance that are subscribed.
    pub(crate) fn members(&self) -> usize {
        let shards = self.shards.read();
        shards.iter().map(|shard| shard.members.lock().len()).sum()
    }
}

impl Shard {
    pub(super) fn leave(&self, client: u64, subscription: u32) {
        let mut members = self.members.lock();
        let own =
            |member: &Member| (member.client.number, member.subscription) == (client, subscription);
        let at = members.iter().position(own);
        let member = at.map(|at| members.swap_remove(at));
        drop(members);
        // Perhaps the last to know the client: not under the lock.
        drop(member);
    }
}

/// Waits for an event, and takes whatever else is there already. `false`: there will be none.
async fn fill(
    events: &mut (impl Stream<Item = RoomEvent> + Unpin),
    batch: &mut Vec<Arc<RoomEvent>>,
    is_kept: bool,
) -> bool {
    let shared = |mut event: RoomEvent| {
        // A position means that more can be read from there. Here nobody can, whatever the publisher
        // keeps.
        event.position = event.position.filter(|_| is_kept);
        Arc::new(event)
    };
    let Some(first) = events.next().await else {
        return false;
    };
    batch.push(shared(first));
    while batch.len() < BATCH {
        match events.next().now_or_never() {
            Some(Some(event)) => batch.push(shared(event)),
            // The end, if it is one, is seen with the next call.
            Some(None) | None => break,
        }
    }
    true
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}
