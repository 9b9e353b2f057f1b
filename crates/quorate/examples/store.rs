//! What several instances must agree on: who does it, how many are left, and that it happened once.
//!
//! ```text
//! cargo run -p quorate --example store                      # in this process
//! cargo run -p quorate --example store redis://localhost    # on a server
//! ```

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::TryStreamExt;
use quorate::{Durability, Fleet, StoreSpec};

/// Who looks after a shard.
const SHARDS: StoreSpec<u32, String> = StoreSpec::new("shards").ttl(Duration::from_secs(60));
/// What is left of each thing.
const STOCK: StoreSpec<str, i64> = StoreSpec::new("stock").ttl(Duration::from_secs(60));

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    println!("stores on {fleet}");

    // Two instances want the same shard; one gets it.
    let (shards, a, b) = (fleet.store(&SHARDS), "a".to_owned(), "b".to_owned());
    let (first, second) = tokio::join!(
        shards.set_if_absent(&7, &a).into_future(),
        shards.set_if_absent(&7, &b).into_future(),
    );
    println!("a has it: {}, b has it: {}", first?, second?);
    // It hands it over: only from itself, and only once.
    let handed = shards.compare_and_set(&7, Some(&a), &b).await?;
    println!("a handed it over: {handed}");

    // An order is processed twice, because somebody did not hear that it was: its idempotency key tells.
    let stock = fleet.store(&STOCK);
    stock.set("apples", &10).await?;
    for attempt in 1..=2 {
        let left = stock
            .decrement("apples", 3)
            .idempotency_key("order-42")
            .await?;
        println!("attempt {attempt}: {left} apples are left");
    }

    // Answered when a replica has it, or the time for that is up.
    let careful = Durability::replicas(1).within(Duration::from_millis(50));
    let written = stock.set("pears", &5).durable(careful).await?;
    println!(
        "on {} replicas: as asked, {}",
        written.reached.replicas,
        written.is_reached()
    );

    let mut keys: Vec<String> = stock.scan("").try_collect().await?;
    keys.sort();
    println!("in stock: {}", keys.join(", "));
    fleet.close().await;
    Ok(())
}
