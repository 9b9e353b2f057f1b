//! A hub for trying clients out, and for the tests of the TypeScript client:
//! `cargo run -p quorate-http --example hub [ADDRESS]`.
//!
//! Prints its address, and ends with its standard input. It has
//!
//! * `/live`: a hub that is open to everybody. The topic `room` and its keys are kept; of `brief` only the
//!   last few messages. The event `chat` is declared, and clients may publish to it;
//! * `/private`: one that wants a token, which `POST /token` makes;
//! * `POST /publish/{topic}`, whose body is published as JSON;
//! * `POST /drain`, which sends all clients away as a shutdown does.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use quorate::{Codec, Fleet, Keep, TopicSpec};
use quorate_http::{
    ClientInfo, Code, ConnectionTokens, Cx, EventSpec, HandlerError, Hub, MessageRouter,
    MessageSpec, Rejection, TopicPath,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{copy, sink, stdin};
use tokio::net::TcpListener;

/// Topics with a history, and of how many messages.
const KEPT: [(&str, u32); 2] = [("room", 10_000), ("brief", 5)];

const HOUR: Duration = Duration::from_secs(3600);
const SIXTEEN_MIB: u64 = 16 << 20;

const fn keep(messages: u32) -> Keep {
    Keep {
        time: HOUR,
        messages,
        bytes: SIXTEEN_MIB,
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Said {
    text: String,
}

/// The rooms of a chat, by number.
const CHAT: EventSpec<u64, Said> = EventSpec::new("chat")
    .keep(HOUR, 1_000, SIXTEEN_MIB)
    .presence()
    .validate(|said: &Said| match said.text.len() {
        1..=1000 => Ok(()),
        _ => Err("text must have 1 to 1000 bytes".into()),
    });

/// Answers what it is asked.
const ECHO: MessageSpec<Value, Value> = MessageSpec::new("echo");
/// Counts to a number, with progress.
const COUNT: MessageSpec<u32, u32> = MessageSpec::new("count");
/// Does not answer before it is cancelled.
const WAIT: MessageSpec<Value, ()> = MessageSpec::new("wait");
/// Fails, with details.
const FAIL: MessageSpec<Value, ()> = MessageSpec::new("fail");
/// Who the client is.
const WHO: MessageSpec<Value, Value> = MessageSpec::new("who");

fn requests() -> MessageRouter {
    MessageRouter::new()
        .on(&ECHO, async |_: Cx, data| Ok(data))
        .on(&COUNT, async |cx: Cx, number| {
            for step in 1..=number {
                cx.progress(&json!({ "done": step }))?;
            }
            Ok(number)
        })
        .on(&WAIT, async |cx: Cx, _| {
            cx.cancelled().await;
            Ok(())
        })
        .on(&FAIL, async |_: Cx, data: Value| {
            let error = HandlerError::new(Code::ResourceExhausted, "not today");
            Err(error
                .with_details(data)
                .with_retry_after(Duration::from_millis(1500)))
        })
        .on(&WHO, async |cx: Cx, _| {
            Ok(json!({ "client": cx.client_id(), "user": cx.user() }))
        })
}

#[derive(Clone)]
struct Hubs {
    live: Hub,
    private: Hub,
    tokens: ConnectionTokens,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("{}", listener.local_addr()?);

    let hubs = hubs()?;
    let app = Router::new()
        .nest("/live", hubs.live.router())
        .nest("/private", hubs.private.router())
        .route("/publish/{topic}", post(publish))
        .route("/token", post(token))
        .route("/revoke/{user}", post(revoke))
        .route("/drain", post(drain))
        .with_state(hubs);
    let serving = axum::serve(listener, app);
    // Whoever started it is gone, or wants no more.
    let unwanted = async { copy(&mut stdin(), &mut sink()).await };
    tokio::select! {
        served = serving => served?,
        ended = unwanted => { ended?; }
    }
    Ok(())
}

fn hubs() -> quorate::Result<Hubs> {
    let fleet = Fleet::embedded();
    let chat = || {
        CHAT.declare()
            .allow_publish(async |_: ClientInfo, _| Ok(()))
    };
    let live = KEPT
        .iter()
        .try_fold(
            Hub::builder(fleet.clone()).open(),
            |hub, (name, messages)| hub.keep(*name, keep(*messages)),
        )?
        .event(chat())
        .requests(requests())
        .build()?;
    // Only an example's: a real one is the same on every instance, and secret.
    let tokens = ConnectionTokens::new([7; 32])?;
    let private = Hub::builder(fleet)
        .event(chat())
        .requests(requests())
        .authenticate(tokens.clone())
        .build()?;
    Ok(Hubs {
        live,
        private,
        tokens,
    })
}

async fn publish(
    State(hubs): State<Hubs>,
    Path(topic): Path<String>,
    axum::Json(data): axum::Json<Value>,
) -> Result<(), Rejection> {
    let path = TopicPath::parse(&topic)?;
    let mut spec = TopicSpec::try_with_codec(path.name().to_owned(), Codec::<Value>::json())?;
    if let Some((_, messages)) = KEPT.iter().find(|(name, _)| *name == path.name()) {
        spec = spec.try_keep(keep(*messages))?;
    }
    let mut topic = hubs.live.fleet().topic(&spec);
    if let Some(key) = path.key() {
        topic = topic.key(key)?;
    }
    topic.publish(&data).await?;
    Ok(())
}

/// What a token is to say.
#[derive(Deserialize)]
struct TokenRequest {
    user: String,
    lifetime_ms: u64,
}

async fn token(
    State(hubs): State<Hubs>,
    axum::Json(wanted): axum::Json<TokenRequest>,
) -> Result<String, Rejection> {
    let lifetime = Duration::from_millis(wanted.lifetime_ms);
    let info = json!({ "name": wanted.user });
    Ok(hubs.tokens.issue(&wanted.user, &info, lifetime)?)
}

async fn revoke(State(hubs): State<Hubs>, Path(user): Path<String>) -> Result<(), Rejection> {
    hubs.private.disconnect(&user).await?;
    Ok(())
}

async fn drain(State(hubs): State<Hubs>) {
    tokio::join!(hubs.live.drain(), hubs.private.drain());
}
