//! The page in a real browser.

use quorate_testing::browser::Browser;
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};
use serde_json::json;

use crate::support::{Served, Setup};

const CONFIG: &str = "fleet.max_reconnect_delay = '200ms'";

async fn instance(backend: &str) -> Served {
    let served = Served::with(Setup {
        args: vec!["--backend", backend],
        config: CONFIG,
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    served
}

/// Whether the list shows this text.
fn listed(text: &str) -> String {
    format!(
        "document.querySelector('#events').textContent.includes({})",
        json!(text)
    )
}

#[tokio::test]
async fn browser_on_one_instance_sees_what_is_posted_to_the_other_and_a_gap_when_redis_restarts() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let (a, b, browser) = tokio::join!(instance(&url), instance(&url), Browser::start());
    let browser = browser.unwrap();
    browser.open(&format!("{}/", a.url())).await.unwrap();
    // It subscribes to everything by itself.
    let subscribed = "document.querySelector('#subscriptions li:not(.waiting)')";
    browser.wait_for(subscribed).await.unwrap();
    browser
        .wait_for("document.querySelector('#backend-state').dataset.state === 'ready'")
        .await
        .unwrap();

    b.post(
        "/v1/events/orders:42",
        json!({"data": {"n": "before the fall"}}),
    )
    .await;
    browser.wait_for(&listed("before the fall")).await.unwrap();
    assert_eq!(browser.text("#gaps").await.unwrap(), "0");

    redis.kill();
    browser
        .wait_for("document.querySelector('#backend-state').dataset.state !== 'ready'")
        .await
        .unwrap();
    redis.restart().await.unwrap();
    browser
        .wait_for("document.querySelector('#events .gap')")
        .await
        .unwrap();
    browser
        .wait_for("document.querySelector('#backend-state').dataset.state === 'ready'")
        .await
        .unwrap();
    assert_eq!(browser.text("#gaps").await.unwrap(), "1");

    b.until_ready(true).await;
    b.post(
        "/v1/events/orders:42",
        json!({"data": {"n": "after the fall"}}),
    )
    .await;
    browser.wait_for(&listed("after the fall")).await.unwrap();
}

#[tokio::test]
async fn browser_publishes_subscribes_and_unsubscribes() {
    let served = Served::start().await;
    let browser = Browser::start().await.unwrap();
    browser
        .open(&format!("{}/#none", served.url()))
        .await
        .unwrap();
    browser
        .wait_for("document.querySelector('#page-state').dataset.state === 'live'")
        .await
        .unwrap();
    browser
        .type_text("#subscribe-topic", "greetings")
        .await
        .unwrap();
    browser.click("#subscribe").await.unwrap();
    browser
        .wait_for("document.querySelector('#subscriptions li:not(.waiting)')")
        .await
        .unwrap();

    browser.clear("#publish-topic").await.unwrap();
    browser
        .type_text("#publish-topic", "greetings")
        .await
        .unwrap();
    browser.clear("#publish-data").await.unwrap();
    browser
        .type_text("#publish-data", r#"{"from": "a person"}"#)
        .await
        .unwrap();
    browser.click("#publish").await.unwrap();
    browser.wait_for(&listed("a person")).await.unwrap();
    assert_eq!(browser.text("#received").await.unwrap(), "1");
    let result = browser.text("#publish-result").await.unwrap();
    assert_eq!(
        result,
        "Published to greetings, matched 1 subscription of instances"
    );

    browser.clear("#publish-topic").await.unwrap();
    browser
        .type_text("#publish-topic", "not a name")
        .await
        .unwrap();
    browser.click("#publish").await.unwrap();
    browser
        .wait_for("document.querySelector('#publish-result.bad')")
        .await
        .unwrap();
    let result = browser.text("#publish-result").await.unwrap();
    assert!(result.contains("topic may contain only"), "{result}");

    browser.click("#subscriptions button").await.unwrap();
    browser
        .wait_for("document.querySelectorAll('#subscriptions li').length === 0")
        .await
        .unwrap();
}

#[tokio::test]
async fn browser_cut_off_from_its_instance_comes_back_by_itself_and_shows_the_gap() {
    let served = Served::start().await;
    let network = Proxy::start(served.authority.parse().unwrap())
        .await
        .unwrap();
    let browser = Browser::start().await.unwrap();
    browser
        .open(&format!("http://{}/", network.addr()))
        .await
        .unwrap();
    let subscribed = "document.querySelector('#subscriptions li:not(.waiting)')";
    browser.wait_for(subscribed).await.unwrap();

    network.refuse().await;
    network.cut().await;
    browser
        .wait_for("document.querySelector('#page-state').dataset.state === 'offline'")
        .await
        .unwrap();
    served
        .post("/v1/events/a", json!({"data": "nobody sees this"}))
        .await;
    network.heal().await.unwrap();
    browser
        .wait_for("document.querySelector('#events .gap')")
        .await
        .unwrap();
    browser.wait_for(subscribed).await.unwrap();
    served
        .post("/v1/events/a", json!({"data": "back again"}))
        .await;
    browser.wait_for(&listed("back again")).await.unwrap();
    assert_eq!(browser.text("#received").await.unwrap(), "1");
}

#[tokio::test]
async fn browser_asks_for_the_token_and_keeps_only_a_cookie() {
    let served = Served::with(Setup {
        env: vec![("QUORATE_TOKEN", "correct-horse-battery-staple")],
        ..Setup::default()
    })
    .await;
    let browser = Browser::start().await.unwrap();
    browser.open(&format!("{}/", served.url())).await.unwrap();
    browser
        .wait_for("!document.querySelector('#login').hidden")
        .await
        .unwrap();
    browser.type_text("#token", "wrong").await.unwrap();
    browser.click("#login-form button").await.unwrap();
    browser
        .wait_for("document.querySelector('#login-error').textContent")
        .await
        .unwrap();
    browser.clear("#token").await.unwrap();
    browser
        .type_text("#token", "correct-horse-battery-staple")
        .await
        .unwrap();
    browser.click("#login-form button").await.unwrap();
    browser
        .wait_for("document.querySelector('#page-state').dataset.state === 'live'")
        .await
        .unwrap();
    let kept = browser
        .evaluate("JSON.stringify([document.cookie, localStorage, sessionStorage])")
        .await
        .unwrap();
    assert!(!kept.to_string().contains("staple"), "{kept}");
    browser.click("#publish").await.unwrap();
    browser
        .wait_for("document.querySelector('#received').textContent === '1'")
        .await
        .unwrap();
}
