//! The client that the hub serves, in a real browser, over a network that breaks.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use quorate::{Codec, Fleet, Keep, TopicSpec};
use quorate_http::{Hub, HubBuilder};
use quorate_testing::browser::Browser;
use quorate_testing::proxy::Proxy;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A page as the guide has it, that shows whatever happens.
const PAGE: &str = r##"<!doctype html>
<title>client</title>
<p id="state">idle</p>
<ol id="log"></ol>
<script type="module">
  import { QuorateClient } from "/live/client.js";

  const client = (window.client = new QuorateClient("/live/ws", { backoff: { initial: 50, max: 200 } }));
  const add = (text) => document.querySelector("#log").append(Object.assign(document.createElement("li"), { textContent: text }));
  client.onState((state) => (document.querySelector("#state").textContent = state));
  const room = client.on("room", { id: 42, of: ["é"] }, (said) => add(said.text), { onGap: (gap) => add(`gap: ${gap.reason}`) });
  await room.ready;
  document.querySelector("#log").dataset.ready = "yes";
</script>"##;

/// The key of the page's room.
const KEY: &str = r#"{"id":42,"of":["é"]}"#;

const ROOM: TopicSpec<Value> = TopicSpec::with_codec("room", Codec::json());

const KEEP: Keep = Keep {
    time: Duration::from_secs(3600),
    messages: 1_000,
    bytes: 1 << 20,
};

/// The page and a hub, on a port of their own.
struct Site {
    hub: Hub,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Site {
    async fn start(hub: HubBuilder) -> Self {
        let hub = hub.open().build().unwrap();
        let router: Router = Router::new()
            .route("/", get(async || Html(PAGE)))
            .nest("/live", hub.router());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ended by this value's drop")]
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            hub,
            address,
            serving,
        }
    }

    async fn say(&self, text: &str) {
        let room = self.hub.fleet().topic(&ROOM).key(KEY).unwrap();
        room.publish(&json!({ "by": "ada", "text": text }))
            .await
            .unwrap();
    }
}

/// Whether the page has shown these, and nothing else.
fn shows(lines: &[&str]) -> String {
    let lines = json!(lines).to_string();
    format!(
        "JSON.stringify([...document.querySelectorAll('#log li')].map(one => one.textContent)) === {}",
        json!(lines)
    )
}

#[tokio::test]
async fn browser_page_with_our_client_goes_on_after_its_network_was_away() {
    let site = Site::start(Hub::builder(Fleet::embedded())).await;
    let (network, browser) = tokio::join!(Proxy::start(site.address), Browser::start());
    let (network, browser) = (network.unwrap(), browser.unwrap());
    browser
        .open(&format!("http://{}/", network.addr()))
        .await
        .unwrap();
    browser
        .wait_for("document.querySelector('#log').dataset.ready")
        .await
        .unwrap();
    site.say("before").await;
    browser.wait_for(&shows(&["before"])).await.unwrap();

    network.refuse().await;
    network.cut().await;
    browser
        .wait_for("document.querySelector('#state').textContent === 'waiting'")
        .await
        .unwrap();
    site.say("nobody hears this").await;
    network.heal().await.unwrap();
    browser
        .wait_for(&shows(&["before", "gap: reconnected"]))
        .await
        .unwrap();
    site.say("after").await;
    browser
        .wait_for(&shows(&["before", "gap: reconnected", "after"]))
        .await
        .unwrap();

    // What it asks for while its network is away waits, and is answered.
    network.refuse().await;
    network.cut().await;
    browser
        .wait_for("document.querySelector('#state').textContent === 'waiting'")
        .await
        .unwrap();
    browser
        .evaluate("void window.client.request('no.such.thing').catch((error) => (window.answer = error.code))")
        .await
        .unwrap();
    network.heal().await.unwrap();
    browser
        .wait_for("window.answer === 'UNIMPLEMENTED'")
        .await
        .unwrap();

    // A drain sends it away, and it comes back as told.
    browser
        .evaluate("void window.client.onState((state, detail) => (window.wait ??= detail.retryIn))")
        .await
        .unwrap();
    site.hub.drain().await;
    browser.wait_for("window.wait >= 0").await.unwrap();
    browser.evaluate("window.client.close()").await.unwrap();
    browser
        .wait_for("document.querySelector('#state').textContent === 'closed'")
        .await
        .unwrap();
}

#[tokio::test]
async fn browser_page_misses_nothing_of_a_kept_room_and_comes_back_to_another_instance() {
    let fleet = Fleet::embedded();
    let other = fleet.instance("other").await.unwrap();
    let keeping = |fleet| Hub::builder(fleet).keep("room", KEEP).unwrap();
    let (a, b) = (
        Site::start(keeping(fleet.clone())).await,
        Site::start(keeping(other)).await,
    );
    let (network, browser) = tokio::join!(Proxy::start(a.address), Browser::start());
    let (network, browser) = (network.unwrap(), browser.unwrap());
    let room = fleet
        .topic(&ROOM.keep(KEEP.time, KEEP.messages, KEEP.bytes))
        .key(KEY)
        .unwrap();
    let mut said = Vec::new();
    let mut say = async |count: usize| {
        for _ in 0..count {
            let text = format!("line {}", said.len() + 1);
            room.publish(&json!({ "text": text })).await.unwrap();
            said.push(text);
        }
        shows(&said.iter().map(String::as_str).collect::<Vec<_>>())
    };
    browser
        .open(&format!("http://{}/", network.addr()))
        .await
        .unwrap();
    browser
        .wait_for("document.querySelector('#log').dataset.ready")
        .await
        .unwrap();
    browser.wait_for(&say(3).await).await.unwrap();

    // The network is away while people talk.
    network.refuse().await;
    network.cut().await;
    browser
        .wait_for("document.querySelector('#state').textContent === 'waiting'")
        .await
        .unwrap();
    let missed = say(40).await;
    network.heal().await.unwrap();
    browser.wait_for(&missed).await.unwrap();

    // The instance says goodbye, and the other one goes on where it ended.
    network.retarget(b.address);
    a.hub.drain().await;
    let missed = say(40).await;
    browser.wait_for(&missed).await.unwrap();
    // And the network breaks, again and again, in the middle of it.
    for _ in 0..5 {
        say(5).await;
        network.cut().await;
    }
    browser.wait_for(&say(1).await).await.unwrap();
}
