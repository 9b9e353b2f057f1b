//! A lock that outlives the loss of a server: a majority of three decides, and they know nothing of each other.
//!
//! ```text
//! cargo run -p quorate --example quorum                                      # three homes in this process
//! cargo run -p quorate --example quorum redis://a redis://b redis://c        # on three servers
//! ```

use std::time::Duration;

use quorate::{Acquire, Fleet, QuorumLocks};

const LEASE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let urls: Vec<_> = std::env::args().skip(1).collect();
    let mut servers = Vec::new();
    if urls.is_empty() {
        servers.extend((0..3).map(|_| Fleet::embedded()));
    }
    for url in &urls {
        servers.push(Fleet::connect(url).await?);
    }
    let mut quorum = QuorumLocks::over(servers.clone())?.longest_lease(LEASE)?;
    if urls.is_empty() {
        // They are as new as this program. A server that may have forgotten whom it gave its vote to has none
        // for as long as the longest lease.
        quorum = quorum.trust_new_servers();
    }
    let report = quorum.lock("nightly-report");

    let Acquire::Acquired(guard) = report.acquire().lease(LEASE).await? else {
        println!("another instance is on it");
        return Ok(());
    };
    println!("of {} servers a majority gave their votes", servers.len());
    println!(
        "the token is {}, and it is ours for {:?}",
        guard.token(),
        guard.remaining()
    );
    if let Acquire::Held { .. } = report.try_acquire().lease(LEASE).await? {
        println!("nobody else gets it");
    }

    // One of them goes away: the others still know who has the lock, and let it go on.
    if let Some(lost) = servers.pop().filter(|_| servers.len() > 1) {
        lost.close().await;
        println!("a server is gone; extended: {}", guard.extend(LEASE).await?);
    }
    let token = guard.token();
    println!("released: {}", guard.release().await?);

    if let Acquire::Acquired(next) = report.acquire().lease(LEASE).await? {
        println!("the next token is greater: {}", next.token() > token);
        next.release().await?;
    }
    for server in servers {
        server.close().await;
    }
    Ok(())
}
