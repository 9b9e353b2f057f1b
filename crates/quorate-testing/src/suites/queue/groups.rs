//! Two queues, and what is brought from the one to the other: what the clauses of groups have in common.

use bytes::Bytes;
use quorate::queue::{
    Ask, Bring, Condition, Delivered, Effect, Gate, GroupView, JobId, Left, MOST_BROUGHT, MemberOf,
    NewJob, Said, Settlement, Turn, Work,
};

use super::{HOUR, Queue, ask, job, options, settled};
use crate::harness::Home;

/// Two queues, and what is brought from the one to the other.
pub(super) struct Two {
    pub(super) mail: Queue,
    pub(super) post: Queue,
}

impl Two {
    pub(super) fn new(home: &Home) -> Self {
        Self {
            mail: Queue::new(home),
            post: Queue::named(home, "post"),
        }
    }

    fn queue(&self, name: &str) -> &Queue {
        if name == "mail" {
            &self.mail
        } else {
            &self.post
        }
    }

    /// Performs effects of a queue, and what follows from them.
    pub(super) async fn bring_all(&self, from: &Queue, effects: Vec<Effect>) {
        let mut all = vec![(from.key.clone(), effects)];
        while let Some((from, effects)) = all.pop() {
            let from = self.queue(from.name());
            let performed = effects.iter().map(Effect::name).collect();
            for effect in effects {
                let to = self.queue(effect.queue());
                let more = perform(to, effect).await;
                if !more.is_empty() {
                    all.push((to.key.clone(), more));
                }
            }
            let more = bring(
                from,
                Bring {
                    performed,
                    want: MOST_BROUGHT,
                    ..Bring::default()
                },
            )
            .await;
            if !more.is_empty() {
                all.push((from.key.clone(), more));
            }
        }
    }

    /// Pushes a job to mail, which leaves these, and performs what follows. Returns the group.
    pub(super) async fn begin(&self, left: Vec<Left>) -> JobId {
        let first = job("first");
        self.mail.push(std::slice::from_ref(&first)).await;
        let taken = self.mail.take(50, next(), 1).await;
        let left = left.into_iter().map(|it| in_group(it, &taken[0])).collect();
        let turn = settle(&self.mail, &taken[0], left, Vec::new()).await;
        self.bring_all(&self.mail, turn.effects).await;
        first.id
    }

    /// Takes a job of a queue and settles it so, and performs what follows.
    pub(super) async fn end_one(&self, queue: &Queue, settlement: Settlement) -> Delivered {
        let taken = queue.take(50, next(), 1).await.remove(0);
        let ask = Ask {
            settled: vec![settled(&taken, settlement)],
            ..ask(50, next(), 0)
        };
        let turn = queue.turn(&ask).await;
        assert_eq!(turn.settled, [true]);
        self.bring_all(queue, turn.effects).await;
        taken
    }

    /// Performs whatever anybody has to bring.
    pub(super) async fn settle_down(&self) {
        for queue in [&self.post, &self.mail] {
            let turn = queue.turn(&ask(51, next(), 0)).await;
            self.bring_all(queue, turn.effects).await;
        }
    }
}

/// Numbers of turns that grow.
pub(super) fn next() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}

pub(super) async fn bring(queue: &Queue, bring: Bring) -> Vec<Effect> {
    let effects = queue.port.bring(&queue.key, &bring, options());
    effects.await.unwrap()
}

/// Performs one. Returns what is to be brought from there next.
async fn perform(to: &Queue, effect: Effect) -> Vec<Effect> {
    match effect {
        Effect::Push(_, job) => {
            to.push(&[job]).await;
            Vec::new()
        }
        Effect::Ended(_, ended) => {
            let ended = vec![ended];
            let want = MOST_BROUGHT;
            bring(
                to,
                Bring {
                    ended,
                    want,
                    ..Bring::default()
                },
            )
            .await
        }
    }
}

pub(super) async fn look(queue: &Queue, group: JobId) -> Option<GroupView> {
    let seen = queue.port.look_group(&queue.key, group, false, options());
    seen.await.unwrap()
}

fn group_of(it: &Delivered) -> MemberOf {
    let own = || MemberOf {
        queue: "mail".to_owned(),
        group: it.id,
    };
    it.member_of.clone().unwrap_or_else(own)
}

pub(super) fn left(queue: &str, job: NewJob) -> Left {
    let queue = queue.to_owned();
    Left {
        queue,
        job,
        after: None,
    }
}

pub(super) fn after(condition: Condition, on: &[&NewJob], left: Left) -> Left {
    let on = on.iter().map(|job| job.id).collect();
    Left {
        after: Some(Gate { condition, on }),
        ..left
    }
}

fn in_group(mut left: Left, it: &Delivered) -> Left {
    left.job.member_of = Some(group_of(it));
    left
}

pub(super) fn leaving(it: &Delivered, left: Vec<Left>, said: Vec<Said>) -> Settlement {
    let left = left.into_iter().map(|left| in_group(left, it)).collect();
    let group = group_of(it);
    Settlement::Succeeded {
        result: Bytes::from_static(b"sent"),
        keep: HOUR,
        work: Some(Box::new(Work { group, left, said })),
    }
}

/// Settles a delivery that leaves work.
pub(super) async fn settle(
    queue: &Queue,
    it: &Delivered,
    left: Vec<Left>,
    said: Vec<Said>,
) -> Turn {
    let ask = Ask {
        settled: vec![settled(it, leaving(it, left, said))],
        ..ask(50, next(), 0)
    };
    queue.turn(&ask).await
}

pub(super) fn counts(view: &GroupView) -> (u64, u64, u64, u64, u64) {
    let GroupView {
        open,
        succeeded,
        dead,
        cancelled,
        expired,
        ..
    } = view;
    (*open, *succeeded, *dead, *cancelled, *expired)
}
