//! The page about limits in a real browser.

use quorate_testing::browser::Browser;
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};

use crate::support::{Served, Setup};

const CONFIG: &str = "[fleet]\ntell_limits = 'keys'\ntell_limits_every = '100ms'";

/// Whether an element shows exactly this text.
fn shows(selector: &str, text: &str) -> String {
    let (selector, text) = (json!(selector), json!(text));
    format!("document.querySelector({selector})?.textContent === {text}")
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
    let is_open = "document.querySelector('#sure').open";
    browser.wait_for(is_open).await.unwrap();
    let button = if yes { "#sure-yes" } else { "#sure-no" };
    browser.click(button).await.unwrap();
    browser.wait_for(&format!("!{is_open}")).await.unwrap();
}

/// Whether a request of a key, for a picture, would be refused.
async fn is_refused(served: &Served, key: &str) -> bool {
    let body = json!({"policies": ["log:2/1h"], "action": "pdf", "check": true});
    let path = format!("/v1/limits/api/{key}");
    served.post(&path, body).await.json()["allowed"] == false
}

/// A server with two limiters that were asked.
async fn asked() -> Served {
    let served = Served::configured(CONFIG).await;
    for (path, requests) in [
        ("api/user%2F1", 6),
        ("api/guest%20%3Cimg%20src%3Dx%3E", 2),
        ("logins/ann", 1),
    ] {
        let mut body = json!({"policies": ["log:2/1h"]});
        if path.contains("user") {
            body["action"] = json!("pdf");
        }
        for _ in 0..requests {
            let answer = served
                .post(&format!("/v1/limits/{path}"), body.clone())
                .await;
            assert_eq!(answer.status, 200);
        }
    }
    served
}

#[tokio::test]
async fn browser_shows_limiters_with_their_denials_and_resets_a_key() {
    let served = asked().await;
    let browser = open(&served, "/#none").await;
    browser.click("nav a[data-view=limits]").await.unwrap();
    let row = "#limits > tr[data-key=api]";
    let ratio = format!("{row} .ratio");
    browser.wait_for(&shows(&ratio, "50.0 %")).await.unwrap();
    browser
        .wait_for(&shows("#limits-asked", "9"))
        .await
        .unwrap();
    assert_eq!(
        texts(&browser, "#limits .name").await,
        json!(["api", "logins"])
    );
    assert_eq!(browser.text("#limits-denied").await.unwrap(), "4");
    assert_eq!(browser.text("#limits-ratio").await.unwrap(), "44.4 %");
    // A picture of what there was in this minute, and of the denials in it.
    for part in ["area", "line"] {
        let drawn = format!("document.querySelector('{row} .{part}').getAttribute('d')");
        let drawn = browser.evaluate(&drawn).await.unwrap();
        assert!(drawn.as_str().unwrap().starts_with('M'), "{drawn}");
    }

    browser.click(&format!("{row} .name")).await.unwrap();
    browser
        .wait_for(&shows("#limit-name", "api"))
        .await
        .unwrap();
    let hottest = "document.querySelectorAll('#limit-hottest li').length === 2";
    browser.wait_for(hottest).await.unwrap();
    assert_eq!(
        texts(&browser, "#limit-hottest .name").await,
        json!(["user/1 pdf", "guest <img src=x>"])
    );
    assert_eq!(
        texts(&browser, "#limit-hottest .number").await,
        json!(["6 asked, 4 denied", "2 asked, 0 denied"])
    );
    assert_eq!(
        texts(&browser, "#limit-policies li").await,
        json!(["log-3600s4, 100.0 %"])
    );
    let facts = browser.text("#limit-facts").await.unwrap();
    assert!(facts.contains("log:2/3600s"), "{facts}");
    // What clients name is text.
    assert_eq!(browser.evaluate("document.images.length").await.unwrap(), 0);

    // Not without being asked.
    browser.click("#limit-hottest .name").await.unwrap();
    for (yes, is_still_refused) in [(false, true), (true, false)] {
        assert!(is_refused(&served, "user%2F1").await);
        browser.click("#limit-reset button").await.unwrap();
        answer(&browser, yes).await;
        if yes {
            let done = shows("#limit-result", "Forgot user/1.");
            browser.wait_for(&done).await.unwrap();
        }
        assert_eq!(is_refused(&served, "user%2F1").await, is_still_refused);
    }
    browser.click("#limit-reset button").await.unwrap();
    answer(&browser, true).await;
    let nothing = shows("#limit-result", "Nothing was counted of user/1.");
    browser.wait_for(&nothing).await.unwrap();
}

/// On a telephone nothing stands out at the side, and what is missing or broken is said.
#[tokio::test]
async fn browser_shows_limiters_on_a_narrow_page_and_without_a_backend() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let served = Served::with(Setup {
        args: vec!["--backend", &redis.url()],
        config: &format!("{CONFIG}\ncommand_timeout = '300ms'"),
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    let browser = open(&served, "/?view=limits#none").await;
    let is_empty = "document.querySelector('#limits-empty').checkVisibility()";
    browser.wait_for(is_empty).await.unwrap();
    browser.resize(390, 800).await.unwrap();
    let body = json!({"policies": ["log:2/1h", "bucket:10/1s+50", "counter:1000/1d"]});
    let path = format!("/v1/limits/{}/{}", "l".repeat(100), "k".repeat(200));
    served.post(&path, body).await;
    let url = format!(
        "{}/?view=limits&limiter={}#none",
        served.url(),
        "l".repeat(100)
    );
    browser.open(&url).await.unwrap();
    let hottest = "document.querySelectorAll('#limit-hottest li').length === 1";
    browser.wait_for(hottest).await.unwrap();
    let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    browser.wait_for(fits).await.unwrap();
    redis.kill();
    browser.open(&url).await.unwrap();
    let said = "document.querySelector('#limits-problem').textContent !== ''";
    browser.wait_for(said).await.unwrap();
}

/// A browser takes `.` and `..` out of a path, also where they are written %2E: a reset of the key `.` would be a request
/// of the key `reset`.
#[tokio::test]
async fn browser_asks_for_nothing_else_where_a_name_is_a_dot() {
    let served = asked().await;
    let said = |part: &str| {
        format!("A browser cannot ask for what is called \"{part}\": use the command line")
    };
    let browser = open(&served, "/?view=limits&limiter=api#none").await;
    let is_shown = "document.querySelector('#limit-reset').checkVisibility()";
    browser.wait_for(is_shown).await.unwrap();
    for part in [".", ".."] {
        browser.clear("#limit-key").await.unwrap();
        browser.type_text("#limit-key", part).await.unwrap();
        browser.click("#limit-reset button").await.unwrap();
        answer(&browser, true).await;
        let said = shows("#limit-result", &said(part));
        browser.wait_for(&said).await.unwrap();
    }
    let check = json!({"policies": ["log:2/1h"], "check": true});
    let reset = served.post("/v1/limits/api/reset", check).await.json();
    assert_eq!(reset["policies"][0]["remaining"], 2, "{reset}");

    for (view, part, problem) in [
        ("view=stores&store=carts&key=..", "..", "#store-key-problem"),
        ("view=caches&cache=names&key=.", ".", "#cache-key-problem"),
        ("view=caches&cache=..&key=user", "..", "#cache-key-problem"),
    ] {
        let url = format!("{}/?{view}#none", served.url());
        browser.open(&url).await.unwrap();
        let said = shows(problem, &said(part));
        browser.wait_for(&said).await.unwrap();
    }
}
