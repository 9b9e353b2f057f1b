//! Clients of a fleet of servers, while its instances die, its networks break and its backend is
//! restarted: what each of them received, from the beginning to the end.

use std::net::SocketAddr;
use std::time::Duration;

use quorate::{Backoff, Fleet, TopicSpec};
use quorate_http::client::{ClientEvent, HubClient};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind};
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{Served, Setup};

/// What the clients must have received in the end, in this order.
const MESSAGES: u64 = 1_500;
const CLIENTS: usize = 12;
/// Longer than all faults together; only what hangs takes it.
const ALL_OF_IT: Duration = Duration::from_secs(50);

const ROOM: TopicSpec<u64> =
    TopicSpec::new("room").keep(Duration::from_secs(3600), 100_000, 64 << 20);

async fn instance(backend: &Server) -> Served {
    let served = Served::with(Setup {
        args: vec!["--backend", &backend.url()],
        config: "[fleet]\nmax_reconnect_delay = '100ms'\nping_interval = '500ms'\n\
                 [limits]\nheartbeat = '500ms'\nclient_buffer = 64\n\
                 [topics.room.keep]\ntime = '1h'\nmessages = 100000\nbytes = 67108864",
        ..Setup::default()
    })
    .await;
    served.until_ready(true).await;
    served
}

fn address(served: &Served) -> SocketAddr {
    served.authority.parse().unwrap()
}

async fn client(proxy: &Proxy) -> HubClient {
    let url = format!("ws://{}/v1/ws", proxy.addr());
    let backoff = Backoff {
        initial: Duration::from_millis(20),
        max: Duration::from_millis(200),
        ..Backoff::DEFAULT
    };
    HubClient::builder(url)
        .backoff(backoff)
        .heartbeat_timeout(Duration::from_millis(500))
        .connect()
        .await
        .unwrap()
}

/// What a client received from the first message on.
async fn received(client: HubClient) -> Vec<String> {
    let mut room = client
        .subscribe_topic("room")
        .recent(std::num::NonZeroU32::new(100).unwrap())
        .await
        .unwrap();
    let mut history = Vec::new();
    while let Some(event) = room.next().await {
        match event {
            ClientEvent::Message(message) => {
                let number: &Value = &message;
                history.push(number.to_string());
                if *number == MESSAGES - 1 {
                    break;
                }
            }
            other => history.push(format!("{other:?}")),
        }
    }
    client.close().await;
    history
}

/// Publishes everything, some of it at a time, each message until it is known to be kept.
async fn publish(fleet: &Fleet, numbers: std::ops::Range<u64>) {
    let room = fleet.topic(&ROOM);
    for number in numbers {
        room.publish(&number).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Networks of clients break, an instance is killed, the backend is killed and restarted, all while
/// messages are published: every client receives every message exactly once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn fault_clients_receive_every_kept_message_once_whatever_dies() {
    const PART: u64 = MESSAGES / 5;
    let backend = Server::builder(ServerKind::Redis)
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await
        .unwrap();
    let publisher = Fleet::builder()
        .url(backend.url())
        .retries(0_u32)
        .deadline(Duration::from_secs(20))
        .retry_delay(Duration::from_millis(20))
        .max_reconnect_delay(Duration::from_millis(100))
        .command_timeout(Duration::from_secs(1))
        .build()
        .await
        .unwrap();
    let (doomed, other) = tokio::join!(instance(&backend), instance(&backend));
    let mut networks = Vec::new();
    let mut clients = tokio::task::JoinSet::new();
    // The topic is a kept one from its first message on, and the clients are there before the second.
    publish(&publisher, 0..1).await;
    for number in 0..CLIENTS {
        let to = if number % 2 == 0 { &doomed } else { &other };
        let network = Proxy::start(address(to)).await.unwrap();
        let client = client(&network).await;
        clients.spawn(received(client));
        networks.push(network);
    }
    let faults = async {
        // Connections break, some of them more than once, and some hang.
        let breaking = async {
            for (number, network) in networks.iter().enumerate() {
                if number % 3 == 0 {
                    network.swallow(Direction::Both);
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    network.heal().await.unwrap();
                } else {
                    network.cut().await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(breaking, publish(&publisher, 1..PART));

        // An instance is killed, and the load balancer sends its clients to the other.
        let killing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            doomed.signal(Signal::KILL);
            for network in &networks {
                network.retarget(address(&other));
                network.cut().await;
            }
        };
        tokio::join!(killing, publish(&publisher, PART..2 * PART));

        // The backend is killed and comes back with its log.
        let restarting = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            backend.kill();
            backend.restart().await.unwrap();
        };
        tokio::join!(restarting, publish(&publisher, 2 * PART..3 * PART));

        // All of it at once.
        let all = async {
            backend.kill();
            for network in &networks {
                network.cut().await;
            }
            backend.restart().await.unwrap();
        };
        tokio::join!(all, publish(&publisher, 3 * PART..4 * PART));
        publish(&publisher, 4 * PART..MESSAGES).await;
    };
    timeout(ALL_OF_IT, faults).await.expect("the faults end");
    let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for _ in 0..CLIENTS {
        let history = timeout(ALL_OF_IT, clients.join_next())
            .await
            .expect("every client receives the last message")
            .unwrap()
            .unwrap();
        let differs = history.iter().zip(&expected).position(|(a, b)| a != b);
        if let Some(at) = differs {
            let from = at.saturating_sub(3);
            panic!(
                "differs at {at}: {:?}",
                &history[from..(at + 8).min(history.len())]
            );
        }
        assert_eq!(history.len(), expected.len());
    }
}
