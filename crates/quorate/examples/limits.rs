//! How often something may be done, over the whole fleet.
//!
//! ```text
//! cargo run -p quorate --example limits                      # in this process
//! cargo run -p quorate --example limits redis://localhost    # on a server
//! ```

use std::time::Duration;

use quorate::limit::{Admission, Reserved, reserve};
use quorate::{Decision, Fleet, Policy};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    let other = fleet.instance("other").await?;
    println!("limits on {fleet}");

    // Two instances, one limit: five at once, then one every half second; and twenty in a minute at most.
    let policies = [
        Policy::token_bucket(2, SECOND).burst(5),
        Policy::sliding_log(20, SECOND * 60),
    ];
    let (here, there) = (
        fleet.limiter("example", policies.clone()),
        other.limiter("example", policies),
    );
    here.reset("ann").await?;
    for number in 1..=7 {
        let limiter = if number % 2 == 0 { &here } else { &there };
        match limiter.consume("ann").await? {
            Decision::Allow { remaining, .. } => println!("{number}: go on, {remaining} left"),
            Decision::Deny {
                retry_after,
                policy,
                ..
            } => println!("{number}: {policy} says to come back in {retry_after:?}"),
            _ => {}
        }
    }

    // By user and by address, all or none.
    let logins = fleet.limiter("example-logins", Policy::fixed_window(3, SECOND));
    let by_address = logins.clone().action("address");
    let both = [logins.consume("ann"), by_address.consume("203.0.113.7")];
    if let Reserved::Allowed(decisions) = reserve(both).await? {
        println!("logging in, counted {} times", decisions.len());
    }

    // At the same time.
    let exports = fleet.concurrency("example-exports", 1);
    if let Admission::Entered(permit) = exports.enter("ann").await? {
        println!(
            "exporting; others wait: {} inside",
            exports.taken("ann").await?
        );
        permit.release().await?;
    }
    other.close().await;
    fleet.close().await;
    Ok(())
}
