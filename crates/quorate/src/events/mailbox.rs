//! The bounded buffer between a transport and one subscription.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use metrics::Counter;
use parking_lot::Mutex;

use super::message::{Gap, GapReason, Shared, Undecodable};
use crate::history::Position;
use crate::telemetry;

/// What a subscription does when its buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest buffered message makes room: the newest state matters. The gap stands where the
    /// dropped messages stood.
    #[default]
    DropOldest,
    /// The arriving message is dropped: what was promised first is kept.
    DropNewest,
    /// The subscription ends after what is buffered and a gap: the consumer must start over.
    Disconnect,
}

/// Bounds of a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) overflow: Overflow,
    /// Only that something came matters: what comes while something waits is as good as in it.
    pub(crate) wake_ups: bool,
    /// Which messages are for it; without, all.
    pub(crate) only: Option<Only>,
}

/// Which messages are put in a buffer: others wake nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Only {
    /// Who listens.
    pub(crate) me: u64,
    /// Whether a payload is for them. Quick: the transport asks for each message.
    pub(crate) is_for: fn(&[u8], u64) -> bool,
}

pub(crate) enum Item<T> {
    Message(Arc<Shared<T>>),
    Gap(Gap),
    Undecodable(Undecodable),
    /// A message of a kept topic that is not for this subscription: only its place counts.
    Skipped(Position),
}

impl<T> Item<T> {
    /// Whether it is one of those that a buffer is bounded in.
    fn counts(&self) -> bool {
        matches!(self, Self::Message(_) | Self::Undecodable(_))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Message(shared) => shared.payload.len(),
            Self::Undecodable(undecodable) => undecodable.bytes().len(),
            Self::Gap(_) | Self::Skipped(_) => 0,
        }
    }
}

/// One subscription's buffer. The transport puts in and never waits; the subscription takes out.
pub(crate) struct Mailbox<T> {
    // One short lock for buffer and waker: nothing of the user's runs under it.
    state: Mutex<State<T>>,
    limits: Limits,
    meters: Arc<MailboxMeters>,
}

/// Counters shared by all buffers.
#[derive(Debug)]
pub(crate) struct MailboxMeters {
    dropped: Counter,
    gaps: Counter,
}

impl MailboxMeters {
    pub(crate) fn new() -> Self {
        let reason = GapReason::BufferFull.as_str();
        Self {
            dropped: metrics::counter!(telemetry::DROPPED),
            gaps: metrics::counter!(telemetry::GAPS, "reason" => reason),
        }
    }
}

struct State<T> {
    items: VecDeque<Item<T>>,
    /// Messages (not gaps) among the items.
    messages: usize,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(limits: Limits, meters: Arc<MailboxMeters>) -> Self {
        let state = State {
            items: VecDeque::new(),
            messages: 0,
            bytes: 0,
            waker: None,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            limits,
            meters,
        }
    }

    /// Puts a message in, or makes the loss visible. Returns whether it was put in.
    pub(crate) fn push(&self, item: Item<T>) -> bool {
        if let (Some(only), Item::Message(shared)) = (self.limits.only, &item)
            && !(only.is_for)(&shared.payload, only.me)
        {
            return false;
        }
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        if self.limits.wake_ups && !state.items.is_empty() {
            return true;
        }
        let bytes = item.bytes();
        let mut lost = 0;
        while self.is_full(&state, bytes) {
            lost += 1;
            let end = state.items.len();
            let new_gap = match self.limits.overflow {
                Overflow::DropOldest => state.lose_oldest(),
                Overflow::DropNewest | Overflow::Disconnect => state.lose_at(end),
            };
            if new_gap {
                self.meters.gaps.increment(1);
            }
            if self.limits.overflow != Overflow::DropOldest {
                break;
            }
        }
        if lost > 0 {
            self.meters.dropped.increment(lost);
        }
        let taken = lost == 0 || self.limits.overflow == Overflow::DropOldest;
        if !taken && self.limits.overflow == Overflow::Disconnect {
            state.closed = true;
        }
        if taken {
            state.messages += 1;
            state.bytes += bytes;
            state.items.push_back(item);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        taken
    }

    /// Puts a gap in. Gaps are never dropped, and neighbours of one reason become one.
    pub(crate) fn gap(&self, gap: Gap) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        match state.items.back_mut() {
            Some(Item::Gap(last)) if last.reason == gap.reason => {
                last.missed = sum(last.missed, gap.missed)
            }
            _ => state.items.push_back(Item::Gap(gap)),
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notes the place of a message that is not for this subscription. Of neighbours the last counts.
    pub(crate) fn skip(&self, position: Position) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        match state.items.back_mut() {
            Some(Item::Skipped(last)) => *last = position,
            _ => state.items.push_back(Item::Skipped(position)),
        }
        // Nobody is woken: there is nothing to be handed out.
    }

    /// Nothing more comes in; what is buffered can still be taken out.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Item<T>>> {
        let mut state = self.state.lock();
        if let Some(item) = state.items.pop_front() {
            if item.counts() {
                state.messages -= 1;
                state.bytes -= item.bytes();
            }
            return Poll::Ready(Some(item));
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

    /// Messages waiting.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().messages
    }

    fn is_full(&self, state: &State<T>, more: usize) -> bool {
        state.messages >= self.limits.messages
            // A message larger than the whole buffer still passes through an empty one.
            || (state.messages > 0 && state.bytes + more > self.limits.bytes)
    }
}

impl<T> State<T> {
    /// Drops the oldest message and leaves a gap in its place. Returns whether the gap is a new one.
    ///
    /// Called while there are messages: a buffer without any is not full.
    fn lose_oldest(&mut self) -> bool {
        // Only gaps and places stand before the oldest message, and few: neighbours are merged.
        let oldest = self.items.iter().position(Item::counts);
        let Some((at, item)) = oldest.and_then(|at| Some((at, self.items.remove(at)?))) else {
            return false;
        };
        self.messages -= 1;
        self.bytes -= item.bytes();
        self.lose_at(at)
    }

    /// Counts one message as missing before the item at `at`: in the gap next to that place, or in a new
    /// one. Returns whether it is new.
    fn lose_at(&mut self, at: usize) -> bool {
        for neighbour in [at.checked_sub(1), Some(at)].into_iter().flatten() {
            if let Some(Item::Gap(gap)) = self.items.get_mut(neighbour)
                && gap.reason == GapReason::BufferFull
            {
                gap.missed = sum(gap.missed, Some(1));
                return false;
            }
        }
        let gap = Gap::new(GapReason::BufferFull, Some(1));
        self.items.insert(at, Item::Gap(gap));
        true
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_add(b?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::task::noop_waker;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn message(number: u64, bytes: usize) -> Item<u64> {
        Item::Message(Arc::new(Shared {
            topic: "t".into(),
            header: None,
            place: None,
            delivered: None,
            payload: Bytes::from(vec![0; bytes]),
            decoded: OnceLock::from(Ok(number)),
        }))
    }

    fn mailbox(messages: usize, bytes: usize, overflow: Overflow) -> Mailbox<u64> {
        Mailbox::new(
            Limits {
                messages,
                bytes,
                overflow,
                wake_ups: false,
                only: None,
            },
            Arc::new(MailboxMeters::new()),
        )
    }

    #[test]
    fn what_is_for_others_is_not_put_in() {
        let limits = Limits {
            messages: 2,
            bytes: 100,
            overflow: Overflow::DropOldest,
            wake_ups: false,
            only: Some(Only {
                me: 7,
                is_for: |payload, me| payload.len() as u64 == me,
            }),
        };
        let mailbox = Mailbox::new(limits, Arc::new(MailboxMeters::new()));
        assert!(!mailbox.push(message(1, 10)));
        assert!(mailbox.push(message(2, 7)));
        assert_eq!(take(&mailbox), Seen::Message(2));
        assert_eq!(take(&mailbox), Seen::Waiting);
    }

    #[test]
    fn what_only_wakes_is_kept_once_and_nothing_counts_as_lost() {
        let limits = Limits {
            messages: 1,
            bytes: 1,
            overflow: Overflow::DropOldest,
            wake_ups: true,
            only: None,
        };
        let mailbox = Mailbox::new(limits, Arc::new(MailboxMeters::new()));
        for number in 0..3 {
            assert!(mailbox.push(message(number, 10)));
        }
        assert_eq!(take(&mailbox), Seen::Message(0));
        assert_eq!(take(&mailbox), Seen::Waiting);
    }

    #[derive(Debug, PartialEq)]
    enum Seen {
        Message(u64),
        Gap(GapReason, Option<u64>),
        End,
        Waiting,
    }

    fn take(mailbox: &Mailbox<u64>) -> Seen {
        match mailbox.poll(&mut Context::from_waker(&noop_waker())) {
            Poll::Ready(Some(Item::Message(shared))) => {
                Seen::Message(*shared.decoded.get().unwrap().as_ref().unwrap())
            }
            Poll::Ready(Some(Item::Gap(gap))) => Seen::Gap(gap.reason, gap.missed),
            Poll::Ready(Some(Item::Undecodable(_) | Item::Skipped(_))) => unreachable!(),
            Poll::Ready(None) => Seen::End,
            Poll::Pending => Seen::Waiting,
        }
    }

    #[test]
    fn drop_oldest_keeps_the_newest_and_says_what_is_missing_first() {
        let mailbox = mailbox(2, 1000, Overflow::DropOldest);
        for number in 1..=5 {
            mailbox.push(message(number, 1));
        }
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(3)));
        assert_eq!(take(&mailbox), Seen::Message(4));
        assert_eq!(take(&mailbox), Seen::Message(5));
        assert_eq!(take(&mailbox), Seen::Waiting);
    }

    #[test]
    fn drop_newest_keeps_the_oldest_and_says_what_is_missing_last() {
        let mailbox = mailbox(2, 1000, Overflow::DropNewest);
        for number in 1..=5 {
            mailbox.push(message(number, 1));
        }
        assert_eq!(take(&mailbox), Seen::Message(1));
        assert_eq!(take(&mailbox), Seen::Message(2));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(3)));
    }

    #[test]
    fn disconnect_ends_the_stream_after_the_gap() {
        let mailbox = mailbox(1, 1000, Overflow::Disconnect);
        for number in 1..=3 {
            mailbox.push(message(number, 1));
        }
        assert_eq!(take(&mailbox), Seen::Message(1));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(1)));
        assert_eq!(take(&mailbox), Seen::End);
    }

    #[test]
    fn bytes_are_bounded_and_an_oversized_message_still_passes() {
        let mailbox = mailbox(100, 10, Overflow::DropOldest);
        mailbox.push(message(1, 8));
        mailbox.push(message(2, 8));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(1)));
        assert_eq!(take(&mailbox), Seen::Message(2));
        mailbox.push(message(3, 50));
        assert_eq!(take(&mailbox), Seen::Message(3));
    }

    #[test]
    fn gaps_keep_their_place_and_merge() {
        let mailbox = mailbox(2, 1000, Overflow::DropOldest);
        mailbox.push(message(1, 1));
        mailbox.gap(Gap::new(GapReason::Reconnected, None));
        mailbox.gap(Gap::new(GapReason::Reconnected, None));
        mailbox.push(message(2, 1));
        mailbox.push(message(3, 1));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(1)));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::Reconnected, None));
        assert_eq!(take(&mailbox), Seen::Message(2));
        // What was dropped came after the reconnect, and so does its gap.
        mailbox.gap(Gap::new(GapReason::Reconnected, None));
        mailbox.push(message(4, 1));
        mailbox.push(message(5, 1));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(1)));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::Reconnected, None));
        mailbox.push(message(6, 1));
        assert_eq!(take(&mailbox), Seen::Gap(GapReason::BufferFull, Some(1)));
        assert_eq!(take(&mailbox), Seen::Message(5));
    }

    proptest! {
        /// Under every policy: what is taken out and what is reported missing add up to what was put in,
        /// in order.
        #[test]
        fn nothing_vanishes_silently(
            capacity in 1_usize..5, sizes in proptest::collection::vec(0_usize..20, 1..60),
            takes in proptest::collection::vec(any::<bool>(), 60), newest: bool,
        ) {
            let overflow = if newest { Overflow::DropNewest } else { Overflow::DropOldest };
            let mailbox = mailbox(capacity, 40, overflow);
            let (mut seen, mut missing, mut last) = (0_u64, 0_u64, 0_u64);
            let mut note = |item| match item {
                Seen::Message(number) => { assert!(number > last); last = number; seen += 1; }
                Seen::Gap(_, missed) => missing += missed.unwrap(),
                Seen::End | Seen::Waiting => {}
            };
            for ((number, size), takes) in (1_u64..).zip(&sizes).zip(&takes) {
                mailbox.push(message(number, *size));
                prop_assert!(mailbox.len() <= capacity);
                if *takes { note(take(&mailbox)); }
            }
            loop {
                let item = take(&mailbox);
                if item == Seen::Waiting { break; }
                note(item);
            }
            prop_assert_eq!(seen + missing, sizes.len() as u64);
        }
    }
}
