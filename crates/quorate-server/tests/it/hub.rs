//! What an instance tells about its hub, and about the others.

use std::time::Duration;

use quorate_testing::servers::{Server, ServerKind};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::support::{PATIENCE, Served, Setup, Ws};

const CONFIG: &str =
    "[topics.room]\npresence = true\n[topics.room.keep]\ntime = '1h'\nmessages = 10";

/// A client, and the id it was given.
async fn client(served: &Served) -> (Ws, String) {
    let mut ws = served.ws(&[]).await.unwrap();
    let hello = ws.until(|frame| frame["event"] == "hello").await;
    (ws, hello["client"].as_str().unwrap().to_owned())
}

async fn subscribe(ws: &mut Ws, topic: &str) {
    ws.send(json!({"id": topic, "subscribe": topic})).await;
    let answer = ws.until(|frame| frame["id"] == topic).await;
    assert_eq!(answer["ok"], true, "{answer}");
}

/// Asks until the answer is so.
async fn until(served: &Served, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        loop {
            let answer = served.get(path).await.json();
            if wanted(&answer) {
                return answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("the answer changes")
}

#[tokio::test]
async fn topics_show_their_clients_messages_and_what_is_kept() {
    let served = Served::configured(CONFIG).await;
    let (mut a, _) = client(&served).await;
    let (mut b, _) = client(&served).await;
    subscribe(&mut a, "room:42").await;
    subscribe(&mut b, "room:42").await;
    subscribe(&mut b, "orders:*").await;
    let mut position = Value::Null;
    for number in 0..3 {
        let body = json!({"data": number});
        let answer = served.post("/v1/events/room:42", body).await.json();
        position = answer["position"].clone();
        a.until(|frame| frame["data"] == number).await;
    }
    let hub = served.get("/v1/hub").await.json();
    assert_eq!(
        (&hub["clients"], &hub["subscriptions"], &hub["matching"]),
        (&json!(2), &json!(3), &json!(2)),
        "{hub}"
    );
    assert!(hub["messages_per_second"].as_f64().unwrap() > 0.0, "{hub}");
    assert_eq!(hub["kept"][0]["topic"], "room");
    let room = &hub["topics"][0];
    assert_eq!(room["topic"], "room:42", "the busiest comes first");
    assert_eq!(
        (&room["clients"], &room["messages"], &room["position"]),
        (&json!(2), &json!(3), &position)
    );
    assert_eq!(
        room["keep"],
        json!({"time_ms": 3_600_000, "messages": 10, "bytes": 16_777_216})
    );
    let orders = &hub["topics"][1];
    assert_eq!(
        (&orders["pattern"], &orders["keep"], &orders["position"]),
        (&json!(true), &Value::Null, &Value::Null)
    );

    let some = served.get("/v1/hub?filter=ORDERS&limit=1").await.json();
    assert_eq!(
        (&some["matching"], &some["clients"]),
        (&json!(1), &json!(2))
    );
    let none = served.get("/v1/hub?filter=%25%3Cscript").await.json();
    assert_eq!(none["topics"], json!([]));

    // Nobody is subscribed any more: the topic is not shown, and counts nothing.
    drop((a, b));
    until(&served, "/v1/hub", |hub| {
        hub["clients"] == 0 && hub["topics"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_client_shows_what_it_is_subscribed_to_until_it_leaves() {
    let served = Served::configured(CONFIG).await;
    let (mut ws, id) = client(&served).await;
    let (_other, other) = client(&served).await;
    subscribe(&mut ws, "orders:*").await;
    subscribe(&mut ws, "room").await;
    let answer = served.post("/v1/events/room", json!({"data": 1})).await;
    let position = answer.json()["position"].clone();
    ws.until(|frame| frame["event"] == "message").await;

    let list = served.get("/v1/hub/clients").await.json();
    let listed: Vec<_> = list["clients"].as_array().unwrap().iter().collect();
    assert_eq!(listed.len(), 2, "{list}");
    assert_eq!(listed[0]["client"], id, "the longest connected comes first");
    assert_eq!(listed[0]["subscribed"], 2);
    let address = listed[0]["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let of = |list: &Value| list["clients"][0]["client"].clone();
    for filter in [&id[3..], "orders", address] {
        let found = served
            .get(&format!("/v1/hub/clients?filter={filter}"))
            .await;
        assert_eq!(of(&found.json()), id, "{filter}");
    }
    let found = served.get(&format!("/v1/hub/clients?filter={other}")).await;
    assert_eq!(found.json()["matching"], 1);
    let first = served.get("/v1/hub/clients?limit=1").await.json();
    assert_eq!(
        (
            &first["matching"],
            first["clients"].as_array().unwrap().len()
        ),
        (&json!(2), 1)
    );

    let path = format!("/v1/hub/clients/{id}");
    let shown = served.get(&path).await.json();
    assert_eq!(
        (&shown["transport"], &shown["backlog"], &shown["dropped"]),
        (&json!("ws"), &json!(0), &json!(0))
    );
    let subscriptions = shown["subscriptions"].as_array().unwrap();
    assert_eq!(subscriptions[0]["topic"], "orders:*");
    assert_eq!(subscriptions[0]["position"], Value::Null);
    assert_eq!(subscriptions[1]["topic"], "room");
    assert_eq!(subscriptions[1]["position"], position);
    assert_eq!(subscriptions[1]["catching_up"], false);

    drop(ws);
    until(&served, "/v1/hub", |hub| hub["clients"] == 1).await;
    let gone = served.get(&path).await;
    gone.problem(404, "NOT_FOUND", "connected to this instance");
}

/// Whoever was let in publishes over its connection as it does over HTTP.
#[tokio::test]
async fn clients_publish_over_their_connection() {
    let served = Served::with(Setup {
        env: vec![("QUORATE_TOKEN", "correct-horse-battery-staple")],
        config: CONFIG,
        ..Setup::default()
    })
    .await;
    let token = [("authorization", "Bearer correct-horse-battery-staple")];
    assert!(served.ws(&[]).await.is_err(), "not without the token");
    let mut ada = served.ws(&token).await.unwrap();
    let mut bob = served.ws(&token).await.unwrap();
    subscribe(&mut ada, "room:42").await;
    subscribe(&mut bob, "room:42").await;
    let said =
        json!({"id": 1, "publish": "room", "params": 42, "data": {"text": "hi"}, "echo": false});
    ada.send(said).await;
    let answer = ada.until(|frame| frame["id"] == 1).await;
    assert_eq!(answer["topic"], "room:42", "{answer}");
    let heard = bob.until(|frame| frame["event"] == "message").await;
    assert_eq!(
        (&heard["data"]["text"], &heard["position"]),
        (&json!("hi"), &answer["position"])
    );
    // Its own it does not hear, but what the other says.
    let body = r#"{"data": "next"}"#;
    let json = [token[0], ("content-type", "application/json")];
    served.send("POST", "/v1/events/room:42", &json, body).await;
    let next = ada.until(|frame| frame["event"] == "message").await;
    assert_eq!(next["data"], "next");

    for (id, topic) in [(2, "not a name"), (3, "room:*")] {
        ada.send(json!({"id": id, "publish": topic, "data": 1}))
            .await;
        let refused = ada.until(|frame| frame["id"] == id).await;
        assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT", "{refused}");
    }
}

#[tokio::test]
async fn presence_is_of_all_instances_and_ends_with_the_connection() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let setup = || Setup {
        args: vec!["--backend", &url],
        config: CONFIG,
        ..Setup::default()
    };
    let (a, b) = tokio::join!(Served::with(setup()), Served::with(setup()));
    tokio::join!(a.until_ready(true), b.until_ready(true));
    let (mut ws, id) = client(&a).await;
    subscribe(&mut ws, "room:42").await;
    let seen = until(&b, "/v1/presence/room?params=42", |it| it["count"] == 1).await;
    assert_eq!(seen["topic"], "room:42");
    assert_eq!(seen["members"][0]["client"], id);
    drop(ws);
    until(&b, "/v1/presence/room:42", |it| {
        *it == json!({"topic": "room:42", "count": 0, "members": []})
    })
    .await;
}

/// Instances see each other with their numbers, and one that is killed is gone with its lease, one that is
/// stopped at once.
#[tokio::test]
async fn instances_see_each_other_and_that_one_died() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let setup = || Setup {
        args: vec!["--backend", &url],
        config: "[fleet]\npresence_lease = '2s'",
        ..Setup::default()
    };
    let (a, b) = tokio::join!(Served::with(setup()), Served::with(setup()));
    tokio::join!(a.until_ready(true), b.until_ready(true));
    let (mut ws, _) = client(&b).await;
    subscribe(&mut ws, "room").await;
    // Asked until it is so: on a machine that stands still for as long as a lease, anybody is gone for a moment.
    let shown = |list: &Value, served: &Served, own: bool| {
        let mut list = list["instances"].as_array().unwrap().iter();
        let mut it = list.find(|it| it["listen"] == served.authority).cloned();
        it.take_if(|it| it["own"] == own && it["state"] == "ready")
    };
    let is_busy = |it: &Value| {
        ["clients", "subscriptions", "topics"]
            .iter()
            .all(|of| it[of] == 1)
    };
    let busy = |list: &Value| {
        shown(list, &a, true).is_some() && shown(list, &b, false).is_some_and(|it| is_busy(&it))
    };
    until(&a, "/v1/instances", busy).await;

    b.signal(Signal::KILL);
    let alone = |list: &Value| {
        shown(list, &a, true).is_some() && list["instances"].as_array().unwrap().len() == 1
    };
    until(&a, "/v1/instances", alone).await;

    let mut c = Served::with(setup()).await;
    until(&a, "/v1/instances", |list| shown(list, &c, false).is_some()).await;
    c.signal(Signal::TERM);
    c.ended().await;
    let list = a.get("/v1/instances").await.json();
    assert!(shown(&list, &c, false).is_none(), "{list}");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_and_the_token_is_wanted() {
    let served = Served::with(Setup {
        env: vec![("QUORATE_TOKEN", "correct-horse-battery-staple")],
        ..Setup::default()
    })
    .await;
    let token = [("authorization", "Bearer correct-horse-battery-staple")];
    for (path, says) in [
        ("/v1/hub?limit=0", "limit must be from 1 to 1000"),
        ("/v1/hub?limit=1001", "limit must be from 1 to 1000"),
        ("/v1/hub?limit=-1", "limit"),
        ("/v1/hub?colour=red", "colour"),
        ("/v1/hub/clients?limit=many", "limit"),
        ("/v1/presence/not%20a%20name", "topic may contain only"),
        ("/v1/presence/room?key=42", "key"),
    ] {
        let answer = served.send("GET", path, &token, "").await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    let unknown = served
        .send("GET", "/v1/hub/clients/c-0%0a%3Cb%3E", &token, "")
        .await;
    unknown.problem(404, "NOT_FOUND", "no client of this id");
    for path in [
        "/v1/hub",
        "/v1/hub/clients",
        "/v1/hub/clients/c-0",
        "/v1/instances",
        "/v1/presence/room",
    ] {
        let answer = served.get(path).await;
        answer.problem(401, "UNAUTHENTICATED", "token");
    }
}
