//! A process dies while it writes into the journal of a job: what it was told to be there is there, and another goes on behind it.

use std::env;
use std::future::IntoFuture;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{Append, Appended, JobId, LeaseNumber, QueuePort, ReadFrom, Receipt};
use quorate::{Fleet, Key, Micros, Queue, QueueSpec};
use quorate_testing::harness::{file_url, namespace, within};
use quorate_testing::servers::{ServerKind, shared};

use crate::agreement::options;

const STEPS: QueueSpec<u32> = QueueSpec::new("steps").max_attempts(2);
const LEASE: Duration = Duration::from_secs(2);
/// In the process that will be killed: its home, and the namespace there.
const HOME: &str = "QUORATE_TEST_APPENDED_IN";
const NAMESPACE: &str = "QUORATE_TEST_APPENDED_NAMESPACE";
const BY: &str = "by ";
const THERE: &str = "there ";
/// After how many entries it is killed.
const ENTRIES: u64 = 50;

async fn open(url: &str, namespace: &str) -> (Fleet, Queue<u32>, Key) {
    let builder = Fleet::builder().url(url).namespace(namespace.to_owned());
    let fleet = builder.build().await.unwrap();
    let key = Key::new(fleet.namespace(), "steps").unwrap();
    let queue = fleet.queue(&STEPS);
    (fleet, queue, key)
}

fn entry(number: u64) -> Bytes {
    number.to_string().into()
}

/// Appends the entries from `at` on that are called by their numbers; whether they are there.
async fn append(
    port: &dyn QueuePort,
    key: &Key,
    (id, lease): (JobId, LeaseNumber),
    at: u64,
) -> Appended {
    let entries = vec![entry(at)];
    let appends = [Append {
        id,
        lease,
        at,
        entries,
    }];
    port.append(key, &appends, options()).await.unwrap()[0]
}

/// Claims the job as soon as it is to be had.
async fn claim(queue: &Queue<u32>) -> Receipt {
    let claim = queue.claim(1).lease(LEASE).wait(Duration::from_secs(20));
    let mut claimed = within("the job", claim.into_future()).await.unwrap();
    claimed.remove(0).receipt
}

/// As a process that will be killed: says of each entry that it is there, when it knows.
async fn append_until_killed(url: &str) {
    let (fleet, queue, key) = open(url, &env::var(NAMESPACE).unwrap()).await;
    let receipt = claim(&queue).await;
    println!("{BY}{}", receipt.lease().get());
    for at in 0.. {
        let port = fleet.queue_port();
        let held = (receipt.id(), receipt.lease());
        let done = append(&*port, &key, held, at).await;
        assert!(matches!(done, Appended::Written(_)), "{done:?}");
        println!("{THERE}{at}");
    }
}

/// Starts this test again in a process of its own, and kills that when it has said enough. Returns by which delivery it appended, and how
/// many entries were there when it died, at least.
fn append_and_kill(test: &str, url: &str, namespace: &str) -> (LeaseNumber, u64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, url)
        .env(NAMESPACE, namespace)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut lease, mut there) = (None, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, number)) = line.split_once(BY) {
            lease = Some(LeaseNumber::new(number.parse().unwrap()));
        } else if let Some((_, number)) = line.split_once(THERE) {
            there = number.parse::<u64>().unwrap() + 1;
            if there == ENTRIES {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    (lease.unwrap(), there)
}

async fn survive(test: &'static str, url: String, namespace: String) {
    if let Ok(url) = env::var(HOME) {
        return append_until_killed(&url).await;
    }
    let (fleet, queue, _) = open(&url, &namespace).await;
    let id = queue.push(&1).await.unwrap().id();
    // Of a file there is one process at a time.
    drop(queue);
    fleet.close().await;
    let (killed, there) = (url.clone(), namespace.clone());
    let kill = move || append_and_kill(test, &killed, &there);
    let (lease, told) = tokio::task::spawn_blocking(kill).await.unwrap();

    let (fleet, queue, key) = open(&url, &namespace).await;
    let port = fleet.queue_port();
    let receipt = claim(&queue).await;
    assert!(told > 0 && receipt.id() == id && receipt.lease() > lease);
    let from = ReadFrom::default();
    let page = port.read(&key, id, from, options()).await.unwrap().unwrap();
    assert!(page.length >= told, "{} of {told}", page.length);
    let numbers: Vec<_> = page.entries.iter().map(|(_, it)| it.clone()).collect();
    assert_eq!(numbers, (0..page.length).map(entry).collect::<Vec<_>>());
    let times: Vec<Micros> = page.entries.iter().map(|(at, _)| *at).collect();
    assert!(times.is_sorted() && times.iter().all(|at| *at <= page.now));

    let stale = append(&*port, &key, (id, lease), page.length).await;
    assert_eq!(stale, Appended::Lost);
    let held = (id, receipt.lease());
    let again = append(&*port, &key, held, page.length - 1).await;
    assert_eq!(again, Appended::Written(times[times.len() - 1]));
    let next = append(&*port, &key, held, page.length).await;
    assert!(matches!(next, Appended::Written(at) if at >= page.now));
    assert_eq!(queue.settle([(receipt, Ok(()))]).await.unwrap(), [true]);
    fleet.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_journal_survives_who_wrote_it_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let url = file_url(&place.path().join("home.redb"));
    let test = "faults_journals::fault_a_journal_survives_who_wrote_it_in_a_file";
    survive(test, url, "killed".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_a_journal_survives_who_wrote_it_on_redis() {
    // The process that is killed finds the server by its address.
    let url = match env::var(HOME) {
        Ok(url) => url,
        Err(_) => shared(ServerKind::Redis).await.unwrap().url().to_owned(),
    };
    let test = "faults_journals::fault_a_journal_survives_who_wrote_it_on_redis";
    survive(test, url, namespace()).await;
}
