//! Logging in and out.

use std::time::Duration;

use quorate::{Fleet, SessionRef};

use super::browser::{COUNT, NAME, Site};

/// Whatever id the browser came with: the fields come along, and the old id is good no more.
#[tokio::test]
async fn who_logs_in_gets_another_id() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    let planted = site
        .sessions
        .create_anonymous()
        .field(&COUNT, &7)
        .await
        .unwrap()
        .id;
    browser.plant(&planted);
    let answer = browser.get("/login/alice").await;
    assert_eq!(answer.body, "Some(\"alice\") Some(7)");
    assert_ne!(browser.id().handle(), planted.handle());
    assert!(!site.sessions.is_valid(&planted).await.unwrap());
    assert_eq!(browser.body("/account").await, "alice");
    let before = browser.id();
    assert_eq!(
        browser.body("/login/alice").await,
        "Some(\"alice\") Some(7)"
    );
    assert!(!site.sessions.is_valid(&before).await.unwrap());
    assert_eq!(site.sessions.count("alice").await.unwrap(), 1);
}

/// Nor does an id that proves nothing.
#[tokio::test]
async fn who_has_no_session_logs_in_all_the_same() {
    let site = Site::new(&Fleet::embedded());
    let gone = site.sessions.create_anonymous().await.unwrap().id;
    site.sessions.delete(&gone).await.unwrap();
    let browser = site.browser();
    for nth in 1..=2 {
        assert_eq!(browser.body("/login/alice").await, "Some(\"alice\") None");
        assert_eq!(site.sessions.count("alice").await.unwrap(), nth);
        browser.plant(&gone);
    }
    assert_eq!(browser.get("/account").await.status, 401);
}

/// What was another user's does not go on, nor what the request has changed there.
#[tokio::test]
async fn of_another_users_session_nothing_comes_along() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/login/alice").await;
    browser.body("/count").await;
    let alices = browser.id();
    assert_eq!(browser.get("/count-and-login/bob").await.status, 200);
    assert_eq!(browser.body("/look").await, "Some(\"bob\") None Some(0)");
    assert!(!site.sessions.is_valid(&alices).await.unwrap());
    // Of the same user, and of nobody, it does.
    assert_eq!(browser.get("/count-and-login/bob").await.status, 200);
    assert_eq!(
        browser.body("/look").await,
        "Some(\"bob\") Some(50) Some(1)"
    );
    let other = site.browser();
    other.get("/count-and-login/eve").await;
    assert_eq!(other.body("/look").await, "Some(\"eve\") Some(50) Some(1)");
}

#[tokio::test]
async fn who_logs_out_has_no_session_and_no_cookie() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/login/alice").await;
    let id = browser.id();
    let answer = browser.get("/logout/here").await;
    assert_eq!(answer.body, "true");
    assert_eq!(
        answer.field("set-cookie"),
        format!("{NAME}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
    );
    assert!(!site.sessions.is_valid(&id).await.unwrap());
    assert_eq!(browser.body("/logout/here").await, "false");
    browser.plant(&id);
    assert_eq!(browser.body("/look").await, "None None None");
}

/// On every instance.
#[tokio::test]
async fn who_logs_out_elsewhere_stays_and_everywhere_goes() {
    let fleet = Fleet::embedded();
    let (one, two) = (Site::new(&fleet), Site::new(&fleet));
    let (here, there) = (one.browser(), two.browser());
    for browser in [&here, &there] {
        browser.body("/login/alice").await;
    }
    assert_eq!(here.body("/logout/elsewhere").await, "1");
    assert_eq!(there.get("/account").await.status, 401);
    assert_eq!(here.body("/account").await, "alice");
    there.body("/login/alice").await;
    assert_eq!(there.body("/logout/everywhere").await, "2");
    assert_eq!(there.cookie(), None);
    assert_eq!(here.get("/account").await.status, 401);
    here.plant(&one.sessions.create_anonymous().await.unwrap().id);
    assert_eq!(here.body("/logout/elsewhere").await, "0");
    assert_eq!(here.body("/logout/everywhere").await, "1");
}

/// A request with the old id that is late still works, and leaves the cookie alone.
#[tokio::test(start_paused = true)]
async fn an_id_is_rotated_and_who_comes_late_is_not_told() {
    let site = Site::new(&Fleet::embedded());
    let browser = site.browser();
    browser.body("/login/alice").await;
    let before = browser.cookie().unwrap();
    assert_eq!(browser.body("/rotate").await, "true");
    assert_ne!(browser.cookie().unwrap(), before);
    let late = async |path: &str| site.ask(path, &[("cookie", &before)]).await;
    for (path, body) in [("/rotate", "false"), ("/count", "1"), ("/account", "alice")] {
        let answer = late(path).await;
        assert_eq!(
            (answer.body.as_str(), answer.field("set-cookie")),
            (body, "")
        );
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(late("/rotate").await.body, "false");
    let answer = late("/look").await;
    assert_eq!(
        (answer.body.as_str(), answer.field("set-cookie")),
        ("None None None", "")
    );
    assert_eq!(browser.body("/count").await, "2");
}
