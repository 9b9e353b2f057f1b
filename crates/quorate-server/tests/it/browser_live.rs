//! The live view of the page in a real browser: topics, what they keep, instances, clients.

use quorate_testing::browser::Browser;
use quorate_testing::servers::{Server, ServerKind};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Served, Setup, Ws};

const CONFIG: &str = "[topics.room]\npresence = true\n[topics.room.keep]\ntime = '1h'";

async fn subscribed(served: &Served, topics: &[&str]) -> (Ws, String) {
    let mut ws = served.ws(&[]).await.unwrap();
    let hello = ws.until(|frame| frame["event"] == "hello").await;
    for topic in topics {
        ws.send(json!({"id": topic, "subscribe": topic})).await;
        ws.until(|frame| frame["id"] == *topic).await;
    }
    (ws, hello["client"].as_str().unwrap().to_owned())
}

/// Whether an element shows exactly this text.
fn shows(selector: &str, text: &str) -> String {
    format!(
        "document.querySelector({})?.textContent === {}",
        json!(selector),
        json!(text)
    )
}

/// The cell of a row of a table, by what the row is about.
fn cell(table: &str, key: &str, name: &str) -> String {
    format!("{table} > tr[data-key={}] .{name}", json!(key))
}

async fn open(served: &Served, path: &str) -> Browser {
    let browser = Browser::start().await.unwrap();
    let url = format!("{}{path}", served.url());
    browser.open(&url).await.unwrap();
    browser
}

async fn texts(browser: &Browser, selector: &str) -> Value {
    let list = format!(
        "[...document.querySelectorAll({})].map((node) => node.textContent)",
        json!(selector)
    );
    browser.evaluate(&list).await.unwrap()
}

#[tokio::test]
async fn browser_live_shows_topics_who_is_there_and_what_is_kept_page_by_page() {
    let served = Served::configured(CONFIG).await;
    let (_ws, id) = subscribed(&served, &["room:42", "orders:*"]).await;
    for number in 1..=120 {
        let body = json!({"data": format!("message {number}")});
        served.post("/v1/events/room:42", body).await;
    }
    let browser = open(&served, "/#none").await;
    browser.click("nav a[data-view=topics]").await.unwrap();
    browser
        .wait_for(&shows(&cell("#topics", "room:42", "messages"), "120"))
        .await
        .unwrap();
    browser
        .wait_for(&shows(&cell("#topics", "room:42", "clients"), "1"))
        .await
        .unwrap();
    // The filter leaves what it should.
    browser.type_text("#topic-filter", "ORDERS").await.unwrap();
    browser
        .wait_for("document.querySelectorAll('#topics tr').length === 1")
        .await
        .unwrap();
    assert_eq!(texts(&browser, "#topics .name").await, json!(["orders:*"]));
    browser.clear("#topic-filter").await.unwrap();
    browser
        .wait_for("document.querySelectorAll('#topics tr').length === 2")
        .await
        .unwrap();

    browser
        .click(&cell("#topics", "room:42", "name"))
        .await
        .unwrap();
    browser.wait_for(&shows("#present li", &id)).await.unwrap();
    let note = |text: &str| shows("#history-note", text);
    browser
        .wait_for(&note(
            "Messages 71 to 120, the oldest first; the last is the latest.",
        ))
        .await
        .unwrap();
    browser.click("#history-begin").await.unwrap();
    let first = note("Messages 1 to 50, the oldest first.");
    browser.wait_for(&first).await.unwrap();
    assert_eq!(texts(&browser, "#history .data").await[49], "message 50");
    browser.click("#history-next").await.unwrap();
    browser
        .wait_for(&note("Messages 51 to 100, the oldest first."))
        .await
        .unwrap();
    browser.click("#history-next").await.unwrap();
    browser
        .wait_for(&note(
            "Messages 101 to 120, the oldest first; the last is the latest.",
        ))
        .await
        .unwrap();
    assert_eq!(texts(&browser, "#history .data").await[19], "message 120");
    browser
        .wait_for("document.querySelector('#history-next').disabled")
        .await
        .unwrap();
    browser.click("#history-back").await.unwrap();
    // The buttons rest while a page is read.
    browser
        .wait_for(&note("Messages 51 to 100, the oldest first."))
        .await
        .unwrap();
    browser.click("#history-back").await.unwrap();
    browser.wait_for(&first).await.unwrap();
}

#[tokio::test]
async fn browser_live_publishes_to_a_kept_topic_and_shows_its_history() {
    let served = Served::configured(CONFIG).await;
    let browser = open(&served, "/?view=topics&topic=room:7#room:7").await;
    browser
        .wait_for(&shows("#history-note", "Nothing is kept at the moment."))
        .await
        .unwrap();
    browser.click("#topic-publish").await.unwrap();
    browser.clear("#publish-data").await.unwrap();
    let data = r#"{"text": "<b>kept</b>"}"#;
    browser.type_text("#publish-data", data).await.unwrap();
    browser.click("#publish").await.unwrap();
    browser
        .wait_for("document.querySelector('#publish-result').textContent.includes('kept at ')")
        .await
        .unwrap();
    // It came to this page too, and says where it stands.
    browser.wait_for(&shows("#received", "1")).await.unwrap();
    browser.click("#publish-history").await.unwrap();
    browser
        .wait_for(&shows("#history .data", r#"{"text":"<b>kept</b>"}"#))
        .await
        .unwrap();
    // Back, as with any page.
    browser.evaluate("history.back()").await.unwrap();
    browser
        .wait_for("!document.querySelector('#view-events').hidden")
        .await
        .unwrap();
}

#[tokio::test]
async fn browser_live_takes_whatever_is_typed_or_stands_in_the_address() {
    let served = Served::configured(CONFIG).await;
    let browser = open(&served, "/?view=topics&topic=%22%3E%3Cimg%20src%3Dx%3E#%").await;
    browser
        .wait_for("document.querySelector('#history-note').classList.contains('error')")
        .await
        .unwrap();
    let note = browser.text("#history-note").await.unwrap();
    assert!(note.contains("topic may contain only"), "{note}");
    let images = browser.evaluate("document.images.length").await.unwrap();
    assert_eq!(images, 0);
    // Not kept is no fault.
    browser.clear("#open-topic-name").await.unwrap();
    browser
        .type_text("#open-topic-name", "orders/eu:42")
        .await
        .unwrap();
    browser.click("#open-topic button").await.unwrap();
    browser
        .wait_for(
            "document.querySelector('#history-note').textContent.includes('[topics.orders/eu.keep]')",
        )
        .await
        .unwrap();
    browser
        .wait_for("!document.querySelector('#history-note').classList.contains('error')")
        .await
        .unwrap();
    // A pattern has no history of its own.
    browser.clear("#open-topic-name").await.unwrap();
    browser
        .type_text("#open-topic-name", "orders:*")
        .await
        .unwrap();
    browser.click("#open-topic button").await.unwrap();
    browser
        .wait_for("document.querySelector('#topic-history').hidden")
        .await
        .unwrap();
    // A filter is text, and no pattern.
    browser.type_text("#topic-filter", "%*<&").await.unwrap();
    browser
        .wait_for(&shows(
            "#topics-empty",
            "No topic that is subscribed to contains this.",
        ))
        .await
        .unwrap();
    let url = format!("{}/?view=instances&client=c-%2F..%2F%3F", served.url());
    browser.open(&url).await.unwrap();
    browser
        .wait_for(&shows(
            "#client-problem",
            "This client has left, or is connected to another instance.",
        ))
        .await
        .unwrap();
    browser
        .open(&format!("{}/?view=nowhere", served.url()))
        .await
        .unwrap();
    browser
        .wait_for("!document.querySelector('#view-events').hidden && !document.querySelector('#console').hidden")
        .await
        .unwrap();
}

#[tokio::test]
async fn browser_live_shows_instances_and_a_client_until_they_are_gone() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let url = redis.url();
    let config = format!("{CONFIG}\n[fleet]\npresence_lease = '2s'");
    let setup = || Setup {
        args: vec!["--backend", &url],
        config: &config,
        ..Setup::default()
    };
    let (a, b) = tokio::join!(Served::with(setup()), Served::with(setup()));
    tokio::join!(a.until_ready(true), b.until_ready(true));
    let (ws, id) = subscribed(&a, &["room:42", "prices"]).await;
    let browser = open(&a, "/?view=instances#none").await;
    browser
        .wait_for("document.querySelectorAll('#instances tr').length === 2")
        .await
        .unwrap();
    assert_eq!(
        texts(&browser, "#instances .tag").await,
        json!(["this one"])
    );
    let listed = cell("#clients", &id, "name");
    browser.wait_for(&shows(&listed, &id)).await.unwrap();
    browser.click(&listed).await.unwrap();
    browser
        .wait_for("document.querySelectorAll('#client-subscriptions tr').length === 2")
        .await
        .unwrap();
    let position = |text: &str| shows(&cell("#client-subscriptions", "room:42", "position"), text);
    browser.wait_for(&position("after 0")).await.unwrap();
    a.post("/v1/events/room:42", json!({"data": 1})).await;
    browser.wait_for(&position("after 1")).await.unwrap();
    let prices = shows(
        &cell("#client-subscriptions", "prices", "position"),
        "not kept",
    );
    browser.wait_for(&prices).await.unwrap();

    drop(ws);
    browser
        .wait_for(&shows(
            "#client-problem",
            "This client has left, or is connected to another instance.",
        ))
        .await
        .unwrap();
    browser
        .wait_for(&format!("!document.querySelector({})", json!(listed)))
        .await
        .unwrap();
    b.signal(Signal::KILL);
    browser
        .wait_for("document.querySelectorAll('#instances tr').length === 1")
        .await
        .unwrap();
}

#[tokio::test]
async fn browser_live_shows_a_bounded_part_of_a_thousand_topics_and_finds_the_others() {
    let served = Served::configured("limits.max_subscriptions = 100").await;
    let mut clients = Vec::new();
    for client in 0..10 {
        let topics: Vec<_> = (0..100)
            .map(|number| format!("sensor:{client}{number:02}"))
            .collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        clients.push(subscribed(&served, &topics).await);
    }
    let browser = open(&served, "/?view=topics#none").await;
    browser
        .wait_for("document.querySelectorAll('#topics tr').length === 100")
        .await
        .unwrap();
    let count = browser.text("#topic-count").await.unwrap();
    assert_eq!(count, "the busiest 100 of 1,000: filter to see others");
    browser.type_text("#topic-filter", "999").await.unwrap();
    browser
        .wait_for(&shows("#topics .name", "sensor:999"))
        .await
        .unwrap();
    assert_eq!(
        texts(&browser, "#topics .name").await,
        json!(["sensor:999"])
    );
}
