//! How often the server is asked.

use std::time::Duration;

use quorate::{Fleet, SessionKey};
use quorate_testing::servers::{Server, ServerKind};

const COUNT: SessionKey<u32> = SessionKey::new("count");

/// How many scripts the server was asked to run. No script runs another.
async fn scripts(server: &Server) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).await.unwrap();
    let calls = info
        .as_str()
        .unwrap()
        .lines()
        .filter_map(|line| {
            let names = ["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall"];
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            names.contains(&name).then_some(rest.split_once(',')?.0)
        })
        .map(|calls| calls.parse::<u64>().unwrap());
    calls.sum()
}

/// What is asked about a session is asked once, also for a thousand of them.
#[tokio::test]
async fn every_call_about_sessions_is_one_round_trip() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let sessions = fleet.sessions();
    for known in [false, true] {
        let mut before = scripts(&server).await;
        let mut once = async |what: &str| {
            let now = scripts(&server).await;
            // The first time a script is sent, the server may have to be told it.
            assert!(!known || now - before == 1, "{what}: {}", now - before);
            before = now;
        };
        let id = sessions.create("alice").field(&COUNT, &1).await.unwrap().id;
        once("create").await;
        assert!(sessions.get(&id).await.unwrap().is_some());
        once("get").await;
        assert!(sessions.get_and_touch(&id).await.unwrap().is_some());
        once("get_and_touch").await;
        assert!(sessions.touch(&id).await.unwrap());
        once("touch").await;
        assert!(sessions.is_valid(&id).await.unwrap());
        once("is_valid").await;
        sessions.update(&id).set(&COUNT, &2).await.unwrap();
        once("update").await;
        assert_eq!(sessions.take(&id, &COUNT).await.unwrap(), Some(2));
        once("take").await;
        let id = sessions.rotate(&id).await.unwrap().rotated().unwrap().id;
        once("rotate").await;
        assert_eq!(sessions.count("alice").await.unwrap(), 1);
        once("count").await;
        assert_eq!(sessions.list("alice").await.unwrap().len(), 1);
        once("list").await;
        assert_eq!(sessions.delete_others("alice", &id).await.unwrap(), 0);
        once("delete_others").await;
        assert!(sessions.delete(&id).await.unwrap());
        once("delete").await;
        assert_eq!(sessions.delete_all("alice").await.unwrap(), 0);
        once("delete_all").await;
    }
    for _ in 0..1000 {
        let _ = sessions.create("bob").await.unwrap();
    }
    let before = scripts(&server).await;
    assert_eq!(sessions.list("bob").await.unwrap().len(), 1000);
    assert_eq!(scripts(&server).await, before + 1);
    let evicting = sessions.create("bob").await.unwrap();
    assert_eq!(evicting.evicted.len(), 1);
    assert_eq!(sessions.delete_all("bob").await.unwrap(), 1000);
    assert_eq!(scripts(&server).await, before + 3);
}

/// What an engine asks, it asks once, also for the results of a thousand tasks.
#[tokio::test]
async fn every_call_about_executions_is_one_round_trip() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let checkouts = fleet.executions("checkout").ttl(Duration::from_secs(60));
    checkouts.begin("long").await.unwrap();
    for number in 0..1000 {
        let task = number.to_string();
        let commit = checkouts.commit_result("long", &task, &number);
        commit.await.unwrap();
    }
    for known in [false, true] {
        let mut before = scripts(&server).await;
        let mut once = async |what: &str| {
            let now = scripts(&server).await;
            // The first time a script is sent, the server may have to be told it.
            assert!(!known || now - before == 1, "{what}: {}", now - before);
            before = now;
        };
        let order = if known { "b" } else { "a" };
        checkouts.begin(order).await.unwrap();
        once("begin").await;
        assert!(checkouts.is_in_progress(order).await.unwrap());
        once("is_in_progress").await;
        checkouts.begin_task(order, "charge").await.unwrap();
        once("begin_task").await;
        let in_progress = checkouts.is_task_in_progress(order, "charge").await;
        assert!(in_progress.unwrap());
        once("is_task_in_progress").await;
        assert!(checkouts.abandon_task(order, "charge").await.unwrap());
        once("abandon_task").await;
        checkouts.commit_result(order, "charge", &1).await.unwrap();
        once("commit_result").await;
        let result = checkouts.result::<u32>(order, "charge").await.unwrap();
        assert_eq!(result, Some(1));
        once("result").await;
        assert_eq!(checkouts.results("long").await.unwrap().len(), 1000);
        once("results").await;
        assert!(checkouts.dispose(order).await.unwrap());
        once("dispose").await;
    }
}
