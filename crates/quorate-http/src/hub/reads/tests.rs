//! Who shares a read, who waits for whom, and for how long.

use std::sync::atomic::{AtomicUsize, Ordering};

use quorate::Position;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn reads() -> Arc<Reads<u64>> {
    let tasks = TaskTracker::new();
    Reads::new(ReadRules::new(tasks, DEADLINE, ReadLimit::messages(100)))
}

fn after(offset: u64) -> Question {
    Question {
        from: HistoryFrom::After(Position::new(7, offset, 1)),
        limit: ReadLimit::messages(100),
        proven: false,
        resets: 0,
    }
}

fn away() -> Problem {
    Problem::new(Code::Unavailable, "the home is away")
}

/// A home that answers when it is told to, and counts.
#[derive(Clone, Default)]
struct Home {
    asked: Arc<AtomicUsize>,
    answer: Arc<Notify>,
}

impl Home {
    fn read(
        &self,
        answer: u64,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<u64, Problem>> + Send + 'static {
        let home = self.clone();
        move || {
            home.asked.fetch_add(1, Ordering::Relaxed);
            async move {
                home.answer.notified().await;
                Ok(answer)
            }
            .boxed()
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Lets every read that has begun come to its end.
    async fn answer_all(&self) {
        sleep(Duration::from_millis(1)).await;
        self.answer.notify_waiters();
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_same_shares_one_read() {
    let (reads, home) = (reads(), Home::default());
    let asked: Vec<_> = (0..100)
        .map(|nth| reads.ask(after(3), home.read(nth)))
        .collect();
    home.answer_all().await;
    for answer in asked {
        assert_eq!(answer.await.unwrap(), 0);
    }
    assert_eq!(home.asked(), 1);
    // What was answered before is not what there is now, nor is what was asked before a new beginning.
    let again = reads.ask(after(3), home.read(200));
    let begun_anew = Question {
        resets: 1,
        ..after(3)
    };
    let anew = reads.ask(begun_anew, home.read(300));
    home.answer_all().await;
    assert_eq!((again.await.unwrap(), anew.await.unwrap()), (200, 300));
    assert!(reads.under_way.lock().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_read_holds_up_nobody_else_and_ends() {
    let reads = reads();
    let stuck = reads.ask(after(0), std::future::pending);
    let begun = Instant::now();
    for offset in 1..100 {
        let read = reads.ask(after(offset), move || async move { Ok(offset) });
        assert_eq!(read.await.unwrap(), offset);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let problem = stuck.await.unwrap_err();
    assert_eq!(problem.code(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), DEADLINE);
    assert_eq!(reads.turns.available_permits(), OF_ROOM);
    assert_eq!(reads.rules.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_nobody_waits_longer_than_the_deadline() {
    let (reads, home) = (reads(), Home::default());
    let begun = Instant::now();
    let asked: Vec<_> = (0..50)
        .map(|offset| reads.ask(after(offset), home.read(offset)))
        .collect();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((home.asked(), reads.rules.under_way()), (OF_ROOM, OF_ROOM));
    home.answer_all().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(home.asked(), 2 * OF_ROOM);
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), OF_ROOM);
    assert_eq!(begun.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_not_read() {
    let (reads, home) = (reads(), Home::default());
    let (one, other) = (
        reads.ask(after(1), home.read(1)),
        reads.ask(after(1), home.read(1)),
    );
    drop(one);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(reads.rules.under_way(), 1);
    drop(other);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(reads.rules.under_way(), 0);
    assert_eq!(reads.turns.available_permits(), OF_ROOM);
}

/// Whoever waits may not be looked at for long: its client takes nothing.
#[tokio::test(start_paused = true)]
async fn a_read_goes_on_while_nobody_looks_at_it() {
    let reads = reads();
    let asked: Vec<_> = (0..2 * OF_ROOM as u64)
        .map(|offset| reads.ask(after(offset), move || async move { Ok(offset) }))
        .collect();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reads.turns.available_permits(), OF_ROOM);
    drop(asked);
}

#[tokio::test(start_paused = true)]
async fn failures_slow_all_down_until_a_read_succeeds() {
    let reads = reads();
    let mut begun = Vec::new();
    for offset in 0..10 {
        let failed = reads.ask(after(offset), || async { Err(away()) }).await;
        assert_eq!(failed.unwrap_err().code(), Code::Unavailable);
        begun.push(Instant::now());
    }
    let pauses: Vec<_> = begun.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses[0] >= Duration::from_millis(100), "{pauses:?}");
    assert!(pauses[8] >= Duration::from_millis(2_500), "{pauses:?}");
    assert!(pauses[8] <= Duration::from_secs(5), "{pauses:?}");
    assert_eq!(reads.ask(after(99), || async { Ok(1) }).await.unwrap(), 1);
    let back = Instant::now();
    assert_eq!(reads.ask(after(98), || async { Ok(2) }).await.unwrap(), 2);
    assert_eq!(back.elapsed(), Duration::ZERO);
}
