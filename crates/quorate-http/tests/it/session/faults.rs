//! Without the home.

use std::time::Duration;

use quorate::Fleet;
use quorate_http::session::SessionLayer;
use quorate_testing::servers::{Server, ServerKind};

use super::browser::Site;

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
