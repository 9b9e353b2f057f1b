//! What another program sees on the server: names, lifetimes, bytes.

use std::time::Duration;

use futures_util::TryStreamExt;
use quorate::{CacheSpec, Durability, Fleet, QuorumLocks, StoreSpec, TestClock, TopicSpec, Value};
use quorate_testing::harness::{eventually, namespace};
use quorate_testing::servers::{Reply, Server, ServerKind, shared};

const NUMBERS: TopicSpec<u64> = TopicSpec::new("numbers");

async fn fleet(url: &str, namespace: &str) -> Fleet {
    Fleet::builder()
        .url(url)
        .namespace(namespace)
        .build()
        .await
        .unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    let elements = value.as_array().expect("an array").iter();
    elements
        .map(|element| element.as_str().expect("text").to_owned())
        .collect()
}

/// Raw channels are exactly `<namespace>:<name>`, and the name alone without a namespace.
#[tokio::test]
async fn a_raw_channel_is_its_name_under_the_namespace() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let (scoped, bare) = (
        fleet(&server.url(), "shop").await,
        fleet(&server.url(), "").await,
    );
    let _one = scoped.channel("c").unwrap().subscribe().await.unwrap();
    let _two = bare.channel("c").unwrap().subscribe().await.unwrap();
    let _three = scoped
        .topic(&NUMBERS)
        .key("7")
        .unwrap()
        .subscribe()
        .await
        .unwrap();
    let Reply::Array(channels) = server.command(&["PUBSUB", "CHANNELS"]).await.unwrap() else {
        panic!("an array")
    };
    let mut channels: Vec<_> = channels.iter().map(|name| name.as_str().unwrap()).collect();
    channels.sort_unstable();
    assert_eq!(channels, ["c", "shop:c", "shop:events:numbers:7"]);
}

/// A program without this library publishes to a raw channel and reads from it.
#[tokio::test]
async fn another_program_talks_over_a_raw_channel() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let fleet = fleet(server.url(), &namespace).await;
    let mut feed = fleet.channel("feed").unwrap().subscribe().await.unwrap();
    let other = fleet.redis().unwrap();
    other
        .command(&["PUBLISH", &format!("{namespace}:feed"), "from outside"])
        .await
        .unwrap();
    assert_eq!(&feed.next_message().await.unwrap()[..], b"from outside");
}

/// Everything that is left on the server is listed in the keyspace document, and has a lifetime.
#[tokio::test]
async fn every_key_is_the_documented_one_and_expires() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let fleet = fleet(server.url(), &namespace).await;
    let held = fleet
        .lock("a}b")
        .try_acquire()
        .await
        .unwrap()
        .guard()
        .unwrap();
    let released = fleet
        .lock("released")
        .try_acquire()
        .await
        .unwrap()
        .guard()
        .unwrap();
    released.release().await.unwrap();
    let quorum = QuorumLocks::over([fleet.clone()]).unwrap();
    let lock = quorum.trust_new_servers().lock("a}b");
    let by_vote = lock.try_acquire().await.unwrap().guard().unwrap();
    const ROOM: TopicSpec<u64> = TopicSpec::new("room").keep(Duration::from_secs(3600), 9, 1 << 20);
    let room = fleet.topic(&ROOM).key("{7}").unwrap();
    let mut work = room.group("billing").unwrap().await.unwrap();
    room.publish(&1).await.unwrap();
    let _pending = work.next_message().await.unwrap();
    let redis = fleet.redis().unwrap();
    let mut keys = texts(
        &redis
            .command(&["KEYS", &format!("{namespace}*")])
            .await
            .unwrap(),
    );
    keys.sort();
    assert_eq!(
        keys,
        [
            format!("{namespace}:history:{{room:%7B7%7D}}"),
            format!("{namespace}:history:{{room:%7B7%7D}}:deliveries:billing"),
            format!("{namespace}:history:{{room:%7B7%7D}}:group:billing"),
            format!("{namespace}:history:{{room:%7B7%7D}}:meta"),
            format!("{namespace}:history:{{room:%7B7%7D}}:pending:billing"),
            format!("{namespace}:lock:{{a%7Db}}"),
            format!("{namespace}:lock:{{released}}"),
            format!("{namespace}:quorum:{{a%7Db}}")
        ]
    );
    for key in &keys {
        let lifetime = redis
            .command(&["PTTL", key])
            .await
            .unwrap()
            .as_int()
            .unwrap();
        let beyond = match () {
            () if key.ends_with("room:%7B7%7D}") => Duration::from_secs(3610),
            () if key.contains(":history:") => Duration::from_secs((7 * 24 + 1) * 3600 + 10),
            // Servers of a quorum keep it longer, by what clocks may drift.
            () if key.contains(":quorum:") => Duration::from_secs(24 * 3600 + 31),
            () => Duration::from_secs(24 * 3600 + 30),
        };
        let beyond = i64::try_from(beyond.as_millis()).unwrap();
        assert!(lifetime > 0 && lifetime <= beyond, "{key}: {lifetime}");
    }
    drop((held, by_vote));
}

/// A stream may hold a little more than is read of it: one node of the server's, whichever bound is
/// reached. And it has a lifetime also when it was evicted and began anew.
#[tokio::test]
async fn a_stream_holds_at_most_a_node_more_than_is_kept() {
    const HOUR: Duration = Duration::from_secs(3600);
    let server = shared(ServerKind::Redis).await.unwrap();
    let (namespace, clock) = (namespace(), TestClock::new());
    let builder = Fleet::builder().url(server.url()).namespace(&*namespace);
    let fleet = builder.test_clock(clock.clone()).build().await.unwrap();
    let redis = fleet.redis().unwrap();
    let stream = format!("{namespace}:history:{{room}}");
    let length = async || {
        let length = redis.command(&["XLEN", &stream]).await.unwrap();
        length.as_int().unwrap()
    };
    let few = TopicSpec::<u64>::new("room").keep(HOUR, 10, 1 << 20);
    let small = TopicSpec::<u64>::new("room").keep(HOUR, 1000, 1000);
    let brief = TopicSpec::<u64>::new("room").keep(HOUR, 1000, 1 << 20);
    // The server's default: at most 100 entries in a node.
    for topic in [fleet.topic(&few), fleet.topic(&small)] {
        futures_util::future::try_join_all((0..250).map(|number| {
            let topic = topic.clone();
            async move { topic.publish(&number).await }
        }))
        .await
        .unwrap();
        assert!(length().await <= 110, "{}", length().await);
    }
    let topic = fleet.topic(&brief);
    for number in 0..250 {
        topic.publish(&number).await.unwrap();
    }
    assert!(length().await >= 250);
    clock.advance(HOUR * 2);
    topic.publish(&250).await.unwrap();
    assert!(length().await <= 101, "{}", length().await);
    redis.command(&["DEL", &stream]).await.unwrap();
    topic.publish(&251).await.unwrap();
    let lifetime = redis.command(&["PTTL", &stream]).await.unwrap();
    assert!(lifetime.as_int().unwrap() > 0, "{lifetime:?}");
    let history = topic.history().await.unwrap();
    assert_eq!(history.events.len(), 1);
}

/// A server that lost its scripts (restart, `SCRIPT FLUSH`) is sent them again within the same call.
#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let fleet = fleet(&server.url(), "").await;
    for _ in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        let guard = fleet
            .lock("report")
            .try_acquire()
            .await
            .unwrap()
            .guard()
            .unwrap();
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        assert!(guard.release().await.unwrap());
    }
}

/// Any command, pipeline or script runs; what a shared connection cannot run is refused.
#[tokio::test]
async fn the_escape_hatch_runs_commands_pipelines_and_scripts() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let fleet = fleet(server.url(), &namespace()).await;
    let redis = fleet.redis().unwrap();
    let key = fleet.namespace().qualify("k");
    assert!(redis.command(&["SET", &key, "v"]).await.unwrap().is_ok());
    let replies = redis
        .pipeline(&[vec!["GET", &key], vec!["INCR", &key], vec!["STRLEN", &key]])
        .await
        .unwrap();
    assert_eq!(replies[0].as_ref().unwrap().as_str(), Some("v"));
    let error = replies[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), quorate::ErrorKind::Backend);
    assert_eq!(replies[2].as_ref().unwrap().as_int(), Some(1));
    let doubled = redis
        .script(
            "return redis.call('GET', KEYS[1]) .. ARGV[1]",
            &[key.as_str()],
            &["w"],
        )
        .await
        .unwrap();
    assert_eq!(doubled.as_str(), Some("vw"));
    let refused = redis.command(&["BLPOP", &key, "0"]).await.unwrap_err();
    assert_eq!(refused.kind(), quorate::ErrorKind::InvalidInput);
    assert!(Fleet::embedded().redis().is_err());
}

/// Everything a roster leaves on the server is listed in the keyspace document, and has a lifetime; an
/// instance without members leaves nothing of its own, and closing is no exception.
#[tokio::test]
async fn every_key_of_a_roster_is_the_documented_one_and_expires() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let (a, b) = (
        fleet(server.url(), &namespace).await,
        fleet(server.url(), &namespace).await,
    );
    let (room, gone) = (a.presence("a}b"), b.presence("a}b"));
    let ada = room.join("ada", "{}").await.unwrap();
    gone.join("bob", "").await.unwrap().detach();
    let left = b.presence("empty").join("eve", "").await.unwrap();
    assert!(left.leave().await.unwrap());
    b.close().await;
    let redis = a.redis().unwrap();
    let pattern = format!("{namespace}*");
    let mut keys = texts(&redis.command(&["KEYS", &pattern]).await.unwrap());
    keys.sort();
    let own = room.instance();
    let unit = format!("{namespace}:presence:{{a%7Db}}");
    let expected = [
        unit.clone(),
        format!("{unit}:leases"),
        format!("{unit}:members:{own}"),
        format!("{namespace}:presence:{{empty}}"),
    ];
    assert_eq!(keys, expected);
    for key in &keys {
        let lifetime = redis.command(&["PTTL", key]).await.unwrap();
        let lifetime = lifetime.as_int().unwrap();
        let longest = i64::try_from(Duration::from_secs(3600 + 10).as_millis()).unwrap();
        assert!(lifetime > 0 && lifetime <= longest, "{key}: {lifetime}");
    }
    let mut fields = texts(&redis.command(&["HKEYS", &unit]).await.unwrap());
    fields.sort();
    let documented = [
        format!("at:{own}"),
        "epoch".to_owned(),
        format!("of:{own}"),
        "version".to_owned(),
    ];
    assert_eq!(fields, documented);
    let info = redis.command(&["HGET", &expected[2], "ada"]).await.unwrap();
    assert_eq!(info.as_str(), Some("{}"));
    drop(ada);
}

/// The permissions in the operations document are enough for rosters, locks, kept topics and their groups, executions,
/// stores, caches, and for health.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let document = include_str!("../../../../docs/operations.md");
    let rule = document.split_once("ACL SETUSER quorate").expect("it").1;
    let rule = rule.split_once("```").expect("the end of the block").0;
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let rule = rule.replace(">PASSWORD", ">secret");
    let mut command = vec!["ACL", "SETUSER", "quorate"];
    command.extend(rule.split_whitespace());
    server.command(&command).await.unwrap();
    let url = server.url().replace("redis://", "redis://quorate:secret@");
    let fleet = fleet(&url, "quorate").await;
    let other = fleet.instance("b").await.unwrap();
    let room = fleet.presence("room");
    let mut watch = room.watch().await.unwrap();
    let ada = room.join("ada", "").await.unwrap();
    other
        .presence("room")
        .join("bob", "")
        .await
        .unwrap()
        .detach();
    assert!(ada.update("away").await.unwrap());
    assert_eq!(room.members().await.unwrap().count, 2);
    let (port, key) = (
        fleet.presence_port(),
        quorate::Key::new(fleet.namespace(), "room").unwrap(),
    );
    let options = quorate::CallOptions::until(tokio::time::Instant::now() + Duration::from_secs(5));
    let lease = Duration::from_secs(10);
    let renewed = port.renew(&key, room.instance(), lease, options).await;
    assert!(renewed.unwrap().at.is_some());
    assert!(ada.leave().await.unwrap());
    other.close().await;
    assert_eq!(room.count().await.unwrap(), 0);
    for _ in 0..6 {
        watch.next().await.unwrap();
    }
    locks_are_allowed(&fleet).await;
    assert!(fleet.health(lease).await.healthy);

    const ROOM: TopicSpec<u64> = TopicSpec::new("room").keep(Duration::from_secs(60), 1, 1 << 20);
    let room = fleet.topic(&ROOM);
    let group = room.group("billing").unwrap();
    let mut work = group.clone().join().await.unwrap();
    for number in 0..3 {
        room.publish(&number).await.unwrap();
    }
    assert_eq!(room.history().await.unwrap().events.len(), 1);
    let message = work.next_message().await.unwrap();
    assert!(work.extend(&message, lease).await.unwrap());
    assert!(work.acknowledge(&message).await.unwrap());
    assert_eq!(group.status().await.unwrap().unwrap().pending, 0);
    assert!(group.delete().await.unwrap());

    executions_are_allowed(&fleet).await;
    stores_and_caches_are_allowed(&fleet).await;
}

async fn locks_are_allowed(fleet: &Fleet) {
    let lock = fleet.lock("report").reentrant("me");
    let first = lock.try_acquire().await.unwrap().guard().unwrap();
    let again = lock.try_acquire().await.unwrap().guard().unwrap();
    assert!(again.release().await.unwrap());
    let other = fleet.lock("report");
    let waiting = async {
        let waits = other.acquire().wait(Duration::from_secs(10));
        waits.await.unwrap().guard().unwrap()
    };
    let releasing = async {
        eventually("it waits", async || {
            other.status().await.unwrap().waiting == 1
        })
        .await;
        assert!(first.release().await.unwrap());
    };
    let (next, ()) = tokio::join!(waiting, releasing);
    assert!(next.extend(Duration::from_secs(60)).await.unwrap());
    assert_eq!(other.force_release().await.unwrap(), [next.token()]);
    let quorum = QuorumLocks::over([fleet.clone()]).unwrap();
    let lock = quorum.trust_new_servers().lock("report");
    let guard = lock.try_acquire().await.unwrap().guard().unwrap();
    assert!(guard.extend(Duration::from_secs(60)).await.unwrap());
    assert!(lock.is_locked().await.unwrap());
    assert!(guard.release().await.unwrap());
}

async fn executions_are_allowed(fleet: &Fleet) {
    let checkouts = fleet.executions("checkout").ttl(Duration::from_secs(60));
    checkouts.begin("a").await.unwrap();
    checkouts.begin_task("a", "charge").await.unwrap();
    assert!(checkouts.abandon_task("a", "charge").await.unwrap());
    checkouts.commit_result("a", "charge", &1).await.unwrap();
    assert!(checkouts.is_in_progress("a").await.unwrap());
    assert!(!checkouts.is_task_in_progress("a", "charge").await.unwrap());
    let result = checkouts.result::<u32>("a", "charge").await.unwrap();
    assert_eq!(result, Some(1));
    assert_eq!(checkouts.results("a").await.unwrap().len(), 1);
    assert!(checkouts.dispose("a").await.unwrap());
}

async fn stores_and_caches_are_allowed(fleet: &Fleet) {
    const TEXTS: StoreSpec<str, String> = StoreSpec::new("texts");
    const COUNTS: StoreSpec<str, i64> = StoreSpec::new("counts");
    const CACHED: CacheSpec<str, String> = CacheSpec::new("texts").near(1 << 20);
    const COUNTED: CacheSpec<str, i64> = CacheSpec::new("counts");
    let (minute, text) = (Duration::from_secs(60), "x".to_owned());
    let (texts, counts) = (fleet.store(&TEXTS), fleet.store(&COUNTS));
    texts.set("a", &text).ttl(minute).await.unwrap();
    // There is none: it says so.
    let durability = Durability::replicas(1).within(minute / 6000);
    let written = texts.set("b", &text).durable(durability).await.unwrap();
    assert!(!written.is_reached());
    texts.set_many([("c", &text)]).ttl(minute).await.unwrap();
    assert!(!texts.set_if_absent("a", &text).idempotent().await.unwrap());
    assert!(
        texts
            .compare_and_set("a", Some(&text), &text)
            .keep_ttl()
            .await
            .unwrap()
    );
    assert!(texts.persist("a").await.unwrap() && texts.expire("a", minute).await.unwrap());
    assert!(texts.remaining("a").await.unwrap().is_some());
    assert_eq!(texts.get_many(["a", "b"]).await.unwrap().len(), 2);
    assert_eq!(
        texts.scan("").try_collect::<Vec<_>>().await.unwrap().len(),
        3
    );
    assert!(texts.delete("a").await.unwrap());
    assert!(texts.compare_and_delete("b", &text).await.unwrap());
    assert_eq!(counts.increment("a", 1).await.unwrap(), 1);
    assert_eq!(
        counts
            .increment("a", 1)
            .ttl(minute)
            .idempotent()
            .await
            .unwrap(),
        2
    );

    let (cached, counted) = (fleet.cache(&CACHED), fleet.cache(&COUNTED));
    let load = async { Ok::<_, std::io::Error>("x".to_owned()) };
    cached.get_or_load("a", load).tags(["t"]).await.unwrap();
    assert!(
        cached
            .put("b", &text)
            .tags(["t"])
            .if_absent()
            .await
            .unwrap()
    );
    for _ in 0..2 {
        assert_eq!(cached.get_many(["a", "b"]).await.unwrap().len(), 2);
    }
    assert!(cached.entry("a").await.unwrap().is_some());
    assert!(cached.expire("a", minute).await.unwrap());
    assert!(cached.remaining("a").await.unwrap().is_some());
    assert_eq!(
        cached
            .scan("*")
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .len(),
        2
    );
    fleet.invalidate_tags(["t"]).await.unwrap();
    assert_eq!(cached.get("a").await.unwrap(), None);
    assert!(cached.put("a", &text).await.unwrap() && cached.remove("a").await.unwrap());
    assert_eq!(cached.clear().await.unwrap(), 0);
    assert_eq!(counted.increment("a", 1).await.unwrap(), 1);
}
