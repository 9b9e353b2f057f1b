//! A service behind the layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::any;
use http_body_util::BodyExt;
use quorate::{Fleet, Outcome};
use quorate_http::idempotency::{IdempotencyBuilder, IdempotencyLayer, IdempotencyScope};
use quorate_http::{Code, Problem};
use tokio::sync::Semaphore;
use tower::ServiceExt;

pub(super) const CALLER: HeaderName = HeaderName::from_static("x-caller");

/// What one instance of a service, or several, have in common.
#[derive(Clone)]
pub(super) struct Site {
    /// How often the handler began, and ended.
    pub(super) began: Arc<AtomicU64>,
    pub(super) ended: Arc<AtomicU64>,
    /// Handlers whose path is `/slow` wait for one of these.
    pub(super) gate: Arc<Semaphore>,
}

/// An answer as a client sees it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

pub(super) fn layer(fleet: &Fleet) -> IdempotencyBuilder {
    IdempotencyLayer::builder(fleet, IdempotencyScope::header(CALLER))
}

impl Site {
    pub(super) fn new() -> Self {
        Self {
            began: Arc::default(),
            ended: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// One instance.
    pub(super) fn app(&self, builder: IdempotencyBuilder) -> Router {
        self.app_behind(builder.build().unwrap())
    }

    pub(super) fn app_behind(&self, layer: IdempotencyLayer) -> Router {
        let site = self.clone();
        let handler = move |request: Request<Body>| site.clone().handle(request);
        Router::new().route("/{*path}", any(handler)).layer(layer)
    }

    pub(super) fn began(&self) -> u64 {
        self.began.load(Ordering::SeqCst)
    }

    async fn handle(self, request: Request<Body>) -> Response<Body> {
        let number = self.began.fetch_add(1, Ordering::SeqCst) + 1;
        let (path, body) = (request.uri().path().to_owned(), request.into_body());
        let body = body.collect().await.unwrap().to_bytes();
        let mut status = StatusCode::CREATED;
        match &*path {
            "/slow" => self.gate.acquire().await.unwrap().forget(),
            "/busy" if number == 1 => status = StatusCode::SERVICE_UNAVAILABLE,
            "/unknown" => {
                let problem = Problem::new(Code::Unavailable, "the reply was lost");
                return problem.with_outcome(Outcome::Unknown).into_response();
            }
            "/stream" => {
                let parts = [Ok::<_, std::io::Error>("a"), Ok("b")];
                let body = Body::from_stream(futures_util::stream::iter(parts));
                return Response::new(body);
            }
            "/broken" => status = StatusCode::INTERNAL_SERVER_ERROR,
            "/panic" => assert!(number > 1, "the first time"),
            _ => {}
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        let text = String::from_utf8(body.to_vec()).unwrap();
        Response::builder()
            .status(status)
            .header("location", format!("/orders/{number}"))
            .header("x-twice", "a")
            .header("x-twice", "b")
            .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .body(Body::from(format!("{number} {text}")))
            .unwrap()
    }
}

pub(super) fn post(path: &str, key: &str, body: &str) -> Request<Body> {
    let request = Request::post(path).header(CALLER, "ann");
    let request = request.header("idempotency-key", key);
    request.body(Body::from(body.to_owned())).unwrap()
}

pub(super) async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

impl Answer {
    pub(super) fn is_replayed(&self) -> bool {
        self.headers.contains_key("idempotent-replayed")
    }

    /// The code of a problem document.
    pub(super) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}
