//! `quorate queue`.

use std::process::Stdio;

use quorate_testing::servers::{Server, ServerKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Duration, sleep, timeout};

use crate::support::{Ended, PATIENCE, quorate, run};

/// A queue of a server of its own.
struct Queue {
    server: Server,
}

impl Queue {
    async fn start() -> Self {
        let server = Server::start(ServerKind::Redis).await.unwrap();
        Self { server }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quorate();
        command
            .arg("queue")
            .arg(arguments[0])
            .args(["--backend", &self.server.url()])
            .args(&arguments[1..]);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments)).await
    }

    /// What a command that succeeds prints.
    async fn print(&self, arguments: &[&str]) -> Value {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(ended.stdout.lines().next().unwrap_or("null")).unwrap()
    }

    async fn push(&self, input: &str, options: &[&str]) -> String {
        let pushed = self
            .print(&[&["push", "mail", input], options].concat())
            .await;
        pushed["id"].as_str().unwrap().to_owned()
    }

    /// Runs this for each job, until it is told to stop.
    fn work(&self, options: &[&str], script: &str) -> Child {
        let rest = ["--", "sh", "-c", script];
        let mut command = self.command(&[&["work", "mail"], options, &rest].concat());
        command.stderr(Stdio::null()).spawn().unwrap()
    }

    async fn show(&self, id: &str) -> Value {
        self.print(&["show", "mail", id]).await
    }

    /// Waits until a job is there.
    async fn until(&self, id: &str, state: &str) -> Value {
        let seen = async {
            loop {
                let job = self.show(id).await;
                if job["state"] == state {
                    return job;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("the job gets there")
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

async fn stopped(mut child: Child) -> Option<i32> {
    signal(&child, Signal::TERM);
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends");
    status.unwrap().code()
}

/// With the input on standard input, and what it prints as the result.
#[tokio::test]
async fn a_command_does_each_job() {
    let queue = Queue::start().await;
    let json = queue.push(r#"{"a": 1}"#, &[]).await;
    let text = queue.push("\"words\"", &[]).await;
    let script = r#"input=$(cat); case "$input" in *a*) echo "{\"got\": $input}";; *) echo "$QUORATE_QUEUE $QUORATE_JOB_ID $QUORATE_ATTEMPT of $QUORATE_MAX_ATTEMPTS";; esac"#;
    let worker = queue.work(&["--concurrency", "2"], script);
    let done = queue.until(&json, "succeeded").await;
    assert_eq!(done["result"], json!({"got": {"a": 1}}));
    let done = queue.until(&text, "succeeded").await;
    assert_eq!(done["result"], format!("mail {text} 1 of 5"));
    assert_eq!(stopped(worker).await, Some(0));
}

/// Dead at once, again, or not yet; and the last line on standard error says why.
#[tokio::test]
async fn the_exit_code_says_what_becomes_of_a_job() {
    let queue = Queue::start().await;
    // With more attempts than there is time for.
    let never = queue.push("65", &["--max-attempts", "100"]).await;
    let fails = queue.push("3", &["--max-attempts", "1"]).await;
    let early = queue.push("75", &["--max-attempts", "1"]).await;
    let killed = queue.push("9", &["--max-attempts", "1"]).await;
    let script = r#"read code; echo first >&2; echo "because $code" >&2; test $code = 9 && kill -9 $$; exit $code"#;
    let worker = queue.work(&["--defer", "1h"], script);
    assert_eq!(
        queue.until(&never, "dead").await["error"],
        "it ended with 65: because 65"
    );
    assert_eq!(
        queue.until(&fails, "dead").await["error"],
        "it ended with 3: because 3"
    );
    assert_eq!(queue.until(&early, "due").await["failed_attempts"], 0);
    let killed = queue.until(&killed, "dead").await;
    assert_eq!(killed["error"], "it was ended by signal 9: because 9");
    assert_eq!(stopped(worker).await, Some(0));
}

#[tokio::test]
async fn a_command_runs_no_more_often_than_the_limit_says() {
    let queue = Queue::start().await;
    let first = queue.push("1", &[]).await;
    let second = queue.push("2", &[]).await;
    let worker = queue.work(&["--concurrency", "2", "--max-starts", "1/1h"], "cat");
    queue.until(&first, "succeeded").await;
    assert_eq!(stopped(worker).await, Some(0));
    assert_eq!(queue.show(&second).await["state"], "ready");
}

/// What does not end in time is ended with what it started, and the job is handed back.
#[tokio::test]
async fn a_stopping_worker_hands_its_job_back() {
    let queue = Queue::start().await;
    let id = queue.push("1", &[]).await;
    let worker = queue.work(&["--drain", "0s"], "sleep 60 & wait");
    queue.until(&id, "active").await;
    assert_eq!(stopped(worker).await, Some(0));
    let job = queue.until(&id, "ready").await;
    assert_eq!(job["failed_attempts"], 0);
    // With time to end, it does.
    let worker = queue.work(&[], "sleep 0.2; echo done");
    queue.until(&id, "active").await;
    assert_eq!(stopped(worker).await, Some(0));
    assert_eq!(queue.show(&id).await["result"], "done");
}

#[tokio::test]
async fn a_cancelled_job_ends_its_command() {
    let queue = Queue::start().await;
    let id = queue.push("1", &[]).await;
    let worker = queue.work(&[], "exec sleep 60");
    queue.until(&id, "active").await;
    let cancelled = queue.print(&["cancel", "mail", &id]).await;
    assert_eq!(cancelled, json!({"id": id, "state": "active"}));
    queue.until(&id, "cancelled").await;
    assert_eq!(stopped(worker).await, Some(0));
}

/// That is no fault of the job.
#[tokio::test]
async fn a_command_that_cannot_be_run_costs_no_attempt() {
    let queue = Queue::start().await;
    let id = queue.push("1", &[]).await;
    let ended = queue.run(&["work", "mail", "--", "/no/such/program"]).await;
    assert_eq!(ended.code, Some(127), "{ended:?}");
    assert!(
        ended.stderr.contains("cannot run `/no/such/program`"),
        "{ended:?}"
    );
    let job = queue.show(&id).await;
    assert_eq!(
        (&job["failed_attempts"], &job["state"]),
        (&json!(0), &json!("ready"))
    );
}

#[tokio::test]
async fn an_operator_uses_the_command_line() {
    let queue = Queue::start().await;
    let mut push = queue.command(&["push", "mail", "--lines", "--tag", "t"]);
    let mut push = push.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = push.stdin.take().unwrap();
    stdin.write_all(b"1\n\n2\n3\n").await.unwrap();
    drop(stdin);
    let output = timeout(PATIENCE, push.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let ids: Vec<_> = lines
        .lines()
        .map(|line| {
            let pushed: Value = serde_json::from_str(line).unwrap();
            pushed["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 3);
    let all = queue.print(&["list"]).await;
    assert_eq!((&all["queue"], &all["ready"]), (&json!("mail"), &json!(3)));
    let listed = queue.run(&["list", "mail", "--most", "2"]).await;
    assert_eq!(listed.stdout.lines().count(), 2);

    let worker = queue.work(&[], "read n; test $n != 1 || exit 65; echo $n");
    queue.until(&ids[0], "dead").await;
    queue.until(&ids[2], "succeeded").await;
    assert_eq!(stopped(worker).await, Some(0));
    assert_eq!(queue.print(&["pause", "mail"]).await, Value::Null);
    assert_eq!(queue.print(&["stats", "mail"]).await["paused"], true);
    assert_eq!(
        queue.run(&["edit", "mail", &ids[0], "7"]).await.code,
        Some(0)
    );
    assert_eq!(
        queue.run(&["edit", "mail", &ids[1], "7"]).await.code,
        Some(4)
    );
    assert_eq!(
        queue.print(&["redrive", "mail", &ids[0]]).await,
        json!({"redriven": 1})
    );
    assert_eq!(queue.run(&["redrive", "mail", &ids[0]]).await.code, Some(4));
    assert_eq!(
        queue.print(&["redrive", "mail", "--all"]).await,
        json!({"redriven": 0})
    );
    let job = queue.show(&ids[0]).await;
    assert_eq!((&job["input"], &job["tags"]), (&json!(7), &json!(["t"])));
    assert_eq!(queue.print(&["resume", "mail"]).await, Value::Null);
    assert_eq!(
        queue.print(&["remove", "mail", &ids[0]]).await,
        json!({"removed": 1})
    );
    assert_eq!(queue.run(&["remove", "mail", &ids[0]]).await.code, Some(4));
    assert_eq!(
        queue.print(&["purge", "mail", "ended"]).await,
        json!({"removed": 2})
    );
    let checked = queue.print(&["fsck", "mail"]).await;
    assert_eq!(checked["found"], 0);
    assert_eq!(queue.run(&["show", "mail", &ids[0]]).await.code, Some(4));
    assert_eq!(queue.run(&["cancel", "mail", &ids[0]]).await.code, Some(4));
    for wrong in [
        &["push", "mail", "{"][..],
        &["push", "no queue", "1"],
        &["push", "mail", "1", "--priority", "10"],
        &["push", "mail", "1", "--throttle", "a"],
        &["show", "mail", "x"],
        &["redrive", "mail"],
        &["purge", "mail", "active"],
        &["work", "mail"],
        &["work", "mail", "--max-starts", "many", "--", "true"],
        &["work", "mail", "--max-active", "0", "--", "true"],
    ] {
        assert_eq!(queue.run(wrong).await.code, Some(2), "{wrong:?}");
    }
}

/// One event in a line.
#[tokio::test]
async fn what_happens_in_a_queue_is_printed() {
    let queue = Queue::start().await;
    let mut watch = queue.command(&["watch", "mail", "--count", "2"]);
    let mut watch = watch.spawn().unwrap();
    let mut said = BufReader::new(watch.stderr.take().unwrap()).lines();
    let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
    assert!(line.unwrap().contains("watching mail"));
    let id = queue.push("1", &["--delay", "1h"]).await;
    queue.print(&["cancel", "mail", &id]).await;
    let output = timeout(PATIENCE, watch.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named = events.iter().map(|it| (&it["event"], &it["id"]));
    let named: Vec<_> = named.collect();
    let id = json!(id);
    assert_eq!(named, [(&json!("queued"), &id), (&json!("cancelled"), &id)]);
    assert!(events[0]["due_at"].is_string(), "{text}");
}
