//! Three candidates, one leader at a time, and somebody who watches.
//!
//! ```text
//! cargo run -p quorate --example leader                      # in this process
//! cargo run -p quorate --example leader redis://localhost    # on a server
//! ```

use std::time::Duration;

use futures_util::future::try_join_all;
use quorate::{FencingToken, Fleet};

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    println!("elections on {fleet}");
    let mut observation = fleet.election("scheduler").observe().await?;

    let candidates = ["one", "two", "three"].map(|candidate| {
        let fleet = fleet.clone();
        async move {
            let instance = fleet.instance(candidate).await?;
            let campaign = instance.election("scheduler").campaign(candidate);
            // Renewed in the background; whoever dies leads for 10 s more at most.
            let elected = campaign.lease(Duration::from_secs(10)).await?;
            let Some(leadership) = elected.leadership() else {
                return Ok(()); // never: it campaigns until it is elected
            };
            tokio::select! {
                () = lead(candidate, leadership.term()) => {}
                // Another may lead by now.
                () = leadership.lost() => println!("{candidate} was deposed"),
            }
            leadership.resign().await?;
            instance.close().await;
            quorate::Result::Ok(())
        }
    });

    let watching = async {
        loop {
            match observation.next().await {
                Ok(Some(leader)) => println!("{} leads, term {}", leader.candidate, leader.term),
                Ok(None) => println!("nobody leads"),
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        done = try_join_all(candidates) => { done?; }
        error = watching => return Err(error),
    }
    fleet.close().await;
    Ok(())
}

/// Stands for what a leader does. Whoever takes orders refuses those of an earlier term than it has seen.
async fn lead(candidate: &str, term: FencingToken) {
    println!("{candidate} gives orders in term {term}");
    tokio::time::sleep(Duration::from_millis(200)).await;
}
