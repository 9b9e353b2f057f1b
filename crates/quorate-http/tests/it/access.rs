//! Who may do what, over real sockets, between two instances.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Codec, Fleet};
use quorate_http::{
    ClientInfo, ConnectionTokens, Credentials, Cx, Denied, EventSpec, HubBuilder, Identity,
    MessageRouter, MessageSpec, Selector,
};
use quorate_testing::harness::{eventually, namespace};
use quorate_testing::proxy::{Direction, Proxy};
use quorate_testing::servers::{Server, ServerKind, shared};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use crate::declared::Instance;
use crate::support::connect;

const ROOM: EventSpec<String, String> = EventSpec::new("room").codec(Codec::text());
const WHOAMI: MessageSpec<(), Option<String>> = MessageSpec::new("whoami");
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn tokens() -> ConnectionTokens {
    ConnectionTokens::new([7; 32]).unwrap()
}

fn token(user: &str) -> String {
    token_for(user, HOUR)
}

fn token_for(user: &str, lifetime: Duration) -> String {
    tokens().issue(user, &Value::Null, lifetime).unwrap()
}

fn with_tokens(hub: HubBuilder) -> HubBuilder {
    let whoami =
        MessageRouter::new().on(&WHOAMI, async |cx: Cx, ()| Ok(cx.user().map(str::to_owned)));
    hub.authenticate(tokens()).event(&ROOM).requests(whoami)
}

#[tokio::test]
async fn nothing_is_done_before_a_client_says_who_it_is() {
    let (a, _b) = Instance::pair(with_tokens).await;
    let mut client = a.connect().await;
    let hello = client.next().await;
    assert_eq!(hello["authentication"], "required");
    for frame in [
        json!({"subscribe": "room", "params": "x"}),
        json!({"publish": "room", "params": "x", "data": "y"}),
        json!({"type": "whoami"}),
    ] {
        assert_eq!(client.refused(frame).await, "UNAUTHENTICATED");
    }
    for bad in ["", "nonsense", &token("eve").replace("q1.", "q2.")] {
        assert_eq!(
            client.refused(json!({"authenticate": bad})).await,
            "UNAUTHENTICATED"
        );
    }
    let answer = client.ask(json!({"authenticate": token("ada")})).await;
    assert_eq!(
        (&answer["ok"], &answer["user"]),
        (&json!(true), &json!("ada"))
    );
    assert_eq!(answer["client"], hello["client"]);
    let left = answer["expires_in_ms"].as_u64().unwrap();
    assert!((1..=3_600_000).contains(&left), "{left}");
    assert_eq!(client.ask(json!({"type": "whoami"})).await["data"], "ada");
    client.join("room", json!("x")).await;
}

#[tokio::test]
async fn who_says_nothing_in_time_is_closed() {
    let configure = |hub| with_tokens(hub).authenticate_within(Duration::from_millis(50));
    let a = Instance::start(Fleet::embedded(), configure).await;
    let (last, code) = a.connect().await.ended().await;
    assert_eq!(code, 4401);
    assert_eq!(last["event"], "closing");
}

#[tokio::test]
async fn headers_say_it_as_well() {
    let hook = async |credentials: Credentials| {
        if credentials.cookie("banned").is_some() {
            return Err(Denied::permission("banned"));
        }
        match credentials.cookie("user").or_else(|| credentials.bearer()) {
            Some("broken") => Err(std::io::Error::other("insides"))?,
            Some(user) => Ok(Identity::new(user)),
            None => Err(Denied::unauthenticated("log in")),
        }
    };
    let whoami =
        || MessageRouter::new().on(&WHOAMI, async |cx: Cx, ()| Ok(cx.user().map(str::to_owned)));
    let configure = |hub: HubBuilder| hub.authenticate(hook).requests(whoami()).event(&ROOM);
    let a = Instance::start(Fleet::embedded(), configure).await;
    for header in [("cookie", "a=b; user=ada"), ("authorization", "Bearer ada")] {
        let mut client = connect(a.address, &[header]).await.unwrap().0;
        assert_eq!(client.next().await["authentication"], "done");
        assert_eq!(client.ask(json!({"type": "whoami"})).await["data"], "ada");
    }
    for (header, status) in [
        (("cookie", "banned=1"), 403),
        (("cookie", "user=broken"), 503),
    ] {
        let Err(tungstenite::Error::Http(refused)) = connect(a.address, &[header]).await else {
            panic!("{header:?} was let in");
        };
        assert_eq!(refused.status(), status);
    }
    // A stream has no first frame to say it in.
    let stream = crate::support::get(&a.hub, "/sse?topic=room:x", "").await;
    assert_eq!(stream.status, 401);
}

#[tokio::test]
async fn an_identity_that_runs_out_closes_unless_the_same_user_renews_it() {
    let (a, _b) = Instance::pair(with_tokens).await;
    let mut renewed = a.connect_as(&token_for("ada", SECOND)).await;
    let mut expiring = a.connect_as(&token_for("eve", SECOND)).await;
    assert_eq!(
        renewed.refused(json!({"authenticate": token("eve")})).await,
        "PERMISSION_DENIED"
    );
    assert_eq!(
        renewed.refused(json!({"authenticate": "nonsense"})).await,
        "UNAUTHENTICATED"
    );
    // Neither of these ended what is still good.
    assert_eq!(renewed.ask(json!({"type": "whoami"})).await["data"], "ada");
    let answer = renewed.ask(json!({"authenticate": token("ada")})).await;
    assert_eq!(answer["user"], "ada");
    let (last, code) = expiring.ended().await;
    assert_eq!((last["reason"].as_str(), code), (Some("expired"), 4401));
    // Its first identity ran out before that.
    renewed.is_open().await;
}

#[tokio::test]
async fn an_identity_that_is_made_shorter_ends_sooner() {
    let (a, _b) = Instance::pair(with_tokens).await;
    let mut client = a.connect_as(&token("ada")).await;
    let shorter = token_for("ada", SECOND / 2);
    client.ask(json!({"authenticate": shorter})).await;
    assert_eq!(client.ended().await.1, 4401);
}

#[tokio::test]
async fn hooks_of_the_hub_and_of_the_event_must_both_agree() {
    const SECRET: EventSpec<String, String> = EventSpec::new("secret");
    let own = async |client: ClientInfo, owner: String| {
        if client.user() == Some(&owner) {
            Ok(())
        } else {
            Err(Denied::permission("not yours"))
        }
    };
    let of_hub = async |client: ClientInfo, topic: Arc<str>| match &*topic {
        "room:panic" => panic!("insides"),
        "room:hang" => std::future::pending().await,
        "secret:eve" if client.user() == Some("eve") => Err(Denied::permission("not today")),
        _ => Ok(()),
    };
    let configure = move |hub| {
        with_tokens(hub)
            .event(SECRET.declare().authorize_subscribe(own).allow_publish(own))
            .authorize_subscribe(of_hub)
            .authorize_publish(async |_, topic: Arc<str>| {
                if topic.starts_with("secret:") {
                    Ok(())
                } else {
                    Err(Denied::permission("secrets only"))
                }
            })
            .hook_timeout(Duration::from_millis(100))
    };
    let (a, _b) = Instance::pair(configure).await;
    let mut ada = a.connect_as(&token("ada")).await;
    let mut eve = a.connect_as(&token("eve")).await;
    ada.join("secret", json!("ada")).await;
    for (user, event, params, code, says) in [
        ("ada", "secret", "eve", "PERMISSION_DENIED", "not yours"),
        ("eve", "secret", "eve", "PERMISSION_DENIED", "not today"),
        ("eve", "room", "panic", "INTERNAL", "decided"),
        ("eve", "room", "hang", "UNAVAILABLE", "in time"),
    ] {
        let client = if user == "ada" { &mut ada } else { &mut eve };
        let answer = client
            .ask(json!({"subscribe": event, "params": params}))
            .await;
        let error = &answer["error"];
        assert_eq!(error["code"], code, "{answer}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(says) && !message.contains("insides"),
            "{answer}"
        );
        // It may be tried again, and did not stay half made.
        client.is_open().await;
    }
    let publish =
        |event, params| json!({"publish": event, "params": params, "data": "x", "echo": false});
    assert_eq!(ada.ask(publish("secret", "ada")).await["ok"], true);
    assert_eq!(
        ada.refused(publish("secret", "eve")).await,
        "PERMISSION_DENIED"
    );
    assert_eq!(ada.refused(publish("room", "x")).await, "PERMISSION_DENIED");
}

#[tokio::test]
async fn no_pattern_of_an_open_hub_has_what_a_hook_could_refuse() {
    const SECRET: EventSpec<String, String> = EventSpec::new("secret").codec(Codec::text());
    let nobody = async |_: ClientInfo, _: String| Err(Denied::permission("not yours"));
    let configure = |hub: HubBuilder| {
        let secret = SECRET.declare().authorize_subscribe(nobody);
        hub.open().event(&ROOM).event(secret)
    };
    let a = Instance::start(Fleet::embedded(), configure).await;
    let mut client = a.connect().await;
    // What begins like an event is one, also with a star for its parameters.
    for own in ["secret:x", "secret:*"] {
        let subscribe = json!({"subscribe": own});
        assert_eq!(client.refused(subscribe).await, "PERMISSION_DENIED");
    }
    for pattern in ["secre?:*", "[s]ecret:x", "*"] {
        client.join(pattern, Value::Null).await;
    }
    let mut stream = crate::support::get(&a.hub, "/sse?topic=*", "").await;
    let selectors = vec![Selector::parse("*").unwrap()];
    let mut own = crate::support::Stream::of(a.hub.sse(selectors).await.unwrap());
    let text = "hello".to_owned();
    a.hub.emit(&SECRET, &"x".to_owned(), &text).await.unwrap();
    let channel = a.hub.fleet().channel("events:secret:x").unwrap();
    channel.publish("not an envelope").await.unwrap();
    a.hub.emit(&ROOM, &"x".to_owned(), &text).await.unwrap();
    for message in [client.event().await, stream.named().await.1] {
        assert_eq!(message["topic"], "room:x", "{message}");
    }
    client.is_open().await;
    // A stream that the service answers with itself is its own affair.
    for (event, topic) in [
        ("message", "secret:x"),
        ("undecodable", "secret:x"),
        ("message", "room:x"),
    ] {
        let (name, data) = own.named().await;
        assert_eq!((name.as_str(), &data["topic"]), (event, &json!(topic)));
    }
}

#[tokio::test]
async fn a_user_is_named_as_the_source() {
    let configure = |hub: HubBuilder| {
        hub.authenticate(tokens())
            .event(ROOM.declare().allow_publish(async |_, _| Ok(())))
    };
    let (a, b) = Instance::pair(configure).await;
    let mut ada = a.connect_as(&token("ada")).await;
    let mut eve = b.connect_as(&token("eve")).await;
    eve.join("room", json!("x")).await;
    ada.ask(json!({"publish": "room", "params": "x", "data": "hello"}))
        .await;
    let message = eve.event().await;
    assert_eq!(
        (&message["source"], &message["data"]),
        (&json!("ada"), &json!("hello"))
    );
}

async fn revoked(client: &mut crate::support::Client) {
    let (last, code) = client.ended().await;
    assert_eq!((last["reason"].as_str(), code), (Some("revoked"), 4403));
    assert!(last.get("retry_after_ms").is_none(), "{last}");
}

#[tokio::test]
async fn a_user_is_sent_away_on_every_instance_and_nobody_else() {
    let (a, b) = Instance::pair(with_tokens).await;
    on_every_instance(a, b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_sent_away_on_every_instance_on_redis() {
    let server = shared(ServerKind::Redis).await.unwrap();
    let namespace = namespace();
    let fleet = async |service: &str| {
        let builder = Fleet::builder().url(server.url()).service(service);
        builder.namespace(&namespace).build().await.unwrap()
    };
    let (one, two) = (fleet("one").await, fleet("two").await);
    let a = Instance::start(one, with_tokens).await;
    let b = Instance::start(two, with_tokens).await;
    on_every_instance(a, b).await;
}

/// Waits until `there`, which has so many other clients, does what `here` says.
async fn obeys(here: &Instance, there: &Instance, others: usize) {
    let mut probe = there.connect_as(&token("probe")).await;
    eventually("the other instance listens", async || {
        here.hub.disconnect("probe").await.unwrap();
        there.hub.clients() == others
    })
    .await;
    revoked(&mut probe).await;
}

async fn on_every_instance(a: Instance, b: Instance) {
    obeys(&a, &b, 0).await;
    obeys(&b, &a, 0).await;
    let mut here = [
        a.connect_as(&token("ada")).await,
        a.connect_as(&token("ada")).await,
    ];
    let mut there = b.connect_as(&token("ada")).await;
    let mut others = [
        a.connect_as(&token("eve")).await,
        b.connect_as(&token("eve")).await,
    ];
    assert_eq!(a.hub.disconnect("ada").await.unwrap(), 2);
    for client in here.iter_mut().chain([&mut there]) {
        revoked(client).await;
    }
    for other in &mut others {
        other.is_open().await;
    }
    assert_eq!(a.hub.disconnect("ada").await.unwrap(), 0);
    // One connection, by its id, from elsewhere.
    let mut leaving = b.connect_as(&token("eve")).await;
    let answer = leaving.ask(json!({"authenticate": token("eve")})).await;
    let id = answer["client"].as_str().unwrap();
    assert_eq!(a.hub.disconnect_client(id).await.unwrap(), 0);
    revoked(&mut leaving).await;
    for other in &mut others {
        other.is_open().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_sent_away_while_an_instance_starts_does_not_stay_there() {
    let server = Server::start(ServerKind::Redis).await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let fleet = async |url: String| Fleet::connect(&url).await.unwrap();
    let a = Instance::start(fleet(server.url()).await, with_tokens).await;
    let starting = fleet(proxy.url()).await;
    a.hub.disconnect("eve").await.unwrap();
    proxy.hold(Direction::Both);
    let b = Instance::start(starting, with_tokens).await;
    // Their tokens are good, and this instance does not know yet what the other one said.
    let mut ada = b.connect_as(&token("ada")).await;
    let mut eve = b.connect_as(&token("eve")).await;
    let mut bob = b.connect_as(&token("bob")).await;
    a.hub.disconnect("ada").await.unwrap();
    eve.is_open().await;
    proxy.heal().await.unwrap();
    revoked(&mut ada).await;
    revoked(&mut eve).await;
    // What was said is not said again to who comes later.
    obeys(&a, &b, 1).await;
    bob.is_open().await;
    b.connect_as(&token("ada")).await.is_open().await;
}

#[tokio::test]
async fn who_is_sent_away_while_the_hook_decides_does_not_slip_in() {
    let asked = Arc::new(Semaphore::new(0));
    let decide = Arc::new(Notify::new());
    let hook = {
        let (asked, decide) = (asked.clone(), decide.clone());
        move |_: Credentials| {
            let (asked, decide) = (asked.clone(), decide.clone());
            async move {
                asked.add_permits(1);
                decide.notified().await;
                Ok(Identity::new("ada"))
            }
        }
    };
    let by_frame = {
        let hook = hook.clone();
        move |credentials: Credentials| {
            let decided = credentials.token().is_some().then(|| hook(credentials));
            async move {
                match decided {
                    Some(decided) => decided.await,
                    None => Err(Denied::unauthenticated("say it in a frame")),
                }
            }
        }
    };
    let a = Instance::start(Fleet::embedded(), |hub| hub.authenticate(by_frame)).await;
    let mut client = a.connect().await;
    client.send(json!({"id": 1, "authenticate": "x"})).await;
    asked.acquire().await.unwrap().forget();
    assert_eq!(
        a.hub.disconnect("ada").await.unwrap(),
        0,
        "nobody is known to be ada"
    );
    decide.notify_one();
    revoked(&mut client).await;

    let b = Instance::start(Fleet::embedded(), |hub| hub.authenticate(hook)).await;
    let connecting = async { connect(b.address, &[]).await.unwrap().0 };
    let revoking = async {
        asked.acquire().await.unwrap().forget();
        b.hub.disconnect("ada").await.unwrap();
        decide.notify_one();
    };
    let (mut client, ()) = tokio::join!(connecting, revoking);
    revoked(&mut client).await;
}

#[tokio::test]
async fn a_full_hub_asks_no_hook_and_who_is_refused_leaves_the_place() {
    let asked = Arc::new(Semaphore::new(0));
    let decide = Arc::new(Notify::new());
    let hook = {
        let (asked, decide) = (asked.clone(), decide.clone());
        move |_: Credentials| {
            let (asked, decide) = (asked.clone(), decide.clone());
            async move {
                asked.add_permits(1);
                decide.notified().await;
                Err(Denied::permission("nobody"))
            }
        }
    };
    let configure = |hub: HubBuilder| hub.authenticate(hook).event(&ROOM).max_clients(1);
    let a = Instance::start(Fleet::embedded(), configure).await;
    let stream = || crate::support::get(&a.hub, "/sse?topic=room:x", "");
    let refused = async || {
        asked.acquire().await.unwrap().forget();
        assert_eq!(stream().await.status, 503);
        let Err(tungstenite::Error::Http(full)) = connect(a.address, &[]).await else {
            panic!("let in");
        };
        assert_eq!(full.status(), 503);
        assert_eq!(asked.available_permits(), 0, "asked for nothing");
        decide.notify_one();
    };
    let (first, ()) = tokio::join!(stream(), refused());
    assert_eq!((first.status, a.hub.clients()), (403, 0));
    let (second, ()) = tokio::join!(connect(a.address, &[]), refused());
    let Err(tungstenite::Error::Http(denied)) = second else {
        panic!("let in");
    };
    assert_eq!((denied.status().as_u16(), a.hub.clients()), (403, 0));
    // Who gives up while the hook decides leaves the place, too.
    tokio::select! {
        _ = stream() => panic!("nobody decided"),
        permit = asked.acquire() => permit.unwrap().forget(),
    }
    assert_eq!(a.hub.clients(), 0);
}
