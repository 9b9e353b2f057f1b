//! Catching up: what a client has not seen of a kept topic, from the room's latest events or from the
//! history, until it is where the room is.

use std::sync::Arc;
use std::task::Poll;

use quorate::Position;

use super::client::{Client, Subscription};
use super::join::Phase;
use super::outbox::Outbox;
use super::reads::{Question, pause};
use super::ring::Ring;
use super::room::Room;
use super::seam::{
    HistoryFrom, HistoryPage, ReadLimit, RoomEvent, RoomEventKind, SubscribeOptions,
};
use crate::frame::gap_line;
use crate::problem::{Code, Problem};

/// The most messages that one read may ask for.
pub(crate) const MAX_READ: u32 = 1000;

/// Where a new subscription begins.
#[derive(Debug)]
pub(crate) enum Start {
    /// With what comes from now on.
    Now,
    /// After this position. What was read of it already is in `page`.
    After {
        position: Position,
        page: Option<Arc<Page>>,
    },
    /// What was asked for is not there any more: with this gap.
    Lost(Arc<RoomEvent>),
}

/// What was read of a history, for all who asked for the same.
#[derive(Debug)]
pub(crate) struct Page {
    /// After which position it begins.
    pub(crate) after: Position,
    pub(crate) events: Vec<Arc<RoomEvent>>,
    /// After which position it goes on.
    pub(crate) end: Position,
}

/// What a read came to.
#[derive(Clone, Debug)]
pub(super) enum Read {
    /// The room itself knows what follows.
    Known,
    Page(Arc<Page>),
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
///
/// What was read and finds no room is read again, rather than that it waits beside the queue: so what
/// waits for a client is what its queue has.
pub(crate) async fn catch_up(client: Arc<Client>, subscription: u32, room: Arc<Room>) {
    let mut page = None;
    let (mut next, mut asked, mut vain) = (0, None, 0);
    while client.has_turn(subscription, next).await {
        next = 0;
        match client.refill(subscription, &room, page.take().as_deref()) {
            Refill::Live => return,
            Refill::More(bytes) => (next, asked) = (bytes, None),
            Refill::Unknown(position, proven) => {
                // The history may be behind the room for a while: after a failover, for instance.
                vain = if asked == Some(position) { vain + 1 } else { 0 };
                asked = Some(position);
                if vain > 0 {
                    tokio::time::sleep(pause(vain)).await;
                }
                // What was queued meanwhile may have taken the room of what is to be read.
                if !client.has_turn(subscription, 0).await {
                    return;
                }
                match room.read_after(position, proven).await {
                    Ok(Read::Known) => {}
                    Ok(Read::Page(read)) => page = Some(read),
                    Ok(Read::Lost(gap)) => client.lost(subscription, gap),
                    Err(problem) => {
                        // There is nothing to send that would not hide a loss: so it does not give up.
                        let (room, problem) = (&room.name, problem.detail());
                        tracing::warn!(%room, problem, "cannot read what a client missed; trying again");
                    }
                }
            }
        }
    }
}

impl Client {
    /// Whether there is room for as much as is read of a history at once.
    pub(super) fn has_room_to_read(&self, outbox: &Outbox) -> bool {
        let options = &self.hub.options;
        outbox.has_room_for(options.page(), &options.catching_up())
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

    /// Waits until there is room for what a lagging subscription missed, and for so many bytes at once.
    /// `false`: it does not lag any more, or is over.
    pub(crate) async fn has_turn(&self, subscription: u32, bytes: usize) -> bool {
        let limits = self.hub.options.catching_up();
        std::future::poll_fn(|cx| {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let lags = |one: &Subscription| one.number == subscription && one.feed.lagging;
            // A client that is being sent away is caught up where it comes back.
            let lags = state.end.is_none() && state.subscriptions.iter().any(lags);
            let outbox = &state.outbox;
            let has_room = || self.has_room_to_read(outbox) && outbox.has_room(bytes, &limits);
            if !lags || has_room() {
                return Poll::Ready(lags);
            }
            if !state.turns.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.turns.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Queues what a lagging subscription missed, as far as there is room: what was read for it, and what
    /// the room has.
    pub(crate) fn refill(&self, subscription: u32, room: &Room, page: Option<&Page>) -> Refill {
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
        let outbox = &mut state.outbox;
        let mut queue = |event: &Arc<RoomEvent>| self.queue(outbox, subscription, room, event);
        let refill = feed.refill(ring, page, &mut queue);
        if matches!(refill, Refill::Live) {
            feed.lagging = false;
        }
        Self::wake(guard);
        refill
    }

    /// Queues what was read for a subscription before it was made, as far as there is room. It catches up
    /// with the rest.
    pub(super) fn begin(&self, subscription: u32, room: &Room, page: &Page) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut known = state.subscriptions.iter_mut();
        let Some(known) = known.find(|one| one.number == subscription) else {
            return;
        };
        let outbox = &mut state.outbox;
        let mut queue = |event: &Arc<RoomEvent>| self.queue(outbox, subscription, room, event);
        known.feed.take(page, &mut queue);
        Self::wake(guard);
    }

    /// Queues an event, unless it is not for this client. `false`: there is no room for it.
    fn queue(
        &self,
        outbox: &mut Outbox,
        subscription: u32,
        room: &Room,
        event: &Arc<RoomEvent>,
    ) -> bool {
        if event.except.as_deref() == Some(&*self.id) {
            return true;
        }
        let options = &self.hub.options;
        let has_room = outbox.has_room(event.frame.len(), &options.catching_up());
        if has_room {
            let latest_only = room.options.latest_only;
            outbox.push(subscription, event.clone(), latest_only, &options.limits());
        }
        has_room
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
    pub(crate) async fn start(
        self: &Arc<Self>,
        options: &SubscribeOptions,
    ) -> Result<Start, Problem> {
        let is_kept = self.ring.lock().is_some();
        match (options.after, options.recent) {
            (Some(position), _) if is_kept => self.resume(position).await,
            (Some(_), _) => Ok(Start::Lost(self.gap(None, None))),
            (None, Some(messages)) if is_kept => self.recent(messages).await,
            _ => Ok(Start::Now),
        }
    }

    async fn resume(self: &Arc<Self>, position: Position) -> Result<Start, Problem> {
        let start = |page| Start::After { position, page };
        Ok(match self.read_after(position, false).await? {
            Read::Known => start(None),
            Read::Page(page) => start(Some(page)),
            Read::Lost(gap) => Start::Lost(gap),
        })
    }

    async fn recent(self: &Arc<Self>, messages: u32) -> Result<Start, Problem> {
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
        let limit = ReadLimit {
            messages,
            ..self.reads.rules.page
        };
        let asked = self.question(HistoryFrom::Latest, limit, true);
        let room = self.clone();
        let read = self.reads.ask(asked, move || room.read(asked));
        match read.await? {
            Read::Page(page) => Ok(Start::After {
                position: page.after,
                page: Some(page),
            }),
            Read::Known | Read::Lost(_) => Ok(Start::Now),
        }
    }

    /// What follows a position, from the room or from the history.
    async fn read_after(
        self: &Arc<Self>,
        position: Position,
        proven: bool,
    ) -> Result<Read, Problem> {
        if self.knows(position, proven) {
            return Ok(Read::Known);
        }
        let from = HistoryFrom::After(position);
        let asked = self.question(from, self.reads.rules.page, proven);
        let room = self.clone();
        let read = move || async move {
            // What others have read meanwhile often serves this one too.
            if room.knows(position, proven) {
                return Ok(Read::Known);
            }
            room.read(asked).await
        };
        self.reads.ask(asked, read).await
    }

    fn question(&self, from: HistoryFrom, limit: ReadLimit, proven: bool) -> Question {
        let resets = self.ring.lock().as_ref().map_or(0, Ring::resets);
        Question {
            from,
            limit,
            proven,
            resets,
        }
    }

    fn knows(&self, position: Position, proven: bool) -> bool {
        let ring = self.ring.lock();
        ring.as_ref()
            .is_some_and(|ring| ring.follows(position, proven).is_some())
    }

    async fn read(self: Arc<Self>, asked: Question) -> Result<Read, Problem> {
        let read = self.source.history(&self.fleet, asked.from, asked.limit);
        let page = read.await.map_err(|error| Problem::from(&error))?;
        let missed = page.lost.or_else(|| {
            let began_anew = has_begun_anew(asked.from, page.position);
            began_anew.then_some(None)
        });
        if let Some(missed) = missed {
            return Ok(Read::Lost(self.gap(missed, Some(page.position))));
        }
        let after = match asked.from {
            HistoryFrom::After(position) => position,
            HistoryFrom::Latest => before(&page),
        };
        let events: Vec<_> = page.events.into_iter().map(Arc::new).collect();
        let end = page.position;
        if let (HistoryFrom::After(_), Some(ring)) = (asked.from, &mut *self.ring.lock())
            && ring.resets() == asked.resets
        {
            ring.extend_back(after, end, &events);
        }
        Ok(Read::Page(Arc::new(Page { after, events, end })))
    }

    pub(super) fn gap(&self, missed: Option<u64>, position: Option<Position>) -> Arc<RoomEvent> {
        let frame = gap_line(&self.name, "history", missed, position);
        let mut gap = RoomEvent::new(RoomEventKind::Gap, frame);
        gap.position = position;
        Arc::new(gap)
    }
}

/// After which position a page begins. Which message stands there is not known, and not compared.
fn before(page: &HistoryPage) -> Position {
    let first = page.events.iter().find_map(|event| event.position);
    first.map_or(page.position, |first| match first.offset() {
        0 | 1 => beginning(first.epoch()),
        offset => Position::new(first.epoch(), offset - 1, 0),
    })
}

/// Before the first message of a history that is there. The mark tells it from a look at none: what is
/// in any later history came after that, but not all that came after this is in a later one.
pub(super) const fn beginning(epoch: u64) -> Position {
    Position::new(epoch, 0, 1)
}

/// Whether what was asked for is the beginning of a history that was lost since.
fn has_begun_anew(from: HistoryFrom, now: Position) -> bool {
    matches!(from, HistoryFrom::After(position)
        if position == beginning(position.epoch()) && position.epoch() != now.epoch())
}

/// Reads an option that is a position.
pub(crate) fn position(name: &str, text: &str) -> Result<Position, Problem> {
    text.parse().map_err(|_| {
        let text = format!("{name} must be a position that was handed out");
        Problem::new(Code::InvalidArgument, text)
    })
}

#[cfg(test)]
mod tests;
