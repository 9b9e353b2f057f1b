//! The network fails, an instance dies, and nobody misses anything.

use quorate_testing::proxy::Proxy;
use quorate_testing::servers::{Server, ServerKind};

use crate::support::{Instance, Person};

/// Two instances on one server.
async fn instances(redis: &Server) -> (Instance, Instance) {
    let url = redis.url();
    tokio::join!(Instance::start(&url), Instance::start(&url))
}

fn numbered(what: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{what} {n}")).collect()
}

#[tokio::test]
async fn browser_that_was_offline_misses_nothing_and_sends_what_was_written_meanwhile() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let (a, b) = instances(&redis).await;
    let network = Proxy::start(b.address()).await.unwrap();
    let (ada, bob) = tokio::join!(
        Person::join(a.address(), "Ada"),
        Person::join(network.addr(), "Bob")
    );
    ada.says("Is anybody there?").await;
    bob.until_messages(1).await;
    bob.says("Me!").await;
    ada.until_messages(2).await;
    assert_eq!(ada.messages().await, ["Is anybody there?", "Me!"]);
    assert_eq!(bob.messages().await, ada.messages().await);
    ada.until_here(&["Ada", "Bob"]).await;
    bob.until_here(&["Ada", "Bob"]).await;

    network.refuse().await;
    network.cut().await;
    bob.until_offline().await;
    ada.until_here(&["Ada"]).await;
    ada.until_text("#came", "Bob left").await;
    bob.says("Can you hear me?").await;
    bob.until_text("#pending", "Can you hear me?").await;
    let said = numbered("While he was away", 20);
    for text in &said {
        ada.says(text).await;
    }
    ada.until_messages(22).await;
    bob.until_text("#banner", "1 message waits").await;
    bob.picture("offline").await;

    network.heal().await.unwrap();
    bob.tries_now().await;
    bob.until_messages(23).await;
    ada.until_messages(23).await;
    bob.until("document.querySelector('#banner').hidden").await;
    bob.until_text("#messages .divider.new", "New since you were away")
        .await;
    let expected = [
        &["Is anybody there?".to_owned(), "Me!".to_owned()],
        &said[..],
        &["Can you hear me?".to_owned()],
    ]
    .concat();
    assert_eq!(bob.messages().await, expected);
    assert_eq!(ada.messages().await, expected);
    ada.until_here(&["Ada", "Bob"]).await;
    ada.until_text("#came", "Bob joined").await;
    bob.until_here(&["Ada", "Bob"]).await;
    bob.picture("back").await;
}

#[tokio::test]
async fn browser_goes_on_at_another_instance_when_its_own_is_killed() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let (mut a, b) = instances(&redis).await;
    let balancer = Proxy::start(a.address()).await.unwrap();
    let (ada, bob) = tokio::join!(
        Person::join(balancer.addr(), "Ada"),
        Person::join(b.address(), "Bob")
    );
    // She writes faster than is answered: some is under way when the instance dies, some still waits.
    let first = numbered("Before", 6);
    for text in &first[..5] {
        ada.says(text).await;
    }
    bob.until_messages(1).await;
    a.kill().await;
    ada.says(&first[5]).await;
    ada.until_offline().await;
    bob.says("Where did she go?").await;
    bob.until_text("#messages", "Where did she go?").await;

    // Her instance can't say that she is gone. The others find out.
    bob.until_here(&["Bob"]).await;
    balancer.retarget(b.address());
    ada.tries_now().await;
    ada.until_connected().await;
    bob.until_here(&["Ada", "Bob"]).await;
    ada.until_messages(7).await;
    bob.until_messages(7).await;
    let (of_ada, of_bob) = (ada.messages().await, bob.messages().await);
    assert_eq!(of_ada, of_bob);
    let hers: Vec<_> = of_ada
        .iter()
        .filter(|text| text.starts_with("Before"))
        .cloned()
        .collect();
    assert_eq!(hers, first);
    assert_eq!(of_ada.len(), 7);

    // And the room goes on as if nothing had happened.
    ada.says("Here I am").await;
    bob.until_messages(8).await;
}

#[tokio::test]
async fn browser_is_sent_to_another_instance_when_its_own_is_stopped() {
    let redis = Server::start(ServerKind::Redis).await.unwrap();
    let (mut a, b) = instances(&redis).await;
    let balancer = Proxy::start(a.address()).await.unwrap();
    let ada = Person::join(balancer.addr(), "Ada").await;
    ada.says("Good morning").await;
    ada.until_messages(1).await;
    balancer.retarget(b.address());
    a.stop().await;
    let there = format!("connected to chat-{}", b.address().port());
    ada.until(&format!(
        "document.querySelector('#state').title === '{there}'"
    ))
    .await;
    ada.says("Good evening").await;
    ada.until_messages(2).await;
    assert_eq!(ada.messages().await, ["Good morning", "Good evening"]);
}
