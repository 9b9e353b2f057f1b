//! Two instances of a shop that share a cache of responses: `cargo run -p quorate-http --example http_cache`.
//!
//! Runs by itself, on the in-process home, and prints what becomes of each request. With `Fleet::connect("redis://…")` in
//! place of `Fleet::embedded()` the instances may be anywhere.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::Request;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use quorate::Fleet;
use quorate_http::cache::{CacheControl, Declared, ResponseCache};
use serde_json::{Value, json};
use tower::ServiceExt;

/// What all instances read from.
#[derive(Default)]
struct Database {
    price: AtomicU32,
    reads: AtomicU32,
}

async fn product(
    State(database): State<Arc<Database>>,
    Path(id): Path<u64>,
) -> (CacheControl, Json<Value>) {
    database.reads.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let price = database.price.load(Ordering::SeqCst);
    let about = CacheControl::new().tags([format!("product:{id}")]);
    (about, Json(json!({ "id": id, "price": price })))
}

/// An instance of the shop.
fn shop(fleet: Fleet, database: Arc<Database>) -> quorate::Result<Router> {
    let mode = Declared::new(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(30))
        .stale_if_error(Duration::from_secs(3600));
    let cache = ResponseCache::builder(fleet)
        .name("shop")
        .declared(mode)
        .build()?;
    Ok(Router::new()
        .route("/products/{id}", get(product))
        .layer(cache.layer())
        .with_state(database))
}

async fn ask(shop: &Router, path: &str) -> Result<(), Box<dyn Error>> {
    let request = Request::get(path).body(Body::empty())?;
    let response = shop.clone().oneshot(request).await?;
    let status = response.headers()["cache-status"].to_str()?.to_owned();
    let body = to_bytes(response.into_body(), 1024).await?;
    println!("{path:12} {:24} {status}", String::from_utf8_lossy(&body));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = Arc::new(Database::default());
    database.price.store(10, Ordering::SeqCst);
    let fleet = Fleet::embedded();
    let one = shop(fleet.clone(), database.clone())?;
    let two = shop(fleet.instance("two").await?, database.clone())?;

    println!("ten at once, over both instances:");
    let asks = (0..10).map(|number| ask(if number % 2 == 0 { &one } else { &two }, "/products/7"));
    for asked in join_all(asks).await {
        asked?;
    }
    println!(
        "reads of the database: {}",
        database.reads.load(Ordering::SeqCst)
    );

    println!("another product is another response:");
    ask(&two, "/products/8").await?;

    println!("after a change, by tag:");
    database.price.store(12, Ordering::SeqCst);
    fleet.invalidate_tags(["product:7"]).await?;
    ask(&one, "/products/7").await?;
    ask(&two, "/products/7").await?;
    ask(&two, "/products/8").await?;
    println!(
        "reads of the database: {}",
        database.reads.load(Ordering::SeqCst)
    );
    fleet.close().await;
    Ok(())
}
