//! Keys that belong to the users of sessions, over connections of clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use quorate::Fleet;
use quorate_http::Rejection;
use quorate_http::idempotency::{IdempotencyLayer, IdempotencyScope};
use quorate_http::session::{CurrentSession, SessionLayer};
use quorate_testing::servers::{Server, ServerKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A shop whose users log in, on a port of its own.
struct Shop {
    address: SocketAddr,
    orders: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

/// What a client keeps, and what it was answered.
#[derive(Default)]
struct Client {
    cookie: String,
    replayed: bool,
}

async fn log_in(session: CurrentSession, Path(user): Path<String>) -> Result<(), Rejection> {
    Ok(session.log_in(&user).await?)
}

async fn visit(session: CurrentSession) -> Result<(), Rejection> {
    Ok(session.set(&quorate::SessionKey::<u32>::new("visits"), &1)?)
}

impl Shop {
    async fn on(fleet: &Fleet, layer: SessionLayer) -> Self {
        let scope = IdempotencyScope::session_user();
        let once = IdempotencyLayer::builder(fleet, scope).build().unwrap();
        let orders: Arc<AtomicU64> = Arc::default();
        let order = {
            let orders = orders.clone();
            move || async move { format!("order {}", orders.fetch_add(1, Ordering::SeqCst) + 1) }
        };
        let app = Router::new()
            .route("/orders", post(order))
            .layer(once)
            .route("/login/{user}", post(log_in))
            .route("/visit", post(visit))
            .layer(layer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            orders,
            _serving: serving,
        }
    }

    async fn embedded() -> Self {
        let fleet = Fleet::embedded();
        Self::on(&fleet, SessionLayer::new(fleet.sessions())).await
    }

    /// Posts nothing, with these lines in the head, and gives status and body.
    async fn post(&self, client: &mut Client, path: &str, lines: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let cookie = &client.cookie;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 0\r\nCookie: {cookie}\r\n{lines}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        client.replayed = field("idempotent-replayed: ").is_some();
        if let Some(cookie) = field("set-cookie: ") {
            cookie
                .split(';')
                .next()
                .unwrap()
                .clone_into(&mut client.cookie);
        }
        let status = field("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        (status, body.to_owned())
    }

    async fn order(&self, client: &mut Client, key: &str) -> (u16, String) {
        let line = format!("Idempotency-Key: {key}\r\n");
        self.post(client, "/orders", &line).await
    }

    async fn logged_in(&self, user: &str) -> Client {
        let mut client = Client::default();
        let answer = self.post(&mut client, &format!("/login/{user}"), "").await;
        assert_eq!(answer.0, 200, "{answer:?}");
        client
    }

    fn orders(&self) -> u64 {
        self.orders.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn two_users_with_one_key_have_an_answer_each() {
    let shop = Shop::embedded().await;
    let mut ann = shop.logged_in("ann").await;
    let mut bob = shop.logged_in("bob").await;
    assert_eq!(shop.order(&mut ann, "k").await, (200, "order 1".into()));
    assert_eq!(shop.order(&mut bob, "k").await, (200, "order 2".into()));
    for (client, order) in [(&mut ann, "order 1"), (&mut bob, "order 2")] {
        assert_eq!(shop.order(client, "k").await, (200, order.into()));
        assert!(client.replayed);
    }
    // The same user, from another device or after another login.
    let mut elsewhere = shop.logged_in("ann").await;
    assert_eq!(
        shop.order(&mut elsewhere, "k").await,
        (200, "order 1".into())
    );
    assert!(elsewhere.replayed);
    assert_eq!(shop.orders(), 2);
    // Whoever logs in on Ann's device is not Ann.
    shop.post(&mut ann, "/login/eve", "").await;
    assert_eq!(shop.order(&mut ann, "k").await, (200, "order 3".into()));
}

#[tokio::test]
async fn anonymous_callers_have_no_keys() {
    let shop = Shop::embedded().await;
    let mut visitor = Client::default();
    shop.post(&mut visitor, "/visit", "").await;
    assert!(!visitor.cookie.is_empty(), "there is a session");
    let forged = Client {
        cookie: format!("__Host-session={}", "A".repeat(86)),
        ..Client::default()
    };
    for mut client in [visitor, Client::default(), forged] {
        let (status, body) = shop.order(&mut client, "k").await;
        assert_eq!(status, 401, "{body}");
        assert!(body.contains("UNAUTHENTICATED"), "{body}");
        // Without a key nobody is asked who they are.
        assert_eq!(shop.post(&mut client, "/orders", "").await.0, 200);
    }
    assert_eq!(shop.orders(), 3);
}

#[tokio::test]
async fn without_a_session_layer_the_service_says_so() {
    let scope = IdempotencyScope::session_user();
    let layer = IdempotencyLayer::builder(&Fleet::embedded(), scope);
    let site = super::site::Site::new();
    let answer = super::site::send(&site.app(layer), super::site::post("/", "k", "")).await;
    assert_eq!(answer.status.as_u16(), 500);
    assert!(answer.body.contains("no session layer"), "{}", answer.body);
    assert_eq!(site.began(), 0);
}

/// Also where sessions are anonymous while the home is away: nobody is told that they are nobody.
#[tokio::test(flavor = "multi_thread")]
async fn fault_without_its_home_a_user_is_not_taken_for_nobody() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = Fleet::connect(&server.url()).await.unwrap();
    let sessions = fleet.sessions().deadline(Duration::from_secs(1));
    let layer = SessionLayer::new(sessions).anonymous_when_down();
    let shop = Shop::on(&fleet, layer).await;
    let mut ann = shop.logged_in("ann").await;
    assert_eq!(shop.order(&mut ann, "k").await.0, 200);
    server.kill();
    let (status, body) = shop.order(&mut ann, "k").await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(shop.orders(), 1);
}
