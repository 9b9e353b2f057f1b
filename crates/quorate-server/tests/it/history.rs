//! Topics that the configuration keeps.

use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};

use crate::support::{Served, Setup, quorate, run};

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

/// From the oldest to the latest, page by page, each message once.
#[tokio::test]
async fn the_whole_of_it_is_read_from_the_beginning() {
    let served = served().await;
    let empty = served.get("/v1/history/room?from=beginning").await.json();
    assert_eq!(
        (&empty["messages"], &empty["complete"]),
        (&json!([]), &json!(true))
    );
    for number in 0..5 {
        served
            .post("/v1/events/room", json!({"data": number}))
            .await;
    }
    let first = served
        .get("/v1/history/room?from=beginning&limit=2")
        .await
        .json();
    let rest = format!(
        "/v1/history/room?after={}",
        first["position"].as_str().unwrap()
    );
    let rest = served.get(&rest).await.json();
    let data = |page: &Value| {
        let messages = page["messages"].as_array().unwrap().iter();
        messages.map(|it| it["data"].as_u64().unwrap()).collect()
    };
    let (first, rest): (Vec<_>, Vec<_>) = (data(&first), data(&rest));
    assert_eq!([first, rest], [vec![2, 3], vec![4]], "three are kept");

    let position = empty["position"].as_str().unwrap();
    let both = format!("/v1/history/room?from=beginning&after={position}");
    let refused = served.get(&both).await;
    refused.problem(400, "INVALID_ARGUMENT", "must not be given together");
    let refused = served.get("/v1/history/room?from=end").await;
    refused.problem(400, "INVALID_ARGUMENT", "from");
}

/// The command reads more than one page of it, the end of it, and what follows a position.
#[tokio::test]
async fn the_command_prints_what_is_kept() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let served = Served::with(Setup {
        args: vec!["--backend", &url],
        config: "[topics.room.keep]\ntime = '1h'",
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    let mut positions = Vec::new();
    for number in 0..300 {
        let body = json!({"data": number});
        let answer = served.post("/v1/events/room:42", body).await.json();
        positions.push(answer["position"].as_str().unwrap().to_owned());
    }
    let print = async |arguments: &[&str]| {
        let mut command = quorate();
        command.args(["history", "--backend", &url]).args(arguments);
        run(&mut command).await
    };
    let data = |stdout: &str| -> Vec<Value> {
        let lines = stdout.lines();
        lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"].clone())
            .collect()
    };
    let all = print(&["room:42"]).await;
    assert_eq!(all.code, Some(0), "{all:?}");
    assert_eq!(
        data(&all.stdout),
        (0..300).map(Value::from).collect::<Vec<_>>()
    );
    let last = print(&["room:42", "--latest", "2"]).await;
    assert_eq!(data(&last.stdout), [298, 299]);
    let rest = print(&["room:42", "--after", &positions[296]]).await;
    assert_eq!(data(&rest.stdout), [297, 298, 299]);
    assert_eq!(print(&["room:7"]).await.stdout, "");

    for (arguments, says) in [
        (&["room:42", "--after", "yesterday"][..], "--after"),
        (&["room:42", "--latest", "0"], "--latest"),
        (
            &["room:42", "--latest", "1", "--after", &positions[0]],
            "cannot be used with",
        ),
        (&["not a name"], "topic may contain only"),
    ] {
        let refused = print(arguments).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
}

/// A subscription of the command begins where it is told, and goes on with what is live.
#[tokio::test]
async fn the_command_subscribes_from_a_place_in_what_is_kept() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let served = Served::with(Setup {
        args: vec!["--backend", &url],
        config: "[topics.room.keep]\ntime = '1h'",
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    let mut positions = Vec::new();
    for number in 0..4 {
        let body = json!({"data": number});
        let answer = served.post("/v1/events/room:42", body).await.json();
        positions.push(answer["position"].as_str().unwrap().to_owned());
    }
    let print = async |arguments: &[&str]| {
        let mut command = quorate();
        command
            .args(["subscribe", "--backend", &url])
            .args(arguments);
        run(&mut command).await
    };
    let lines = |stdout: &str| -> Vec<Value> {
        let lines = stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let data = |stdout: &str| -> Vec<Value> {
        lines(stdout)
            .iter()
            .map(|line| line["data"].clone())
            .collect()
    };
    let all = print(&["room:42", "--from-beginning", "--count", "4"]).await;
    assert_eq!(all.code, Some(0), "{all:?}");
    assert_eq!(data(&all.stdout), [0, 1, 2, 3]);
    // What is published meanwhile comes after it, whenever that is.
    let after = ["room:42", "--after", &positions[1], "--count", "3"];
    let (rest, _) = tokio::join!(
        print(&after),
        served.post("/v1/events/room:42", json!({"data": 4}))
    );
    assert_eq!(data(&rest.stdout), [2, 3, 4]);
    let first = &lines(&rest.stdout)[0];
    assert_eq!(first["position"], positions[2]);

    for (arguments, says) in [
        (&["room:*", "--from-beginning"][..], "not a pattern"),
        (&["room:*", "--after", &positions[0]], "not a pattern"),
        (&["room:42", "--after", "yesterday"], "--after"),
        (
            &["room:42", "--from-beginning", "--after", &positions[0]],
            "cannot be used with",
        ),
    ] {
        let refused = print(arguments).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
}
