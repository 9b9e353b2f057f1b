//! How a client is caught up: what is read, how often, and how much waits.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::super::fake::{FakeSource, at, client, hub, message, page, taken, undecodable};
use super::super::handle::Hub;
use super::super::join::Welcome;
use super::super::seam::RoomOptions;
use super::*;

/// What catches a client up, for as long as the handles live.
type CatchingUp = Vec<AbortOnDropHandle<()>>;

fn catch_up_all(client: &Arc<Client>) -> CatchingUp {
    let tasks = tokio_util::task::TaskTracker::new();
    let lagging = client.take_lagging().into_iter();
    lagging
        .map(|(subscription, room)| catch_up(client.clone(), subscription, room))
        .map(|caught_up| AbortOnDropHandle::new(tasks.spawn(caught_up)))
        .collect()
}

async fn subscribe(client: &Arc<Client>, source: &Arc<FakeSource>, after: Option<Position>) {
    let options = SubscribeOptions {
        after,
        ..SubscribeOptions::default()
    };
    let allowed = std::future::ready(Ok(()));
    let client = client.clone();
    let joined = client.join(source.clone(), options, allowed, Welcome::Silent);
    joined.await.unwrap();
}

/// A client that comes back to where it was.
async fn returning(
    hub: &Hub,
    source: &Arc<FakeSource>,
    after: Position,
) -> (Arc<Client>, CatchingUp) {
    let client = client(hub);
    subscribe(&client, source, Some(after)).await;
    let catching_up = catch_up_all(&client);
    (client, catching_up)
}

/// What a history with messages of so many bytes answers. Some of them cannot be read.
fn kept(
    messages: u64,
    bytes: usize,
) -> impl Fn(HistoryFrom, ReadLimit) -> quorate::Result<HistoryPage> + Send + Sync + 'static {
    move |from, limit| {
        let HistoryFrom::After(after) = from else {
            panic!("{from:?}");
        };
        let most = (limit.bytes / bytes as u64).clamp(1, limit.messages.into());
        let until = messages.min(after.offset() + most);
        let events = (after.offset() + 1..=until).map(|offset| match offset % 7 {
            0 => undecodable(offset),
            _ => message(offset, bytes),
        });
        Ok(page(events.collect(), at(until)))
    }
}

fn frame(offset: u64) -> String {
    match offset % 7 {
        0 => format!("x{offset}"),
        _ => offset.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_behind_the_room_is_not_asked_without_end() {
    let hub = hub(|hub| hub);
    let begun = Instant::now();
    // As after a failover: what the room goes on with is not in the history yet.
    let source = FakeSource::new("room", at(100), move |from, limit| {
        if begun.elapsed() < Duration::from_secs(60) {
            return Ok(page(Vec::new(), at(50)));
        }
        kept(100, 10)(from, limit)
    });
    let (client, _catching_up) = returning(&hub, &source, at(50)).await;
    sleep(Duration::from_secs(59)).await;
    assert!(source.reads() < 40, "{} reads", source.reads());
    assert_eq!(taken(&client), [""; 0]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(taken(&client).len(), 50);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_again_waits_within_the_bounds_of_the_queue() {
    const MESSAGES: u64 = 500;
    for (buffer, bytes) in [(1000, 64 * 1024), (7, 1 << 20), (1, 1), (4, 3000)] {
        let hub = hub(|hub| hub.buffer(buffer).buffer_bytes(bytes));
        let source = FakeSource::new("room", at(MESSAGES), kept(MESSAGES, 1000));
        let (client, _catching_up) = returning(&hub, &source, at(0)).await;
        let mut seen = Vec::new();
        while seen.len() < MESSAGES as usize {
            sleep(Duration::from_millis(1)).await;
            let state = client.state.lock();
            let (messages, waiting) = (state.outbox.messages(), state.outbox.waiting_bytes());
            drop(state);
            // With the one that cannot be read, and a single one that is larger.
            assert!(messages <= buffer + 2, "{messages} messages of {buffer}");
            assert!(
                waiting <= bytes.max(1000) + 16,
                "{waiting} bytes of {bytes}"
            );
            let frames = taken(&client);
            assert!(!frames.is_empty(), "after {}", seen.len());
            seen.extend(frames);
        }
        assert!(
            seen.iter().cloned().eq((1..=MESSAGES).map(frame)),
            "{seen:?}"
        );
        // What found no room is read again, but not over and over.
        let least = MESSAGES.div_ceil(u64::from(hub.shared.options.page().messages));
        let least = usize::try_from(least).unwrap();
        let by_bytes = MESSAGES as usize * 1000 / (bytes / 2).max(1000);
        assert!(
            source.reads() <= 2 * least.max(by_bytes) + 2,
            "{}",
            source.reads()
        );
    }
}

/// What waited was of another subscription, and is over with it: nothing is taken out any more.
#[tokio::test(start_paused = true)]
async fn who_leaves_one_topic_makes_room_to_catch_up_with_another() {
    let hub = hub(|hub| hub.buffer(4));
    let client = client(&hub);
    let busy = FakeSource::new("busy", at(0), kept(0, 10));
    subscribe(&client, &busy, None).await;
    let number = client.subscription(&*busy).unwrap();
    let waiting = [(); 4].map(|()| Arc::new(RoomEvent::new(RoomEventKind::Message, "busy")));
    client.deliver(number, RoomOptions::default(), u64::MAX / 2, &waiting);
    let source = FakeSource::new("room", at(1), kept(1, 10));
    subscribe(&client, &source, Some(at(0))).await;
    let _catching_up = catch_up_all(&client);
    client.leave(&*busy);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(taken(&client), ["1"]);
}

/// Who saw that there was nothing gets all of whatever history there is; who was before the first message
/// of one has missed that message when there is another history.
#[tokio::test]
async fn the_beginning_of_a_history_is_not_that_of_the_next() {
    let next = |_, _| Ok(page(Vec::new(), Position::new(9, 0, 0)));
    for (after, recovered) in [(Position::new(7, 0, 0), true), (beginning(7), false)] {
        let hub = hub(|hub| hub);
        let source = FakeSource::new("room", Position::new(9, 0, 0), next);
        let (client, _catching_up) = returning(&hub, &source, after).await;
        let frames = taken(&client);
        assert_eq!(frames.is_empty(), recovered, "{after}: {frames:?}");
    }
    let first = page(vec![message(1, 1), message(2, 1)], at(2));
    assert_eq!(before(&first), beginning(7));
    let later = page(vec![message(5, 1)], at(5));
    assert_eq!(before(&later), Position::new(7, 4, 0));
}
