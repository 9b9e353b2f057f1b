//! A login on one instance, seen on another, and ended everywhere.
//!
//! ```text
//! cargo run -p quorate --example sessions                      # in this process
//! cargo run -p quorate --example sessions redis://localhost    # on a server
//! ```

use quorate::{Fleet, SessionKey, SessionRef};

const CART: SessionKey<Vec<String>> = SessionKey::new("cart");

#[tokio::main]
async fn main() -> quorate::Result<()> {
    let url = std::env::args().nth(1);
    let a = Fleet::connect(url.as_deref().unwrap_or("memory:")).await?;
    let b = a.instance("b").await?;

    let visitor = a.sessions().create_anonymous().await?.id;
    let cart = vec!["apples".to_owned()];
    a.sessions().update(&visitor).set(&CART, &cart).await?;
    let login = a.sessions().rotate(&visitor).login("alice").await?;
    let Some(login) = login.rotated() else {
        println!("the session has ended");
        return Ok(());
    };
    println!("logged in as {}", login.id.handle());

    if let Some(session) = b.sessions().get_and_touch(&login.id).await? {
        let (user, cart) = (session.user(), session.get(&CART)?);
        println!(
            "on b: {user:?} with {cart:?}, until {:?} from now",
            session.expires_in()
        );
    }
    let mut watch = b.sessions().watch(&login.id).await?;
    let ended = a.sessions().delete_all("alice").await?;
    println!("{ended} ended; b heard {:?}", watch.ended().await?);
    a.close().await;
    b.close().await;
    Ok(())
}
