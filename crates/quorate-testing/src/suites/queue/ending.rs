//! How jobs end, and how long that is known.

use std::time::Duration;

use bytes::Bytes;
use quorate::ErrorKind;
use quorate::queue::{
    Ask, JobEnd, JobId, JobState, KEEP_DEAD, MAX_ERROR, MAX_GROUP, MAX_QUEUE, MAX_TIME, MAX_UNIQUE,
    MOST_AT_ONCE, MOST_PRIORITY, MemberOf, NewJob, Renewed, Settlement, Unique, UniqueScope,
};

use super::{
    HOUR, MINUTE, Queue, SECOND, ask, ended, failed, inputs, job, options, settled, succeeded,
};
use crate::harness::Home;

/// And then nothing is known of it.
pub async fn what_became_of_a_job_is_kept_as_long_as_asked(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let taken = queue.take(1, 1, 1).await;
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    home.elapse(HOUR - MINUTE).await;
    let end = JobEnd::Succeeded(Bytes::from_static(b"sent"));
    assert_eq!(queue.look(taken[0].id).await, ended(end));
    home.elapse(2 * MINUTE).await;
    assert_eq!(queue.look(taken[0].id).await, None);
    assert_eq!(queue.cancel(taken[0].id).await, None);
}

/// Done or cancelled.
pub async fn what_is_not_kept_is_forgotten_at_once(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let taken = queue.take(1, 1, 1).await;
    let done = Settlement::Succeeded {
        result: Bytes::new(),
        keep: Duration::ZERO,
        work: None,
    };
    assert!(queue.settle(1, 2, &taken[0], done).await);
    assert_eq!(queue.look(taken[0].id).await, None);
    let unkept = NewJob {
        keep: Duration::ZERO,
        ..job("b")
    };
    queue.push(std::slice::from_ref(&unkept)).await;
    assert_eq!(queue.cancel(unkept.id).await, ended(JobEnd::Cancelled));
    assert_eq!(queue.look(unkept.id).await, None);
}

/// It is not delivered, and cancelling it again says the same.
pub async fn a_waiting_job_is_cancelled(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        delay: MINUTE,
        ..job("b")
    };
    let jobs = [job("a"), late, job("c")];
    queue.push(&jobs).await;
    for it in &jobs[..2] {
        assert_eq!(queue.cancel(it.id).await, ended(JobEnd::Cancelled));
        assert_eq!(queue.cancel(it.id).await, ended(JobEnd::Cancelled));
        assert_eq!(queue.look(it.id).await, ended(JobEnd::Cancelled));
    }
    home.elapse(2 * MINUTE).await;
    assert_eq!(inputs(&queue.take(1, 1, 9).await), ["c"]);
    assert_eq!(queue.cancel(job("d").id).await, None);
}

/// It may still succeed; but if it does not, it is not tried again.
pub async fn a_running_job_is_asked_to_stop(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b"), job("c"), job("d")]).await;
    let taken = queue.take(1, 1, 4).await;
    for it in &taken[..3] {
        let asked = Some(JobState::Active { cancelled: true });
        assert_eq!(queue.cancel(it.id).await, asked);
    }
    let held: Vec<_> = taken.iter().map(|it| (it.id, it.lease)).collect();
    let renewed = queue.port.renew(&queue.key, &held, MINUTE, options()).await;
    let cancelled = Renewed::Cancelled;
    assert_eq!(
        renewed.unwrap(),
        [cancelled, cancelled, cancelled, Renewed::Held]
    );
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    assert!(queue.settle(1, 3, &taken[1], failed(Duration::ZERO)).await);
    home.elapse(MINUTE + SECOND).await;
    assert_eq!(inputs(&queue.take(1, 4, 9).await), ["d"]);
    let end = JobEnd::Succeeded(Bytes::from_static(b"sent"));
    assert_eq!(queue.look(taken[0].id).await, ended(end));
    for it in &taken[1..3] {
        assert_eq!(queue.look(it.id).await, ended(JobEnd::Cancelled));
    }
}

/// Others take their places at once.
pub async fn what_nobody_began_in_time_has_expired(home: Home) {
    let queue = Queue::new(&home);
    let soon = NewJob {
        expires: Some(MINUTE),
        ..job("a")
    };
    queue.push(&[soon.clone(), soon_too(&soon), job("c")]).await;
    home.elapse(MINUTE + SECOND).await;
    assert_eq!(inputs(&queue.take(1, 1, 1).await), ["c"]);
    assert_eq!(queue.look(soon.id).await, ended(JobEnd::Expired));
}

fn soon_too(soon: &NewJob) -> NewJob {
    NewJob {
        id: job("").id,
        ..soon.clone()
    }
}

/// For a month, with the reason.
pub async fn a_dead_job_is_kept(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let taken = queue.take(1, 1, 1).await;
    let why = "a mailbox that never was";
    let dead = Settlement::Dead(why.to_owned());
    assert!(queue.settle(1, 2, &taken[0], dead).await);
    home.elapse(KEEP_DEAD - HOUR).await;
    queue.take(1, 3, 1).await;
    let end = JobEnd::Dead(why.to_owned());
    assert_eq!(queue.look(taken[0].id).await, ended(end));
    home.elapse(2 * HOUR).await;
    queue.take(1, 4, 1).await;
    assert_eq!(queue.look(taken[0].id).await, None);
}

/// Before anything is done.
pub async fn bad_input_is_refused_with_the_rule(home: Home) {
    let queue = Queue::new(&home);
    let longest = MAX_TIME + SECOND;
    let change = |change: fn(&mut NewJob)| {
        let mut job = job("a");
        change(&mut job);
        vec![job]
    };
    let jobs = [
        ("attempts", change(|job| job.attempts = 0)),
        ("priority", change(|job| job.priority = MOST_PRIORITY + 1)),
        ("group", change(|job| job.group = "g".repeat(MAX_GROUP + 1))),
        ("member_of", change(|job| job.member_of = in_queue(""))),
        (
            "member_of",
            change(|job| job.member_of = in_queue(&"q".repeat(MAX_QUEUE + 1))),
        ),
        ("unique", change(|job| job.unique = with_key("", MINUTE))),
        (
            "unique",
            change(|job| job.unique = with_key(&"u".repeat(MAX_UNIQUE + 1), MINUTE)),
        ),
        (
            "throttle",
            change(|job| job.unique = with_key("u", Duration::ZERO)),
        ),
        ("delay", change(|job| job.delay = MAX_TIME * 2)),
        ("keep", change(|job| job.keep = MAX_TIME * 2)),
        ("expires", change(|job| job.expires = Some(Duration::ZERO))),
        ("jobs", vec![job("a"); MOST_AT_ONCE + 1]),
    ];
    for (field, jobs) in jobs {
        let pushed = queue.port.push(&queue.key, &jobs, options()).await;
        refused(field, pushed);
    }
    queue.push(&[job("a")]).await;
    let taken = queue.take(1, 1, 1).await;
    let error = "e".repeat(MAX_ERROR + 1);
    let saying = |settlement| Ask {
        settled: vec![settled(&taken[0], settlement)],
        ..ask(1, 2, 0)
    };
    let asks = [
        ("error", saying(Settlement::Dead(error))),
        ("after", saying(Settlement::Deferred(longest))),
        ("want", ask(1, 2, MOST_AT_ONCE + 1)),
        ("number", ask(1, 0, 1)),
        (
            "lease",
            Ask {
                lease: Duration::ZERO,
                ..ask(1, 2, 1)
            },
        ),
    ];
    for (field, ask) in asks {
        let turn = queue.port.turn(&queue.key, &ask, options()).await;
        refused(field, turn);
    }
    let held = [(taken[0].id, taken[0].lease)];
    let renewed = queue.port.renew(&queue.key, &held, longest, options());
    refused("lease", renewed.await);
    assert!(
        queue.settle(1, 2, &taken[0], succeeded()).await,
        "nothing was done"
    );
}

fn in_queue(name: &str) -> Option<MemberOf> {
    let (queue, group) = (name.to_owned(), JobId::random());
    Some(MemberOf { queue, group })
}

fn with_key(key: &str, throttle: Duration) -> Option<Unique> {
    let (key, scope) = (key.to_owned(), UniqueScope::Throttle(throttle));
    Some(Unique { key, scope })
}

fn refused<T: std::fmt::Debug>(field: &str, answer: quorate::Result<T>) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains(&format!("{field} must ")), "{text}");
}
