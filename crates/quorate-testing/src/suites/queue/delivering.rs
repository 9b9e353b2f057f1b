//! Who gets which job, and when.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::queue::{JobId, JobState, MAX_QUEUE, MemberOf, NewJob, Pushed};

use super::{HOUR, MINUTE, Queue, ask, inputs, job, succeeded};
use crate::harness::Home;

/// Of one group, and as urgent as each other.
pub async fn jobs_are_delivered_oldest_first(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    queue.push(&[job("c")]).await;
    assert_eq!(inputs(&queue.take(1, 1, 2).await), ["a", "b"]);
    assert_eq!(inputs(&queue.take(2, 1, 2).await), ["c"]);
}

/// Any bytes, and no bytes.
pub async fn a_job_is_delivered_as_it_was_pushed(home: Home) {
    let queue = Queue::new(&home);
    let all: Bytes = (0..=u8::MAX).collect();
    for (number, input) in [all, Bytes::new()].into_iter().enumerate() {
        let pushed = NewJob {
            input,
            group: format!("é{number}"),
            attempts: u32::MAX,
            member_of: (number == 0).then(|| MemberOf {
                queue: "é".repeat(MAX_QUEUE / 2),
                group: JobId::random(),
            }),
            ..job("")
        };
        queue.push(std::slice::from_ref(&pushed)).await;
        let taken = queue.take(number as u64, 1, 1).await;
        let it = &taken[0];
        assert_eq!((it.id, &it.input), (pushed.id, &pushed.input));
        assert_eq!((&it.group, it.keep), (&pushed.group, pushed.keep));
        assert_eq!(it.member_of, pushed.member_of);
        assert_eq!((it.attempt, it.attempts), (1, u32::MAX));
    }
}

/// However many jobs each of them has.
pub async fn groups_take_turns(home: Home) {
    let queue = Queue::new(&home);
    let of = |group: &str, input| NewJob {
        group: group.to_owned(),
        ..job(input)
    };
    let (many, few) = (["a1", "a2", "a3", "a4"], ["b1", "b2"]);
    queue.push(&many.map(|input| of("a", input))).await;
    queue.push(&few.map(|input| of("b", input))).await;
    let mut order: Vec<String> = Vec::new();
    for number in 1..=3 {
        let taken = queue.take(1, number, 2).await;
        order.extend(inputs(&taken).into_iter().map(str::to_owned));
    }
    let first: BTreeSet<_> = order[..4].iter().map(String::as_str).collect();
    assert_eq!(first, BTreeSet::from(["a1", "a2", "b1", "b2"]), "{order:?}");
    assert_eq!(order[4..], ["a3", "a4"]);
}

/// Before older ones; those as urgent as each other by age.
pub async fn an_urgent_job_has_a_head_start(home: Home) {
    let queue = Queue::new(&home);
    let urgent = |input, priority| NewJob {
        priority,
        ..job(input)
    };
    let jobs = [job("a"), urgent("b", 1), urgent("c", 9), urgent("d", 1)];
    queue.push(&jobs).await;
    assert_eq!(inputs(&queue.take(1, 1, 9).await), ["c", "b", "d", "a"]);
}

/// And not before.
pub async fn a_delayed_job_is_delivered_when_its_time_has_come(home: Home) {
    let queue = Queue::new(&home);
    let late = NewJob {
        delay: HOUR,
        ..job("late")
    };
    queue.push(&[late.clone(), job("now")]).await;
    assert_eq!(inputs(&queue.take(1, 1, 9).await), ["now"]);
    assert!(matches!(queue.look(late.id).await, Some(JobState::Due(_))));
    home.elapse(HOUR + MINUTE).await;
    let taken = queue.take(2, 1, 1).await;
    // The other one's lease has run out.
    assert_eq!(inputs(&taken), ["now"]);
    assert_eq!(inputs(&queue.take(2, 2, 1).await), ["late"]);
}

/// What workers have goes on.
pub async fn a_paused_queue_delivers_nothing(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 1).await;
    queue.pause(true).await;
    assert_eq!(queue.take(2, 1, 1).await, []);
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    home.elapse(HOUR).await;
    assert_eq!(queue.take(2, 2, 1).await, []);
    queue.pause(false).await;
    assert_eq!(inputs(&queue.take(2, 3, 1).await), ["b"]);
}

/// Whatever their names.
pub async fn queues_are_apart(home: Home) {
    let (mail, post) = (Queue::new(&home), Queue::named(&home, "mail}{post"));
    mail.push(&[job("a")]).await;
    assert_eq!(post.take(1, 1, 1).await, []);
    let pushed = job("b");
    post.push(std::slice::from_ref(&pushed)).await;
    assert_eq!(mail.look(pushed.id).await, None);
    assert_eq!(inputs(&post.take(1, 2, 1).await), ["b"]);
}

/// For as long as it is kept what became of the job.
pub async fn a_repeated_push_changes_nothing(home: Home) {
    let queue = Queue::new(&home);
    let (new, known) = (Pushed::New, Pushed::Known);
    let jobs = [job("a"), job("b")];
    assert_eq!(queue.push(&jobs).await, [new, new]);
    assert_eq!(queue.push(&jobs).await, [known, known]);
    let twice = job("c");
    assert_eq!(queue.push(&[twice.clone(), twice]).await, [new, known]);
    let taken = queue.take(1, 1, 9).await;
    assert_eq!(inputs(&taken), ["a", "b", "c"]);
    assert_eq!(queue.push(&jobs).await, [known, known]);
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    assert_eq!(queue.push(&jobs).await, [known, known]);
    home.elapse(HOUR + MINUTE).await;
    assert_eq!(queue.push(&jobs).await, [new, known]);
}

/// A reply was lost: neither is what was settled, nor what was delivered.
pub async fn a_repeated_turn_gets_the_answer_of_the_first(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b"), job("c")]).await;
    let first = queue.take(1, 1, 1).await;
    let settled = vec![super::settled(&first[0], succeeded())];
    let second = quorate::queue::Ask {
        settled,
        ..ask(1, 2, 1)
    };
    let turn = queue.turn(&second).await;
    assert_eq!(
        (&*turn.settled, inputs(&turn.delivered)),
        (&[true][..], vec!["b"])
    );
    assert_eq!(queue.turn(&second).await, turn);
    assert_eq!(inputs(&queue.take(2, 1, 9).await), ["c"]);
    home.elapse(MINUTE / 2).await;
    assert_eq!(queue.turn(&second).await.delivered, turn.delivered);
}

/// It reaches the queue after its worker has given it up, and the next has come.
pub async fn an_overtaken_turn_does_nothing(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 2, 1).await;
    assert_eq!(queue.take(1, 1, 1).await, []);
    assert!(!queue.settle(1, 1, &taken[0], succeeded()).await);
    assert!(queue.settle(1, 3, &taken[0], succeeded()).await);
    assert_eq!(inputs(&queue.take(2, 1, 9).await), ["b"]);
}

/// However many of them ask at once.
pub async fn of_many_workers_each_job_has_one(home: Home) {
    let queue = Queue::new(&home);
    let jobs: Vec<_> = (0..100).map(|_| job("")).collect();
    queue.push(&jobs).await;
    let taken = (0..20).map(|worker| queue.take(worker, 1, 7));
    let taken = futures_util::future::join_all(taken).await;
    let ids: Vec<_> = taken.iter().flatten().map(|it| it.id).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), 100);
}
