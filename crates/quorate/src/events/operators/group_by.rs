//! One stream per key.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::stream::{Fuse, Stream, StreamExt};
use pin_project_lite::pin_project;

use super::groups::{Fed, Group, Groups};

/// Groups open at once unless told otherwise.
pub const DEFAULT_GROUPS: usize = 1024;
/// Items a group buffers unless told otherwise.
pub const DEFAULT_GROUP_BUFFER: usize = 64;

/// Items handed to groups in one go before other tasks get their turn.
const TURN: usize = 64;

/// What a grouped stream yields.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an item has a key or not; there is no third"
)]
pub enum Grouped<K, T> {
    /// The stream of a key that had none; its first item is in it.
    Group(Group<K, T>),
    /// An item without a key.
    Keyless(T),
}

pin_project! {
    /// A stream split by key; see [`group_by`](super::EventStreamExt::group_by).
    ///
    /// It holds at most `max_groups` × `buffer` items, and one more while it waits.
    ///
    /// # Ordering
    /// The items of a key are in the order of the source. Where a group was closed to make room and its
    /// key came back, the old group ended before the new one is yielded; a consumer that works in the
    /// background may still be busy with the last item of the old.
    #[must_use = "streams do nothing unless polled"]
    pub struct GroupBy<S: Stream, K, F> {
        #[pin]
        source: Fuse<S>,
        key: F,
        max_groups: usize,
        buffer: usize,
        // Taken from the source, without room yet. At most one: that is what makes the source wait.
        waiting: Option<(K, S::Item)>,
        groups: Groups<K, S::Item>,
    }
}

impl<S: Stream, K, F> GroupBy<S, K, F> {
    pub(super) fn new(source: S, key: F) -> Self {
        Self {
            source: source.fuse(),
            key,
            max_groups: DEFAULT_GROUPS,
            buffer: DEFAULT_GROUP_BUFFER,
            waiting: None,
            groups: Groups::new(),
        }
    }

    /// Groups that may be open at once; at least 1. Default 1 024.
    ///
    /// At the bound, a new key closes the group that was fed longest ago and has nothing in its buffer
    /// ([`GroupEnd::Evicted`](super::GroupEnd::Evicted), counted by [`evicted`](Self::evicted)). If
    /// there is none, the source waits until a group is emptied or dropped.
    ///
    /// # Panics
    /// If it is 0.
    pub fn max_groups(mut self, groups: usize) -> Self {
        assert!(groups > 0, "the number of groups must be at least 1");
        self.max_groups = groups;
        self
    }

    /// Items a group may buffer; at least 1. Default 64.
    ///
    /// At the bound, the source waits until one is taken or the group is dropped, whatever the other
    /// groups have room for: see [`waiting_for`](Self::waiting_for).
    ///
    /// # Panics
    /// If it is 0.
    pub fn buffer(mut self, items: usize) -> Self {
        assert!(items > 0, "the buffer must have room for at least 1");
        self.buffer = items;
        self
    }

    /// Open groups, those whose consumer has dropped them included until they are noticed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.groups.len()
    }

    /// Groups closed so far to make room for others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.groups.evicted()
    }

    /// The key of the item that has no room, for which the source waits.
    #[must_use]
    pub fn waiting_for(&self) -> Option<&K> {
        self.waiting.as_ref().map(|(key, _)| key)
    }
}

impl<S, K, F> Stream for GroupBy<S, K, F>
where
    S: Stream,
    K: Eq + Hash + Clone,
    F: FnMut(&S::Item) -> Option<K>,
{
    type Item = Grouped<K, S::Item>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        for _ in 0..TURN {
            if this.waiting.is_none() {
                let Some(item) = ready!(this.source.as_mut().poll_next(cx)) else {
                    this.groups.end_all();
                    return Poll::Ready(None);
                };
                match (this.key)(&item) {
                    Some(key) => *this.waiting = Some((key, item)),
                    None => return Poll::Ready(Some(Grouped::Keyless(item))),
                }
            }
            let Some((key, item)) = this.waiting.take() else {
                continue;
            };
            let (max_groups, buffer) = (*this.max_groups, *this.buffer);
            match this.groups.feed(key, item, max_groups, buffer, cx) {
                Fed::Delivered => {}
                Fed::Opened(group) => return Poll::Ready(Some(Grouped::Group(group))),
                Fed::NoRoom(key, item) => {
                    *this.waiting = Some((key, item));
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Stream + fmt::Debug, K: fmt::Debug, F> fmt::Debug for GroupBy<S, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBy")
            .field("source", &self.source)
            .field("open", &self.open())
            .field("waiting_for", &self.waiting_for())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}
