//! Catching up: what a client has not seen of a kept topic, from the room's latest events or from the
//! history, until it is where the room is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use quorate::Position;
use rand::RngExt;

use super::client::{Client, Subscription};
use super::join::Phase;
use super::outbox::Limits;
use super::room::Room;
use super::seam::{HistoryFrom, RoomEvent, RoomEventKind, SubscribeOptions};
use crate::frame::gap_line;
use crate::problem::{Code, Problem};

/// Messages of one read.
const PAGE: u32 = 256;

/// The most messages that one read may ask for.
pub(crate) const MAX_READ: u32 = 1000;

/// Where a new subscription begins.
#[derive(Debug)]
pub(crate) enum Start {
    /// With what comes from now on.
    Now,
    /// After this position. What was read of it already waits in `page`.
    After {
        position: Position,
        page: Option<Page>,
    },
    /// What was asked for is not there any more: with this gap.
    Lost(Arc<RoomEvent>),
}

/// What was read of a history and is not queued yet.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: VecDeque<Arc<RoomEvent>>,
    /// After which position it goes on.
    pub(crate) end: Position,
}

/// What a read came to.
enum Read {
    /// The room itself knows what follows.
    Known,
    Page(Page),
    Lost(Arc<RoomEvent>),
}

/// What queueing for a client came to.
pub(crate) enum Refill {
    /// It is where the room is, and is handed events from there on.
    Live,
    /// There was no room for the next event, which takes so many bytes.
    More(usize),
    /// Only the history knows what follows this position; whether that is surely one of the history as it
    /// is now.
    Unknown(Position, bool),
}

/// Queues for a client what it has not seen, whenever there is room, until it is where the room is or is
/// not subscribed any more.
pub(crate) async fn catch_up(client: Arc<Client>, subscription: u32, room: Arc<Room>) {
    let (mut failures, mut bytes) = (0, 0);
    while client.has_turn(subscription, bytes).await {
        match client.refill(subscription, &room) {
            Refill::Live => return,
            Refill::More(next) => bytes = next,
            Refill::Unknown(position, proven) => match room.read_after(position, proven).await {
                Ok(read) => {
                    failures = 0;
                    match read {
                        Read::Known => {}
                        Read::Page(page) => client.add_page(subscription, page),
                        Read::Lost(gap) => client.lost(subscription, gap),
                    }
                }
                Err(problem) => {
                    // There is nothing to send that would not hide a loss: so it does not give up.
                    failures += 1;
                    let (room, problem) = (&room.name, problem.detail());
                    tracing::warn!(%room, problem, "cannot read what a client missed; trying again");
                    tokio::time::sleep(pause(failures)).await;
                }
            },
        }
    }
}

/// Longer each time, up to five seconds, and different for each client.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(100 << failures.min(6)).min(Duration::from_secs(5));
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

impl Client {
    /// How much may wait of what is read again: the rest is for what comes meanwhile.
    pub(super) fn half(&self) -> Limits {
        let limits = self.hub.options.limits();
        Limits {
            messages: limits.messages.div_ceil(2),
            bytes: limits.bytes.div_ceil(2),
            ..limits
        }
    }

    /// Subscriptions that have begun to lag, and their rooms.
    pub(crate) fn take_lagging(&self) -> Vec<(u32, Arc<Room>)> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut lagging = std::mem::take(&mut state.lagging);
        // One whose seat is not there yet is asked for again when it is.
        let room = |number: &u32| {
            let found = state
                .subscriptions
                .iter()
                .find(|one| one.number == *number)?;
            match &found.phase {
                Phase::Active(seat) => Some(seat.room().clone()),
                _ => None,
            }
        };
        lagging
            .drain(..)
            .filter_map(|number| Some((number, room(&number)?)))
            .collect()
    }

    /// Waits until there is room for so many bytes of what a lagging subscription missed. `false`: it does
    /// not lag any more, or is over.
    pub(crate) async fn has_turn(&self, subscription: u32, bytes: usize) -> bool {
        std::future::poll_fn(|cx| {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let lags = |one: &Subscription| one.number == subscription && one.feed.lagging;
            // A client that is being sent away is caught up where it comes back.
            let lags = state.end.is_none() && state.subscriptions.iter().any(lags);
            if !lags || state.outbox.has_room(bytes, &self.half()) {
                return Poll::Ready(lags);
            }
            if !state.turns.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.turns.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Queues what a lagging subscription missed, as far as there is room.
    pub(crate) fn refill(&self, subscription: u32, room: &Room) -> Refill {
        let limits = self.half();
        // Locked before the client: no event can come between what is queued here and what the client
        // is handed from then on.
        let ring = room.ring.lock();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let known = state
            .subscriptions
            .iter_mut()
            .find(|one| one.number == subscription);
        let Some(Subscription { feed, .. }) = known else {
            return Refill::Live;
        };
        let Some(ring) = &*ring else {
            // Not a kept topic: there is nothing to catch up with.
            feed.lagging = false;
            return Refill::Live;
        };
        let mut queue = |event: &Arc<RoomEvent>| {
            if event.except.as_deref() == Some(&*self.id) {
                return true;
            }
            let has_room = state.outbox.has_room(event.frame.len(), &limits);
            if has_room {
                let limits = self.hub.options.limits();
                let latest_only = room.options.latest_only;
                state
                    .outbox
                    .push(subscription, event.clone(), latest_only, &limits);
            }
            has_room
        };
        let refill = feed.refill(ring, &mut queue);
        if matches!(refill, Refill::Live) {
            feed.lagging = false;
        }
        Self::wake(guard);
        refill
    }

    /// Adds what was read for a lagging subscription.
    pub(crate) fn add_page(&self, subscription: u32, page: Page) {
        let mut state = self.state.lock();
        if let Some(feed) = state.feed(subscription) {
            feed.page = Some(Box::new(page));
            // The history itself says that it follows.
            feed.doubt = false;
        }
    }

    /// What a lagging subscription missed is not there any more.
    pub(crate) fn lost(&self, subscription: u32, gap: Arc<RoomEvent>) {
        let mut state = self.state.lock();
        let Some(feed) = state.feed(subscription) else {
            return;
        };
        feed.cursor = gap.position.or(feed.cursor);
        feed.doubt = false;
        let limits = self.hub.options.limits();
        state.outbox.push(subscription, gap, false, &limits);
        Self::wake(state);
    }
}

impl Room {
    /// Where a subscription with these options begins.
    pub(crate) async fn start(&self, options: &SubscribeOptions) -> Result<Start, Problem> {
        let is_kept = self.ring.lock().is_some();
        match (options.after, options.recent) {
            (Some(position), _) if is_kept => self.resume(position).await,
            (Some(_), _) => Ok(Start::Lost(self.gap(None, None))),
            (None, Some(messages)) if is_kept => self.recent(messages).await,
            _ => Ok(Start::Now),
        }
    }

    async fn resume(&self, position: Position) -> Result<Start, Problem> {
        let start = |page| Start::After { position, page };
        if self.knows(position, false) {
            return Ok(start(None));
        }
        Ok(match self.read_after(position, false).await? {
            Read::Known => start(None),
            Read::Page(page) => start(Some(page)),
            Read::Lost(gap) => Start::Lost(gap),
        })
    }

    async fn recent(&self, messages: u32) -> Result<Start, Problem> {
        let count = usize::try_from(messages).unwrap_or(usize::MAX);
        let known = self
            .ring
            .lock()
            .as_ref()
            .and_then(|ring| ring.before_last(count));
        if let Some(position) = known {
            let page = None;
            return Ok(Start::After { position, page });
        }
        let read = self
            .source
            .history(&self.fleet, HistoryFrom::Latest, messages);
        let page = read.await.map_err(|error| Problem::from(&error))?;
        let first = page.events.first().and_then(|event| event.position);
        // Before the first: which message stands there is not known, and not compared.
        let before = first.map(|first| Position::new(first.epoch(), first.offset() - 1, 0));
        Ok(Start::After {
            position: before.unwrap_or(page.position),
            page: Some(Page {
                events: page.events.into_iter().map(Arc::new).collect(),
                end: page.position,
            }),
        })
    }

    fn knows(&self, position: Position, proven: bool) -> bool {
        let ring = self.ring.lock();
        ring.as_ref()
            .is_some_and(|ring| ring.follows(position, proven).is_some())
    }

    /// Reads what follows a position, one client after the other: what the first has read often serves
    /// the next.
    async fn read_after(&self, position: Position, proven: bool) -> Result<Read, Problem> {
        let _turn = self.reading.lock().await;
        if self.knows(position, proven) {
            return Ok(Read::Known);
        }
        let read = self
            .source
            .history(&self.fleet, HistoryFrom::After(position), PAGE);
        let page = read.await.map_err(|error| Problem::from(&error))?;
        if let Some(missed) = page.lost {
            return Ok(Read::Lost(self.gap(missed, Some(page.position))));
        }
        let events: Vec<_> = page.events.into_iter().map(Arc::new).collect();
        if let Some(ring) = &mut *self.ring.lock()
            && ring.extend_back(position, page.position, &events)
        {
            return Ok(Read::Known);
        }
        Ok(Read::Page(Page {
            events: events.into(),
            end: page.position,
        }))
    }

    fn gap(&self, missed: Option<u64>, position: Option<Position>) -> Arc<RoomEvent> {
        let frame = gap_line(&self.name, "history", missed, position);
        let mut gap = RoomEvent::new(RoomEventKind::Gap, frame);
        gap.position = position;
        Arc::new(gap)
    }
}

/// Reads an option that is a position.
pub(crate) fn position(name: &str, text: &str) -> Result<Position, Problem> {
    text.parse().map_err(|_| {
        let text = format!("{name} must be a position that was handed out");
        Problem::new(Code::InvalidArgument, text)
    })
}
