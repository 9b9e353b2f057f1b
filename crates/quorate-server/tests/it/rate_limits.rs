//! `/v1/limits` and `quorate limit`.

use quorate::{Fleet, Policy};
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{PATIENCE, Served, Setup, quorate, run};

#[tokio::test]
async fn requests_are_counted_refused_refunded_and_forgotten() {
    let served = Served::start().await;
    let path = "/v1/limits/api/user%2F7";
    let policies = json!(["log:2/60s", "bucket:10/1s+50"]);
    let ask = async |more: Value| {
        let mut body = json!({ "policies": policies });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = served.post(path, body).await;
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let checked = ask(json!({"check": true})).await;
    assert_eq!(
        (&checked["allowed"], &checked["receipt"]),
        (&json!(true), &Value::Null)
    );
    let first = ask(json!({"cost": 2})).await;
    assert_eq!(first["allowed"], true);
    assert_eq!(first["policies"][0]["name"], "log-60s");
    assert_eq!(first["policies"][0]["remaining"], 0);
    assert_eq!(first["policies"][1]["limit"], 50);
    let refused = ask(json!({})).await;
    assert_eq!(
        (&refused["allowed"], &refused["policy"]),
        (&json!(false), &json!("log-60s"))
    );
    let wait = refused["retry_after_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&wait), "{refused}");
    assert_eq!(ask(json!({"action": "pdf"})).await["allowed"], true);

    let refund = json!({"policies": policies, "receipt": first["receipt"]});
    let refunded = served.post(&format!("{path}/refund"), refund).await;
    assert_eq!(refunded.json(), json!({"done": true}));
    assert_eq!(ask(json!({})).await["policies"][0]["remaining"], 1);
    for done in [true, false] {
        let reset = served
            .post(&format!("{path}/reset"), json!({ "policies": policies }))
            .await;
        assert_eq!(reset.json(), json!({ "done": done }));
    }
    assert_eq!(ask(json!({})).await["policies"][0]["remaining"], 1);
}

#[tokio::test]
async fn a_call_brings_limits_of_its_own_and_a_refusal_blocks_if_asked() {
    let served = Served::start().await;
    let path = "/v1/limits/api/k";
    let body = json!({"policies": ["log:2/60s"], "cost": 3, "limits": [5]});
    let more = served.post(path, body).await.json();
    assert_eq!(more["policies"][0]["limit"], 5);
    assert_eq!(more["policies"][0]["remaining"], 2);
    // What was counted by them is given back by them.
    assert_eq!(more["receipt"]["limits"], json!([5]));
    let refund = json!({"policies": ["log:2/60s"], "receipt": more["receipt"]});
    let refunded = served.post(&format!("{path}/refund"), refund).await;
    assert_eq!(refunded.json(), json!({"done": true}));

    let body = json!({"policies": ["log:1/60s"], "block_for_ms": 3_600_000});
    let first = served.post(path, body.clone()).await.json();
    assert_eq!(first["allowed"], true);
    for policy in ["log-60s", "block"] {
        let refused = served.post(path, body.clone()).await.json();
        assert_eq!(refused["policy"], policy);
        assert!(refused["retry_after_ms"].as_u64() > Some(3_500_000));
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_it() {
    let served = Served::start().await;
    for (path, body, says) in [
        (
            "api/k",
            json!({"policies": []}),
            "policies must be from 1 to 4",
        ),
        (
            "api/k",
            json!({"policies": ["log:2"]}),
            "policy must be an algorithm",
        ),
        (
            "api/k",
            json!({"policies": ["log:0/1s"]}),
            "limit must be from 1 to 10000",
        ),
        (
            "api/k",
            json!({"policies": ["log:2/1s"], "cost": 3}),
            "cost must be at most 2",
        ),
        (
            "api/k",
            json!({"policies": ["log:2/1s"], "limits": [1, 2]}),
            "limits must be one for each policy",
        ),
        (
            "api/k",
            json!({"policies": ["log:2/1s"], "block_for_ms": 1_u64 << 60}),
            "block_for must be at most 366 days",
        ),
        (
            "a:b/k",
            json!({"policies": ["log:2/1s"]}),
            "limiter may contain only",
        ),
        (
            "api/k",
            json!({"policies": ["log:2/1s"], "many": 1}),
            "`many` is not a member",
        ),
    ] {
        let answer = served.post(&format!("/v1/limits/{path}"), body).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
}

#[tokio::test]
async fn the_command_line_asks_and_forgets() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&redis.url()).await.unwrap();
    let limiter = fleet.limiter("api", Policy::sliding_log(1, Duration::from_secs(60)));
    assert!(limiter.consume("k").await.unwrap().is_allowed());
    let command = async |verb: &str, policy: &str| {
        let args = ["limit", verb, "api", "k", "--policy", policy];
        run(quorate().args(args).env("QUORATE_BACKEND", redis.url())).await
    };
    let refused = command("check", "log:1/1m").await;
    assert_eq!(refused.code, Some(75), "{refused:?}");
    let document: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(
        (&document["allowed"], &document["policy"]),
        (&json!(false), &json!("log-60s"))
    );
    assert_eq!(command("reset", "log:1/1m").await.code, Some(0));
    let allowed = command("check", "log:1/1m").await;
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    let wrong = command("check", "tree:1/1m").await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("policy must be"), "{wrong:?}");
}

/// What the server tells of a limiter, once it has decided so many requests.
async fn told(served: &Served, limiter: &str, asked: u64) -> Value {
    let told = async {
        loop {
            let told = served.get("/v1/limits").await.json();
            let limits = told["limits"].as_array().expect("a list").iter();
            let mut found = limits.filter(|it| it["limiter"] == limiter);
            if let Some(found) = found.find(|it| it["decisions"]["asked"] == asked) {
                return found.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.expect("it tells")
}

/// Of the instance that was asked, too.
#[tokio::test]
async fn figures_of_limiters_are_those_of_the_whole_fleet() {
    const FAST: &str = "[fleet]\ntell_limits = 'keys'\ntell_limits_every = '100ms'";
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = async || {
        let served = Served::with(Setup {
            args: vec!["--backend", &redis.url()],
            config: FAST,
            ..Setup::default()
        })
        .await;
        served.until_ready(true).await;
        served
    };
    let (one, two) = (served().await, served().await);
    let body = json!({"policies": ["log:2/60s"]});
    for served in [&one, &two, &two] {
        let answer = served.post("/v1/limits/api/user%2F7", body.clone()).await;
        assert_eq!(answer.status, 200);
    }
    let pdf = json!({"policies": ["log:2/60s"], "action": "pdf"});
    two.post("/v1/limits/api/8", pdf).await;
    // Only asked.
    let check = json!({"policies": ["log:2/60s"], "check": true});
    two.post("/v1/limits/api/8", check).await;
    let api = told(&one, "api", 4).await;
    let decisions =
        json!({"asked": 4, "allowed": 3, "denied": 1, "shadow": 0, "open": 0, "share": 0});
    assert_eq!(
        (&api["decisions"], &api["instances"]),
        (&decisions, &json!(2))
    );
    assert_eq!(api["denied_ratio"], 0.25);
    assert_eq!(api["kind"], "rate");
    assert_eq!(api["denied_by"], json!({"log-60s": 1}));
    assert_eq!(api["policies"], json!([["log:2/60s"]]));
    let minutes = api["minutes"].as_array().unwrap();
    assert_eq!(minutes.last().unwrap(), &json!({"asked": 4, "denied": 1}));
    let hottest = json!([
        {"key": "user/7", "action": null, "asked": 3.0, "denied": 1.0, "error": 0.0},
        {"key": "8", "action": "pdf", "asked": 1.0, "denied": 0.0, "error": 0.0},
    ]);
    assert_eq!(api["hottest"], hottest);

    let url = redis.url();
    let show = |args: &[&str]| {
        let mut command = quorate();
        command
            .args(["limit", "show", "--backend", &url])
            .args(args);
        command
    };
    let shown = run(&mut show(&[])).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        shown.stdout.starts_with("api: 25.0 % denied, told by 2\n"),
        "{}",
        shown.stdout
    );
    assert!(
        shown
            .stdout
            .ends_with("         3  user/7, 1 denied\n           1  8 (pdf), 0 denied\n"),
        "{}",
        shown.stdout
    );
    let shown = run(&mut show(&["api", "--json"])).await;
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["limits"][0]["decisions"], decisions);
    let none = run(&mut show(&["none"])).await;
    assert_eq!(none.code, Some(4), "{none:?}");
    let wrong = run(&mut show(&["api", "more"])).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

/// Unless it is told to; and what it is told to do has a rule.
#[tokio::test]
async fn a_server_tells_counts_of_limiters_and_no_keys() {
    let served = Served::configured("[fleet]\ntell_limits_every = '100ms'").await;
    let body = json!({"policies": ["log:2/60s"]});
    served.post("/v1/limits/api/7", body).await;
    assert!(told(&served, "api", 1).await["hottest"].is_null());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quorate.toml");
    for (line, says) in [
        ("tell_limits = 'names'", "tell_limits"),
        ("tell_limits_every = '1ms'", "tell_limits_every must be"),
    ] {
        std::fs::write(&file, format!("[fleet]\n{line}")).unwrap();
        let mut command = quorate();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file);
        let refused = run(&mut command).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
}
