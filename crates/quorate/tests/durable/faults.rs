//! Replies are lost, and connections: a step that is over is written down once.

#![expect(
    clippy::disallowed_methods,
    reason = "a test ends before its runtime does"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quorate::{CancellationToken, Cx, DurableRuns, Failure, Fleet, Signal, Workflow};
use quorate_testing::harness::within;
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};

const COUNTS: Workflow<u32, Vec<u32>> = Workflow::new("counts");
const GO: Signal<u32> = Signal::new("go");

/// A server, and an instance behind a proxy.
async fn home() -> (Server, Arc<Proxy>, Fleet) {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Arc::new(Proxy::start(server.addr()).await.unwrap());
    let fleet = Fleet::builder()
        .url(proxy.url())
        .command_timeout(Duration::from_secs(1))
        .retry_delay(Duration::from_millis(50));
    let fleet = fleet.build().await.unwrap();
    (server, proxy, fleet)
}

async fn done(runs: &DurableRuns, run: &str) -> Vec<u32> {
    let run = runs.run(&COUNTS, run).unwrap();
    run.result().await.unwrap().unwrap()
}

/// The reply to each is, and it is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_step_is_done_once_though_the_reply_is_lost() {
    let (server, proxy, fleet) = home().await;
    let beside = Fleet::connect(&server.url()).await.unwrap();
    let beside = beside.durable().build().unwrap();
    let called = Arc::new(AtomicU32::new(0));
    let (calls, cuts) = (called.clone(), proxy.clone());
    let durable = fleet
        .durable()
        .register(&COUNTS, move |cx: Cx, steps: u32| {
            let (called, proxy) = (calls.clone(), cuts.clone());
            async move {
                let mut all = Vec::new();
                for _ in 0..steps {
                    let step = cx.step("count", || {
                        let nth = called.fetch_add(1, Ordering::SeqCst);
                        // The last thing before it is written down.
                        proxy.cut_before_reply();
                        std::future::ready(Ok::<_, Failure>(nth))
                    });
                    all.push(step.await?);
                }
                Ok(all)
            }
        });
    let durable = durable.build().unwrap();
    let stop = CancellationToken::new();
    let working = tokio::spawn(durable.work(stop.clone()));
    beside.start(&COUNTS, "run", &5).await.unwrap();
    assert_eq!(done(&beside, "run").await, (0..5).collect::<Vec<_>>());
    assert_eq!(called.load(Ordering::SeqCst), 5);
    let entries = beside
        .run(&COUNTS, "run")
        .unwrap()
        .history()
        .await
        .unwrap()
        .unwrap()
        .entries;
    assert_eq!(entries.len(), 1 + 5);
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// One signal, however often its reply is lost.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_signal_counts_once_though_the_reply_is_lost() {
    let (server, proxy, fleet) = home().await;
    let beside = Fleet::connect(&server.url()).await.unwrap();
    let durable = beside
        .durable()
        .register(&COUNTS, async |cx: Cx, signals: u32| {
            let mut all = Vec::new();
            for _ in 0..signals {
                all.push(cx.signal(&GO).await?);
            }
            let one_more = cx.signal(&GO).timeout(Duration::from_millis(50)).await;
            assert!(one_more.unwrap_err().is_timeout());
            Ok(all)
        });
    let durable = durable.build().unwrap();
    let starts = fleet.durable().build().unwrap();
    let run = starts.start(&COUNTS, "run", &5).await.unwrap();
    for number in 0..5 {
        proxy.cut_before_reply();
        assert!(run.signal(&GO, &number).await.unwrap());
    }
    let stop = CancellationToken::new();
    let working = tokio::spawn(durable.work(stop.clone()));
    assert_eq!(done(&durable, "run").await, [0, 1, 2, 3, 4]);
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// What is over meanwhile is written down when it is back, if nobody else has the run by then.
#[tokio::test(flavor = "multi_thread")]
async fn fault_a_run_outlasts_the_loss_of_its_server() {
    let (_server, proxy, fleet) = home().await;
    let called = Arc::new(AtomicU32::new(0));
    let (calls, cuts) = (called.clone(), proxy.clone());
    let durable = fleet
        .durable()
        .register(&COUNTS, move |cx: Cx, steps: u32| {
            let (called, proxy) = (calls.clone(), cuts.clone());
            async move {
                let mut all = Vec::new();
                for nth in 0..steps {
                    let step = cx.step("count", || {
                        let (called, proxy) = (called.clone(), proxy.clone());
                        async move {
                            if nth == 2 {
                                proxy.refuse().await;
                                proxy.cut().await;
                            }
                            Ok::<_, Failure>(called.fetch_add(1, Ordering::SeqCst))
                        }
                    });
                    all.push(step.await?);
                }
                Ok(all)
            }
        });
    let durable = durable.build().unwrap();
    let stop = CancellationToken::new();
    let working = tokio::spawn(durable.work(stop.clone()));
    durable.start(&COUNTS, "run", &5).await.unwrap();
    let lost = async {
        while called.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the step that loses the server", lost).await;
    proxy.heal().await.unwrap();
    assert_eq!(done(&durable, "run").await, [0, 1, 2, 3, 4]);
    stop.cancel();
    working.await.unwrap().unwrap();
}
