//! The page about caches and stores in a real browser.

use quorate_testing::browser::Browser;
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};

use crate::support::{Served, Setup};

const CONFIG: &str = "[fleet]\ntell_caches = 'keys'\ntell_caches_every = '100ms'";

/// Whether an element shows exactly this text.
fn shows(selector: &str, text: &str) -> String {
    let (selector, text) = (json!(selector), json!(text));
    format!("document.querySelector({selector})?.textContent === {text}")
}

/// Whether an element can be seen.
fn is_shown(selector: &str, shown: bool) -> String {
    let selector = json!(selector);
    format!("(document.querySelector({selector})?.checkVisibility() ?? false) === {shown}")
}

async fn open(served: &Served, path: &str) -> Browser {
    let browser = Browser::start().await.unwrap();
    let url = format!("{}{path}", served.url());
    browser.open(&url).await.unwrap();
    browser
}

async fn texts(browser: &Browser, selector: &str) -> Value {
    let selector = json!(selector);
    let list =
        format!("[...document.querySelectorAll({selector})].map((node) => node.textContent)");
    browser.evaluate(&list).await.unwrap()
}

/// Presses the button of the dialog that asks whether somebody is sure.
async fn answer(browser: &Browser, yes: bool) {
    browser
        .wait_for("document.querySelector('#sure').open")
        .await
        .unwrap();
    let button = if yes { "#sure-yes" } else { "#sure-no" };
    browser.click(button).await.unwrap();
    browser
        .wait_for("!document.querySelector('#sure').open")
        .await
        .unwrap();
}

/// A server with two caches that were read.
async fn read() -> Served {
    let served = Served::configured(CONFIG).await;
    for key in ["user:1", "user:2", "guest:1"] {
        let path = format!("/v1/cache/names/{key}?ttl=1h&tag={key}&tag=people");
        served
            .put(&path, &[], r#"{"name": "Ann", "id": 12345678901234567890}"#)
            .await;
    }
    served
        .put("/v1/cache/pages/%2Fusers?tag=people", &[], "\"<h1>\"")
        .await;
    for (path, reads) in [
        ("names/user:1", 6),
        ("names/user:2", 2),
        ("names/none", 2),
        ("pages/%2Fusers", 1),
    ] {
        for _ in 0..reads {
            served.get(&format!("/v1/cache/{path}")).await;
        }
    }
    served
}

#[tokio::test]
async fn browser_shows_caches_with_their_hit_ratio_and_the_hottest_keys() {
    let served = read().await;
    let browser = open(&served, "/#none").await;
    browser.click("nav a[data-view=caches]").await.unwrap();
    let ratio = "#caches > tr[data-key=names] .ratio";
    browser.wait_for(&shows(ratio, "80.0 %")).await.unwrap();
    assert_eq!(
        texts(&browser, "#caches .name").await,
        json!(["names", "pages"])
    );
    browser
        .wait_for(&shows("#caches-reads", "11"))
        .await
        .unwrap();
    assert_eq!(browser.text("#caches-ratio").await.unwrap(), "81.8 %");
    // A picture of what there was in this minute.
    let drawn = "document.querySelector('#caches > tr[data-key=names] .line').getAttribute('d')";
    assert!(
        browser
            .evaluate(drawn)
            .await
            .unwrap()
            .as_str()
            .unwrap()
            .starts_with('M')
    );

    browser
        .click("#caches > tr[data-key=names] .name")
        .await
        .unwrap();
    browser
        .wait_for(&shows("#cache-name", "names"))
        .await
        .unwrap();
    browser
        .wait_for(&shows("#hottest li[data-key='user:1'] .number", "6"))
        .await
        .unwrap();
    let kinds = texts(&browser, "#cache-kinds li").await;
    assert_eq!(kinds, json!(["hit8, 80.0 %", "miss2, 20.0 %"]));
    let hottest = texts(&browser, "#hottest .name").await;
    assert_eq!(hottest, json!(["user:1", "none", "user:2"]));
    browser
        .click("#hottest li[data-key='user:1'] .name")
        .await
        .unwrap();
    browser
        .wait_for(&shows("#cache-key", "user:1"))
        .await
        .unwrap();
    browser
        .wait_for("document.querySelector('#cache-value').textContent !== ''")
        .await
        .unwrap();
    // Numbers keep their digits.
    let value = browser.text("#cache-value").await.unwrap();
    assert!(value.contains("12345678901234567890"), "{value}");
    assert_eq!(
        texts(&browser, "#cache-tags li").await,
        json!(["people", "user:1"])
    );
}

#[tokio::test]
async fn browser_ends_entries_of_caches_when_somebody_is_sure() {
    let served = read().await;
    let browser = open(&served, "/?view=caches&cache=names#none").await;
    browser
        .wait_for(&is_shown("#cache-detail", true))
        .await
        .unwrap();
    browser.clear("#cache-glob").await.unwrap();
    browser.type_text("#cache-glob", "user:*").await.unwrap();
    browser.click("#cache-list button").await.unwrap();
    browser
        .wait_for(&shows("#cache-keys-note", "2 keys"))
        .await
        .unwrap();
    let mut keys = texts(&browser, "#cache-keys li").await;
    keys.as_array_mut()
        .unwrap()
        .sort_by_key(ToString::to_string);
    assert_eq!(keys, json!(["user:1", "user:2"]));

    // Not without being asked.
    browser.click("#cache-clear").await.unwrap();
    answer(&browser, false).await;
    assert_eq!(served.get("/v1/cache/names/user:1").await.status, 200);
    browser.click("#cache-keys li button").await.unwrap();
    browser
        .wait_for(&is_shown("#cache-remove", true))
        .await
        .unwrap();
    let key = browser.text("#cache-key").await.unwrap();
    browser.click("#cache-remove").await.unwrap();
    answer(&browser, true).await;
    browser
        .wait_for(&shows("#cache-result", "Removed."))
        .await
        .unwrap();
    browser
        .wait_for(&is_shown("#cache-value", false))
        .await
        .unwrap();
    assert_eq!(
        served.get(&format!("/v1/cache/names/{key}")).await.status,
        404
    );
    browser.click("#cache-clear").await.unwrap();
    answer(&browser, true).await;
    browser
        .wait_for(&shows("#cache-result", "Removed 1 entry."))
        .await
        .unwrap();

    assert_eq!(served.get("/v1/cache/names/guest:1").await.status, 200);
    browser
        .type_text("#invalidate-tags", "none, people")
        .await
        .unwrap();
    browser.click("#invalidate button").await.unwrap();
    answer(&browser, true).await;
    browser
        .wait_for(&shows(
            "#invalidate-result",
            "Nobody reads what had none, people any more.",
        ))
        .await
        .unwrap();
    for path in ["names/guest:1", "pages/%2Fusers"] {
        assert_eq!(
            served.get(&format!("/v1/cache/{path}")).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn browser_lists_the_keys_of_a_store_and_shows_an_entry() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = Served::on(&redis.url()).await;
    served.until_ready(true).await;
    for number in 0..250 {
        served
            .put(
                &format!("/v1/store/carts/user:{number:03}?ttl=1h"),
                &[],
                "1",
            )
            .await;
    }
    let text = r#"{"text":"<img src=x>","%":[1,2]}"#;
    served.put("/v1/store/carts/a%2Fb", &[], text).await;
    let browser = open(&served, "/#none").await;
    browser.click("nav a[data-view=stores]").await.unwrap();
    browser.type_text("#store-name", "carts").await.unwrap();
    browser.type_text("#store-prefix", "user:").await.unwrap();
    browser.click("#store-list button").await.unwrap();
    let first = "document.querySelectorAll('#store-keys li').length >= 200";
    browser.wait_for(first).await.unwrap();
    // Page by page, to the end.
    while browser
        .evaluate("!document.querySelector('#store-keys-more').hidden")
        .await
        .unwrap()
        == true
    {
        let before = browser.text("#store-keys-note").await.unwrap();
        browser.click("#store-keys-more").await.unwrap();
        browser
            .wait_for(&format!("!({})", shows("#store-keys-note", &before)))
            .await
            .unwrap();
    }
    assert_eq!(browser.text("#store-keys-note").await.unwrap(), "250 keys");
    browser
        .click("#store-keys li[data-key='user:007'] button")
        .await
        .unwrap();
    browser.wait_for(&shows("#store-value", "1")).await.unwrap();
    let facts = texts(&browser, "#store-key-facts dd").await;
    assert_eq!(facts, json!(["for 59 min", "1 B"]));
    browser.type_text("#store-open-key", "a/b").await.unwrap();
    browser.click("#store-open button").await.unwrap();
    browser.wait_for(&shows("#store-key", "a/b")).await.unwrap();
    browser
        .wait_for(&shows("#store-key-facts dd", "until it is deleted"))
        .await
        .unwrap();
    assert!(
        browser
            .text("#store-value")
            .await
            .unwrap()
            .contains("<img src=x>")
    );
    assert_eq!(browser.evaluate("document.images.length").await.unwrap(), 0);
    // Back, as with any page; and what is not there is said.
    browser.evaluate("history.back()").await.unwrap();
    browser
        .wait_for(&shows("#store-key", "user:007"))
        .await
        .unwrap();
    let url = format!("{}/?view=stores&store=a%20b&key=%22%3E#none", served.url());
    browser.open(&url).await.unwrap();
    browser
        .wait_for("document.querySelector('#store-key-problem').textContent.includes('store may contain only')")
        .await
        .unwrap();
    browser
        .wait_for("document.querySelector('#store-keys-note').textContent.includes('store may contain only')")
        .await
        .unwrap();
}

/// On a telephone nothing stands out at the side, and what is missing or broken is said.
#[tokio::test]
async fn browser_shows_caches_and_stores_on_a_narrow_page_and_without_a_backend() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = Served::with(Setup {
        args: vec!["--backend", &redis.url()],
        config: &format!("{CONFIG}\ncommand_timeout = '300ms'"),
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    let browser = open(&served, "/?view=caches#none").await;
    browser
        .wait_for(&is_shown("#caches-empty", true))
        .await
        .unwrap();
    browser.resize(390, 800).await.unwrap();
    served
        .put(
            &format!(
                "/v1/cache/names/{}?tag={}",
                "k".repeat(200),
                "t".repeat(200)
            ),
            &[],
            "1",
        )
        .await;
    served
        .put(
            &format!("/v1/store/carts/{}", "k".repeat(200)),
            &[],
            &format!("\"{}\"", "v".repeat(900)),
        )
        .await;
    for (path, shown) in [
        (
            format!("/?view=caches&cache=names&key={}#none", "k".repeat(200)),
            "#cache-value",
        ),
        (
            format!("/?view=stores&store=carts&key={}#none", "k".repeat(200)),
            "#store-value",
        ),
    ] {
        browser
            .open(&format!("{}{path}", served.url()))
            .await
            .unwrap();
        browser.wait_for(&is_shown(shown, true)).await.unwrap();
        let wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        browser.wait_for(wide).await.unwrap();
    }
    redis.kill();
    let url = format!("{}/?view=caches&cache=names&key=a#none", served.url());
    browser.open(&url).await.unwrap();
    for problem in ["#caches-problem", "#cache-key-problem"] {
        let said = format!("document.querySelector('{problem}').textContent !== ''");
        browser.wait_for(&said).await.unwrap();
    }
}
