//! What operators see of queues and do with them, by the handles.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use quorate::queue::{JobPlace, JobRecord, JobState, Removed};
use quorate::{Ended, ErrorKind, Job, JobError, JobId, Queue, QueueSpec};
use tokio::sync::Notify;

use super::{HOUR, SECOND, numbers, run, say};
use crate::harness::{Home, within};

async fn seen<I, O>(queue: &Queue<I, O>, id: JobId) -> JobRecord<I, O> {
    queue.inspect(id).await.unwrap().unwrap()
}

/// The same queue with inputs of another type.
const TEXTS: QueueSpec<String, String> = QueueSpec::new("numbers");

/// With its types, and with what its handler said of it.
pub async fn an_operator_sees_what_was_pushed_and_what_became_of_it(home: Home) {
    let queue = numbers(home.fleet());
    let pushed = queue.push(&7).tags(["a", "b"]).priority(3);
    let job = pushed.timeout(HOUR).delay(SECOND).await.unwrap();
    let waiting = seen(&queue, job.id()).await;
    assert!(matches!(waiting.state, JobState::Due(_)));
    assert_eq!(waiting.input().unwrap(), Some(7));
    assert_eq!(waiting.result().unwrap(), None);
    assert_eq!(waiting.tags(), ["a", "b"]);
    assert_eq!((waiting.timeout(), waiting.parent()), (Some(HOUR), None));
    let details = waiting.details.as_ref().unwrap();
    assert_eq!((&details.input[..], details.priority), (&b"7"[..], 3));
    home.elapse(2 * SECOND).await;
    let other = numbers(&home.instance("other").await);
    let running = run(other.worker(|job: Job<u32>| async move {
        job.progress(&0.5).await?;
        job.log("half").await?;
        Ok(format!("got {}", job.input))
    }));
    assert_eq!(job.result().await.unwrap(), "got 7");
    let over = seen(&queue, job.id()).await;
    assert_eq!(over.result().unwrap().as_deref(), Some("got 7"));
    assert_eq!(over.progress_as::<f64>().unwrap(), Some(0.5));
    assert_eq!(over.log[0].text, "half");
    assert_eq!(over.input().unwrap(), None);
    assert!(queue.inspect(JobId::random()).await.unwrap().is_none());
    running.stop().await;
}

/// From another instance: what its handler says, and its end.
pub async fn a_watched_job_tells_what_becomes_of_it(home: Home) {
    let queue = numbers(home.fleet());
    let job = queue.push(&7).await.unwrap();
    let other = numbers(&home.instance("other").await);
    let mut watch = other.watch(job.id());
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (&first.state, first.input().unwrap()),
        (&JobState::Ready, Some(7))
    );
    // The handler goes on when the watch has told how far it is.
    let told = Arc::new(Notify::new());
    let wait = told.clone();
    let running = run(queue.worker(move |job: Job<u32>| {
        let wait = wait.clone();
        async move {
            job.log("begun").await?;
            job.progress(&0.5).await?;
            wait.notified().await;
            Ok(format!("got {}", job.input))
        }
    }));
    let half = async {
        loop {
            let seen = watch.next().await.unwrap().expect("it is not over");
            if seen.progress_as::<f64>().unwrap() == Some(0.5) {
                return seen;
            }
        }
    };
    let half = within("progress", half).await;
    assert_eq!(half.log[0].text, "begun");
    told.notify_one();
    let last = within("the end", watch.next()).await.unwrap().unwrap();
    assert_eq!(last.result().unwrap().as_deref(), Some("got 7"));
    assert!(watch.next().await.unwrap().is_none());
    let mut nobody = other.watch(JobId::random());
    assert!(nobody.next().await.unwrap().is_none());
    running.stop().await;
}

/// As bytes, with the reason why it is dead.
pub async fn what_does_not_decode_is_seen_all_the_same(home: Home) {
    let (queue, texts) = (numbers(home.fleet()), home.fleet().queue(&TEXTS));
    let bad = texts.push(&"one".to_owned()).tags(["bad"]).await.unwrap();
    let running = run(queue.worker(say));
    assert!(matches!(bad.ended().await.unwrap(), Ended::Dead(_)));
    let job = seen(&queue, bad.id()).await;
    assert_eq!(job.tags(), ["bad"]);
    let details = job.details.as_ref().unwrap();
    assert_eq!(details.input, "\"one\"");
    let error = job.input().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    running.stop().await;
}

/// As a stream, and page by page from any instance.
pub async fn the_jobs_of_a_place_come_page_by_page(home: Home) {
    let queue = numbers(home.fleet());
    let inputs = [1, 2, 3, 4, 5];
    queue.push_many(&inputs).tags(["t"]).await.unwrap();
    queue.push(&6).delay(HOUR).await.unwrap();
    let all = queue.list(JobPlace::Ready).limit(2);
    let all: Vec<_> = all.try_collect().await.unwrap();
    let listed = all.iter().map(|job| job.input().unwrap().unwrap());
    assert_eq!(listed.collect::<Vec<_>>(), inputs);
    assert!(all.iter().all(|job| job.tags() == ["t"]));
    let mut first = queue.list(JobPlace::Ready).limit(3);
    let page = first.next_page().await.unwrap().unwrap();
    assert_eq!(page.jobs.len(), 3);
    let other = numbers(&home.instance("other").await);
    let mut rest = other.list(JobPlace::Ready).after(page.next.unwrap());
    let page = rest.next_page().await.unwrap().unwrap();
    let left = page.jobs.iter().map(|job| job.input().unwrap().unwrap());
    assert_eq!(left.collect::<Vec<_>>(), [4, 5]);
    assert_eq!(page.next, None);
    assert!(rest.next_page().await.unwrap().is_none());
    let due: Vec<_> = queue.list(JobPlace::Due).try_collect().await.unwrap();
    assert_eq!(due.len(), 1);
}

/// What was said of it at its push stays.
pub async fn a_dead_job_is_put_right_and_redriven(home: Home) {
    let (queue, texts) = (numbers(home.fleet()), home.fleet().queue(&TEXTS));
    let pushed = texts.push(&"one".to_owned()).tags(["kept"]);
    let job = pushed.timeout(HOUR).max_attempts(2).await.unwrap();
    let other = queue.push(&2).await.unwrap();
    let running = run(queue.worker(|job: Job<u32>| async move {
        match job.tags() {
            [] => Err(JobError::abort("no tags")),
            tags => Ok(format!("{} {tags:?}", job.input)),
        }
    }));
    for dead in [&job, &other] {
        assert!(matches!(dead.ended().await.unwrap(), Ended::Dead(_)));
    }
    assert!(queue.edit(job.id(), &1).await.unwrap());
    assert_eq!(seen(&queue, job.id()).await.timeout(), Some(HOUR));
    let ids = [job.id(), JobId::random()];
    assert_eq!(queue.redrive(&ids).await.unwrap(), [true, false]);
    assert_eq!(job.result().await.unwrap(), "1 [\"kept\"]");
    assert_eq!(queue.redrive_dead(9).await.unwrap(), 1);
    assert!(matches!(other.ended().await.unwrap(), Ended::Dead(_)));
    // Over, and not there: nothing to edit.
    assert!(!queue.edit(job.id(), &1).await.unwrap());
    assert!(!queue.edit(JobId::random(), &1).await.unwrap());
    assert!(queue.redrive(&[]).await.unwrap().is_empty());
    running.stop().await;
}

/// And leaves alone what somebody has.
pub async fn an_operator_takes_away_what_nobody_has(home: Home) {
    let queue = numbers(home.fleet());
    let jobs = queue.push_many(&[1, 2, 3, 4]).await.unwrap();
    let claimed = queue.claim(1).lease(HOUR).await.unwrap();
    let ids = [jobs[0].id(), jobs[1].id(), JobId::random()];
    let removed = queue.remove(&ids).await.unwrap();
    assert_eq!(removed, [Removed::Active, Removed::Gone, Removed::Unknown]);
    assert_eq!(jobs[1].ended().await.unwrap(), Ended::Forgotten);
    assert_eq!(queue.purge(JobPlace::Ready, 1).await.unwrap(), 1);
    assert_eq!(queue.purge(JobPlace::Ready, 9).await.unwrap(), 1);
    assert_eq!(queue.purge(JobPlace::Dead, 9).await.unwrap(), 0);
    let settled = queue.settle([(claimed[0].receipt.clone(), Ok(String::new()))]);
    assert_eq!(settled.await.unwrap(), [true]);
    assert!(queue.remove(&[]).await.unwrap().is_empty());
}

/// By their names, without their specs.
pub async fn queues_are_found_and_counted_whatever_their_types(home: Home) {
    let fleet = home.fleet();
    let queue = numbers(fleet);
    queue.push_many(&[1, 2]).await.unwrap();
    const OTHER: QueueSpec<String> = QueueSpec::new("other/texts");
    let text = fleet.queue(&OTHER).push(&"hello".to_owned());
    let job = text.delay(HOUR).await.unwrap();
    let mut names: Vec<_> = fleet.queues().scan("").try_collect().await.unwrap();
    names.sort_unstable();
    assert_eq!(names, ["numbers", "other/texts"]);
    let names: Vec<_> = fleet.queues().scan("other").try_collect().await.unwrap();
    assert_eq!(names, ["other/texts"]);
    let stats = fleet.queues().of("numbers").unwrap().stats().await.unwrap();
    assert_eq!((stats.ready, stats.due, stats.paused), (2, 0, false));
    let other = fleet.queues().of("other/texts").unwrap();
    assert_eq!(other.stats().await.unwrap().due, 1);
    let seen = seen(&other, job.id()).await;
    assert_eq!(
        seen.input().unwrap(),
        Some(Bytes::from_static(b"\"hello\""))
    );
    let error = fleet.queues().of("no queue").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// As a whole, and page by page.
pub async fn a_sound_queue_has_no_strays(home: Home) {
    let queue = numbers(home.fleet());
    queue.push_many(&[1, 2, 3]).unique("one").await.unwrap();
    queue.push(&4).await.unwrap();
    queue.claim(1).lease(HOUR).await.unwrap();
    let found = queue.fsck().await.unwrap();
    assert!(found.checked >= 2, "{found:?}");
    assert_eq!((found.strays, found.next), (Vec::new(), None));
    let mut pages = queue.fsck().repair();
    let mut checked = 0;
    while let Some(page) = pages.next_page().await.unwrap() {
        assert_eq!(page.strays, []);
        checked += page.checked;
    }
    assert!(checked >= 2, "{checked}");
}

/// Before anything is done.
pub async fn operators_are_told_which_rule_they_break(home: Home) {
    let queue = numbers(home.fleet());
    let job = queue.push(&1).await.unwrap();
    let many = vec![job.id(); 1001];
    let no_page = queue.list(JobPlace::Ready).limit(0).try_collect::<Vec<_>>();
    let large = home.fleet().queue(&TEXTS.max_bytes(8));
    for (error, operation, rule) in [
        (
            queue.redrive(&many).await.unwrap_err(),
            "queue.redrive",
            "ids must be at most 1000",
        ),
        (
            queue.remove(&many).await.unwrap_err(),
            "queue.remove",
            "ids must be at most 1000",
        ),
        (
            queue.redrive_dead(0).await.unwrap_err(),
            "queue.redrive",
            "most must be from 1 to 1000",
        ),
        (
            queue.purge(JobPlace::Dead, 1001).await.unwrap_err(),
            "queue.purge",
            "most must be from 1 to 1000",
        ),
        (
            queue.purge(JobPlace::Active, 1).await.unwrap_err(),
            "queue.purge",
            "place must be one where nobody has the jobs",
        ),
        (
            no_page.await.unwrap_err(),
            "queue.list",
            "must be from 1 to 1000",
        ),
        (
            large
                .edit(job.id(), &"too large".to_owned())
                .await
                .unwrap_err(),
            "queue.edit",
            "input must be at most 8 bytes, and is 11",
        ),
    ] {
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::InvalidInput, Some(operation))
        );
        assert!(error.to_string().contains(rule), "{error}");
    }
    assert_eq!(seen(&queue, job.id()).await.input().unwrap(), Some(1));
}
