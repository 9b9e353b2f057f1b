//! Two instances share the work of a topic, and one of them is gone in the middle of it.
//!
//! ```text
//! cargo run -p quorate --example group                      # in this process
//! cargo run -p quorate --example group redis://localhost    # on a server
//! ```

use std::time::Duration;

use quorate::{Event, Fleet, Message, TopicSpec};

const ORDERS: TopicSpec<u32> =
    TopicSpec::new("orders").keep(Duration::from_secs(3600), 1_000, 1 << 20);

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let first = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    let second = first.instance("second").await?;
    println!("a consumer group on {first}");

    // The first instance takes messages by hand.
    let billing = first.topic(&ORDERS).group("billing")?;
    let mut work = billing.clone().batch(4).join().await?;
    for order in 1..=10 {
        first.topic(&ORDERS).publish(&order).await?;
    }
    for _ in 0..3 {
        let Some(Event::Message(order)) = work.next().await else {
            break;
        };
        if *order == 3 {
            println!("first:  order {} is left undone", *order);
            break;
        }
        println!("first:  order {} is done", *order);
        work.acknowledge(&order).await?;
    }
    // What it took and did not acknowledge goes back to the group.
    work.leave().await;

    // The second has a handler: `Ok` acknowledges, an error gives the message back.
    let listener = second
        .topic(&ORDERS)
        .group("billing")?
        .on(|order: Message<u32>| async move {
            if *order == 7 && order.attempt() == 1 {
                println!("second: order 7 fails, and is tried again");
                return Err("the printer is out of paper");
            }
            println!(
                "second: order {} is done, attempt {}",
                *order,
                order.attempt()
            );
            Ok(())
        })
        .concurrency(2)
        .await?;
    loop {
        match billing.status().await? {
            Some(status) if status.pending + status.lag == 0 => break,
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    listener.stop().await;
    println!("everything is done");
    billing.delete().await?;
    second.close().await;
    first.close().await;
    Ok(())
}
