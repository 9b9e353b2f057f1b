//! A service one can log in to, on as many instances as there are.
//!
//! ```text
//! cargo run -p quorate-http --example sessions_http -- redis://localhost 127.0.0.1:3000
//! cargo run -p quorate-http --example sessions_http -- redis://localhost 127.0.0.1:3001
//! ```
//!
//! Open both, log in on one, and look at the other: it knows you. End the session on one, and the page of the other says so at
//! once. Without arguments: one instance, in this process.

use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use quorate::{Fleet, SessionHandle, SessionKey};
use quorate_http::session::{CurrentSession, SessionLayer, SessionUser};
use quorate_http::{Code, Hub, Problem, Rejection};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const VISITS: SessionKey<u32> = SessionKey::new("visits");

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>Sessions</title>
<h1 id="who">…</h1>
<p><input id="user" placeholder="any name"> <button onclick="logIn()">Log in</button>
<button onclick="post('/logout/here')">Log out</button> <button onclick="post('/logout/everywhere')">Log out everywhere</button></p>
<p>Socket: <b id="socket">none</b></p>
<ul id="list"></ul>
<script>
  const $ = (id) => document.getElementById(id);
  async function post(path, body, method = "POST") {
    const headers = { "content-type": "application/json" };
    await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    show();
  }
  const logIn = () => post("/login", { user: $("user").value }).then(connect);
  async function show() {
    const me = await (await fetch("/me")).json();
    $("who").textContent = `${me.user ?? "nobody"}, visit ${me.visits}`;
    const list = me.user ? await (await fetch("/sessions")).json() : [];
    $("list").replaceChildren(...list.map(({ handle, device }) => {
      const item = document.createElement("li");
      const end = Object.assign(document.createElement("button"), { textContent: "End" });
      end.onclick = () => post(`/sessions/${handle}`, undefined, "DELETE");
      item.append(`${device} `, end);
      return item;
    }));
  }
  function connect() {
    const socket = new WebSocket(`ws://${location.host}/live/ws`);
    socket.onmessage = ({ data }) => { if (JSON.parse(data).authentication === "done") $("socket").textContent = "open"; };
    socket.onclose = ({ code, reason }) => { $("socket").textContent = `closed: ${code} ${reason}`; show(); };
  }
  show().then(connect);
</script>"#;

#[derive(serde::Deserialize)]
struct Login {
    user: String,
}

/// There is no password here: anybody is whoever they say.
async fn log_in(session: CurrentSession, Json(login): Json<Login>) -> Result<(), Rejection> {
    Ok(session.log_in(&login.user).await?)
}

async fn log_out(session: CurrentSession, Path(whom): Path<String>) -> Result<(), Rejection> {
    if whom == "everywhere" {
        session.log_out_everywhere().await?;
    } else {
        session.log_out().await?;
    }
    Ok(())
}

async fn me(session: CurrentSession) -> Result<Json<Value>, Rejection> {
    let visits = session.get(&VISITS).await?.unwrap_or(0) + 1;
    session.set(&VISITS, &visits)?;
    Ok(Json(
        json!({ "user": session.user().await?, "visits": visits }),
    ))
}

async fn list(
    State(fleet): State<Fleet>,
    SessionUser(user): SessionUser,
) -> Result<Json<Vec<Value>>, Rejection> {
    let sessions = fleet.sessions().list(&user).await?;
    let shown = sessions.iter().map(|session| {
        json!({ "handle": session.handle().to_string(), "device": session.device_info() })
    });
    Ok(Json(shown.collect()))
}

async fn end(
    State(fleet): State<Fleet>,
    SessionUser(user): SessionUser,
    Path(handle): Path<String>,
) -> Result<(), Rejection> {
    let sessions = fleet.sessions();
    let handle = SessionHandle::parse(&handle);
    // A handle ends any session: only one's own.
    let own = sessions.list(&user).await?;
    let own = own.iter().map(quorate::Session::handle);
    match own.into_iter().find(|own| Some(*own) == handle) {
        Some(handle) => drop(sessions.delete(&handle).await?),
        None => return Err(Problem::new(Code::NotFound, "you have no such session").into()),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "memory:".to_owned());
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let fleet = Fleet::connect(&url).await?;
    let layer = SessionLayer::new(fleet.sessions()).device_info(|request| {
        let agent = request.headers.get("user-agent")?;
        Some(agent.to_str().ok()?.to_owned())
    });
    let hub = Hub::builder(fleet.clone())
        .authenticate(layer.clone())
        .build()?;
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/me", get(me))
        .route("/login", post(log_in))
        .route("/logout/{whom}", post(log_out))
        .route("/sessions", get(list))
        .route("/sessions/{handle}", delete(end))
        .nest("/live", hub.router())
        .layer(layer)
        .with_state(fleet);
    println!("http://{address}");
    axum::serve(TcpListener::bind(&address).await?, app).await?;
    Ok(())
}
