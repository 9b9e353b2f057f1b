//! Who is in a room.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Client, Served};

async fn served() -> Served {
    Served::start(|hub| hub.presence("room").unwrap()).await
}

/// Connects, and says which id it was given.
async fn connect(served: &Served) -> (Client, String) {
    let mut client = served.connect().await;
    let hello = client.next().await;
    let id = hello["client"].as_str().unwrap().to_owned();
    (client, id)
}

async fn enter(client: &mut Client, members: bool) {
    client
        .send(json!({"id": 1, "subscribe": "room", "params": 42, "members": members}))
        .await;
    assert_eq!(client.event().await["ok"], true);
}

/// Follows presence frames until the roster is this one.
async fn expect(client: &mut Client, roster: &mut BTreeSet<String>, expected: &[&String]) {
    let expected: BTreeSet<_> = expected.iter().copied().cloned().collect();
    while *roster != expected {
        let frame = client.event().await;
        assert_eq!(
            (&frame["event"], &frame["topic"]),
            (&json!("presence"), &json!("room:42"))
        );
        let ids = |name: &str| {
            let members = frame[name].as_array().cloned().unwrap_or_default();
            members
                .into_iter()
                .map(|member| member["client"].as_str().unwrap().to_owned())
        };
        if frame.get("members").is_some() {
            roster.clear();
        }
        roster.extend(ids("members"));
        roster.extend(ids("joined"));
        for id in ids("left") {
            assert!(roster.remove(&id), "{id} was not there: {frame}");
        }
        assert_eq!(frame["count"], roster.len(), "{frame}");
    }
}

#[tokio::test]
async fn members_of_all_instances_see_each_other_come_and_go() {
    let first = served().await;
    let fleet = first.fleet.instance("other").await.unwrap();
    let second = Served::on(fleet, |hub| hub.presence("room").unwrap()).await;
    let (mut ada, ada_id) = connect(&first).await;
    let mut roster = BTreeSet::new();
    enter(&mut ada, true).await;
    expect(&mut ada, &mut roster, &[&ada_id]).await;

    let (mut bob, bob_id) = connect(&second).await;
    enter(&mut bob, false).await;
    expect(&mut ada, &mut roster, &[&ada_id, &bob_id]).await;
    let (mut eve, eve_id) = connect(&second).await;
    enter(&mut eve, true).await;
    let mut seen = BTreeSet::new();
    expect(&mut eve, &mut seen, &[&ada_id, &bob_id, &eve_id]).await;

    // One unsubscribes, one leaves without a word, one whole instance drains.
    bob.send(json!({"id": 2, "unsubscribe": "room", "params": 42}))
        .await;
    assert_eq!(bob.event().await["ok"], true);
    expect(&mut ada, &mut roster, &[&ada_id, &eve_id]).await;
    drop(eve);
    expect(&mut ada, &mut roster, &[&ada_id]).await;
    enter(&mut bob, false).await;
    expect(&mut ada, &mut roster, &[&ada_id, &bob_id]).await;
    second.hub.drain().await;
    expect(&mut ada, &mut roster, &[&ada_id]).await;
}

#[tokio::test]
async fn who_is_there_can_be_asked_without_being_there() {
    let served = served().await;
    let (mut ada, ada_id) = connect(&served).await;
    enter(&mut ada, false).await;
    let (mut bob, _) = connect(&served).await;
    bob.send(json!({"id": 6, "presence": "room", "params": 42}))
        .await;
    assert_eq!(
        bob.event().await,
        json!({"id": 6, "ok": true, "topic": "room:42", "count": 1, "members": [{"client": ada_id}]})
    );
    for frame in [
        json!({"id": 7, "presence": "other"}),
        json!({"id": 7, "subscribe": "other", "members": true}),
        json!({"id": 7, "subscribe": "room:*", "members": true}),
    ] {
        bob.send(frame.clone()).await;
        let answer = bob.event().await;
        assert_eq!(
            answer["error"]["code"], "FAILED_PRECONDITION",
            "{frame}: {answer}"
        );
    }
}

#[tokio::test]
async fn many_who_come_and_go_at_once_leave_an_exact_roster() {
    const CLIENTS: usize = 60;
    let served = served().await;
    let (mut watcher, watcher_id) = connect(&served).await;
    let mut roster = BTreeSet::new();
    enter(&mut watcher, true).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(&served).await);
    }
    let entering = clients.iter_mut().map(|(client, _)| enter(client, false));
    futures_util::future::join_all(entering).await;
    let gone: Vec<_> = clients.drain(..CLIENTS / 2).collect();
    drop(gone);
    let mut expected: Vec<_> = clients.iter().map(|(_, id)| id).collect();
    expected.push(&watcher_id);
    expect(&mut watcher, &mut roster, &expected).await;
    let value: Value = json!(roster.len());
    assert_eq!(value, CLIENTS / 2 + 1);
}

#[tokio::test]
async fn who_is_there_can_be_asked_for_later() {
    let served = served().await;
    let (mut ada, ada_id) = connect(&served).await;
    enter(&mut ada, false).await;
    enter(&mut ada, true).await;
    let mut roster = BTreeSet::new();
    expect(&mut ada, &mut roster, &[&ada_id]).await;
    let (mut bob, bob_id) = connect(&served).await;
    enter(&mut bob, false).await;
    expect(&mut ada, &mut roster, &[&ada_id, &bob_id]).await;

    // Where there is no presence, the subscription stays as it is.
    for (members, answer) in [(false, "ok"), (true, "error"), (false, "ok")] {
        ada.send(json!({"id": 2, "subscribe": "plain", "members": members}))
            .await;
        assert!(ada.event().await.get(answer).is_some());
    }
}
