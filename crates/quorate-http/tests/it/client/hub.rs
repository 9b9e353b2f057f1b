//! The client against the hub, through a network that fails.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use quorate::{Codec, Fleet, GapReason, TopicSpec};
use quorate_http::client::{ClientEvent, ClientSubscription, HubClient, HubClientBuilder};
use quorate_http::{Hub, HubBuilder};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::TlsFiles;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::script::AT_ONCE;

/// A hub that listens, gone with the test.
pub(crate) struct Served {
    pub(crate) hub: Hub,
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Served {
    pub(crate) async fn start(builder: HubBuilder) -> Self {
        let hub = builder.build().unwrap();
        let router: Router = hub.router();
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
}

pub(crate) fn client(address: SocketAddr) -> HubClientBuilder {
    HubClient::builder(format!("ws://{address}/ws")).backoff(AT_ONCE)
}

async fn publish(fleet: &Fleet, topic: &str, value: impl Into<Value>) {
    let spec = TopicSpec::try_with_codec(topic, Codec::<Value>::json()).unwrap();
    fleet.topic(&spec).publish(&value.into()).await.unwrap();
}

/// The next event: a message's value, or the reason of a gap.
async fn next(subscription: &mut ClientSubscription<Value>) -> Result<Value, GapReason> {
    match within("an event", subscription.next()).await.unwrap() {
        ClientEvent::Message(message) => Ok(message.into_payload()),
        ClientEvent::Gap(gap) => Err(gap.reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_what_it_cost_is_a_gap() {
    let fleet = Fleet::embedded();
    let served = Served::start(Hub::builder(fleet.clone()).open()).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let mut one = client.subscribe_topic("orders:42").await.unwrap();
    let mut all = client.subscribe_topic("orders:*").await.unwrap();
    publish(&fleet, "orders:42", 1).await;
    assert_eq!(
        (next(&mut one).await, next(&mut all).await),
        (Ok(json!(1)), Ok(json!(1)))
    );

    proxy.cut().await;
    assert_eq!(next(&mut one).await, Err(GapReason::Reconnected));
    assert_eq!(next(&mut all).await, Err(GapReason::Reconnected));
    publish(&fleet, "orders:42", 2).await;
    assert_eq!(
        (next(&mut one).await, next(&mut all).await),
        (Ok(json!(2)), Ok(json!(2)))
    );
    client.close().await;
    eventually("nobody is connected", async || served.hub.clients() == 0).await;
}

#[tokio::test]
async fn a_connection_that_is_only_half_there_is_given_up() {
    let fleet = Fleet::embedded();
    let beat = Duration::from_millis(50);
    let served = Served::start(Hub::builder(fleet.clone()).open().heartbeat(beat)).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let client = client(proxy.addr())
        .heartbeat_timeout(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    let mut one = client.subscribe_topic("a").await.unwrap();
    proxy.swallow(Direction::Both);
    let mut states = client.states();
    within("the end", states.wait_for(|it| !it.is_ready()))
        .await
        .unwrap();
    proxy.heal().await.unwrap();
    assert_eq!(next(&mut one).await, Err(GapReason::Reconnected));
    publish(&fleet, "a", 1).await;
    assert_eq!(next(&mut one).await, Ok(json!(1)));
}

#[tokio::test]
async fn a_server_that_stops_sends_the_client_to_another() {
    let fleet = Fleet::embedded();
    let second = fleet.instance("second").await.unwrap();
    let spread = Duration::from_millis(50);
    let first = Served::start(Hub::builder(fleet).open().reconnect_spread(spread)).await;
    let second_hub = Served::start(Hub::builder(second.clone()).open()).await;
    let proxy = Proxy::start(first.address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let before = client.id().unwrap();
    let mut one = client.subscribe_topic("a").await.unwrap();
    proxy.retarget(second_hub.address);
    first.hub.drain().await;
    assert_eq!(next(&mut one).await, Err(GapReason::Reconnected));
    assert_eq!((first.hub.clients(), second_hub.hub.clients()), (0, 1));
    assert_ne!(client.id().unwrap(), before);
    publish(&second, "a", 1).await;
    assert_eq!(next(&mut one).await, Ok(json!(1)));
}

#[tokio::test]
async fn topics_by_parameters_and_names_are_the_same() {
    let fleet = Fleet::embedded();
    let served = Served::start(Hub::builder(fleet.clone()).open()).await;
    let client = client(served.address).connect().await.unwrap();
    let mut named = client.subscribe_topic(r#"job:{"id":7}"#).await.unwrap();
    publish(&fleet, "unheard", 0).await;
    let spec = TopicSpec::try_with_codec("job", Codec::<Value>::json()).unwrap();
    let topic = fleet.topic(&spec).key(r#"{"id":7}"#).unwrap();
    topic.publish(&json!("done")).await.unwrap();
    assert_eq!(next(&mut named).await, Ok(json!("done")));
    // Refused with the server's reason.
    let error = client
        .publish_topic("job", &1)
        .into_future()
        .await
        .unwrap_err();
    assert_eq!(error.code(), quorate_http::Code::PermissionDenied);
    let error = client
        .request_type("a", &1)
        .into_future()
        .await
        .unwrap_err();
    assert_eq!(error.code(), quorate_http::Code::Unimplemented);
}

#[tokio::test]
async fn cuts_while_somebody_publishes_and_nothing_missing_silently() {
    const MESSAGES: u64 = 300;
    let fleet = Fleet::embedded();
    let served = Served::start(Hub::builder(fleet.clone()).open()).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let mut one = client.subscribe_topic("a").await.unwrap();
    let publishing = async {
        for n in 0..MESSAGES {
            publish(&fleet, "a", n).await;
            if n % 60 == 59 {
                proxy.cut().await;
                within("a connection", client.ready()).await.unwrap();
            }
        }
        // What was lost is said before what follows: publish until the client is back.
        loop {
            publish(&fleet, "a", MESSAGES).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let consuming = async {
        let (mut expected, mut gap) = (0, false);
        loop {
            match next(&mut one).await {
                Ok(number) => {
                    let number = number.as_u64().unwrap();
                    assert!(
                        number == expected || (gap && number > expected),
                        "{number}, not {expected}"
                    );
                    if number == MESSAGES {
                        return;
                    }
                    (expected, gap) = (number + 1, false);
                }
                Err(_) => gap = true,
            }
        }
    };
    tokio::select! {
        () = publishing => {}
        () = consuming => {}
    }
}

#[tokio::test]
async fn over_tls_the_server_must_be_who_it_says() {
    let files = TlsFiles::generate().unwrap();
    let chain = CertificateDer::pem_file_iter(files.server_certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(files.server_key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let served = Served::start(Hub::builder(Fleet::embedded()).open()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let terminating = async {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, upstream) = (acceptor.clone(), served.address);
            open.spawn(async move {
                // A client that does not trust us goes away.
                let Ok(mut secured) = acceptor.accept(stream).await else {
                    return;
                };
                let mut upstream = tokio::net::TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut secured, &mut upstream).await;
            });
        }
    };
    let test = async {
        let url = format!("wss://localhost:{port}/ws");
        let stranger = HubClient::connect(&url).await.unwrap_err();
        assert!(stranger.to_string().contains("TLS"), "{stranger}");
        let authority = std::fs::read_to_string(files.authority()).unwrap();
        let client = HubClient::builder(&url)
            .ca_pem(authority)
            .connect()
            .await
            .unwrap();
        let mut one = client.subscribe_topic("a").await.unwrap();
        assert_eq!(one.backlog(), 0);
        client.close().await;
        assert!(one.next().await.is_none());
    };
    tokio::select! {
        () = terminating => {}
        () = test => {}
    }
}
