//! `quorate lock`, but for running a command under one.

use std::process::Stdio;

use quorate_testing::servers::{Server, ServerKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
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

/// What a command writes under a lock is fenced by the token that it is run with.
#[tokio::test]
async fn a_command_under_a_lock_writes_with_its_token() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let store = |verb: &str, rest: &[&str]| {
        let mut command = quorate();
        command.args(["store", verb, "--backend", &url, "reports", "may"]);
        command.args(rest);
        command
    };
    let under_lock = async |value: &str| {
        let mut command = quorate();
        command.args(["lock", "run", "report", "--backend", &url, "--", "sh", "-c"]);
        command.arg("$0 store set reports may $1 --fence $QUORATE_FENCE && echo $QUORATE_FENCE");
        command.args([env!("CARGO_BIN_EXE_quorate"), value]);
        command.env("QUORATE_BACKEND", &url);
        let ended = run(&mut command).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.trim().to_owned()
    };
    let old = under_lock("1").await;
    let new = under_lock("2").await;
    for (verb, rest) in [
        ("set", &["3"][..]),
        ("set", &["3", "--if-value", "2"]),
        ("set", &["3", "--ttl", "1h"]),
        ("delete", &[]),
        ("delete", &["--if-value", "2"]),
        ("increment", &[]),
        ("expire", &["1h"]),
        ("expire", &[]),
    ] {
        let late = run(store(verb, rest).args(["--fencing-token", &old])).await;
        assert_eq!(late.code, Some(4), "{verb} {rest:?}: {late:?}");
        assert!(late.stderr.contains(&format!("token {new}")), "{late:?}");
        assert_eq!(late.stdout, "");
    }
    assert_eq!(run(&mut store("get", &[])).await.stdout, "2\n");
    for (verb, rest) in [
        ("increment", &["--by", "2"][..]),
        ("expire", &["1h"]),
        ("delete", &[]),
    ] {
        let holder = run(store(verb, rest).args(["--fencing-token", &new])).await;
        assert_eq!(holder.code, Some(0), "{verb}: {holder:?}");
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_signal_is_passed_on_and_the_lock_given_back() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
    ] {
        // Not ended by it: the command may have something to put in order.
        let command = format!("trap 'exit 9' {name}; echo started; while :; do sleep 0.01; done");
        let mut holder = quorate()
            .args(["lock", "run", "report", "--backend", &url])
            .args(["--", "sh", "-c", &command])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        send(&holder, signal);
        let status = timeout(PATIENCE, holder.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(9), "{name}");
        let next =
            run(quorate().args(["lock", "run", "report", "--backend", &url, "--", "true"])).await;
        assert_eq!(next.code, Some(0), "{name}: {next:?}");
    }
}

/// Ctrl-C while the lock is waited for: nothing runs, and nothing is left in the queue.
#[tokio::test]
async fn a_signal_ends_the_waiting_and_gives_up_the_place_in_the_queue() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let lock_run = |rest: &[&str]| {
        let mut command = quorate();
        command.args(["lock", "run", "report", "--backend", &url]);
        command.args(rest).stdin(Stdio::piped()).spawn().unwrap()
    };
    let waiting = async || {
        let shown = run(quorate().args(["lock", "show", "report", "--backend", &url])).await;
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        shown["waiting"].as_u64().unwrap()
    };
    let mut holder = lock_run(&["--", "sh", "-c", "echo started; cat"]);
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let waiter = lock_run(&["--wait", "1h", "--", "echo", "it ran"]);
        timeout(PATIENCE, async { while waiting().await == 0 {} })
            .await
            .expect("it waits");
        send(&waiter, signal);
        let ended = timeout(PATIENCE, waiter.wait_with_output());
        let ended = ended.await.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
        assert_eq!(waiting().await, 0);
    }
    drop(holder.stdin.take());
    let status = timeout(PATIENCE, holder.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}
