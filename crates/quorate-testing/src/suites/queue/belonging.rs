//! Which jobs belong to a group.

use quorate::queue::{
    Ask, BRING_LEASE, Condition, JobPlace, MemberOf, NewJob, Removed, Settlement,
};

use super::groups::{Two, after, counts, left, look, next, settle};
use super::{MINUTE, SECOND, ask, job, options, settled, succeeded};
use crate::harness::Home;

/// Whatever it leaves belongs to the group, in any queue, and so does what that leaves.
pub async fn a_job_that_leaves_work_begins_a_group(home: Home) {
    let two = Two::new(&home);
    let (here, there) = (
        job("here"),
        NewJob {
            delay: MINUTE,
            priority: 2,
            ..job("there")
        },
    );
    let group = two
        .begin(vec![
            left("mail", here.clone()),
            left("post", there.clone()),
        ])
        .await;
    let view = look(&two.mail, group).await.unwrap();
    assert_eq!(counts(&view), (2, 1, 0, 0, 0));
    assert_eq!(two.mail.take(50, next(), 1).await[0].id, here.id);
    assert_eq!(two.post.take(50, next(), 1).await, []);
    home.elapse(MINUTE).await;
    let taken = two.post.take(50, next(), 2).await;
    let member_of = Some(MemberOf {
        queue: "mail".to_owned(),
        group,
    });
    assert_eq!((taken[0].id, &taken[0].member_of), (there.id, &member_of));
    let more = job("more");
    let turn = settle(
        &two.post,
        &taken[0],
        vec![left("post", more.clone())],
        Vec::new(),
    )
    .await;
    two.bring_all(&two.post, turn.effects).await;
    let view = look(&two.mail, group).await.unwrap();
    assert_eq!(counts(&view), (2, 2, 0, 0, 0));
    let taken = two.end_one(&two.post, succeeded()).await;
    assert_eq!((taken.id, taken.member_of), (more.id, member_of));
    assert!(!look(&two.mail, group).await.unwrap().is_over());
    assert_eq!(look(&two.post, group).await, None);
}

/// Done, dead, cancelled, removed, expired, or with workers that die.
pub async fn a_member_counts_however_it_ends(home: Home) {
    let two = Two::new(&home);
    let expiring = NewJob {
        expires: Some(SECOND),
        ..job("expires")
    };
    let jobs = ["cancelled", "removed", "purged", "dead", "lost"].map(job);
    let all = jobs
        .iter()
        .cloned()
        .chain([expiring])
        .map(|job| left("post", job));
    let group = two.begin(all.collect()).await;
    two.post.cancel(jobs[0].id).await;
    let ids = [jobs[1].id];
    let removed = two.post.port.remove(&two.post.key, &ids, options());
    assert_eq!(removed.await.unwrap(), [Removed::Gone]);
    let purged = two
        .post
        .port
        .purge(&two.post.key, JobPlace::Ready, 1, options());
    assert_eq!(purged.await.unwrap(), 1);
    two.settle_down().await;
    assert_eq!(
        counts(&look(&two.mail, group).await.unwrap()),
        (3, 1, 0, 3, 0)
    );
    two.end_one(&two.post, Settlement::Dead("never".to_owned()))
        .await;
    for _ in 0..2 {
        assert_eq!(two.post.take(50, next(), 1).await[0].id, jobs[4].id);
        home.elapse(2 * MINUTE).await;
    }
    assert_eq!(two.post.take(50, next(), 9).await, []);
    // They were handed out in that turn.
    home.elapse(BRING_LEASE + SECOND).await;
    two.settle_down().await;
    let view = look(&two.mail, group).await.unwrap();
    assert_eq!(counts(&view), (0, 1, 2, 3, 1));
}

/// Once, when what it waits for has come, wherever that happened.
pub async fn a_follower_is_queued_when_its_gate_opens(home: Home) {
    let two = Two::new(&home);
    let (a, b) = (job("a"), job("b"));
    let both = |condition, job| after(condition, &[&a, &b], left("mail", job));
    let followers = [
        both(Condition::AllSucceeded, job("all")),
        both(Condition::AllDone, job("done")),
        both(Condition::Succeeded(1), job("one")),
    ];
    let last = after(
        Condition::AllDone,
        &[&followers[0].job],
        left("post", job("last")),
    );
    let mut all = vec![left("post", a.clone()), left("post", b.clone())];
    all.extend(followers.clone());
    all.push(last.clone());
    let group = two.begin(all).await;
    assert_eq!(two.mail.take(50, next(), 1).await, []);
    two.end_one(&two.post, succeeded()).await;
    assert_eq!(
        two.end_one(&two.mail, succeeded()).await.id,
        followers[2].job.id
    );
    assert_eq!(two.mail.take(50, next(), 1).await, []);
    two.end_one(&two.post, Settlement::Dead("never".to_owned()))
        .await;
    // Not all have succeeded: who waited for that is cancelled, which is an end as well.
    assert_eq!(
        two.end_one(&two.mail, succeeded()).await.id,
        followers[1].job.id
    );
    assert_eq!(two.mail.take(50, next(), 1).await, []);
    assert_eq!(two.end_one(&two.post, succeeded()).await.id, last.job.id);
    let view = look(&two.mail, group).await.unwrap();
    assert_eq!(counts(&view), (0, 5, 1, 1, 0));
}

/// For the group it has ended.
pub async fn a_redriven_job_belongs_to_no_group(home: Home) {
    let two = Two::new(&home);
    let group = two
        .begin(vec![left("post", job("a")), left("post", job("b"))])
        .await;
    let dead = two
        .end_one(&two.post, Settlement::Dead("never".to_owned()))
        .await;
    let ids = [dead.id];
    let done = two.post.port.redrive(&two.post.key, &ids, options());
    assert_eq!(done.await.unwrap(), [true]);
    let taken = two.post.take(50, next(), 2).await;
    let again = taken.iter().find(|it| it.id == dead.id).unwrap();
    assert_eq!((&again.member_of, again.input.as_ref()), (&None, &b"a"[..]));
    let done = settled(again, succeeded());
    let turn = two
        .post
        .turn(&Ask {
            settled: vec![done],
            ..ask(50, next(), 0)
        })
        .await;
    assert_eq!(turn.effects, []);
    assert_eq!(
        counts(&look(&two.mail, group).await.unwrap()),
        (1, 1, 1, 0, 0)
    );
}
