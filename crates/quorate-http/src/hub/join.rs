//! How a client comes into a room, and leaves it.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use quorate::Position;
use quorate::presence::Membership;

use super::client::{Client, Subscription};
use super::feed::Feed;
use super::outbox::Outbox;
use super::presence::Attendance;
use super::recover::Start;
use super::room::Room;
use super::rooms::Seat;
use super::seam::{ClientPort, RoomSource, SubscribeOptions, Subscribed};
use crate::frame::{Answer, RequestId, TopicEvent};
use crate::problem::{Code, Problem};

/// How far a subscription is.
pub(super) enum Phase {
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
    fn frame(&self, subscribed: &Subscribed, recovered: Option<bool>) -> Option<String> {
        let Subscribed { topic, position } = subscribed;
        match self {
            Self::Answer(id) => {
                let answer = Answer {
                    position: *position,
                    recovered,
                    ..Answer::about(id.as_ref(), topic)
                };
                Some(answer.to_text())
            }
            Self::Event => Some(TopicEvent::new("subscribed", topic).at(*position).to_text()),
            Self::Silent => None,
        }
    }
}

/// What came of asking for a place.
enum Reserved {
    New(Pending, AbortRegistration),
    /// There is a subscription to this room already.
    Known(Arc<Room>),
}

/// When to ask again for what is being subscribed to already.
const AGAIN: Duration = Duration::from_millis(100);

fn no_presence(topic: &str) -> Problem {
    let text = format!("`{topic}` has no presence: members cannot be told");
    Problem::new(Code::FailedPrecondition, text)
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
                // An event that it had no room for may have said so before.
                if own.feed.lagging && !state.lagging.contains(&self.number) {
                    state.lagging.push(self.number);
                    Client::wake(state);
                }
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

impl Client {
    /// Subscribes to a room, and tells the client with `welcome` before the first event.
    ///
    /// # Cancel safety
    /// When the future is dropped, there is no subscription.
    pub(crate) async fn join(
        self: Arc<Self>,
        source: Arc<dyn RoomSource>,
        options: SubscribeOptions,
        allowed: impl Future<Output = Result<(), Problem>> + Send,
        welcome: Welcome,
    ) -> Result<Subscribed, Joining> {
        let (pending, registration) = match self.reserve(&*source, options.unguarded)? {
            Reserved::New(pending, registration) => (pending, registration),
            Reserved::Known(room) => {
                if options.asks_for_the_past() {
                    allowed.await?;
                }
                return self.join_again(&room, &options, &welcome).await;
            }
        };
        let enter = async {
            allowed.await?;
            let interest = self.hub.rooms.enter(&source);
            interest.opened().await?;
            let start = interest.room.start(&options).await?;
            let membership = self.attend(&interest.room, &options).await?;
            Ok::<_, Problem>((interest, start, membership))
        };
        let entered = Abortable::new(enter, registration).await;
        let (interest, start, membership) = entered.map_err(|_| Joining::Withdrawn)??;
        let room = interest.room.clone();
        let subscription = pending.number;
        let mut subscribed = None;
        let seat = interest.sit(&self, subscription, |next, position| {
            let resumed = options.after.is_some();
            subscribed = self.welcome(subscription, &start, resumed, (next, position), &welcome);
            if subscribed.is_some() {
                self.settle(subscription, membership, options.members, &room);
                if let Start::After {
                    page: Some(page), ..
                } = &start
                {
                    self.begin(subscription, &room, page);
                }
            }
            subscribed.is_some()
        });
        let seat = seat.ok_or(Joining::Withdrawn)?;
        pending.done(seat)?;
        subscribed.ok_or(Joining::Withdrawn)
    }

    /// Puts the client on the roster of a room that has one.
    async fn attend(
        &self,
        room: &Arc<Room>,
        options: &SubscribeOptions,
    ) -> Result<Option<Membership>, Problem> {
        let Some(attendance) = &room.attendance else {
            if !options.members {
                return Ok(None);
            }
            return Err(no_presence(&room.name));
        };
        let membership = attendance.join(&self.info()).await?;
        if options.members {
            room.watch(attendance).await?;
            // Encoded here once, and not when the room waits for it.
            attendance.now().event();
        }
        Ok(Some(membership))
    }

    /// Notes that the client is on the roster, and tells it who is if it wants to know.
    fn settle(
        &self,
        subscription: u32,
        membership: Option<Membership>,
        members: bool,
        room: &Room,
    ) {
        let now = room
            .attendance
            .as_ref()
            .filter(|_| members)
            .map(Attendance::now);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut known = state.subscriptions.iter_mut();
        let Some(known) = known.find(|one| one.number == subscription) else {
            return;
        };
        known.membership = membership.map(Box::new);
        known.told = now.as_ref().map(|now| now.version);
        if let Some(now) = now {
            state.outbox.tell(subscription, now.event());
            Self::wake(guard);
        }
    }

    /// Says again that the client is subscribed, tells it who is there if it wants to know that now, and
    /// goes back to where it asks to. Nothing is left out for that: two parts of a program may have a share
    /// in the subscription.
    async fn join_again(
        &self,
        room: &Arc<Room>,
        options: &SubscribeOptions,
        welcome: &Welcome,
    ) -> Result<Subscribed, Joining> {
        let attendance = if options.members {
            let attendance = room.attendance.as_ref();
            let attendance = attendance.ok_or_else(|| no_presence(&room.name))?;
            room.watch(attendance).await?;
            // Encoded here once, and not when others wait.
            attendance.now().event();
            Some(attendance)
        } else {
            None
        };
        let start = match welcome {
            Welcome::Answer(_) => room.start(options).await?,
            Welcome::Event | Welcome::Silent => Start::Now,
        };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut known = state.subscriptions.iter_mut();
        let known = known
            .find(|one| one.is_to(&room.name, room.options))
            .ok_or(Joining::Withdrawn)?;
        let number = known.number;
        if let Start::After { position, .. } = &start
            && known.feed.go_back(*position)
        {
            state.lagging.push(number);
        }
        let subscribed = Subscribed {
            topic: known.name.clone(),
            position: known.feed.cursor,
        };
        let lost = matches!(start, Start::Lost(_));
        let resumed = options.after.is_some();
        if let Some(frame) = welcome.frame(&subscribed, resumed.then_some(!lost)) {
            state.outbox.reply(frame.into());
        }
        if lost {
            // It goes on where it was all the same.
            let gap = room.gap(None, subscribed.position);
            let limits = self.hub.options.limits();
            state.outbox.push(number, gap, false, &limits);
        }
        // Who is told of the changes already knows. Looked at here: a change comes after it or is in it.
        if let Some(attendance) = attendance.filter(|_| known.told.is_none()) {
            let now = attendance.now();
            known.told = Some(now.version);
            state.outbox.tell(number, now.event());
        }
        Self::wake(guard);
        if let Start::After {
            page: Some(page), ..
        } = &start
        {
            self.begin(number, room, page);
        }
        Ok(subscribed)
    }

    /// Keeps a place for a subscription that is being made, unless there is one.
    fn reserve(
        self: &Arc<Self>,
        source: &dyn RoomSource,
        unguarded: bool,
    ) -> Result<Reserved, Problem> {
        let (name, options) = (source.name(), source.options());
        let limit = self.hub.options.max_subscriptions;
        let mut state = self.state.lock();
        if state.is_over {
            // Asked for by something that outlived the connection.
            return Err(Problem::new(Code::Cancelled, "the client has left"));
        }
        let mut known = state.subscriptions.iter();
        if let Some(known) = known.find(|one| one.is_to(name, options)) {
            let Phase::Active(seat) = &known.phase else {
                let text = format!("`{name}` is being subscribed to already");
                let problem = Problem::new(Code::Aborted, text);
                return Err(problem.with_retry_after(AGAIN));
            };
            return Ok(Reserved::Known(seat.room().clone()));
        }
        if state.subscriptions.len() >= limit {
            let text = format!("a client may have at most {limit} subscriptions");
            return Err(Problem::new(Code::ResourceExhausted, text));
        }
        let (abort, registration) = AbortHandle::new_pair();
        state.last_subscription += 1;
        let number = state.last_subscription;
        state.subscriptions.push(Subscription {
            number,
            name: name.into(),
            pattern: options.pattern,
            phase: Phase::Pending(abort),
            feed: Feed::default(),
            unguarded,
            membership: None,
            told: None,
        });
        let client = self.clone();
        Ok(Reserved::New(Pending { client, number }, registration))
    }

    /// Tells the client that it is subscribed, unless it changed its mind meanwhile. `room`: where the
    /// room is.
    fn welcome(
        &self,
        subscription: u32,
        start: &Start,
        resumed: bool,
        room: (u64, Option<Position>),
        welcome: &Welcome,
    ) -> Option<Subscribed> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut known = state.subscriptions.iter_mut();
        let pending = known.find(|one| one.number == subscription)?;
        pending.phase = Phase::Seating;
        let topic = pending.name.clone();
        let recovered = resumed.then_some(!matches!(start, Start::Lost(_)));
        let mut gap = None;
        pending.feed = Feed {
            next: room.0,
            cursor: room.1,
            ..Feed::default()
        };
        match start {
            Start::Now => {}
            Start::After { position, .. } => {
                // What the room has of it has numbers before the one that comes next.
                pending.feed.next = 0;
                pending.feed.cursor = Some(*position);
                pending.feed.lagging = true;
            }
            Start::Lost(event) => {
                pending.feed.next = 0;
                pending.feed.lagging = event.position.is_some();
                pending.feed.cursor = event.position;
                gap = Some(event.clone());
            }
        }
        let subscribed = Subscribed {
            topic,
            position: pending.feed.cursor,
        };
        if let Some(frame) = welcome.frame(&subscribed, recovered) {
            state.outbox.reply(frame.into());
        }
        if let Some(gap) = gap {
            let limits = self.hub.options.limits();
            state.outbox.push(subscription, gap, false, &limits);
        }
        Self::wake(guard);
        Some(subscribed)
    }

    /// Ends a subscription, or the making of it. `false`: there was none.
    pub(crate) fn leave(&self, source: &dyn RoomSource) -> bool {
        let (name, options) = (source.name(), source.options());
        let mut state = self.state.lock();
        let at = state
            .subscriptions
            .iter()
            .position(|one| one.is_to(name, options));
        let Some(at) = at else {
            return false;
        };
        let left = state.subscriptions.swap_remove(at);
        state.outbox.forget(left.number);
        let turns = self.take_turns(&mut state);
        drop(state);
        turns.into_iter().for_each(Waker::wake);
        if let Phase::Pending(abort) = &left.phase {
            abort.abort();
        }
        // The seat is given up here, without the lock.
        true
    }

    /// Ends everything: for who served it.
    pub(crate) fn leave_all(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        let left = std::mem::take(&mut state.subscriptions);
        state.outbox = Outbox::default();
        state.waker = None;
        state.lagging.clear();
        let turns = std::mem::take(&mut state.turns);
        let following = state.following.take();
        drop(state);
        drop((left, turns, following));
    }
}

#[cfg(test)]
mod tests;
