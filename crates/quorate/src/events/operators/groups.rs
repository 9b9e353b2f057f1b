//! The groups of a [`GroupBy`](super::GroupBy), and what it knows of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use parking_lot::Mutex;

/// Why a group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupEnd {
    /// The grouped stream ended, or was dropped.
    Source,
    /// Another key needed its place. The next item of this key opens a new group.
    Evicted,
}

/// The items of one key, in the order of the source.
///
/// It ends (`None`) once what it has buffered was taken, after the grouped stream ended or the group
/// had to make room for another key; [`ended`](Self::ended) tells which. Dropping it drops what it has
/// buffered, and the next item of its key opens a new group.
#[must_use = "dropping a group drops its items"]
pub struct Group<K, T> {
    key: K,
    slot: Arc<Slot<T>>,
}

impl<K, T> Group<K, T> {
    /// What its items have in common.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Items waiting to be taken.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.slot.0.lock().items.len()
    }

    /// Why no further items will be added; `None` while some may.
    #[must_use]
    pub fn ended(&self) -> Option<GroupEnd> {
        self.slot.0.lock().ended
    }
}

impl<K, T> Stream for Group<K, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.slot.0.lock();
        if let Some(item) = state.items.pop_front() {
            let feeder = state.feeder.take();
            drop(state);
            feeder.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(item));
        }
        if state.ended.is_some() {
            return Poll::Ready(None);
        }
        register(&mut state.reader, cx);
        Poll::Pending
    }
}

// Nothing is pinned in place: items are moved out whole.
impl<K, T> Unpin for Group<K, T> {}

impl<K, T> Drop for Group<K, T> {
    fn drop(&mut self) {
        let mut state = self.slot.0.lock();
        state.abandoned = true;
        let items = std::mem::take(&mut state.items);
        let feeder = state.feeder.take();
        drop(state);
        // Outside of the lock: both run code of the user's.
        drop(items);
        feeder.into_iter().for_each(Waker::wake);
    }
}

impl<K: fmt::Debug, T> fmt::Debug for Group<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("key", &self.key)
            .field("backlog", &self.backlog())
            .field("ended", &self.ended())
            .finish()
    }
}

/// What a group and the one who feeds it share. One short lock, under which only wakers are stored.
struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    items: VecDeque<T>,
    /// Waits for an item.
    reader: Option<Waker>,
    /// Waits for an item to be taken, or for the group to be dropped.
    feeder: Option<Waker>,
    ended: Option<GroupEnd>,
    /// The group was dropped.
    abandoned: bool,
}

impl<T> Slot<T> {
    fn with(item: T) -> Self {
        Self(Mutex::new(State {
            items: VecDeque::from([item]),
            reader: None,
            feeder: None,
            ended: None,
            abandoned: false,
        }))
    }

    fn end(&self, why: GroupEnd) {
        let mut state = self.0.lock();
        state.ended = Some(why);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

/// The open groups.
pub(super) struct Groups<K, T> {
    open: HashMap<K, Open<T>>,
    /// Keys of the open groups by when they were last fed: who makes room is found from the front.
    by_age: BTreeMap<u64, K>,
    feeds: u64,
    evicted: u64,
}

struct Open<T> {
    slot: Arc<Slot<T>>,
    /// Its place in `by_age`.
    fed: u64,
}

/// What became of an item.
pub(super) enum Fed<K, T> {
    Delivered,
    /// It is the first of this new group.
    Opened(Group<K, T>),
    /// There is no room; the task is woken when there may be.
    NoRoom(K, T),
}

impl<K, T> Groups<K, T> {
    pub(super) fn new() -> Self {
        Self {
            open: HashMap::new(),
            by_age: BTreeMap::new(),
            feeds: 0,
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Ends every group: there will be no more items.
    pub(super) fn end_all(&mut self) {
        for open in self.open.values() {
            open.slot.end(GroupEnd::Source);
        }
        self.open.clear();
        self.by_age.clear();
    }
}

impl<K: Eq + Hash + Clone, T> Groups<K, T> {
    /// Puts an item into the group of its key, opening it if need be.
    pub(super) fn feed(
        &mut self,
        key: K,
        item: T,
        max_groups: usize,
        buffer: usize,
        cx: &Context<'_>,
    ) -> Fed<K, T> {
        if let Some(open) = self.open.get_mut(&key) {
            let mut state = open.slot.0.lock();
            if !state.abandoned {
                if state.items.len() >= buffer {
                    register(&mut state.feeder, cx);
                    drop(state);
                    return Fed::NoRoom(key, item);
                }
                state.items.push_back(item);
                let reader = state.reader.take();
                drop(state);
                reader.into_iter().for_each(Waker::wake);
                self.by_age.remove(&open.fed);
                open.fed = self.feeds;
                self.by_age.insert(self.feeds, key);
                self.feeds += 1;
                return Fed::Delivered;
            }
            drop(state);
            self.remove(&key);
        }
        if self.open.len() >= max_groups && !self.make_room(cx) {
            return Fed::NoRoom(key, item);
        }
        let slot = Arc::new(Slot::with(item));
        let open = Open {
            slot: slot.clone(),
            fed: self.feeds,
        };
        self.by_age.insert(self.feeds, key.clone());
        self.feeds += 1;
        self.open.insert(key.clone(), open);
        Fed::Opened(Group { key, slot })
    }

    /// Closes the group fed longest ago of those with nothing in their buffer, if there is one.
    ///
    /// Never one with items: what was taken from the source stays counted against the bounds until
    /// its consumer has it.
    fn make_room(&mut self, cx: &Context<'_>) -> bool {
        let idle = self.by_age.values().find_map(|key| {
            let mut state = self.open[key].slot.0.lock();
            if state.abandoned || state.items.is_empty() {
                return Some((key, state.abandoned));
            }
            register(&mut state.feeder, cx);
            None
        });
        let idle = idle.map(|(key, abandoned)| (key.clone(), abandoned));
        let Some((key, abandoned)) = idle else {
            return false;
        };
        if let Some(slot) = self.remove(&key)
            && !abandoned
        {
            slot.end(GroupEnd::Evicted);
            self.evicted += 1;
        }
        true
    }

    fn remove(&mut self, key: &K) -> Option<Arc<Slot<T>>> {
        let open = self.open.remove(key)?;
        self.by_age.remove(&open.fed);
        Some(open.slot)
    }
}

impl<K, T> Drop for Groups<K, T> {
    fn drop(&mut self) {
        self.end_all();
    }
}
