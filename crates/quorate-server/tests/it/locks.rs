//! `/v1/locks`.

use std::time::Duration;

use serde_json::json;

use crate::support::{PATIENCE, Served};

#[tokio::test]
async fn a_lock_is_acquired_extended_and_released() {
    let served = Served::start().await;
    let path = "/v1/locks/nightly%2Freport";
    let answer = served.post(path, json!({"lease": "30s"})).await;
    assert_eq!(answer.status, 201);
    let held = answer.json();
    assert_eq!(held["name"], "nightly/report");
    let token = held["fencing_token"].as_u64().unwrap();
    let left = held["expires_in_ms"].as_u64().unwrap();
    assert!((20_000..=30_000).contains(&left), "{held}");
    assert!(
        held["expires_at"].as_str().unwrap().ends_with('Z'),
        "{held}"
    );

    let refused = served.post(path, json!({"lease": "30s"})).await;
    let problem = refused.problem(409, "ABORTED", "held by somebody else");
    assert!(problem["remaining_ms"].as_u64().unwrap() > 0);
    assert_eq!(problem["retryable"], true);
    assert!(refused.headers.contains_key("retry-after"));

    let lease = format!("{path}/{}", held["lease_id"].as_str().unwrap());
    let extended = served.post(&lease, json!({"lease": "60s"})).await;
    assert_eq!(extended.status, 200);
    assert!(extended.json()["expires_in_ms"].as_u64().unwrap() > 30_000);
    for _ in 0..2 {
        assert_eq!(served.send("DELETE", &lease, &[], "").await.status, 204);
    }
    let again = served.post(path, json!({"lease": "30s"})).await.json();
    assert!(again["fencing_token"].as_u64().unwrap() > token);
    let lost = served.post(&lease, json!({"lease": "60s"})).await;
    lost.problem(409, "FAILED_PRECONDITION", "any more");
    let never = format!("{path}/00000000000000000000000000000000");
    let lost = served.send("DELETE", &never, &[], "").await;
    lost.problem(409, "FAILED_PRECONDITION", "any more");
}

#[tokio::test]
async fn whoever_waits_gets_the_lock_when_it_is_released() {
    let served = Served::start().await;
    let held = served
        .post("/v1/locks/a", json!({"lease": "60s"}))
        .await
        .json();
    let waiting = served.post("/v1/locks/a", json!({"lease": "60s", "wait": "20s"}));
    let release = async {
        // The other request is counted as soon as it has asked; then it waits.
        let asked = async {
            let counted = r#"quorate_operations_total{capability="events",operation="subscribe""#;
            while !served.get("/metrics").await.text().contains(counted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .expect("it waits");
        let lease = format!("/v1/locks/a/{}", held["lease_id"].as_str().unwrap());
        served.send("DELETE", &lease, &[], "").await
    };
    let (acquired, released) = tokio::join!(waiting, release);
    assert_eq!((acquired.status, released.status), (201, 204));
}

#[tokio::test]
async fn wrong_input_is_refused_with_the_rule() {
    let served = Served::start().await;
    for (path, body, status, says) in [
        (
            "/v1/locks/a",
            json!({"lease": "1ms"}),
            400,
            "lease must be from 10 ms",
        ),
        (
            "/v1/locks/a",
            json!({"lease": "1s", "wait": "1h"}),
            400,
            "wait must be at most 24s",
        ),
        (
            "/v1/locks/a",
            json!({"lease": 5}),
            400,
            "lease must be a duration with its unit, such as `500ms` or `5s`",
        ),
        ("/v1/locks/a", json!({"lease": "30"}), 400, "with its unit"),
        (
            "/v1/locks/a",
            json!({"lease": "1s", "wait": 5}),
            400,
            "wait must be a duration",
        ),
        (
            "/v1/locks/a",
            json!(["30s", "1s"]),
            400,
            "body must be a JSON object",
        ),
        (
            "/v1/locks/a",
            json!("30s"),
            400,
            "body must be a JSON object",
        ),
        ("/v1/locks/a", json!({"lease": "5 apples"}), 400, "lease"),
        ("/v1/locks/a", json!({}), 400, "`lease` must be given"),
        (
            "/v1/locks/a",
            json!({"lease": "1s", "colour": 1}),
            400,
            "colour",
        ),
        (
            "/v1/locks/a/xyz",
            json!({"lease": "1s"}),
            400,
            "lease_id must be",
        ),
        ("/v1/locks/%0A", json!({"lease": "1s"}), 400, "control"),
    ] {
        served
            .post(path, body)
            .await
            .problem(status, "INVALID_ARGUMENT", says);
    }
    // None of them acquired it.
    let body = json!({"lease": "1s", "wait": null});
    assert_eq!(served.post("/v1/locks/a", body).await.status, 201);
    let answer = served
        .send(
            "POST",
            "/v1/locks/a",
            &[("content-type", "text/plain")],
            "{}",
        )
        .await;
    answer.problem(415, "INVALID_ARGUMENT", "application/json");
}

#[tokio::test]
async fn a_lock_can_be_looked_at_and_taken_away() {
    let served = Served::start().await;
    let path = "/v1/locks/nightly%2Freport";
    let free = served.get(path).await;
    assert_eq!(free.status, 200);
    assert_eq!(
        free.json(),
        json!({"name": "nightly/report", "holders": [], "waiters": [], "waiting": 0})
    );
    let held = served.post(path, json!({"lease": "60s"})).await.json();
    let token = held["fencing_token"].as_u64().unwrap();
    let shown = served.get(path).await;
    let lease = held["lease_id"].as_str().unwrap();
    assert!(!shown.text().contains(&lease[16..]), "it could be released");
    let holder = &shown.json()["holders"][0];
    assert_eq!(holder["fencing_token"], token);
    assert!(
        holder["remaining_ms"].as_u64().unwrap() > 30_000,
        "{holder}"
    );
    assert!(!holder["owner"].as_str().unwrap().is_empty());

    let waiting = served.post(path, json!({"lease": "60s", "wait": "20s"}));
    let forcing = async {
        let waits = async {
            while served.get(path).await.json()["waiting"] != 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits)
            .await
            .expect("it waits");
        // Not the one that is meant, then that.
        for (meant, from) in [(token - 1, json!([])), (token, json!([token]))] {
            let path = format!("{path}?fencing_token={meant}");
            let answer = served.send("DELETE", &path, &[], "").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.json(), json!({ "fencing_tokens": from }));
        }
    };
    let (next, ()) = tokio::join!(waiting, forcing);
    assert_eq!(next.status, 201);
    let next = next.json()["fencing_token"].as_u64().unwrap();
    assert!(next > token);
    let lost = served
        .post(&format!("{path}/{lease}"), json!({"lease": "60s"}))
        .await;
    lost.problem(409, "FAILED_PRECONDITION", "any more");
    let answer = served.send("DELETE", path, &[], "").await;
    assert_eq!(answer.json(), json!({ "fencing_tokens": [next] }));
    let wrong = format!("{path}?fencing_token=x");
    let answer = served.send("DELETE", &wrong, &[], "").await;
    answer.problem(400, "INVALID_ARGUMENT", "fencing_token");
}
