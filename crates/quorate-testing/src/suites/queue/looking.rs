//! What who operates a queue sees of it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate::ErrorKind;
use quorate::queue::{
    JobDetails, JobEnd, JobId, JobPage, JobPlace, JobState, JobView, MAX_LINE, MAX_LOG, MOST_LINES,
    MOST_LISTED, MemberOf, NewJob, Note, QueueStats, ScanCursor, Settlement, Unique, UniqueScope,
};

use super::groups::{Two, left, next, settle};
use super::{HOUR, MINUTE, Queue, ended, failed, job, options, succeeded};
use crate::harness::Home;

impl Queue {
    pub(super) async fn inspect(&self, id: JobId) -> Option<JobView> {
        let view = self.port.inspect(&self.key, id, options());
        view.await.unwrap()
    }

    async fn page(&self, place: JobPlace, after: Option<&ScanCursor>, limit: usize) -> JobPage {
        let page = self.port.list(&self.key, place, after, limit, options());
        page.await.unwrap()
    }

    /// All of a place, page by page.
    pub(super) async fn list(&self, place: JobPlace, limit: usize) -> Vec<JobView> {
        let mut page = self.page(place, None, limit).await;
        let mut all = page.jobs;
        while let Some(next) = page.next {
            page = self.page(place, Some(&next), limit).await;
            assert!(!page.jobs.is_empty() && page.jobs.len() <= limit);
            all.extend(page.jobs);
        }
        all
    }

    pub(super) async fn stats(&self) -> QueueStats {
        self.port.stats(&self.key, options()).await.unwrap()
    }
}

/// Wherever it is: how it was pushed, how often it failed and why, what was noted.
pub async fn a_job_is_shown_as_it_is(home: Home) {
    let queue = Queue::new(&home);
    assert_eq!(queue.inspect(JobId::random()).await, None);
    let pushed = NewJob {
        priority: 3,
        group: "é".to_owned(),
        expires: Some(9 * HOUR),
        member_of: Some(MemberOf {
            queue: "post".to_owned(),
            group: JobId::random(),
        }),
        unique: Some(Unique {
            key: "order 42".to_owned(),
            scope: UniqueScope::Throttle(MINUTE),
        }),
        ..job("a")
    };
    queue.push(std::slice::from_ref(&pushed)).await;
    let fresh = queue.inspect(pushed.id).await.unwrap();
    let details = fresh.details.clone().unwrap();
    assert!(details.expires.unwrap() > details.queued.plus(8 * HOUR));
    let expected = JobDetails {
        queued: details.queued,
        input: pushed.input.clone(),
        attempts: 2,
        failed: 0,
        error: None,
        priority: 3,
        group: pushed.group.clone(),
        unique: pushed.unique.clone(),
        member_of: pushed.member_of.clone(),
        expires: details.expires,
        keep: HOUR,
    };
    assert_eq!((fresh.state, details), (JobState::Ready, expected));
    let taken = queue.take(1, 1, 1).await;
    assert!(
        queue
            .note(&taken[0], Note::Progress(Bytes::from_static(b"half")))
            .await
    );
    assert!(queue.note(&taken[0], Note::Log("a line".to_owned())).await);
    assert!(queue.settle(1, 2, &taken[0], failed(HOUR)).await);
    let tried = queue.inspect(pushed.id).await.unwrap();
    assert!(matches!(tried.state, JobState::Due(_)));
    let details = tried.details.unwrap();
    let why = Some("no such mailbox".to_owned());
    assert_eq!((details.failed, details.error), (1, why));
    home.elapse(2 * HOUR).await;
    let taken = queue.take(1, 3, 1).await;
    let active = queue.inspect(pushed.id).await.unwrap();
    assert_eq!(active.state, JobState::Active { cancelled: false });
    assert!(queue.note(&taken[0], Note::Log("another".to_owned())).await);
    assert!(queue.settle(1, 4, &taken[0], succeeded()).await);
    let over = queue.inspect(pushed.id).await.unwrap();
    assert_eq!(
        Some(over.state),
        ended(JobEnd::Succeeded(Bytes::from_static(b"sent")))
    );
    // What was noted is kept with it, but not how it was pushed.
    assert_eq!(
        (over.details, over.progress),
        (None, Some(Bytes::from_static(b"half")))
    );
    let log: Vec<_> = over.log.iter().map(|it| (it.attempt, &*it.text)).collect();
    assert_eq!(log, [(1, "a line"), (2, "another")]);
    assert!(over.log[1].at > over.log[0].at.plus(HOUR));
    home.elapse(2 * HOUR).await;
    assert_eq!(queue.inspect(pushed.id).await, None);
}

/// By number and by length.
pub async fn the_last_lines_of_a_log_are_kept(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 2).await;
    for number in 0..MOST_LINES + 5 {
        assert!(queue.note(&taken[0], Note::Log(number.to_string())).await);
    }
    let view = queue.inspect(taken[0].id).await.unwrap();
    let lines: Vec<_> = view.log.into_iter().map(|it| it.text).collect();
    let expected: Vec<_> = (5..MOST_LINES + 5).map(|it| it.to_string()).collect();
    assert_eq!(lines, expected);
    let most = MAX_LOG / MAX_LINE;
    for number in 0..=most {
        let line = number.to_string().repeat(MAX_LINE);
        assert!(queue.note(&taken[1], Note::Log(line)).await);
    }
    let view = queue.inspect(taken[1].id).await.unwrap();
    assert_eq!(view.log.len(), most);
    assert!(view.log[0].text.starts_with('1'));
}

/// Each once, in the order of its place, also if some have left it between two pages.
pub async fn jobs_are_listed_by_place(home: Home) {
    let queue = Queue::new(&home);
    let late = |hours: u32| NewJob {
        delay: HOUR * hours,
        ..job("late")
    };
    let ready: Vec<_> = (0..5).map(|_| job("ready")).collect();
    let due = [late(3), late(1), late(2)];
    queue.push(&ready).await;
    queue.push(&due).await;
    let ids = |views: &[JobView]| views.iter().map(|it| it.id).collect::<Vec<_>>();
    let as_pushed: Vec<_> = ready.iter().map(|it| it.id).collect();
    assert_eq!(ids(&queue.list(JobPlace::Ready, 2).await), as_pushed);
    assert_eq!(queue.list(JobPlace::Ready, MOST_LISTED).await.len(), 5);
    assert_eq!(
        ids(&queue.list(JobPlace::Due, 1).await),
        [due[1].id, due[2].id, due[0].id]
    );
    let first = queue.page(JobPlace::Ready, None, 2).await;
    assert_eq!(
        first.jobs[0].details.as_ref().unwrap().input,
        ready[0].input
    );
    let taken = queue.take(1, 1, 3).await;
    let rest = queue.page(JobPlace::Ready, first.next.as_ref(), 9).await;
    assert_eq!(
        (ids(&rest.jobs), rest.next),
        (as_pushed[3..].to_vec(), None)
    );
    queue.cancel(as_pushed[1]).await;
    let active = queue.list(JobPlace::Active, 2).await;
    let cancelled = active
        .iter()
        .map(|it| (it.id, it.state == JobState::Active { cancelled: true }));
    assert_eq!(
        cancelled.collect::<BTreeSet<_>>(),
        as_pushed[..3]
            .iter()
            .map(|id| (*id, *id == as_pushed[1]))
            .collect()
    );
    assert!(queue.settle(1, 2, &taken[0], succeeded()).await);
    assert!(
        queue
            .settle(1, 3, &taken[2], Settlement::Dead("never".to_owned()))
            .await
    );
    home.elapse(MINUTE / 2).await;
    queue.cancel(as_pushed[4]).await;
    let over = queue.list(JobPlace::Ended, 1).await;
    assert_eq!(
        ids(&over),
        [as_pushed[4], as_pushed[0]],
        "the latest is first"
    );
    assert_eq!(Some(over[0].state.clone()), ended(JobEnd::Cancelled));
    let dead = queue.list(JobPlace::Dead, 1).await;
    assert_eq!(ids(&dead), [as_pushed[2]]);
    assert_eq!(dead[0].details.as_ref().unwrap().input, ready[2].input);
    home.elapse(2 * HOUR).await;
    assert_eq!(queue.list(JobPlace::Ended, 9).await, []);
}

/// Also when thousands have the same rank.
pub async fn a_long_list_has_pages(home: Home) {
    let queue = Queue::new(&home);
    let jobs: Vec<_> = (0..1_000)
        .map(|nth| NewJob {
            group: nth.to_string(),
            ..job("a")
        })
        .collect();
    queue.push(&jobs).await;
    let mut page = queue.page(JobPlace::Ready, None, 300).await;
    let mut seen: BTreeSet<_> = page.jobs.iter().map(|it| it.id).collect();
    // Where the page ended there is nothing any more.
    queue.take(1, 1, 400).await;
    while let Some(next) = page.next {
        page = queue.page(JobPlace::Ready, Some(&next), 300).await;
        for it in &page.jobs {
            assert!(seen.insert(it.id));
        }
    }
    assert_eq!(seen.len(), 900);
}

/// How many are where, and how many have been.
pub async fn a_queue_is_counted(home: Home) {
    let queue = Queue::new(&home);
    assert_eq!(queue.stats().await, QueueStats::default());
    let late = NewJob {
        delay: HOUR,
        ..job("late")
    };
    let soon = NewJob {
        expires: Some(MINUTE),
        ..job("soon")
    };
    let jobs = [job("a"), job("b"), job("c"), job("d"), late, soon.clone()];
    queue.push(&jobs).await;
    queue.push(&jobs).await;
    let taken = queue.take(1, 1, 4).await;
    for (number, (it, how)) in (2..).zip(taken.iter().zip([
        succeeded(),
        Settlement::Dead("never".to_owned()),
        failed(Duration::ZERO),
        Settlement::Deferred(Duration::ZERO),
    ])) {
        assert!(queue.settle(1, number, it, how).await);
    }
    home.elapse(2 * MINUTE).await;
    queue.cancel(jobs[2].id).await;
    assert_eq!(queue.take(7, 1, 2).await.len(), 1);
    queue.pause(true).await;
    let stats = queue.stats().await;
    let due = stats.next_due.unwrap();
    assert!(due < HOUR && due > HOUR / 2, "{due:?}");
    let counted = (
        stats.ready,
        stats.due,
        stats.active,
        stats.ended,
        stats.dead,
    );
    assert_eq!(counted, (0, 1, 1, 3, 1));
    assert_eq!((stats.idle, stats.paused, stats.waited), (1, true, None));
    let totals = stats.totals;
    let over = (
        totals.succeeded,
        totals.dead,
        totals.cancelled,
        totals.expired,
    );
    assert_eq!(over, (1, 1, 1, 1));
    assert_eq!((totals.pushed, totals.failed, totals.deferred), (6, 1, 1));
    queue.push(&[job("e")]).await;
    home.elapse(MINUTE / 2).await;
    let waited = queue.stats().await.waited.unwrap();
    assert!(waited >= MINUTE / 2 && waited < HOUR, "{waited:?}");
}

/// A group until it is over; what is to be brought until somebody says that it was, and late as long as nobody was handed it.
pub async fn groups_and_what_is_to_be_brought_are_counted(home: Home) {
    let two = Two::new(&home);
    let counted = async |queue: &Queue| {
        let stats = queue.stats().await;
        (stats.open_groups, stats.effects, stats.effects_waited)
    };
    let first = job("first");
    two.mail.push(std::slice::from_ref(&first)).await;
    let taken = two.mail.take(50, next(), 1).await;
    assert_eq!(counted(&two.mail).await, (0, 0, None));
    let turn = settle(&two.mail, &taken[0], vec![left("post", job("a"))], vec![]).await;
    assert_eq!(turn.effects.len(), 1);
    assert_eq!(counted(&two.mail).await, (1, 1, None));
    home.elapse(MINUTE).await;
    let (groups, effects, waited) = counted(&two.mail).await;
    let waited = waited.unwrap();
    assert!(waited > MINUTE / 2 && waited < HOUR, "{waited:?}");
    assert_eq!((groups, effects), (1, 1));
    // The group is here, and only what is to be told is there.
    two.settle_down().await;
    assert_eq!(counted(&two.mail).await, (1, 0, None));
    let taken = two.post.take(50, next(), 1).await;
    assert!(two.post.settle(50, next(), &taken[0], succeeded()).await);
    assert_eq!(counted(&two.post).await, (0, 1, None));
    home.elapse(MINUTE).await;
    two.settle_down().await;
    assert_eq!(counted(&two.post).await, (0, 0, None));
    assert_eq!(counted(&two.mail).await, (0, 0, None));
}

/// Those of other namespaces are not.
pub async fn queues_are_found_by_name(home: Home) {
    for name in ["mail", "mail}{post", "post"] {
        Queue::named(&home, name).push(&[job("a")]).await;
    }
    let queue = Queue::new(&home);
    for (prefix, expected) in [("", 3), ("mail", 2), ("mail}", 1), ("*", 0)] {
        let (mut names, mut from) = (BTreeSet::new(), None);
        loop {
            let space = queue.key.namespace();
            let page = queue.port.queues(space, prefix, from.as_ref(), options());
            let page = page.await.unwrap();
            names.extend(page.names);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(names.len(), expected, "{prefix}: {names:?}");
        assert!(names.iter().all(|name| name.starts_with(prefix)));
    }
}

/// Nothing is guessed.
pub async fn a_list_that_cannot_be_given_is_refused(home: Home) {
    let queue = Queue::new(&home);
    for (field, cursor, limit) in [
        ("limit", None, 0),
        ("limit", None, MOST_LISTED + 1),
        ("cursor", Some("1 2"), 1),
        ("cursor", Some("+1 0 00000000000000000000000000000000"), 1),
    ] {
        let cursor = cursor.map(ScanCursor::new);
        let place = JobPlace::Ready;
        let page = queue
            .port
            .list(&queue.key, place, cursor.as_ref(), limit, options());
        let error = page.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(&format!("{field} must be")), "{text}");
    }
}
