//! The table of rooms: who opens them, and when they are left.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use quorate::{Fleet, Position};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::reads::{ReadRules, Reads};
use super::ring::{Ring, RingLimits};
use super::room::{Room, Shard};
use super::seam::{ReadLimit, RoomOptions, RoomSource};
use crate::problem::{Code, Problem};

/// The rooms of an instance.
pub(crate) struct Rooms {
    fleet: Fleet,
    tasks: TaskTracker,
    deadline: Duration,
    ring: RingLimits,
    /// How histories are read, by all rooms together.
    pub(super) reads: ReadRules,
    open: Mutex<Open>,
}

/// Those that somebody is interested in, by name.
#[derive(Default)]
struct Open {
    topics: HashMap<Arc<str>, Arc<Room>>,
    patterns: HashMap<Arc<str>, Arc<Room>>,
}

impl Open {
    /// Where a room of this kind has its place.
    fn of(&mut self, options: RoomOptions) -> &mut HashMap<Arc<str>, Arc<Room>> {
        if options.pattern {
            &mut self.patterns
        } else {
            &mut self.topics
        }
    }

    /// Takes a room out, if it is this one that stands there.
    fn remove(&mut self, room: &Arc<Room>) {
        let open = self.of(room.options);
        let found = open.get(&room.name);
        if found.is_some_and(|found| Arc::ptr_eq(found, room)) {
            open.remove(&room.name);
        }
    }
}

impl Rooms {
    pub(crate) fn new(
        fleet: Fleet,
        tasks: TaskTracker,
        deadline: Duration,
        ring: RingLimits,
        page: ReadLimit,
    ) -> Arc<Self> {
        Arc::new(Self {
            reads: ReadRules::new(tasks.clone(), deadline, page),
            fleet,
            tasks,
            deadline,
            ring,
            open: Mutex::default(),
        })
    }

    /// The room of a source, opened if it is not. It stays for as long as the interest lives.
    pub(crate) fn enter(self: &Arc<Self>, source: &Arc<dyn RoomSource>) -> Interest {
        let mut open = self.open.lock();
        let open = open.of(source.options());
        let room = if let Some(room) = open.get(source.name()) {
            room.clone()
        } else {
            let room = self.make(source);
            open.insert(room.name.clone(), room.clone());
            room
        };
        room.interested.fetch_add(1, Ordering::Relaxed);
        Interest {
            rooms: self.clone(),
            room,
        }
    }

    fn make(&self, source: &Arc<dyn RoomSource>) -> Arc<Room> {
        Arc::new_cyclic(|room: &Weak<Room>| {
            let (room, subscribed) = (room.clone(), source.clone());
            let (fleet, tasks, deadline) = (self.fleet.clone(), self.tasks.clone(), self.deadline);
            let opening = async move {
                let opened = timeout(deadline, subscribed.open(&fleet))
                    .await
                    .map_err(|_| {
                        let name = subscribed.name();
                        let text = format!("subscribing to `{name}` took more than {deadline:?}");
                        Problem::new(Code::DeadlineExceeded, text)
                    })?;
                let opened = opened.map_err(|error| Problem::from(&error))?;
                if let Some(room) = room.upgrade() {
                    let ring = |position| Ring::new(position, room.ring_limits);
                    *room.ring.lock() = opened.position.map(ring);
                    tasks.spawn(room.pump(opened));
                }
                Ok(())
            };
            Room::new(
                source.clone(),
                self.fleet.clone(),
                self.ring,
                self.tasks.clone(),
                Reads::new(self.reads.clone()),
                opening.boxed(),
            )
        })
    }

    /// Those that are open.
    pub(crate) fn all(&self) -> Vec<Arc<Room>> {
        let open = self.open.lock();
        let rooms = open.topics.values().chain(open.patterns.values());
        rooms.cloned().collect()
    }
}

/// Keeps a room open.
pub(crate) struct Interest {
    rooms: Arc<Rooms>,
    pub(crate) room: Arc<Room>,
}

impl Interest {
    /// Waits until the room is subscribed: whatever is published after that reaches its members.
    ///
    /// # Errors
    /// Why it cannot be. Whoever comes later tries anew.
    ///
    /// # Cancel safety
    /// When the future is dropped, others who wait go on with the same attempt.
    pub(crate) async fn opened(&self) -> Result<(), Problem> {
        let mut opened = self.room.opening.clone().await;
        if self.room.ended.load(Ordering::Relaxed) {
            let text = "the fleet of this server was closed";
            opened = Err(Problem::new(Code::Unavailable, text));
        }
        if opened.is_err() {
            self.rooms.open.lock().remove(&self.room);
        }
        opened
    }

    /// Makes a client a member, if `welcome` still wants it; see [`Room::join`].
    pub(crate) fn sit(
        self,
        client: &Arc<Client>,
        subscription: u32,
        welcome: impl FnOnce(u64, Option<Position>) -> bool,
    ) -> Option<Seat> {
        let shard = self.room.join(client, subscription, welcome)?;
        Some(Seat {
            interest: self,
            shard,
            client: client.number,
            subscription,
        })
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut open = self.rooms.open.lock();
        if self.room.interested.fetch_sub(1, Ordering::Relaxed) == 1 {
            open.remove(&self.room);
            self.room.left.cancel();
        }
    }
}

/// A client's membership of a room. Must not be dropped while the client is locked: members are told of
/// events under the lock of the shard.
pub(crate) struct Seat {
    interest: Interest,
    shard: Arc<Shard>,
    client: u64,
    subscription: u32,
}

impl Seat {
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.interest.room
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shard.leave(self.client, self.subscription);
    }
}
