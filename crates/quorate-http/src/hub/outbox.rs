//! What waits for one client: a bounded queue, and what happens when it is full, as pure functions.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::presence::Update;
use super::seam::{ReadLimit, RoomEvent, RoomEventKind};

/// What happens when a client is slower than the messages it subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest waiting message makes room. A gap stands where the dropped messages stood.
    #[default]
    DropOldest,
    /// Of each topic the newest message is kept longest: the oldest one that a newer of the same topic
    /// follows makes room, and only where there is none the oldest of all. Gaps as above.
    KeepLatest,
    /// The client is sent away (close code 1013), and starts over.
    Disconnect,
}

/// Bounds of what waits for one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// At least 1.
    pub(crate) messages: usize,
    /// At least 1. A single larger message still passes.
    pub(crate) bytes: usize,
    pub(crate) overflow: Overflow,
}

/// A queue that is larger than this gives its memory back once it is empty.
const KEPT_CAPACITY: usize = 16;

/// What waits for one client, in the order in which it is sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    /// Messages among the items: what the limits are about.
    messages: usize,
    /// Bytes of their frames.
    bytes: usize,
    /// Answers among the items.
    replies: usize,
    /// Bytes of the answers.
    reply_bytes: usize,
    /// Bytes of rosters and their changes: of each subscription one at most.
    roster_bytes: usize,
}

/// Something to send. Subscriptions are told apart by their serial number.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// An answer, or anything else of which nothing is ever dropped.
    Reply(Box<str>),
    /// An event of a subscription.
    Event {
        subscription: u32,
        event: Arc<RoomEvent>,
    },
    /// Messages of a subscription were dropped here.
    Dropped { subscription: u32, missed: u64 },
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Queued,
    /// It waits in the place of an older one of its topic.
    Replaced,
    /// It waits; so many others were dropped for it.
    Dropped(u64),
    /// There was no room, and the policy is to end the connection.
    Refused,
}

impl Outbox {
    /// Adds what is never dropped.
    pub(crate) fn reply(&mut self, frame: Box<str>) {
        self.replies += 1;
        self.reply_bytes += frame.len();
        self.items.push_back(Item::Reply(frame));
    }

    /// Adds an event of a subscription.
    pub(crate) fn push(
        &mut self,
        subscription: u32,
        event: Arc<RoomEvent>,
        latest_only: bool,
        limits: &Limits,
    ) -> Pushed {
        if event.kind == RoomEventKind::Gap {
            self.gap(subscription, event);
            return Pushed::Queued;
        }
        if latest_only && event.kind == RoomEventKind::Message {
            match self.replace(subscription, event) {
                None => return Pushed::Replaced,
                Some(event) => return self.add(subscription, event, limits),
            }
        }
        self.add(subscription, event, limits)
    }

    /// Adds what is told of a roster: its changes, or, if the client has not taken those before, the whole
    /// of it in their place. So it never has more than one waiting, and never a wrong roster.
    pub(crate) fn presence(&mut self, subscription: u32, update: &Update) {
        let waits = |item: &Item| {
            matches!(item, Item::Event { subscription: of, event }
                if *of == subscription && event.kind == RoomEventKind::Presence)
        };
        let event = match self.items.iter().position(waits) {
            Some(at) => {
                let taken = self.items.remove(at);
                self.roster_bytes -= taken.map_or(0, |item| item.roster_bytes());
                update.whole()
            }
            None => update.changes.clone(),
        };
        self.tell(subscription, event);
    }

    /// Adds what is never dropped of a subscription.
    pub(crate) fn tell(&mut self, subscription: u32, event: Arc<RoomEvent>) {
        let item = Item::Event {
            subscription,
            event,
        };
        self.roster_bytes += item.roster_bytes();
        self.items.push_back(item);
    }

    fn add(&mut self, subscription: u32, event: Arc<RoomEvent>, limits: &Limits) -> Pushed {
        let bytes = event.frame.len();
        let mut dropped = 0;
        while self.is_full(bytes, limits) {
            let victim = match limits.overflow {
                Overflow::Disconnect => return Pushed::Refused,
                Overflow::DropOldest => None,
                Overflow::KeepLatest => self.superseded(subscription, &event),
            };
            let Some(at) = victim.or_else(|| self.oldest()) else {
                // Only kept messages wait, and those are never dropped: they wait their turn.
                self.add_and_lose(subscription, event);
                return Pushed::Dropped(dropped + 1);
            };
            self.lose(at);
            dropped += 1;
        }
        self.messages += 1;
        self.bytes += bytes;
        self.items.push_back(Item::Event {
            subscription,
            event,
        });
        match dropped {
            0 => Pushed::Queued,
            dropped => Pushed::Dropped(dropped),
        }
    }

    /// Counts a message as missing at the end.
    fn add_and_lose(&mut self, subscription: u32, event: Arc<RoomEvent>) {
        self.messages += 1;
        self.bytes += event.frame.len();
        self.items.push_back(Item::Event {
            subscription,
            event,
        });
        self.lose(self.items.len() - 1);
    }

    /// Whether a kept message of so many bytes may be added. Such messages are not dropped: who finds no
    /// room reads them again later.
    pub(crate) fn has_room(&self, bytes: usize, limits: &Limits) -> bool {
        // Rosters are not dropped, and nothing is for them: only what can wait does.
        !self.is_full(self.roster_bytes.saturating_add(bytes), limits)
    }

    /// Whether as much as is read at once may be added. Nothing at all is room enough, however small the
    /// limits are.
    pub(crate) fn has_room_for(&self, page: ReadLimit, limits: &Limits) -> bool {
        let messages = usize::try_from(page.messages).unwrap_or(usize::MAX);
        let bytes = usize::try_from(page.bytes).unwrap_or(usize::MAX);
        let waiting = self.bytes + self.roster_bytes;
        self.items.is_empty()
            || (self.messages.saturating_add(messages) <= limits.messages
                && waiting.saturating_add(bytes) <= limits.bytes)
    }

    fn is_full(&self, more: usize, limits: &Limits) -> bool {
        self.messages >= limits.messages
            || (self.messages > 0 && self.bytes.saturating_add(more) > limits.bytes)
    }

    /// Gaps are never dropped. The same one twice without a message of the subscription between says no
    /// more than once.
    fn gap(&mut self, subscription: u32, gap: Arc<RoomEvent>) {
        let says_the_same = |at: &usize| matches!(&self.items[*at], Item::Event { event, .. } if event.frame == gap.frame);
        let run = self.gaps_around(self.items.len(), subscription);
        if !run.iter().any(says_the_same) {
            self.tell(subscription, gap);
        }
    }

    /// Puts a message in the place of the one of its topic that waits. `Some`: there is none.
    fn replace(&mut self, subscription: u32, newer: Arc<RoomEvent>) -> Option<Arc<RoomEvent>> {
        let older = self.items.iter_mut().rev().find_map(|item| match item {
            Item::Event {
                subscription: other,
                event,
            } if *other == subscription
                && event.kind == RoomEventKind::Message
                && event.topic == newer.topic =>
            {
                Some(event)
            }
            _ => None,
        });
        let Some(older) = older else {
            return Some(newer);
        };
        self.bytes = self.bytes - older.frame.len() + newer.frame.len();
        *older = newer;
        None
    }

    /// Where the oldest message stands that may be dropped.
    fn oldest(&self) -> Option<usize> {
        self.items.iter().position(Item::may_be_dropped)
    }

    /// The oldest message that is followed by a newer one of its topic, the arriving one included.
    fn superseded(&self, subscription: u32, arriving: &RoomEvent) -> Option<usize> {
        let mut seen = HashSet::new();
        seen.insert((subscription, arriving.topic.as_deref()));
        let mut oldest = None;
        for (at, item) in self.items.iter().enumerate().rev() {
            if let Item::Event {
                subscription,
                event,
            } = item
                && item.may_be_dropped()
                && !seen.insert((*subscription, event.topic.as_deref()))
            {
                oldest = Some(at);
            }
        }
        oldest
    }

    /// Drops the message at `at`, and counts it in a gap of its subscription in its place.
    fn lose(&mut self, at: usize) {
        let lost = self.items.remove(at);
        let Some(Item::Event {
            subscription,
            event,
        }) = lost
        else {
            return;
        };
        self.messages -= 1;
        self.bytes -= event.frame.len();
        let mut run = self.gaps_around(at, subscription);
        let counted = run
            .iter()
            .copied()
            .find(|at| self.items[*at].missed().is_some());
        let place = counted.unwrap_or_else(|| {
            let missed = 0;
            self.items.insert(
                at,
                Item::Dropped {
                    subscription,
                    missed,
                },
            );
            for moved in run.iter_mut().filter(|gap| **gap >= at) {
                *moved += 1;
            }
            at
        });
        self.merge(&run, place);
    }

    /// The gaps of a subscription between its message before `at` and its message after.
    fn gaps_around(&self, at: usize, subscription: u32) -> Vec<usize> {
        let own = |at: &usize| self.items[*at].is_of(subscription);
        let is_gap = |at: &usize| !self.items[*at].is_message();
        let mut run: Vec<_> = (0..at).rev().filter(own).take_while(is_gap).collect();
        run.reverse();
        run.extend((at..self.items.len()).filter(own).take_while(is_gap));
        run
    }

    /// Counts one more message at `place`, and makes one of what says the same in a run of gaps: the
    /// run stays as short as there are kinds of gaps, however long nobody takes anything out.
    fn merge(&mut self, run: &[usize], place: usize) {
        let (mut more, mut surplus) = (1, Vec::new());
        let mut kept: Vec<Arc<RoomEvent>> = Vec::new();
        for at in run.iter().copied().filter(|at| *at != place) {
            match &self.items[at] {
                Item::Dropped { missed, .. } => {
                    more += missed;
                    surplus.push(at);
                }
                Item::Event { event, .. } if kept.iter().any(|gap| gap.frame == event.frame) => {
                    surplus.push(at);
                }
                Item::Event { event, .. } => kept.push(event.clone()),
                Item::Reply(_) => {}
            }
        }
        if let Some(Item::Dropped { missed, .. }) = self.items.get_mut(place) {
            *missed += more;
        }
        for at in surplus.into_iter().rev() {
            self.items.remove(at);
        }
    }

    /// Takes out what is to be sent next.
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        match &item {
            Item::Reply(frame) => {
                self.replies -= 1;
                self.reply_bytes -= frame.len();
            }
            Item::Event { event, .. } if item.is_message() => {
                self.messages -= 1;
                self.bytes -= event.frame.len();
            }
            _ => self.roster_bytes -= item.roster_bytes(),
        }
        if self.items.is_empty() && self.items.capacity() > KEPT_CAPACITY {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// Drops everything of a subscription that is over.
    pub(crate) fn forget(&mut self, subscription: u32) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
        let roster_bytes = &mut self.roster_bytes;
        self.items.retain(|item| {
            if !item.is_of(subscription) {
                return true;
            }
            if let Item::Event { event, .. } = item
                && item.is_message()
            {
                *messages -= 1;
                *bytes -= event.frame.len();
            }
            *roster_bytes -= item.roster_bytes();
            false
        });
    }

    /// Messages of a subscription that wait.
    pub(crate) fn backlog(&self, subscription: u32) -> usize {
        let waits = |item: &&Item| item.is_of(subscription) && item.is_message();
        self.items.iter().filter(waits).count()
    }

    /// Messages that wait.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of all that waits.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes + self.reply_bytes + self.roster_bytes
    }

    /// Answers that wait, and their bytes.
    pub(crate) fn replies(&self) -> (usize, usize) {
        (self.replies, self.reply_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl Item {
    /// How many messages it says are missing.
    fn missed(&self) -> Option<u64> {
        match self {
            Self::Dropped { missed, .. } => Some(*missed),
            _ => None,
        }
    }

    /// Its bytes, if it is of a roster.
    fn roster_bytes(&self) -> usize {
        match self {
            Self::Event { event, .. } if event.kind == RoomEventKind::Presence => event.frame.len(),
            _ => 0,
        }
    }

    fn is_message(&self) -> bool {
        matches!(self, Self::Event { event, .. }
            if matches!(event.kind, RoomEventKind::Message | RoomEventKind::Undecodable))
    }

    /// What is kept is not dropped here: nothing would tell the client where to go on.
    fn may_be_dropped(&self) -> bool {
        self.is_message() && matches!(self, Self::Event { event, .. } if event.position.is_none())
    }

    fn is_of(&self, wanted: u32) -> bool {
        match self {
            Self::Reply(_) => false,
            Self::Event { subscription, .. } | Self::Dropped { subscription, .. } => {
                *subscription == wanted
            }
        }
    }
}

#[cfg(test)]
mod tests;
