//! What others put into the inbox of a job, and how it waits for that.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quorate::ErrorKind;
use quorate::queue::{Delivered, JobEnd, JobId, JobState, NewJob, News, ReadFrom, Settlement};

use super::telling::{heard, listen};
use super::{HOUR, MINUTE, Queue, SECOND, ended, failed, job, options, succeeded};
use crate::harness::Home;

impl Queue {
    pub(super) async fn tell(&self, id: JobId, message: &str) -> Option<JobState> {
        let message = Bytes::copy_from_slice(message.as_bytes());
        let told = self.port.tell(&self.key, id, message, options());
        told.await.unwrap()
    }

    /// Whether it is rewound; or else why not.
    async fn rewind(&self, id: JobId, entries: u64) -> Result<bool, String> {
        let rewound = self.port.rewind(&self.key, id, entries, options());
        rewound.await.map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            error.to_string()
        })
    }
}

/// For an hour, or until there is a message behind so many.
fn waiting(seen: u64) -> Settlement {
    let after = HOUR;
    Settlement::Waiting { after, seen }
}

const ACTIVE: Option<JobState> = Some(JobState::Active { cancelled: false });

/// In their order, also one that is there twice, and each with when it came.
pub async fn a_message_is_in_the_inbox_and_announced_to_who_has_the_job(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    for message in ["one", "one", ""] {
        assert_eq!(queue.tell(it.id, message).await, ACTIVE);
        // One that is asked for in between is no news.
        queue.tell(JobId::random(), "nobody").await;
        assert_eq!(heard(&mut news).await, News::Message(it.id));
        home.elapse(SECOND).await;
    }
    let page = queue.read_from(it.id, ReadFrom::default()).await.unwrap();
    let times: Vec<_> = page.messages.iter().map(|(at, _)| *at).collect();
    assert!(times[1] >= times[0].plus(SECOND) && times[2] >= times[1].plus(SECOND));
    assert_eq!(queue.inbox(it.id).await.unwrap(), ["one", "one", ""]);
    let from = ReadFrom {
        entry: 0,
        message: 2,
    };
    let page = queue.read_from(it.id, from).await.unwrap();
    assert_eq!((page.messages.len(), page.told), (1, 3));
    let view = queue.port.inspect(&queue.key, it.id, options());
    assert_eq!(view.await.unwrap().unwrap().messages, 3);
}

/// Who is idle is woken for it, and knows by the checkpoint that it has begun. So does one that is to be tried again.
pub async fn a_message_wakes_a_job_that_waits(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    assert!(queue.settle(1, 2, &it, waiting(0)).await);
    assert!(matches!(queue.look(it.id).await, Some(JobState::Due(_))));
    assert_eq!(queue.take(7, 1, 1).await, []);
    assert_eq!(queue.tell(it.id, "go on").await, Some(JobState::Ready));
    assert_eq!(heard(&mut news).await, News::Wake(7));
    assert_eq!(queue.look(it.id).await, Some(JobState::Ready));
    let again = queue.take(7, 2, 1).await.remove(0);
    assert!(again.id == it.id && again.attempt == 1 && again.checkpoint.is_some());
    assert_eq!(queue.inbox(it.id).await.unwrap(), ["go on"]);
    // It is in one place, and waits again for what is behind that.
    assert_eq!(queue.take(7, 3, 1).await, []);
    assert!(queue.settle(7, 4, &again, waiting(1)).await);
    assert!(matches!(queue.look(it.id).await, Some(JobState::Due(_))));
    assert_eq!(queue.tell(it.id, "once more").await, Some(JobState::Ready));
    let again = queue.take(7, 5, 1).await.remove(0);
    assert!(queue.settle(7, 6, &again, failed(HOUR)).await);
    assert_eq!(queue.tell(it.id, "try").await, Some(JobState::Ready));
    assert_eq!(queue.take(7, 7, 1).await.remove(0).attempt, 2);
}

/// Who says that it waits, and has not seen it, does not wait.
pub async fn a_message_before_the_wait_is_not_missed(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    assert_eq!(queue.take(2, 1, 0).await, []);
    let id = {
        let it = queue.take_one(1).await;
        assert_eq!(queue.tell(it.id, "one").await, ACTIVE);
        assert!(queue.settle(1, 2, &it, waiting(0)).await);
        it.id
    };
    assert_eq!(queue.look(id).await, Some(JobState::Ready));
    let it = queue.take_one(3).await;
    assert!(it.checkpoint.is_some());
    assert!(queue.settle(1, 4, &it, waiting(1)).await);
    assert!(matches!(queue.look(id).await, Some(JobState::Due(_))));
}

/// Also without a message; and that was no attempt, however often.
pub async fn a_job_that_waits_is_due_in_time(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    for number in 0..4 {
        let it = queue.take_one(number * 2 + 1).await;
        assert_eq!((it.attempt, it.checkpoint.is_some()), (1, number > 0));
        assert!(queue.settle(1, number * 2 + 2, &it, waiting(0)).await);
        home.elapse(HOUR - SECOND).await;
        assert!(matches!(queue.look(it.id).await, Some(JobState::Due(_))));
        home.elapse(2 * SECOND).await;
    }
    let stats = queue.port.stats(&queue.key, options()).await.unwrap();
    assert_eq!((stats.totals.deferred, stats.totals.failed), (4, 0));
}

/// It is in its inbox when it begins.
pub async fn a_message_does_not_begin_a_job(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        delay: MINUTE,
        ..job("late")
    };
    let ready = job("ready");
    queue.push(&[late.clone(), ready.clone()]).await;
    let told = queue.tell(late.id, "early").await;
    assert!(matches!(told, Some(JobState::Due(_))), "{told:?}");
    let again = queue.tell(late.id, "again").await;
    assert_eq!(told, again);
    let told = queue.tell(ready.id, "early").await;
    assert_eq!(told, Some(JobState::Ready));
    let first = queue.take_one(1).await;
    // Whoever has it knows that there is something to be read.
    assert!(first.id == ready.id && first.checkpoint.is_some());
    home.elapse(MINUTE + SECOND).await;
    let taken = queue.take(2, 1, 9).await;
    let second = taken.iter().find(|it| it.id == late.id).unwrap();
    assert!(second.checkpoint.is_some());
    assert_eq!(queue.inbox(late.id).await.unwrap(), ["early", "again"]);
    assert_eq!(queue.inbox(ready.id).await.unwrap(), ["early"]);
    // From then on it has begun, and is woken.
    queue.append(second, 0, &["one"]).await;
    assert!(queue.settle(2, 2, second, waiting(2)).await);
    assert_eq!(queue.tell(late.id, "late").await, Some(JobState::Ready));
}

/// Who tells it learns what became of the job.
pub async fn a_message_for_a_job_that_is_over_is_not_kept(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("done"), job("dead")]).await;
    let taken = queue.take(1, 1, 2).await;
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    let dead = Settlement::Dead("never".to_owned());
    assert!(queue.settle(1, 3, &taken[1], dead).await);
    let done = JobEnd::Succeeded(Bytes::from_static(b"sent"));
    let dead = JobEnd::Dead("never".to_owned());
    for (it, end) in taken.iter().zip([done, dead]) {
        assert_eq!(queue.tell(it.id, "late").await, ended(end));
        assert_eq!(queue.inbox(it.id).await.unwrap(), [""; 0]);
    }
    assert_eq!(queue.tell(JobId::random(), "nobody").await, None);
    let other = Queue::named(&home, "other");
    assert_eq!(other.tell(taken[0].id, "nobody").await, None);
}

/// Whichever comes first, of many at once.
pub async fn of_messages_and_waits_at_once_none_is_missed(home: Home) {
    let queue = Queue::new(&home);
    let jobs: Vec<_> = (0..32).map(|_| job("a")).collect();
    queue.push(&jobs).await;
    let taken = queue.take(1, 1, 99).await;
    let wait = |nth: u64, it: &Delivered| {
        let (queue, it) = (&queue, it.clone());
        async move { assert!(queue.settle(100 + nth, 1, &it, waiting(0)).await) }
    };
    let tell = |it: &Delivered| {
        let (queue, id) = (&queue, it.id);
        async move { assert!(queue.tell(id, "go on").await.is_some()) }
    };
    let pairs = (0..).zip(&taken).map(|(nth, it)| async move {
        if nth % 2 == 0 {
            tokio::join!(wait(nth, it), tell(it));
        } else {
            tokio::join!(tell(it), wait(nth, it));
        }
    });
    join_all(pairs).await;
    for job in &jobs {
        assert_eq!(queue.look(job.id).await, Some(JobState::Ready));
        assert_eq!(queue.inbox(job.id).await.unwrap(), ["go on"]);
    }
    assert_eq!(queue.take(2, 1, 99).await.len(), 32);
}

/// Kept as long as it says of itself.
pub async fn who_has_a_job_ends_it_as_cancelled(home: Home) {
    let queue = Queue::new(&home);
    let gone = NewJob {
        keep: Duration::ZERO,
        ..job("gone")
    };
    queue.push(&[job("kept"), gone]).await;
    let taken = queue.take(1, 1, 2).await;
    for (worker, it) in (1..).zip(&taken) {
        queue.append(it, 0, &["one"]).await;
        assert!(queue.settle(worker, 2, it, Settlement::Cancelled).await);
        assert!(!queue.settle(worker, 3, it, succeeded()).await);
    }
    assert_eq!(queue.look(taken[0].id).await, ended(JobEnd::Cancelled));
    assert_eq!(queue.look(taken[1].id).await, None);
    assert_eq!(queue.journal(taken[0].id).await.unwrap(), ["one"]);
    let stats = queue.port.stats(&queue.key, options()).await.unwrap();
    assert_eq!((stats.totals.cancelled, stats.active), (2, 0));
    home.elapse(HOUR + SECOND).await;
    assert_eq!(queue.look(taken[0].id).await, None);
}

/// It would be delivered again.
pub async fn who_was_cancelled_does_not_wait(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    queue.tell(it.id, "go on").await;
    let asked = JobState::Active { cancelled: true };
    assert_eq!(queue.cancel(it.id).await, Some(asked.clone()));
    assert_eq!(queue.tell(it.id, "stop").await, Some(asked));
    assert!(queue.settle(1, 2, &it, waiting(0)).await);
    assert_eq!(queue.look(it.id).await, ended(JobEnd::Cancelled));
}

/// With all its attempts, and the first entries; without any, as if it had never begun.
pub async fn a_dead_job_is_rewound(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    queue.append(&it, 0, &["one", "two", "three"]).await;
    queue.tell(it.id, "hello").await;
    assert_eq!(heard(&mut news).await, News::Message(it.id));
    assert_eq!(queue.rewind(it.id, 2).await, Ok(false));
    assert!(queue.settle(1, 2, &it, failed(Duration::ZERO)).await);
    let it = queue.take_one(3).await;
    assert!(queue.settle(1, 4, &it, failed(HOUR)).await);
    let why = queue.rewind(it.id, 4).await.unwrap_err();
    assert!(why.contains("entries must be at most the 3"), "{why}");
    assert!(queue.rewind(it.id, u64::MAX).await.is_err());
    assert_eq!(queue.rewind(JobId::random(), 0).await, Ok(false));
    assert_eq!(queue.take(7, 1, 1).await, []);
    assert_eq!(queue.rewind(it.id, 2).await, Ok(true));
    assert_eq!(queue.rewind(it.id, 2).await, Ok(false));
    assert_eq!(heard(&mut news).await, News::Wake(7));

    let it = queue.take_one(5).await;
    assert!(it.attempt == 1 && it.checkpoint.is_some());
    assert_eq!(queue.journal(it.id).await.unwrap(), ["one", "two"]);
    assert_eq!(queue.inbox(it.id).await.unwrap(), ["hello"]);
    queue.append(&it, 2, &["other"]).await;
    let dead = Settlement::Dead("never".to_owned());
    assert!(queue.settle(1, 6, &it, dead.clone()).await);
    assert_eq!(queue.rewind(it.id, 0).await, Ok(true));
    let it = queue.take_one(7).await;
    assert_eq!(queue.journal(it.id).await.unwrap(), [""; 0]);
    queue.append(&it, 0, &["anew"]).await;
    assert!(queue.settle(1, 8, &it, dead).await);
    // As it is.
    assert_eq!(queue.rewind(it.id, 1).await, Ok(true));
    assert_eq!(queue.journal(it.id).await.unwrap(), ["anew"]);
}
