//! The page about queues in a real browser.

use quorate::Fleet;
use quorate_testing::browser::Browser;
use quorate_testing::servers::{Server, ServerKind};
use serde_json::{Value, json};

use crate::queues_grouped::fire_once;
use crate::support::Served;

const JOBS: &str = "/v1/queues/mail/jobs";

async fn push(served: &Served, body: Value) -> String {
    let pushed = served.post(JOBS, body).await.json();
    pushed["id"].as_str().unwrap().to_owned()
}

async fn claim(served: &Served) -> Value {
    let body = json!({"lease": "1m"});
    served.post("/v1/queues/mail/claim", body).await.json()["jobs"][0].clone()
}

async fn settle(served: &Served, job: &Value, mut said: Value) {
    said["receipt"] = job["receipt"].clone();
    let answer = served
        .post("/v1/queues/mail/settle", json!({ "jobs": [said] }))
        .await;
    assert_eq!(answer.json(), json!({"settled": [true]}));
}

/// What an element says.
fn says(selector: &str, text: &str) -> String {
    let (selector, text) = (json!(selector), json!(text));
    format!("document.querySelector({selector})?.textContent.includes({text})")
}

fn row(id: &str) -> String {
    format!("#jobs tr[data-key='{id}']")
}

async fn sure(browser: &Browser) {
    let open = "document.querySelector('#sure').open";
    browser.wait_for(open).await.unwrap();
    browser.click("#sure-yes").await.unwrap();
}

/// A dead job is looked at, edited, tried again, and seen to its end; live.
#[tokio::test]
async fn browser_follows_a_job_and_puts_it_right() {
    let served = Served::start().await;
    let id = push(
        &served,
        json!({"input": {"to": "nobody", "order": 9_007_199_254_740_993_u64}, "tags": ["t"]}),
    )
    .await;
    push(&served, json!({"input": 2, "delay": "1h"})).await;
    let first = claim(&served).await;
    settle(
        &served,
        &first,
        json!({"outcome": "dead", "error": "no such mailbox"}),
    )
    .await;

    let browser = Browser::start().await.unwrap();
    browser.open(&format!("{}/", served.url())).await.unwrap();
    browser.click("nav a[data-view=queues]").await.unwrap();
    let queue = "#queues tr[data-key=mail]";
    browser
        .wait_for(&says(&format!("{queue} .dead"), "1"))
        .await
        .unwrap();
    assert_eq!(browser.text("#queues-note").await.unwrap(), "1 queue.");
    browser.click(&format!("{queue} button")).await.unwrap();
    browser
        .wait_for(&says("#places [data-place=due]", "due 1"))
        .await
        .unwrap();
    browser.click("#places [data-place=dead]").await.unwrap();
    browser
        .wait_for(&says(&format!("{} .why", row(&id)), "no such mailbox"))
        .await
        .unwrap();
    browser
        .wait_for(&says("#jobs-whys", "no such mailbox"))
        .await
        .unwrap();
    browser.click(&format!("{} .name", row(&id))).await.unwrap();
    browser
        .wait_for(&says("#job-error", "no such mailbox"))
        .await
        .unwrap();
    // As it was pushed, with all of its digits.
    let whole = "document.querySelector('#job-input').value.includes('9007199254740993')";
    browser.wait_for(whole).await.unwrap();
    let edit = "document.querySelector('#job-input').value = document.querySelector('#job-input').value.replace('nobody', 'somebody')";
    browser.evaluate(edit).await.unwrap();
    browser.click("#job-save").await.unwrap();
    browser
        .wait_for(&says("#job-result", "Saved."))
        .await
        .unwrap();
    browser.click("#job-redrive").await.unwrap();
    browser
        .wait_for(&says("#job-state", "ready"))
        .await
        .unwrap();

    let again = claim(&served).await;
    assert_eq!(
        again["input"],
        json!({"to": "somebody", "order": 9_007_199_254_740_993_u64})
    );
    let note = json!({"receipt": again["receipt"], "progress": 0.5, "log": "half of it"});
    served.post("/v1/queues/mail/note", note).await;
    browser
        .wait_for(&says("#job-progress", "50 %"))
        .await
        .unwrap();
    browser
        .wait_for(&says("#job-log", "half of it"))
        .await
        .unwrap();
    settle(
        &served,
        &again,
        json!({"outcome": "succeeded", "result": {"sent": 1}}),
    )
    .await;
    browser
        .wait_for(&says("#job-state", "succeeded"))
        .await
        .unwrap();
    browser
        .wait_for(&says("#job-value", "\"sent\": 1"))
        .await
        .unwrap();
}

/// Many at once; and a queue is paused.
#[tokio::test]
async fn browser_changes_many_jobs_at_once() {
    let served = Served::start().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(push(&served, json!({ "input": number })).await);
    }
    let browser = Browser::start().await.unwrap();
    let url = format!("{}/?view=queues&queue=mail", served.url());
    browser.open(&url).await.unwrap();
    for id in &ids[..2] {
        let shown = format!("document.querySelector({})", json!(row(id)));
        browser.wait_for(&shown).await.unwrap();
        browser.click(&format!("{} input", row(id))).await.unwrap();
    }
    browser.click("#jobs-cancel").await.unwrap();
    sure(&browser).await;
    browser
        .wait_for(&says("#jobs-result", "Cancelled 2 jobs."))
        .await
        .unwrap();
    browser
        .wait_for(&says("#jobs-note", "1 job."))
        .await
        .unwrap();
    let stats = served.get("/v1/queues/mail").await.json();
    assert_eq!((&stats["ready"], &stats["ended"]), (&json!(1), &json!(2)));

    browser.click("#queue-pause").await.unwrap();
    browser
        .wait_for(&says("#queue-pause", "Resume"))
        .await
        .unwrap();
    assert_eq!(served.get("/v1/queues/mail").await.json()["paused"], true);
    browser.click("#queue-pause").await.unwrap();
    browser
        .wait_for("document.querySelector('#queue-pause').textContent === 'Pause'")
        .await
        .unwrap();

    browser.click("#jobs-all").await.unwrap();
    browser.click("#jobs-remove").await.unwrap();
    sure(&browser).await;
    browser
        .wait_for(&says("#jobs-result", "Removed 1 job."))
        .await
        .unwrap();
    browser
        .wait_for(&says("#jobs-note", "No job is ready."))
        .await
        .unwrap();
}

/// While somebody looks: what happens is there without a look at the queue, the last of it first.
#[tokio::test]
async fn browser_shows_what_happens_in_a_queue() {
    let served = Served::start().await;
    push(&served, json!({"input": 1})).await;
    let browser = Browser::start().await.unwrap();
    let page = format!("{}/?view=queues&queue=mail", served.url());
    browser.open(&page).await.unwrap();
    let told = says("#happened-note", "From now on");
    browser.click("#queue-happened summary").await.unwrap();
    browser.wait_for(&told).await.unwrap();
    let job = claim(&served).await;
    let dead = json!({"outcome": "dead", "error": "no such mailbox"});
    settle(&served, &job, dead).await;
    let first = "#happened li:first-child";
    browser
        .wait_for(&says(first, "no such mailbox"))
        .await
        .unwrap();
    browser
        .wait_for(&says("#happened li:last-child", "started"))
        .await
        .unwrap();
    browser.click(&format!("{first} .name")).await.unwrap();
    browser
        .wait_for(&says("#job-error", "no such mailbox"))
        .await
        .unwrap();
    // Closed, nobody listens any more.
    browser.click("#queue-happened summary").await.unwrap();
    push(&served, json!({"input": 2})).await;
    browser
        .wait_for(&says("#places [data-place=ready]", "ready 1"))
        .await
        .unwrap();
    assert!(!browser.text("#happened").await.unwrap().contains("queued"));
}

/// A group on the page of each of its jobs, with the way to the first; live.
#[tokio::test]
async fn browser_shows_a_group_with_each_of_its_jobs() {
    let served = Served::start().await;
    let first = push(&served, json!({"input": "folder"})).await;
    let job = claim(&served).await;
    let part = |input: u32| json!({"queue": "parts", "job": {"input": input}});
    let said = json!({
        "receipt": job["receipt"],
        "outcome": "succeeded",
        "leave": [part(1), part(2)],
        "group_values": [{"append": {"parts": 2}}],
    });
    let settled = served
        .post("/v1/queues/mail/settle", json!({ "jobs": [said] }))
        .await;
    let part = settled.json()["left"][0][0].as_str().unwrap().to_owned();
    let claimed = json!({"wait": "20s"});
    let claimed = served.post("/v1/queues/parts/claim", claimed).await.json();

    let browser = Browser::start().await.unwrap();
    let url = format!(
        "{}/?view=queues&queue=parts&place=active&job={part}",
        served.url()
    );
    browser.open(&url).await.unwrap();
    browser
        .wait_for(&says("#group-state", "2 to be done"))
        .await
        .unwrap();
    browser
        .wait_for(&says("#group-values", "{\"parts\":2}"))
        .await
        .unwrap();
    let began = format!("It began with {} of mail.", &first[24..]);
    browser
        .wait_for(&says("#group-first", &began))
        .await
        .unwrap();
    let said =
        json!({"receipt": claimed["jobs"][0]["receipt"], "outcome": "dead", "error": "never"});
    let said = json!({ "jobs": [said] });
    served.post("/v1/queues/parts/settle", said).await;
    browser
        .wait_for(&says("#group-state", "1 to be done"))
        .await
        .unwrap();
    browser.click("#group-first button").await.unwrap();
    browser.wait_for(&says("#job-id", &first)).await.unwrap();
    browser
        .wait_for(&says("#group-first", "It began with this job."))
        .await
        .unwrap();
    browser
        .wait_for(&says("#queue-totals", "1 open group"))
        .await
        .unwrap();
    let parts = "document.querySelector('#group-bar').getAttribute('aria-label') === '1 succeeded, 1 dead, 0 cancelled, 0 expired, 1 open'";
    browser.wait_for(parts).await.unwrap();
}

/// How far schedules have come; one is forgotten.
#[tokio::test]
async fn browser_shows_schedules_and_forgets_one() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    fire_once(&Fleet::connect(&server.url()).await.unwrap()).await;
    let served = Served::on(&server.url()).await;
    let browser = Browser::start().await.unwrap();
    let url = format!("{}/?view=queues&queue=mail", served.url());
    browser.open(&url).await.unwrap();
    let one = "#schedules-list tr[data-key='often/er']";
    browser
        .wait_for(&says(&format!("{one} .last"), "ago"))
        .await
        .unwrap();
    browser.click(&format!("{one} button")).await.unwrap();
    sure(&browser).await;
    browser
        .wait_for("document.querySelector('#schedules').hidden")
        .await
        .unwrap();
    let seen = served.get("/v1/queues/mail/schedules").await.json();
    assert_eq!(seen, json!({"schedules": []}));
}
