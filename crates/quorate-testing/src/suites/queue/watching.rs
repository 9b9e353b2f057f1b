//! Who is told what happens in a queue, and when nobody is.

use std::time::Duration;

use bytes::Bytes;
use quorate::Subscription;
use quorate::queue::{
    Ask, EventBatch, JobEventKind, JobId, JobPlace, NewJob, Note, Settlement, WATCHED,
};

use super::groups::{Two, left};
use super::{HOUR, MINUTE, Queue, ask, failed, job, options, settled, succeeded};
use crate::harness::Home;

/// Somebody who listens to what happens in a queue.
struct Listener {
    queue: Queue,
    batches: Subscription<Bytes>,
    /// Of the last batch.
    number: u64,
}

impl Listener {
    async fn new(home: &Home) -> Self {
        let channel = home.fleet().channel("queue:{mail}:events").unwrap();
        let batches = channel.sharded().subscribe().await.unwrap();
        let queue = Queue::new(home);
        let number = watch(&queue).await;
        Self {
            queue,
            batches,
            number,
        }
    }

    /// The next batch, which has the next number.
    async fn batch(&mut self) -> EventBatch {
        let message = self.batches.next_message().await.unwrap();
        let batch = EventBatch::decode(&message).unwrap();
        assert_eq!(batch.number, self.number + 1, "{batch:?}");
        self.number = batch.number;
        batch
    }

    /// All that was told up to now, with the times from then on in seconds.
    async fn heard(&mut self) -> Vec<(JobId, String)> {
        let (last, mut heard) = (watch(&self.queue).await, Vec::new());
        while self.number < last {
            let events = self.batch().await.events.into_iter();
            heard.extend(events.map(|it| {
                let seconds = |at: quorate::Micros| at.since(it.at).as_secs();
                let what = match it.kind {
                    JobEventKind::Queued { due } => format!("queued {:?}", due.map(seconds)),
                    JobEventKind::Deferred { until } => format!("deferred {}", seconds(until)),
                    JobEventKind::Failed { error, retry } => {
                        format!("failed {error} {}", seconds(retry))
                    }
                    other => format!("{other:?}"),
                };
                (it.id, what)
            }));
        }
        heard
    }

    /// What was told up to now is this, of these jobs.
    async fn hears(&mut self, expected: &[(JobId, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, what)| (*id, (*what).to_owned()))
            .collect();
        assert_eq!(self.heard().await, expected);
    }
}

async fn watch(queue: &Queue) -> u64 {
    queue.port.watch(&queue.key, options()).await.unwrap()
}

/// From when they are queued to how they end.
pub async fn who_listens_is_told_what_becomes_of_jobs(home: Home) {
    let mut told = Listener::new(&home).await;
    let queue = Queue::new(&home);
    let (plain, late) = (job("a"), job("b"));
    let late = NewJob {
        delay: HOUR,
        attempts: 1,
        ..late
    };
    let (one, two) = (plain.id, late.id);
    queue.push(&[plain]).await;
    queue.push(&[late]).await;
    told.hears(&[(one, "queued None"), (two, "queued Some(3600)")])
        .await;

    let started = "Started { attempt: 1 }";
    let taken = queue.take(1, 1, 1).await.remove(0);
    told.hears(&[(one, started)]).await;
    let progress = queue.port.note(
        &queue.key,
        one,
        taken.lease,
        Note::Progress(Bytes::from_static(b"1")),
        options(),
    );
    assert!(progress.await.unwrap());
    // The log is nobody's concern but of who looks at the job.
    let line = Note::Log("half".to_owned());
    let noted = queue
        .port
        .note(&queue.key, one, taken.lease, line, options());
    assert!(noted.await.unwrap());
    told.hears(&[(one, "Progress")]).await;
    queue
        .settle(1, 2, &taken, Settlement::Deferred(MINUTE))
        .await;
    told.hears(&[(one, "deferred 60")]).await;
    home.elapse(MINUTE).await;
    watch_anew(&mut told).await;
    let taken = queue.take(1, 3, 1).await.remove(0);
    assert!(queue.settle(1, 4, &taken, failed(2 * MINUTE)).await);
    let why = "failed no such mailbox 120";
    told.hears(&[(one, started), (one, why)]).await;
    home.elapse(2 * MINUTE).await;
    watch_anew(&mut told).await;
    let taken = queue.take(1, 5, 1).await.remove(0);
    assert!(queue.settle(1, 6, &taken, succeeded()).await);
    told.hears(&[(one, "Started { attempt: 2 }"), (one, "Succeeded")])
        .await;

    home.elapse(HOUR).await;
    watch_anew(&mut told).await;
    assert_eq!(queue.take(1, 7, 1).await.len(), 1);
    told.hears(&[(two, started)]).await;
    home.elapse(2 * MINUTE).await;
    watch_anew(&mut told).await;
    assert_eq!(queue.take(1, 8, 1).await, []);
    told.hears(&[(two, "Dead { error: \"its lease ran out\" }")])
        .await;
}

/// After more than it lasts: what happened meanwhile was not told.
async fn watch_anew(told: &mut Listener) {
    let number = watch(&told.queue).await;
    assert!(number > told.number, "a number is left out");
    told.number = number;
}

/// In one batch, whatever a step does.
pub async fn what_happens_in_one_step_is_told_together(home: Home) {
    let mut told = Listener::new(&home).await;
    let queue = Queue::new(&home);
    let jobs = ["a", "b", "c", "d", "e"].map(job);
    let ids = jobs.each_ref().map(|it| it.id);
    queue.push(&jobs).await;
    assert_eq!(told.batch().await.events.len(), 5);
    let taken = queue.take(1, 1, 4).await;
    assert_eq!(told.batch().await.events.len(), 4);
    // One of them twice: the first counts.
    let all = [
        settled(&taken[0], succeeded()),
        settled(&taken[1], succeeded()),
        settled(&taken[2], Settlement::Dead("never".to_owned())),
        settled(&taken[3], failed(Duration::ZERO)),
    ];
    let ask = Ask {
        settled: all.into(),
        ..ask(1, 2, 2)
    };
    let turn = queue.turn(&ask).await;
    assert_eq!(turn.settled, [true; 4]);
    assert_eq!(turn.delivered.len(), 2);
    let before = told.number;
    let mut heard = told.heard().await;
    assert!(told.number - before <= 2, "what ends, and what begins");
    let died = "Dead { error: \"never\" }";
    let mut expected = vec![
        (ids[0], "Succeeded"),
        (ids[1], "Succeeded"),
        (ids[2], died),
        (ids[3], "failed no such mailbox 0"),
        (ids[4], "Started { attempt: 1 }"),
        (ids[3], "Started { attempt: 2 }"),
    ];
    // What becomes of one job is in its order.
    heard.sort_by_key(|(id, _)| *id);
    expected.sort_by_key(|(id, _)| *id);
    let expected = expected.into_iter().map(|(id, it)| (id, it.to_owned()));
    assert_eq!(heard, expected.collect::<Vec<_>>());
}

/// What producers cancel, what operators do, and what nobody began in time.
pub async fn who_listens_is_told_what_is_done_to_jobs(home: Home) {
    let mut told = Listener::new(&home).await;
    let queue = Queue::new(&home);
    let jobs = ["a", "b", "c"].map(job);
    let [one, two, three] = jobs.each_ref().map(|it| it.id);
    queue.push(&jobs).await;
    told.heard().await;
    queue.cancel(one).await;
    told.hears(&[(one, "Cancelled")]).await;
    let purged = queue
        .port
        .purge(&queue.key, JobPlace::Ready, 1, options())
        .await;
    assert_eq!(purged.unwrap(), 1);
    told.hears(&[(two, "Cancelled")]).await;
    let taken = queue.take(1, 1, 1).await;
    // It goes on until its worker says so.
    queue.cancel(three).await;
    let dead = Settlement::Dead("never".to_owned());
    assert!(queue.settle(1, 2, &taken[0], dead).await);
    let ids = [three, one, JobId::random()];
    let redriven = queue.port.redrive(&queue.key, &ids, options());
    assert_eq!(redriven.await.unwrap(), [true, false, false]);
    let removed = queue.port.remove(&queue.key, &ids, options());
    removed.await.unwrap();
    told.hears(&[
        (three, "Started { attempt: 1 }"),
        (three, "Dead { error: \"never\" }"),
        (three, "Redriven"),
        (three, "Cancelled"),
        (one, "Removed"),
    ])
    .await;
    let soon = NewJob {
        expires: Some(MINUTE),
        ..job("soon")
    };
    queue.push(std::slice::from_ref(&soon)).await;
    told.heard().await;
    home.elapse(2 * MINUTE).await;
    watch_anew(&mut told).await;
    assert_eq!(queue.take(1, 3, 1).await, []);
    told.hears(&[(soon.id, "Expired")]).await;
}

/// With how its jobs ended.
pub async fn who_listens_is_told_that_a_group_is_over(home: Home) {
    let two = Two::new(&home);
    let group = two
        .begin(vec![left("post", job("a")), left("post", job("b"))])
        .await;
    let mut told = Listener::new(&home).await;
    two.end_one(&two.post, succeeded()).await;
    two.end_one(&two.post, Settlement::Dead("never".to_owned()))
        .await;
    let over = "GroupEnded { succeeded: 2, dead: 1, cancelled: 0, expired: 0 }";
    told.hears(&[(group, over)]).await;
}

/// Neither before somebody asks nor when that was long ago; and then a number is missing.
pub async fn nothing_is_told_when_nobody_listens(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let mut told = Listener::new(&home).await;
    let one = job("b");
    queue.push(std::slice::from_ref(&one)).await;
    told.hears(&[(one.id, "queued None")]).await;
    home.elapse(WATCHED * 2).await;
    queue.push(&[job("c"), job("d")]).await;
    assert_eq!(queue.take(1, 1, 9).await.len(), 4);
    let number = watch(&queue).await;
    assert!(number > told.number, "a number is left out");
    told.number = number;
    let other = job("e");
    queue.push(std::slice::from_ref(&other)).await;
    told.hears(&[(other.id, "queued None")]).await;
}
