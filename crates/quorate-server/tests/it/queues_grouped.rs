//! `/v1/queues` and `quorate queue`: what is beside jobs, which are groups, schedules and journals.

use quorate::queue::{Append, Appended, JobId, Timetable};
use quorate::{CallOptions, CancellationToken, Fleet, Key, QueueSpec};
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

use crate::queues::{JOBS, claim, push, settle, show, verb};
use crate::support::{PATIENCE, Served, quorate, run};

/// Whose first job is in `mail/out`.
fn group(id: &str) -> String {
    format!("/v1/queues/mail%2Fout/groups/{id}")
}

/// One job of another queue.
async fn claim_part(served: &Served) -> Value {
    let body = json!({"wait": "20s"});
    let answer = served.post("/v1/queues/parts/claim", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["jobs"][0].clone()
}

async fn settle_part(served: &Served, said: Value) -> Value {
    let body = json!({ "jobs": [said] });
    let answer = served.post("/v1/queues/parts/settle", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_claimed_job_leaves_a_group_over_http() {
    let served = Served::start().await;
    let id = push(&served, json!({"input": 2})).await;
    let early = served.get(&group(&id)).await;
    assert_eq!((early.status, &early.json()["open"]), (202, &json!(1)));

    let job = claim(&served, 1).await.remove(0);
    assert_eq!(job.get("group"), None);
    let part = |input: u32| json!({"queue": "parts", "job": {"input": input, "tags": ["part"]}});
    let mut last = part(3);
    last["after"] = json!({"jobs": [0, 1], "condition": "ended"});
    let said = json!({
        "receipt": job["receipt"],
        "outcome": "succeeded",
        "leave": [part(1), part(2), last],
        "group_values": [{"append": {"parts": 3}}],
    });
    let twice = json!({ "jobs": [said, said] });
    let settled = served.post(&verb("settle"), twice).await.json();
    // Of two that say so the first counts, and only what that leaves is there.
    assert_eq!(settled["settled"], json!([true, false]));
    let left = settled["left"].clone();
    assert_eq!(
        (left[0].as_array().unwrap().len(), &left[1]),
        (3, &json!([]))
    );
    assert_eq!(show(&served, &id).await["state"], "succeeded");

    for nth in [0, 1] {
        let job = claim_part(&served).await;
        assert_eq!(
            (&job["id"], &job["tags"]),
            (&left[0][nth], &json!(["part"]))
        );
        assert_eq!(job["group"], json!({"queue": "mail/out", "id": id}));
        assert_eq!(job["parent"], json!(id));
        let path = format!("/v1/queues/parts/jobs/{}", left[0][nth].as_str().unwrap());
        assert_eq!(served.get(&path).await.json()["group"], job["group"]);
        let said = if nth == 0 {
            json!({"receipt": job["receipt"], "outcome": "dead", "error": "never"})
        } else {
            let values = json!([{"append": 2}]);
            json!({"receipt": job["receipt"], "outcome": "succeeded", "group_values": values})
        };
        assert_eq!(settle_part(&served, said).await, json!({"settled": [true]}));
    }
    let job = claim_part(&served).await;
    assert_eq!(job["id"], left[0][2]);
    let waits = format!("{}?wait=20s", group(&id));
    let said = json!({"receipt": job["receipt"], "outcome": "succeeded"});
    let (over, _) = tokio::join!(served.get(&waits), settle_part(&served, said));
    assert_eq!(over.status, 200);
    assert_eq!(
        over.json(),
        json!({
            "id": id, "over": true, "open": 0, "succeeded": 3, "dead": 1, "cancelled": 0, "expired": 0,
            "values": [{"parts": 3}, 2], "fixed": false, "dropped": 0,
        })
    );
    let never = served.get(&group(&"0".repeat(32))).await;
    never.problem(404, "NOT_FOUND", "has no group");
    let long = served.get(&format!("{}?wait=1h", group(&id))).await;
    long.problem(400, "INVALID_ARGUMENT", "wait must be at most 24s");
    let wrong = served.get(&group("x")).await;
    wrong.problem(400, "INVALID_ARGUMENT", "id must be 32 hexadecimal digits");
}

/// An open group, what has to be brought, and what has been.
#[tokio::test]
async fn groups_are_counted_over_http() {
    let served = Served::start().await;
    push(&served, json!({"input": 1})).await;
    let job = claim(&served, 1).await.remove(0);
    let part = json!({"queue": "parts", "job": {"input": 1}});
    assert!(
        settle(
            &served,
            &job,
            json!({"outcome": "succeeded", "leave": [part]})
        )
        .await
    );
    let part = claim_part(&served).await;
    let seen = served.get("/v1/queues/mail%2Fout").await.json();
    assert_eq!(seen["open_groups"], 1, "{seen}");
    assert!(seen["effects"].is_u64() && seen.get("effects_waited_ms").is_some());
    let waits = format!("{}?wait=20s", group(job["id"].as_str().unwrap()));
    let said = json!({"receipt": part["receipt"], "outcome": "succeeded"});
    let (over, _) = tokio::join!(served.get(&waits), settle_part(&served, said));
    assert_eq!(over.json()["succeeded"], 2);
    assert_eq!(
        served.get("/v1/queues/mail%2Fout").await.json()["open_groups"],
        0
    );
    // It is gone with what is kept of its first job, or by hand.
    let id = job["id"].as_str().unwrap();
    assert_eq!(
        served
            .send("DELETE", &format!("{JOBS}/{id}"), &[], "")
            .await
            .status,
        204
    );
}

/// Runs a schedule of `mail` until it has fired once.
pub(crate) async fn fire_once(fleet: &Fleet) {
    const MAIL: QueueSpec<u32> = QueueSpec::new("mail");
    let queue = fleet.queue(&MAIL);
    let stop = CancellationToken::new();
    let often = Timetable::every(Duration::from_secs(1)).unwrap();
    let schedule = queue.schedule("often/er", often, |_| 7);
    let fired = async {
        while queue.claim(1).wait(PATIENCE).await.unwrap().is_empty() {}
        stop.cancel();
    };
    let both = futures_util::future::join(schedule.run(stop.clone()), fired);
    let (ran, ()) = timeout(PATIENCE, both).await.expect("it fires");
    ran.unwrap();
}

#[tokio::test]
async fn schedules_are_seen_and_forgotten() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    fire_once(&fleet).await;
    let served = Served::on(&server.url()).await;
    let path = "/v1/queues/mail/schedules";
    let seen = served.get(path).await.json();
    assert_eq!(seen["schedules"][0]["schedule"], "often/er", "{seen}");
    assert!(
        seen["schedules"][0]["last"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    let command = |arguments: &[&str]| {
        let mut command = quorate();
        command.arg("queue").arg(arguments[0]);
        command
            .args(["--backend", &server.url()])
            .args(&arguments[1..]);
        command
    };
    let printed = run(&mut command(&["schedules", "mail"])).await;
    let printed: Value = serde_json::from_str(printed.stdout.trim()).unwrap();
    assert_eq!(printed, seen["schedules"][0]);

    let one = format!("{path}/often%2Fer");
    assert_eq!(served.send("DELETE", &one, &[], "").await.status, 204);
    let again = served.send("DELETE", &one, &[], "").await;
    again.problem(404, "NOT_FOUND", "has no schedule `often/er`");
    assert_eq!(served.get(path).await.json(), json!({"schedules": []}));
    let wrong = served
        .send("DELETE", &format!("{path}/a%20b"), &[], "")
        .await;
    wrong.problem(400, "INVALID_ARGUMENT", "schedule");
    fire_once(&fleet).await;
    let done = run(&mut command(&["unschedule", "mail", "often/er"])).await;
    assert_eq!((done.code, &*done.stdout), (Some(0), ""));
    for (arguments, code) in [
        (&["unschedule", "mail", "often/er"][..], 4),
        (&["unschedule", "mail", "a b"], 2),
        (&["schedules", "no queue"], 2),
    ] {
        assert_eq!(
            run(&mut command(arguments)).await.code,
            Some(code),
            "{arguments:?}"
        );
    }
}

/// Of a job that has neither, nothing is said of them.
#[tokio::test]
async fn it_is_shown_how_long_a_journal_and_an_inbox_are() {
    const MAIL: QueueSpec<u32> = QueueSpec::new("mail");
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let mail = fleet.queue(&MAIL);
    mail.push_many(&[1, 2]).await.unwrap();
    let (port, key) = (fleet.queue_port(), Key::new(fleet.namespace(), "mail"));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (key, options) = (key.unwrap(), CallOptions::until(deadline));
    let claimed = mail.claim(2).await.unwrap();
    let with = &claimed[0].receipt;
    let append = Append {
        id: with.id(),
        lease: with.lease(),
        at: 0,
        entries: vec!["one".into(), "two".into()],
    };
    let appended = port.append(&key, &[append], options).await.unwrap();
    assert!(matches!(appended[..], [Appended::Written(_)]));
    let told = port.tell(&key, with.id(), "hello".into(), options).await;
    assert!(told.unwrap().is_some());

    let served = Served::on(&server.url()).await;
    let shown = async |id: JobId| {
        let path = format!("/v1/queues/mail/jobs/{id}");
        let job = served.get(&path).await.json();
        (job["entries"].as_u64(), job["messages"].as_u64())
    };
    assert_eq!(shown(with.id()).await, (Some(2), Some(1)));
    assert_eq!(shown(claimed[1].receipt.id()).await, (None, None));
}

#[tokio::test]
async fn a_group_is_shown_and_waited_for_on_the_command_line() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    const MAIL: QueueSpec<u32> = QueueSpec::new("mail");
    let mail = Fleet::connect(&server.url()).await.unwrap().queue(&MAIL);
    let id = mail.push(&1).await.unwrap().id().to_string();
    let command = |arguments: &[&str]| {
        let mut command = quorate();
        command.args(["queue", "group", "--backend", &server.url()]);
        command.arg("mail").args(arguments);
        command
    };
    let looked = run(&mut command(&[&id])).await;
    let seen: Value = serde_json::from_str(&looked.stdout).unwrap();
    assert_eq!(
        (looked.code, &seen["open"], &seen["over"]),
        (Some(0), &json!(1), &json!(false))
    );
    let waited = run(&mut command(&[&id, "--wait", "50ms"])).await;
    assert_eq!((waited.code, waited.stdout), (Some(75), looked.stdout));

    let claimed = mail.claim(1).await.unwrap().remove(0);
    let done = mail.done(claimed.receipt, ()).unwrap();
    done.fix_group_value("all of it").unwrap();
    let settle = async { assert_eq!(mail.settle([done]).await.unwrap(), [true]) };
    let mut waiting = command(&[&id, "--wait", "1m"]);
    let (waited, ()) = tokio::join!(run(&mut waiting), settle);
    let over: Value = serde_json::from_str(&waited.stdout).unwrap();
    assert_eq!((waited.code, &over["succeeded"]), (Some(0), &json!(1)));
    assert_eq!(
        (&over["values"], &over["fixed"]),
        (&json!(["all of it"]), &json!(true))
    );
    assert_eq!(run(&mut command(&[&"0".repeat(32)])).await.code, Some(4));
    assert_eq!(run(&mut command(&["x"])).await.code, Some(2));
}
