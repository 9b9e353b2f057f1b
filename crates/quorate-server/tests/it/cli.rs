//! The other commands.

use std::process::Stdio;

use quorate_testing::servers::{Server, ServerKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

use crate::support::{PATIENCE, quorate, run};

/// A running `quorate subscribe`.
struct Subscribed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _errors: Lines<BufReader<ChildStderr>>,
}

impl Subscribed {
    async fn start(redis: &Server, args: &[&str]) -> Self {
        let mut command = quorate();
        command
            .args(["subscribe", "--backend", &redis.url()])
            .args(args);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = timeout(PATIENCE, errors.next_line())
                .await
                .unwrap()
                .unwrap();
            if line.expect("it subscribes").contains("subscribed to") {
                break;
            }
        }
        Self {
            child,
            lines,
            _errors: errors,
        }
    }

    async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line())
            .await
            .unwrap()
            .unwrap();
        serde_json::from_str(&line.expect("a line")).unwrap()
    }
}

#[tokio::test]
async fn what_is_published_is_printed() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let mut subscribed = Subscribed::start(&redis, &["orders:*"]).await;
    let url = redis.url();
    let published = run(quorate().args([
        "publish",
        "--backend",
        &url,
        "--type",
        "placed",
        "orders:42",
        r#"{"n": 1}"#,
    ]))
    .await;
    assert_eq!(published.code, Some(0), "{published:?}");
    assert_eq!(
        published.stdout,
        "published to orders:42, received by 1 instance\n"
    );
    let event = subscribed.next().await;
    assert_eq!(event["topic"], "orders:42");
    assert_eq!(
        (&event["type"], &event["data"]),
        (&json!("placed"), &json!({"n": 1}))
    );

    let mut command = quorate();
    command
        .args(["publish", "orders:7"])
        .env("QUORATE_BACKEND", &url)
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"1\n\n{\"a\": [2]}\n\"3\"\n")
        .await
        .unwrap();
    drop(input);
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"published 3 to orders:7\n");
    for data in [json!(1), json!({"a": [2]}), json!("3")] {
        assert_eq!(subscribed.next().await["data"], data);
    }

    let pid = Pid::from_raw(subscribed.child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = timeout(PATIENCE, subscribed.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn fault_a_subscriber_prints_gaps_and_goes_on() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let mut subscribed = Subscribed::start(&redis, &["--count", "1", "orders"]).await;
    redis.restart().await.unwrap();
    assert_eq!(subscribed.next().await["event"], "gap");
    let url = redis.url();
    run(quorate().args(["publish", "--backend", &url, "orders", "1"])).await;
    assert_eq!(subscribed.next().await["event"], "message");
    let status = timeout(PATIENCE, subscribed.child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0), "one message was asked for");
}

#[tokio::test]
async fn wrong_input_ends_with_2_and_names_the_rule() {
    for (args, says) in [
        (&["publish", "orders", "1"][..], "backend must be given"),
        (
            &["publish", "--backend", "memory:", "orders", "1"],
            "backend must be a server",
        ),
        (
            &[
                "publish",
                "--backend",
                "redis://:hidden@h?colour=1",
                "orders",
                "1",
            ],
            "colour",
        ),
        (
            &["publish", "--backend", "redis://h", "a b", "1"],
            "topic may contain",
        ),
        (
            &["publish", "--backend", "redis://h", "a", "{"],
            "payload must be JSON",
        ),
        (&["subscribe", "--backend", "redis://h", "__a"], "reserved"),
        (&["doctor"], "url must be given"),
        (&["doctor", "http://h"], "must begin with"),
        (&["lock", "run", "a", "--backend", "redis://h"], "COMMAND"),
        (
            &["lock", "run", "a", "--lease", "1 apple", "--", "true"],
            "lease",
        ),
        (&["serve", "--backend", "nothing"], "url must be"),
        (&["serve", "--listen", "here"], "listen must be"),
        (&["serve", "--config", "/nonexistent"], "cannot read"),
    ] {
        let ended = run(quorate().args(args)).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_wrong_line_is_named_with_what_went_out_before_it() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let mut command = quorate();
    command
        .args(["publish", "a", "--backend", &redis.url()])
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"1\n2\n{oops\n4\n")
        .await
        .unwrap();
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("line 3") && text.contains("2 published before it"),
        "{text}"
    );
}

#[tokio::test]
async fn the_doctor_says_what_a_server_is_and_which_promises_hold() {
    let redis = Server::builder(ServerKind::Redis)
        .arg("--maxmemory-policy", "allkeys-lru")
        .password("hidden-password")
        .start()
        .await
        .unwrap();
    let url = redis.url();
    let sick = run(quorate().args(["doctor", &url])).await;
    assert_eq!(sick.code, Some(3), "{sick:?}");
    assert!(
        sick.stdout.contains("allkeys-lru") && sick.stdout.contains("DOES NOT HOLD"),
        "{sick:?}"
    );
    assert!(!sick.stdout.contains("hidden-password") && !sick.stderr.contains("hidden-password"));

    redis
        .command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await
        .unwrap();
    let well = run(quorate().args(["doctor", "--json", &url])).await;
    assert_eq!(well.code, Some(0), "{well:?}");
    let document: Value = serde_json::from_str(&well.stdout).unwrap();
    assert_eq!(document["server"]["flavour"], "Redis");
    assert_eq!(document["server"]["eviction_policy"], "noeviction");
    assert_eq!(document["server"]["role"], "primary");
    let promises = document["promises"].as_array().unwrap();
    assert!(
        promises.iter().all(|promise| promise["holds"] != "no"),
        "{document}"
    );

    let here = run(quorate().args(["doctor", "--json", "memory:"])).await;
    assert_eq!(here.code, Some(0), "{here:?}");
    let other: Value = serde_json::from_str(&here.stdout).unwrap();
    let members = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(members(&other), members(&document));
    assert_eq!(members(&other["server"]), members(&document["server"]));
    assert_eq!(other["server"]["flavour"], "embedded");
    let named = other["promises"].as_array().unwrap();
    assert_eq!(named.len(), promises.len());
    for (one, two) in named.iter().zip(promises) {
        assert_eq!(one["promise"], two["promise"]);
    }

    redis.kill();
    let args = ["doctor", "--timeout", "200ms", &url];
    assert_eq!(run(quorate().args(args)).await.code, Some(1));
}

#[tokio::test]
async fn a_command_runs_under_a_lock_with_its_token_and_its_own_exit_code() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let lock = |rest: &[&str]| {
        let mut command = quorate();
        command
            .args(["lock", "run", "report", "--backend", &url])
            .args(rest);
        command
    };
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let script = "echo $QUORATE_FENCING_TOKEN $QUORATE_LOCK; exit 7";
        let ended = run(&mut lock(&["--", "sh", "-c", script])).await;
        assert_eq!(ended.code, Some(7), "{ended:?}");
        let (token, name) = ended.stdout.trim().split_once(' ').unwrap();
        assert_eq!(name, "report");
        tokens.push(token.parse::<u64>().unwrap());
    }
    assert!(tokens[0] < tokens[1], "{tokens:?}");
    let killed = run(&mut lock(&["--", "sh", "-c", "kill -9 $$"])).await;
    assert_eq!(killed.code, Some(137));
    let absent = run(&mut lock(&["--", "/nonexistent/program"])).await;
    assert_eq!(absent.code, Some(127), "{absent:?}");

    // `cat` runs until its input ends: the lock is held exactly as long as we want.
    let mut holder = lock(&["--", "sh", "-c", "echo started; cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    assert_eq!(line.as_deref(), Some("started"));
    let refused = run(&mut lock(&["--", "true"])).await;
    assert_eq!(refused.code, Some(75), "{refused:?}");
    assert!(
        refused.stderr.contains("held by somebody else"),
        "{refused:?}"
    );
    let mut waiting = lock(&["--wait", "20s", "--", "true"]).spawn().unwrap();
    drop(holder.stdin.take());
    for child in [&mut holder, &mut waiting] {
        let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

#[tokio::test]
async fn a_command_is_ended_with_all_it_started_when_the_lock_is_lost() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let mut holder = quorate()
        .args([
            "lock",
            "run",
            "report",
            "--lease",
            "600ms",
            "--backend",
            &url,
        ])
        .args([
            "--",
            "sh",
            "-c",
            "(trap '' TERM; exec sleep 1000) & echo $!; wait",
        ])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let grandchild: i32 = line.unwrap().parse().unwrap();
    // It ends when told to; what it started does not listen.
    // Whoever deletes its key takes the lock away: the next renewal learns of it.
    redis.command(&["FLUSHALL"]).await.unwrap();
    let status = timeout(PATIENCE, holder.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(76));
    let gone = async {
        while std::path::Path::new(&format!("/proc/{grandchild}/exe"))
            .read_link()
            .is_ok()
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone)
        .await
        .expect("what it started is gone too");
}

/// Also when the command ends by itself, before it could be told.
#[tokio::test]
async fn a_command_whose_lock_was_lost_meanwhile_does_not_count_as_done() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let mut holder = quorate()
        .args(["lock", "run", "report", "--backend", &redis.url()])
        .args(["--", "sh", "-c", "echo started; cat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    assert_eq!(line.as_deref(), Some("started"));
    redis.command(&["FLUSHALL"]).await.unwrap();
    drop(holder.stdin.take());
    let status = timeout(PATIENCE, holder.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(76));
}
