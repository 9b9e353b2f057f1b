//! The whole way: a process that is killed between two steps, and another that goes on.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::process::{Output, Stdio};

use quorate_testing::servers::{ServerKind, shared};
use tokio::process::Command;

/// A home of its own.
async fn home(name: &str) -> String {
    let redis = shared(ServerKind::Redis).await.unwrap();
    format!(
        "{}?namespace=checkout-{name}-{}",
        redis.url(),
        std::process::id()
    )
}

fn checkout(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_checkout"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[tokio::test]
async fn what_was_done_is_not_done_again_when_its_process_is_killed() {
    let home = home("demo").await;
    let output = checkout(&["demo", "--home", &home, "--pace", "20"])
        .output()
        .await
        .unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let did = |who: &str, what: &str| {
        let lines = text.lines().filter(|line| line.starts_with(who));
        lines.filter(|line| line.ends_with(what)).count()
    };
    for what in [
        "did charge 49.99",
        "did reserve",
        "did look for fraud: fine",
    ] {
        assert_eq!(
            (did("east", what), did("west", what)),
            (1, 0),
            "{what}: {text}"
        );
    }
    // It was under way: at least once.
    assert_eq!(
        (did("east", "begins to ship"), did("west", "did ship")),
        (1, 1),
        "{text}"
    );
    assert!(text.contains("receipt: charge-"), "{text}");
    assert!(text.contains(r#""did":{"begun":{"run":"order-"#), "{text}");
}

#[tokio::test]
async fn what_is_not_approved_is_undone() {
    let home = home("approve").await;
    let mut working = checkout(&["work", "--home", &home, "--pace", "1"])
        .spawn()
        .unwrap();
    for (id, no, wanted) in [
        ("yes", false, "receipt: "),
        ("no", true, "it was not approved"),
    ] {
        let order = ["order", id, "--home", &home, "--cents", "10000"];
        let ordered = checkout(&order).spawn().unwrap();
        let approve = async {
            loop {
                let mut arguments = vec!["approve", id, "--home", &home];
                arguments.extend(no.then_some("--no"));
                let approved = checkout(&arguments).output().await.unwrap();
                if approved.status.success() {
                    return;
                }
            }
        };
        approve.await;
        let output = ordered.wait_with_output().await.unwrap();
        assert_eq!(output.status.success(), !no, "{}", text(&output));
        assert!(text(&output).contains(wanted), "{}", text(&output));
    }
    working.kill().await.unwrap();
    let output = working.wait_with_output().await.unwrap();
    let text = text(&output);
    let undone: Vec<_> = text
        .lines()
        .filter(|line| line.contains("no: did "))
        .collect();
    assert_eq!(undone.len(), 5, "{text}");
    assert!(
        undone[3].ends_with("did put back") && undone[4].ends_with("did refund"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_line() {
    for (arguments, why) in [
        (
            vec!["order", "x", "--home", "memory:"],
            "is the home of one process",
        ),
        (
            vec!["order", "", "--home", "URL"],
            "run must have 1 to 512 bytes",
        ),
        (
            vec!["approve", "none", "--home", "URL"],
            "none: there is no such order under way",
        ),
    ] {
        let home = home("wrong").await;
        let arguments: Vec<_> = arguments
            .iter()
            .map(|it| if *it == "URL" { &*home } else { *it })
            .collect();
        let output = checkout(&arguments).output().await.unwrap();
        assert!(!output.status.success());
        let text = text(&output);
        assert!(text.contains(why) && text.lines().count() == 1, "{text}");
    }
}
