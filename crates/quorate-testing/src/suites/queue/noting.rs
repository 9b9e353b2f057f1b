//! What is noted of a job while somebody has it.

use std::time::Duration;

use bytes::Bytes;
use quorate::ErrorKind;
use quorate::queue::{
    Delivered, MAX_CHECKPOINT, MAX_LINE, MAX_PROGRESS, NewJob, News, Note, Settlement,
};

use super::telling::{heard, listen};
use super::{HOUR, MINUTE, Queue, SECOND, ask, failed, job, options, succeeded};
use crate::harness::Home;

impl Queue {
    pub(super) async fn note(&self, it: &Delivered, note: Note) -> bool {
        let noted = self.port.note(&self.key, it.id, it.lease, note, options());
        noted.await.unwrap()
    }
}

fn checkpoint(text: &'static str) -> Note {
    Note::Checkpoint(Bytes::from_static(text.as_bytes()))
}

/// Who has lost its lease, or given the job back, notes nothing.
pub async fn only_a_delivery_that_counts_notes_something(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let first = queue.take(1, 1, 1).await.remove(0);
    assert!(queue.note(&first, checkpoint("first")).await);
    home.elapse(MINUTE + SECOND).await;
    assert!(!queue.note(&first, checkpoint("late")).await);
    let second = queue.take(2, 1, 1).await.remove(0);
    assert!(!queue.note(&first, checkpoint("later")).await);
    assert_eq!(second.checkpoint, Some(Bytes::from_static(b"first")));
    assert!(queue.settle(2, 2, &second, succeeded()).await);
    assert!(!queue.note(&second, checkpoint("over")).await);
}

/// However the one before it ended, and also when its reply is asked for again; the last one said counts.
pub async fn a_checkpoint_comes_with_the_next_delivery(home: Home) {
    let queue = Queue::new(&home);
    let pushed = NewJob {
        attempts: 9,
        ..job("a")
    };
    queue.push(&[pushed, job("b")]).await;
    let mut number = 1;
    let mut it = queue.take(1, number, 1).await.remove(0);
    assert_eq!(it.checkpoint, None);
    for (text, how) in [
        ("failed", Some(failed(Duration::ZERO))),
        ("deferred", Some(Settlement::Deferred(Duration::ZERO))),
        ("lost", None),
    ] {
        assert!(queue.note(&it, checkpoint("earlier")).await);
        assert!(queue.note(&it, checkpoint(text)).await);
        match how {
            Some(how) => assert!(queue.settle(1, number + 1, &it, how).await),
            None => home.elapse(MINUTE + SECOND).await,
        }
        number += 2;
        let taken = queue.take(1, number, 2).await;
        let expected = Some(Bytes::from_static(text.as_bytes()));
        assert_eq!(queue.turn(&ask(1, number, 2)).await.delivered, taken);
        let (own, others): (Vec<_>, Vec<_>) = taken.into_iter().partition(|next| next.id == it.id);
        assert!(others.iter().all(|it| it.checkpoint.is_none()));
        it = own.into_iter().next().unwrap();
        assert_eq!(it.checkpoint, expected);
    }
}

/// Once for each step, and to nobody else.
pub async fn progress_is_announced_to_who_waits(home: Home) {
    let (queue, mut news) = (Queue::new(&home), listen(&home).await);
    let jobs = [job("a"), job("b")];
    queue.push(&jobs).await;
    let taken = queue.take(1, 1, 2).await;
    let looked = queue.port.look(&queue.key, jobs[1].id, true, options());
    looked.await.unwrap();
    for it in &taken {
        let half = Note::Progress(Bytes::from_static(b"half"));
        assert!(queue.note(it, half).await);
        assert!(queue.note(it, Note::Log("a line".to_owned())).await);
    }
    assert_eq!(heard(&mut news).await, News::Progress(jobs[1].id));
    assert!(queue.settle(1, 2, &taken[1], succeeded()).await);
    assert_eq!(heard(&mut news).await, News::Ended(jobs[1].id));
}

/// Before anything is done.
pub async fn what_is_too_long_is_not_noted(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let it = queue.take(1, 1, 1).await.remove(0);
    let long = |length: usize| Bytes::from(vec![b'x'; length]);
    for (field, longest, longer) in [
        (
            "progress",
            Note::Progress(long(MAX_PROGRESS)),
            Note::Progress(long(MAX_PROGRESS + 1)),
        ),
        (
            "checkpoint",
            Note::Checkpoint(long(MAX_CHECKPOINT)),
            Note::Checkpoint(long(MAX_CHECKPOINT + 1)),
        ),
        (
            "line",
            Note::Log("x".repeat(MAX_LINE)),
            Note::Log("x".repeat(MAX_LINE + 1)),
        ),
    ] {
        assert!(queue.note(&it, longest).await);
        let refused = queue
            .port
            .note(&queue.key, it.id, it.lease, longer, options());
        let error = refused.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&format!("{field} must be")), "{text}");
    }
    assert!(queue.settle(1, 2, &it, failed(HOUR)).await);
}
