//! One connected client: what it is subscribed to, what waits for it, and who it is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::Waker;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::handle::Shared;
use super::identity::{ClientInfo, Identity, wall_clock};
use super::outbox::{Item, Outbox, Pushed};
use super::room::Seat;
use super::seam::{
    ClientPort, CloseWith, RoomEvent, RoomOptions, RoomSource, SubscribeOptions, Subscribed,
};
use crate::frame::{Answer, RequestId, TopicEvent};
use crate::problem::{Code, Problem};
use crate::telemetry::Transport;

/// A connected client. Whoever serves it takes out what waits; everybody else puts in and never waits.
pub(crate) struct Client {
    /// Tells clients of this instance apart, more cheaply than the id.
    pub(crate) number: u64,
    pub(crate) id: Arc<str>,
    pub(crate) transport: Transport,
    address: Option<SocketAddr>,
    hub: Arc<Shared>,
    own: Weak<Self>,
    // One short lock: nothing of the user's runs under it, and no other lock is taken.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    subscriptions: Vec<Subscription>,
    /// Numbers subscriptions, so that events for one that is over find nothing.
    last_subscription: u32,
    identity: Option<Arc<Identity>>,
    /// When the identity runs out.
    expires: Option<Instant>,
    /// Of who serves the client.
    waker: Option<Waker>,
    /// Whether it was woken since it last found nothing to send.
    woken: bool,
    end: Option<CloseWith>,
    /// Messages this client lost.
    dropped: u64,
}

impl State {
    fn identify(&mut self, identity: Arc<Identity>) {
        let left = identity.remaining(wall_clock());
        self.expires = left.and_then(|left| Instant::now().checked_add(left));
        self.identity = Some(identity);
    }

    /// Ends it, once. Who serves the client is woken also while it waits for the socket.
    fn finish(&mut self, end: CloseWith) {
        if self.end.is_none() {
            self.end = Some(end);
            self.woken = false;
        }
    }
}

struct Subscription {
    number: u32,
    name: Arc<str>,
    phase: Phase,
}

enum Phase {
    /// Being made; how to stop it.
    Pending(AbortHandle),
    /// Made, and about to get its seat.
    Seating,
    Active(Seat),
}

/// What a client is told when its subscription is made.
#[derive(Debug)]
pub(crate) enum Welcome {
    /// An answer to its request.
    Answer(Option<RequestId>),
    /// That the server subscribed it.
    Event,
    /// Nothing: the response that begins says it.
    Silent,
}

/// What is next for who serves a client.
#[derive(Debug)]
pub(crate) enum Next {
    Send(Item),
    /// The connection is to be ended.
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
            hub,
            own: own.clone(),
            state: Mutex::new(state),
        })
    }

    /// Whom to wake when there is something to send, or the connection is to end.
    pub(crate) fn wake_with(&self, waker: &Waker) {
        let mut state = self.state.lock();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    /// What is to be sent next.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if let Some(end) = state.end {
            return Next::End(end);
        }
        match state.outbox.pop() {
            Some(item) => Next::Send(item),
            None => {
                state.woken = false;
                Next::Nothing
            }
        }
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

    /// Events of a room for one subscription.
    pub(crate) fn deliver(
        &self,
        subscription: u32,
        options: RoomOptions,
        events: &[Arc<RoomEvent>],
    ) {
        let limits = &self.hub.options.limits();
        let mut state = self.state.lock();
        let known = state
            .subscriptions
            .iter()
            .any(|one| one.number == subscription);
        if !known || state.end.is_some() {
            return;
        }
        let mut lost = 0;
        for event in events {
            if event.except.as_deref() == Some(&*self.id) {
                continue;
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
        if lost > 0 {
            state.dropped += lost;
            self.hub.meters.dropped.increment(lost);
        }
        Self::wake(state);
    }

    /// The connection is to be ended. The first reason counts.
    pub(crate) fn end(&self, end: CloseWith) {
        let mut state = self.state.lock();
        state.finish(end);
        Self::wake(state);
    }

    /// Queues an answer, or whatever else must not be dropped.
    pub(crate) fn reply(&self, frame: String) {
        let mut state = self.state.lock();
        state.outbox.reply(frame.into());
        Self::wake(state);
    }

    fn wake(mut state: parking_lot::MutexGuard<'_, State>) {
        if state.woken || (state.outbox.is_empty() && state.end.is_none()) {
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

    /// Subscribes to a room, and tells the client with `welcome` before the first event.
    ///
    /// # Cancel safety
    /// When the future is dropped, there is no subscription.
    pub(crate) async fn join(
        self: Arc<Self>,
        source: Arc<dyn RoomSource>,
        allowed: impl Future<Output = Result<(), Problem>> + Send,
        welcome: Welcome,
    ) -> Result<Subscribed, Joining> {
        let Some((pending, registration)) = self.reserve(source.name(), &welcome)? else {
            let topic = source.name().into();
            return Ok(Subscribed { topic });
        };
        let enter = async {
            allowed.await?;
            let interest = self.hub.rooms.enter(&source);
            interest.opened().await.map(|()| interest)
        };
        let entered = Abortable::new(enter, registration).await;
        let interest = entered.map_err(|_| Joining::Withdrawn)??;
        let subscription = pending.number;
        let seat = interest.sit(&self, subscription, || self.welcome(subscription, &welcome));
        let seat = seat.ok_or(Joining::Withdrawn)?;
        let topic = seat.room().name.clone();
        pending.done(seat)?;
        Ok(Subscribed { topic })
    }

    /// Keeps a place for a subscription that is being made. `None`: there is one already, and `welcome`
    /// was said again.
    fn reserve(
        self: &Arc<Self>,
        name: &str,
        welcome: &Welcome,
    ) -> Result<Option<(Pending, futures_util::future::AbortRegistration)>, Problem> {
        let limit = self.hub.options.max_subscriptions;
        let mut state = self.state.lock();
        if let Some(known) = state.subscriptions.iter().find(|one| &*one.name == name) {
            if matches!(known.phase, Phase::Active(_)) {
                if let Some(frame) = welcome.frame(name) {
                    state.outbox.reply(frame.into());
                    Self::wake(state);
                }
                return Ok(None);
            }
            return Err(Problem::new(
                Code::AlreadyExists,
                format!("`{name}` is being subscribed to already"),
            ));
        }
        if state.subscriptions.len() >= limit {
            return Err(Problem::new(
                Code::ResourceExhausted,
                format!("a client may have at most {limit} subscriptions"),
            ));
        }
        let (abort, registration) = AbortHandle::new_pair();
        state.last_subscription += 1;
        let number = state.last_subscription;
        state.subscriptions.push(Subscription {
            number,
            name: name.into(),
            phase: Phase::Pending(abort),
        });
        let client = self.clone();
        Ok(Some((Pending { client, number }, registration)))
    }

    /// Tells the client that it is subscribed, unless it changed its mind meanwhile.
    fn welcome(&self, subscription: u32, welcome: &Welcome) -> bool {
        let mut state = self.state.lock();
        let pending = state
            .subscriptions
            .iter_mut()
            .find(|one| one.number == subscription);
        let Some(pending) = pending else {
            return false;
        };
        pending.phase = Phase::Seating;
        let frame = welcome.frame(&pending.name);
        if let Some(frame) = frame {
            state.outbox.reply(frame.into());
        }
        Self::wake(state);
        true
    }

    /// Ends a subscription, or the making of it. `false`: there was none.
    pub(crate) fn leave(&self, name: &str) -> bool {
        let mut state = self.state.lock();
        let at = state
            .subscriptions
            .iter()
            .position(|one| &*one.name == name);
        let Some(at) = at else {
            return false;
        };
        let left = state.subscriptions.swap_remove(at);
        state.outbox.forget(left.number);
        drop(state);
        if let Phase::Pending(abort) = &left.phase {
            abort.abort();
        }
        // The seat is given up here, without the lock.
        true
    }

    /// Ends everything: for who served it.
    pub(crate) fn leave_all(&self) {
        let mut state = self.state.lock();
        let left = std::mem::take(&mut state.subscriptions);
        state.outbox = Outbox::default();
        state.waker = None;
        drop(state);
        drop(left);
    }

    /// Subscriptions, those being made included.
    pub(crate) fn subscriptions(&self) -> usize {
        self.state.lock().subscriptions.len()
    }

    /// What frames of a subscription name. `None`: it is over.
    pub(crate) fn topic_of(&self, subscription: u32) -> Option<Arc<str>> {
        let state = self.state.lock();
        let mut known = state.subscriptions.iter();
        let found = known.find(|one| one.number == subscription);
        found.map(|one| one.name.clone())
    }
}

/// Why a client was not subscribed.
#[derive(Debug)]
pub(crate) enum Joining {
    /// It unsubscribed before it was.
    Withdrawn,
    Refused(Problem),
}

impl From<Problem> for Joining {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Welcome {
    fn frame(&self, topic: &str) -> Option<String> {
        match self {
            Self::Answer(id) => Some(Answer::about(id.as_ref(), topic).to_text()),
            Self::Event => Some(TopicEvent::new("subscribed", topic).to_text()),
            Self::Silent => None,
        }
    }
}

/// A place that is kept for a subscription, and given back if nothing comes of it.
struct Pending {
    client: Arc<Client>,
    number: u32,
}

impl Pending {
    /// The subscription is made.
    fn done(self, seat: Seat) -> Result<(), Joining> {
        let mut state = self.client.state.lock();
        let own = state
            .subscriptions
            .iter_mut()
            .find(|one| one.number == self.number);
        match own {
            Some(own) => {
                own.phase = Phase::Active(seat);
                Ok(())
            }
            None => {
                // Given up without the lock.
                drop(state);
                drop(seat);
                Err(Joining::Withdrawn)
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut state = self.client.state.lock();
        let number = self.number;
        state
            .subscriptions
            .retain(|one| one.number != number || matches!(one.phase, Phase::Active(_)));
    }
}

impl ClientPort for Client {
    fn id(&self) -> &str {
        &self.id
    }

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

    fn push(&self, frame: String) {
        self.reply(frame);
    }

    fn push_progress(&self, frame: String) {
        if !self.is_behind() {
            self.reply(frame);
        }
    }

    fn subscribe(
        &self,
        source: Arc<dyn RoomSource>,
        _options: SubscribeOptions,
    ) -> BoxFuture<'static, Result<Subscribed, Problem>> {
        let client = self.own.upgrade();
        async move {
            let gone = || Problem::new(Code::Cancelled, "the client is gone");
            let client = client.ok_or_else(gone)?;
            // Whoever calls this has decided that it may.
            let joined = client.join(source, std::future::ready(Ok(())), Welcome::Event);
            joined.await.map_err(|joining| match joining {
                Joining::Refused(problem) => problem,
                Joining::Withdrawn => {
                    Problem::new(Code::Cancelled, "the client unsubscribed meanwhile")
                }
            })
        }
        .boxed()
    }

    fn unsubscribe(&self, topic: &str) -> bool {
        let left = self.leave(topic);
        if left {
            let told = TopicEvent::new("unsubscribed", topic).because("server");
            self.reply(told.to_text());
        }
        left
    }

    fn close(&self, end: CloseWith) {
        self.end(end);
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
