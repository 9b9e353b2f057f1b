//! A service with sessions, and a browser that keeps its cookie.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use quorate::{Fleet, SessionId, SessionKey, Sessions};
use quorate_http::Rejection;
use quorate_http::session::{CurrentSession, SessionLayer, SessionUser};
use tokio::sync::Barrier;
use tower::ServiceExt;

pub(super) const COUNT: SessionKey<u32> = SessionKey::new("count");
pub(super) const NAME: &str = "__Host-session";

type Answered<T> = Result<T, Rejection>;

/// What handlers have for all requests.
#[derive(Clone)]
struct Meeting(Arc<Barrier>);

async fn count(session: CurrentSession) -> Answered<String> {
    let count = session.get(&COUNT).await?.unwrap_or(0) + 1;
    session.set(&COUNT, &count)?;
    Ok(session.get(&COUNT).await?.unwrap_or_default().to_string())
}

/// Several who look, by extractors of their own.
async fn look(
    one: CurrentSession,
    two: CurrentSession,
    session: CurrentSession,
) -> Answered<String> {
    let key = COUNT;
    let (user, count, load) = tokio::join!(one.user(), two.get(&key), session.load());
    let found = load?.map(|session| session.fields().count());
    Ok(format!("{:?} {:?} {found:?}", user?, count?))
}

async fn write(session: CurrentSession, Query(fields): Query<Vec<(String, u32)>>) -> Answered<()> {
    for (name, value) in fields {
        session.set(&SessionKey::<u32>::try_new(name)?, &value)?;
    }
    Ok(())
}

/// Writes once all others have looked, or what the test does is done.
async fn together(
    session: CurrentSession,
    Path(name): Path<String>,
    Extension(Meeting(barrier)): Extension<Meeting>,
) -> Answered<()> {
    session.load().await?;
    barrier.wait().await;
    session.set(&SessionKey::try_new(name)?, &1)?;
    barrier.wait().await;
    Ok(())
}

/// Writes to a session that ends while it is worked on.
async fn ended(
    session: CurrentSession,
    Path(how): Path<String>,
    Extension(Meeting(barrier)): Extension<Meeting>,
) -> Answered<()> {
    session.load().await?;
    if how == "login" {
        session.log_in("bob").await?;
    }
    session.set(&SessionKey::try_new("other")?, &1)?;
    barrier.wait().await;
    barrier.wait().await;
    match how.as_str() {
        "take" => drop(session.take(&COUNT).await?),
        "rotate" => drop(session.rotate().await?),
        _ => drop(session.user().await?),
    }
    Ok(())
}

/// Looks, waits until the home is back, and writes.
async fn doubt(
    session: CurrentSession,
    Path(how): Path<String>,
    Extension(Meeting(barrier)): Extension<Meeting>,
) -> Answered<()> {
    let count = session.get(&COUNT).await?.unwrap_or(0) + 1;
    session.set(&COUNT, &count)?;
    barrier.wait().await;
    barrier.wait().await;
    if how == "rotate" {
        session.rotate().await?;
    }
    Ok(())
}

async fn fault(session: CurrentSession) -> Answered<StatusCode> {
    session.set(&COUNT, &99)?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn take(session: CurrentSession) -> Answered<String> {
    let taken = session.take(&COUNT).await?;
    Ok(format!("{taken:?} {:?}", session.get(&COUNT).await?))
}

async fn log_in(session: CurrentSession, Path(user): Path<String>) -> Answered<String> {
    session.log_in(&user).await?;
    let count = session.get(&COUNT).await?;
    Ok(format!("{:?} {count:?}", session.user().await?))
}

async fn count_and_log_in(session: CurrentSession, Path(user): Path<String>) -> Answered<()> {
    session.set(&COUNT, &50)?;
    Ok(session.log_in(&user).await?)
}

async fn log_out(session: CurrentSession, Path(whom): Path<String>) -> Answered<String> {
    Ok(match whom.as_str() {
        "here" => session.log_out().await?.to_string(),
        "elsewhere" => session.log_out_elsewhere().await?.to_string(),
        _ => session.log_out_everywhere().await?.to_string(),
    })
}

async fn rotate(session: CurrentSession) -> Answered<String> {
    Ok(session.rotate().await?.to_string())
}

pub(super) fn router() -> Router {
    Router::new()
        .route("/plain", get(|_: CurrentSession| async { "plain" }))
        .route("/count", get(count))
        .route("/look", get(look))
        .route("/write", get(write))
        .route("/together/{name}", get(together))
        .route("/ended/{how}", get(ended))
        .route("/doubt/{how}", get(doubt))
        .route("/fault", get(fault))
        .route("/take", get(take))
        .route("/login/{user}", get(log_in))
        .route("/count-and-login/{user}", get(count_and_log_in))
        .route("/logout/{whom}", get(log_out))
        .route("/rotate", get(rotate))
        .route(
            "/account",
            get(|SessionUser(user): SessionUser| async { user }),
        )
}

/// A service, and the sessions it has.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) router: Router,
    pub(super) sessions: Sessions,
    pub(super) meeting: Arc<Barrier>,
}

/// What a browser was given.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self::with(fleet, |layer| layer)
    }

    pub(super) fn with(
        fleet: &Fleet,
        configure: impl FnOnce(SessionLayer) -> SessionLayer,
    ) -> Self {
        Self::of(fleet.sessions(), configure)
    }

    pub(super) fn of(
        sessions: Sessions,
        configure: impl FnOnce(SessionLayer) -> SessionLayer,
    ) -> Self {
        let meeting = Arc::new(Barrier::new(2));
        let layer = configure(SessionLayer::new(sessions.clone()));
        let router = router().layer(Extension(Meeting(meeting.clone())));
        Self {
            router: router.layer(layer),
            sessions,
            meeting,
        }
    }

    pub(super) fn browser(&self) -> Browser {
        Browser {
            site: self.clone(),
            cookie: Mutex::default(),
        }
    }

    /// With these headers, from nobody in particular.
    pub(super) async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

/// A browser that keeps its cookie.
pub(super) struct Browser {
    site: Site,
    cookie: Mutex<Option<String>>,
}

impl Browser {
    pub(super) async fn get(&self, path: &str) -> Answer {
        let cookie = self.cookie.lock().clone();
        let answer = match &cookie {
            Some(cookie) => self.site.ask(path, &[("cookie", cookie)]).await,
            None => self.site.ask(path, &[]).await,
        };
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (pair, rest) = line.split_once(';').unwrap();
            *self.cookie.lock() = (!rest.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        answer
    }

    pub(super) async fn body(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    pub(super) fn cookie(&self) -> Option<String> {
        self.cookie.lock().clone()
    }

    pub(super) fn plant(&self, id: &SessionId) {
        *self.cookie.lock() = Some(format!("{NAME}={}", id.expose()));
    }

    /// The id that its cookie is.
    pub(super) fn id(&self) -> SessionId {
        let cookie = self.cookie().expect("it has a cookie");
        SessionId::parse(cookie.split_once('=').unwrap().1).unwrap()
    }
}
