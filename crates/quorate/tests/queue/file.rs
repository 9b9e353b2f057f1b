//! Queues in the home in a file: what is there again.

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Ask, Fired, Firing, JobEnd, JobId, JobState, NewJob, Note, Pushed, QueueLimits, Settled,
    Settlement, Turn, Unique, UniqueScope, WorkerId,
};
use quorate::{CallOptions, Fleet, Key, Micros, TestClock};
use quorate_testing::harness::file_url;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// By a clock that is so far ahead of the system's.
    async fn open_ahead(&self, ahead: Duration) -> Fleet {
        let clock = TestClock::new();
        clock.advance(ahead);
        let url = file_url(&self.0.path().join("home.redb"));
        let builder = Fleet::builder().url(url).test_clock(clock);
        builder.build().await.unwrap()
    }

    async fn open(&self) -> Fleet {
        self.open_ahead(Duration::ZERO).await
    }
}

fn options() -> CallOptions {
    CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5))
}

fn key(fleet: &Fleet) -> Key {
    Key::new(fleet.namespace(), "mail").unwrap()
}

fn job(input: &'static str) -> NewJob {
    NewJob {
        id: JobId::random(),
        input: Bytes::from_static(input.as_bytes()),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 3,
        expires: None,
        keep: HOUR,
        member_of: None,
        unique: None,
    }
}

async fn push(fleet: &Fleet, jobs: &[NewJob]) -> Vec<Pushed> {
    let pushed = fleet.queue_port();
    pushed.push(&key(fleet), jobs, options()).await.unwrap()
}

async fn turn(
    fleet: &Fleet,
    worker: WorkerId,
    number: u64,
    want: usize,
    settled: Vec<Settled>,
) -> Turn {
    let ask = Ask {
        worker,
        number,
        settled,
        want,
        lease: HOUR,
        takes_groups: false,
        limits: QueueLimits::NONE,
    };
    let port = fleet.queue_port();
    port.turn(&key(fleet), &ask, options()).await.unwrap()
}

async fn look(fleet: &Fleet, id: JobId) -> Option<JobState> {
    let port = fleet.queue_port();
    port.look(&key(fleet), id, false, options()).await.unwrap()
}

fn inputs(turn: &Turn) -> Vec<&[u8]> {
    turn.delivered.iter().map(|it| &it.input[..]).collect()
}

/// In every place. Of what a worker had, the delivery counts: it died with the process.
#[tokio::test]
async fn every_job_is_there_again() {
    let place = Place::new();
    let fleet = place.open().await;
    let late = NewJob {
        delay: HOUR * 2,
        ..job("late")
    };
    let (done, dead, active, ready) = (job("done"), job("dead"), job("active"), job("ready"));
    let jobs = [
        done.clone(),
        dead.clone(),
        active.clone(),
        ready.clone(),
        late.clone(),
    ];
    push(&fleet, &jobs).await;
    let taken = turn(&fleet, 1, 1, 3, Vec::new()).await.delivered;
    let result = Bytes::from_static(b"sent");
    let says = [
        Settlement::Succeeded {
            result: result.clone(),
            keep: HOUR,
            work: None,
        },
        Settlement::Dead("never".to_owned()),
    ];
    let settled = taken.iter().zip(says).map(|(it, settlement)| Settled {
        id: it.id,
        lease: it.lease,
        settlement,
    });
    turn(&fleet, 1, 2, 0, settled.collect()).await;
    fleet.close().await;

    let fleet = place.open().await;
    let succeeded = JobState::Ended(JobEnd::Succeeded(result));
    assert_eq!(look(&fleet, done.id).await, Some(succeeded));
    let never = JobState::Ended(JobEnd::Dead("never".to_owned()));
    assert_eq!(look(&fleet, dead.id).await, Some(never));
    assert_eq!(look(&fleet, ready.id).await, Some(JobState::Ready));
    assert!(matches!(
        look(&fleet, late.id).await,
        Some(JobState::Due(_))
    ));
    assert_eq!(push(&fleet, &jobs).await, [Pushed::Known; 5]);
    let again = turn(&fleet, 1, 1, 9, Vec::new()).await;
    assert_eq!(inputs(&again), [b"ready", &b"active"[..]]);
    let attempts: Vec<_> = again.delivered.iter().map(|it| it.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert!(again.delivered.iter().all(|it| it.lease > taken[2].lease));
    fleet.close().await;

    let fleet = place.open_ahead(HOUR * 3).await;
    assert_eq!(look(&fleet, done.id).await, None);
    let last = turn(&fleet, 1, 1, 9, Vec::new()).await;
    assert_eq!(inputs(&last), [b"ready", &b"active"[..], b"late"]);
}

/// That it is paused, and whose turn it is: who comes after the restart is not ahead of who waits since before it.
#[tokio::test]
async fn a_queue_goes_on_where_it_was() {
    let place = Place::new();
    let of = |group: &str, input| NewJob {
        group: group.to_owned(),
        ..job(input)
    };
    let fleet = place.open().await;
    push(&fleet, &["1", "2", "3", "4"].map(|input| of("a", input))).await;
    turn(&fleet, 1, 1, 2, Vec::new()).await;
    let port = fleet.queue_port();
    port.pause(&key(&fleet), true, options()).await.unwrap();
    fleet.close().await;

    let fleet = place.open().await;
    let paused = turn(&fleet, 1, 1, 9, Vec::new()).await;
    assert_eq!(inputs(&paused), [b""; 0]);
    push(&fleet, &[of("c", "5")]).await;
    let port = fleet.queue_port();
    port.pause(&key(&fleet), false, options()).await.unwrap();
    let next = turn(&fleet, 1, 2, 1, Vec::new()).await;
    assert_eq!(inputs(&next), [b"3"]);
}

/// Whether the key is held by a job or ends by itself, also when nothing else is left.
#[tokio::test]
async fn keys_are_held_again() {
    let place = Place::new();
    let with = |input, scope| NewJob {
        keep: Duration::ZERO,
        unique: Some(Unique {
            key: format!("{scope:?} é"),
            scope,
        }),
        ..job(input)
    };
    let jobs = || {
        [
            with("a", UniqueScope::UntilEnded),
            with("b", UniqueScope::Throttle(2 * HOUR)),
        ]
    };
    let fleet = place.open().await;
    let first = jobs();
    assert_eq!(push(&fleet, &first).await, [Pushed::New; 2]);
    fleet.close().await;

    let fleet = place.open().await;
    let same = first.each_ref().map(|it| Pushed::Same(it.id));
    assert_eq!(push(&fleet, &jobs()).await, same);
    let port = fleet.queue_port();
    for it in &first {
        let cancelled = port.cancel(&key(&fleet), it.id, options()).await;
        assert!(cancelled.unwrap().is_some());
    }
    fleet.close().await;

    let fleet = place.open().await;
    let next = jobs();
    let throttled = Pushed::Same(first[1].id);
    assert_eq!(push(&fleet, &next).await, [Pushed::New, throttled]);
    fleet.close().await;
    let fleet = place.open_ahead(3 * HOUR).await;
    let ended = Pushed::Same(next[0].id);
    assert_eq!(push(&fleet, &jobs()).await, [ended, Pushed::New]);
}

/// What the next delivery begins with.
#[tokio::test]
async fn what_was_noted_is_there_again() {
    let place = Place::new();
    let fleet = place.open().await;
    push(&fleet, &[job("a"), job("b")]).await;
    let taken = turn(&fleet, 1, 1, 2, Vec::new()).await.delivered;
    let checkpoint = Bytes::from_static(b"half");
    for it in &taken {
        let (key, port) = (key(&fleet), fleet.queue_port());
        let note = Note::Checkpoint(checkpoint.clone());
        let noted = port.note(&key, it.id, it.lease, note, options());
        assert!(noted.await.unwrap());
    }
    let done = Settled {
        id: taken[0].id,
        lease: taken[0].lease,
        settlement: Settlement::Deferred(HOUR),
    };
    turn(&fleet, 1, 2, 0, vec![done]).await;
    fleet.close().await;

    let fleet = place.open_ahead(2 * HOUR).await;
    let again = turn(&fleet, 1, 1, 9, Vec::new()).await.delivered;
    let checkpoints: Vec<_> = again.into_iter().map(|it| it.checkpoint).collect();
    assert_eq!(checkpoints, [Some(checkpoint.clone()), Some(checkpoint)]);
}

/// What is forgotten when the home is opened leaves nothing to who comes with the same id.
#[tokio::test]
async fn notes_go_with_a_job_that_is_forgotten_meanwhile() {
    let place = Place::new();
    let fleet = place.open().await;
    let it = job("a");
    push(&fleet, std::slice::from_ref(&it)).await;
    let taken = turn(&fleet, 1, 1, 1, Vec::new()).await.delivered;
    let note = Note::Progress(Bytes::from_static(b"half"));
    let (port, held) = (fleet.queue_port(), (it.id, taken[0].lease));
    let key_of = key(&fleet);
    let noted = port.note(&key_of, held.0, held.1, note, options());
    assert!(noted.await.unwrap());
    let settlement = Settlement::Cancelled;
    let done = Settled {
        id: held.0,
        lease: held.1,
        settlement,
    };
    turn(&fleet, 1, 2, 0, vec![done]).await;
    fleet.close().await;

    for _ in 0..2 {
        let fleet = place.open_ahead(2 * HOUR).await;
        push(&fleet, std::slice::from_ref(&it)).await;
        let view = fleet
            .queue_port()
            .inspect(&key(&fleet), it.id, options())
            .await;
        assert_eq!(view.unwrap().unwrap().progress, None);
        fleet.close().await;
    }
}

/// And one that was forgotten is not.
#[tokio::test]
async fn schedules_are_there_again() {
    let place = Place::new();
    let fleet = place.open().await;
    let firing = |name: &str, moment| Firing {
        schedule: name.to_owned(),
        after: None,
        moment: Some(Micros::new(moment)),
        job: None,
    };
    for (name, moment) in [("a", 7), ("b", 8)] {
        let (key, port) = (key(&fleet), fleet.queue_port());
        let (fired, _) = port
            .fire(&key, &firing(name, moment), options())
            .await
            .unwrap();
        assert_eq!(fired, Fired::Done(None));
    }
    let gone = fleet
        .queue_port()
        .unschedule(&key(&fleet), "b", options())
        .await;
    assert!(gone.unwrap());
    fleet.close().await;
    for (days, expected) in [(0, true), (399, true), (401, false)] {
        let fleet = place.open_ahead(24 * HOUR * days).await;
        let left = fleet.queue_port().schedules(&key(&fleet), options()).await;
        let expected = expected.then(|| ("a".to_owned(), Micros::new(7)));
        assert_eq!(left.unwrap(), Vec::from_iter(expected), "{days}");
        fleet.close().await;
    }
}

/// Nothing is left in the file of what is over.
#[tokio::test]
async fn what_is_over_leaves_the_file() {
    let place = Place::new();
    let fleet = place.open().await;
    let it = job("a");
    push(&fleet, std::slice::from_ref(&it)).await;
    let port = fleet.queue_port();
    port.cancel(&key(&fleet), it.id, options()).await.unwrap();
    fleet.close().await;
    for _ in 0..2 {
        let fleet = place.open_ahead(HOUR * 2).await;
        assert_eq!(look(&fleet, it.id).await, None);
        fleet.close().await;
    }
    let fleet = place.open().await;
    assert_eq!(push(&fleet, &[it]).await, [Pushed::New]);
}
