//! What is to be brought elsewhere, and what becomes of it however often it is.

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Ask, BRING_LEASE, Bring, Condition, Effect, EffectName, Gate, GroupView, JobEnd, Left,
    MAX_VALUE, MOST_BROUGHT, MemberOf, NewJob, Pushed, Said, Unique, UniqueScope,
};
use quorate::{ErrorKind, Key};

use super::groups::{Two, after, bring, counts, leaving, left, look, next, settle};
use super::{HOUR, MINUTE, ask, ended, failed, job, options, settled, succeeded};
use crate::harness::Home;

/// Whoever brings it, and whatever has become of the group since.
pub async fn what_is_brought_twice_changes_nothing(home: Home) {
    let two = Two::new(&home);
    let first = job("first");
    two.mail.push(std::slice::from_ref(&first)).await;
    let taken = two.mail.take(50, next(), 1).await;
    let child = job("child");
    let turn = settle(
        &two.mail,
        &taken[0],
        vec![left("post", child.clone())],
        Vec::new(),
    )
    .await;
    let [Effect::Ended(_, begun)] = &turn.effects[..] else {
        panic!("{:?}", turn.effects);
    };
    let twice = Bring {
        ended: vec![begun.clone(); 2],
        want: MOST_BROUGHT,
        ..Bring::default()
    };
    let effects = bring(&two.mail, twice.clone()).await;
    assert_eq!(effects.len(), 1);
    let Effect::Push(_, pushed) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(bring(&two.mail, twice.clone()).await, []);
    assert_eq!(
        two.post.push(std::slice::from_ref(pushed)).await,
        [Pushed::New]
    );
    assert_eq!(
        two.post.push(std::slice::from_ref(pushed)).await,
        [Pushed::Known]
    );
    let taken = two.post.take(50, next(), 2).await;
    assert_eq!(taken.len(), 1);
    let done = settled(&taken[0], succeeded());
    let turn = two
        .post
        .turn(&Ask {
            settled: vec![done],
            ..ask(50, next(), 0)
        })
        .await;
    // Nobody has said that the job was queued. That it has ended says so as well.
    let [Effect::Ended(_, over)] = &turn.effects[..] else {
        panic!("{:?}", turn.effects);
    };
    let performed = vec![EffectName::Ended(first.id)];
    bring(
        &two.mail,
        Bring {
            ended: vec![over.clone()],
            performed,
            ..Bring::default()
        },
    )
    .await;
    home.elapse(BRING_LEASE).await;
    assert_eq!(two.mail.turn(&ask(50, next(), 0)).await.effects, []);
    let view = look(&two.mail, first.id).await.unwrap();
    assert_eq!(counts(&view), (0, 2, 0, 0, 0));
    for _ in 0..2 {
        let again = vec![over.clone(), begun.clone()];
        let again = Bring {
            ended: again,
            want: MOST_BROUGHT,
            ..Bring::default()
        };
        assert_eq!(bring(&two.mail, again).await, []);
        assert_ne!(
            look(&two.mail, first.id).await,
            Some(GroupView {
                open: 1,
                ..view.clone()
            })
        );
        home.elapse(2 * HOUR).await;
        assert_eq!(look(&two.mail, first.id).await, None);
    }
}

/// One at a time has it, and others when that one has not said so in time.
pub async fn an_effect_is_handed_out_until_it_was_performed(home: Home) {
    let two = Two::new(&home);
    let first = job("first");
    two.mail.push(std::slice::from_ref(&first)).await;
    let taken = two.mail.take(50, next(), 1).await;
    let turn = settle(
        &two.mail,
        &taken[0],
        vec![left("post", job("a"))],
        Vec::new(),
    )
    .await;
    let name = turn.effects[0].name();
    assert_eq!(two.mail.turn(&ask(51, next(), 0)).await.effects, []);
    let turn = two.mail.turn(&ask(51, next(), 1)).await;
    let due = turn.next.unwrap();
    assert!(due <= BRING_LEASE && due > BRING_LEASE / 2, "{due:?}");
    // The job is over, and nothing else is in the queue: the effect is, until it was performed.
    home.elapse(30 * 24 * HOUR).await;
    let turn = two.mail.turn(&ask(51, next(), 0)).await;
    assert_eq!(
        turn.effects.iter().map(Effect::name).collect::<Vec<_>>(),
        [name]
    );
    let done = Bring {
        performed: vec![name],
        ..Bring::default()
    };
    bring(&two.mail, done).await;
    home.elapse(BRING_LEASE).await;
    assert_eq!(two.mail.turn(&ask(51, next(), 0)).await.effects, []);
}

/// It is known until its group was told that it ended, though what became of it is not kept.
pub async fn a_member_is_known_until_its_group_was_told(home: Home) {
    let two = Two::new(&home);
    let child = NewJob {
        keep: Duration::ZERO,
        ..job("child")
    };
    let group = two.begin(vec![left("post", child.clone())]).await;
    let child = NewJob {
        member_of: Some(MemberOf {
            queue: "mail".to_owned(),
            group,
        }),
        ..child
    };
    assert_eq!(two.post.cancel(child.id).await, ended(JobEnd::Cancelled));
    assert_eq!(two.post.look(child.id).await, None);
    assert_eq!(two.post.push(&[child]).await, [Pushed::Known]);
    two.settle_down().await;
    assert_eq!(
        counts(&look(&two.mail, group).await.unwrap()),
        (0, 1, 0, 1, 0)
    );
}

/// What it would have left counts with its end, and with nothing else.
pub async fn a_job_that_does_not_succeed_leaves_nothing(home: Home) {
    let two = Two::new(&home);
    two.mail.push(&[job("a"), job("b")]).await;
    let taken = two.mail.take(50, next(), 2).await;
    assert!(
        two.mail
            .settle(50, next(), &taken[0], failed(Duration::ZERO))
            .await
    );
    home.elapse(2 * MINUTE).await;
    // Its lease has ended.
    let turn = settle(
        &two.mail,
        &taken[1],
        vec![left("post", job("c"))],
        Vec::new(),
    )
    .await;
    assert_eq!((turn.settled, turn.effects), (vec![false], Vec::new()));
    for it in &taken {
        assert_eq!(look(&two.mail, it.id).await, None);
    }
}

/// Before anything is settled.
pub async fn work_that_breaks_a_rule_is_refused(home: Home) {
    let two = Two::new(&home);
    two.mail.push(&[job("a")]).await;
    let taken = two.mail.take(50, next(), 1).await.remove(0);
    let unique = Unique {
        key: "k".to_owned(),
        scope: UniqueScope::UntilEnded,
    };
    let twice = Gate {
        condition: Condition::AllDone,
        on: vec![taken.id; 2],
    };
    let many = Gate {
        condition: Condition::Done(2),
        on: vec![taken.id],
    };
    let value = Bytes::from(vec![0; MAX_VALUE + 1]);
    for (left, said, rule) in [
        (
            left(
                "post",
                NewJob {
                    unique: Some(unique),
                    ..job("b")
                },
            ),
            None,
            "uniqueness key",
        ),
        (left("", job("b")), None, "left"),
        (
            left(
                "post",
                NewJob {
                    attempts: 0,
                    ..job("b")
                },
            ),
            None,
            "attempts",
        ),
        (
            Left {
                after: Some(twice),
                ..left("post", job("b"))
            },
            None,
            "once",
        ),
        (
            Left {
                after: Some(many),
                ..left("post", job("b"))
            },
            None,
            "more jobs than",
        ),
        (
            left("post", job("b")),
            Some(Said::Set(value)),
            "value must be",
        ),
    ] {
        let said = said.into_iter().collect();
        let settled = vec![settled(&taken, leaving(&taken, vec![left], said))];
        let ask = Ask {
            settled,
            ..ask(50, next(), 0)
        };
        let error = two
            .mail
            .port
            .turn(&two.mail.key, &ask, options())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(rule), "{error}");
    }
    let want = Bring {
        want: MOST_BROUGHT + 1,
        ..Bring::default()
    };
    let error = two
        .mail
        .port
        .bring(&two.mail.key, &want, options())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        bring(
            &two.mail,
            Bring {
                want: 1,
                ..Bring::default()
            }
        )
        .await,
        []
    );
}

/// A large group costs as much for each of its members as a small one, and is told of in parts.
pub async fn many_jobs_are_left_together(home: Home) {
    let two = Two::new(&home);
    let jobs: Vec<_> = (0..250).map(|_| job("many")).collect();
    let all: Vec<_> = jobs.iter().collect();
    let last = after(Condition::AllSucceeded, &all, left("mail", job("last")));
    let left: Vec<_> = jobs
        .iter()
        .map(|job| left("post", job.clone()))
        .chain([last])
        .collect();
    let group = two.begin(left).await;
    let taken = two.post.take(50, next(), 300).await;
    assert_eq!(taken.len(), 250);
    let all = taken.iter().map(|it| settled(it, succeeded())).collect();
    let turn = two
        .post
        .turn(&Ask {
            settled: all,
            ..ask(50, next(), 0)
        })
        .await;
    assert_eq!(turn.effects.len(), MOST_BROUGHT);
    two.bring_all(&two.post, turn.effects).await;
    assert_eq!(
        counts(&look(&two.mail, group).await.unwrap()),
        (1, 251, 0, 0, 0)
    );
    two.end_one(&two.mail, succeeded()).await;
    assert!(look(&two.mail, group).await.unwrap().is_over());
}

/// For the check of a queue, that is not too much.
pub async fn groups_and_what_is_to_be_brought_are_no_strays(home: Home) {
    let two = Two::new(&home);
    two.begin(vec![left("post", job("a")), left("post", job("b"))])
        .await;
    let taken = two.post.take(50, next(), 1).await;
    settle(
        &two.post,
        &taken[0],
        vec![left("mail", job("c"))],
        Vec::new(),
    )
    .await;
    for queue in [&two.mail, &two.post] {
        let (mut next, key): (_, &Key) = (None, &queue.key);
        loop {
            let page = queue
                .port
                .fsck(key, next.as_ref(), true, options())
                .await
                .unwrap();
            assert_eq!(page.strays, []);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }
}
