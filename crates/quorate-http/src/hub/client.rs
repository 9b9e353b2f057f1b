//! One connected client: what it is subscribed to, what waits for it, and who it is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use quorate::presence::Membership;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::feed::Feed;
use super::handle::Shared;
use super::identity::{ClientInfo, Identity, wall_clock};
use super::join::{Joining, Phase, Welcome};
use super::outbox::{Item, Outbox, Pushed};
use super::presence::Update;
use super::seam::{
    ClientPort, CloseWith, RoomEvent, RoomEventKind, RoomOptions, RoomSource, SubscribeOptions,
    Subscribed,
};
use crate::frame::TopicEvent;
use crate::problem::{Code, Problem};
use crate::telemetry::Transport;

/// A connected client. Whoever serves it takes out what waits; everybody else puts in and never waits.
pub(crate) struct Client {
    /// Tells clients of this instance apart, more cheaply than the id.
    pub(crate) number: u64,
    pub(crate) id: Arc<str>,
    pub(crate) transport: Transport,
    address: Option<SocketAddr>,
    pub(super) connected: Instant,
    pub(super) hub: Arc<Shared>,
    pub(super) own: Weak<Self>,
    /// Its socket said that it can be read.
    heard: AtomicBool,
    // One short lock: nothing of the user's runs under it, and no other lock is taken but that of a roster.
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) outbox: Outbox,
    pub(super) subscriptions: Vec<Subscription>,
    /// Numbers subscriptions, so that events for one that is over find nothing.
    pub(super) last_subscription: u32,
    pub(super) identity: Option<Arc<Identity>>,
    /// When the identity runs out.
    expires: Option<Instant>,
    /// Of the task that waits for the end of the session that it is connected by.
    pub(super) following: Option<DropGuard>,
    /// Of who serves the client.
    pub(super) waker: Option<Waker>,
    /// Subscriptions that have begun to lag, for who serves the client.
    pub(super) lagging: Vec<u32>,
    /// Of those that catch up, and wait for room.
    pub(super) turns: Vec<Waker>,
    /// Whether it was woken since it last found nothing to send.
    woken: bool,
    pub(super) end: Option<CloseWith>,
    /// Whoever served it is gone: nothing is subscribed any more.
    pub(super) is_over: bool,
    /// Messages this client lost.
    pub(super) dropped: u64,
}

impl State {
    pub(super) fn feed(&mut self, subscription: u32) -> Option<&mut Feed> {
        let mut known = self.subscriptions.iter_mut();
        let found = known.find(|one| one.number == subscription)?;
        Some(&mut found.feed)
    }

    fn identify(&mut self, identity: Arc<Identity>) {
        let left = identity.remaining(wall_clock());
        self.expires = left.and_then(|left| Instant::now().checked_add(left));
        self.identity = Some(identity);
    }

    /// Ends it; `false`: it is ending already. Who may still finish is ended once more by what leaves no
    /// time for that. Who serves the client is woken also while it waits for the socket.
    pub(super) fn finish(&mut self, end: CloseWith) -> bool {
        let known = self.end;
        let first = known.is_none_or(|known| known.lets_finish() && !end.lets_finish());
        if first {
            self.end = Some(end);
            self.woken = false;
        }
        first
    }
}

pub(super) struct Subscription {
    pub(super) number: u32,
    pub(super) name: Arc<str>,
    /// Whether that is a pattern.
    pub(super) pattern: bool,
    pub(super) phase: Phase,
    pub(super) feed: Feed,
    /// Whether it sees, of a pattern, what declared events keep from those whom their hooks refuse.
    pub(super) unguarded: bool,
    /// Being on the roster of the topic. Ends, in the background, when it is dropped.
    pub(super) membership: Option<Box<Membership>>,
    /// The version of the roster that was told last, if the client wants to be told.
    pub(super) told: Option<u64>,
}

impl Subscription {
    /// Whether it is to the room of this name.
    pub(super) fn is_to(&self, name: &str, options: RoomOptions) -> bool {
        self.pattern == options.pattern && &*self.name == name
    }
}

/// What is next for who serves a client.
#[derive(Debug)]
pub(crate) enum Next {
    Send(Item),
    /// The connection is to be ended, and nothing is to be sent before that.
    End(CloseWith),
    /// Nothing now; the waker is called when there is something.
    Nothing,
}

impl Client {
    pub(crate) fn new(
        hub: Arc<Shared>,
        number: u64,
        transport: Transport,
        address: Option<SocketAddr>,
        identity: Option<Identity>,
    ) -> Arc<Self> {
        let mut state = State::default();
        if let Some(identity) = identity {
            state.identify(Arc::new(identity));
        }
        Arc::new_cyclic(|own| Self {
            number,
            id: new_id(),
            transport,
            address,
            connected: Instant::now(),
            hub,
            own: own.clone(),
            heard: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// Whom to wake when there is something to send or to do, or the connection is to end.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        let mut state = self.state.lock();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    /// Whether its socket said that it can be read, since this was asked the last time.
    pub(crate) fn was_heard(&self) -> bool {
        // Nearly always it did not: looking is cheaper than taking.
        self.heard.load(Ordering::Acquire) && self.heard.swap(false, Ordering::AcqRel)
    }

    /// What is to be sent next.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if let Some(end) = state.end
            && (!end.lets_finish() || state.outbox.is_empty())
        {
            state.woken = false;
            return Next::End(end);
        }
        let Some(item) = state.outbox.pop() else {
            // Whoever serves it may have looked for lagging subscriptions a moment too early.
            state.woken = !state.lagging.is_empty();
            let waker = state.waker.clone().filter(|_| state.woken);
            drop(state);
            waker.into_iter().for_each(Waker::wake);
            return Next::Nothing;
        };
        let turns = self.take_turns(&mut state);
        drop(state);
        turns.into_iter().for_each(Waker::wake);
        Next::Send(item)
    }

    /// Whom to wake because there is room to catch up.
    pub(super) fn take_turns(&self, state: &mut State) -> Vec<Waker> {
        if state.turns.is_empty() || !self.has_room_to_read(&state.outbox) {
            return Vec::new();
        }
        std::mem::take(&mut state.turns)
    }

    /// Whether it is to end, and why.
    pub(crate) fn ending(&self) -> Option<CloseWith> {
        self.state.lock().end
    }

    /// Whether so many answers wait that no more requests should be read.
    pub(crate) fn is_behind(&self) -> bool {
        let (replies, bytes) = self.state.lock().outbox.replies();
        let options = &self.hub.options;
        replies >= options.max_requests.max(1) || bytes > options.buffer_bytes
    }

    /// Events of a room for one subscription, the first of which has this number. Returns how many messages
    /// were dropped.
    pub(crate) fn deliver(
        &self,
        subscription: u32,
        options: RoomOptions,
        first: u64,
        events: &[Arc<RoomEvent>],
    ) -> u64 {
        let limits = &self.hub.options.limits();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let known = state
            .subscriptions
            .iter_mut()
            .find(|one| one.number == subscription);
        let Some(Subscription {
            feed, unguarded, ..
        }) = known
        else {
            return 0;
        };
        if state.end.is_some() || feed.lagging {
            return 0;
        }
        let mut lost = 0;
        for (number, event) in (first..).zip(events) {
            let is_new_gap = event.kind == RoomEventKind::Gap && number >= feed.next;
            if is_new_gap && feed.doubts(event.position) {
                // Whether it concerns this subscription, the history tells.
                feed.doubt = true;
                feed.lagging = true;
                state.lagging.push(subscription);
                break;
            }
            if feed.has_seen(number, event.position) {
                continue;
            }
            let is_own = event.except.as_deref() == Some(&*self.id);
            if !is_own && (*unguarded || !event.guarded) {
                let is_kept = event.kind != RoomEventKind::Gap && event.position.is_some();
                if is_kept && !state.outbox.has_room(event.frame.len(), limits) {
                    // Not dropped: it is read again when there is room.
                    feed.lagging = true;
                    state.lagging.push(subscription);
                    break;
                }
                let event = event.clone();
                match state
                    .outbox
                    .push(subscription, event, options.latest_only, limits)
                {
                    Pushed::Queued => {}
                    Pushed::Replaced => self.hub.meters.replaced.increment(1),
                    Pushed::Dropped(dropped) => lost += dropped,
                    Pushed::Refused => {
                        lost += 1;
                        state.finish(CloseWith::TooSlow);
                        break;
                    }
                }
            }
            if feed.cursor.is_some() {
                feed.advance(number, event.position);
            }
        }
        if lost > 0 {
            state.dropped += lost;
            self.hub.meters.dropped.increment(lost);
        }
        Self::wake(guard);
        lost
    }

    /// Who is on the roster of a subscription's topic, if the client wants to be told.
    pub(crate) fn tell(&self, subscription: u32, update: &Update) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut known = state.subscriptions.iter_mut();
        let known = known.find(|one| one.number == subscription);
        if let Some(told) = known.and_then(|known| known.told.as_mut())
            && *told < update.version
            && state.end.is_none()
        {
            *told = update.version;
            state.outbox.presence(subscription, update);
            Self::wake(guard);
        }
    }

    /// The connection is to be ended. The first reason counts, unless it lets the client finish; `false`:
    /// it is not this one.
    pub(crate) fn end(&self, end: CloseWith) -> bool {
        let mut state = self.state.lock();
        let first = state.finish(end);
        Self::wake(state);
        first
    }

    /// Queues an answer, or whatever else must not be dropped.
    pub(crate) fn reply(&self, frame: String) {
        let mut state = self.state.lock();
        state.outbox.reply(frame.into());
        Self::wake(state);
    }

    pub(super) fn wake(mut state: parking_lot::MutexGuard<'_, State>) {
        let idle = state.outbox.is_empty() && state.lagging.is_empty() && state.end.is_none();
        if state.woken || idle {
            return;
        }
        state.woken = true;
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn set_identity(&self, identity: Arc<Identity>) {
        self.state.lock().identify(identity);
    }

    /// When its identity runs out.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.state.lock().expires
    }

    /// Subscriptions, those being made included.
    pub(crate) fn subscriptions(&self) -> usize {
        self.state.lock().subscriptions.len()
    }

    /// The number of a subscription, as items have it.
    pub(crate) fn subscription(&self, source: &dyn RoomSource) -> Option<u32> {
        let state = self.state.lock();
        let mut known = state.subscriptions.iter();
        let found = known.find(|one| one.is_to(source.name(), source.options()));
        found.map(|one| one.number)
    }

    /// What frames of a subscription name. `None`: it is over.
    pub(crate) fn topic_of(&self, subscription: u32) -> Option<Arc<str>> {
        let state = self.state.lock();
        let mut known = state.subscriptions.iter();
        let found = known.find(|one| one.number == subscription);
        found.map(|one| one.name.clone())
    }
}

/// For its socket, to say that it can be read.
impl Wake for Client {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.heard.store(true, Ordering::Release);
        let waker = self.state.lock().waker.clone();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl ClientPort for Client {
    fn identity(&self) -> Option<Arc<Identity>> {
        self.state.lock().identity.clone()
    }

    fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    fn info(&self) -> ClientInfo {
        ClientInfo {
            client: self.id.clone(),
            identity: self.identity(),
            address: self.address,
        }
    }

    fn push_progress(&self, frame: String) {
        if !self.is_behind() {
            self.reply(frame);
        }
    }

    fn subscribe(
        &self,
        source: Arc<dyn RoomSource>,
        options: SubscribeOptions,
    ) -> BoxFuture<'static, Result<Subscribed, Problem>> {
        let client = self.own.upgrade();
        async move {
            let gone = || Problem::new(Code::Cancelled, "the client is gone");
            let client = client.ok_or_else(gone)?;
            // Whoever calls this has decided that it may.
            let joined = client.join(source, options, std::future::ready(Ok(())), Welcome::Event);
            joined.await.map_err(|joining| match joining {
                Joining::Refused(problem) => problem,
                Joining::Withdrawn => {
                    Problem::new(Code::Cancelled, "the client unsubscribed meanwhile")
                }
            })
        }
        .boxed()
    }

    fn unsubscribe(&self, source: &dyn RoomSource) -> bool {
        let left = self.leave(source);
        if left {
            let told = TopicEvent::new("unsubscribed", source.name()).because("server");
            self.reply(told.to_text());
        }
        left
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("transport", &self.transport)
            .field("subscriptions", &self.subscriptions())
            .finish_non_exhaustive()
    }
}

/// 80 random bits: enough that two clients of a fleet never meet.
fn new_id() -> Arc<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bits: u128 = rand::random();
    let mut id = String::from("c-");
    for _ in 0..16 {
        id.push(char::from(DIGITS[(bits & 31) as usize]));
        bits >>= 5;
    }
    id.into()
}
