//! `/v1/queues`.

use std::process::Stdio;

use quorate_testing::servers::{Server, ServerKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{PATIENCE, Served};

pub(crate) const JOBS: &str = "/v1/queues/mail%2Fout/jobs";

pub(crate) fn verb(verb: &str) -> String {
    format!("/v1/queues/mail%2Fout/{verb}")
}

pub(crate) async fn push(served: &Served, body: Value) -> String {
    let answer = served.post(JOBS, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    id_of(&answer.json())
}

pub(crate) fn id_of(document: &Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

/// Up to so many jobs, for a minute.
pub(crate) async fn claim(served: &Served, most: usize) -> Vec<Value> {
    let body = json!({"most": most, "lease": "1m"});
    let answer = served.post(&verb("claim"), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["jobs"].as_array().unwrap().clone()
}

pub(crate) async fn settle(served: &Served, job: &Value, said: Value) -> bool {
    let mut settled = said;
    settled["receipt"] = job["receipt"].clone();
    let answer = served
        .post(&verb("settle"), json!({ "jobs": [settled] }))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["settled"] == json!([true])
}

pub(crate) async fn show(served: &Served, id: &str) -> Value {
    let answer = served.get(&format!("{JOBS}/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_job_is_pushed_worked_on_and_its_result_fetched() {
    let served = Served::start().await;
    let pushed = json!({"input": {"to": "a@b"}, "tags": ["t"], "timeout": "1m", "priority": 3, "fairness_group": "g"});
    let id = push(&served, pushed).await;
    let waiting = show(&served, &id).await;
    assert_eq!(waiting["state"], "ready");
    assert_eq!(waiting["input"], json!({"to": "a@b"}));
    assert_eq!(
        (
            &waiting["tags"],
            &waiting["timeout_ms"],
            &waiting["priority"]
        ),
        (&json!(["t"]), &json!(60_000), &json!(3))
    );
    let result = format!("{JOBS}/{id}/result");
    let early = served.get(&result).await;
    assert_eq!(
        (early.status, &early.json()["state"]),
        (202, &json!("ready"))
    );

    let claimed = claim(&served, 9).await;
    assert_eq!(claimed.len(), 1);
    let job = &claimed[0];
    assert_eq!((&job["id"], &job["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(job["input"], json!({"to": "a@b"}));
    assert_eq!(
        (&job["timeout_ms"], &job["fairness_group"]),
        (&json!(60_000), &json!("g"))
    );
    let note =
        json!({"receipt": job["receipt"], "progress": 0.5, "log": "half", "checkpoint": [1]});
    assert_eq!(
        served.post(&verb("note"), note).await.json(),
        json!({"held": true})
    );
    let renew = json!({"receipts": [job["receipt"]], "lease": "2m"});
    let renewed = served.post(&verb("renew"), renew).await.json();
    assert_eq!(renewed, json!({"jobs": ["held"]}));
    let seen = show(&served, &id).await;
    assert_eq!(
        (&seen["state"], &seen["progress"]),
        (&json!("active"), &json!(0.5))
    );
    assert_eq!(seen["log"][0]["text"], "half");

    // Who waits is answered by the settlement.
    let waits = format!("{result}?wait=20s");
    let (waited, done) = tokio::join!(
        served.get(&waits),
        settle(
            &served,
            job,
            json!({"outcome": "succeeded", "result": {"sent": 1}})
        )
    );
    assert!(done);
    assert_eq!(waited.status, 200);
    assert_eq!(
        waited.json(),
        json!({"id": id, "state": "succeeded", "result": {"sent": 1}})
    );
    let stats = served.get("/v1/queues/mail%2Fout").await.json();
    assert_eq!(
        (&stats["ended"], &stats["totals"]["succeeded"]),
        (&json!(1), &json!(1))
    );
    let all = served.get("/v1/queues?prefix=mail").await.json();
    assert_eq!(all["queues"][0]["queue"], "mail/out");
}

/// What becomes of it, until it is over; a stream does not keep the server from stopping.
#[tokio::test]
async fn a_job_is_watched_until_it_is_over() {
    let mut served = Served::start().await;
    let id = push(&served, json!({"input": 1})).await;
    let mut events = served.events(&format!("{JOBS}/{id}/events")).await;
    let first = events.named("state").await;
    assert_eq!(
        (&first["state"], &first["input"]),
        (&json!("ready"), &json!(1))
    );
    let job = claim(&served, 1).await[0].clone();
    let note = json!({"receipt": job["receipt"], "progress": {"done": 1}, "log": "one"});
    served.post(&verb("note"), note).await;
    assert_eq!(events.named("progress").await, json!({"done": 1}));
    assert!(settle(&served, &job, json!({"outcome": "succeeded", "result": 2})).await);
    let end = events.named("end").await;
    assert_eq!(
        (&end["state"], &end["result"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(events.next().await, None);

    let never = served
        .get(&format!("{JOBS}/{}/events", "0".repeat(32)))
        .await;
    never.problem(404, "NOT_FOUND", "has no job");
    let waiting = push(&served, json!({"input": 1, "delay": "1h"})).await;
    let mut gone = served.events(&format!("{JOBS}/{waiting}/events")).await;
    gone.named("state").await;
    served
        .send("DELETE", &format!("{JOBS}/{waiting}"), &[], "")
        .await;
    assert_eq!(gone.named("gone").await, Value::Null);
    let other = push(&served, json!({"input": 1, "delay": "1h"})).await;
    let mut open = served.events(&format!("{JOBS}/{other}/events")).await;
    open.named("state").await;
    served.signal(Signal::TERM);
    assert_eq!(served.ended().await, Some(0));
    while open.next().await.is_some() {}
}

/// From when it listens on, and until the server stops.
#[tokio::test]
async fn what_happens_in_a_queue_is_streamed() {
    let mut served = Served::start().await;
    let mut events = served.events(&verb("events")).await;
    assert_eq!(events.named("listening").await, Value::Null);
    let id = push(&served, json!({"input": 1})).await;
    let queued = events.named("queued").await;
    assert_eq!(
        (&queued["event"], &queued["id"]),
        (&json!("queued"), &json!(id))
    );
    assert!(
        queued["at"].is_string() && queued.get("due_at").is_none(),
        "{queued}"
    );
    let job = claim(&served, 1).await[0].clone();
    assert_eq!(events.named("started").await["attempt"], 1);
    let failed = json!({"outcome": "failed", "error": "no route", "retry_in": "1m"});
    assert!(settle(&served, &job, failed).await);
    let failed = events.named("failed").await;
    assert_eq!(failed["error"], "no route");
    assert!(
        failed["due_at"].as_str() > failed["at"].as_str(),
        "{failed}"
    );
    let late = push(&served, json!({"input": 1, "delay": "1h"})).await;
    assert!(events.named("queued").await["due_at"].is_string());
    served
        .post(&format!("{JOBS}/{late}/cancel"), json!({}))
        .await;
    assert_eq!(events.named("cancelled").await["id"], json!(late));
    served.signal(Signal::TERM);
    assert_eq!(served.ended().await, Some(0));
    while events.next().await.is_some() {}
}

/// Of whoever claims; and what is held back is seen.
#[tokio::test]
async fn who_claims_keeps_to_the_limits_of_the_queue() {
    let served = Served::start().await;
    let jobs = [1, 2, 3].map(|input| json!({"input": input, "fairness_group": "g"}));
    let many = format!("{JOBS}/many");
    let pushed = served.post(&many, json!({ "jobs": jobs })).await;
    assert_eq!(pushed.status, 200, "{pushed:?}");
    let limits = json!({"max_active_per_group": 1, "max_starts": "2/1h"});
    let body = json!({"most": 9, "limits": limits});
    let claimed = served.post(&verb("claim"), body.clone()).await.json();
    assert_eq!(claimed["jobs"].as_array().unwrap().len(), 1);
    let queue = served.get("/v1/queues/mail%2Fout").await.json();
    assert_eq!((&queue["limited"], &queue["ready"]), (&json!(2), &json!(0)));
    let limited = served.get(&format!("{JOBS}?place=limited")).await.json();
    assert_eq!(limited["jobs"][0]["state"], "limited");
    let mut job = claimed["jobs"][0].clone();
    // The second one may begin, and the third has to wait for the rate.
    for expected in [1, 0] {
        let done = json!({"outcome": "succeeded", "result": 1});
        assert!(settle(&served, &job, done).await);
        let claimed = served.post(&verb("claim"), body.clone()).await.json();
        assert_eq!(claimed["jobs"].as_array().unwrap().len(), expected);
        job = claimed["jobs"][0].clone();
    }
}

/// It fails, comes again, and is dead in the end; one that is deferred has made no attempt.
#[tokio::test]
async fn what_a_worker_says_of_a_job_holds() {
    let served = Served::start().await;
    let backoff = json!({"initial": "1ms", "max": "1ms"});
    let again = json!({"input": 1, "max_attempts": 2, "backoff": backoff});
    let id = push(&served, again).await;
    let first = claim(&served, 1).await;
    let failed = json!({"outcome": "failed", "error": "no route", "retry_in": "0s"});
    assert!(settle(&served, &first[0], failed.clone()).await);
    let body = json!({"wait": "20s"});
    let second = served.post(&verb("claim"), body).await.json()["jobs"][0].clone();
    assert_eq!(second["attempt"], 2);
    assert!(
        settle(
            &served,
            &second,
            json!({"outcome": "deferred", "retry_in": "0s"})
        )
        .await
    );
    let third = served
        .post(&verb("claim"), json!({"wait": "20s"}))
        .await
        .json()["jobs"][0]
        .clone();
    assert_eq!(third["attempt"], 2);
    assert!(settle(&served, &third, failed).await);
    let dead = show(&served, &id).await;
    assert_eq!(
        (&dead["state"], &dead["error"]),
        (&json!("dead"), &json!("no route"))
    );
    assert_eq!(dead["failed_attempts"], 2);
    let result = served.get(&format!("{JOBS}/{id}/result?wait=1s")).await;
    assert_eq!(result.status, 200);
    assert_eq!(
        (&result.json()["state"], &result.json()["error"]),
        (&json!("dead"), &json!("no route"))
    );
    let other = push(&served, json!({"input": null})).await;
    let job = claim(&served, 1).await;
    assert_eq!(job[0]["input"], Value::Null);
    assert!(
        settle(
            &served,
            &job[0],
            json!({"outcome": "dead", "error": "never"})
        )
        .await
    );
    let dead = show(&served, &other).await;
    assert_eq!(
        (&dead["state"], &dead["error"]),
        (&json!("dead"), &json!("never"))
    );
}

/// Two who claim at once have different jobs, and a receipt whose lease has ended is worth nothing.
#[tokio::test]
async fn a_job_is_with_one_claimer_at_a_time() {
    let served = Served::start().await;
    let jobs: Vec<_> = (0..20).map(|number| json!({ "input": number })).collect();
    let many = served
        .post(&format!("{JOBS}/many"), json!({ "jobs": jobs }))
        .await;
    assert_eq!(many.json()["jobs"].as_array().unwrap().len(), 20);
    let (one, other) = tokio::join!(claim(&served, 10), claim(&served, 10));
    let mut inputs: Vec<_> = one
        .iter()
        .chain(&other)
        .map(|job| job["input"].as_u64().unwrap())
        .collect();
    inputs.sort_unstable();
    assert_eq!(inputs, (0..20).collect::<Vec<_>>());

    push(&served, json!({"input": "short"})).await;
    let body = json!({"lease": "100ms"});
    let lost = served.post(&verb("claim"), body).await.json()["jobs"][0].clone();
    let body = json!({"lease": "1m", "wait": "20s"});
    let held = served.post(&verb("claim"), body).await.json()["jobs"][0].clone();
    assert_eq!((&held["id"], &held["attempt"]), (&lost["id"], &json!(2)));
    assert!(held["lease_number"].as_u64() > lost["lease_number"].as_u64());
    assert!(!settle(&served, &lost, json!({"outcome": "succeeded"})).await);
    let renew = json!({"receipts": [lost["receipt"], held["receipt"]], "lease": "1m"});
    let renewed = served.post(&verb("renew"), renew).await.json();
    assert_eq!(renewed, json!({"jobs": ["lost", "held"]}));
    let note = json!({"receipt": lost["receipt"], "log": "still here"});
    assert_eq!(
        served.post(&verb("note"), note).await.json(),
        json!({"held": false})
    );
    let id = id_of(&held);
    let cancelled = served.post(&format!("{JOBS}/{id}/cancel"), json!({})).await;
    assert_eq!(cancelled.json(), json!({"id": id, "state": "active"}));
    let renew = json!({"receipts": [held["receipt"]], "lease": "1m"});
    let renewed = served.post(&verb("renew"), renew).await.json();
    assert_eq!(renewed, json!({"jobs": ["cancelled"]}));
    assert!(settle(&served, &held, json!({"outcome": "succeeded"})).await);
    assert_eq!(show(&served, &id).await["state"], "succeeded");
}

#[tokio::test]
async fn pushes_with_one_idempotency_key_are_one_job() {
    let served = Served::start().await;
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "\"order-42\""),
    ];
    let body = json!({"input": 1}).to_string();
    let first = served.send("POST", JOBS, &headers, body.clone()).await;
    assert_eq!((first.status, &first.json()["new"]), (201, &json!(true)));
    let same = served.send("POST", JOBS, &headers, body).await;
    assert_eq!((same.status, &same.json()["new"]), (200, &json!(false)));
    let by_body =
        json!({"jobs": [{"input": 2, "idempotency_key": "order-42"}, {"input": 3, "delay": "1h"}]});
    let many = served.post(&format!("{JOBS}/many"), by_body).await.json();
    let ids = [first.json(), same.json(), many["jobs"][0].clone()].map(|it| id_of(&it));
    assert_eq!((&ids[0], &ids[0]), (&ids[1], &ids[2]));
    let due = show(&served, &id_of(&many["jobs"][1])).await;
    assert_eq!(due["state"], "due");
    assert!(due["due_at"].as_str().unwrap().ends_with('Z'), "{due}");
}

/// Bytes that are no JSON come and go in base64.
#[tokio::test]
async fn inputs_and_results_may_be_anything() {
    let served = Served::start().await;
    let id = push(&served, json!({"input_base64": "//8="})).await;
    assert_eq!(show(&served, &id).await["input_base64"], "//8=");
    let job = claim(&served, 1).await;
    assert_eq!(job[0]["input_base64"], "//8=");
    assert!(
        settle(
            &served,
            &job[0],
            json!({"outcome": "succeeded", "result_base64": "/w=="})
        )
        .await
    );
    let result = served.get(&format!("{JOBS}/{id}/result")).await;
    assert_eq!(result.json()["result_base64"], "/w==");
}

/// The example of a worker in another language.
#[tokio::test]
async fn a_worker_in_another_language_takes_part() {
    let served = Served::start().await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/python-worker/worker.py"
    );
    let mut worker = Command::new("python3")
        .args([script, &served.url(), "mail/out"])
        .env_remove("QUORATE_TOKEN")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let ready = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    assert_eq!(ready.as_deref(), Some("ready"));
    let done = push(&served, json!({"input": 7})).await;
    let dead = push(&served, json!({"input": "seven"})).await;
    let end = served.get(&format!("{JOBS}/{done}/result?wait=20s")).await;
    assert_eq!(end.json()["result"], 49);
    let end = served.get(&format!("{JOBS}/{dead}/result?wait=20s")).await;
    assert_eq!(end.json()["error"], "not a whole number: 'seven'");
    let pid = Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(PATIENCE, worker.wait()).await.expect("it ends");
    assert_eq!(ended.unwrap().code(), Some(0));
}

/// Pushed and waited for at one server, claimed at another that dies, and settled at the one that is left.
#[tokio::test]
async fn fault_a_claimed_job_outlives_the_server_that_handed_it_out() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let (here, there) = tokio::join!(Served::on(&url), Served::on(&url));
    here.until_ready(true).await;
    there.until_ready(true).await;
    let id = push(&here, json!({"input": 1})).await;
    let mut events = here.events(&format!("{JOBS}/{id}/events")).await;
    events.named("state").await;
    let job = claim(&there, 1).await[0].clone();
    there.signal(Signal::KILL);
    let note = json!({"receipt": job["receipt"], "progress": "half"});
    let noted = here.post(&verb("note"), note).await.json();
    assert_eq!(noted, json!({"held": true}));
    assert_eq!(events.named("progress").await, "half");
    let waits = format!("{JOBS}/{id}/result?wait=20s");
    let (waited, done) = tokio::join!(
        here.get(&waits),
        settle(&here, &job, json!({"outcome": "succeeded", "result": 2}))
    );
    assert!(done);
    assert_eq!(waited.json()["result"], 2);
    assert_eq!(events.named("end").await["result"], 2);
}
