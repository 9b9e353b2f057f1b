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
        (
            "/v1/locks/a",
            json!({"lease": "1s", "lease_id": "7"}),
            400,
            "lease_id must be 32",
        ),
        (
            "/v1/locks/a",
            json!({"lease": "1s", "owner": ""}),
            400,
            "owner must have",
        ),
        (
            "/v1/locks/a",
            json!({"lease": "1s", "reentrant": true}),
            400,
            "owner must be given",
        ),
        (
            "/v1/locks/a",
            json!({"lease": "1s", "shared": true}),
            400,
            "shared is for kind",
        ),
        (
            "/v1/locks/a?kind=read_write",
            json!({"lease": "1s", "permits": 1}),
            400,
            "permits and of are for",
        ),
        (
            "/v1/locks/a?kind=semaphore",
            json!({"lease": "1s"}),
            400,
            "of must be given",
        ),
        (
            "/v1/locks/a?kind=semaphore",
            json!({"lease": "1s", "of": 2, "permits": 3}),
            400,
            "permits must be",
        ),
        (
            "/v1/locks/a?kind=election",
            json!({"lease": "1s"}),
            400,
            "kind must be",
        ),
        ("/v1/locks/a?kind=key", json!({"lease": "1s"}), 400, "kind"),
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
        json!({"name": "nightly/report", "kind": "mutex", "holders": [], "waiters": [], "waiting": 0})
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

/// Whoever has no answer asks again, by an id of its own.
#[tokio::test]
async fn an_acquisition_that_names_its_lease_may_be_repeated() {
    let served = Served::start().await;
    let id = "00c0ffee00c0ffee00c0ffee00c0ffee";
    let body = json!({"lease": "60s", "lease_id": id});
    let first = served.post("/v1/locks/a", body.clone()).await;
    let again = served.post("/v1/locks/a", body).await;
    assert_eq!((first.status, again.status), (201, 201));
    let (first, again) = (first.json(), again.json());
    assert_eq!(first["fencing_token"], again["fencing_token"]);
    assert_eq!(
        (&first["lease_id"], &again["lease_id"]),
        (&json!(id), &json!(id))
    );
    let other = served.post("/v1/locks/a", json!({"lease": "60s"})).await;
    other.problem(409, "ABORTED", "held by somebody else");
    let lease = format!("/v1/locks/a/{id}");
    assert_eq!(served.send("DELETE", &lease, &[], "").await.status, 204);
}

#[tokio::test]
async fn other_kinds_of_locks_are_asked_for_by_their_kind() {
    let served = Served::start().await;
    let ask = async |kind: &str, more: serde_json::Value| {
        let mut body = json!({"lease": "60s"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        served.post(&format!("/v1/locks/a?kind={kind}"), body).await
    };
    // Four locks of one name.
    let mutex = ask("mutex", json!({"owner": "me", "reentrant": true})).await;
    let nested = ask("mutex", json!({"owner": "me", "reentrant": true})).await;
    assert_eq!(
        mutex.json()["fencing_token"],
        nested.json()["fencing_token"]
    );
    assert_eq!(ask("mutex", json!({"owner": "me"})).await.status, 409);
    let readers = [(); 2].map(|()| ask("read_write", json!({"shared": true})));
    for reader in readers {
        assert_eq!(reader.await.status, 201);
    }
    assert_eq!(ask("read_write", json!({})).await.status, 409);
    let two = ask("semaphore", json!({"of": 3, "permits": 2}))
        .await
        .json();
    assert_eq!(two["kind"], "semaphore");
    assert_eq!(
        ask("semaphore", json!({"of": 3, "permits": 2}))
            .await
            .status,
        409
    );
    assert_eq!(ask("semaphore", json!({"of": 3})).await.status, 201);
    let shown = served.get("/v1/locks/a?kind=semaphore").await.json();
    assert_eq!(shown["holders"][0]["weight"], 2);
    assert_eq!(shown["holders"].as_array().unwrap().len(), 2);

    let lease = format!("/v1/locks/a/{}", two["lease_id"].as_str().unwrap());
    let not_there = served.send("DELETE", &lease, &[], "").await;
    not_there.problem(409, "FAILED_PRECONDITION", "any more");
    let lease = format!("{lease}?kind=semaphore");
    let extended = served.post(&lease, json!({"lease": "90s"})).await.json();
    assert_eq!(extended["kind"], "semaphore");
    assert_eq!(served.send("DELETE", &lease, &[], "").await.status, 204);
    let path = "/v1/locks/a?kind=read_write";
    let forced = served.send("DELETE", path, &[], "").await.json();
    assert_eq!(forced["fencing_tokens"].as_array().unwrap().len(), 2);
    assert_eq!(ask("read_write", json!({})).await.status, 201);
}

#[tokio::test]
async fn locks_that_somebody_has_or_wants_are_listed() {
    let served = Served::start().await;
    for (name, body) in [
        (
            "jobs%2Freport?kind=mutex",
            json!({"lease": "60s", "owner": "night"}),
        ),
        (
            "jobs%2Fexport?kind=semaphore",
            json!({"lease": "60s", "of": 2}),
        ),
        ("other", json!({"lease": "60s"})),
    ] {
        assert_eq!(
            served.post(&format!("/v1/locks/{name}"), body).await.status,
            201
        );
    }
    let free = served
        .post("/v1/locks/jobs%2Ffree", json!({"lease": "60s"}))
        .await
        .json();
    let lease = format!(
        "/v1/locks/jobs%2Ffree/{}",
        free["lease_id"].as_str().unwrap()
    );
    assert_eq!(served.send("DELETE", &lease, &[], "").await.status, 204);

    let listed = async |query: &str| {
        let mut names = Vec::new();
        let mut from = String::new();
        loop {
            let list = served.get(&format!("/v1/locks?{query}{from}")).await.json();
            names.extend(list["locks"].as_array().unwrap().clone());
            match list["next"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => break,
            }
        }
        names.sort_by_key(|lock| lock["name"].to_string());
        names
    };
    let names = |locks: &[serde_json::Value]| -> Vec<_> {
        locks
            .iter()
            .map(|lock| lock["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let jobs = listed("prefix=jobs%2F").await;
    assert_eq!(names(&jobs), ["jobs/export", "jobs/report"]);
    assert_eq!(jobs[1]["holders"][0]["owner"], "night");
    assert_eq!(
        (&jobs[1]["holding"], &jobs[1]["waiting"]),
        (&json!(1), &json!(0))
    );
    assert!(jobs[1]["oldest_waiter_ms"].is_null());
    assert_eq!(
        names(&listed("prefix=jobs%2F&kind=semaphore").await),
        ["jobs/export"]
    );
    let all = listed("prefix=jobs%2F&all=true&limit=1").await;
    assert_eq!(names(&all), ["jobs/export", "jobs/free", "jobs/report"]);
    assert_eq!(listed("").await.len(), 3);
    let wrong = served.get("/v1/locks?limit=0").await;
    wrong.problem(400, "INVALID_ARGUMENT", "limit must be from 1");
}
