use super::*;
use proptest::prelude::*;

fn verb(text: &str) -> Verb {
    read_request(text).unwrap().verb
}

#[test]
fn every_verb_is_read() {
    assert!(matches!(
        verb(r#"{"id":1,"subscribe":"orders:*"}"#),
        Verb::Subscribe { topic, params: Value::Null, after: None, recent: None, members: false }
            if topic == "orders:*"
    ));
    assert!(matches!(
        verb(r#"{"subscribe":"a","params":{"b":1},"recent":5,"members":true,"after":null}"#),
        Verb::Subscribe {
            params: Value::Object(_),
            recent: Some(5),
            members: true,
            ..
        }
    ));
    assert!(matches!(verb(r#"{"ping":true}"#), Verb::Ping));
    assert!(matches!(
        verb(r#"{"unsubscribe":"a"}"#),
        Verb::Unsubscribe { .. }
    ));
    assert!(
        matches!(verb(r#"{"authenticate":"t"}"#), Verb::Authenticate { token } if token == "t")
    );
    assert!(matches!(
        verb(r#"{"id":"x","type":"send","data": {"a" : 1} }"#),
        Verb::Call { kind, data } if kind == "send" && data.get() == r#"{"a" : 1}"#
    ));
    assert!(matches!(verb(r#"{"type":"send"}"#), Verb::Call { data, .. } if data.get() == "null"));
    assert!(matches!(
        verb(r#"{"cancel":"x"}"#),
        Verb::Cancel { request } if request.as_json() == r#""x""#
    ));
    assert!(matches!(
        verb(r#"{"publish":"a","data":null,"echo":false}"#),
        Verb::Publish { data, echo: false, .. } if data.get() == "null"
    ));
    assert!(matches!(verb(r#"{"presence":"a"}"#), Verb::Presence { .. }));
    assert!(matches!(
        verb(r#"{"history":"a","limit":3,"after":"x"}"#),
        Verb::History {
            limit: Some(3),
            after: Some(_),
            ..
        }
    ));
}

#[test]
fn wrong_ones_are_answered_with_their_id_and_rule() {
    for (text, id, says) in [
        ("{", None, "JSON"),
        ("[]", None, "JSON object"),
        (r#"[1,"orders",null,null,null]"#, None, "JSON object"),
        (r#""orders""#, None, "JSON object"),
        (r#"{"id":7,"ping":1}"#, Some("7"), "ping must"),
        (r#"{"id":7}"#, Some("7"), "exactly one"),
        (
            r#"{"subscribe":"x","ping":true,"id":"a"}"#,
            Some("\"a\""),
            "exactly one",
        ),
        (r#"{"subscribe":5,"id":7}"#, Some("7"), "subscribe must be"),
        (
            r#"{"id":7,"subscribe":"x","colour":1}"#,
            Some("7"),
            "colour",
        ),
        (
            r#"{"id":7,"subscribe":"x","data":1}"#,
            Some("7"),
            "`data` does not",
        ),
        (
            r#"{"id":7,"subscribe":"x","recent":1,"after":"y"}"#,
            Some("7"),
            "together",
        ),
        (
            r#"{"id":7,"subscribe":"x","recent":0}"#,
            Some("7"),
            "recent must",
        ),
        (r#"{"id":7,"publish":"x"}"#, Some("7"), "data must"),
        (
            r#"{"id":7,"ping":true,"params":1}"#,
            Some("7"),
            "`params` does not",
        ),
        (r#"{"id":7,"cancel":{}}"#, Some("7"), "cancel must"),
        (r#"{"id":{},"ping":true}"#, None, "id must"),
        (r#"{"ping":false}"#, None, "exactly one"),
    ] {
        let refused = read_request(text).unwrap_err();
        assert_eq!(refused.id.as_ref().map(RequestId::as_json), id, "{text}");
        assert_eq!(refused.problem.code(), Code::InvalidArgument);
        let detail = refused.problem.detail();
        assert!(detail.contains(says), "{text}: {detail}");
    }
    let refused = read_request(r#"{"type":"send","after":"x"}"#).unwrap_err();
    assert_eq!(refused.kind.as_deref(), Some("send"));
}

/// Any JSON, with names that frames know.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "id",
            "subscribe",
            "unsubscribe",
            "publish",
            "type",
            "cancel",
            "presence",
            "history",
            "authenticate",
            "ping",
            "params",
            "data",
            "after",
            "recent",
            "limit",
            "members",
            "echo",
            "event_type",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in ".*") {
        let _ = read_request(&text);
    }

    /// Whatever is asked for, an id that is one comes back as it was.
    #[test]
    fn no_json_makes_reading_panic(frame in json()) {
        let read = read_request(&frame.to_string());
        let id = match &read {
            Ok(request) => request.id.as_ref(),
            Err(refused) => refused.id.as_ref(),
        };
        let sent = frame.get("id").and_then(RequestId::of);
        prop_assert_eq!(id, sent.as_ref());
    }
}
