//! The browser does what a person does. Needs the feature `browser` and a Chromium.

use quorate_testing::browser::{Browser, BrowserError};

/// A page that answers a click, a while later.
const PAGE: &str = "data:text/html,<title>t</title><input id=name><button id=greet \
    onclick=\"setTimeout(() => { out.textContent = 'Hello, ' + document.getElementById('name').value }, 50)\">\
    Greet</button><p id=out>nothing</p>";

#[tokio::test]
async fn browser_types_clicks_waits_and_reads() {
    let browser = Browser::start().await.unwrap();
    browser.open(PAGE).await.unwrap();
    assert_eq!(browser.text("#out").await.unwrap(), "nothing");
    browser.type_text("#name", "someone").await.unwrap();
    browser.clear("#name").await.unwrap();
    browser.type_text("#name", "you").await.unwrap();
    browser.click("#greet").await.unwrap();
    browser
        .wait_for("out.textContent.startsWith('Hello')")
        .await
        .unwrap();
    assert_eq!(browser.text("#out").await.unwrap(), "Hello, you");
    assert_eq!(browser.evaluate("document.title").await.unwrap(), "t");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("page.png");
    browser.resize(800, 600).await.unwrap();
    browser.screenshot(&file).await.unwrap();
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn browser_says_what_is_missing() {
    let browser = Browser::start().await.unwrap();
    browser.open(PAGE).await.unwrap();
    let error = browser.click("#absent").await.unwrap_err();
    assert!(matches!(error, BrowserError::Command { .. }), "{error}");
    assert!(error.to_string().contains("#absent"), "{error}");
    assert!(browser.evaluate("absent.value").await.is_err());
}
