//! Several servers on one Redis, and what they do without it.

use quorate_testing::servers::{Server, ServerKind};
use serde_json::json;

use crate::support::{Served, Setup};

#[tokio::test]
async fn what_is_posted_to_one_instance_arrives_at_the_other() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let by_environment = Setup {
        env: vec![("QUORATE_BACKEND", &url)],
        ..Setup::default()
    };
    let (a, b) = tokio::join!(Served::on(&url), Served::with(by_environment));
    let ready = a.until_ready(true).await.json();
    assert_eq!(ready["server"]["flavour"], "redis");
    let mut stream = a.sse("topic=orders:*").await;
    b.post("/v1/events/orders:42", json!({"data": {"n": 1}}))
        .await;
    let event = stream.data().await;
    assert_eq!(
        (&event["topic"], &event["data"]),
        (&json!("orders:42"), &json!({"n": 1}))
    );

    let held = a.post("/v1/locks/report", json!({"lease": "60s"})).await;
    assert_eq!(held.status, 201);
    let refused = b.post("/v1/locks/report", json!({"lease": "60s"})).await;
    refused.problem(409, "ABORTED", "held");
    let lease = format!(
        "/v1/locks/report/{}",
        held.json()["lease_id"].as_str().unwrap()
    );
    assert_eq!(b.send("DELETE", &lease, &[], "").await.status, 204);
}

#[tokio::test]
async fn fault_a_restarted_backend_shows_as_a_gap_and_then_events_go_on() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let config = "fleet.max_reconnect_delay = '200ms'";
    let served = Served::with(Setup {
        args: vec!["--backend", &redis.url()],
        config,
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    let mut ws = served.ws(&[]).await.unwrap();
    ws.send(json!({"id": 1, "subscribe": "orders"})).await;
    ws.until(|frame| frame["id"] == 1).await;

    redis.kill();
    ws.until(|frame| frame["event"] == "state" && frame["state"] != "ready")
        .await;
    let down = served.until_ready(false).await.json();
    assert_eq!(down["ready"], false);
    assert_ne!(down["state"], "ready");
    assert_eq!(served.get("/healthz").await.status, 200);

    redis.restart().await.unwrap();
    // The state and the subscription are told of it independently, in any order.
    let (mut gap, mut ready) = (None, false);
    ws.until(|frame| {
        ready |= frame["state"] == "ready";
        if frame["event"] == "gap" {
            gap = Some(frame.clone());
        }
        ready && gap.is_some()
    })
    .await;
    let gap = gap.unwrap();
    assert_eq!(
        (&gap["topic"], &gap["reason"]),
        (&json!("orders"), &json!("reconnected"))
    );
    served.until_ready(true).await;
    served
        .post("/v1/events/orders", json!({"data": "again"}))
        .await;
    let event = ws.until(|frame| frame["event"] == "message").await;
    assert_eq!(event["data"], "again");
    let metrics = served.get("/metrics").await;
    assert!(
        metrics
            .text()
            .contains(r#"quorate_events_gaps_total{reason="reconnected"} 1"#)
    );
    assert!(
        metrics
            .text()
            .contains(r#"quorate_connection_state{state="ready"} 1"#)
    );
}

#[tokio::test]
async fn fault_it_starts_without_its_backend_and_finds_it_later() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    redis.kill();
    let config = "[fleet]\nmax_reconnect_delay = '100ms'\ncommand_timeout = '200ms'\nretries = 1";
    let served = Served::with(Setup {
        args: vec!["--backend", &redis.url()],
        config,
        ..Setup::default()
    })
    .await;
    assert_eq!(served.get("/healthz").await.status, 200);
    assert_eq!(served.get("/readyz").await.status, 503);
    let refused = served.post("/v1/events/a", json!({"data": 1})).await;
    assert!(matches!(refused.status, 503 | 504), "{refused:?}");
    let problem = refused.json();
    assert_eq!(
        (&problem["retryable"], &problem["outcome"]),
        (&json!(true), &json!("not_applied"))
    );
    assert!(refused.headers.contains_key("retry-after"));

    redis.restart().await.unwrap();
    served.until_ready(true).await;
    assert_eq!(
        served.post("/v1/events/a", json!({"data": 1})).await.status,
        200
    );
}

#[tokio::test]
async fn fault_a_shutdown_does_not_wait_for_a_dead_backend() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let mut served = Served::on(&redis.url()).await;
    served.until_ready(true).await;
    let _stream = served.sse("topic=a").await;
    redis.pause().unwrap();
    served.signal(rustix::process::Signal::TERM);
    assert_eq!(served.ended().await, Some(0));
}
