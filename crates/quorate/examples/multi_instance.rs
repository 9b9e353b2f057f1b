//! Three instances of a service: each hears what any of them says, and one of them leads.
//!
//! ```text
//! cargo run -p quorate --example multi_instance                      # in this process
//! cargo run -p quorate --example multi_instance redis://localhost    # on a server
//! ```
//!
//! Here the three share a process. On a server they can be started in as many as you like: run the
//! example in several terminals at once.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Acquire, Fleet, TopicSpec};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const NEWS: TopicSpec<String> = TopicSpec::new("news");
const INSTANCES: usize = 3;

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let fleet = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    println!("instances on {fleet}");

    let together = Arc::new(Barrier::new(INSTANCES));
    let mut instances = JoinSet::new();
    for name in ["anna", "berta", "carla"] {
        instances.spawn(serve(fleet.instance(name).await?, together.clone()));
    }
    while let Some(served) = instances.join_next().await {
        served.expect("an instance does not panic")?;
    }

    fleet.close().await;
    Ok(())
}

async fn serve(fleet: Fleet, together: Arc<Barrier>) -> quorate::Result<()> {
    let name = fleet.service().to_owned();
    let news = fleet.topic(&NEWS);
    let mut heard = news.subscribe().await?;
    together.wait().await; // nobody speaks before all listen

    let lead = fleet.lock("leader").try_acquire().await?;
    together.wait().await; // nobody gives up the lead before all have asked for it
    let text = match &lead {
        Acquire::Acquired(guard) => format!("I lead, with the token {}", guard.token()),
        _ => "I follow".to_owned(),
    };
    news.publish(&text).await?;

    // Its own message is among them. Others that run this example are heard too.
    let listen = async {
        for _ in 0..INSTANCES {
            if let Some(message) = heard.next_message().await {
                let source = message.source().unwrap_or("somebody");
                println!("{name} hears {source}: {}", *message);
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(5), listen)
        .await
        .is_err()
    {
        println!("{name} has not heard everybody");
    }

    fleet.close().await; // gives the lock back
    Ok(())
}
