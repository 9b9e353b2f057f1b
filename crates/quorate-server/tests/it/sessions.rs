//! `/v1/sessions` and `quorate session`.

use quorate::{Fleet, SessionKey, SessionRef};
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};

use crate::support::{Served, quorate, run};

async fn create(served: &Served, body: Value) -> Value {
    let answer = served.post("/v1/sessions", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn check(served: &Served, id: &Value, touch: bool) -> Value {
    let body = json!({"id": id, "touch": touch});
    let answer = served.post("/v1/sessions/check", body).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test]
async fn sessions_are_made_looked_at_listed_and_ended() {
    let served = Served::start().await;
    let fields = json!({"cart": [7], "theme": "dark"});
    let one = json!({"user": "alice", "ttl": "1h", "absolute": "2h", "device_info": "Firefox", "fields": fields});
    let one = create(&served, one).await;
    assert_eq!(one["expires_in_ms"], 3_600_000);
    let two = create(&served, json!({"user": "alice"})).await;
    let nobodys = create(&served, json!({})).await;

    let checked = check(&served, &one["id"], true).await;
    assert_eq!(
        (&checked["valid"], &checked["fields"]),
        (&json!(true), &fields)
    );
    let session = &checked["session"];
    assert_eq!(
        (&session["user"], &session["handle"]),
        (&json!("alice"), &one["handle"])
    );
    assert_eq!(
        (&session["ttl_ms"], &session["device_info"]),
        (&json!(3_600_000), &json!("Firefox"))
    );
    assert!(session["ends_at_last"].is_string() && session["created_at"].is_string());
    let anonymous = check(&served, &nobodys["id"], false).await;
    assert_eq!(
        (&anonymous["valid"], &anonymous["session"]["user"]),
        (&json!(true), &Value::Null)
    );
    for wrong in [json!("junk"), one["handle"].clone()] {
        assert_eq!(check(&served, &wrong, true).await, json!({"valid": false}));
    }

    let answer = served.get("/v1/sessions?user=alice").await;
    let secret = one["id"].as_str().unwrap();
    assert!(!answer.text().contains(secret) && !answer.text().contains("dark"));
    let list = answer.json();
    let handles: Vec<_> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["handle"])
        .collect();
    assert_eq!(handles, [&two["handle"], &one["handle"]]);
    assert_eq!(list["sessions"][1]["fields"], json!(["cart", "theme"]));
    let count = async || served.get("/v1/sessions/count?user=alice").await.json();
    assert_eq!(count().await, json!({"count": 2}));

    let path = |handle: &Value| format!("/v1/sessions/{}", handle.as_str().unwrap());
    for ended in [1, 0] {
        let answer = served.send("DELETE", &path(&two["handle"]), &[], "").await;
        assert_eq!(answer.json(), json!({"ended": ended}));
    }
    assert_eq!(check(&served, &two["id"], false).await["valid"], false);
    for _ in 0..3 {
        create(&served, json!({"user": "alice"})).await;
    }
    let keep = one["handle"].as_str().unwrap();
    let others = format!("/v1/sessions?user=alice&keep={keep}");
    assert_eq!(
        served.send("DELETE", &others, &[], "").await.json(),
        json!({"ended": 3})
    );
    assert_eq!(count().await, json!({"count": 1}));
    let all = served
        .send("DELETE", "/v1/sessions?user=alice", &[], "")
        .await;
    assert_eq!(all.json(), json!({"ended": 1}));
    assert_eq!(
        check(&served, &one["id"], true).await,
        json!({"valid": false})
    );
}

#[tokio::test]
async fn fields_change_together_and_ids_are_replaced() {
    let served = Served::start().await;
    let fields = json!({"cart": [7], "theme": "dark"});
    let one = create(&served, json!({"fields": fields})).await;
    let post = async |verb: &str, body: Value| {
        let answer = served.post(&format!("/v1/sessions/{verb}"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let id = &one["id"];
    let update = json!({"id": id, "set": {"cart": [7, 8]}, "set_for": "1h", "remove": ["theme"]});
    assert_eq!(post("update", update).await, json!({"updated": true}));
    let checked = check(&served, id, false).await;
    assert_eq!(checked["fields"], json!({"cart": [7, 8]}));

    let rotated = post("rotate", json!({"id": id, "overlap": "1h"})).await;
    assert_eq!(rotated["outcome"], "rotated");
    let again = post("rotate", json!({"id": id})).await;
    assert_eq!(again, json!({"outcome": "superseded"}));
    assert_eq!(check(&served, id, false).await["valid"], true);

    let new = &rotated["session"]["id"];
    let login = json!({"id": new, "user": "alice", "ttl": "1h"});
    let logged_in = post("rotate", login).await;
    assert_eq!(logged_in["session"]["expires_in_ms"], 3_600_000);
    let checked = check(&served, &logged_in["session"]["id"], false).await;
    assert_eq!(checked["session"]["user"], "alice");
    assert_eq!(checked["fields"], json!({"cart": [7, 8]}));
    for old in [id, new, &json!("junk")] {
        assert_eq!(check(&served, old, false).await["valid"], false);
        let gone = json!({"outcome": "gone"});
        assert_eq!(post("rotate", json!({"id": old})).await, gone);
        let update = json!({"id": old, "remove": ["cart"]});
        assert_eq!(post("update", update).await, json!({"updated": false}));
    }
}

#[tokio::test]
async fn who_has_too_many_sessions_loses_the_oldest() {
    let served = Served::start().await;
    let one = create(&served, json!({"user": "alice"})).await;
    let two = create(&served, json!({"user": "alice", "max_per_user": 1})).await;
    assert_eq!(two["evicted"], json!([one["handle"]]));
}

#[tokio::test]
async fn what_breaks_a_rule_of_sessions_is_refused_with_it() {
    let served = Served::start().await;
    for (body, says) in [
        (json!({"user": ""}), "user must"),
        (json!({"user": "a", "ttl": "1ms"}), "ttl must be"),
        (
            json!({"user": "a", "max_per_user": 0}),
            "max_per_user must be from 1 to 1000",
        ),
        (
            json!({"user": "a", "device_info": ""}),
            "device_info must be",
        ),
        (json!({"user": "a", "fields": {"a b": 1}}), "field "),
        (json!({"user": "a", "id": "x"}), "`id` is not a member"),
    ] {
        let answer = served.post("/v1/sessions", body).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    for (path, body, says) in [
        ("update", json!({"id": "x", "set": {"a b": 1}}), "field "),
        ("update", json!({"id": "x", "remove": [""]}), "field "),
        ("update", json!({"set": {}}), "id"),
        (
            "rotate",
            json!({"id": "x", "ttl": "1h"}),
            "ttl must be left out",
        ),
        (
            "rotate",
            json!({"id": "x", "user": "a", "overlap": "1s"}),
            "overlap must be left out",
        ),
    ] {
        let answer = served.post(&format!("/v1/sessions/{path}"), body).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    let keep = create(&served, json!({"user": "bob"})).await["handle"].clone();
    let others = format!("/v1/sessions?user=alice&keep={}", keep.as_str().unwrap());
    for (method, path, says) in [
        ("GET", "/v1/sessions", "user"),
        ("GET", "/v1/sessions?user=a&x=1", "`x` is not a parameter"),
        ("DELETE", "/v1/sessions/junk", "handle must be"),
        ("DELETE", "/v1/sessions?user=a&keep=junk", "handle must be"),
        ("DELETE", &others, "keep must be a session of this user"),
    ] {
        let answer = served.send(method, path, &[], "").await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
}

/// With the services' own key, and not without.
#[tokio::test]
async fn the_command_line_lists_and_revokes() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&redis.url()).await.unwrap();
    let sessions = fleet.sessions().partition_key("a secret");
    let key = SessionKey::<u32>::new("visits");
    let one = sessions
        .create("alice")
        .device_info("phone")
        .field(&key, &1)
        .await
        .unwrap()
        .id;
    let two = sessions.create("alice").await.unwrap().id;
    let command = async |arguments: &[&str], key: &str| {
        let mut command = quorate();
        command
            .arg("session")
            .args(arguments)
            .env("QUORATE_BACKEND", redis.url());
        run(command.env("QUORATE_SESSION_KEY", key)).await
    };
    assert_eq!(command(&["list", "alice"], "").await.stdout, "");
    let listed = command(&["list", "alice"], "a secret").await;
    let lines: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{listed:?}");
    assert_eq!(lines[1]["device_info"], "phone");
    assert_eq!(lines[1]["fields"], json!(["visits"]));
    let handle = one.handle().to_string();
    assert_eq!(lines[1]["handle"], handle.as_str());
    for (code, ended) in [(0, 1), (4, 0)] {
        let revoked = command(&["revoke", &handle], "").await;
        assert_eq!(revoked.code, Some(code), "{revoked:?}");
        assert_eq!(revoked.stdout.trim(), format!("{{\"ended\":{ended}}}"));
    }
    sessions.create("alice").await.unwrap();
    let keep = two.handle().to_string();
    let revoked = command(&["revoke", "--user", "alice", "--keep", &keep], "a secret").await;
    assert_eq!(
        (revoked.code, revoked.stdout.trim()),
        (Some(0), "{\"ended\":1}")
    );
    let revoked = command(&["revoke", "--user", "alice"], "a secret").await;
    assert_eq!(
        (revoked.code, revoked.stdout.trim()),
        (Some(0), "{\"ended\":1}")
    );
    assert!(!sessions.is_valid(&two).await.unwrap());
    for wrong in [
        &["revoke"][..],
        &["revoke", "junk"],
        &["revoke", &handle, "--user", "a"],
    ] {
        assert_eq!(command(wrong, "").await.code, Some(2));
    }
}
