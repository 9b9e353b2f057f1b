//! A hundred ask for the same thing on two instances: one of them loads it.
//!
//! ```text
//! cargo run -p quorate --example cache                      # in this process
//! cargo run -p quorate --example cache redis://localhost    # on a server
//! ```

use std::io::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use quorate::{CacheSpec, Fleet};

const NAMES: CacheSpec<u64, String> = CacheSpec::new("names")
    .ttl(Duration::from_secs(60))
    .fail_safe(Duration::from_secs(600));

static LOADS: AtomicU32 = AtomicU32::new(0);

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    let other = fleet.instance("other").await?;
    println!("caches on {fleet}");
    let caches = [fleet.cache(&NAMES), other.cache(&NAMES)];
    caches[0].clear().await?;

    let asks = (0..100).map(|number: usize| {
        let cache = &caches[number % 2];
        async move { cache.get_or_load(&7, load(7)).tags(["user:7"]).read().await }
    });
    let mut kinds: Vec<String> = Vec::new();
    for read in join_all(asks).await {
        kinds.push(format!("{:?}", read?.kind));
    }
    kinds.sort();
    let count = |kind: &str| kinds.iter().filter(|seen| *seen == kind).count();
    println!(
        "{} loads; loaded {}, waited for it {}, found it {}",
        LOADS.load(Ordering::SeqCst),
        count("Loaded"),
        count("Followed"),
        count("Hit")
    );

    // The user changes her name, on the other instance: from now on nobody reads the old one.
    other.invalidate_tags(["user:7"]).await?;
    println!("after the invalidation: {:?}", caches[0].get(&7).await?);
    fleet.close().await;
    other.close().await;
    Ok(())
}

/// Stands for the database.
async fn load(id: u64) -> Result<String, Error> {
    LOADS.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(format!("user {id}"))
}
