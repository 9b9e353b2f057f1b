//! Who is told what, so that nobody has to ask again and again.

use bytes::Bytes;
use quorate::Subscription;
use quorate::queue::{JobState, NewJob, News};

use super::{HOUR, MINUTE, Queue, ask, job, options, succeeded};
use crate::harness::Home;

/// What is announced of the queue from here on.
pub(super) async fn listen(home: &Home) -> Subscription<Bytes> {
    let channel = home.fleet().channel("queue:{mail}:news").unwrap();
    channel.sharded().subscribe().await.unwrap()
}

pub(super) async fn heard(news: &mut Subscription<Bytes>) -> News {
    let message = news.next_message().await.unwrap();
    News::parse(std::str::from_utf8(&message).unwrap()).unwrap()
}

/// The one that has been idle for longest; and one that was woken is not, before it has asked again.
pub async fn one_idle_worker_is_woken(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    assert_eq!(queue.take(7, 1, 1).await, []);
    assert_eq!(queue.take(u64::MAX, 1, 1).await, []);
    for worker in [7, u64::MAX] {
        queue.push(&[job("a")]).await;
        assert_eq!(heard(&mut news).await, News::Wake(worker));
    }
    queue.push(&[job("a")]).await;
    // Who gets less than it wants is idle all the same.
    assert_eq!(queue.take(7, 2, 9).await.len(), 3);
    queue.push(&[job("a")]).await;
    assert_eq!(heard(&mut news).await, News::Wake(7));
}

/// One after the other; of a paused queue none.
pub async fn who_leaves_something_wakes_the_next(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    for worker in [1, 2, 3] {
        assert_eq!(queue.take(worker, 1, 1).await, []);
    }
    queue.push(&[job("a"), job("b"), job("c")]).await;
    assert_eq!(heard(&mut news).await, News::Wake(1));
    assert_eq!(queue.take(1, 2, 1).await.len(), 1);
    assert_eq!(heard(&mut news).await, News::Wake(2));
    queue.pause(true).await;
    assert_eq!(queue.take(2, 2, 1).await, []);
    queue.pause(false).await;
    assert_eq!(heard(&mut news).await, News::Wake(3));
}

/// When something is due or a lease ends; and is woken if that is sooner than it knows.
pub async fn who_is_idle_knows_when_to_come_again(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    assert_eq!(queue.turn(&ask(1, 1, 1)).await.next, None);
    let late = |delay| NewJob {
        delay,
        ..job("late")
    };
    queue.push(&[late(HOUR)]).await;
    assert_eq!(heard(&mut news).await, News::Wake(1));
    let next = queue.turn(&ask(1, 2, 1)).await.next.unwrap();
    assert!(next <= HOUR && next > HOUR - MINUTE, "{next:?}");
    queue.push(&[late(2 * HOUR)]).await;
    queue.push(&[late(HOUR / 2)]).await;
    assert_eq!(heard(&mut news).await, News::Wake(1));
    queue.push(&[job("now")]).await;
    let turn = queue.turn(&ask(2, 1, 2)).await;
    assert_eq!(turn.delivered.len(), 1);
    let next = turn.next.unwrap();
    assert!(next <= MINUTE && next > MINUTE / 2, "{next:?}");
}

/// To nobody else; and who has a cancelled job is told always.
pub async fn an_end_is_announced_to_who_waits_for_it(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    let jobs = [job("a"), job("b"), job("c")];
    queue.push(&jobs).await;
    let taken = queue.take(1, 1, 2).await;
    for (it, expected) in [
        (&jobs[1], JobState::Active { cancelled: false }),
        (&jobs[2], JobState::Ready),
    ] {
        let state = queue.port.look(&queue.key, it.id, true, options());
        assert_eq!(state.await.unwrap(), Some(expected));
    }
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    assert!(queue.settle(1, 3, &taken[1], succeeded()).await);
    // Of the first nobody wants to know.
    assert_eq!(heard(&mut news).await, News::Ended(jobs[1].id));
    queue.cancel(jobs[2].id).await;
    assert_eq!(heard(&mut news).await, News::Ended(jobs[2].id));
    queue.push(&[job("d")]).await;
    let taken = queue.take(1, 4, 1).await;
    queue.cancel(taken[0].id).await;
    assert_eq!(heard(&mut news).await, News::Cancelled(taken[0].id));
}
