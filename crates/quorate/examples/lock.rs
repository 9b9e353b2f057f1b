//! A lock with a lease, and the number that keeps a late holder out.
//!
//! ```text
//! cargo run -p quorate --example lock                      # in this process
//! cargo run -p quorate --example lock redis://localhost    # on a server
//! ```

use std::time::Duration;

use quorate::{Acquire, FencingToken, Fleet};

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    println!("locks on {fleet}");
    let report = fleet.lock("nightly-report");

    // Renewed in the background for as long as the guard lives.
    let Acquire::Acquired(guard) = report.try_acquire().lease(Duration::from_secs(10)).await?
    else {
        println!("another instance is on it");
        return Ok(());
    };

    // Somebody else who asks is told how long the lease still runs.
    if let Acquire::Held { remaining, .. } = report.try_acquire().await? {
        println!("held, for {} s at most unless renewed", remaining.as_secs());
    }

    tokio::select! {
        () = write_report(guard.token()) => println!("report written"),
        // The work stops here: another instance may have started it.
        () = guard.lost() => println!("the lock was lost"),
    }

    // One who waits is woken by the release, not by asking again and again.
    let (next, released) = tokio::join!(
        report.acquire().wait(Duration::from_secs(5)),
        guard.release(),
    );
    println!("released: {}", released?);
    if let Acquire::Acquired(guard) = next? {
        println!("the next holder has the token {}", guard.token());
        guard.release().await?;
    }

    fleet.close().await;
    Ok(())
}

/// Stands for the work. What the lock protects compares the token with the highest it has seen, and
/// refuses a lower one: its holder has lost the lock without knowing.
async fn write_report(token: FencingToken) {
    println!("writing the report with the token {token}");
    tokio::time::sleep(Duration::from_millis(300)).await;
}
