//! Rooms: one subscription to the fleet for all clients of this instance that want the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use parking_lot::{Mutex, RwLock};
use quorate::Fleet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::seam::{CloseWith, RoomEvent, RoomEventKind, RoomOptions, RoomSource};
use crate::problem::{Code, Problem};

/// Members that are served before other tasks get their turn.
const SHARD: usize = 256;

/// Events taken from the fleet and given to every member at once: what comes in a burst is written in
/// one go.
const BATCH: usize = 64;

/// The rooms of an instance.
pub(crate) struct Rooms {
    fleet: Fleet,
    tasks: TaskTracker,
    deadline: Duration,
    open: Mutex<HashMap<Arc<str>, Arc<Room>>>,
}

/// One of them. It is open, or being opened, for as long as somebody is interested.
pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    pub(crate) options: RoomOptions,
    /// Members and those who wait to become one. Only changed under the lock of the table of rooms, so
    /// that a room in the table always has somebody.
    interested: AtomicUsize,
    /// The one attempt to subscribe that all who come meanwhile wait for.
    opening: Shared<BoxFuture<'static, Result<(), Problem>>>,
    /// Members, in portions. A member never moves from one to another, so that one who walks through
    /// them passes by each exactly once.
    shards: RwLock<Vec<Arc<Shard>>>,
    /// Cancelled when nobody is interested any more.
    left: CancellationToken,
    /// Its subscription has ended, as it does when the fleet is closed.
    ended: AtomicBool,
    messages: AtomicU64,
}

#[derive(Default)]
struct Shard {
    members: Mutex<Vec<Member>>,
}

struct Member {
    client: Arc<Client>,
    subscription: u32,
}

impl Rooms {
    pub(crate) fn new(fleet: Fleet, tasks: TaskTracker, deadline: Duration) -> Arc<Self> {
        Arc::new(Self {
            fleet,
            tasks,
            deadline,
            open: Mutex::default(),
        })
    }

    /// The room of a source, opened if it is not. It stays for as long as the interest lives.
    pub(crate) fn enter(self: &Arc<Self>, source: &Arc<dyn RoomSource>) -> Interest {
        let mut open = self.open.lock();
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
            let (room, source) = (room.clone(), source.clone());
            let (fleet, tasks, deadline) = (self.fleet.clone(), self.tasks.clone(), self.deadline);
            let (name, options) = (source.name().into(), source.options());
            let opening = async move {
                let events = timeout(deadline, source.open(&fleet)).await.map_err(|_| {
                    let name = source.name();
                    let text = format!("subscribing to `{name}` took more than {deadline:?}");
                    Problem::new(Code::DeadlineExceeded, text)
                })?;
                let events = events.map_err(|error| Problem::from(&error))?;
                if let Some(room) = room.upgrade() {
                    tasks.spawn(room.pump(events));
                }
                Ok(())
            };
            Room {
                name,
                options,
                interested: AtomicUsize::new(0),
                opening: opening.boxed().shared(),
                shards: RwLock::default(),
                left: CancellationToken::new(),
                ended: AtomicBool::new(false),
                messages: AtomicU64::new(0),
            }
        })
    }

    /// Takes a room out of the table, if it is this one that stands there.
    fn remove(open: &mut HashMap<Arc<str>, Arc<Room>>, room: &Arc<Room>) {
        if open
            .get(&room.name)
            .is_some_and(|found| Arc::ptr_eq(found, room))
        {
            open.remove(&room.name);
        }
    }

    /// Those that are open.
    pub(crate) fn all(&self) -> Vec<Arc<Room>> {
        self.open.lock().values().cloned().collect()
    }
}

impl Room {
    /// Hands events to the members for as long as there are some.
    async fn pump(self: Arc<Self>, mut events: BoxStream<'static, RoomEvent>) {
        let left = self.left.clone();
        let pump = async {
            let mut batch = Vec::new();
            while fill(&mut events, &mut batch).await {
                let messages = batch
                    .iter()
                    .filter(|event| event.kind == RoomEventKind::Message);
                let messages = messages.count().try_into().unwrap_or(u64::MAX);
                self.messages.fetch_add(messages, Ordering::Relaxed);
                self.hand_out(&batch).await;
                batch.clear();
            }
            // A subscription only ends with its fleet.
            self.end();
        };
        left.run_until_cancelled(pump).await;
    }

    async fn hand_out(&self, batch: &[Arc<RoomEvent>]) {
        let mut at = 0;
        while let Some(shard) = self.shard(at) {
            if at > 0 {
                tokio::task::yield_now().await;
            }
            for member in &*shard.members.lock() {
                member
                    .client
                    .deliver(member.subscription, self.options, batch);
            }
            at += 1;
        }
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

    /// A shard with room for one more, locked while `join` runs.
    fn join<T>(&self, join: impl FnOnce(&mut Vec<Member>) -> T) -> (T, Arc<Shard>) {
        // Nearly always it is the last one that has room.
        for shard in self.shards.read().iter().rev() {
            let mut members = shard.members.lock();
            if members.len() < SHARD {
                return (join(&mut members), shard.clone());
            }
        }
        let shard = Arc::new(Shard::default());
        let mut members = shard.members.lock();
        // Listed before anybody joins: who was told that it is subscribed must be found. Nobody can wait
        // for the lock held here while it holds the other.
        self.shards.write().push(shard.clone());
        let joined = join(&mut members);
        drop(members);
        (joined, shard)
    }

    /// Clients of this instance that are subscribed.
    pub(crate) fn members(&self) -> usize {
        let shards = self.shards.read();
        shards.iter().map(|shard| shard.members.lock().len()).sum()
    }

    /// Messages handed out since it was opened.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

/// Waits for an event, and takes whatever else is there already. `false`: there will be none.
async fn fill(
    events: &mut (impl Stream<Item = RoomEvent> + Unpin),
    batch: &mut Vec<Arc<RoomEvent>>,
) -> bool {
    let Some(first) = events.next().await else {
        return false;
    };
    batch.push(Arc::new(first));
    while batch.len() < BATCH {
        match events.next().now_or_never() {
            Some(Some(event)) => batch.push(Arc::new(event)),
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
            Rooms::remove(&mut self.rooms.open.lock(), &self.room);
        }
        opened
    }

    /// Makes a client a member, if `welcome` still wants it. No event of the room comes between.
    pub(crate) fn sit(
        self,
        client: &Arc<Client>,
        subscription: u32,
        welcome: impl FnOnce() -> bool,
    ) -> Option<Seat> {
        let (welcome, shard) = self.room.join(|members| {
            let welcome = welcome();
            if welcome {
                members.push(Member {
                    client: client.clone(),
                    subscription,
                });
            }
            welcome
        });
        welcome.then(|| Seat {
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
            Rooms::remove(&mut open, &self.room);
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
        let mut members = self.shard.members.lock();
        let own = |member: &Member| {
            (member.client.number, member.subscription) == (self.client, self.subscription)
        };
        let member = members
            .iter()
            .position(own)
            .map(|at| members.swap_remove(at));
        drop(members);
        // Perhaps the last to know the client: not under the lock.
        drop(member);
    }
}
