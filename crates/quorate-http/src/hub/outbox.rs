//! What waits for one client: a bounded queue, and what happens when it is full, as pure functions.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::presence::Update;
use super::seam::{RoomEvent, RoomEventKind};

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
                self.items.remove(at);
                update.whole()
            }
            None => update.changes.clone(),
        };
        self.tell(subscription, event);
    }

    /// Adds what is never dropped of a subscription.
    pub(crate) fn tell(&mut self, subscription: u32, event: Arc<RoomEvent>) {
        self.items.push_back(Item::Event {
            subscription,
            event,
        });
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
        !self.is_full(bytes, limits)
    }

    fn is_full(&self, more: usize, limits: &Limits) -> bool {
        self.messages >= limits.messages
            || (self.messages > 0 && self.bytes.saturating_add(more) > limits.bytes)
    }

    /// Gaps are never dropped. The same one twice with nothing between says no more than once.
    fn gap(&mut self, subscription: u32, gap: Arc<RoomEvent>) {
        let last = self
            .items
            .iter()
            .rev()
            .find(|item| item.is_of(subscription));
        if let Some(Item::Event { event, .. }) = last
            && event.kind == RoomEventKind::Gap
            && event.frame == gap.frame
        {
            return;
        }
        self.items.push_back(Item::Event {
            subscription,
            event: gap,
        });
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
            _ => {}
        }
        if self.items.is_empty() && self.items.capacity() > KEPT_CAPACITY {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// Drops everything of a subscription that is over.
    pub(crate) fn forget(&mut self, subscription: u32) {
        let (messages, bytes) = (&mut self.messages, &mut self.bytes);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MANY: Limits = Limits {
        messages: 1000,
        bytes: 1_000_000,
        overflow: Overflow::DropOldest,
    };

    fn message(number: u64, bytes: usize) -> Arc<RoomEvent> {
        let frame = format!("{number}{}", " ".repeat(bytes));
        Arc::new(RoomEvent::new(RoomEventKind::Message, frame))
    }

    fn of_topic(number: u64, topic: &str) -> Arc<RoomEvent> {
        let mut event = RoomEvent::new(RoomEventKind::Message, number.to_string());
        event.topic = Some(topic.into());
        Arc::new(event)
    }

    fn gap() -> Arc<RoomEvent> {
        Arc::new(RoomEvent::new(RoomEventKind::Gap, "gap"))
    }

    #[derive(Debug, PartialEq)]
    enum Seen {
        Message(u32, u64),
        Gap(u32),
        Missed(u32, u64),
        Reply(String),
    }

    fn take(outbox: &mut Outbox) -> Option<Seen> {
        Some(match outbox.pop()? {
            Item::Reply(text) => Seen::Reply(text.into()),
            Item::Dropped {
                subscription,
                missed,
            } => Seen::Missed(subscription, missed),
            Item::Event {
                subscription,
                event,
            } => match event.kind {
                RoomEventKind::Gap => Seen::Gap(subscription),
                _ => Seen::Message(subscription, event.frame.trim().parse().unwrap()),
            },
        })
    }

    fn all(outbox: &mut Outbox) -> Vec<Seen> {
        std::iter::from_fn(|| take(outbox)).collect()
    }

    fn limits(messages: usize, overflow: Overflow) -> Limits {
        Limits {
            messages,
            overflow,
            ..MANY
        }
    }

    #[test]
    fn the_oldest_make_room_and_answers_never_do() {
        let limits = limits(2, Overflow::DropOldest);
        let mut outbox = Outbox::default();
        outbox.reply("a".into());
        for number in 1..=4 {
            outbox.push(7, message(number, 0), false, &limits);
        }
        outbox.reply("b".into());
        outbox.push(8, message(5, 0), false, &limits);
        assert_eq!(outbox.replies(), (2, 2));
        assert_eq!((outbox.backlog(7), outbox.backlog(8)), (1, 1));
        assert_eq!(
            all(&mut outbox),
            [
                Seen::Reply("a".to_owned()),
                Seen::Missed(7, 3),
                Seen::Message(7, 4),
                Seen::Reply("b".to_owned()),
                Seen::Message(8, 5),
            ]
        );
    }

    #[test]
    fn the_latest_of_each_topic_is_kept_longest() {
        let limits = limits(3, Overflow::KeepLatest);
        let mut outbox = Outbox::default();
        for (number, topic) in [(1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "b"), (6, "d")] {
            outbox.push(1, of_topic(number, topic), false, &limits);
        }
        // 2 made room for 4, 3 for 5; all topics differ when 6 comes, so the oldest goes.
        assert_eq!(
            all(&mut outbox),
            [
                Seen::Missed(1, 3),
                Seen::Message(1, 4),
                Seen::Message(1, 5),
                Seen::Message(1, 6),
            ]
        );
    }

    #[test]
    fn a_full_queue_refuses_if_that_is_the_policy() {
        let limits = limits(1, Overflow::Disconnect);
        let mut outbox = Outbox::default();
        assert_eq!(
            outbox.push(1, message(1, 0), false, &limits),
            Pushed::Queued
        );
        assert_eq!(
            outbox.push(1, message(2, 0), false, &limits),
            Pushed::Refused
        );
    }

    #[test]
    fn a_newer_state_takes_the_place_of_the_older_one() {
        let mut outbox = Outbox::default();
        outbox.push(1, of_topic(1, "a"), true, &MANY);
        outbox.push(2, of_topic(2, "a"), true, &MANY);
        outbox.push(1, of_topic(3, "b"), true, &MANY);
        assert_eq!(
            outbox.push(1, of_topic(4, "a"), true, &MANY),
            Pushed::Replaced
        );
        assert_eq!(
            all(&mut outbox),
            [
                Seen::Message(1, 4),
                Seen::Message(2, 2),
                Seen::Message(1, 3)
            ]
        );
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut outbox = Outbox::default();
        outbox.push(1, message(1, 0), false, &MANY);
        outbox.push(2, message(2, 0), false, &MANY);
        outbox.push(1, gap(), false, &MANY);
        outbox.forget(1);
        assert_eq!(outbox.messages(), 1);
        assert_eq!(all(&mut outbox), [Seen::Message(2, 2)]);
    }

    #[test]
    fn an_oversized_message_still_passes() {
        let limits = Limits { bytes: 10, ..MANY };
        let mut outbox = Outbox::default();
        outbox.push(1, message(1, 50), false, &limits);
        assert_eq!(all(&mut outbox), [Seen::Message(1, 1)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u32, usize),
        Gap(u32),
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1_u32..4, 0_usize..20).prop_map(|(of, bytes)| Step::Push(of, bytes)),
            1 => (1_u32..4).prop_map(Step::Gap),
            2 => (0_usize..4).prop_map(Step::Take),
        ]
    }

    proptest! {
        /// Under each policy that drops: of each subscription, what is taken out and what is reported
        /// missing add up to what was put in, in order, and the loss stands where it happened.
        #[test]
        fn nothing_vanishes_silently(
            capacity in 1_usize..6, latest: bool,
            steps in proptest::collection::vec(step(), 1..120),
        ) {
            let overflow = if latest { Overflow::KeepLatest } else { Overflow::DropOldest };
            let limits = Limits { messages: capacity, bytes: 60, overflow };
            let mut outbox = Outbox::default();
            let (mut sent, mut next) = ([0_u64; 4], [1_u64; 4]);
            let mut note = |seen| match seen {
                // What is missing stands right before what follows it.
                Seen::Message(of, number) => {
                    let next = &mut next[of as usize];
                    assert_eq!(*next, number);
                    *next += 1;
                }
                Seen::Missed(of, missed) => next[of as usize] += missed,
                Seen::Gap(_) | Seen::Reply(_) => {}
            };
            for step in steps {
                match step {
                    Step::Push(of, bytes) => {
                        sent[of as usize] += 1;
                        let event = message(sent[of as usize], bytes);
                        outbox.push(of, event, false, &limits);
                    }
                    Step::Gap(of) => { outbox.push(of, gap(), false, &limits); }
                    Step::Take(count) => (0..count).filter_map(|_| take(&mut outbox)).for_each(&mut note),
                }
                prop_assert!(outbox.messages() <= capacity);
                // However long nobody takes anything: of each subscription one gap of each kind before,
                // between and after its messages.
                prop_assert!(outbox.items.len() <= capacity + 2 * (capacity + 3));
            }
            all(&mut outbox).into_iter().for_each(&mut note);
            for of in 1..4 {
                prop_assert_eq!(next[of] - 1, sent[of]);
            }
            prop_assert_eq!((outbox.messages, outbox.bytes), (0, 0));
            prop_assert!(outbox.is_empty());
        }
    }
}
