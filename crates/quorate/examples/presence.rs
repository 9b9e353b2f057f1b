//! Who is in the room: two instances, one of which is lost.
//!
//! ```text
//! cargo run -p quorate --example presence                      # in this process
//! cargo run -p quorate --example presence redis://localhost    # on a server
//! ```

use std::time::Duration;

use quorate::{Fleet, PresenceEvent};

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let a = Fleet::builder()
        .url(url.as_deref().unwrap_or("memory:"))
        .presence_lease(Duration::from_secs(2)) // 10 s unless there is a hurry
        .build()
        .await?;
    let b = a.instance("b").await?;
    println!("two instances on {a}");

    let mut watch = a.presence("lobby").watch().await?;
    let ada = a.presence("lobby").join("ada", r#"{"name":"Ada"}"#).await?;
    for id in ["bob", "eve"] {
        b.presence("lobby").join(id, "{}").await?.detach();
    }
    ada.update(r#"{"name":"Ada","away":true}"#).await?;
    println!("{} in the lobby", a.presence("lobby").count().await?);

    // As if its process were killed: nobody says goodbye.
    drop(b);

    let mut gone = 0;
    while gone < 2 {
        match watch.next().await {
            Some(PresenceEvent::Resync(roster)) => println!("at first: {}", roster.count),
            Some(PresenceEvent::Joined(member)) => println!("+ {}", member.id),
            Some(PresenceEvent::Updated(member)) => {
                println!("= {} {}", member.id, String::from_utf8_lossy(&member.info));
            }
            Some(PresenceEvent::Left(member)) => {
                println!("- {}, with its instance", member.id);
                gone += 1;
            }
            Some(_) => {}
            None => break,
        }
    }
    println!("{} in the lobby", a.presence("lobby").count().await?);

    ada.leave().await?;
    a.close().await;
    Ok(())
}
