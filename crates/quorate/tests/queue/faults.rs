//! Replies are lost: what operators change is changed once, and they are told.

use std::time::Duration;

use quorate::queue::JobPlace;
use quorate::{Error, ErrorKind, Fleet, JobError, Outcome, QueueSpec};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};

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
