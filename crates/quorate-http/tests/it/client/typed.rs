//! Events and requests declared once, for the server and the client.

use std::future::IntoFuture;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{Fleet, Outcome};
use quorate_http::client::{ClientEvent, ClientState};
use quorate_http::{
    ClientInfo, Code, ConnectionTokens, Cx, Denied, EventSpec, HandlerError, Hub, MessageRouter,
    MessageSpec,
};
use quorate_testing::harness::{eventually, within};
use quorate_testing::proxy::{Direction, Proxy};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::hub::{Served, client};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    zone: String,
    id: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    text: String,
}

fn not_empty(said: &Said) -> Result<(), String> {
    if said.text.is_empty() {
        Err("text must not be empty".into())
    } else {
        Ok(())
    }
}

const ROOM: EventSpec<Place, Said> = EventSpec::new("room")
    .keep(Duration::from_secs(600), 1_000, 1 << 20)
    .validate(not_empty);
const COUNT: MessageSpec<u32, u32> = MessageSpec::new("count");
const SAY: MessageSpec<Said, ()> = MessageSpec::new("say").validate(not_empty);
const HANG: MessageSpec<(), ()> = MessageSpec::new("hang");

fn place() -> Place {
    Place {
        zone: "eu".into(),
        id: 7,
    }
}

fn said(text: &str) -> Said {
    Said { text: text.into() }
}

async fn anybody(_: ClientInfo, _: Place) -> Result<(), Denied> {
    Ok(())
}

#[tokio::test]
async fn an_event_is_one_constant_for_both_sides() {
    let fleet = Fleet::embedded();
    let room = ROOM.declare().allow_publish(anybody);
    let served = Served::start(Hub::builder(fleet.clone()).event(room)).await;
    let client = client(served.address).connect().await.unwrap();
    let mut subscribed = client.subscribe(&ROOM, &place()).await.unwrap();
    ROOM.emit(&fleet, &place(), &said("one")).await.unwrap();
    let message = within("a message", subscribed.next_message())
        .await
        .unwrap();
    assert_eq!(*message, said("one"));
    assert_eq!(message.topic(), r#"room:{"id":7,"zone":"eu"}"#);
    assert!(message.position().is_some());

    let receipt = client.publish(&ROOM, &place(), &said("two")).await.unwrap();
    assert_eq!(receipt.topic, message.topic());
    let message = within("a message", subscribed.next_message())
        .await
        .unwrap();
    assert_eq!(
        (&*message, message.position()),
        (&said("two"), receipt.position)
    );

    // Refused here, as there; and what only the server knows, there.
    let error = client
        .publish(&ROOM, &place(), &said(""))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "INVALID_ARGUMENT: payload: text must not be empty"
    );
    let error = client.publish_topic("room", &1).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let long = Place {
        zone: "x".repeat(300),
        id: 1,
    };
    let error = client.subscribe(&ROOM, &long).await.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::InvalidArgument, Outcome::NotApplied)
    );

    let history = client.history(&ROOM, &place()).await.unwrap();
    let texts = history.events.into_iter().filter_map(ClientEvent::message);
    let texts: Vec<_> = texts.map(|message| message.into_payload().text).collect();
    assert_eq!(texts, ["one", "two"]);
    let two = NonZeroU32::new(1).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let listener = client
        .on(&ROOM, &place(), move |message| {
            heard.lock().unwrap().push(message.text.clone());
            async {}
        })
        .recent(two)
        .await
        .unwrap();
    eventually("it is heard", async || *seen.lock().unwrap() == ["two"]).await;
    listener.stop().await;
}

#[tokio::test]
async fn what_a_client_does_not_want_back_stays_away_over_connections() {
    let fleet = Fleet::embedded();
    let room = ROOM.declare().allow_publish(anybody);
    let served = Served::start(Hub::builder(fleet.clone()).event(room)).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let mut subscribed = client.subscribe(&ROOM, &place()).await.unwrap();
    client
        .publish(&ROOM, &place(), &said("mine"))
        .but_self()
        .await
        .unwrap();
    proxy.cut().await;
    ROOM.emit(&fleet, &place(), &said("another's"))
        .await
        .unwrap();
    match within("an event", subscribed.next()).await.unwrap() {
        ClientEvent::Message(message) => assert_eq!(message.text, "another's"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_have_answers_progress_refusals_and_are_cancelled() {
    let (dropped, hanging) = (CancellationToken::new(), CancellationToken::new());
    let (ended, begun) = (dropped.clone(), hanging.clone());
    let router = MessageRouter::new()
        .on(&COUNT, async |cx: Cx, to: u32| {
            for n in 1..=to {
                cx.progress(&n)?;
            }
            Ok(to)
        })
        .on(&SAY, async |_cx: Cx, _said: Said| {
            let error = HandlerError::new(Code::ResourceExhausted, "too much");
            Err::<(), _>(
                error
                    .with_details(json!({"limit": 3}))
                    .with_retry_after(Duration::from_secs(2)),
            )
        })
        .on(&HANG, move |_cx: Cx, ()| {
            let ended = ended.clone().drop_guard();
            begun.cancel();
            async move {
                let _ended = ended;
                std::future::pending().await
            }
        });
    let served = Served::start(Hub::builder(Fleet::embedded()).requests(router)).await;
    let client = client(served.address).connect().await.unwrap();
    let progress = Arc::new(Mutex::new(Vec::new()));
    let reports = progress.clone();
    let counted = client
        .request(&COUNT, &3)
        .on_progress(move |report| reports.lock().unwrap().push(report));
    assert_eq!(counted.await.unwrap(), 3);
    assert_eq!(*progress.lock().unwrap(), [1, 2, 3]);

    let error = client.request(&SAY, &said("")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "INVALID_ARGUMENT: payload: text must not be empty"
    );
    let error = client.request(&SAY, &said("hi")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.retry_after()),
        (Code::ResourceExhausted, Some(Duration::from_secs(2)))
    );
    assert_eq!(error.details().unwrap()["limit"], 3);

    let hang = client.request(&HANG, &()).into_future();
    tokio::select! {
        answer = hang => panic!("{answer:?}"),
        () = hanging.cancelled() => {}
    }
    within("the handler is dropped", dropped.cancelled()).await;
}

#[tokio::test]
async fn a_request_that_is_cut_off_is_unknown() {
    let begun = CancellationToken::new();
    let began = begun.clone();
    let router = MessageRouter::new().on(&HANG, move |_cx: Cx, ()| {
        began.cancel();
        std::future::pending::<Result<(), HandlerError>>()
    });
    let served = Served::start(Hub::builder(Fleet::embedded()).requests(router)).await;
    let proxy = Proxy::start(served.address).await.unwrap();
    let client = client(proxy.addr()).connect().await.unwrap();
    let (answer, ()) = tokio::join!(client.request(&HANG, &()).into_future(), async {
        begun.cancelled().await;
        proxy.cut().await;
    });
    let error = answer.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::Unavailable, Outcome::Unknown)
    );
    // And the answer that is held back beyond the deadline.
    within("a connection", client.ready()).await.unwrap();
    proxy.hold(Direction::ToClient);
    let late = client
        .request(&HANG, &())
        .deadline(Duration::from_millis(100));
    let error = late.await.unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (Code::DeadlineExceeded, Outcome::Unknown)
    );
}

#[tokio::test]
async fn a_token_says_who_this_is_is_renewed_and_revoked() {
    let tokens = ConnectionTokens::new([7; 32]).unwrap();
    let hub = Hub::builder(Fleet::embedded())
        .open()
        .authenticate(tokens.clone());
    let served = Served::start(hub).await;
    let asked = Arc::new(Mutex::new(0));
    let (issuer, counted) = (tokens.clone(), asked.clone());
    let client = client(served.address)
        .token(move || {
            *counted.lock().unwrap() += 1;
            let token = issuer.issue("ada", &json!({}), Duration::from_millis(500));
            async move { token }
        })
        .connect()
        .await
        .unwrap();
    let id = client.id().unwrap();
    // Renewed several times, and never disconnected for it.
    eventually("it was renewed", async || *asked.lock().unwrap() >= 4).await;
    assert_eq!(client.id().unwrap(), id);
    let mut states = client.states();
    served.hub.disconnect("ada").await.unwrap();
    let closed = states.wait_for(ClientState::is_closed);
    let closed = within("the end", closed).await.unwrap().clone();
    assert!(
        matches!(closed, ClientState::Closed { error: Some(_), .. }),
        "{closed:?}"
    );

    let stranger = super::hub::client(served.address)
        .connect()
        .await
        .unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let liar = super::hub::client(served.address)
        .token(|| async { Ok::<_, std::io::Error>("x".to_owned()) });
    assert_eq!(
        liar.connect().await.unwrap_err().code(),
        Code::Unauthenticated
    );
}
