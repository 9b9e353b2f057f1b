//! Dropping repeats.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use pin_project_lite::pin_project;

pin_project! {
    /// A stream without repeats; see [`dedupe`](super::EventStreamExt::dedupe).
    #[must_use = "streams do nothing unless polled"]
    pub struct Dedupe<S, K, F> {
        #[pin]
        source: S,
        key: F,
        seen: Seen<K>,
        dropped: u64,
    }
}

impl<S, K, F> Dedupe<S, K, F> {
    pub(super) fn new(source: S, capacity: usize, key: F) -> Self {
        assert!(capacity > 0, "the capacity must be at least 1");
        Self {
            source,
            key,
            seen: Seen::new(capacity),
            dropped: 0,
        }
    }

    /// Items dropped so far as repeats.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keys forgotten so far to make room: of these, a repeat would have passed. While it is 0, no
    /// repeat has.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.seen.forgotten
    }
}

impl<S, K, F> Stream for Dedupe<S, K, F>
where
    S: Stream,
    K: Eq + Hash + Clone,
    F: FnMut(&S::Item) -> Option<K>,
{
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        while let Some(item) = ready!(this.source.as_mut().poll_next(cx)) {
            let is_repeat = (this.key)(&item).is_some_and(|key| !this.seen.insert(key));
            if !is_repeat {
                return Poll::Ready(Some(item));
            }
            *this.dropped += 1;
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.source.size_hint().1)
    }
}

impl<S: fmt::Debug, K, F> fmt::Debug for Dedupe<S, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedupe")
            .field("source", &self.source)
            .field("capacity", &self.seen.capacity)
            .field("dropped", &self.dropped)
            .field("forgotten", &self.seen.forgotten)
            .finish_non_exhaustive()
    }
}

/// The last `capacity` different keys.
///
/// In the order of their first appearance, not of their last: so "remembered until `capacity` others
/// came after it" holds for each key, whatever is repeated in between, and nothing is moved on a hit.
struct Seen<K> {
    keys: HashSet<K>,
    order: VecDeque<K>,
    capacity: usize,
    forgotten: u64,
}

impl<K> Seen<K> {
    fn new(capacity: usize) -> Self {
        Self {
            keys: HashSet::new(),
            order: VecDeque::new(),
            capacity,
            forgotten: 0,
        }
    }
}

impl<K: Eq + Hash + Clone> Seen<K> {
    /// Remembers a key, and whether it is new.
    fn insert(&mut self, key: K) -> bool {
        if self.keys.contains(&key) {
            return false;
        }
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
            self.forgotten += 1;
        }
        self.keys.insert(key.clone());
        self.order.push_back(key);
        true
    }
}
