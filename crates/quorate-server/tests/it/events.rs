//! `POST /v1/events/{topic}`.

use serde_json::json;

use crate::support::Served;

#[tokio::test]
async fn json_and_bytes_arrive_with_what_was_said_about_them() {
    let served = Served::start().await;
    let mut stream = served.sse("topic=*").await;

    let body = json!({"data": {"n": 1.5}, "type": "placed", "correlation_id": "r-1"});
    let answer = served.post("/v1/events/orders:42", body).await;
    assert_eq!(answer.json(), json!({"topic": "orders:42", "receivers": 1}));
    let event = stream.data().await;
    for (member, value) in [
        ("topic", json!("orders:42")),
        ("key", json!("42")),
        ("type", json!("placed")),
        ("correlation_id", json!("r-1")),
        ("data", json!({"n": 1.5})),
        ("content_type", json!("application/json")),
        ("source", json!("quorate")),
    ] {
        assert_eq!(event[member], value, "{event}");
    }

    let text = [("content-type", "text/plain; charset=utf-8")];
    let path = "/v1/events/notes?type=said&correlation_id=r-2&params=a";
    served.send("POST", path, &text, "grüezi").await;
    let event = stream.data().await;
    assert_eq!(
        (&event["topic"], &event["data"]),
        (&json!("notes:a"), &json!("grüezi"))
    );
    assert_eq!(
        (&event["type"], &event["correlation_id"]),
        (&json!("said"), &json!("r-2"))
    );

    let image = [("content-type", "image/png")];
    served
        .send("POST", "/v1/events/pictures/new", &image, vec![0x89, 0xff])
        .await;
    let event = stream.data().await;
    assert_eq!(event["topic"], "pictures/new");
    assert_eq!(
        (&event["data_base64"], &event["content_type"]),
        (&json!("if8="), &json!("image/png"))
    );

    let body = json!({"data_base64": "if8=", "content_type": "image/png"});
    served.post("/v1/events/pictures", body).await;
    assert_eq!(stream.data().await["data_base64"], "if8=");

    served
        .post("/v1/events/nothing", json!({"data": null}))
        .await;
    let event = stream.data().await;
    assert!(
        event["data"].is_null() && event["content_type"] == "application/json",
        "{event}"
    );
}

#[tokio::test]
async fn parameters_are_the_key_as_canonical_json() {
    let served = Served::start().await;
    let mut stream = served.sse("topic=job:*").await;
    for (params, topic) in [
        (
            json!({"b": {"y": 2, "x": 1}, "a": 1}),
            r#"job:{"a":1,"b":{"x":1,"y":2}}"#,
        ),
        (json!("eu"), "job:eu"),
        (json!(7), "job:7"),
    ] {
        let answer = served
            .post("/v1/events/job", json!({"params": params, "data": 0}))
            .await;
        assert_eq!(answer.json()["topic"], topic);
        assert_eq!(stream.data().await["topic"], topic);
    }
}

#[tokio::test]
async fn wrong_input_is_refused_with_the_rule() {
    let served = Served::start().await;
    for (path, body, says) in [
        ("/v1/events/a%20b", json!({"data": 1}), "topic may contain"),
        ("/v1/events/__a", json!({"data": 1}), "reserved"),
        ("/v1/events/a", json!({}), "exactly one"),
        (
            "/v1/events/a",
            json!({"data": 1, "data_base64": ""}),
            "exactly one",
        ),
        (
            "/v1/events/a",
            json!({"data": 1, "content_type": "x/y"}),
            "content_type",
        ),
        (
            "/v1/events/a",
            json!({"data_base64": "?"}),
            "data_base64 must be base64",
        ),
        (
            "/v1/events/a",
            json!({"data": 1, "colour": 2}),
            "`colour` is not a member",
        ),
        (
            "/v1/events/a",
            json!([null, 1, null, null, null, null]),
            "body must be a JSON object",
        ),
        (
            "/v1/events/a",
            json!({"data": 1, "type": 5}),
            "type must be a string",
        ),
        (
            "/v1/events/a",
            json!({"data_base64": "", "content_type": "png"}),
            "content_type must be a media type",
        ),
        (
            "/v1/events/a",
            json!({"data": 1, "type": ""}),
            "event_type must not be empty",
        ),
        (
            "/v1/events/a",
            json!({"data": 1, "params": "x".repeat(300)}),
            "params must make",
        ),
        (
            "/v1/events/a?type=x",
            json!({"data": 1}),
            "stand in the body",
        ),
        (
            "/v1/events/a?colour=x",
            json!({"data": 1}),
            "`colour` is not a parameter of the query",
        ),
    ] {
        served
            .post(path, body)
            .await
            .problem(400, "INVALID_ARGUMENT", says);
    }
    let json = [("content-type", "application/json")];
    let answer = served.send("POST", "/v1/events/a", &json, "{").await;
    let problem = answer.problem(400, "INVALID_ARGUMENT", "body");
    assert_eq!(problem["instance"], "/v1/events/a");
    assert_eq!(
        (&problem["outcome"], &problem["retryable"]),
        (&json!("not_applied"), &json!(false))
    );
    let answer = served.send("POST", "/v1/events/a", &[], "x").await;
    answer.problem(415, "INVALID_ARGUMENT", "content-type");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = served
        .send("POST", "/v1/events/a", &form, r#"{"data": 1}"#)
        .await;
    answer.problem(415, "INVALID_ARGUMENT", "application/json");
    for media in ["nonsense", "*/*", "text/", "a b/c"] {
        let media = [("content-type", media)];
        let answer = served.send("POST", "/v1/events/a", &media, "x").await;
        answer.problem(400, "INVALID_ARGUMENT", "content-type must be a media");
    }
    let answer = served.send("POST", "/v1/events/%ff", &json, "{}").await;
    answer.problem(400, "INVALID_ARGUMENT", "`topic` must be UTF-8");
    let answer = served.get("/v1/ws").await;
    answer.problem(400, "INVALID_ARGUMENT", "`connection: upgrade`");
    let answer = served.get("/v1/events/a").await;
    answer.problem(405, "INVALID_ARGUMENT", "GET");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let config = "limits.max_body_bytes = 2000\nfleet.max_payload = 1000";
    let served = Served::configured(config).await;
    let bytes = [("content-type", "application/octet-stream")];
    let fits = served
        .send("POST", "/v1/events/a", &bytes, vec![0; 1000])
        .await;
    assert_eq!(fits.status, 200);
    for (size, says) in [
        (1001, "payload must be at most 1000"),
        (2001, "body must be at most 2000 bytes"),
    ] {
        let answer = served
            .send("POST", "/v1/events/a", &bytes, vec![0; size])
            .await;
        answer.problem(413, "INVALID_ARGUMENT", says);
    }
}
