//! What is open on a session goes with it, on every instance.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use axum::{Json, Router};
use quorate::session::SessionRef;
use quorate::{Fleet, SessionId};
use quorate_http::Hub;
use quorate_http::session::{CurrentSession, SessionLayer};
use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt;

use super::browser::NAME;
use crate::support::{Client, PATIENCE, Served, Stream};

async fn hub(fleet: Fleet) -> Served {
    let layer = SessionLayer::new(fleet.sessions());
    Served::on(fleet, |hub| hub.authenticate(layer)).await
}

fn cookie(id: &SessionId) -> String {
    format!("{NAME}={}", id.expose())
}

async fn connect(served: &Served, id: &SessionId) -> Client {
    let cookie = cookie(id);
    let (mut client, _) = served.connect_with(&[("cookie", &cookie)]).await.unwrap();
    let hello = client.next().await;
    assert_eq!(hello["authentication"], "done", "{hello}");
    client
}

async fn stream(hub: &Hub, id: &SessionId) -> Stream {
    let request = Request::get("/sse?topic=news").header("host", "localhost");
    let request = request.header("cookie", cookie(id)).body(Body::empty());
    let router: Router = hub.router();
    let mut stream = Stream::of(router.oneshot(request.unwrap()).await.unwrap());
    assert_eq!(stream.status, 200);
    let greeting = stream.event().await.unwrap();
    assert!(
        greeting.contains(&": subscribed".to_owned()),
        "{greeting:?}"
    );
    stream
}

/// Told why, once: it is to log in first.
async fn sent_away(client: &mut Client) {
    let (last, code) = client.ended().await;
    assert_eq!(
        (&last["event"], &last["reason"]),
        (&json!("closing"), &json!("session_ended"))
    );
    assert!(last["retry_after_ms"].is_null());
    assert_eq!(code, 4401);
}

async fn revoked_on_every_instance(a: Fleet, b: Fleet) {
    let sessions = a.sessions();
    let one = sessions.create("alice").await.unwrap().id;
    let two = sessions.create("alice").await.unwrap().id;
    let (a, b) = (hub(a).await, hub(b).await);
    let (mut here, mut there) = (connect(&a, &one).await, connect(&b, &one).await);
    let mut events = stream(&b.hub, &one).await;
    let mut other = connect(&b, &two).await;
    assert!(sessions.delete(&one.handle()).await.unwrap());
    sent_away(&mut here).await;
    sent_away(&mut there).await;
    let last = events.event().await.unwrap();
    assert!(last.contains(&": session_ended".to_owned()), "{last:?}");
    assert_eq!(events.event().await, None);
    drop(events);
    other.subscribe("news").await;
    b.fleet.sessions().delete_all("alice").await.unwrap();
    sent_away(&mut other).await;
    b.clients(0).await;
}

#[tokio::test]
async fn a_session_that_is_revoked_closes_its_sockets_and_streams_on_every_instance() {
    let fleet = Fleet::embedded();
    let other = fleet.instance("b").await.unwrap();
    revoked_on_every_instance(fleet, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_revoked_closes_its_sockets_on_a_server_too() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let connect = || async { Fleet::connect(&server.url()).await.unwrap() };
    revoked_on_every_instance(connect().await, connect().await).await;
}

/// It has to say who it is.
#[tokio::test]
async fn who_is_not_logged_in_is_not_let_in_by_a_session() {
    let served = hub(Fleet::embedded()).await;
    let sessions = served.fleet.sessions();
    let anonymous = sessions.create_anonymous().await.unwrap().id;
    let gone = sessions.create("alice").await.unwrap().id;
    sessions.delete(&gone).await.unwrap();
    for cookie in [cookie(&anonymous), cookie(&gone), format!("{NAME}=junk")] {
        let (mut client, _) = served.connect_with(&[("cookie", &cookie)]).await.unwrap();
        assert_eq!(client.next().await["authentication"], "required");
        // A page cannot read its cookie: an id in a frame is from somewhere else.
        let id = sessions.create("alice").await.unwrap().id;
        client
            .send(json!({"id": 1, "authenticate": id.expose()}))
            .await;
        assert_eq!(client.event().await["error"]["code"], "UNAUTHENTICATED");
    }
}

/// An open socket is no use of its session.
#[tokio::test]
async fn a_session_that_is_not_used_closes_its_sockets_when_it_ends() {
    let fleet = Fleet::embedded();
    let making = fleet.sessions().create("alice").ttl(Duration::from_secs(1));
    let id = making.await.unwrap().id;
    let served = hub(fleet).await;
    let mut client = connect(&served, &id).await;
    client.subscribe("news").await;
    sent_away(&mut client).await;
}

/// And what it was connected by before counts no more.
#[tokio::test]
async fn a_client_that_shows_another_session_goes_when_that_ends() {
    let fleet = Fleet::embedded();
    let layer = SessionLayer::new(fleet.sessions()).bearer();
    let sessions = fleet.sessions();
    let served = Served::on(fleet, |hub| hub.authenticate(layer)).await;
    let one = sessions.create("alice").await.unwrap().id;
    let two = sessions.create("alice").await.unwrap().id;
    let bearer = format!("Bearer {}", one.expose());
    let connected = served.connect_with(&[("authorization", &bearer)]).await;
    let mut client = connected.unwrap().0;
    client
        .send(json!({"id": 1, "authenticate": two.expose()}))
        .await;
    assert_eq!(client.event().await["ok"], true);
    sessions.delete(&one).await.unwrap();
    client.subscribe("news").await;
    sessions.delete(&two).await.unwrap();
    sent_away(&mut client).await;
}

/// As soon as it can be known.
#[tokio::test(flavor = "multi_thread")]
async fn fault_what_is_revoked_while_an_instance_is_cut_off_closes_when_it_is_back() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let there = Fleet::connect(&server.url()).await.unwrap();
    let fleet = Fleet::builder().url(proxy.url());
    let fleet = fleet
        .max_reconnect_delay(Duration::from_millis(50))
        .build()
        .await
        .unwrap();
    let sessions = there.sessions();
    let id = sessions.create("alice").await.unwrap().id;
    let served = hub(fleet).await;
    let mut client = connect(&served, &id).await;
    client.subscribe("news").await;
    proxy.refuse().await;
    proxy.cut().await;
    sessions.delete_all("alice").await.unwrap();
    assert_eq!(served.hub.clients(), 1);
    proxy.heal().await.unwrap();
    sent_away(&mut client).await;
}

/// For sockets that are no hub's.
#[tokio::test]
async fn a_handler_hears_of_the_end_of_its_session() {
    let fleet = Fleet::embedded();
    let sessions = fleet.sessions();
    let (tell, mut told) = tokio::sync::mpsc::channel(2);
    let handler = move |session: CurrentSession| {
        let tell = tell.clone();
        async move {
            let watch = session.watch().await.unwrap();
            let is_there = watch.is_some();
            tell.send(watch).await.unwrap();
            Json(is_there)
        }
    };
    let app: Router = Router::new().route("/", get(handler));
    let app = app.layer(SessionLayer::new(sessions.clone()));
    let id = sessions.create("alice").await.unwrap().id;
    for cookie in [cookie(&id), String::new()] {
        let request = Request::get("/").header("cookie", cookie);
        app.clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
    }
    let mut watch = told.recv().await.unwrap().unwrap();
    assert!(told.recv().await.unwrap().is_none());
    sessions.delete(&id).await.unwrap();
    timeout(PATIENCE, watch.ended())
        .await
        .expect("its end")
        .unwrap();
}
