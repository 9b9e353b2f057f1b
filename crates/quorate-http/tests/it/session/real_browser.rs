//! A real browser logs in on one instance, is known on another, and logs out everywhere.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Path;
use axum::response::Html;
use axum::routing::{get, post};
use quorate::Fleet;
use quorate_http::session::{CurrentSession, SessionLayer};
use quorate_http::{Hub, Rejection};
use quorate_testing::browser::Browser;
use quorate_testing::servers::{Server, ServerKind};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Says who is there, and what becomes of its socket.
const PAGE: &str = r##"<!doctype html>
<title>sessions</title>
<p id="who"></p><p id="socket"></p>
<button id="in">Log in</button><button id="out">Log out everywhere</button><button id="connect">Connect</button>
<script>
  const show = (id, text) => (document.getElementById(id).textContent = text);
  const who = async () => show("who", await (await fetch("/who")).text());
  const post = (path) => fetch(path, { method: "POST" }).then(who);
  document.getElementById("in").onclick = () => post("/login/alice");
  document.getElementById("out").onclick = () => post("/logout");
  document.getElementById("connect").onclick = () => {
    const socket = new WebSocket(`ws://${location.host}/live/ws`);
    socket.onmessage = ({ data }) => { if (JSON.parse(data).event === "hello") show("socket", JSON.parse(data).authentication); };
    socket.onclose = ({ code, reason }) => show("socket", `${code} ${reason}`);
  };
  who();
</script>"##;

/// An instance of a service, on a port of its own.
struct Instance {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn who(session: CurrentSession) -> Result<String, Rejection> {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".to_owned()))
}

async fn log_in(session: CurrentSession, Path(user): Path<String>) -> Result<(), Rejection> {
    Ok(session.log_in(&user).await?)
}

async fn log_out(session: CurrentSession) -> Result<String, Rejection> {
    Ok(session.log_out_everywhere().await?.to_string())
}

impl Instance {
    async fn start(fleet: Fleet) -> Self {
        let layer = SessionLayer::new(fleet.sessions());
        let hub = Hub::builder(fleet)
            .authenticate(layer.clone())
            .build()
            .unwrap();
        let router: Router = Router::new()
            .route("/", get(async || Html(PAGE)))
            .route("/who", get(who))
            .route("/login/{user}", post(log_in))
            .route("/logout", post(log_out))
            .nest("/live", hub.router())
            .layer(layer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        #[expect(clippy::disallowed_methods, reason = "ended by this value's drop")]
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, serving }
    }

    fn url(&self) -> String {
        format!("http://localhost:{}/", self.address.port())
    }
}

async fn shows(browser: &Browser, selector: &str, text: &str) {
    let (selector, text) = (json!(selector), json!(text));
    let condition = format!("document.querySelector({selector}).textContent === {text}");
    browser.wait_for(&condition).await.unwrap();
}

/// Its cookie is as narrow as it can be, and pages do not see it. Another browser of the same user ends it all.
#[tokio::test(flavor = "multi_thread")]
async fn browser_is_known_on_every_instance_until_somebody_logs_out_everywhere() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = || async { Fleet::connect(&server.url()).await.unwrap() };
    let (a, b) = (
        Instance::start(fleet().await).await,
        Instance::start(fleet().await).await,
    );
    let browser = Browser::start().await.unwrap();
    browser.open(&a.url()).await.unwrap();
    shows(&browser, "#who", "nobody").await;
    browser.click("#in").await.unwrap();
    shows(&browser, "#who", "alice").await;
    assert_eq!(
        browser.evaluate("document.cookie").await.unwrap(),
        json!("")
    );

    // Cookies are a host's, whatever the port: as behind a load balancer.
    browser.open(&b.url()).await.unwrap();
    shows(&browser, "#who", "alice").await;
    browser.click("#connect").await.unwrap();
    shows(&browser, "#socket", "done").await;

    let phone = Browser::start().await.unwrap();
    phone.open(&a.url()).await.unwrap();
    phone.click("#in").await.unwrap();
    shows(&phone, "#who", "alice").await;
    phone.click("#out").await.unwrap();
    shows(&phone, "#who", "nobody").await;
    shows(&browser, "#socket", "4401 session_ended").await;
    browser.open(&a.url()).await.unwrap();
    shows(&browser, "#who", "nobody").await;
    browser.click("#connect").await.unwrap();
    shows(&browser, "#socket", "required").await;
}
