//! The bounded buffer between the connection and one subscription.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use quorate::GapReason;

use super::error::ClientError;
use super::message::{ClientGap, ClientUndecodable, Delivery};
use super::roster::{ClientPresence, Roster};
use crate::telemetry;

/// Bounds of a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// What waits in a buffer.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Message(Arc<Delivery>),
    Gap(ClientGap),
    Undecodable(ClientUndecodable),
    Ended(ClientError),
}

/// What is taken out of a buffer.
#[derive(Debug)]
pub(super) enum Taken {
    Item(Item),
    Presence(ClientPresence),
}

/// One subscription's buffer. The connection puts in and never waits; the subscription takes out.
#[derive(Debug)]
pub(super) struct Mailbox {
    // One short lock for buffer and waker: nothing of the user's runs under it.
    state: Mutex<State>,
    limits: Limits,
}

#[derive(Debug)]
enum Entry {
    Item(Item),
    /// The roster has changed; which it is stands in the state, so that however often it changes there
    /// is one entry.
    Presence,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Messages (not gaps) among the entries.
    messages: usize,
    bytes: usize,
    roster: Option<Roster>,
    /// The roster that the subscription was told of last.
    told: Option<Roster>,
    presence_waits: bool,
    /// Somebody wants to know when no message is left.
    refill: bool,
    waker: Option<Waker>,
    closed: bool,
}

impl Mailbox {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::default(),
            limits,
        }
    }

    /// Puts a message in if there is room. Where there is none, [`wants_refill`](Self::wants_refill)
    /// says that the rest comes later.
    pub(super) fn offer(&self, message: &Arc<Delivery>) -> bool {
        let mut state = self.state.lock();
        if self.is_full(&state, message.bytes()) {
            return false;
        }
        state.put(Item::Message(message.clone()));
        state.wake();
        true
    }

    /// Puts something in. Where there is no room the oldest message goes, and a gap stands in its place.
    pub(super) fn push(&self, item: Item) {
        let mut state = self.state.lock();
        let (message, bytes) = match &item {
            Item::Message(message) => (true, message.bytes()),
            _ => (false, 0),
        };
        let mut dropped = 0;
        while message && self.is_full(&state, bytes) && state.drop_oldest() {
            dropped += 1;
        }
        if dropped > 0 {
            metrics::counter!(telemetry::CLIENT_DROPPED).increment(dropped);
        }
        state.put(item);
        state.wake();
    }

    /// The roster is this.
    pub(super) fn presence(&self, roster: &Roster) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.roster = Some(roster.clone());
        if !state.presence_waits {
            state.presence_waits = true;
            state.entries.push_back(Entry::Presence);
        }
        state.wake();
    }

    /// Asks [`poll`](Self::poll) to say when no message is left. `false`: there is none now.
    ///
    /// Not earlier: only an empty buffer takes a message of any size.
    pub(super) fn wants_refill(&self) -> bool {
        let mut state = self.state.lock();
        state.refill = state.messages > 0;
        state.refill
    }

    /// How many more messages it takes, their size aside.
    pub(super) fn room(&self) -> usize {
        self.limits
            .messages
            .saturating_sub(self.state.lock().messages)
    }

    /// Nothing more comes in; what is buffered can still be taken out.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.wake();
    }

    /// Messages waiting.
    pub(super) fn len(&self) -> usize {
        self.state.lock().messages
    }

    /// The next entry, and whether whoever asked for it should now refill.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<(Taken, bool)>> {
        let mut state = self.state.lock();
        while let Some(entry) = state.entries.pop_front() {
            let taken = match entry {
                Entry::Item(item) => {
                    if let Item::Message(message) = &item {
                        state.messages -= 1;
                        state.bytes -= message.bytes();
                    }
                    Taken::Item(item)
                }
                Entry::Presence => match state.take_presence() {
                    Some(presence) => Taken::Presence(presence),
                    None => continue,
                },
            };
            let refill = state.refill && state.messages == 0;
            state.refill &= !refill;
            return Poll::Ready(Some((taken, refill)));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn is_full(&self, state: &State, more: usize) -> bool {
        state.messages >= self.limits.messages
            // A message larger than the whole buffer still passes through an empty one.
            || (state.messages > 0 && state.bytes + more > self.limits.bytes)
    }
}

impl State {
    fn put(&mut self, item: Item) {
        if self.closed {
            return;
        }
        match (&item, self.entries.back_mut()) {
            // Neighbours of one reason become one, so that gaps do not pile up.
            (Item::Gap(gap), Some(Entry::Item(Item::Gap(last)))) if last.reason == gap.reason => {
                last.missed = sum(last.missed, gap.missed);
                last.position = gap.position;
                return;
            }
            (Item::Message(message), _) => {
                self.messages += 1;
                self.bytes += message.bytes();
            }
            (Item::Ended(_), _) => self.closed = true,
            _ => {}
        }
        self.entries.push_back(Entry::Item(item));
    }

    /// Drops the oldest message, and counts it in the gap that stands in its place.
    fn drop_oldest(&mut self) -> bool {
        let is_message = |entry: &Entry| matches!(entry, Entry::Item(Item::Message(_)));
        let Some(at) = self.entries.iter().position(is_message) else {
            return false;
        };
        let Some(Entry::Item(Item::Message(message))) = self.entries.remove(at) else {
            return false;
        };
        self.messages -= 1;
        self.bytes -= message.bytes();
        let place = message.resumable();
        for neighbour in [at.checked_sub(1), Some(at)].into_iter().flatten() {
            if let Some(Entry::Item(Item::Gap(gap))) = self.entries.get_mut(neighbour)
                && gap.reason == GapReason::BufferFull
            {
                gap.missed = sum(gap.missed, Some(1));
                gap.position = place;
                return true;
            }
        }
        let gap = ClientGap::new(GapReason::BufferFull, Some(1)).at(place);
        self.entries.insert(at, Entry::Item(Item::Gap(gap)));
        true
    }

    fn take_presence(&mut self) -> Option<ClientPresence> {
        self.presence_waits = false;
        let roster = self.roster.take()?;
        let presence = roster.since(self.told.as_ref());
        self.told = Some(roster);
        presence
    }

    /// Under the lock: a waker only schedules.
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_add(b?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::message::Data;
    use futures_util::task::noop_waker;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn message(n: u64) -> Arc<Delivery> {
        Arc::new(Delivery {
            subscription: "a".into(),
            topic: "a".into(),
            data: Data::Json(RawValue::from_string(n.to_string()).unwrap()),
            event_type: None,
            id: None,
            source: None,
            key: None,
            timestamp: None,
            correlation_id: None,
            content_type: None,
            position: None,
        })
    }

    fn number(message: &Delivery) -> u64 {
        match &message.data {
            Data::Json(json) => json.get().parse().unwrap(),
            Data::Bytes(_) => unreachable!(),
        }
    }

    fn take(mailbox: &Mailbox) -> Option<(Taken, bool)> {
        match mailbox.poll(&mut Context::from_waker(&noop_waker())) {
            Poll::Ready(taken) => taken,
            Poll::Pending => None,
        }
    }

    fn mailbox(messages: usize) -> Mailbox {
        Mailbox::new(Limits {
            messages,
            bytes: 1 << 20,
        })
    }

    #[test]
    fn presence_waits_once_however_often_it_changes() {
        let mailbox = mailbox(2);
        for count in 1..=9 {
            mailbox.presence(&Roster::whole(count, None));
        }
        mailbox.push(Item::Message(message(1)));
        assert!(matches!(take(&mailbox), Some((Taken::Presence(it), _)) if it.count == 9));
        mailbox.presence(&Roster::whole(9, None));
        assert!(matches!(
            take(&mailbox),
            Some((Taken::Item(Item::Message(_)), _))
        ));
        assert!(take(&mailbox).is_none(), "nothing changed");
    }

    #[test]
    fn a_full_buffer_asks_for_more_when_it_is_empty() {
        let mailbox = mailbox(4);
        assert!(!mailbox.wants_refill());
        for n in 0..4 {
            assert!(mailbox.offer(&message(n)));
        }
        assert!(!mailbox.offer(&message(4)));
        assert!(mailbox.wants_refill());
        let refills: Vec<_> = (0..4).map(|_| take(&mailbox).unwrap().1).collect();
        assert_eq!(refills, [false, false, false, true]);
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mailbox = mailbox(4);
        mailbox.push(Item::Ended(ClientError::closed()));
        mailbox.push(Item::Message(message(1)));
        assert!(matches!(
            take(&mailbox),
            Some((Taken::Item(Item::Ended(_)), _))
        ));
        assert!(take(&mailbox).is_none());
    }

    proptest! {
        /// Every message is taken out in order, or counted in a gap at its place.
        #[test]
        fn nothing_vanishes_silently(
            limit in 1_usize..6, steps in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let mailbox = mailbox(limit);
            let (mut put, mut seen) = (0, 0);
            let mut check = |taken: Taken| {
                match taken {
                    Taken::Item(Item::Message(message)) => {
                        assert_eq!(number(&message), seen);
                        seen += 1;
                    }
                    Taken::Item(Item::Gap(gap)) => seen += gap.missed.unwrap(),
                    other => panic!("{other:?}"),
                }
            };
            for puts in steps {
                if puts {
                    mailbox.push(Item::Message(message(put)));
                    put += 1;
                } else if let Some((taken, _)) = take(&mailbox) {
                    check(taken);
                }
                prop_assert!(mailbox.len() <= limit);
            }
            while let Some((taken, _)) = take(&mailbox) {
                check(taken);
            }
            prop_assert_eq!(seen, put);
        }
    }
}
