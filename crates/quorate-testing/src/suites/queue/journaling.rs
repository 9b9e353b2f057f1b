//! What who has a job writes into its journal.

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Append, Appended, Delivered, JobId, JobPlace, JobState, JournalPage, MAX_APPENDED, MAX_ENTRY,
    MOST_APPENDED, MOST_ENTRIES, MOST_READ, NewJob, Note, ReadFrom, Settlement,
};
use quorate::{ErrorKind, Micros, Result};

use super::{HOUR, MINUTE, Queue, SECOND, failed, job, options, succeeded};
use crate::harness::Home;

impl Queue {
    pub(super) async fn try_append(&self, appends: &[Append]) -> Result<Vec<Appended>> {
        self.port.append(&self.key, appends, options()).await
    }

    /// Appends to one journal.
    pub(super) async fn append(&self, it: &Delivered, at: u64, entries: &[&str]) -> Appended {
        let appended = self.try_append(&[append(it, at, entries)]).await.unwrap();
        assert_eq!(appended.len(), 1);
        appended[0]
    }

    pub(super) async fn read_from(&self, id: JobId, from: ReadFrom) -> Option<JournalPage> {
        let page = self.port.read(&self.key, id, from, options());
        page.await.unwrap()
    }

    /// The entries of a journal; `None` if there is no such job.
    pub(super) async fn journal(&self, id: JobId) -> Option<Vec<String>> {
        let page = self.read_from(id, ReadFrom::default()).await?;
        assert_eq!(page.length, page.entries.len() as u64);
        Some(texts(&page.entries))
    }

    pub(super) async fn inbox(&self, id: JobId) -> Option<Vec<String>> {
        let page = self.read_from(id, ReadFrom::default()).await?;
        assert_eq!(page.told, page.messages.len() as u64);
        Some(texts(&page.messages))
    }

    /// The only job of the queue, delivered by this turn.
    pub(super) async fn take_one(&self, number: u64) -> Delivered {
        let mut taken = self.take(1, number, 9).await;
        assert_eq!(taken.len(), 1);
        taken.remove(0)
    }
}

pub(super) fn append(it: &Delivered, at: u64, entries: &[&str]) -> Append {
    let entries = entries.iter();
    Append {
        id: it.id,
        lease: it.lease,
        at,
        entries: entries
            .map(|it| Bytes::copy_from_slice(it.as_bytes()))
            .collect(),
    }
}

fn texts(lines: &[(Micros, Bytes)]) -> Vec<String> {
    let texts = lines.iter().map(|(_, text)| String::from_utf8_lossy(text));
    texts.map(Into::into).collect()
}

fn is_written(appended: Appended) -> bool {
    matches!(appended, Appended::Written(_))
}

/// Of many jobs together, each with when it was written by the clock of the home.
pub async fn what_is_appended_is_read_in_its_order(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 2).await;
    let appends = [
        append(&taken[0], 0, &["one", "", "three"]),
        append(&taken[1], 0, &["un"]),
        append(&taken[0], 3, &["four"]),
    ];
    let appended = queue.try_append(&appends).await.unwrap();
    let Appended::Written(since) = appended[0] else {
        panic!("{appended:?}");
    };
    assert_eq!(appended, [Appended::Written(since); 3]);
    home.elapse(SECOND).await;
    let Appended::Written(later) = queue.append(&taken[1], 1, &["deux"]).await else {
        panic!("the lease lasts");
    };
    assert!(later >= since.plus(SECOND));
    assert_eq!(queue.try_append(&[]).await.unwrap(), []);

    let all = queue.journal(taken[0].id).await.unwrap();
    assert_eq!(all, ["one", "", "three", "four"]);
    let page = queue.read_from(taken[1].id, ReadFrom::default()).await;
    let page = page.unwrap();
    let (un, deux) = (Bytes::from_static(b"un"), Bytes::from_static(b"deux"));
    assert_eq!(page.entries, [(since, un), (later, deux)]);
    assert!(page.now >= later && page.messages.is_empty());
    let view = queue.port.inspect(&queue.key, taken[0].id, options());
    let view = view.await.unwrap().unwrap();
    assert_eq!((view.entries, view.messages), (4, 0));
}

/// Its reply was lost: it is there once, and since then; also when more is behind it.
pub async fn a_repeated_append_is_recognised(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    let first = queue.append(&it, 0, &["one", "two"]).await;
    assert!(is_written(first));
    home.elapse(SECOND).await;
    assert_eq!(queue.append(&it, 0, &["one", "two"]).await, first);
    assert!(is_written(queue.append(&it, 2, &["three"]).await));
    home.elapse(SECOND).await;
    assert_eq!(queue.append(&it, 0, &["one", "two"]).await, first);
    assert_eq!(queue.append(&it, 0, &["one"]).await, first);
    assert_eq!(queue.append(&it, 1, &["two"]).await, first);
    let all = queue.journal(it.id).await.unwrap();
    assert_eq!(all, ["one", "two", "three"]);
}

/// What has another number of entries before it, or others in its place, is not written; what else the call appends is.
pub async fn an_append_says_what_is_before_it(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a"), job("b")]).await;
    let taken = queue.take(1, 1, 2).await;
    let it = &taken[0];
    assert_eq!(queue.append(it, 1, &["two"]).await, Appended::Conflict);
    assert_eq!(queue.journal(it.id).await.unwrap(), [""; 0]);
    assert!(is_written(queue.append(it, 0, &["one", "two"]).await));
    for (at, entries) in [
        (0, &["other"][..]),
        (0, &["one", "other"]),
        (1, &["two", "three"]),
        (3, &["four"]),
        (MOST_ENTRIES - 1, &["last"]),
    ] {
        let appends = [append(it, at, entries), append(&taken[1], at, entries)];
        let both = queue.try_append(&appends).await.unwrap();
        assert_eq!(both[0], Appended::Conflict, "{at} {entries:?}");
    }
    assert_eq!(queue.journal(it.id).await.unwrap(), ["one", "two"]);
    let other = queue.journal(taken[1].id).await.unwrap();
    assert_eq!(other, ["other", "two", "three", "four"]);
}

/// Who has lost its lease, or has settled the job, appends nothing, whoever has it now.
pub async fn only_a_delivery_that_counts_appends(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let first = queue.take_one(1).await;
    assert!(is_written(queue.append(&first, 0, &["one"]).await));
    home.elapse(MINUTE + SECOND).await;
    assert_eq!(queue.append(&first, 1, &["late"]).await, Appended::Lost);
    // Nor does it learn whether that was there.
    assert_eq!(queue.append(&first, 0, &["one"]).await, Appended::Lost);
    let second = queue.take_one(2).await;
    let both = [append(&first, 1, &["late"]), append(&second, 1, &["two"])];
    let both = queue.try_append(&both).await.unwrap();
    assert!(both[0] == Appended::Lost && is_written(both[1]), "{both:?}");
    assert!(queue.settle(1, 3, &second, succeeded()).await);
    assert_eq!(queue.append(&second, 2, &["over"]).await, Appended::Lost);
    assert_eq!(queue.journal(first.id).await.unwrap(), ["one", "two"]);
    let stranger = Delivered {
        id: JobId::random(),
        ..second
    };
    assert_eq!(queue.append(&stranger, 0, &["one"]).await, Appended::Lost);
    assert_eq!(queue.journal(stranger.id).await, None);
}

/// So that who is delivered a job knows by that whether there is something to be read; its own checkpoint stays.
pub async fn who_has_a_journal_is_delivered_with_a_checkpoint(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    assert_eq!(it.checkpoint, None);
    let deferred = Settlement::Deferred(Duration::ZERO);
    assert!(queue.settle(1, 2, &it, deferred.clone()).await);
    let it = queue.take_one(3).await;
    assert_eq!(it.checkpoint, None);
    assert!(is_written(queue.append(&it, 0, &["one"]).await));
    assert!(queue.settle(1, 4, &it, deferred.clone()).await);
    let it = queue.take_one(5).await;
    assert!(it.checkpoint.is_some());

    let own = Bytes::from_static(b"own");
    assert!(queue.note(&it, Note::Checkpoint(own.clone())).await);
    assert!(is_written(queue.append(&it, 1, &["two"]).await));
    assert!(queue.settle(1, 6, &it, deferred).await);
    assert_eq!(queue.take_one(7).await.checkpoint, Some(own));
}

/// A job that gets on is not dead, however often a delivery of it fails; one that does not is.
pub async fn what_is_appended_is_progress(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let mut number = 1;
    for at in 0..4 {
        // Of two attempts, one is left.
        let it = queue.take_one(number).await;
        assert_eq!(it.attempt, 1);
        assert!(
            queue
                .settle(1, number + 1, &it, failed(Duration::ZERO))
                .await
        );
        let it = queue.take_one(number + 2).await;
        assert_eq!(it.attempt, 2);
        assert!(is_written(queue.append(&it, at, &["step"]).await));
        let view = queue.port.inspect(&queue.key, it.id, options());
        let details = view.await.unwrap().unwrap().details.unwrap();
        assert_eq!((details.failed, details.error), (0, None));
        let deferred = Settlement::Deferred(Duration::ZERO);
        assert!(queue.settle(1, number + 3, &it, deferred).await);
        number += 4;
    }
    for nth in 0..2 {
        let it = queue.take_one(number + nth * 2).await;
        // What was there before is no progress.
        assert!(is_written(queue.append(&it, 3, &["step"]).await));
        let settlement = failed(Duration::ZERO);
        assert!(queue.settle(1, number + nth * 2 + 1, &it, settlement).await);
    }
    assert_eq!(queue.take(1, number + 4, 1).await, []);
}

/// Then it goes, and who is pushed with the same id begins anew.
pub async fn a_journal_is_kept_as_long_as_what_became_of_its_job(home: Home) {
    let queue = Queue::new(&home);
    let (kept, dead, gone) = (job("kept"), job("dead"), job("gone"));
    let jobs = [
        kept,
        dead,
        NewJob {
            keep: Duration::ZERO,
            ..gone
        },
    ];
    queue.push(&jobs).await;
    let taken = queue.take(1, 1, 3).await;
    let at_once = Settlement::Succeeded {
        result: Bytes::new(),
        keep: Duration::ZERO,
        work: None,
    };
    let ends = [succeeded(), Settlement::Dead("never".to_owned()), at_once];
    for (nth, (it, end)) in (2..).zip(taken.iter().zip(ends)) {
        assert!(is_written(queue.append(it, 0, &["one", "two"]).await));
        queue.tell(it.id, "hello").await;
        assert!(queue.settle(1, nth, it, end).await);
    }
    for job in &jobs[..2] {
        assert_eq!(queue.journal(job.id).await.unwrap(), ["one", "two"]);
        assert_eq!(queue.inbox(job.id).await.unwrap(), ["hello"]);
    }
    assert_eq!(queue.journal(jobs[2].id).await, None);
    home.elapse(HOUR + SECOND).await;
    assert_eq!(queue.journal(jobs[0].id).await, None);
    assert_eq!(queue.journal(jobs[1].id).await.unwrap(), ["one", "two"]);
    queue.push(&[jobs[0].clone(), jobs[2].clone()]).await;
    for nth in [0, 2] {
        assert_eq!(queue.journal(jobs[nth].id).await.unwrap(), [""; 0]);
        assert_eq!(queue.inbox(jobs[nth].id).await.unwrap(), [""; 0]);
    }
    let again = queue.take(1, 9, 9).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|it| it.checkpoint.is_none()));
}

/// By an operator who removes it, wherever it is.
pub async fn a_journal_goes_with_a_job_that_is_removed(home: Home) {
    let queue = Queue::new(&home);
    let jobs = ["waits", "ends", "dies", "goes"].map(job);
    queue.push(&jobs).await;
    let taken = queue.take(1, 1, 4).await;
    let waits = Settlement::Waiting {
        after: HOUR,
        seen: 9,
    };
    let dead = || Settlement::Dead("never".to_owned());
    let says = [waits, succeeded(), dead(), dead()];
    for (nth, (it, says)) in (2..).zip(taken.iter().zip(says)) {
        assert!(is_written(queue.append(it, 0, &["one"]).await));
        queue.tell(it.id, "hello").await;
        assert!(queue.settle(1, nth, it, says).await);
    }
    let ids: Vec<_> = jobs[..3].iter().map(|it| it.id).collect();
    let removed = queue.port.remove(&queue.key, &ids, options());
    removed.await.unwrap();
    let purged = queue.port.purge(&queue.key, JobPlace::Dead, 9, options());
    assert_eq!(purged.await.unwrap(), 1);
    for job in &jobs {
        assert_eq!(queue.journal(job.id).await, None);
    }
    queue.push(&jobs).await;
    for job in &jobs {
        assert_eq!(queue.look(job.id).await, Some(JobState::Ready));
        assert_eq!(queue.journal(job.id).await.unwrap(), [""; 0]);
        assert_eq!(queue.inbox(job.id).await.unwrap(), [""; 0]);
    }
}

/// So many entries, and so many messages, and no more bytes than a reader takes.
pub async fn a_long_journal_is_read_in_pages(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("many"), job("large")]).await;
    let taken = queue.take(1, 1, 2).await;
    let numbers: Vec<_> = (0..MOST_APPENDED + 5).map(|it| it.to_string()).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let (first, rest) = numbers.split_at(MOST_APPENDED);
    assert!(is_written(queue.append(&taken[0], 0, first).await));
    let end = first.len() as u64;
    assert!(is_written(queue.append(&taken[0], end, rest).await));
    let large = |byte: u8| Bytes::from(vec![byte; MAX_ENTRY]);
    for at in 0..5 {
        let it = Append {
            entries: vec![large(at)],
            ..append(&taken[1], at.into(), &[])
        };
        assert!(is_written(queue.try_append(&[it]).await.unwrap()[0]));
    }
    queue.tell(taken[1].id, "hello").await;

    let (mut from, mut all) = (ReadFrom::default(), Vec::new());
    for expected in [MOST_READ, 5, 0] {
        let page = queue.read_from(taken[0].id, from).await.unwrap();
        assert_eq!((page.entries.len(), page.length), (expected, end + 5));
        from.entry += page.entries.len() as u64;
        all.extend(texts(&page.entries));
    }
    assert_eq!(all, numbers);

    let (mut from, mut all) = (ReadFrom::default(), Vec::new());
    for expected in [(4, 0), (1, 1), (0, 0)] {
        let page = queue.read_from(taken[1].id, from).await.unwrap();
        assert_eq!((page.entries.len(), page.messages.len()), expected);
        assert_eq!((page.length, page.told), (5, 1));
        from.entry += page.entries.len() as u64;
        from.message += page.messages.len() as u64;
        all.extend(page.entries.into_iter().map(|(_, entry)| entry));
    }
    assert_eq!(all, (0..5).map(large).collect::<Vec<_>>());
    let far = ReadFrom {
        entry: u64::MAX,
        message: u64::MAX,
    };
    let page = queue.read_from(taken[1].id, far).await.unwrap();
    assert!(page.entries.is_empty() && page.messages.is_empty());
}

/// Before anything is written.
pub async fn what_no_journal_takes_is_refused(home: Home) {
    let queue = Queue::new(&home);
    queue.push(&[job("a")]).await;
    let it = queue.take_one(1).await;
    let with = |at: u64, entries: Vec<Bytes>| Append {
        entries,
        ..append(&it, at, &[])
    };
    let long = |length: usize| Bytes::from(vec![b'x'; length]);
    let small = || append(&it, 0, &["one"]);
    let many = vec![Bytes::new(); MOST_APPENDED];
    let large = vec![long(MAX_ENTRY); MAX_APPENDED / MAX_ENTRY];
    for (rule, appends) in [
        ("entries must be", vec![small(), with(1, vec![])]),
        ("entries must be", vec![small(), with(1, many)]),
        ("entries must be", vec![small(), with(1, large)]),
        (
            "entry must be",
            vec![small(), with(1, vec![long(MAX_ENTRY + 1)])],
        ),
        (
            "journal must be",
            vec![small(), with(MOST_ENTRIES, vec![long(1)])],
        ),
        (
            "journal must be",
            vec![small(), with(u64::MAX, vec![long(1)])],
        ),
    ] {
        let error = queue.try_append(&appends).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(rule), "{error}");
    }
    let message = long(MAX_ENTRY + 1);
    let told = queue.port.tell(&queue.key, it.id, message, options());
    let error = told.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("message must be"), "{error}");
    assert_eq!(queue.journal(it.id).await.unwrap(), [""; 0]);
    assert_eq!(queue.inbox(it.id).await.unwrap(), [""; 0]);
}
