//! Replies are lost: what operators change is changed once, and they are told.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use quorate::queue::{JobPlace, QueueEvent, QueueEvents, Timetable, WorkerStatus};
use quorate::{
    CancellationToken, Ended, Error, ErrorKind, ErrorSource, Fleet, Job, JobError, JobId, Outcome,
    QueueSpec,
};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};
use tokio::sync::{Notify, mpsc};

const NUMBERS: QueueSpec<u32> = QueueSpec::new("numbers");

fn is_unknown(error: &Error) {
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Timeout),
        "{error}"
    );
}

/// Of two dead jobs one is asked for, twice if the call were repeated.
#[tokio::test(flavor = "multi_thread")]
async fn fault_what_an_operator_changes_is_not_repeated() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_secs(1))
        .retry_delay(Duration::from_millis(50));
    let queue = fleet.build().await.unwrap().queue(&NUMBERS);
    let jobs = queue.push_many(&[1, 2, 3, 4]).await.unwrap();
    let claimed = queue.claim(4).await.unwrap();
    let dead = claimed
        .into_iter()
        .map(|it| (it.receipt, Err(JobError::abort("never"))));
    queue.settle(dead).await.unwrap();
    // The server knows the scripts: what is lost is the reply of a change.
    assert_eq!(queue.redrive(&[jobs[0].id()]).await.unwrap(), [true]);
    assert!(queue.edit(jobs[0].id(), &9).await.unwrap());
    assert_eq!(queue.purge(JobPlace::Ready, 9).await.unwrap(), 1);

    proxy.cut_before_reply();
    is_unknown(&queue.redrive_dead(1).await.unwrap_err());
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.dead), (1, 2));
    proxy.cut_before_reply();
    is_unknown(&queue.purge(JobPlace::Dead, 1).await.unwrap_err());
    assert_eq!(queue.stats().await.unwrap().dead, 1);
    proxy.cut_before_reply();
    let ids = jobs.iter().map(|it| it.id()).collect::<Vec<_>>();
    is_unknown(&queue.remove(&ids).await.unwrap_err());
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.dead), (0, 0));
}

/// The reply to each firing is lost, and it is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_time_is_fired_once_though_the_reply_is_lost() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Arc::new(Proxy::start(server.addr()).await.unwrap());
    let fleet = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_secs(1))
        .retry_delay(Duration::from_millis(50));
    let queue = fleet.build().await.unwrap().queue(&NUMBERS);
    let begun = queue.schedule("begun", Timetable::following(|_| None), |_| 0);
    begun.run(CancellationToken::new()).await.unwrap();
    let now = queue.schedules().await.unwrap()[0].last;
    let soon = Timetable::following(move |after| {
        let mut times = (1..=3).map(|nth| now + Duration::from_millis(200 * nth));
        times.find(|time| *time > after)
    });
    let cut = proxy.clone();
    let schedule = queue.schedule("soon", soon, move |time| {
        // The last thing before the call.
        cut.cut_before_reply();
        let since = time.duration_since(now).unwrap().as_micros();
        u32::try_from((since + 500) / 1_000).unwrap()
    });
    schedule.run(CancellationToken::new()).await.unwrap();
    let jobs: Vec<_> = queue.list(JobPlace::Ready).try_collect().await.unwrap();
    let inputs = jobs.iter().map(|job| job.input().unwrap().unwrap());
    assert_eq!(inputs.collect::<Vec<_>>(), [200, 400, 600]);
}

/// It says so meanwhile, goes on trying, settles what it had, and goes on working.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_worker_outlasts_the_loss_of_its_server() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let (told, mut hears) = mpsc::unbounded_channel();
    let fleet = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_millis(200))
        .retry_delay(Duration::from_millis(50))
        .on_error(move |source, _| {
            let _ = told.send(source);
        });
    let works = fleet.build().await.unwrap().queue(&NUMBERS);
    let beside = Fleet::connect(&server.url()).await.unwrap();
    let beside = beside.queue(&NUMBERS);
    let (begun, is_lost) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, ends) = (begun.clone(), is_lost.clone());
    let worker = works.worker(move |job: Job<u32>| {
        let (begins, ends) = (begins.clone(), ends.clone());
        async move {
            if job.input == 1 {
                begins.notify_one();
                ends.notified().await;
            }
            Ok(())
        }
    });
    let (mut status, stop) = (worker.status(), CancellationToken::new());
    let working = tokio::spawn(worker.run(stop.clone()));
    let first = beside.push(&1).await.unwrap();
    within("the first job to begin", begun.notified()).await;
    assert_eq!(*status.borrow_and_update(), WorkerStatus::Running);
    proxy.refuse().await;
    proxy.cut().await;
    is_lost.notify_one();
    let degraded = status.wait_for(|it| *it == WorkerStatus::Degraded);
    within("the worker to notice", degraded).await.unwrap();
    // Of the connection as well.
    while within("errors of the queue", hears.recv()).await != Some(ErrorSource::Queue) {}
    let second = beside.push(&2).await.unwrap();
    proxy.heal().await.unwrap();
    first.result().await.unwrap();
    second.result().await.unwrap();
    let running = status.wait_for(|it| *it == WorkerStatus::Running);
    within("the worker to go on", running).await.unwrap();
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// Who listens when its connection breaks is told that something may be missing, and goes on with what happens then.
#[tokio::test(flavor = "multi_thread")]
async fn fault_events_that_were_lost_with_a_connection_are_told_as_missed() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = Fleet::builder()
        .url(proxy.url())
        .retry_delay(Duration::from_millis(50));
    let listens = fleet.build().await.unwrap().queue(&NUMBERS);
    let beside = Fleet::connect(&server.url()).await.unwrap();
    let beside = beside.queue(&NUMBERS);
    let mut events = listens.events().await.unwrap();
    let first = beside.push(&1).await.unwrap().id();
    assert_eq!(until_job(&mut events, first).await, 0);
    proxy.refuse().await;
    proxy.cut().await;
    beside.push(&2).await.unwrap();
    proxy.heal().await.unwrap();
    // Though nothing else happens: the home says how far it has come.
    let missed = within("what was missed", events.next()).await;
    assert_eq!(missed, Some(QueueEvent::Missed));
    let after = beside.push(&3).await.unwrap().id();
    assert_eq!(until_job(&mut events, after).await, 0);
}

/// Reads events up to one of this job; how many times something was missed before it.
async fn until_job(events: &mut QueueEvents, id: JobId) -> u32 {
    let mut missed = 0;
    loop {
        match within("an event", events.next()).await.unwrap() {
            QueueEvent::Missed => missed += 1,
            QueueEvent::Job(event) if event.id == id => return missed,
            _ => {}
        }
    }
}

/// Nobody knows that it was delivered: others get it soon, before the lease of the worker would end.
#[tokio::test(flavor = "multi_thread")]
async fn fault_what_was_begun_here_comes_again_though_the_reply_is_lost() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_secs(1))
        .retry_delay(Duration::from_millis(50));
    let queue = fleet.build().await.unwrap().queue(&NUMBERS);
    let (begun, mut begins) = mpsc::unbounded_channel();
    let worker = queue.worker(move |job: Job<u32>| {
        begun.send((job.input, job.attempt())).unwrap();
        async { Ok(()) }
    });
    let (mut status, stop) = (worker.status(), CancellationToken::new());
    let lease = Duration::from_secs(3);
    let working = worker.lease(lease).run(stop.clone());
    let running = tokio::spawn(working);
    let begun = status.wait_for(|it| *it == WorkerStatus::Running);
    within("a worker", begun).await.unwrap();
    // The server knows the script.
    let known = queue.push(&1).in_process().await.unwrap();
    known.result().await.unwrap();
    assert_eq!(begins.recv().await, Some((1, 1)));
    // Nobody else waits for a reply.
    eventually("an idle worker", async || {
        queue.stats().await.unwrap().idle == 1
    })
    .await;
    let mut number = 1;
    loop {
        number += 1;
        proxy.cut_before_reply();
        let job = queue.push(&number).max_attempts(2).in_process();
        let ended = within("its end", job.await.unwrap().ended().into_future()).await;
        assert_eq!(ended.unwrap(), Ended::Succeeded(()));
        match begins.recv().await.unwrap() {
            (input, 2) if input == number => break,
            // The worker was just asking for more, so it was an ordinary push.
            it => assert_eq!(it, (number, 1)),
        }
    }
    stop.cancel();
    within("the end", running).await.unwrap().unwrap();
}
