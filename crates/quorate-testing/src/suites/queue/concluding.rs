//! How groups end, and who learns of it.

use bytes::Bytes;
use quorate::queue::{Ask, Bring, News, Said, TELLING};

use super::groups::{Two, bring, counts, left, look, next, settle};
use super::telling::{heard, listen};
use super::{HOUR, MINUTE, ask, job, options, succeeded};
use crate::harness::Home;

/// As long as the result of its first job.
pub async fn a_group_is_over_with_its_last_job_and_kept_for_a_while(home: Home) {
    let two = Two::new(&home);
    let group = two
        .begin(vec![left("post", job("a")), left("post", job("b"))])
        .await;
    home.elapse(24 * HOUR).await;
    two.end_one(&two.post, succeeded()).await;
    assert!(!look(&two.mail, group).await.unwrap().is_over());
    two.end_one(&two.post, succeeded()).await;
    let view = look(&two.mail, group).await.unwrap();
    assert!(view.is_over());
    assert_eq!(counts(&view), (0, 3, 0, 0, 0));
    home.elapse(HOUR - MINUTE).await;
    assert_eq!(look(&two.mail, group).await, Some(view));
    home.elapse(2 * MINUTE).await;
    assert_eq!(look(&two.mail, group).await, None);
}

/// Last, or fixed, or one after the other.
pub async fn a_group_has_the_value_that_its_jobs_said(home: Home) {
    let two = Two::new(&home);
    let group = two
        .begin(["a", "b", "c"].map(|it| left("post", job(it))).into())
        .await;
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    for (said, expected) in [
        (
            vec![Said::Append(value("a")), Said::Append(value("b"))],
            &["a", "b"][..],
        ),
        (
            vec![Said::Set(value("c")), Said::Append(value(""))],
            &["c", ""],
        ),
        (vec![Said::Fix(value("d")), Said::Set(value("e"))], &["d"]),
    ] {
        let taken = two.post.take(50, next(), 1).await;
        let turn = settle(&two.post, &taken[0], Vec::new(), said).await;
        two.bring_all(&two.post, turn.effects).await;
        assert_eq!(look(&two.mail, group).await.unwrap().values, expected);
    }
    let view = look(&two.mail, group).await.unwrap();
    assert!(view.is_over() && view.is_fixed);
}

/// And then to nobody else.
pub async fn the_end_of_a_group_is_announced_to_who_waits_for_it(home: Home) {
    let (two, mut news) = (Two::new(&home), listen(&home).await);
    let group = two.begin(vec![left("post", job("a"))]).await;
    let seen = two
        .mail
        .port
        .look_group(&two.mail.key, group, true, options());
    assert!(!seen.await.unwrap().unwrap().is_over());
    two.end_one(&two.post, succeeded()).await;
    assert_eq!(heard(&mut news).await, News::GroupEnded(group));
    let takes = Ask {
        takes_groups: true,
        ..ask(1, 1, 0)
    };
    assert_eq!(two.mail.turn(&takes).await.groups, []);
}

/// One worker at a time, of those that take groups, until one says that it was told.
pub async fn a_group_that_nobody_waits_for_is_told_to_a_worker(home: Home) {
    let two = Two::new(&home);
    let group = two.begin(vec![left("post", job("a"))]).await;
    let takes = |worker| Ask {
        takes_groups: true,
        ..ask(worker, next(), 0)
    };
    assert_eq!(two.mail.turn(&takes(1)).await.groups, []);
    two.end_one(&two.post, succeeded()).await;
    assert_eq!(two.mail.turn(&ask(2, next(), 0)).await.groups, []);
    assert_eq!(two.mail.turn(&takes(3)).await.groups, [group]);
    assert_eq!(two.mail.turn(&takes(4)).await.groups, []);
    home.elapse(TELLING).await;
    assert_eq!(two.mail.turn(&takes(4)).await.groups, [group]);
    bring(
        &two.mail,
        Bring {
            told: vec![group],
            ..Bring::default()
        },
    )
    .await;
    home.elapse(TELLING).await;
    assert_eq!(two.mail.turn(&takes(4)).await.groups, []);
    assert!(look(&two.mail, group).await.unwrap().is_over());
}
