//! What a user of a server must be allowed to do for queues.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::time::Duration;

use bytes::Bytes;
use quorate::queue::{
    Append, Appended, Ask, JobId, NewJob, QueueEvent, QueueLimits, QueuePort, ReadFrom, Settled,
    Settlement, StartRate,
};
use quorate::{CancellationToken, Fleet, Job, JobError, Key, QueueSpec};
use quorate_testing::servers::{Server, ServerKind};

use crate::agreement::options;

const WHOLES: QueueSpec<u32> = QueueSpec::new("wholes").max_attempts(1);
const PARTS: QueueSpec<u32> = QueueSpec::new("parts").max_attempts(1);

/// What a job with a journal does, from its first entry until it is rewound.
async fn journal(port: &dyn QueuePort, key: &Key) {
    let new = NewJob {
        id: JobId::random(),
        input: Bytes::new(),
        delay: Duration::ZERO,
        priority: 0,
        group: String::new(),
        attempts: 1,
        expires: None,
        keep: Duration::from_secs(60),
        member_of: None,
        unique: None,
    };
    let started = port.start(key, &new, Duration::from_secs(60), options());
    let lease = started.await.unwrap().lease.unwrap();
    let append = Append {
        id: new.id,
        lease,
        at: 0,
        entries: vec![Bytes::new(); 2],
    };
    for _ in 0..2 {
        let done = port.append(key, std::slice::from_ref(&append), options());
        assert!(matches!(done.await.unwrap()[0], Appended::Written(_)));
    }
    let told = port.tell(key, new.id, Bytes::new(), options()).await;
    assert!(told.unwrap().is_some());
    let ask = |number, settlement| Ask {
        worker: 1,
        number,
        settled: vec![Settled {
            id: new.id,
            lease,
            settlement,
        }],
        want: 0,
        lease: Duration::from_secs(60),
        takes_groups: false,
        limits: QueueLimits::NONE,
    };
    let dead = ask(1, Settlement::Dead("never".to_owned()));
    port.turn(key, &dead, options()).await.unwrap();
    assert!(port.rewind(key, new.id, 1, options()).await.unwrap());
    let from = ReadFrom::default();
    let page = port.read(key, new.id, from, options()).await.unwrap();
    assert_eq!(page.unwrap().length, 1);
    port.remove(key, &[new.id], options()).await.unwrap();
}

/// The permissions in the operations document are enough for jobs that are pushed, done, left to others, noted of, watched over and listened to.
#[tokio::test]
async fn the_documented_permissions_are_enough_for_queues() {
    let document = include_str!("../../../../docs/operations.md");
    let rule = document.split_once("ACL SETUSER quorate").expect("it").1;
    let rule = rule.split_once("```").expect("the end of the block").0;
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let rule = rule.replace(">PASSWORD", ">secret");
    let mut command = vec!["ACL", "SETUSER", "quorate"];
    command.extend(rule.split_whitespace());
    server.command(&command).await.unwrap();
    let url = server.url().replace("redis://", "redis://quorate:secret@");
    let fleet = Fleet::connect(&url).await.unwrap();
    let (wholes, parts) = (fleet.queue(&WHOLES), fleet.queue(&PARTS));

    let mut events = wholes.events().await.unwrap();
    let job = wholes.push(&1).unique("one").await.unwrap();
    assert!(matches!(events.next().await, Some(QueueEvent::Job(_))));
    wholes
        .push(&2)
        .delay(Duration::from_secs(60))
        .await
        .unwrap();
    let (stop, left) = (CancellationToken::new(), parts.clone());
    let divides = wholes.worker(move |job: Job<u32>| {
        let left = left.clone();
        async move {
            assert!(
                job.progress(&0.5).await? && job.log("half").await? && job.checkpoint(&1).await?
            );
            job.leave(&left, &job.input)?;
            Ok(())
        }
    });
    let fails = parts.worker(|_| async { Err::<(), _>(JobError::abort("never")) });
    let workers = [
        tokio::spawn(divides.run(stop.clone())),
        tokio::spawn(fails.run(stop.clone())),
    ];
    let over = job.group().ended().await.unwrap().unwrap();
    assert_eq!((over.succeeded, over.dead), (1, 1));
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }

    assert_eq!(parts.redrive_dead(9).await.unwrap(), 1);
    let claimed = parts.claim(1).await.unwrap().remove(0);
    assert!(
        parts
            .job(claimed.job.id())
            .cancel()
            .await
            .unwrap()
            .is_some()
    );
    let settled = parts.settle([(claimed.receipt, Ok(()))]).await.unwrap();
    assert_eq!(settled, [true]);
    let limits = QueueLimits {
        active: Some(9),
        active_per_group: Some(1),
        starts: Some(StartRate::new(9, Duration::from_secs(1))),
        starts_per_group: Some(StartRate::new(9, Duration::from_secs(1))),
    };
    for input in [8, 9] {
        parts.push(&input).fairness_group("shop").await.unwrap();
    }
    assert_eq!(parts.claim(9).limits(limits).await.unwrap().len(), 1);
    assert_eq!(parts.claim(9).await.unwrap().len(), 1);
    let stats = wholes.stats().await.unwrap();
    assert_eq!((stats.due, stats.totals.succeeded), (1, 1));
    let port = fleet.queue_port();
    let key = Key::new(fleet.namespace(), "wholes").unwrap();
    journal(&*port, &key).await;
    let mut next = None;
    loop {
        let page = port.fsck(&key, next.as_ref(), false, options());
        let page = page.await.unwrap();
        assert_eq!(page.strays, []);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
}
