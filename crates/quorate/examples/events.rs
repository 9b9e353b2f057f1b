//! Publish and subscribe: typed messages, one entity, a pattern, and what loss looks like.
//!
//! ```text
//! cargo run -p quorate --example events                      # in this process
//! cargo run -p quorate --example events redis://localhost    # on a server
//! ```

use quorate::{Event, Fleet, TopicSpec};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    cents: i64,
}

/// Publishers and subscribers share this: the name and the type meet once.
const ORDERS: TopicSpec<Order> = TopicSpec::new("orders").validate(|order| match order.cents {
    1.. => Ok(()),
    _ => Err("cents must be positive".to_owned()),
});

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    println!("events on {fleet}");
    let orders = fleet.topic(&ORDERS);

    // Active when this returns: whatever is published from here on arrives.
    let mut all = orders.subscribe().await?;
    orders.publish(&Order { id: 1, cents: 950 }).await?;
    if let Some(Event::Message(order)) = all.next().await {
        println!("received {:?} from {:?}", *order, order.source());
    }

    // A message to one key reaches that key, and patterns that match it.
    let mut of_customers = orders.keys("customer-*").subscribe().await?;
    let ada = orders.key("customer-ada")?;
    ada.publish(&Order { id: 2, cents: 120 })
        .event_type("placed")
        .correlation_id("request-77")
        .await?;
    if let Some(message) = of_customers.next_message().await {
        println!(
            "{} was {} at {} (request {})",
            message.id,
            message.event_type().unwrap_or_default(),
            message.topic(),
            message.correlation_id().unwrap_or_default(),
        );
    }

    // Nothing invalid goes out.
    if let Err(error) = orders.publish(&Order { id: 3, cents: 0 }).await {
        println!("refused: {error}");
    }

    // A consumer that is too slow for its buffer is told what it lost.
    let mut slow = orders.subscribe().buffer(2).await?;
    for id in 4..=8 {
        orders.publish(&Order { id, cents: 100 }).await?;
    }
    let mut last = None;
    while last != Some(8) {
        match slow.next().await {
            Some(Event::Message(order)) => {
                last = Some(order.id);
                println!("slow: order {}", order.id);
            }
            Some(Event::Gap(gap)) => println!("slow: {:?} messages missing here", gap.missed),
            Some(other) => println!("slow: {other:?}"),
            None => break,
        }
    }

    fleet.close().await;
    Ok(())
}
