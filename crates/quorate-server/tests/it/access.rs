//! Who may come in, and from where.

use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

use crate::support::{Served, Setup, quorate, run};

const TOKEN: &str = "correct-horse-battery-staple";

async fn with_token() -> Served {
    Served::with(Setup {
        env: vec![("QUORATE_TOKEN", TOKEN)],
        ..Setup::default()
    })
    .await
}

#[tokio::test]
async fn without_the_token_nothing_but_the_page_and_the_health_is_shown() {
    let served = with_token().await;
    assert!(!served.banner.contains(TOKEN), "{}", served.banner);
    for (method, path) in [
        ("POST", "/v1/events/a"),
        ("GET", "/v1/sse?topic=a"),
        ("GET", "/v1/ws"),
        ("GET", "/v1/client.js"),
        ("POST", "/v1/locks/a"),
        ("DELETE", "/v1/locks/a/00000000000000000000000000000000"),
        ("GET", "/v1/store/a"),
        ("PUT", "/v1/store/a/b"),
        ("DELETE", "/v1/cache/a?match=*"),
        ("POST", "/v1/cache-tags/invalidate"),
        ("GET", "/metrics"),
    ] {
        let answer = served.send(method, path, &[], "").await;
        answer.problem(401, "UNAUTHENTICATED", "token");
        assert!(answer.headers.contains_key("www-authenticate"));
        let wrong = [("authorization", "Bearer correct-horse-battery-stapler")];
        assert_eq!(served.send(method, path, &wrong, "").await.status, 401);
    }
    for path in [
        "/",
        "/console.js",
        "/console.css",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ] {
        assert_eq!(served.get(path).await.status, 200, "{path}");
    }
    assert!(matches!(served.ws(&[]).await.err(), Some(Error::Http(_))));
    let ready = served.get("/readyz").await.json();
    assert!(
        ready["backend"].is_null() && ready["reason"].is_null(),
        "{ready}"
    );

    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", &*bearer), ("content-type", "text/plain")];
    let answer = served.send("POST", "/v1/events/a", &headers, "x").await;
    assert_eq!(answer.status, 200);
    let client = served.send("GET", "/v1/client.js", &headers, "").await;
    assert!(client.text().contains("export { QuorateClient"));
    let mut ws = served.ws(&[("authorization", &bearer)]).await.unwrap();
    assert_eq!(ws.next().await.unwrap()["event"], "hello");
}

#[tokio::test]
async fn a_browser_logs_in_with_the_token_and_out_again() {
    let served = with_token().await;
    let session = served.get("/v1/session").await.json();
    assert_eq!(
        (&session["required"], &session["authenticated"]),
        (&json!(true), &json!(false))
    );
    assert!(session["backend"].is_null(), "not for everybody: {session}");
    let wrong = served.post("/v1/session", json!({"token": "wrong"})).await;
    wrong.problem(401, "UNAUTHENTICATED", "token");
    assert!(!wrong.headers.contains_key("set-cookie"));

    let answer = served.post("/v1/session", json!({"token": TOKEN})).await;
    assert_eq!(answer.status, 204);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(TOKEN));
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(
        served
            .send("GET", "/metrics", &[("cookie", pair)], "")
            .await
            .status,
        200
    );
    served.ws(&[("cookie", pair)]).await.unwrap();
    // The same cookie opens another instance with the same token, and none with another.
    let other = with_token().await;
    assert_eq!(
        other
            .send("GET", "/metrics", &[("cookie", pair)], "")
            .await
            .status,
        200
    );

    let out = served
        .send("DELETE", "/v1/session", &[("cookie", pair)], "")
        .await;
    assert!(
        out.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
}

#[tokio::test]
async fn other_people_s_pages_can_neither_post_nor_listen() {
    let served = Served::start().await;
    let own = served.url();
    for (headers, status) in [
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("host", "evil.example")], 403),
        (
            vec![("origin", &*own), ("sec-fetch-site", "same-origin")],
            200,
        ),
        (vec![("host", "app.localhost:1")], 200),
    ] {
        let mut headers = headers;
        headers.push(("content-type", "text/plain"));
        let answer = served.send("POST", "/v1/events/a", &headers, "x").await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 403 {
            answer.problem(403, "PERMISSION_DENIED", "");
        }
    }
    let foreign = served.ws(&[("origin", "http://evil.example")]).await;
    assert!(matches!(foreign.err(), Some(Error::Http(response)) if response.status() == 403));
    served.ws(&[("origin", &own)]).await.unwrap();
}

#[tokio::test]
async fn a_listed_origin_may_and_is_told_so() {
    let served = Served::configured("allowed_origins = ['https://app.example']").await;
    let headers = [
        ("origin", "https://app.example"),
        ("content-type", "text/plain"),
    ];
    let answer = served.send("POST", "/v1/events/a", &headers, "x").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://app.example"
    );
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = served.send("OPTIONS", "/v1/events/a", &preflight, "").await;
    assert_eq!(answer.status, 200);
    let methods = &answer.headers["access-control-allow-methods"];
    assert!(methods.to_str().unwrap().contains("PUT"));
    let own = [("origin", "https://app.example")];
    let answer = served.send("GET", "/v1/store/a", &own, "").await;
    let shown = &answer.headers["access-control-expose-headers"];
    assert!(shown.to_str().unwrap().contains("etag"), "{shown:?}");
    let foreign = [
        ("origin", "https://evil.example"),
        ("content-type", "text/plain"),
    ];
    let answer = served.send("POST", "/v1/events/a", &foreign, "x").await;
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn other_addresses_than_loopback_are_refused_without_a_token() {
    let refused = run(quorate().args(["serve", "--listen", "0.0.0.0:0"])).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("listen must be a loopback"),
        "{}",
        refused.stderr
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let served = Served::with(Setup {
        args: vec!["--token-file", file.to_str().unwrap()],
        ..Setup::default()
    })
    .await;
    assert_eq!(served.get("/metrics").await.status, 401);
    let bearer = format!("Bearer {TOKEN}");
    let answer = served
        .send("GET", "/metrics", &[("authorization", &bearer)], "")
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_pages_safe() {
    let served = Served::start().await;
    for path in ["/", "/healthz", "/nowhere"] {
        let answer = served.get(path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}
