//! The operators as methods of every stream.

use std::hash::Hash;

use futures_util::Stream;

use super::dedupe::Dedupe;
use super::group_by::GroupBy;
use super::windows::Windows;

/// The stream operators that neither `futures` nor `tokio-stream` has.
///
/// They work on any [`Stream`], keep a bounded number of items, and treat what stands beside the
/// messages with care: a [`Gap`](crate::Gap) passes [`dedupe`](Self::dedupe), stands in its place in
/// [`windows`](Self::windows), and comes out of [`group_by`](Self::group_by) beside the groups, when
/// the key function answers `None` for it.
pub trait EventStreamExt: Stream {
    /// Drops items whose key was seen lately.
    ///
    /// The last `capacity` different keys are remembered, each from when it first passed. At that
    /// bound the key that passed first is forgotten, and a repeat of it passes again:
    /// [`Dedupe::forgotten`] counts the forgotten keys. Items without a key (`None`) always pass.
    ///
    /// # Panics
    /// If `capacity` is 0.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use futures_util::StreamExt;
    /// use quorate::events::EventStreamExt;
    /// use quorate::{Event, Fleet, TopicSpec};
    ///
    /// const PAYMENTS: TopicSpec<u32> = TopicSpec::new("payments");
    /// let fleet = Fleet::embedded();
    /// let payments = fleet.topic(&PAYMENTS);
    /// // A publish that is repeated carries the same correlation id. Gaps always pass.
    /// let mut once = payments.subscribe().await?.dedupe(1024, |event| match event {
    ///     Event::Message(message) => message.correlation_id().map(str::to_owned),
    ///     _ => None,
    /// });
    /// for (request, cents) in [("a", 500), ("a", 500), ("b", 700)] {
    ///     payments.publish(&cents).correlation_id(request).await?;
    /// }
    /// assert_eq!(*once.next().await.unwrap().message().unwrap(), 500);
    /// assert_eq!(*once.next().await.unwrap().message().unwrap(), 700);
    /// assert_eq!(once.dropped(), 1);
    /// # Ok(()) }
    /// ```
    fn dedupe<K, F>(self, capacity: usize, key: F) -> Dedupe<Self, K, F>
    where
        Self: Sized,
        K: Eq + Hash + Clone,
        F: FnMut(&Self::Item) -> Option<K>,
    {
        Dedupe::new(self, capacity, key)
    }

    /// The last `size` items, oldest first, for each item from the `size`-th on.
    ///
    /// As with [`slice::windows`], a stream shorter than `size` has no window. Items are cloned
    /// (cloning an [`Event`](crate::Event) shares its message); at most `size` are kept.
    ///
    /// # Panics
    /// If `size` is 0.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use futures_util::StreamExt;
    /// use quorate::events::EventStreamExt;
    /// use quorate::{Event, Fleet, TopicSpec};
    ///
    /// const LOAD: TopicSpec<u32> = TopicSpec::new("load");
    /// let fleet = Fleet::embedded();
    /// let mut average = fleet.topic(&LOAD).subscribe().await?
    ///     .filter_map(async |event| event.message().map(|load| *load))
    ///     .windows(3)
    ///     .map(|last| last.iter().sum::<u32>() / 3)
    ///     .boxed();
    /// for load in [10, 20, 30, 70] {
    ///     fleet.topic(&LOAD).publish(&load).await?;
    /// }
    /// assert_eq!(average.next().await, Some(20));
    /// assert_eq!(average.next().await, Some(40));
    /// # Ok(()) }
    /// ```
    fn windows(self, size: usize) -> Windows<Self>
    where
        Self: Sized,
        Self::Item: Clone,
    {
        Windows::new(self, size)
    }

    /// Splits the stream into one stream per key.
    ///
    /// Yields each new [`Group`](super::Group) as its first item arrives, and the items without a key (`None`)
    /// themselves. Polling this stream is what fills the groups: keep polling it, and consume the
    /// groups beside it, in tasks or with `for_each_concurrent`.
    ///
    /// Two bounds, both set on the returned [`GroupBy`], and nothing is dropped at either: where a
    /// buffer is full, or there is no group to close, the source waits (and a subscription that waits
    /// too long says so with a [`Gap`](crate::Gap)).
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> quorate::Result<()> {
    /// use futures_util::StreamExt;
    /// use quorate::events::{EventStreamExt, Grouped};
    /// use quorate::{Event, Fleet, TopicSpec};
    ///
    /// const READINGS: TopicSpec<i32> = TopicSpec::new("readings");
    /// let fleet = Fleet::embedded();
    /// let readings = fleet.topic(&READINGS).keys("*").subscribe().await?;
    /// for (sensor, value) in [("attic", 31), ("cellar", 12), ("attic", 33)] {
    ///     fleet.topic(&READINGS).key(sensor)?.publish(&value).await?;
    /// }
    /// readings
    ///     .take(3)
    ///     .group_by(|event| match event {
    ///         Event::Message(message) => message.key().map(str::to_owned),
    ///         _ => None, // a gap concerns every group
    ///     })
    ///     .for_each_concurrent(None, async |grouped| match grouped {
    ///         Grouped::Group(group) => {
    ///             let sensor = group.key().clone();
    ///             let count = group.count().await;
    ///             assert_eq!(count, if sensor == "attic" { 2 } else { 1 });
    ///         }
    ///         Grouped::Keyless(event) => panic!("{event:?}"),
    ///     })
    ///     .await;
    /// # Ok(()) }
    /// ```
    fn group_by<K, F>(self, key: F) -> GroupBy<Self, K, F>
    where
        Self: Sized,
        K: Eq + Hash + Clone,
        F: FnMut(&Self::Item) -> Option<K>,
    {
        GroupBy::new(self, key)
    }
}

impl<S: Stream + ?Sized> EventStreamExt for S {}
