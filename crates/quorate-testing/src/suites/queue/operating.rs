//! What operators do with jobs.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::ErrorKind;
use quorate::queue::{
    JobId, JobPlace, JobState, MOST_LISTED, NewJob, News, Note, Pushed, Removed, Settlement,
    Unique, UniqueScope,
};

use super::telling::{heard, listen};
use super::{HOUR, MINUTE, Queue, failed, inputs, job, options, succeeded};
use crate::harness::Home;

impl Queue {
    async fn redrive(&self, ids: &[JobId]) -> Vec<bool> {
        let done = self.port.redrive(&self.key, ids, options());
        done.await.unwrap()
    }

    async fn edit(&self, id: JobId, input: &'static str) -> bool {
        let input = Bytes::from_static(input.as_bytes());
        let done = self.port.edit(&self.key, id, input, options());
        done.await.unwrap()
    }

    async fn remove(&self, ids: &[JobId]) -> Vec<Removed> {
        let done = self.port.remove(&self.key, ids, options());
        done.await.unwrap()
    }

    async fn purge(&self, place: JobPlace, most: usize) -> usize {
        let done = self.port.purge(&self.key, place, most, options());
        done.await.unwrap()
    }

    /// Pushes jobs of which a worker says that they are dead.
    async fn bury(&self, jobs: &[NewJob], number: u64) {
        self.push(jobs).await;
        let taken = self.take(1, number, jobs.len()).await;
        assert_eq!(taken.len(), jobs.len());
        for (number, it) in (number + 1..).zip(&taken) {
            let dead = Settlement::Dead("never".to_owned());
            assert!(self.settle(1, number, it, dead).await);
        }
    }
}

/// With all its attempts, and though its time to be begun is over; once, though it is asked for twice.
pub async fn a_dead_job_is_redriven(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        expires: Some(HOUR),
        ..job("a")
    };
    queue.push(std::slice::from_ref(&late)).await;
    for number in [1, 3] {
        let taken = queue.take(1, number, 1).await;
        assert!(
            queue
                .note(&taken[0], Note::Checkpoint(Bytes::from_static(b"half")))
                .await
        );
        assert!(queue.settle(1, number + 1, &taken[0], failed(MINUTE)).await);
        home.elapse(2 * MINUTE).await;
    }
    assert_eq!(queue.list(JobPlace::Dead, 9).await.len(), 1);
    home.elapse(HOUR).await;
    let other = job("b");
    queue.push(std::slice::from_ref(&other)).await;
    let ids = [late.id, other.id, JobId::random(), late.id];
    assert_eq!(queue.redrive(&ids).await, [true, false, false, false]);
    assert_eq!(queue.redrive(&ids).await, [false; 4]);
    assert_eq!(queue.look(late.id).await, Some(JobState::Ready));
    let taken = queue.take(1, 5, 9).await;
    let it = taken.iter().find(|it| it.id == late.id).unwrap();
    assert_eq!((it.attempt, taken.len()), (1, 2));
    // Where it stopped is known.
    assert_eq!(it.checkpoint, Some(Bytes::from_static(b"half")));
    assert!(queue.settle(1, 6, it, failed(HOUR)).await);
    assert!(matches!(queue.look(it.id).await, Some(JobState::Due(_))));
}

/// So many at once, and somebody is woken for them.
pub async fn dead_jobs_are_redriven_in_bulk(home: Home) {
    let queue = Queue::new(&home);
    let jobs = [job("a"), job("b"), job("c")];
    queue.bury(&jobs, 1).await;
    let mut news = listen(&home).await;
    assert_eq!(queue.take(7, 1, 1).await, []);
    let done = queue.port.redrive_dead(&queue.key, 2, options()).await;
    assert_eq!(done.unwrap(), 2);
    assert_eq!(heard(&mut news).await, News::Wake(7));
    let left = queue.port.redrive_dead(&queue.key, 9, options()).await;
    assert_eq!(left.unwrap(), 1);
    let none = queue.port.redrive_dead(&queue.key, 9, options()).await;
    assert_eq!(none.unwrap(), 0);
    assert_eq!(queue.take(7, 2, 9).await.len(), 3);
}

/// It takes its key again, unless another has it by now.
pub async fn a_redriven_job_takes_its_key_if_that_is_free(home: Home) {
    let queue = Queue::new(&home);
    let unique = |key: &str, scope| NewJob {
        unique: Some(Unique {
            key: key.to_owned(),
            scope,
        }),
        ..job("a")
    };
    let jobs = [
        unique("free", UniqueScope::UntilEnded),
        unique("taken", UniqueScope::UntilEnded),
        unique("own", UniqueScope::UntilForgotten),
    ];
    queue.bury(&jobs, 1).await;
    let other = unique("taken", UniqueScope::UntilEnded);
    assert_eq!(
        queue.push(std::slice::from_ref(&other)).await,
        [Pushed::New]
    );
    let ids = jobs.each_ref().map(|it| it.id);
    assert_eq!(queue.redrive(&ids).await, [true; 3]);
    let again = ["free", "taken", "own"].map(|key| unique(key, UniqueScope::UntilEnded));
    let same = [ids[0], other.id, ids[2]].map(Pushed::Same);
    assert_eq!(queue.push(&again).await, same);
    let taken = queue.take(2, 1, 9).await;
    for (number, it) in (2..).zip(taken.iter().filter(|it| it.id != other.id)) {
        assert!(queue.settle(2, number, it, succeeded()).await);
    }
    let same = [Pushed::New, Pushed::Same(other.id), Pushed::Same(ids[2])];
    assert_eq!(queue.push(&again).await, same);
}

/// As long as nobody has it, and while it is dead.
pub async fn a_job_is_edited_before_it_is_delivered(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        delay: HOUR,
        group: "g".to_owned(),
        ..job("b")
    };
    let dead = job("c");
    queue.bury(std::slice::from_ref(&dead), 1).await;
    let ready = job("a");
    queue.push(&[ready.clone(), late.clone()]).await;
    for id in [ready.id, late.id, dead.id] {
        assert!(queue.edit(id, "edited").await);
        assert!(queue.edit(id, "edited").await);
    }
    assert!(!queue.edit(JobId::random(), "edited").await);
    queue.redrive(&[dead.id]).await;
    home.elapse(2 * HOUR).await;
    let taken = queue.take(1, 3, 9).await;
    assert_eq!(inputs(&taken), ["edited"; 3]);
    assert!(taken.iter().any(|it| it.group == "g"));
    assert!(!queue.edit(ready.id, "late").await);
    assert!(queue.settle(1, 4, &taken[0], succeeded()).await);
    assert!(!queue.edit(taken[0].id, "later").await);
}

/// Wherever it is, unless somebody has it. Nothing is left of it, and who waits for its end hears of it.
pub async fn a_job_that_nobody_has_is_removed(home: Home) {
    let queue = Queue::new(&home);
    let unique = |input| NewJob {
        unique: Some(Unique {
            key: "order 42".to_owned(),
            scope: UniqueScope::UntilForgotten,
        }),
        ..job(input)
    };
    let (dead, ready) = (unique("dead"), job("ready"));
    let late = NewJob {
        delay: HOUR,
        ..job("late")
    };
    queue.bury(std::slice::from_ref(&dead), 1).await;
    queue.push(&[job("active"), job("done")]).await;
    let taken = queue.take(1, 3, 2).await;
    assert!(queue.settle(1, 4, &taken[1], succeeded()).await);
    queue.push(&[ready.clone(), late.clone()]).await;
    let looked = queue.port.look(&queue.key, late.id, true, options());
    looked.await.unwrap();
    let mut news = listen(&home).await;
    let ids = [
        dead.id,
        taken[0].id,
        taken[1].id,
        ready.id,
        late.id,
        ready.id,
    ];
    let (gone, unknown) = (Removed::Gone, Removed::Unknown);
    let active = Removed::Active;
    assert_eq!(
        queue.remove(&ids).await,
        [gone, active, gone, gone, gone, unknown]
    );
    assert_eq!(heard(&mut news).await, News::Ended(late.id));
    assert_eq!(
        queue.remove(&ids).await,
        [unknown, active, unknown, unknown, unknown, unknown]
    );
    for id in [dead.id, taken[1].id, ready.id, late.id] {
        assert_eq!(queue.inspect(id).await, None);
    }
    assert_eq!(
        queue.push(&[unique("again")]).await,
        [Pushed::New],
        "its key is free"
    );
    assert_eq!(queue.take(1, 5, 9).await.len(), 1);
    assert!(queue.settle(1, 6, &taken[0], succeeded()).await);
}

/// So many at once, and no other place loses any.
pub async fn a_place_is_purged(home: Home) {
    let queue = Queue::new(&home);
    let dead: Vec<_> = (0..3).map(|_| job("dead")).collect();
    queue.bury(&dead, 1).await;
    let late = NewJob {
        delay: HOUR,
        ..job("late")
    };
    queue.push(&[job("a"), job("b"), late]).await;
    assert_eq!(queue.purge(JobPlace::Dead, 2).await, 2);
    assert_eq!(queue.purge(JobPlace::Dead, 2).await, 1);
    assert_eq!(queue.purge(JobPlace::Dead, 2).await, 0);
    assert_eq!(queue.purge(JobPlace::Ready, 1).await, 1);
    let stats = queue.stats().await;
    assert_eq!((stats.ready, stats.due, stats.dead), (1, 1, 0));
    assert_eq!(queue.purge(JobPlace::Ready, 9).await, 1);
    assert_eq!(queue.purge(JobPlace::Due, 9).await, 1);
    assert_eq!(queue.purge(JobPlace::Ended, 9).await, 0);
    let stats = queue.stats().await;
    let totals = (
        stats.totals.pushed,
        stats.totals.dead,
        stats.totals.cancelled,
    );
    assert_eq!(
        (stats.ready + stats.due + stats.ended, totals),
        (0, (6, 3, 3))
    );
}

/// One that is over and that nobody has come by to forget is none of those that are meant.
pub async fn what_is_kept_no_longer_is_not_purged(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 2).await;
    for (number, keep) in [(2, MINUTE), (3, HOUR)] {
        let done = Settlement::Succeeded {
            result: Bytes::from_static(b"sent"),
            keep,
            work: None,
        };
        let nth = usize::from(number == 3);
        assert!(queue.settle(1, number, &taken[nth], done).await);
    }
    home.elapse(MINUTE * 2).await;
    assert_eq!(queue.purge(JobPlace::Ended, 1).await, 1);
    assert_eq!(queue.look(taken[1].id).await, None);
    assert_eq!(queue.purge(JobPlace::Ended, 1).await, 0);
}

/// Before anything is done.
pub async fn what_is_too_much_for_operators_is_refused(home: Home) {
    let queue = Queue::new(&home);
    let many: Vec<_> = (0..=MOST_LISTED).map(|_| JobId::random()).collect();
    assert_eq!(many.iter().collect::<BTreeSet<_>>().len(), many.len());
    let (port, key) = (&queue.port, &queue.key);
    let errors = [
        (
            "ids",
            port.redrive(key, &many, options()).await.unwrap_err(),
        ),
        ("ids", port.remove(key, &many, options()).await.unwrap_err()),
        (
            "most",
            port.redrive_dead(key, 0, options()).await.unwrap_err(),
        ),
        (
            "most",
            port.purge(key, JobPlace::Dead, MOST_LISTED + 1, options())
                .await
                .unwrap_err(),
        ),
        (
            "place",
            port.purge(key, JobPlace::Active, 1, options())
                .await
                .unwrap_err(),
        ),
    ];
    for (field, error) in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&format!("{field} must ")), "{text}");
    }
}
