//! No request is ever given another's response, in the declared mode: whatever is declared, asked and answered.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use proptest::prelude::*;
use quorate_http::cache::{CacheControl, Declared};

use super::site::{Site, response};

/// What one of the random services answers, and what is declared of it.
#[derive(Clone, Debug)]
struct Service {
    status: u16,
    control: Option<&'static str>,
    /// The fields that its answers depend on: those that are declared, and those that it names itself.
    declared: Vec<&'static str>,
    named: Vec<&'static str>,
    /// Whether its answers depend on who is asking, of which nothing is said.
    is_personal: bool,
    validator: bool,
    windows: [u64; 2],
    /// What its handler says, by the number of the request.
    handler: [Option<u64>; 2],
}

const FIELDS: [&str; 3] = ["x-a", "x-b", "accept-language"];

fn service() -> impl Strategy<Value = Service> {
    let control = proptest::sample::select(vec![
        None,
        None,
        Some("max-age=1"),
        Some("no-cache"),
        Some("private"),
        Some("no-store"),
        Some("must-revalidate"),
    ]);
    let status = proptest::sample::select(vec![200, 200, 200, 404, 302, 503]);
    let fields = || proptest::sample::subsequence(FIELDS.to_vec(), 0..=2);
    let handler = || proptest::option::of(0..4_u64);
    let windows = [0..6_u64, 0..6_u64];
    (
        (status, control, any::<[bool; 2]>(), windows),
        (fields(), fields(), [handler(), handler()]),
    )
        .prop_map(
            |((status, control, [is_personal, validator], windows), (declared, named, handler))| {
                Service {
                    status,
                    control,
                    declared,
                    named,
                    is_personal,
                    validator,
                    windows,
                    handler,
                }
            },
        )
}

/// What a random request says, and how long after the last one it comes.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: &'static str,
    fields: [Option<u8>; 3],
    tenant: Option<u8>,
    cookie: Option<u8>,
    content: &'static str,
    control: Option<&'static str>,
    later: u64,
}

fn asked() -> impl Strategy<Value = Asked> {
    let method = proptest::sample::select(vec!["GET", "GET", "GET", "POST", "HEAD"]);
    let path = proptest::sample::select(vec!["/a", "/a?b", "/b", "/a%20b", "/A", "/a?b=1"]);
    let value = || proptest::option::of(0..2_u8);
    let few = proptest::option::weighted(0.2, 0..2_u8);
    let content = proptest::sample::select(vec!["", "1", "2"]);
    let control = proptest::sample::select(vec![
        None,
        None,
        None,
        Some("no-cache"),
        Some("only-if-cached"),
        Some("no-store"),
    ]);
    let said = (value(), value(), value(), value(), few);
    (method, path, said, content, control, 0..4_u64).prop_map(
        |(method, path, (a, b, language, tenant, cookie), content, control, later)| Asked {
            method,
            path,
            fields: [a, b, language],
            tenant,
            cookie,
            content: if method == "POST" { content } else { "" },
            control,
            later,
        },
    )
}

impl Asked {
    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        let fields = FIELDS.into_iter().zip(self.fields);
        let others = [("x-tenant", self.tenant), ("cookie", self.cookie)];
        for (name, value) in fields.chain(others) {
            if let Some(value) = value {
                request = request.header(name, value.to_string());
            }
        }
        if let Some(control) = self.control {
            request = request.header("cache-control", control);
        }
        request.body(Body::from(self.content)).unwrap()
    }
}

/// What a service answers to a request: all that its answer depends on.
fn echo(service: &Service, parts: &Parts, content: &[u8]) -> String {
    let method = if parts.method == Method::HEAD {
        &Method::GET
    } else {
        &parts.method
    };
    let mut text = format!("{method} {}", parts.uri);
    let personal = service.is_personal.then_some("cookie");
    let all = service.declared.iter().chain(&service.named).copied();
    for name in all.chain(["x-tenant"]).chain(personal) {
        text = format!("{text} {name}={:?}", parts.headers.get(name));
    }
    format!("{text} {}", String::from_utf8_lossy(content))
}

fn respond(service: &Service, parts: &Parts, content: &[u8], count: usize) -> Response<Body> {
    let body = echo(service, parts, content);
    let tag = format!("\"{}\"", body.replace(['"', '\\'], "'"));
    let said = parts.headers.get("if-none-match");
    // Now and then it fails.
    let status = match service.status {
        503 if count.is_multiple_of(2) => 200,
        status => status,
    };
    let has_it = said.is_some_and(|said| said == &*tag);
    let mut answer = if service.validator && has_it && status == 200 {
        response("304", "")
    } else if parts.method == Method::HEAD {
        response(&status.to_string(), "")
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
    if !service.named.is_empty() {
        headers.insert("vary", service.named.join(", ").parse().unwrap());
    }
    if let Some(seconds) = service.handler[count % 2] {
        let said = CacheControl::new().ttl(Duration::from_secs(seconds));
        answer.extensions_mut().insert(said.tags(["t"]));
    }
    answer
}

fn mode(service: &Service) -> Declared {
    let [while_revalidating, if_error] = service.windows.map(Duration::from_secs);
    Declared::new(Duration::from_secs(2))
        .stale_while_revalidate(while_revalidating)
        .stale_if_error(if_error)
        .methods([Method::GET, Method::POST])
        .vary(service.declared.clone())
        .vary_by(|parts| format!("{:?}", parts.headers.get("x-tenant")))
        .should_cache(|_, response| response.status != 302)
}

/// What was to come, and what came, for each request that was answered by the service or in its place.
async fn answers(service: Service, requests: Vec<Asked>) -> Vec<(String, String)> {
    let mode = mode(&service);
    let (answering, seen) = (
        service.clone(),
        std::sync::Arc::<parking_lot::Mutex<usize>>::default(),
    );
    let site = Site::with_content(
        move |builder| builder.declared(mode).wait_for(Duration::from_secs(1)),
        move |parts, content| {
            let service = answering.clone();
            let count = {
                let mut seen = seen.lock();
                *seen += 1;
                *seen
            };
            async move {
                // Some take longer than others wait for them.
                let time = if count.is_multiple_of(5) { 1500 } else { 300 };
                tokio::time::sleep(Duration::from_millis(time)).await;
                respond(&service, &parts, &content, count)
            }
        },
    );
    let mut asks = Vec::new();
    let mut at = Duration::ZERO;
    for asked in requests {
        at += Duration::from_millis(asked.later * 400);
        let (site, service) = (site.clone(), service.clone());
        asks.push(async move {
            tokio::time::sleep(at).await;
            let (parts, _) = asked.request().into_parts();
            let answer = site.send_request(asked.request()).await;
            let status = answer.status();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let is_told = status != 504 && status != 304 && asked.method != "HEAD";
            let expected = echo(&service, &parts, asked.content.as_bytes());
            is_told.then(|| (expected, String::from_utf8(body.to_vec()).unwrap()))
        });
    }
    join_all(asks).await.into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_request_is_given_anothers_response_as_declared(
        service in service(), requests in proptest::collection::vec(asked(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        for (expected, answer) in runtime.block_on(answers(service, requests)) {
            prop_assert_eq!(expected, answer);
        }
    }
}
