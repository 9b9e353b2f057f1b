//! `/v1/queues`, for operators; and what is wrong input there.

use serde_json::{Value, json};

use crate::queues::{JOBS, claim, push, settle, verb};
use crate::support::{Answer, Served};

#[tokio::test]
async fn an_operator_lists_edits_redrives_and_removes() {
    let served = Served::start().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(push(&served, json!({"input": number, "tags": ["kept"]})).await);
    }
    let page = served
        .get(&format!("{JOBS}?place=ready&limit=2"))
        .await
        .json();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap().replace(' ', "%20");
    let rest = served
        .get(&format!("{JOBS}?place=ready&from={next}"))
        .await
        .json();
    assert_eq!(
        (&rest["jobs"][0]["id"], &rest["next"]),
        (&json!(ids[2]), &Value::Null)
    );

    for job in claim(&served, 3).await {
        assert!(settle(&served, &job, json!({"outcome": "dead", "error": "never"})).await);
    }
    let edit = |id: &str| format!("{JOBS}/{id}/input");
    let input = served.get(&edit(&ids[0])).await;
    assert_eq!(
        (input.text(), input.headers["content-type"].as_bytes()),
        ("0", &b"application/json"[..])
    );
    let json_body = [("content-type", "application/json")];
    let edited = served
        .send("PUT", &edit(&ids[0]), &json_body, r#"{"input": 9}"#)
        .await;
    assert_eq!(edited.status, 204);
    let body = json!({"ids": [ids[0], "0".repeat(32)]});
    let redriven = served.post(&verb("redrive"), body).await.json();
    assert_eq!(
        redriven,
        json!({"redriven": 1, "not_dead": ["0".repeat(32)]})
    );
    let again = claim(&served, 1).await;
    assert_eq!(
        (&again[0]["input"], &again[0]["tags"]),
        (&json!(9), &json!(["kept"]))
    );
    let late = served
        .send("PUT", &edit(&ids[0]), &json_body, r#"{"input": 1}"#)
        .await;
    late.problem(409, "FAILED_PRECONDITION", "waits or is dead");
    let active = served
        .send("DELETE", &format!("{JOBS}/{}", ids[0]), &[], "")
        .await;
    active.problem(409, "FAILED_PRECONDITION", "cancel it first");
    let body = json!({"ids": [ids[0], ids[1], "0".repeat(32)]});
    let removed = served.post(&verb("remove"), body).await.json();
    assert_eq!(
        removed,
        json!({"removed": 1, "active": [ids[0]], "unknown": ["0".repeat(32)]})
    );
    let purged = served
        .post(&verb("purge"), json!({"place": "dead", "most": 9}))
        .await;
    assert_eq!(purged.json(), json!({"removed": 1}));
    assert!(settle(&served, &again[0], json!({"outcome": "succeeded"})).await);
    let one = served
        .send("DELETE", &format!("{JOBS}/{}", ids[0]), &[], "")
        .await;
    assert_eq!(one.status, 204);
    let gone = served
        .send("DELETE", &format!("{JOBS}/{}", ids[0]), &[], "")
        .await;
    gone.problem(404, "NOT_FOUND", "has no job");
}

#[tokio::test]
async fn a_queue_is_paused_checked_and_its_jobs_cancelled() {
    let served = Served::start().await;
    let ids = [
        push(&served, json!({"input": 1})).await,
        push(&served, json!({"input": 2, "delay": "1h"})).await,
    ];
    assert_eq!(served.post(&verb("pause"), json!({})).await.status, 204);
    assert!(claim(&served, 9).await.is_empty());
    assert_eq!(
        served.get("/v1/queues/mail%2Fout").await.json()["paused"],
        true
    );
    assert_eq!(served.post(&verb("resume"), json!({})).await.status, 204);
    let found = served
        .post(&verb("fsck"), json!({"repair": true}))
        .await
        .json();
    assert_eq!(found["strays"], json!([]));
    let body = json!({"ids": [ids[0], ids[1], "0".repeat(32)]});
    let cancelled = served.post(&verb("cancel"), body).await.json();
    let states: Vec<_> = cancelled["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["state"])
        .collect();
    assert_eq!(
        states,
        [&json!("cancelled"), &json!("cancelled"), &Value::Null]
    );
    let never = served
        .post(&format!("{JOBS}/{}/cancel", "0".repeat(32)), json!({}))
        .await;
    never.problem(404, "NOT_FOUND", "has no job");
}

#[tokio::test]
async fn wrong_input_for_queues_is_refused_with_the_rule() {
    let served = Served::start().await;
    let job = "0".repeat(32);
    let posts = [
        (JOBS.to_owned(), json!({}), "input must be given"),
        (
            JOBS.to_owned(),
            json!({"input": 1, "input_base64": "AA=="}),
            "must not be given together",
        ),
        (
            JOBS.to_owned(),
            json!({"input_base64": "?"}),
            "input_base64 must be base64",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "delay": 5}),
            "delay must be a duration with its unit",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "delay": "1s", "run_at": "2030-01-31T08:00:00Z"}),
            "delay and run_at",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "run_at": "soon"}),
            "run_at must be a time such as",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "priority": 10}),
            "priority must be from 0 to 9",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "max_attempts": 0}),
            "max_attempts must be at least 1",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "keep_result": "1s"}),
            "keep_result must be at least a minute",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "unique": "a", "debounce": "b"}),
            "one at most must be given",
        ),
        (
            JOBS.to_owned(),
            json!({"input": 1, "throttle": "a"}),
            "throttle and throttle_for",
        ),
        (JOBS.to_owned(), json!({"input": 1, "colour": 1}), "colour"),
        (
            JOBS.to_owned(),
            json!({"input": 1, "backoff": {"initial": "1s", "max": "1s", "factor": 0.5}}),
            "backoff.factor must be at least 1",
        ),
        (
            format!("{JOBS}/many"),
            json!({"jobs": [{"input": 1}, {}]}),
            "jobs[1].input must be given",
        ),
        (
            verb("claim"),
            json!({"most": 0}),
            "most must be from 1 to 1000",
        ),
        (
            verb("claim"),
            json!({"limits": {"max_active": 0}}),
            "max_active must be at least 1",
        ),
        (
            verb("claim"),
            json!({"limits": {"max_starts": "many"}}),
            "rate must be a limit and a period",
        ),
        (
            verb("claim"),
            json!({"lease": "1ms"}),
            "lease must be from 100 ms",
        ),
        (
            verb("claim"),
            json!({"wait": "1h"}),
            "wait must be at most 24s",
        ),
        (
            verb("renew"),
            json!({"receipts": ["x"], "lease": "1m"}),
            "receipt must be one that came with a job",
        ),
        (
            verb("renew"),
            json!({"receipts": [], "lease": "1m"}),
            "receipts must be from 1 to 1000",
        ),
        (
            verb("note"),
            json!({"receipt": "x", "log": "a"}),
            "receipt must be one that came with a job",
        ),
        (
            verb("settle"),
            json!({"jobs": []}),
            "jobs must be from 1 to 1000",
        ),
        (verb("redrive"), json!({}), "ids or most must be given"),
        (
            verb("redrive"),
            json!({"ids": ["X"]}),
            "ids must be 32 hexadecimal digits",
        ),
        (
            verb("remove"),
            json!({"ids": []}),
            "ids must be from 1 to 1000",
        ),
        (
            verb("purge"),
            json!({"place": "active", "most": 1}),
            "place must be one where nobody has the jobs",
        ),
        (
            verb("purge"),
            json!({"place": "nowhere", "most": 1}),
            "place",
        ),
        (
            "/v1/queues/no%20queue/jobs".to_owned(),
            json!({"input": 1}),
            "queue may contain only letters",
        ),
        (
            format!("{JOBS}/x/cancel"),
            json!({}),
            "id must be 32 hexadecimal digits",
        ),
    ];
    for (path, body, says) in posts {
        let answer: Answer = served.post(&path, body).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    push(&served, json!({"input": 1})).await;
    let receipt = claim(&served, 1).await[0]["receipt"].clone();
    for (said, says) in [
        (json!({"outcome": "failed"}), "jobs[0].error must be given"),
        (
            json!({"outcome": "deferred"}),
            "jobs[0].retry_in must be given",
        ),
        (
            json!({"outcome": "dead", "error": "e", "retry_in": "1s"}),
            "retry_in is of what failed",
        ),
        (
            json!({"outcome": "succeeded", "error": "e"}),
            "error is of what failed or is dead",
        ),
        (
            json!({"outcome": "failed", "error": "e", "result": 1}),
            "result is of what succeeded",
        ),
        (json!({"outcome": "well"}), "outcome"),
        (
            json!({"outcome": "dead", "error": "e", "leave": [{"queue": "a", "job": {"input": 1}}]}),
            "jobs[0].leave and group_values are of what succeeded",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a", "job": {}}]}),
            "jobs[0].leave[0].job.input must be given",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a b", "job": {"input": 1}}]}),
            "queue may contain only letters",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a", "job": {"input": 1, "unique": "k"}}]}),
            "unique must not be asked of a job that another leaves",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a", "job": {"input": 1}, "after": {"jobs": [0]}}]}),
            "jobs[0].leave[0].after.jobs[0] must be the number of a job before this one",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a", "job": {"input": 1}, "after": {"jobs": ["x"]}}]}),
            "jobs[0].leave[0].after.jobs[0] must be 32 hexadecimal digits",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a", "job": {"input": 1}, "after": {"jobs": []}}]}),
            "jobs[0].leave[0].after.jobs must be given",
        ),
        (
            json!({"outcome": "succeeded", "leave": [{"queue": "a", "job": {"input": 1}, "after": {"jobs": ["0".repeat(32)], "least": 2}}]}),
            "after must not want more jobs than it names",
        ),
        (
            json!({"outcome": "succeeded", "group_values": [{"add": 1}]}),
            "group_values",
        ),
    ] {
        let mut settled = said;
        settled["receipt"] = receipt.clone();
        let body = json!({ "jobs": [settled] });
        let answer = served.post(&verb("settle"), body).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    let note = json!({ "receipt": receipt });
    let answer = served.post(&verb("note"), note).await;
    answer.problem(400, "INVALID_ARGUMENT", "must be given");
    for (path, says) in [
        (format!("{JOBS}?place=nowhere"), "place"),
        (JOBS.to_owned(), "place"),
        (
            format!("{JOBS}?place=ready&limit=0"),
            "limit must be from 1 to 1000",
        ),
        (format!("{JOBS}?place=ready&from=x"), "cursor must be one"),
        (
            format!("{JOBS}/{job}/result?wait=1h"),
            "wait must be at most 24s",
        ),
        (
            "/v1/queues?limit=0".to_owned(),
            "limit must be from 1 to 1000",
        ),
    ] {
        served
            .get(&path)
            .await
            .problem(400, "INVALID_ARGUMENT", says);
    }
    let never = served.get(&format!("{JOBS}/{job}")).await;
    never.problem(404, "NOT_FOUND", "has no job");
    let never = served.get(&format!("{JOBS}/{job}/result?wait=1s")).await;
    never.problem(404, "NOT_FOUND", "has no job");
}
