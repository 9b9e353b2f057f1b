//! Groups, when replies are lost and workers die: all that belongs to one is done, and it is over once.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::sync::Arc;
use std::time::Duration;

use quorate::queue::Condition;
use quorate::{CancellationToken, Fleet, Job, JobError, Queue, QueueSpec};
use quorate_testing::harness::{namespace, within};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind, shared};
use tokio::task::JoinHandle;

const WHOLES: QueueSpec<u32> = QueueSpec::new("wholes");
const PARTS: QueueSpec<u32> = QueueSpec::new("parts");
const SUMS: QueueSpec<u32> = QueueSpec::new("sums");
const PIECES: u32 = 5;
const LEASE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Queues {
    wholes: Queue<u32>,
    parts: Queue<u32>,
    sums: Queue<u32>,
}

impl Queues {
    fn of(fleet: &Fleet) -> Self {
        Self {
            wholes: fleet.queue(&WHOLES),
            parts: fleet.queue(&PARTS),
            sums: fleet.queue(&SUMS),
        }
    }

    fn divide(&self, job: &Job<u32>) -> Result<(), JobError> {
        let parts = (0..PIECES).map(|part| job.leave(&self.parts, &part));
        let parts = parts.collect::<quorate::Result<Vec<_>>>()?;
        let parts = parts.iter().map(|part| part.id());
        job.after(Condition::AllSucceeded, parts)
            .leave(&self.sums, &job.input)?;
        Ok(())
    }

    /// How many jobs are done.
    async fn done(&self) -> u64 {
        let all = [
            self.wholes.stats().await,
            self.parts.stats().await,
            self.sums.stats().await,
        ];
        all.map(|stats| stats.unwrap().totals.succeeded)
            .iter()
            .sum()
    }

    /// Works on all three until that is cancelled.
    fn work(&self, stop: &CancellationToken) -> Vec<JoinHandle<quorate::Result<()>>> {
        let queues = Arc::new(self.clone());
        let wholes = self.wholes.worker(move |job: Job<u32>| {
            let queues = queues.clone();
            async move { queues.divide(&job) }
        });
        let parts = self.parts.worker(|job: Job<u32>| async move {
            job.append_group_value(&job.input)?;
            Ok(())
        });
        let sums = self.sums.worker(|_| async { Ok(()) });
        vec![
            tokio::spawn(wholes.lease(LEASE).run(stop.clone())),
            tokio::spawn(parts.lease(LEASE).run(stop.clone())),
            tokio::spawn(sums.lease(LEASE).run(stop.clone())),
        ]
    }
}

/// The reply of a command, whichever it is, every few milliseconds.
#[tokio::test(flavor = "multi_thread")]
async fn fault_groups_are_over_once_though_replies_are_lost() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let through = Fleet::builder().url(proxy.url());
    let through = through.retry_delay(Duration::from_millis(20));
    let worked = Queues::of(&through.build().await.unwrap());
    let fleet = Fleet::builder().url(server.url()).build().await.unwrap();
    let queues = Queues::of(&fleet);
    let stop = CancellationToken::new();
    let workers = worked.work(&stop);
    let inputs: Vec<_> = (0..60).collect();
    let jobs = queues.wholes.push_many(&inputs).await.unwrap();
    let cuts = tokio::spawn(async move {
        for _ in 0..12 {
            proxy.cut_before_reply();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        proxy
    });
    for job in &jobs {
        let over = job.group().ended().timeout(Duration::from_secs(100)).await;
        let over = over.unwrap().unwrap();
        let counts = (over.succeeded, over.dead, over.cancelled, over.expired);
        assert_eq!(counts, (u64::from(PIECES) + 2, 0, 0, 0));
        let mut values = over.values_as::<u32>().unwrap();
        values.sort_unstable();
        assert_eq!(values, (0..PIECES).collect::<Vec<_>>());
    }
    let _proxy = cuts.await.unwrap();
    stop.cancel();
    for worker in workers {
        within("the end of a worker", worker)
            .await
            .unwrap()
            .unwrap();
    }
}

/// Each lives long enough to settle something, and none long enough to bring all of what that gave it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_what_a_worker_had_to_bring_is_brought_by_others() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let instance = || {
        Fleet::builder()
            .url(server.url())
            .namespace(namespace.clone())
    };
    let fleet = instance().build().await.unwrap();
    let queues = Queues::of(&fleet);
    let jobs = queues.wholes.push_many(&[1, 2, 3, 4]).await.unwrap();
    for _ in 0..3 {
        // With its runtime go its tasks, wherever they stand.
        let dying = instance();
        let died = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let queues = Queues::of(&dying.build().await.unwrap());
                let _workers = queues.work(&CancellationToken::new());
                let before = queues.done().await;
                let more = async { while queues.done().await == before {} };
                // Where all is done there is no more.
                let _ = tokio::time::timeout(Duration::from_secs(2), more).await;
            });
            runtime.shutdown_background();
        });
        tokio::task::spawn_blocking(|| died.join().unwrap())
            .await
            .unwrap();
    }
    let stop = CancellationToken::new();
    let workers = queues.work(&stop);
    for job in &jobs {
        let over = job.group().ended().timeout(Duration::from_secs(100)).await;
        let over = over.unwrap().unwrap();
        assert_eq!((over.succeeded, over.dead), (u64::from(PIECES) + 2, 0));
        assert_eq!(over.values.len(), 5);
    }
    stop.cancel();
    for worker in workers {
        within("the end of a worker", worker)
            .await
            .unwrap()
            .unwrap();
    }
}
