//! Caches over HTTP.

use quorate::{CacheSpec, Fleet};
use quorate_testing::servers::{Server, ServerKind};
use serde_json::json;

use crate::support::{PATIENCE, Served, Setup, quorate, run};

#[tokio::test]
async fn an_entry_shows_its_age_its_time_and_its_tags() {
    let served = Served::start().await;
    let path = "/v1/cache/pages/%2Fusers%2F7";
    served
        .get(path)
        .await
        .problem(404, "NOT_FOUND", "has no `/users/7`");
    let put = served
        .put(
            &format!("{path}?ttl=5m&tag=user:7&tag=a,%20b"),
            &[],
            "[1, 2]",
        )
        .await;
    assert_eq!(put.status, 204, "{put:?}");
    let found = served.get(path).await;
    assert_eq!((found.status, found.text()), (200, "[1,2]"));
    assert_eq!(found.headers["quorate-tags"], "a%2C%20b, user:7");
    assert_eq!(found.headers["age"], "0");
    let left = found.headers["quorate-expires-in-ms"].to_str().unwrap();
    assert!((290_000..=300_000).contains(&left.parse::<u64>().unwrap()));
    let known = [("if-none-match", found.headers["etag"].to_str().unwrap())];
    assert_eq!(served.send("GET", path, &known, "").await.status, 304);

    let absent = [("if-none-match", "*")];
    served
        .put(path, &absent, "3")
        .await
        .problem(412, "FAILED_PRECONDITION", "already");
    assert_eq!(
        served.put("/v1/cache/pages/b", &absent, "3").await.status,
        204
    );
    for deleted in [true, false] {
        assert_eq!(
            served.delete(path, &[]).await.json(),
            json!({"deleted": deleted})
        );
    }
}

#[tokio::test]
async fn tags_span_caches_and_end_what_was_stored_before() {
    let served = Served::start().await;
    for path in [
        "/v1/cache/names/7?tag=user:7",
        "/v1/cache/pages/7?tag=user:7&tag=page",
    ] {
        served.put(path, &[], "1").await;
    }
    served.put("/v1/cache/names/8?tag=user:8", &[], "1").await;
    let answer = served
        .post(
            "/v1/cache-tags/invalidate",
            json!({"tags": ["user:7", "none"]}),
        )
        .await;
    assert_eq!(answer.status, 204);
    for (path, status) in [("names/7", 404), ("pages/7", 404), ("names/8", 200)] {
        assert_eq!(
            served.get(&format!("/v1/cache/{path}")).await.status,
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn keys_are_listed_and_cleared_by_glob() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    for served in [Served::start().await, Served::on(&redis.url()).await] {
        served.until_ready(true).await;
        for key in ["user:1", "user:2", "users", "a"] {
            served
                .put(&format!("/v1/cache/names/{key}"), &[], "1")
                .await;
        }
        served.put("/v1/cache/other/user:1", &[], "1").await;
        let page = served.get("/v1/cache/names?match=user:*&limit=1000").await;
        assert_eq!(
            page.json(),
            json!({"keys": ["user:1", "user:2"], "next": null})
        );
        let cleared = served.delete("/v1/cache/names?match=user:*", &[]).await;
        assert_eq!(cleared.json(), json!({"removed": 2}));
        served.delete("/v1/cache/names", &[]).await.problem(
            400,
            "INVALID_ARGUMENT",
            "match must be given",
        );
        let page = served.get("/v1/cache/names?limit=1000").await;
        assert_eq!(page.json()["keys"], json!(["a", "users"]));
        assert_eq!(
            served.delete("/v1/cache/names?match=*", &[]).await.json(),
            json!({"removed": 2})
        );
        assert_eq!(served.get("/v1/cache/other/user:1").await.status, 200);
    }
}

/// A service in Rust and a program that is none see the same, also what only stands in for a failed load.
#[tokio::test]
async fn entries_are_those_of_the_library() {
    const NAMES: CacheSpec<u64, String> = CacheSpec::new("names");
    const COUNTS: CacheSpec<u64, i64> = CacheSpec::new("counts");
    const OLD: CacheSpec<u64, String> = CacheSpec::new("names")
        .ttl(std::time::Duration::from_millis(1))
        .fail_safe(std::time::Duration::from_secs(60));
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = Served::on(&redis.url()).await;
    served.until_ready(true).await;
    let fleet = Fleet::connect(&redis.url()).await.unwrap();
    served.put("/v1/cache/names/7", &[], "\"Ann\"").await;
    assert_eq!(
        fleet.cache(&NAMES).get(&7).await.unwrap().as_deref(),
        Some("Ann")
    );
    fleet.cache(&COUNTS).increment(&7, 5).await.unwrap();
    let count = served.get("/v1/cache/counts/7").await;
    assert_eq!(count.text(), "5");
    assert!(count.headers.contains_key("quorate-expires-in-ms"));

    fleet.cache(&OLD).put(&8, &"Bob".to_owned()).await.unwrap();
    while fleet.cache(&OLD).get(&8).await.unwrap().is_some() {}
    assert_eq!(served.get("/v1/cache/names/8").await.status, 404);
    let stale = served.get("/v1/cache/names/8?stale=true").await;
    assert_eq!(stale.text(), "\"Bob\"");
    assert_eq!(stale.headers["quorate-expires-in-ms"], "0");
}

#[tokio::test]
async fn wrong_input_to_a_cache_is_refused_with_the_rule() {
    let served = Served::start().await;
    for (path, headers, body, says) in [
        ("/v1/cache/a%20b/k", &[][..], "1", "cache may contain only"),
        ("/v1/cache/a/k?ttl=5", &[], "1", "ttl must be a duration"),
        (
            "/v1/cache/a/k?ttl=0s",
            &[],
            "1",
            "ttl must be at least 1 ms",
        ),
        (
            "/v1/cache/a/k?ttl=1s&ttl=2s",
            &[],
            "1",
            "ttl must be given once",
        ),
        (
            "/v1/cache/a/k?tag=",
            &[],
            "1",
            "tags must have from 1 to 255",
        ),
        ("/v1/cache/a/k?colour=1", &[], "1", "nothing else"),
        ("/v1/cache/a/k", &[], "nul", "value must be JSON"),
        (
            "/v1/cache/a/k",
            &[("if-match", "\"a\"")],
            "1",
            "if-match is for stores",
        ),
    ] {
        served
            .put(path, headers, body)
            .await
            .problem(400, "INVALID_ARGUMENT", says);
    }
    for (query, says) in [
        ("match=", "pattern must not be empty"),
        ("prefix=a", "prefix is for stores"),
        ("limit=1001", "limit must be from 1 to 1000"),
    ] {
        let answer = served.get(&format!("/v1/cache/a?{query}")).await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    for (tags, says) in [
        (json!([]), "tags must not be empty"),
        (json!([""]), "tags must have from 1 to 255"),
        (json!("a"), "tags must be"),
    ] {
        let answer = served
            .post("/v1/cache-tags/invalidate", json!({"tags": tags}))
            .await;
        answer.problem(400, "INVALID_ARGUMENT", says);
    }
    assert_eq!(served.get("/v1/cache/a/k").await.status, 404);
}

/// Of the instance that was asked, too.
#[tokio::test]
async fn figures_are_those_of_the_whole_fleet() {
    const FAST: &str = "[fleet]\ntell_caches = 'keys'\ntell_caches_every = '100ms'";
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = async || {
        let served = Served::with(Setup {
            args: vec!["--backend", &redis.url()],
            config: FAST,
            ..Setup::default()
        })
        .await;
        served.until_ready(true).await;
        served
    };
    let (one, two) = (served().await, served().await);
    one.put("/v1/cache/names/7", &[], "\"Ann\"").await;
    for served in [&one, &two, &two] {
        assert_eq!(served.get("/v1/cache/names/7").await.status, 200);
    }
    assert_eq!(two.get("/v1/cache/names/8").await.status, 404);
    let told = async {
        loop {
            let told = one.get("/v1/cache").await.json();
            if told["caches"][0]["reads"]["total"] == 4 {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("both tell");
    let names = &told["caches"][0];
    assert_eq!(
        (&names["cache"], &names["instances"]),
        (&json!("names"), &json!(2))
    );
    assert_eq!(
        (&names["reads"]["hit"], &names["reads"]["miss"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(
        (&names["hit_ratio"], &names["values"]),
        (&json!(0.75), &json!(1))
    );
    let minutes = names["minutes"].as_array().unwrap();
    assert_eq!(minutes.last().unwrap(), &json!({"reads": 4, "hits": 3}));
    let hottest = json!([
        {"key": "7", "reads": 3.0, "error": 0.0}, {"key": "8", "reads": 1.0, "error": 0.0},
    ]);
    assert_eq!(names["hottest"], hottest);

    let url = redis.url();
    let stats = |args: &[&str]| {
        let mut command = quorate();
        command
            .args(["cache", "stats", "--backend", &url])
            .args(args);
        command
    };
    let shown = run(&mut stats(&[])).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        shown.stdout.starts_with("names: 75.0 % hits, told by 2\n"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stdout.ends_with("         3  7\n           1  8\n"),
        "{}",
        shown.stdout
    );
    let shown = run(&mut stats(&["names", "--json"])).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["caches"][0]["reads"], names["reads"]);
    let none = run(&mut stats(&["none"])).await;
    assert_eq!(none.code, Some(4), "{none:?}");
}

/// Unless it is told to.
#[tokio::test]
async fn a_server_tells_counts_and_no_keys() {
    let served = Served::configured("[fleet]\ntell_caches_every = '100ms'").await;
    served.get("/v1/cache/names/7").await;
    let told = async {
        loop {
            let told = served.get("/v1/cache").await.json();
            if told["caches"][0]["reads"]["miss"] == 1 {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("it tells");
    assert!(told["caches"][0]["hottest"].is_null(), "{told}");
}
