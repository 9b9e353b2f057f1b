//! The thirteen operators on a stream of events: eleven are adapters of `futures` and `tokio-stream`,
//! and those that are ours are held to their bounds.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use futures_util::{join, poll};
use proptest::prelude::*;
use quorate::events::{Event, EventStreamExt, GapReason, Group, GroupEnd, Grouped, Subscription};
use quorate::{Fleet, TopicSpec};

const NUMBERS: TopicSpec<u32> = TopicSpec::new("numbers");
const LISTS: TopicSpec<Vec<u32>> = TopicSpec::new("lists");

/// A subscription that has received these numbers, and ends after them.
async fn published(numbers: &[u32]) -> Subscription<u32> {
    let fleet = Fleet::embedded();
    let topic = fleet.topic(&NUMBERS);
    let subscription = topic.subscribe().await.unwrap();
    for number in numbers {
        topic.publish(number).await.unwrap();
    }
    fleet.unsubscribe_all();
    subscription
}

/// The numbers of [`published`] by themselves.
async fn values(numbers: &[u32]) -> BoxStream<'static, u32> {
    let events = published(numbers).await;
    events
        .filter_map(async |event| event.message().map(|number| *number))
        .boxed()
}

/// A subscription that has lost two of three numbers.
async fn with_a_gap() -> Subscription<u32> {
    let fleet = Fleet::embedded();
    let topic = fleet.topic(&NUMBERS);
    let subscription = topic.subscribe().buffer(1).await.unwrap();
    for number in [7, 7, 7] {
        topic.publish(&number).await.unwrap();
    }
    fleet.unsubscribe_all();
    subscription
}

fn payload(event: Event<u32>) -> Option<u32> {
    event.message().map(|number| *number)
}

#[tokio::test]
async fn filter_keeps_what_passes_an_async_test() {
    let even = values(&[1, 2, 3, 4])
        .await
        .filter(|n| std::future::ready(n % 2 == 0));
    assert_eq!(even.collect::<Vec<_>>().await, [2, 4]);
}

#[tokio::test]
async fn map_changes_each_item() {
    let doubled = values(&[1, 2]).await.map(|n| n * 2);
    // `then` is the same with an async function.
    let named = doubled.then(async |n| format!("no. {n}"));
    assert_eq!(named.collect::<Vec<_>>().await, ["no. 2", "no. 4"]);
}

#[tokio::test]
async fn pipe_is_a_function_from_stream_to_stream() {
    fn squares_of_odd(numbers: impl Stream<Item = u32>) -> impl Stream<Item = u32> {
        let odd = numbers.filter(|n| std::future::ready(n % 2 == 1));
        odd.map(|n| n * n)
    }
    let squares: Vec<_> = squares_of_odd(values(&[1, 2, 3]).await).collect().await;
    assert_eq!(squares, [1, 9]);
}

#[tokio::test]
async fn take_ends_after_a_number_of_items() {
    let fleet = Fleet::embedded();
    let topic = fleet.topic(&NUMBERS);
    // This subscription would not end by itself.
    let subscription = topic.subscribe().await.unwrap();
    for number in [1, 2, 3] {
        topic.publish(&number).await.unwrap();
    }
    let two: Vec<_> = subscription.take(2).collect().await;
    assert_eq!(two.into_iter().filter_map(payload).sum::<u32>(), 3);
    let listening: usize = fleet.subscriptions().iter().map(|(_, count)| count).sum();
    assert_eq!(listening, 0, "the end of the pipeline is the end of it");
}

#[tokio::test]
async fn reduce_folds_to_one_value() {
    let numbers = values(&[1, 2, 3]).await;
    let sum = numbers.fold(0, async |sum, n| sum + n).await;
    assert_eq!(sum, 6);
}

#[tokio::test]
async fn to_array_collects() {
    let numbers: Vec<u32> = values(&[1, 2, 3]).await.collect().await;
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn batch_by_size_is_chunks() {
    let batches = values(&[1, 2, 3]).await.chunks(2);
    assert_eq!(batches.collect::<Vec<_>>().await, [vec![1, 2], vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn batch_by_size_or_time_is_chunks_timeout() {
    let fleet = Fleet::embedded();
    let topic = fleet.topic(&NUMBERS);
    let subscription = topic.subscribe().await.unwrap();
    let batches = tokio_stream::StreamExt::chunks_timeout(subscription, 2, Duration::from_secs(1));
    let mut batches = std::pin::pin!(batches);
    for number in [1, 2, 3] {
        topic.publish(&number).await.unwrap();
    }
    let mut sizes = Vec::new();
    for _ in 0..2 {
        // The second is not full, and the source is quiet, but not at its end.
        sizes.push(batches.next().await.unwrap().len());
    }
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test]
async fn flat_is_flat_map_over_what_iterates() {
    let fleet = Fleet::embedded();
    let topic = fleet.topic(&LISTS);
    let lists = topic.subscribe().await.unwrap();
    topic.publish(&vec![1, 2]).await.unwrap();
    topic.publish(&vec![3]).await.unwrap();
    fleet.unsubscribe_all();
    let flat = lists.flat_map(|event| {
        stream::iter(
            event
                .message()
                .map(|list| list.to_vec())
                .unwrap_or_default(),
        )
    });
    assert_eq!(flat.collect::<Vec<_>>().await, [1, 2, 3]);
}

#[tokio::test]
async fn chain_continues_with_the_next_stream() {
    let chained = values(&[1, 2]).await.chain(values(&[3]).await);
    assert_eq!(chained.collect::<Vec<_>>().await, [1, 2, 3]);
}

#[tokio::test]
async fn join_merges_what_arrives() {
    let streams = [values(&[1, 2]).await, values(&[10]).await];
    let mut merged: Vec<_> = stream::select_all(streams).collect().await;
    merged.sort_unstable();
    assert_eq!(merged, [1, 2, 10]);
}

#[tokio::test]
async fn dedupe_drops_repeats_and_lets_gaps_pass() {
    let numbers = published(&[1, 2, 1, 1, 3, 2]).await;
    let mut once = numbers.dedupe(8, |event| event.clone().message().map(|number| *number));
    let mut seen = Vec::new();
    while let Some(event) = once.next().await {
        seen.extend(payload(event));
    }
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!((once.dropped(), once.forgotten()), (3, 0));

    let once = with_a_gap().await.dedupe(8, |_| None::<u32>);
    let events: Vec<_> = once.collect().await;
    let [Event::Gap(gap), Event::Message(_)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((gap.reason, gap.missed), (GapReason::BufferFull, Some(2)));
}

#[tokio::test]
async fn dedupe_says_when_it_forgets() {
    let mut once = stream::iter([1, 2, 1, 3, 1, 3]).dedupe(2, |n| Some(*n));
    let mut seen = Vec::new();
    while let Some(number) = once.next().await {
        seen.push(number);
    }
    // The 3 made it forget the 1, and that 1 made it forget the 2.
    assert_eq!(seen, [1, 2, 3, 1]);
    assert_eq!((once.dropped(), once.forgotten()), (2, 2));
}

#[tokio::test]
async fn windows_slide_by_one_and_hold_gaps_in_their_place() {
    let windows = values(&[1, 2, 3, 4]).await.windows(3);
    assert_eq!(windows.size_hint().0, 0);
    let windows: Vec<_> = windows.collect().await;
    assert_eq!(windows, [[1, 2, 3], [2, 3, 4]]);

    let too_short: Vec<_> = values(&[1, 2]).await.windows(3).collect().await;
    assert_eq!(too_short, Vec::<Vec<u32>>::new());

    let windows: Vec<_> = with_a_gap().await.windows(2).collect().await;
    let [window] = &windows[..] else {
        panic!("{windows:?}");
    };
    assert!(
        matches!(window[..], [Event::Gap(_), Event::Message(_)]),
        "{window:?}"
    );
}

#[tokio::test]
async fn windows_know_how_many_there_will_be() {
    let mut windows = stream::iter(0..5).windows(3);
    for left in [3, 2, 1, 0] {
        assert_eq!(windows.size_hint(), (left, Some(left)));
        assert_eq!(windows.next().await.is_some(), left > 0);
    }
}

#[tokio::test]
async fn group_by_splits_by_key_and_passes_gaps_beside_the_groups() {
    let mut groups = with_a_gap()
        .await
        .group_by(|event| event.clone().message().map(|number| *number));
    let beside = groups.next().await.unwrap();
    assert!(matches!(beside, Grouped::Keyless(Event::Gap(_))));
    let Some(Grouped::Group(group)) = groups.next().await else {
        panic!("no group");
    };
    assert_eq!((*group.key(), group.backlog()), (7, 1));
    assert!(groups.next().await.is_none());
    assert_eq!(group.ended(), Some(GroupEnd::Source));
    assert_eq!(group.count().await, 1, "it ends once it is empty");
}

type Letters = quorate::events::GroupBy<
    stream::Iter<std::str::Chars<'static>>,
    char,
    fn(&char) -> Option<char>,
>;

/// Letters grouped by themselves: `aab` is twice an `a` for the group `a`, then a `b`.
fn letters(letters: &'static str) -> Letters {
    stream::iter(letters.chars()).group_by((|letter| Some(*letter)) as fn(&char) -> Option<char>)
}

async fn opened(groups: &mut Letters) -> Group<char, char> {
    match groups.next().await {
        Some(Grouped::Group(group)) => group,
        other => panic!("{other:?}"),
    }
}

/// Both at once. A lost wake-up fails instead of hanging: paused time moves only when nobody is woken.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let both = async { join!(a, b) };
    let start = tokio::time::Instant::now();
    let done = tokio::time::timeout(Duration::from_secs(1), both).await;
    assert!(start.elapsed().is_zero(), "nobody was woken");
    done.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_full_group_holds_the_source_until_it_is_read() {
    let mut groups = letters("aaabb").buffer(2);
    let mut a = opened(&mut groups).await;
    assert!(poll!(groups.next()).is_pending());
    assert_eq!((groups.waiting_for(), a.backlog()), (Some(&'a'), 2));
    let (b, first) = both(opened(&mut groups), a.next()).await;
    assert_eq!(
        (*b.key(), first, groups.waiting_for()),
        ('b', Some('a'), None)
    );
    assert_eq!(a.backlog(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_closes_the_empty_group_fed_longest_ago() {
    let mut groups = letters("abacb").max_groups(2);
    let mut a = opened(&mut groups).await;
    let mut b = opened(&mut groups).await;
    assert_eq!(b.next().await, Some('b'));
    assert_eq!(a.next().await, Some('a'));
    // The second `a` is on its way: `b` is now the one fed longest ago.
    let c = opened(&mut groups).await;
    assert_eq!((*c.key(), groups.open(), groups.evicted()), ('c', 2, 1));
    assert_eq!((a.ended(), b.ended()), (None, Some(GroupEnd::Evicted)));
    assert_eq!(b.next().await, None);
    assert_eq!(a.next().await, Some('a'));
    // `b` comes back as a new group, in the place of `a`.
    let mut again = opened(&mut groups).await;
    assert_eq!(again.next().await, Some('b'));
    assert_eq!((a.ended(), groups.evicted()), (Some(GroupEnd::Evicted), 2));
    assert!(groups.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_an_empty_group_a_new_key_waits() {
    let mut groups = letters("abc").max_groups(2);
    let a = opened(&mut groups).await;
    let mut b = opened(&mut groups).await;
    assert!(poll!(groups.next()).is_pending());
    assert_eq!(groups.waiting_for(), Some(&'c'));
    let (c, _) = both(opened(&mut groups), b.next()).await;
    assert_eq!(*c.key(), 'c');
    assert_eq!((a.ended(), b.ended()), (None, Some(GroupEnd::Evicted)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_group_gives_its_place_free() {
    // Full, and in the way of its own next item.
    let mut groups = letters("aaa").buffer(1).max_groups(1);
    let a = opened(&mut groups).await;
    assert!(poll!(groups.next()).is_pending());
    let (again, ()) = both(opened(&mut groups), async { drop(a) }).await;
    assert_eq!(
        again.backlog(),
        1,
        "the dropped item is not in the new group"
    );

    // In the way of another key.
    let mut groups = letters("ab").max_groups(1);
    let a = opened(&mut groups).await;
    assert!(poll!(groups.next()).is_pending());
    let (b, ()) = both(opened(&mut groups), async { drop(a) }).await;
    assert_eq!((*b.key(), groups.evicted()), ('b', 0));
}

#[tokio::test(start_paused = true)]
async fn groups_end_with_the_grouped_stream() {
    let mut groups = letters("a");
    let mut a = opened(&mut groups).await;
    assert_eq!(a.next().await, Some('a'));
    let (last, ()) = both(a.next(), async { drop(groups) }).await;
    assert_eq!((last, a.ended()), (None, Some(GroupEnd::Source)));
}

#[tokio::test(start_paused = true)]
async fn an_endless_source_leaves_others_their_turn() {
    let mut groups = stream::repeat(1).group_by(|n| Some(*n)).buffer(usize::MAX);
    let Some(Grouped::Group(group)) = groups.next().await else {
        panic!("no group");
    };
    assert!(poll!(groups.next()).is_pending());
    let backlog = group.backlog();
    assert!((2..1000).contains(&backlog), "{backlog}");
}

#[test]
#[should_panic(expected = "at least 1")]
fn a_dedupe_that_remembers_nothing_is_refused() {
    let _ = stream::iter([1]).dedupe(0, |n| Some(*n));
}

#[test]
#[should_panic(expected = "at least 1")]
fn a_window_of_nothing_is_refused() {
    let _ = stream::iter([1]).windows(0);
}

#[test]
#[should_panic(expected = "at least 1")]
fn a_group_without_a_buffer_is_refused() {
    let _ = letters("a").buffer(0);
}

#[test]
#[should_panic(expected = "at least 1")]
fn no_groups_at_all_are_refused() {
    let _ = letters("a").max_groups(0);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #[test]
    fn whatever_the_bounds_each_key_gets_all_its_items_in_order(
        keys in prop::collection::vec(0_u8..12, 0..300),
        max_groups in 1_usize..14,
        buffer in 1_usize..5,
    ) {
        let items: Vec<_> = keys.into_iter().enumerate().map(|(at, key)| (key, at)).collect();
        let mut expected: HashMap<u8, Vec<usize>> = HashMap::new();
        for (key, at) in &items {
            expected.entry(*key).or_default().push(*at);
        }
        let received = parking_lot::Mutex::new(HashMap::<u8, Vec<usize>>::new());
        let groups = stream::iter(items)
            .group_by(|(key, _)| Some(*key))
            .max_groups(max_groups)
            .buffer(buffer);
        block_on(groups.for_each_concurrent(None, async |grouped| {
            let Grouped::Group(mut group) = grouped else { unreachable!("every item has a key") };
            while let Some((key, at)) = group.next().await {
                assert_eq!(key, *group.key());
                received.lock().entry(key).or_default().push(at);
                tokio::task::yield_now().await; // let buffers fill
            }
        }));
        prop_assert_eq!(received.into_inner(), expected);
    }

    #[test]
    fn a_repeat_passes_only_after_enough_other_keys_did(
        items in prop::collection::vec(0_u8..20, 0..300),
        capacity in 1_usize..10,
    ) {
        // What a key must not be among: the last `capacity` that passed.
        let mut passed: Vec<u8> = Vec::new();
        for item in &items {
            if !passed.iter().rev().take(capacity).any(|last| last == item) {
                passed.push(*item);
            }
        }
        let once = stream::iter(items).dedupe(capacity, |item| Some(*item));
        prop_assert_eq!(block_on(once.collect::<Vec<_>>()), passed);
    }
}
