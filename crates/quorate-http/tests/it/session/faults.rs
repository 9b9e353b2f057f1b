//! Without the home.

use std::time::Duration;

use quorate::Fleet;
use quorate_http::session::SessionLayer;
use quorate_testing::servers::{Server, ServerKind};

use quorate_testing::proxy::Proxy;

use super::browser::{COUNT, Site};

/// Looking fails, unless the layer was told that it need not; writing fails in any case, and the client hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn fault_without_the_home_requests_are_told_or_go_on_without_a_session() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let sessions = fleet.sessions().deadline(Duration::from_millis(200));
    let honest = Site::of(sessions.clone(), |layer| layer);
    let lenient = Site::of(sessions, SessionLayer::anonymous_when_down);
    let browser = honest.browser();
    browser.body("/count").await;
    let cookie = browser.cookie().unwrap();
    server.kill();
    let cookie = [("cookie", cookie.as_str())];
    for (site, path, status) in [
        (&honest, "/plain", 200),
        (&honest, "/look", 503),
        (&honest, "/count", 503),
        (&honest, "/write?a=1", 503),
        (&honest, "/login/alice", 503),
        (&honest, "/logout/here", 503),
        (&lenient, "/look", 200),
        (&lenient, "/count", 503),
        (&lenient, "/write?a=1", 503),
        (&lenient, "/login/alice", 503),
        (&lenient, "/logout/elsewhere", 503),
        (&lenient, "/logout/everywhere", 503),
    ] {
        let answer = site.ask(path, &cookie).await;
        // A deadline that passes is 504.
        let status_is = answer.status.as_u16();
        assert!(
            status_is == status || status == 503 && status_is == 504,
            "{path} {answer:?}"
        );
        assert_eq!(answer.field("set-cookie"), "", "{path}");
        if status != 200 {
            assert_eq!(answer.field("content-type"), "application/problem+json");
        }
    }
    assert_eq!(lenient.ask("/look", &cookie).await.body, "None None None");
}

/// Not even when the home is back: the handler has taken the session for none.
#[tokio::test(flavor = "multi_thread")]
async fn fault_what_is_written_in_doubt_is_not_saved() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = Fleet::builder().url(proxy.url());
    let fleet = fleet.max_reconnect_delay(Duration::from_millis(50));
    let fleet = fleet.build().await.unwrap();
    let there = Fleet::connect(&server.url()).await.unwrap();
    for how in ["write", "rotate"] {
        let id = there.sessions().create("alice").field(&COUNT, &7);
        let id = id.await.unwrap().id;
        let sessions = fleet.sessions().deadline(Duration::from_millis(500));
        let site = Site::of(sessions, SessionLayer::anonymous_when_down);
        let browser = site.browser();
        browser.plant(&id);
        proxy.refuse().await;
        proxy.cut().await;
        let heal = async {
            site.meeting.wait().await;
            proxy.heal().await.unwrap();
            fleet.ready().await.unwrap();
            site.meeting.wait().await;
        };
        let path = format!("/doubt/{how}");
        let (answer, ()) = tokio::join!(browser.get(&path), heal);
        assert_eq!(answer.status, 503, "{how} {}", answer.body);
        let list = there.sessions().list("alice").await.unwrap();
        let counts = list.iter().map(|session| session.get(&COUNT).unwrap());
        assert_eq!(counts.collect::<Vec<_>>(), [Some(7)], "{how}");
        there.sessions().delete_all("alice").await.unwrap();
    }
}
