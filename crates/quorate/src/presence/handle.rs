//! A roster as users hold it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::follower::Follower;
use super::keeper::{self, Told};
use super::member::{InstanceId, MAX_INFO, PresenceEvent, Roster};
use super::membership::Membership;
use super::port::PresencePort;
use super::roster::Standing;
use super::scan::{look, scan};
use super::seat::{Next, Seat, shared};
use super::watch::PresenceWatch;
use crate::context::{Context, Operation, Repeat, timed_out_waiting};
use crate::error::{Error, Outcome, Result};
use crate::events::Hub;
use crate::key::{Key, Namespace, check_name};
use crate::telemetry;

const fn operation(name: &'static str, verb: &'static str) -> Operation {
    // An instance asks for one thing at a time on one roster, and nobody else changes its members: whatever
    // is repeated is still what is wanted.
    Operation::new(name, "presence", verb, Repeat::Harmless)
}

pub(super) static JOIN: Operation = operation("presence.join", "join");
pub(super) static UPDATE: Operation = operation("presence.update", "update");
pub(super) static LEAVE: Operation = operation("presence.leave", "leave");
static MEMBERS: Operation = operation("presence.members", "members");
static COUNT: Operation = operation("presence.count", "count");
pub(super) static WATCH: Operation = operation("presence.watch", "watch");
pub(super) static RENEW: Operation = operation("presence.renew", "renew");
pub(super) static REAP: Operation = operation("presence.reap", "reap");
pub(super) static LOOK: Operation = operation("presence.look", "look");

/// What the rosters of an instance share.
#[derive(Debug)]
pub(crate) struct Presences {
    pub(super) context: Arc<Context>,
    pub(crate) port: Arc<dyn PresencePort>,
    pub(super) hub: Arc<Hub>,
    pub(super) own: InstanceId,
    pub(super) lease: Duration,
    /// Our places, by roster. One short lock: deciding what to do never waits.
    pub(super) seats: Mutex<HashMap<Key, Seat>>,
    /// Tells the keeper of a seat with something to do.
    tell: UnboundedSender<Told>,
    /// Taken by the keeper when it starts.
    told: Mutex<Option<UnboundedReceiver<Told>>>,
    keeper_runs: Once,
    /// The last number given to a guard.
    guards: AtomicU64,
}

impl Presences {
    pub(crate) fn new(
        context: Arc<Context>,
        port: Arc<dyn PresencePort>,
        hub: Arc<Hub>,
        lease: Duration,
    ) -> Arc<Self> {
        let (tell, told) = unbounded_channel();
        Arc::new(Self {
            context,
            port,
            hub,
            own: InstanceId::random(),
            lease,
            seats: Mutex::default(),
            tell,
            told: Mutex::new(Some(told)),
            keeper_runs: Once::new(),
            guards: AtomicU64::new(0),
        })
    }

    /// Changes a seat, which is taken if we have none there, and tells the keeper.
    pub(super) fn with_seat<R>(
        self: &Arc<Self>,
        key: &Key,
        change: impl FnOnce(&mut Seat, Instant) -> R,
    ) -> R {
        let now = Instant::now();
        let mut seats = self.seats.lock();
        let seat = seats
            .entry(key.clone())
            .or_insert_with(|| Seat::new(self.own, self.lease, now));
        let before = seat.members();
        let changed = change(seat, now);
        self.changed(&mut seats, key, before);
        changed
    }

    /// Changes a seat if we have one there, and tells the keeper.
    pub(super) fn with_existing<R>(
        self: &Arc<Self>,
        key: &Key,
        change: impl FnOnce(&mut Seat) -> R,
    ) -> Option<R> {
        let mut seats = self.seats.lock();
        let seat = seats.get_mut(key)?;
        let before = seat.members();
        let changed = change(seat);
        self.changed(&mut seats, key, before);
        Some(changed)
    }

    fn changed(self: &Arc<Self>, seats: &mut HashMap<Key, Seat>, key: &Key, before: usize) {
        self.start_keeper();
        let Some(seat) = seats.get_mut(key) else {
            return;
        };
        let members = seat.members();
        count_members(before, members);
        let known = std::mem::replace(&mut seat.told, true);
        if !known && self.tell.send((self.clone(), key.clone())).is_err() {
            // The fleet is closed: whoever waits is told by the end of his channel.
            seats.remove(key);
            count_members(members, 0);
        }
    }

    /// What the keeper is to do about a seat.
    pub(super) fn next(&self, key: &Key) -> Next {
        let mut seats = self.seats.lock();
        let Some(seat) = seats.get_mut(key) else {
            return Next::Nothing;
        };
        seat.told = false;
        match seat.next(Instant::now()) {
            Next::Empty => {
                seats.remove(key);
                Next::Empty
            }
            Next::At(at) if seat.appointed.is_some_and(|it| it <= at) => Next::Nothing,
            Next::At(at) => {
                seat.appointed = Some(at);
                Next::At(at)
            }
            next => next,
        }
    }

    /// Whether an appointment still stands; then it is over.
    pub(super) fn keeps(&self, key: &Key, at: Instant) -> bool {
        let mut seats = self.seats.lock();
        seats
            .get_mut(key)
            .is_some_and(|seat| seat.appointed.take_if(|it| *it == at).is_some())
    }

    /// Passes on what a read found out, if we have a seat there.
    pub(super) fn note(self: &Arc<Self>, key: &Key, standing: &Standing, asked: Instant) {
        self.with_existing(key, |seat| seat.note(standing, asked, Instant::now()));
    }

    fn start_keeper(self: &Arc<Self>) {
        self.keeper_runs.call_once(|| {
            if let Some(told) = self.told.lock().take() {
                let weak = Arc::downgrade(self);
                // Where there is no runtime nothing has been joined either, and nothing is waited for.
                self.context.spawn(keeper::keep(weak, told));
            }
        });
    }

    /// Changes what is wanted of a member, and waits until the home has it.
    pub(super) async fn settle(
        self: &Arc<Self>,
        operation: &'static Operation,
        key: &Key,
        id: &str,
        change: impl FnOnce(&mut Seat) + Send,
    ) -> Result<()> {
        let mut change = Some(change);
        let attempt = |attempt: crate::context::Attempt| {
            let settled = self.with_seat(key, |seat, now| {
                if let Some(change) = change.take() {
                    change(seat);
                }
                seat.settled(id, now)
            });
            async move {
                match tokio::time::timeout_at(attempt.deadline, settled).await {
                    Ok(Ok(settled)) => settled.map_err(|error| shared(&error)),
                    Ok(Err(_)) => Err(Error::closed("the fleet").with_outcome(Outcome::Unknown)),
                    Err(_) => Err(timed_out_waiting("the roster").with_outcome(Outcome::Unknown)),
                }
            }
        };
        self.context.run(operation, key.name(), None, attempt).await
    }
}

/// A roster of a given name: who is present there, over every instance.
///
/// # Clone
/// Clones are the same roster.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
/// use quorate::{Fleet, PresenceEvent};
///
/// let a = Fleet::embedded();
/// let b = a.instance("b").await?;
/// let mut watch = b.presence("room:42").watch().await?;
/// let ada = a.presence("room:42").join("ada", r#"{"away":false}"#).await?;
///
/// let Some(PresenceEvent::Resync(roster)) = watch.next().await else { panic!() };
/// assert_eq!(roster.count, 0);
/// let Some(PresenceEvent::Joined(member)) = watch.next().await else { panic!() };
/// assert_eq!(member.id, "ada");
///
/// assert_eq!(b.presence("room:42").count().await?, 1);
/// ada.leave().await?;
/// assert!(b.presence("room:42").members().await?.members.is_empty());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Presence {
    presences: Arc<Presences>,
    // Kept as an error until it is used: naming a roster is not a place to fail.
    key: std::result::Result<Key, Arc<Error>>,
}

impl Presence {
    pub(crate) fn new(presences: Arc<Presences>, namespace: &Namespace, name: &str) -> Self {
        Self {
            presences,
            key: Key::new(namespace, name).map_err(Arc::new),
        }
    }

    /// The roster's name; empty if it was given one that breaks the rule for names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or("", Key::name)
    }

    /// What this instance is called in [`Member::instance`](super::Member::instance).
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.presences.own
    }

    /// Puts a member on the roster, for as long as the guard lives, and returns when it is there.
    ///
    /// Ids are yours to choose, and yours to keep apart: joining again on this instance with an id that is
    /// there replaces the info, and the new guard takes over from the old one, also if this call fails.
    /// The same id on another instance is another member. `info` is any bytes, such as JSON, at most
    /// [`MAX_INFO`].
    ///
    /// Many joins at once travel together: up to 256 in one request.
    ///
    /// # Errors
    /// `InvalidInput` for a name, id or info that breaks its rule, and those of the backend. After an error
    /// the member is not there, or is taken off in the background.
    ///
    /// # Cancel safety
    /// When the future is dropped, the member leaves in the background if it has joined.
    pub async fn join(&self, id: &str, info: impl AsRef<[u8]> + Send) -> Result<Membership> {
        let key = self.key(&JOIN)?;
        let info = check_info(info.as_ref()).map_err(|error| error.with_operation(JOIN.name))?;
        check_name("id", id).map_err(|error| error.with_operation(JOIN.name))?;
        let guard = self.presences.guards.fetch_add(1, Ordering::Relaxed);
        // Made before it has joined: whatever ends this call takes the member off again.
        let membership = Membership::new(self.presences.clone(), key.clone(), id, guard);
        self.presences
            .settle(&JOIN, key, id, |seat| seat.want(id, info, guard))
            .await?;
        Ok(membership)
    }

    /// Takes a member that joined on this instance off the roster, whatever became of its guard. `false`:
    /// there was none.
    ///
    /// # Errors
    /// Those of the backend. The member is taken off in the background all the same.
    ///
    /// # Cancel safety
    /// When the future is dropped, the member leaves in the background.
    pub async fn leave(&self, id: &str) -> Result<bool> {
        let key = self.key(&LEAVE)?;
        leave(&self.presences, key, id, None).await
    }

    /// The whole roster as of one version.
    ///
    /// It is read in pages of some 256 members, over a connection of its own, so that nothing else waits
    /// behind them. Whoever neither joins nor leaves meanwhile is found in one of the pages; where the
    /// version shows that others did, the roster is read once more while their changes are listened to, and
    /// those are applied to what was read. So page boundaries do not show: what comes back is what the
    /// roster was at [`Roster::version`].
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn members(&self) -> Result<Roster> {
        let key = self.key(&MEMBERS)?;
        let mut follower = Follower::new();
        follower.begin_read();
        follower.scanned(scan(&self.presences, key, &MEMBERS).await?);
        if let Some(PresenceEvent::Resync(roster)) = follower.next_event() {
            return Ok(roster);
        }
        let mut watch = PresenceWatch::begin(&self.presences, key, &MEMBERS).await?;
        loop {
            match watch.next().await {
                Some(PresenceEvent::Resync(roster)) => return Ok(roster),
                Some(_) => {}
                None => {
                    let closed = Error::closed("the fleet").with_operation(MEMBERS.name);
                    return Err(closed.with_target(key.name()));
                }
            }
        }
    }

    /// How many members there are: one request, whose cost grows with the instances and not with the
    /// members.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn count(&self) -> Result<u64> {
        let key = self.key(&COUNT)?;
        let look = look(&self.presences, key, &COUNT).await?;
        let present = look.instances.iter().filter(|it| !it.remaining.is_zero());
        Ok(present.map(|it| it.members).sum())
    }

    /// Watches the roster: first of all it yields the whole of it, then every change.
    ///
    /// # Errors
    /// Those of the backend.
    ///
    /// # Cancel safety
    /// When the future is dropped, nothing is left behind.
    pub async fn watch(&self) -> Result<PresenceWatch> {
        let key = self.key(&WATCH)?;
        PresenceWatch::begin(&self.presences, key, &WATCH).await
    }

    fn key(&self, operation: &Operation) -> Result<&Key> {
        self.key.as_ref().map_err(|error| {
            Error::new(error.kind())
                .with_message(error.message().unwrap_or_default())
                .with_operation(operation.name)
        })
    }
}

/// Counts the members that this process has on rosters.
pub(super) fn count_members(before: usize, after: usize) {
    // Exact up to 2^53, beyond what a process holds.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let by = before.abs_diff(after) as f64;
    if after > before {
        metrics::gauge!(telemetry::PRESENCE_MEMBERS).increment(by);
    } else if after < before {
        metrics::gauge!(telemetry::PRESENCE_MEMBERS).decrement(by);
    }
}

/// Takes a member off; `guard` only as long as it stands for it.
pub(super) async fn leave(
    presences: &Arc<Presences>,
    key: &Key,
    id: &str,
    guard: Option<u64>,
) -> Result<bool> {
    presences
        .context
        .check_open()
        .map_err(|error| error.with_operation(LEAVE.name).with_target(key.name()))?;
    let left = presences.with_existing(key, |seat| seat.unwant(id, guard));
    if left == Some(true) {
        presences.settle(&LEAVE, key, id, |_| ()).await?;
    }
    Ok(left == Some(true))
}

pub(super) fn check_info(info: &[u8]) -> Result<Bytes> {
    if info.len() > MAX_INFO {
        return Err(Error::invalid(
            "info",
            format_args!("must be at most {MAX_INFO} bytes, and has {}", info.len()),
        ));
    }
    Ok(Bytes::copy_from_slice(info))
}
