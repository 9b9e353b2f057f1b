//! Topics that the configuration keeps.

use serde_json::json;

use crate::support::{Served, Setup};

const KEPT: &str = "[topics.room.keep]\ntime = '1h'\nmessages = 3";

async fn served() -> Served {
    Served::with(Setup {
        config: KEPT,
        ..Setup::default()
    })
    .await
}

/// What is posted has a position, and is read back page by page, with and without a key.
#[tokio::test]
async fn a_kept_topic_is_read_back() {
    let served = served().await;
    let mut positions = Vec::new();
    for number in 0..3 {
        let body = json!({"data": number, "params": 42});
        let answer = served.post("/v1/events/room", body).await.json();
        positions.push(answer["position"].as_str().unwrap().to_owned());
    }
    let all = served.get("/v1/history/room:42").await.json();
    assert_eq!(all["topic"], "room:42");
    let data: Vec<_> = all["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["data"])
        .collect();
    assert_eq!(data, [0, 1, 2]);
    assert_eq!(all["messages"][1]["position"], positions[1]);
    assert_eq!(
        (&all["complete"], &all["position"]),
        (&json!(true), &json!(positions[2]))
    );

    let page = format!("/v1/history/room?params=42&after={}&limit=1", positions[0]);
    let page = served.get(&page).await.json();
    assert_eq!(
        (&page["messages"][0]["data"], &page["complete"]),
        (&json!(1), &json!(false))
    );

    // Beyond the bounds: a gap, and nothing partial.
    for number in 3..6 {
        served
            .post("/v1/events/room:42", json!({"data": number}))
            .await;
    }
    let lost = served
        .get(&format!("/v1/history/room:42?after={}", positions[0]))
        .await
        .json();
    assert_eq!(lost["gap"], json!({"missed": 5}));
    assert_eq!(lost["messages"], json!([]));
}

#[tokio::test]
async fn what_is_not_kept_or_breaks_a_rule_is_refused() {
    let served = served().await;
    served
        .get("/v1/history/orders")
        .await
        .problem(409, "FAILED_PRECONDITION", "not kept");
    for (query, says) in [
        ("limit=0", "limit must be from 1 to 1000"),
        ("limit=1001", "limit"),
        ("after=yesterday", "after must be a position"),
        ("before=1", "before"),
    ] {
        let answer = served.get(&format!("/v1/history/room?{query}")).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    let answer = served
        .post("/v1/events/orders", json!({"data": 1}))
        .await
        .json();
    assert!(answer.get("position").is_none());
}
