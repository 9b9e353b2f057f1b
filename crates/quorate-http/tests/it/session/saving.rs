//! What is asked of the home, and what is saved.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use quorate::Fleet;
use quorate_http::session::{CurrentSession, SessionCookie, SessionLayer};
use quorate_testing::servers::{Server, ServerKind};
use tower::ServiceExt;

use super::browser::{COUNT, NAME, Site};

const HOUR: Duration = Duration::from_secs(3600);

/// Also where the home is gone.
#[tokio::test]
async fn who_does_not_look_asks_nobody_and_is_told_nothing() {
    let fleet = Fleet::embedded();
    let site = Site::new(&fleet);
    let browser = site.browser();
    browser.body("/count").await;
    fleet.close().await;
    let answer = browser.get("/plain").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "plain")
    );
    for name in ["set-cookie", "vary", "cache-control"] {
        assert_eq!(answer.field(name), "");
    }
}

#[tokio::test]
async fn a_session_begins_when_something_is_written() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    assert_eq!(browser.body("/look").await, "None None None");
    assert_eq!(browser.cookie(), None);
    let answer = browser.get("/count").await;
    assert_eq!(answer.body, "1");
    let id = browser.id();
    assert_eq!(
        answer.field("set-cookie"),
        format!(
            "{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax",
            id.expose()
        )
    );
    let answer = browser.get("/count").await;
    assert_eq!(
        (answer.body.as_str(), answer.field("set-cookie")),
        ("2", "")
    );
    assert_eq!(browser.body("/look").await, "None Some(2) Some(1)");
    let session = site.sessions.get(&id).await.unwrap().unwrap();
    assert_eq!(
        (session.user(), session.get(&COUNT).unwrap()),
        (None, Some(2))
    );
}

/// And it stays with the browser until there is another: who sends it may be about to be told.
#[tokio::test]
async fn what_proves_no_session_is_none() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/count").await;
    let ended = browser.id();
    site.sessions.delete(&ended).await.unwrap();
    for cookie in ["junk".to_owned(), String::new(), ended.expose()] {
        let pair = format!("{NAME}={cookie}");
        let answer = site.ask("/look", &[("cookie", &pair)]).await;
        assert_eq!(answer.body, "None None None");
        assert_eq!(answer.field("set-cookie"), "");
        let answer = site.ask("/write?count=5", &[("cookie", &pair)]).await;
        assert!(answer.field("set-cookie").starts_with(NAME), "{answer:?}");
    }
    let answer = site.ask("/write?", &[]).await;
    assert_eq!(answer.field("set-cookie"), "");
}

async fn scripts_run(server: &Server) -> u64 {
    let info = server.command(&["INFO", "commandstats"]).await.unwrap();
    let prefix = "cmdstat_evalsha:calls=";
    let line = info
        .as_str()
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix(prefix));
    line.map_or(0, |line| line.split_once(',').unwrap().0.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_asks_once_and_saves_once() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let browser = Site::new(&fleet).browser();
    for path in ["/count", "/count", "/look"] {
        browser.body(path).await; // so that the server has the scripts
    }
    for (path, calls) in [
        ("/plain", 0),
        ("/look", 1),
        ("/count", 2),
        ("/write?a=1&b=2", 2),
    ] {
        let before = scripts_run(&server).await;
        browser.body(path).await;
        assert_eq!(scripts_run(&server).await - before, calls, "{path}");
    }
    fleet.close().await;
}

#[tokio::test]
async fn requests_at_once_that_change_different_fields_lose_none() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/count").await;
    let (one, two) = tokio::join!(browser.get("/together/one"), browser.get("/together/two"));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    let session = site.sessions.get(&browser.id()).await.unwrap().unwrap();
    assert_eq!(
        session.fields().collect::<Vec<_>>(),
        ["count", "one", "two"]
    );
}

/// The client is told, and what it wrote begins no other session.
#[tokio::test]
async fn a_session_that_ends_meanwhile_is_not_brought_back() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/login/alice").await;
    let end = async {
        site.meeting.wait().await;
        site.sessions.delete_all("alice").await.unwrap();
        site.meeting.wait().await;
    };
    let (answer, ()) = tokio::join!(browser.get("/together/one"), end);
    assert_eq!(answer.status, 401);
    assert!(
        answer.body.contains("\"outcome\":\"unknown\""),
        "{}",
        answer.body
    );
    assert_eq!(answer.field("set-cookie"), "");
    assert!(!site.sessions.is_valid(&browser.id()).await.unwrap());
}

/// Whatever the handler did in between: nothing that it wrote for that session goes on in another.
#[tokio::test]
async fn what_was_written_for_a_session_that_ended_begins_no_other() {
    let site = Site::new(&Fleet::embedded());
    for how in ["take", "rotate", "login"] {
        let browser = site.browser();
        browser.body("/login/alice").await;
        browser.body("/count").await;
        let end = async {
            site.meeting.wait().await;
            for user in ["alice", "bob"] {
                site.sessions.delete_all(user).await.unwrap();
            }
            site.meeting.wait().await;
        };
        let path = format!("/ended/{how}");
        let (answer, ()) = tokio::join!(browser.get(&path), end);
        assert_eq!(answer.status, 401, "{how}");
        assert_eq!(browser.body("/look").await, "None None None", "{how}");
    }
}

#[tokio::test]
async fn the_answer_of_a_fault_saves_nothing() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/count").await;
    assert_eq!(browser.get("/fault").await.status, 500);
    assert_eq!(browser.body("/count").await, "2");
}

#[tokio::test]
async fn what_a_request_takes_is_taken_once() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    assert_eq!(browser.body("/take").await, "None None");
    browser.body("/write?count=7").await;
    assert_eq!(browser.body("/take").await, "Some(7) None");
    assert_eq!(browser.body("/take").await, "None None");
}

/// Rather than lost.
#[tokio::test]
async fn changes_after_the_response_are_refused() {
    let (tell, mut told) = tokio::sync::mpsc::channel::<CurrentSession>(1);
    let keep = move |session: CurrentSession| {
        let tell = tell.clone();
        async move {
            session.set(&COUNT, &1).unwrap();
            tell.send(session).await.unwrap();
        }
    };
    let layer = SessionLayer::new(Fleet::embedded().sessions());
    let app: Router = Router::new().route("/", get(keep)).layer(layer);
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let session = told.recv().await.unwrap();
    assert_eq!(
        session.set(&COUNT, &2).unwrap_err().kind(),
        quorate::ErrorKind::Closed
    );
    session.remove(&COUNT).unwrap_err();
    session.take(&COUNT).await.unwrap_err();
    session.log_in("alice").await.unwrap_err();
    session.log_out().await.unwrap_err();
    session.rotate().await.unwrap_err();
    assert_eq!(session.get(&COUNT).await.unwrap(), Some(1));
}

/// Nor may who was left behind look: the response has said that it does not depend on the session.
#[tokio::test]
async fn who_has_not_looked_before_the_response_may_not_later() {
    let (tell, mut told) = tokio::sync::mpsc::channel::<CurrentSession>(1);
    let keep = move |session: CurrentSession| {
        let tell = tell.clone();
        async move { tell.send(session).await.unwrap() }
    };
    let sessions = Fleet::embedded().sessions();
    let id = sessions.create("alice").await.unwrap().id;
    let layer = SessionLayer::new(sessions.clone());
    let app: Router = Router::new().route("/", get(keep)).layer(layer);
    let cookie = format!("{NAME}={}", id.expose());
    let request = Request::get("/").header("cookie", cookie);
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await;
    assert!(!response.unwrap().headers().contains_key("vary"));
    let session = told.recv().await.unwrap();
    for error in [
        session.set(&COUNT, &2).unwrap_err(),
        session.get(&COUNT).await.unwrap_err(),
        session.user().await.unwrap_err(),
        session.id().await.unwrap_err(),
        session.log_in("bob").await.unwrap_err(),
        session.log_out_everywhere().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), quorate::ErrorKind::Closed);
    }
    assert_eq!(sessions.count("alice").await.unwrap(), 1);
}

/// Given when it is new, and not when the session is used: another response may just have given another.
#[tokio::test(start_paused = true)]
async fn a_cookie_that_stays_is_given_when_it_is_new() {
    let fleet = Fleet::embedded();
    let cookie = SessionCookie::default().persistent();
    let site = Site::of(fleet.sessions().ttl(HOUR), |layer| {
        layer.cookie(cookie).unwrap()
    });
    let browser = site.browser();
    for path in ["/count", "/rotate", "/login/alice"] {
        let answer = browser.get(path).await;
        let stays = "; Max-Age=34560000;"; // 400 days
        assert!(answer.field("set-cookie").contains(stays), "{answer:?}");
        // Long enough for the use to be written down.
        tokio::time::advance(Duration::from_secs(120)).await;
        let answer = browser.get("/count").await;
        assert_eq!(
            (answer.status.as_u16(), answer.field("set-cookie")),
            (200, "")
        );
    }
    tokio::time::advance(HOUR).await;
    assert_eq!(
        browser.get("/account").await.status,
        401,
        "the home decides"
    );
}

/// With the newest key.
#[tokio::test]
async fn a_cookie_signed_with_a_key_that_is_to_go_is_given_again() {
    let fleet = Fleet::embedded();
    let (old, new) = ([1; 32], [2; 32]);
    let site = |keys: Vec<[u8; 32]>| {
        let cookie = SessionCookie::default().signed(keys);
        Site::with(&fleet, |layer| layer.cookie(cookie).unwrap())
    };
    let browser = site(vec![old]).browser();
    browser.body("/count").await;
    let before = browser.cookie().unwrap();
    let both = site(vec![new, old]);
    let answer = both.ask("/look", &[("cookie", &before)]).await;
    let after = answer
        .field("set-cookie")
        .split_once(';')
        .unwrap()
        .0
        .to_owned();
    assert_eq!(answer.body, "None Some(1) Some(1)");
    let answer = site(vec![new]).ask("/look", &[("cookie", &after)]).await;
    assert_eq!(
        (answer.body.as_str(), answer.field("set-cookie")),
        ("None Some(1) Some(1)", "")
    );
    let answer = site(vec![new]).ask("/look", &[("cookie", &before)]).await;
    assert_eq!(answer.body, "None None None");
}

#[tokio::test]
async fn without_cookies_the_id_is_a_bearer_token() {
    let site = Site::with(&Fleet::embedded(), SessionLayer::bearer);
    let answer = site.ask("/count", &[]).await;
    assert_eq!(
        (answer.field("set-cookie"), answer.field("cache-control")),
        ("", "no-store")
    );
    let token = format!("Bearer {}", answer.field("session-id"));
    let answer = site.ask("/count", &[("authorization", &token)]).await;
    assert_eq!(
        (answer.body.as_str(), answer.field("vary")),
        ("2", "authorization")
    );
    assert!(!answer.headers.contains_key("session-id"));
    let answer = site.ask("/logout/here", &[("authorization", &token)]).await;
    assert_eq!(answer.headers["session-id"], "");
    let pair = format!("{NAME}={}", token.split_once(' ').unwrap().1);
    assert_eq!(
        site.ask("/look", &[("cookie", &pair)]).await.body,
        "None None None"
    );
}

#[tokio::test]
async fn lists_say_on_which_device_a_session_began() {
    let tell = |request: &axum::http::request::Parts| {
        let agent = request.headers.get("user-agent")?;
        Some(agent.to_str().ok()?.to_owned())
    };
    let site = Site::with(&Fleet::embedded(), |layer| layer.device_info(tell));
    let long = "x".repeat(3000);
    for agent in ["Firefox", "", &long] {
        site.ask("/login/alice", &[("user-agent", agent)]).await;
    }
    let list = site.sessions.list("alice").await.unwrap();
    let mut devices: Vec<_> = list
        .iter()
        .filter_map(|session| session.device_info())
        .collect();
    devices.sort_unstable();
    assert_eq!(devices, ["Firefox", &long[..1024]]);
}

#[tokio::test]
async fn without_the_layer_the_handler_says_so() {
    let site = super::browser::router();
    let request = Request::get("/count").body(Body::empty()).unwrap();
    assert_eq!(site.oneshot(request).await.unwrap().status(), 500);
}
