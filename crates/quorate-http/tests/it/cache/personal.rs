//! No request is ever given another's response.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use futures_util::future::join_all;
use proptest::prelude::*;
use quorate_http::cache::{Declared, ResponseCacheBuilder};

use super::site::{Site, response};

const MINUTE: Duration = Duration::from_secs(60);

fn declared(mode: Declared) -> impl FnOnce(ResponseCacheBuilder) -> ResponseCacheBuilder {
    move |builder| builder.declared(mode)
}

/// Requests with credentials go past the cache, unless it was said what they mean for the response.
#[tokio::test(start_paused = true)]
async fn credentials_go_past_the_cache() {
    let whose = |mode| {
        Site::new(declared(mode), |parts, _| {
            let cookie = parts.headers.get("cookie");
            let body = cookie
                .map_or("nobody", |cookie| cookie.to_str().unwrap())
                .to_owned();
            std::future::ready(response("200", body))
        })
    };
    let site = whose(Declared::new(MINUTE));
    for _ in 0..2 {
        for (request, expected) in [
            ("GET / | cookie: ann", "ann"),
            ("GET / | cookie: bob", "bob"),
            ("GET /", "nobody"),
        ] {
            assert_eq!(site.send(request).await.body, expected);
        }
        assert_eq!(
            site.send("GET / | authorization: x").await.cache(),
            "quorate; fwd=bypass"
        );
    }
    assert_eq!(site.runs(), 7);
    let site = whose(Declared::new(MINUTE).vary(["cookie"]));
    for expected in ["ann", "bob", "ann", "bob"] {
        let request = format!("GET / | cookie: {expected}");
        assert_eq!(site.send(&request).await.body, expected);
    }
    assert_eq!(site.runs(), 2);
    let site = whose(Declared::new(MINUTE).ignore(["cookie"]));
    for _ in 0..2 {
        assert_eq!(site.send("GET / | cookie: ann").await.body, "ann");
    }
    assert_eq!(site.runs(), 1);
}

/// Whoever waited for an answer that is not to be shared asks for itself, and all of them at the same time.
#[tokio::test(start_paused = true)]
async fn what_is_not_shared_is_not_given_to_who_waited() {
    for header in [
        "set-cookie: id=1",
        "cache-control: private",
        "cache-control: no-store",
        "vary: *",
    ] {
        let site = Site::new(
            declared(Declared::new(MINUTE)),
            move |parts, count| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let whose = parts.headers["x-whose"].to_str().unwrap().to_owned();
                response(&format!("200 | x-count: {count} | {header}"), whose)
            },
        );
        let began = tokio::time::Instant::now();
        let ask = |number: usize| {
            let site = site.clone();
            async move { site.send(&format!("GET / | x-whose: {number}")).await.body }
        };
        let answers = join_all((0..20).map(ask)).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer, number.to_string(), "{header}");
        }
        assert_eq!(site.runs(), 20);
        // One after the other they would take ten times as long.
        assert_eq!(began.elapsed().as_secs(), 2, "{header}");
        // And that is remembered for a while.
        let began = tokio::time::Instant::now();
        let answers = join_all((0..5).map(ask)).await;
        assert_eq!(answers.len(), 5);
        assert_eq!(began.elapsed().as_secs(), 1, "{header}");
        assert!(
            site.send("GET / | x-whose: 1")
                .await
                .cache()
                .contains("detail=pass")
        );
        // Not for ever.
        tokio::time::advance(MINUTE).await;
        let after = site.send("GET / | x-whose: 1").await;
        assert!(after.cache().contains("fwd=uri-miss"), "{}", after.cache());
    }
}

/// One with credentials does not make the others go past the cache.
#[tokio::test(start_paused = true)]
async fn credentials_of_one_do_not_keep_others_from_the_cache() {
    let site = Site::new(
        |builder| builder,
        |_, count| {
            std::future::ready(response(
                "200 | cache-control: max-age=60",
                count.to_string(),
            ))
        },
    );
    for _ in 0..3 {
        site.send("GET / | authorization: x").await;
    }
    site.get("/").await;
    assert!(site.get("/").await.cache().contains("hit"));
}

/// Nor does one that is refused.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_one_does_not_keep_others_from_the_cache() {
    for status in ["400", "403", "429"] {
        let site = Site::new(declared(Declared::new(MINUTE)), move |parts, count| {
            let is_bad = parts.headers.contains_key("x-bad");
            let status = if is_bad { status } else { "200" };
            std::future::ready(response(status, count.to_string()))
        });
        assert_eq!(site.send("GET / | x-bad: 1").await.status.as_str(), status);
        let kept = site.get("/").await;
        assert_eq!(kept.cache(), "quorate; fwd=miss; stored; detail=pass");
        assert!(site.get("/").await.cache().contains("hit"));
    }
}

/// What stands in an entry decides, not what it is called.
#[tokio::test(start_paused = true)]
async fn variants_wait_for_each_other_and_are_not_mixed_up() {
    let site = Site::new(declared(Declared::new(MINUTE)), |parts, _| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let language = parts.headers["accept-language"]
            .to_str()
            .unwrap()
            .to_owned();
        response("200 | vary: accept-language", language)
    });
    let ask = |number: usize| {
        let site = site.clone();
        let language = ["de", "fr", "it"][number % 3];
        async move {
            let request = format!("GET / | accept-language: {language}");
            (site.send(&request).await.body, language)
        }
    };
    for (body, language) in join_all((0..30).map(ask)).await {
        assert_eq!(body, language);
    }
    // One for each of them.
    assert_eq!(site.runs(), 3);
    for (body, language) in join_all((0..30).map(ask)).await {
        assert_eq!(body, language);
    }
    assert_eq!(site.runs(), 3);
}

/// What one of the random services answers.
#[derive(Clone, Debug)]
struct Service {
    status: u16,
    control: Option<&'static str>,
    vary: Vec<&'static str>,
    validator: bool,
}

const FIELDS: [&str; 3] = ["x-a", "x-b", "accept-language"];

fn service() -> impl Strategy<Value = Service> {
    let control = proptest::sample::select(vec![
        None,
        Some("max-age=5"),
        Some("max-age=5, stale-while-revalidate=5, stale-if-error=9"),
        Some("no-cache"),
        Some("private"),
        Some("no-store"),
        Some("public, s-maxage=3"),
        Some("max-age=0, stale-while-revalidate=9"),
    ]);
    let status = proptest::sample::select(vec![200, 200, 200, 404, 302, 503]);
    let vary = proptest::sample::subsequence(FIELDS.to_vec(), 0..=3);
    (status, control, vary, any::<bool>()).prop_map(|(status, control, vary, validator)| Service {
        status,
        control,
        vary,
        validator,
    })
}

/// What the random request says, and how long after the last one it comes.
type Asked = (&'static str, [Option<u8>; 3], Option<&'static str>, u64);

fn asked() -> impl Strategy<Value = Asked> {
    let path = proptest::sample::select(vec!["/a", "/a?b", "/b", "/a%20b", "/A", "/a?b=1", "/a/"]);
    let value = || proptest::option::of(0..3_u8);
    let control = proptest::sample::select(vec![
        None,
        None,
        None,
        Some("no-cache"),
        Some("max-stale"),
        Some("max-age=1"),
        Some("only-if-cached"),
        Some("no-store"),
    ]);
    (path, [value(), value(), value()], control, 0..4_u64)
}

/// What a service that says what it depends on answers to a request.
fn echo(service: &Service, path: &str, fields: &[Option<String>; 3]) -> String {
    let mut text = path.to_owned();
    for (name, value) in FIELDS.iter().zip(fields) {
        if service.vary.contains(name) {
            text = format!("{text} {name}={value:?}");
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is asked of whatever answers, and however many ask at once: what comes back is what was asked for.
    #[test]
    fn no_request_is_given_anothers_response(
        service in service(), requests in proptest::collection::vec(asked(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let answered = runtime.block_on(answers(service, requests));
        for (expected, answer) in answered {
            if let Some(answer) = answer {
                prop_assert_eq!(expected, answer);
            }
        }
    }
}

/// What was expected, and what came, for each request; nothing where there was no body to compare.
async fn answers(service: Service, requests: Vec<Asked>) -> Vec<(String, Option<String>)> {
    let answering = service.clone();
    let site = Site::new(
        |builder| builder,
        move |parts, count| {
            let service = answering.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                respond(&service, &parts, count)
            }
        },
    );
    let mut asks = Vec::new();
    let mut at = Duration::ZERO;
    for (path, values, control, later) in requests {
        at += Duration::from_millis(later * 400);
        let (site, service) = (site.clone(), service.clone());
        let values = values.map(|value| value.map(|value| value.to_string()));
        asks.push(async move {
            tokio::time::sleep(at).await;
            let mut request = format!("GET {path}");
            for (name, value) in FIELDS.iter().zip(&values) {
                if let Some(value) = value {
                    request = format!("{request} | {name}: {value}");
                }
            }
            if let Some(control) = control {
                request = format!("{request} | cache-control: {control}");
            }
            let answer = site.send(&request).await;
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            let has_body = answer.status != 504 && answer.status != 304;
            (echo(&service, path, &values), has_body.then_some(body))
        });
    }
    join_all(asks).await
}

fn respond(service: &Service, parts: &axum::http::request::Parts, count: usize) -> Response<Body> {
    let text = |name: &&str| Some(parts.headers.get(*name)?.to_str().unwrap().to_owned());
    let fields = [0, 1, 2].map(|at| text(&FIELDS[at]));
    let body = echo(service, &parts.uri.to_string(), &fields);
    let tag = format!("\"{}\"", body.replace('"', "'"));
    let has_it = parts
        .headers
        .get("if-none-match")
        .is_some_and(|said| said == &*tag);
    // Now and then it fails.
    let status = match service.status {
        503 if count.is_multiple_of(2) => 200,
        status => status,
    };
    let mut answer = if service.validator && has_it && status == 200 {
        response("304", "")
    } else {
        response(&status.to_string(), body)
    };
    let headers = answer.headers_mut();
    if service.validator {
        headers.insert("etag", tag.parse().unwrap());
    }
    if let Some(control) = service.control {
        headers.insert("cache-control", control.parse().unwrap());
    }
    if !service.vary.is_empty() {
        headers.insert("vary", service.vary.join(", ").parse().unwrap());
    }
    answer
}
