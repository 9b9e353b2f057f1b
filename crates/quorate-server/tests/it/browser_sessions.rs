//! The page about sessions in a real browser.

use quorate_testing::browser::Browser;
use serde_json::json;

use crate::support::Served;

fn shows(selector: &str, text: &str) -> String {
    let (selector, text) = (json!(selector), json!(text));
    format!("document.querySelector({selector})?.textContent === {text}")
}

async fn sure(browser: &Browser) {
    browser
        .wait_for("document.querySelector('#sure').open")
        .await
        .unwrap();
    browser.click("#sure-yes").await.unwrap();
}

#[tokio::test]
async fn browser_lists_a_users_sessions_and_ends_them() {
    let served = Served::start().await;
    let mut handles = Vec::new();
    for device in ["phone", "Firefox on Linux", "tablet"] {
        let body = json!({"user": "alice", "device_info": device, "fields": {"cart": [7]}});
        let made = served.post("/v1/sessions", body).await.json();
        handles.push(made["handle"].as_str().unwrap().to_owned());
    }
    let browser = Browser::start().await.unwrap();
    browser.open(&format!("{}/", served.url())).await.unwrap();
    browser.click("nav a[data-view=sessions]").await.unwrap();
    browser.type_text("#sessions-user", "alice").await.unwrap();
    browser.click("#sessions-of button").await.unwrap();
    browser
        .wait_for(&shows("#sessions-note", "alice has 3 sessions."))
        .await
        .unwrap();
    let titles =
        "[...document.querySelectorAll('#sessions .title')].map((node) => node.textContent)";
    let titles = browser.evaluate(titles).await.unwrap();
    assert_eq!(titles, json!(["tablet", "Firefox on Linux", "phone"]));
    let phone = format!("#sessions tr[data-key='{}']", handles[0]);
    assert_eq!(
        browser.text(&format!("{phone} .fields")).await.unwrap(),
        "cart"
    );
    assert_eq!(
        browser.text(&format!("{phone} .ends")).await.unwrap(),
        "in 7 d"
    );
    browser.click(&format!("{phone} button")).await.unwrap();
    sure(&browser).await;
    browser
        .wait_for(&shows("#sessions-result", "Ended 1 session."))
        .await
        .unwrap();
    browser
        .wait_for(&shows("#sessions-note", "alice has 2 sessions."))
        .await
        .unwrap();
    browser.click("#sessions-end-all").await.unwrap();
    sure(&browser).await;
    browser
        .wait_for(&shows("#sessions-result", "Ended 2 sessions."))
        .await
        .unwrap();
    browser
        .wait_for(&shows("#sessions-note", "alice is logged in nowhere."))
        .await
        .unwrap();
    assert_eq!(
        served.get("/v1/sessions/count?user=alice").await.json(),
        json!({"count": 0})
    );
}
