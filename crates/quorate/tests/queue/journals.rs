//! Journals and inboxes of jobs: what is left of them, what they cost, and what happens when things break.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Append, Appended, Ask, Delivered, JobId, JobPlace, JobState, JournalPage, MOST_MESSAGES,
    NewJob, QueueLimits, QueuePort, ReadFrom, Settled, Settlement, WorkerId,
};
use quorate::{CallOptions, ErrorKind, Fleet, Key, Outcome, TestClock};
use quorate_testing::harness::{elapse_on_server, file_url, namespace};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind, shared};

use crate::cost::commands;

const HOUR: Duration = Duration::from_secs(3600);

/// One queue of a home.
struct Queue {
    fleet: Fleet,
    port: Arc<dyn QueuePort>,
    key: Key,
}

impl Queue {
    fn new(fleet: Fleet) -> Self {
        let key = Key::new(fleet.namespace(), "mail").unwrap();
        let port = fleet.queue_port();
        Self { fleet, port, key }
    }

    async fn push(&self, jobs: &[NewJob]) {
        self.port.push(&self.key, jobs, options()).await.unwrap();
    }

    async fn take(&self, worker: WorkerId, want: usize) -> Vec<Delivered> {
        let ask = ask(worker, want, Vec::new());
        let turn = self.port.turn(&self.key, &ask, options()).await;
        turn.unwrap().delivered
    }

    async fn settle(&self, worker: WorkerId, it: &Delivered, settlement: Settlement) {
        let (id, lease) = (it.id, it.lease);
        let settled = Settled {
            id,
            lease,
            settlement,
        };
        let ask = ask(worker, 0, vec![settled]);
        let turn = self.port.turn(&self.key, &ask, options()).await;
        assert_eq!(turn.unwrap().settled, [true]);
    }

    async fn append(&self, appends: &[Append]) -> quorate::Result<Vec<Appended>> {
        self.port.append(&self.key, appends, options()).await
    }

    async fn tell(&self, id: JobId, message: &'static str) -> quorate::Result<Option<JobState>> {
        let message = Bytes::from_static(message.as_bytes());
        self.port.tell(&self.key, id, message, options()).await
    }

    async fn read(&self, id: JobId) -> Option<JournalPage> {
        let from = ReadFrom::default();
        let page = self.port.read(&self.key, id, from, options());
        page.await.unwrap()
    }
}

fn options() -> CallOptions {
    CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5))
}

/// Each worker asks once.
fn ask(worker: WorkerId, want: usize, settled: Vec<Settled>) -> Ask {
    Ask {
        worker,
        number: 1,
        settled,
        want,
        lease: HOUR,
        takes_groups: false,
        limits: QueueLimits::NONE,
    }
}

fn job(keep: Duration) -> NewJob {
    NewJob {
        id: JobId::random(),
        input: Bytes::from_static(b"input"),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 3,
        expires: None,
        keep,
        member_of: None,
        unique: None,
    }
}

fn append(it: &Delivered, at: u64, numbers: impl IntoIterator<Item = u64>) -> Append {
    let entries = numbers.into_iter().map(|it| it.to_string().into());
    Append {
        id: it.id,
        lease: it.lease,
        at,
        entries: entries.collect(),
    }
}

fn succeeded(keep: Duration) -> Settlement {
    Settlement::Succeeded {
        result: Bytes::new(),
        keep,
        work: None,
    }
}

/// Opens the home in this file, by a clock that is so far ahead.
async fn open(place: &tempfile::TempDir, ahead: Duration) -> Queue {
    let clock = TestClock::new();
    clock.advance(ahead);
    let url = file_url(&place.path().join("home.redb"));
    let builder = Fleet::builder().url(url).test_clock(clock);
    Queue::new(builder.build().await.unwrap())
}

/// In their order, with when each was written; and not what was taken back, or went with its job.
#[tokio::test]
async fn journals_and_inboxes_are_there_again() {
    let place = tempfile::tempdir().unwrap();
    let queue = open(&place, Duration::ZERO).await;
    let jobs = [job(HOUR), job(HOUR)];
    queue.push(&jobs).await;
    let taken = queue.take(1, 2).await;
    for it in &taken {
        queue.append(&[append(it, 0, 0..7)]).await.unwrap();
        queue.append(&[append(it, 7, 7..13)]).await.unwrap();
        for message in ["one", "two"] {
            queue.tell(it.id, message).await.unwrap();
        }
    }
    let written = queue.read(taken[0].id).await.unwrap();
    assert_eq!((written.length, written.told), (13, 2));
    let dead = Settlement::Dead("never".to_owned());
    queue.settle(2, &taken[0], dead).await;
    queue.settle(3, &taken[1], succeeded(HOUR)).await;
    queue.fleet.close().await;

    let queue = open(&place, Duration::ZERO).await;
    for it in &taken {
        let page = queue.read(it.id).await.unwrap();
        assert_eq!((page.length, page.told), (13, 2));
    }
    let page = queue.read(taken[0].id).await.unwrap();
    assert_eq!(page.entries, written.entries);
    assert_eq!(page.messages, written.messages);
    let rewound = queue.port.rewind(&queue.key, taken[0].id, 11, options());
    assert!(rewound.await.unwrap());
    queue.fleet.close().await;

    let queue = open(&place, 2 * HOUR).await;
    let page = queue.read(taken[0].id).await.unwrap();
    assert_eq!(page.entries, written.entries[..11]);
    let again = queue.take(4, 1).await.remove(0);
    assert!(again.id == taken[0].id && again.checkpoint.is_some());
    queue.append(&[append(&again, 11, [99])]).await.unwrap();
    assert_eq!(queue.read(taken[1].id).await, None);
    queue.push(&jobs[1..]).await;
    queue.fleet.close().await;

    let queue = open(&place, 2 * HOUR).await;
    let page = queue.read(taken[0].id).await.unwrap();
    assert_eq!(page.entries[11].1, Bytes::from_static(b"99"));
    let page = queue.read(taken[1].id).await.unwrap();
    assert_eq!((page.length, page.told), (0, 0));
}

/// Whichever way a job is forgotten, and whoever comes by to do it.
#[tokio::test]
async fn of_what_is_forgotten_no_journal_is_left_on_a_server() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let clock = TestClock::new();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let fleet = builder.test_clock(clock.clone()).build().await.unwrap();
    let queue = Queue::new(fleet.clone());
    // Done and not kept, cancelled and not kept, done and kept twice, removed, purged, dead.
    let jobs: Vec<_> = [Duration::ZERO, Duration::ZERO, HOUR, HOUR, HOUR, HOUR, HOUR]
        .map(job)
        .into();
    queue.push(&jobs).await;
    let taken = queue.take(1, 9).await;
    for it in &taken {
        queue.append(&[append(it, 0, 0..3)]).await.unwrap();
        queue.tell(it.id, "hello").await.unwrap();
    }
    let left = async || {
        let (pattern, mut left) = (format!("{}:*", fleet.namespace()), 0);
        let keys = fleet.redis().unwrap().command(&["KEYS", &pattern]).await;
        for key in keys.unwrap().as_array().unwrap() {
            let name = key.as_str().unwrap();
            left += usize::from(name.contains(":journal:") || name.contains(":inbox:"));
        }
        left
    };
    assert_eq!(left().await, 14);
    let dead = || Settlement::Dead("never".to_owned());
    let says = [
        succeeded(Duration::ZERO),
        Settlement::Cancelled,
        succeeded(HOUR),
        succeeded(HOUR),
        succeeded(HOUR),
        dead(),
        dead(),
    ];
    for (worker, (it, says)) in (10..).zip(taken.iter().zip(says)) {
        queue.settle(worker, it, says).await;
    }
    assert_eq!(left().await, 10);
    let fifth = [taken[4].id];
    let removed = queue.port.remove(&queue.key, &fifth, options());
    removed.await.unwrap();
    assert_eq!(left().await, 8);
    elapse_on_server(&fleet, &clock, 2 * HOUR).await;
    queue.push(&jobs[2..3]).await;
    assert_eq!(left().await, 6, "who comes again begins anew");
    queue.take(30, 0).await;
    assert_eq!(left().await, 4, "a worker has come by");
    let purged = queue.port.purge(&queue.key, JobPlace::Dead, 1, options());
    assert_eq!(purged.await.unwrap(), 1);
    assert_eq!(left().await, 2);
    elapse_on_server(&fleet, &clock, 31 * 24 * HOUR).await;
    queue.take(31, 0).await;
    assert_eq!(left().await, 0, "the dead are kept no longer");
}

/// On a server, and here; who is told so has changed nothing.
#[tokio::test]
async fn a_full_inbox_takes_no_more() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let builder = Fleet::builder().url(server.url()).namespace(namespace());
    let there = Queue::new(builder.build().await.unwrap());
    let here = Queue::new(Fleet::embedded());
    let it = job(HOUR);
    for queue in [&there, &here] {
        queue.push(std::slice::from_ref(&it)).await;
    }
    let inbox = there.key.unit("queue", &format!(":inbox:{}", it.id));
    let mut command = vec!["RPUSH", &inbox];
    command.resize(1_002, "12345678");
    for _ in 0..MOST_MESSAGES / 1_000 {
        let redis = there.fleet.redis().unwrap();
        redis.command(&command).await.unwrap();
        for _ in 0..1_000 {
            here.tell(it.id, "").await.unwrap();
        }
    }
    for queue in [&there, &here] {
        let error = queue.tell(it.id, "one more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let rule = "inbox must have at most 100000 messages";
        assert!(error.to_string().contains(rule), "{error}");
        assert_eq!(queue.read(it.id).await.unwrap().told, MOST_MESSAGES);
    }
}

/// It is there once, and who repeats it learns that.
#[tokio::test(flavor = "multi_thread")]
async fn fault_an_append_whose_reply_is_lost_is_recognised() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let builder = Fleet::builder().url(proxy.url());
    let queue = Queue::new(builder.build().await.unwrap());
    queue.push(&[job(HOUR)]).await;
    let it = queue.take(1, 1).await.remove(0);
    // The server knows the scripts from here on.
    queue.append(&[append(&it, 0, [0])]).await.unwrap();
    queue.tell(it.id, "one").await.unwrap();
    let nobody = queue.port.rewind(&queue.key, JobId::random(), 0, options());
    assert!(!nobody.await.unwrap());

    let second = append(&it, 1, [1, 2]);
    proxy.cut_before_reply();
    let lost = queue.append(std::slice::from_ref(&second)).await;
    assert_eq!(lost.unwrap_err().outcome(), Outcome::Unknown);
    let again = queue.append(std::slice::from_ref(&second)).await.unwrap();
    let page = queue.read(it.id).await.unwrap();
    assert_eq!(page.length, 3);
    assert_eq!(again, [Appended::Written(page.entries[2].0)]);

    proxy.cut_before_reply();
    let lost = queue.tell(it.id, "two").await;
    assert_eq!(lost.unwrap_err().outcome(), Outcome::Unknown);
    queue.tell(it.id, "two").await.unwrap();
    let page = queue.read(it.id).await.unwrap();
    let told: Vec<_> = page.messages.iter().map(|(_, text)| &text[..]).collect();
    assert_eq!(
        told,
        [&b"one"[..], b"two", b"two"],
        "readers know them apart"
    );

    let dead = Settlement::Dead("never".to_owned());
    queue.settle(2, &it, dead).await;
    proxy.cut_before_reply();
    let rewound = queue.port.rewind(&queue.key, it.id, 1, options()).await;
    assert_eq!(rewound.unwrap_err().outcome(), Outcome::Unknown);
    let rewound = queue.port.rewind(&queue.key, it.id, 1, options()).await;
    assert!(!rewound.unwrap(), "it is not dead any more");
    assert_eq!(queue.read(it.id).await.unwrap().length, 1);
}

/// Of many together: one look at the clock, at the queue and at all leases, and one command for each journal.
#[tokio::test]
async fn an_append_costs_one_command_for_each_journal() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let queue = Queue::new(Fleet::connect(&server.url()).await.unwrap());
    let jobs: Vec<_> = (0..64).map(|_| job(HOUR)).collect();
    queue.push(&jobs).await;
    let taken = queue.take(1, 64).await;
    let begun: Vec<_> = taken.iter().map(|it| append(it, 0, [0])).collect();
    queue.append(&begun).await.unwrap();
    let before = commands(&server).await;
    let next: Vec<_> = taken.iter().map(|it| append(it, 1, [1])).collect();
    queue.append(&next).await.unwrap();
    let mut calls = commands(&server).await;
    for (name, count) in &mut calls {
        *count -= before.get(name).copied().unwrap_or(0);
    }
    calls.retain(|name, count| *count > 0 && name != "info");
    let calls: Vec<_> = calls
        .iter()
        .map(|(name, count)| (&name[..], *count))
        .collect();
    let expected = [
        ("evalsha", 1),
        ("get", 1),
        ("rpush", 64),
        ("time", 1),
        ("zmscore", 1),
    ];
    assert_eq!(calls, expected);
}
