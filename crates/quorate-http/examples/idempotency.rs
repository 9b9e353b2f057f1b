//! A shop whose orders may be sent again: `cargo run -p quorate-http --example idempotency`.
//!
//! Runs by itself, on the in-process home: two instances, and a client that sends its order to both, at once and later. With
//! `Fleet::connect("redis://…")` in place of `Fleet::embedded()` the instances may be anywhere.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::Request;
use axum::http::header::AUTHORIZATION;
use axum::routing::post;
use futures_util::future::join_all;
use quorate::Fleet;
use quorate_http::idempotency::{IdempotencyLayer, IdempotencyScope};
use tower::ServiceExt;

/// Orders that were taken.
type Orders = Arc<AtomicU32>;

async fn order(State(orders): State<Orders>, what: String) -> String {
    tokio::time::sleep(Duration::from_millis(50)).await;
    let number = orders.fetch_add(1, Ordering::SeqCst) + 1;
    format!("order {number}: {what}")
}

/// An instance of the shop.
fn shop(fleet: &Fleet, orders: Orders) -> quorate::Result<Router> {
    let once = IdempotencyLayer::builder(fleet, IdempotencyScope::header(AUTHORIZATION))
        .wait_for(Duration::from_secs(5))
        .build()?;
    Ok(Router::new()
        .route("/orders", post(order))
        .with_state(orders)
        .layer(once))
}

async fn send(shop: &Router, key: &str, what: &'static str) -> Result<String, Box<dyn Error>> {
    let request = Request::post("/orders")
        .header(AUTHORIZATION, "Bearer ann")
        .header("idempotency-key", key)
        .body(Body::from(what))?;
    let response = shop.clone().oneshot(request).await?;
    let (status, headers) = (response.status(), response.headers());
    let replayed = headers.contains_key("idempotent-replayed");
    let body = to_bytes(response.into_body(), 1 << 16).await?;
    let how = if replayed { "replayed" } else { "not replayed" };
    Ok(format!(
        "{status} ({how}) {}",
        String::from_utf8_lossy(&body)
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (fleet, orders) = (Fleet::embedded(), Orders::default());
    let shops = [
        shop(&fleet, orders.clone())?,
        shop(&fleet.instance("shop-2").await?, orders.clone())?,
    ];
    println!("the same order, sent to both instances at once:");
    for answer in join_all(shops.iter().map(|shop| send(shop, "key-1", "tea"))).await {
        println!("  {}", answer?);
    }
    println!(
        "and once more:\n  {}",
        send(&shops[1], "key-1", "tea").await?
    );
    println!(
        "another order:\n  {}",
        send(&shops[0], "key-2", "coffee").await?
    );
    println!(
        "another order under a key that was used:\n  {}",
        send(&shops[0], "key-2", "cocoa").await?
    );
    println!("{} orders were taken", orders.load(Ordering::SeqCst));
    fleet.close().await;
    Ok(())
}
