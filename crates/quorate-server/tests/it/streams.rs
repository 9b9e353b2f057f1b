//! `/v1/sse` and `/v1/ws`; `quorate-http` tests the rest of them.

use quorate_testing::harness::eventually;
use serde_json::json;

use crate::support::Served;

#[tokio::test]
async fn what_is_posted_arrives_on_both() {
    let served = Served::start().await;
    let mut sse = served.sse("topic=orders:*").await;
    let mut ws = served.ws(&[]).await.unwrap();
    assert_eq!(ws.next().await.unwrap()["event"], "hello");
    let state = ws.next().await.unwrap();
    assert_eq!(
        (&state["event"], &state["state"]),
        (&json!("state"), &json!("ready"))
    );
    ws.send(json!({"id": 1, "subscribe": "orders:*"})).await;
    assert_eq!(
        ws.next().await.unwrap(),
        json!({"id": 1, "ok": true, "topic": "orders:*"})
    );
    served
        .post("/v1/events/orders:42", json!({"data": {"n": 1}}))
        .await;
    let by_ws = ws.next().await.unwrap();
    assert_eq!(by_ws["data"], json!({"n": 1}));
    assert_eq!(sse.data().await, by_ws);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_subscriptions_along() {
    let served = Served::start().await;
    let sse = served.sse("topic=a&topic=b").await;
    let mut ws = served.ws(&[]).await.unwrap();
    ws.send(json!({"id": 1, "subscribe": "c"})).await;
    ws.until(|frame| frame["id"] == 1).await;
    let gone = "quorate_events_subscriptions 0";
    assert!(!served.get("/metrics").await.text().contains(gone));
    drop((sse, ws));
    let all_gone = async || served.get("/metrics").await.text().contains(gone);
    eventually("its subscriptions are given up", all_gone).await;
}
