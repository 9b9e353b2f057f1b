//! Health, metrics, the description, the page.

use serde_json::json;

use crate::support::{Served, Setup};

#[tokio::test]
async fn it_says_which_backend_it_uses_and_why() {
    let served = Served::start().await;
    assert!(
        served.banner.contains("embedded, because neither"),
        "{}",
        served.banner
    );
    let served = Served::with(Setup {
        env: vec![("QUORATE_BACKEND", "memory:")],
        ..Setup::default()
    })
    .await;
    assert!(
        served.banner.contains("named by QUORATE_BACKEND"),
        "{}",
        served.banner
    );
    let served = Served::with(Setup {
        env: vec![("QUORATE_BACKEND", "redis://u:hidden@localhost:1")],
        args: vec!["--backend", "memory:"],
        ..Setup::default()
    })
    .await;
    assert!(
        served.banner.contains("named by --backend"),
        "{}",
        served.banner
    );
}

#[tokio::test]
async fn health_and_readiness_are_told() {
    let served = Served::start().await;
    assert_eq!(served.get("/healthz").await.json()["status"], "alive");
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let document = ready.json();
    assert_eq!(
        (&document["ready"], &document["state"]),
        (&json!(true), &json!("ready"))
    );
    assert_eq!(document["backend"], "embedded");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let served = Served::start().await;
    let _stream = served.sse("topic=a").await;
    served.post("/v1/events/a", json!({"data": 1})).await;
    served.post("/v1/locks/a", json!({"lease": "10s"})).await;
    let answer = served.get("/metrics").await;
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    for line in [
        "# TYPE quorate_operations_total counter",
        "# HELP quorate_events_published_total Messages handed to the transport",
        "quorate_events_published_total 1",
        "quorate_events_delivered_total 1",
        "quorate_events_subscriptions 1",
        r#"quorate_operations_total{capability="events",operation="publish",result="ok"} 1"#,
        r#"quorate_operation_seconds_count{capability="lock",operation="try_acquire"} 1"#,
        r#"quorate_operations_in_flight{capability="events"} 0"#,
        r#"quorate_http_clients{transport="sse"} 1"#,
        r#"quorate_http_clients{transport="ws"} 0"#,
        r#"quorate_http_requests_total{method="POST",route="/v1/events/{*topic}",status="200"} 1"#,
    ] {
        assert!(
            answer.text().lines().any(|found| found == line),
            "{line}\n{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn the_description_names_every_route() {
    let served = Served::start().await;
    let document = served.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let routes = document["paths"].as_object().unwrap();
    for (path, method) in [
        ("/v1/events/{topic}", "post"),
        ("/v1/sse", "get"),
        ("/v1/ws", "get"),
        ("/v1/locks/{name}", "post"),
        ("/v1/locks/{name}", "get"),
        ("/v1/locks/{name}", "delete"),
        ("/v1/locks/{name}/{lease_id}", "post"),
        ("/v1/locks/{name}/{lease_id}", "delete"),
        ("/v1/store/{store}", "get"),
        ("/v1/store/{store}/{key}", "get"),
        ("/v1/store/{store}/{key}", "put"),
        ("/v1/store/{store}/{key}", "delete"),
        ("/v1/store/{store}/{key}/increment", "post"),
        ("/v1/cache", "get"),
        ("/v1/cache/{cache}", "get"),
        ("/v1/cache/{cache}", "delete"),
        ("/v1/cache/{cache}/{key}", "get"),
        ("/v1/cache/{cache}/{key}", "put"),
        ("/v1/cache/{cache}/{key}", "delete"),
        ("/v1/cache-tags/invalidate", "post"),
        ("/v1/session", "post"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    ] {
        let operation = &routes[path][method];
        assert!(operation["summary"].is_string(), "{method} {path}");
    }
    // What one instance knows is not taken for what all of them do.
    for path in ["/v1/hub", "/v1/hub/clients", "/v1/hub/clients/{id}"] {
        let summary = routes[path]["get"]["summary"].as_str().unwrap();
        assert!(summary.contains("of the instance that answers"), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_there_and_nothing_else_is() {
    let served = Served::start().await;
    let page = served.get("/").await;
    assert!(page.text().contains("<title>Quorate</title>"));
    for path in ["/console.js", "/console.css"] {
        assert!(page.text().contains(path));
        assert_eq!(served.get(path).await.status, 200);
    }
    served
        .get("/nowhere")
        .await
        .problem(404, "NOT_FOUND", "nothing");
}
