//! A hub for trying clients out, and for the tests of the TypeScript client:
//! `cargo run -p quorate-http --example hub [ADDRESS]`.
//!
//! Prints its address, and ends with its standard input. Beside the hub at `/live` it has
//! `POST /publish/{topic}`, whose body is published as JSON, and `POST /drain`, which sends all clients
//! away as a shutdown does. The topic `room` and its keys are kept; of `brief` only the last few messages.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use quorate::{Codec, Fleet, Keep, TopicSpec};
use quorate_http::{Hub, Rejection, TopicPath};
use serde_json::Value;
use tokio::io::{copy, sink, stdin};
use tokio::net::TcpListener;

/// Topics with a history, and of how many messages.
const KEPT: [(&str, u32); 2] = [("room", 10_000), ("brief", 5)];

const fn keep(messages: u32) -> Keep {
    Keep {
        time: Duration::from_secs(3600),
        messages,
        bytes: 16 << 20,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("{}", listener.local_addr()?);

    let builder = KEPT.iter().try_fold(
        Hub::builder(Fleet::embedded()).open(),
        |builder, (name, messages)| builder.keep(*name, keep(*messages)),
    );
    let hub = builder?.build()?;
    let app = Router::new()
        .nest("/live", hub.router())
        .route("/publish/{topic}", post(publish))
        .route(
            "/drain",
            post(async |State(hub): State<Hub>| hub.drain().await),
        )
        .with_state(hub.clone());
    let serving = axum::serve(listener, app);
    // Whoever started it is gone, or wants no more.
    let unwanted = async { copy(&mut stdin(), &mut sink()).await };
    tokio::select! {
        served = serving => served?,
        ended = unwanted => { ended?; }
    }
    Ok(())
}

async fn publish(
    State(hub): State<Hub>,
    Path(topic): Path<String>,
    axum::Json(data): axum::Json<Value>,
) -> Result<(), Rejection> {
    let path = TopicPath::parse(&topic)?;
    let mut spec = TopicSpec::try_with_codec(path.name().to_owned(), Codec::<Value>::json())?;
    if let Some((_, messages)) = KEPT.iter().find(|(name, _)| *name == path.name()) {
        spec = spec.try_keep(keep(*messages))?;
    }
    let mut topic = hub.fleet().topic(&spec);
    if let Some(key) = path.key() {
        topic = topic.key(key)?;
    }
    topic.publish(&data).await?;
    Ok(())
}
