//! `quorate store` and `quorate cache`.

use std::process::Stdio;

use quorate::{CacheSpec, Fleet, StoreSpec};
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::support::{Ended, PATIENCE, quorate, run};

/// A server, and the commands on it.
struct Commands {
    redis: Server,
}

impl Commands {
    async fn start() -> Self {
        let redis = Server::start(ServerKind::Redis).await.unwrap();
        Self { redis }
    }

    async fn run(&self, args: &[&str]) -> Ended {
        run(quorate()
            .args(args)
            .env("QUORATE_BACKEND", self.redis.url()))
        .await
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn printed(ended: &Ended) -> &str {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        &ended.stdout
    }

    async fn succeeds(&self, args: &[&str]) -> String {
        Self::printed(&self.run(args).await).to_owned()
    }

    async fn fails(&self, args: &[&str], code: i32, says: &str) {
        let ended = self.run(args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{args:?}");
    }
}

#[tokio::test]
async fn entries_of_stores_are_set_read_listed_and_deleted() {
    const CARTS: StoreSpec<str, Vec<u32>> = StoreSpec::new("carts");
    let commands = Commands::start().await;
    commands
        .fails(
            &["store", "get", "carts", "a"],
            4,
            "the store `carts` has no `a`",
        )
        .await;
    assert_eq!(
        commands
            .succeeds(&["store", "set", "carts", "a", "[1, 2]"])
            .await,
        ""
    );
    assert_eq!(
        commands.succeeds(&["store", "get", "carts", "a"]).await,
        "[1,2]\n"
    );
    let fleet = Fleet::connect(&commands.redis.url()).await.unwrap();
    assert_eq!(
        fleet.store(&CARTS).get("a").await.unwrap(),
        Some(vec![1, 2])
    );

    let mut command = quorate();
    command
        .args([
            "store",
            "set",
            "carts",
            "b",
            "--ttl",
            "1h",
            "--backend",
            &commands.redis.url(),
        ])
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{\"x\":\n1}\n")
        .await
        .unwrap();
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = commands
        .succeeds(&["store", "get", "carts", "b", "--json"])
        .await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["key"], &shown["value"]),
        (&json!("b"), &json!({"x": 1}))
    );
    assert!((3_500_000..=3_600_000).contains(&shown["expires_in_ms"].as_u64().unwrap()));
    commands.succeeds(&["store", "expire", "carts", "b"]).await;
    let shown = commands
        .succeeds(&["store", "get", "carts", "b", "--json"])
        .await;
    assert!(shown.contains("\"expires_in_ms\":null"), "{shown}");

    let keys = commands.succeeds(&["store", "list", "carts"]).await;
    let mut keys: Vec<_> = keys.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b"]);
    assert_eq!(
        commands.succeeds(&["store", "list", "carts", "b"]).await,
        "b\n"
    );
    commands.succeeds(&["store", "delete", "carts", "a"]).await;
    commands
        .fails(&["store", "delete", "carts", "a"], 4, "has no `a`")
        .await;
    commands
        .fails(&["store", "expire", "carts", "a", "1h"], 4, "has no `a`")
        .await;
}

#[tokio::test]
async fn writes_to_stores_have_conditions_and_happen_once() {
    let commands = Commands::start().await;
    let set = ["store", "set", "leaders", "eu"];
    let with = |more: &[&'static str]| [&set[..], more].concat();
    commands.succeeds(&with(&["\"a\"", "--if-absent"])).await;
    commands
        .fails(&with(&["\"b\"", "--if-absent"]), 4, "has `eu` already")
        .await;
    commands
        .fails(
            &with(&["\"b\"", "--if-value", "\"x\""]),
            4,
            "does not have that value",
        )
        .await;
    commands
        .succeeds(&with(&["\"b\"", "--if-value", " \"a\""]))
        .await;
    let delete = ["store", "delete", "leaders", "eu", "--if-value"];
    commands
        .fails(
            &[&delete[..], &["\"a\""]].concat(),
            4,
            "does not have that value",
        )
        .await;
    commands.succeeds(&[&delete[..], &["\"b\""]].concat()).await;

    let add = [
        "store",
        "increment",
        "visits",
        "7",
        "--by",
        "-5",
        "--idempotency-key",
        "k",
    ];
    for _ in 0..2 {
        assert_eq!(commands.succeeds(&add).await, "-5\n");
    }
    assert_eq!(
        commands
            .succeeds(&["store", "increment", "visits", "7"])
            .await,
        "-4\n"
    );
}

#[tokio::test]
async fn entries_of_caches_are_put_read_listed_and_ended() {
    const NAMES: CacheSpec<str, String> = CacheSpec::new("names");
    let commands = Commands::start().await;
    let fleet = Fleet::connect(&commands.redis.url()).await.unwrap();
    commands
        .fails(
            &["cache", "get", "names", "7"],
            4,
            "the cache `names` has no `7`",
        )
        .await;
    let put = [
        "cache", "put", "names", "7", "\"Ann\"", "--tag", "user:7", "--tag", "b",
    ];
    commands.succeeds(&put).await;
    commands
        .fails(&[&put[..], &["--if-absent"]].concat(), 4, "has `7` already")
        .await;
    assert_eq!(
        fleet.cache(&NAMES).get("7").await.unwrap().as_deref(),
        Some("Ann")
    );
    assert_eq!(
        commands.succeeds(&["cache", "get", "names", "7"]).await,
        "\"Ann\"\n"
    );
    let shown = commands
        .succeeds(&["cache", "get", "names", "7", "--json"])
        .await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["value"], &shown["tags"]),
        (&json!("Ann"), &json!(["b", "user:7"]))
    );
    assert!(shown["fresh_for_ms"].as_u64().unwrap() > 3_500_000);

    commands
        .succeeds(&["cache", "invalidate", "none", "user:7"])
        .await;
    commands
        .fails(&["cache", "get", "names", "7"], 4, "has no `7`")
        .await;
    let value = "x".to_owned();
    for key in ["user:1", "user:2", "users", "a", "b"] {
        fleet.cache(&NAMES).put(key, &value).await.unwrap();
    }
    assert_eq!(
        commands
            .succeeds(&["cache", "list", "names", "user?"])
            .await,
        "users\n"
    );
    assert_eq!(
        commands
            .succeeds(&["cache", "remove", "names", "a", "none"])
            .await,
        "removed 1\n"
    );
    assert_eq!(
        commands
            .succeeds(&["cache", "clear", "names", "user:*"])
            .await,
        "removed 2\n"
    );
    assert_eq!(
        commands.succeeds(&["cache", "clear", "names", "*"]).await,
        "removed 2\n"
    );
    assert_eq!(commands.succeeds(&["cache", "list", "names"]).await, "");
}

#[tokio::test]
async fn wrong_input_about_values_ends_with_2_and_names_the_rule() {
    for (args, says) in [
        (&["store", "get", "a b", "k"][..], "store may contain only"),
        (&["store", "set", "a", "k", "{"], "value must be JSON"),
        (
            &["store", "set", "a", "k", "1", "--if-value", "{"],
            "value must be JSON",
        ),
        (&["store", "set", "a", "k", "1", "--ttl", "5 apples"], "ttl"),
        (
            &["store", "set", "a", "k", "1", "--fence", "x"],
            "--fencing-token",
        ),
        (
            &["store", "set", "a", "k", "1", "--ttl", "1s", "--keep-ttl"],
            "--keep-ttl",
        ),
        (&["store", "increment", "a", "k", "--by", "x"], "--by"),
        (&["cache", "get", "a b", "k"], "cache may contain only"),
        (&["cache", "put", "a", "k", "nul"], "value must be JSON"),
        (&["cache", "clear", "a"], "GLOB"),
        (&["cache", "invalidate"], "TAGS"),
    ] {
        let ended = run(quorate().args(args).args(["--backend", "redis://h"])).await;
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.stderr);
    }
    let commands = Commands::start().await;
    commands
        .fails(
            &["store", "set", "a", "k", "1", "--ttl", "0s"],
            2,
            "ttl must be at least 1 ms",
        )
        .await;
    commands
        .fails(
            &["cache", "put", "a", "k", "1", "--tag", ""],
            2,
            "tags must have from 1",
        )
        .await;
    commands
        .fails(&["cache", "clear", "a", ""], 2, "pattern must not be empty")
        .await;
    commands
        .fails(&["store", "get", "a", ""], 2, "key must not be empty")
        .await;
}
