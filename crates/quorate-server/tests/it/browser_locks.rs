//! The page about locks in a real browser.

use serde_json::json;

use quorate_testing::browser::Browser;

use crate::support::Served;

#[tokio::test]
async fn browser_lists_locks_and_takes_one_away() {
    let served = Served::start().await;
    let ask = async |path: &str, body| served.post(&format!("/v1/locks/{path}"), body).await;
    let body = json!({"lease": "60s", "owner": "import of May"});
    let held = ask("import", body).await.json();
    let token = held["fencing_token"].as_u64().unwrap();
    let body = json!({"lease": "60s", "of": 3, "permits": 2});
    assert_eq!(ask("exports?kind=semaphore", body).await.status, 201);
    let waiting = ask(
        "import",
        json!({"lease": "60s", "wait": "20s", "owner": "next"}),
    );
    let looking = async {
        while served.get("/v1/locks/import").await.json()["waiting"] != 1 {
            tokio::task::yield_now().await;
        }
        let browser = Browser::start().await.unwrap();
        browser.open(&format!("{}/", served.url())).await.unwrap();
        browser.click("nav a[data-view=locks]").await.unwrap();
        let row = format!("#locks tr[data-key='mutex {token} import']");
        let shows = |what: &str, text: &str| {
            let selector = json!(format!("{row} .{what}"));
            format!(
                "document.querySelector({selector})?.textContent.includes({})",
                json!(text)
            )
        };
        browser
            .wait_for(&shows("holder", "import of May"))
            .await
            .unwrap();
        browser.wait_for(&shows("waiting", "1, for")).await.unwrap();
        let note = browser.text("#locks-note").await.unwrap();
        assert_eq!(note, "2 locks, 2 of them held.");
        let all = browser.text("#locks").await.unwrap();
        assert!(all.contains("2 permits"), "{all}");
        browser.click(&format!("{row} button")).await.unwrap();
        browser
            .wait_for("document.querySelector('#sure').open")
            .await
            .unwrap();
        browser.click("#sure-yes").await.unwrap();
        let told = "document.querySelector('#locks-result').textContent === 'Took import away from import of May.'";
        browser.wait_for(told).await.unwrap();
        let next = "document.querySelector('#locks').textContent.includes('next')";
        browser.wait_for(next).await.unwrap();
    };
    let (next, ()) = tokio::join!(waiting, looking);
    assert_eq!(next.status, 201);
    assert!(next.json()["fencing_token"].as_u64().unwrap() > token);
}
