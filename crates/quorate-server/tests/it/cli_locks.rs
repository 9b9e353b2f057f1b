//! `quorate lock`, but for running a command under one.

use std::process::Stdio;

use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::support::{PATIENCE, quorate, run};

#[tokio::test]
async fn a_lock_is_shown_and_taken_away() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let lock = |verb: &str, rest: &[&str]| {
        let mut command = quorate();
        command
            .args(["lock", verb, "report", "--backend", &url])
            .args(rest);
        command
    };
    let mut holder = lock(
        "run",
        &[
            "--",
            "sh",
            "-c",
            "echo $QUORATE_FENCE $QUORATE_FENCING_TOKEN; exec sleep 60",
        ],
    )
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let line = line.expect("both are set");
    let shown = run(&mut lock("show", &[])).await;
    assert_eq!(shown.code, Some(0));
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let token = shown["holders"][0]["fencing_token"].as_u64().unwrap();
    assert_eq!(shown["waiting"], 0);
    assert_eq!(line, format!("{token} {token}"));
    let other = (token - 1).to_string();
    let missed = run(&mut lock("force-release", &["--fencing-token", &other])).await;
    assert_eq!(missed.code, Some(4));
    let forced = run(&mut lock("force-release", &[])).await;
    assert_eq!(forced.code, Some(0));
    let forced: Value = serde_json::from_str(&forced.stdout).unwrap();
    assert_eq!(forced, json!({ "fencing_tokens": [token] }));
    // The command is ended though its lease would have gone on.
    let ended = timeout(PATIENCE, holder.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(76));
    let nobody = run(&mut lock("force-release", &[])).await;
    assert_eq!(nobody.code, Some(4));
}

/// Commands that share a lock run together, and what holds permits is listed by its kind.
#[tokio::test]
async fn commands_share_a_lock_and_hold_permits_of_one() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let lock = |verb: &str, rest: &[&str]| {
        let mut command = quorate();
        command.args(["lock", verb, "--backend", &url]).args(rest);
        command
    };
    let mut holders = Vec::new();
    for how in [
        &["--shared"][..],
        &["--shared"],
        &["--permits", "2", "--of", "3"],
    ] {
        let mut command = lock("run", how);
        command.args(["report", "--", "sh", "-c", "echo started; cat"]);
        let mut holder = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        assert_eq!(line.as_deref(), Some("started"));
        holders.push(holder);
    }
    for how in [&["--exclusive"][..], &["--permits", "2", "--of", "3"]] {
        let refused = run(lock("run", how).args(["report", "--", "true"])).await;
        assert_eq!(refused.code, Some(75), "{refused:?}");
    }
    let listed = run(&mut lock("list", &["re"])).await;
    let listed: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &str| {
        let lock = listed.iter().find(|lock| lock["kind"] == kind);
        let holders = lock.unwrap()["holders"].as_array().unwrap();
        holders
            .iter()
            .map(|it| it["weight"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (listed.len(), of("read_write"), of("semaphore")),
        (2, vec![1, 1], vec![2])
    );
    let only = run(&mut lock("list", &["--kind", "semaphore"])).await;
    assert_eq!(only.stdout.lines().count(), 1);
    let forced = run(&mut lock(
        "force-release",
        &["report", "--kind", "semaphore"],
    ))
    .await;
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let mut permits = holders.pop().unwrap();
    let ended = timeout(PATIENCE, permits.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(76));
    for mut holder in holders {
        drop(holder.stdin.take());
        let ended = timeout(PATIENCE, holder.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}
