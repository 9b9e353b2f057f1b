//! `chat`: see the README.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use chat::serve;
use clap::Parser;
use futures_util::future::try_join_all;
use quorate::Fleet;
use quorate_http::ConnectionTokens;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A chat on any number of instances.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Where the page is served. Everybody who reaches it may come in.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where the instances meet: memory:, or a server, redis://…
    #[arg(long, value_name = "URL", default_value = "memory:")]
    url: String,
    /// Instances in this process, each on a port of its own, from --listen on.
    #[arg(long, value_name = "COUNT", default_value = "1")]
    instances: NonZeroU16,
    /// Signs the tokens: at least 32 bytes, the same for all processes. Default: a random one.
    #[arg(long, env = "CHAT_SECRET", hide_env_values = true)]
    secret: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<()> {
    let tokens = tokens(cli.secret.as_deref())?;
    if cli.secret.is_none() && !cli.url.starts_with("memory:") {
        eprintln!("chat: this process takes no tokens of others: give all of them one CHAT_SECRET");
    }
    let mut listeners = Vec::new();
    for address in addresses(cli.listen, cli.instances)? {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("listen on {address}"))?);
    }
    // The first one has the home; the others are instances on the same.
    let name = |listener: &TcpListener| Ok(format!("chat-{}", listener.local_addr()?.port()));
    let service: Result<String> = name(&listeners[0]);
    let first = Fleet::builder()
        .url(cli.url)
        .service(service?)
        .build()
        .await?;
    let mut fleets = vec![first];
    for listener in &listeners[1..] {
        let service: Result<String> = name(listener);
        fleets.push(fleets[0].instance(&service?).await?);
    }

    let stop = CancellationToken::new();
    let mut serving = Vec::new();
    for (fleet, listener) in fleets.iter().zip(listeners) {
        eprintln!("chat: open http://{} ({fleet})", listener.local_addr()?);
        let (fleet, tokens, stop) = (fleet.clone(), tokens.clone(), stop.clone());
        serving.push(serve(fleet, listener, tokens, stop));
    }
    let asked = async {
        let asked = asked_to_stop().await.context("listen for signals");
        stop.cancel();
        asked
    };
    let served = async { tokio::try_join!(try_join_all(serving), asked) };
    let result = served.await.map(|_| ());
    // The first one last: the others are on its home.
    for fleet in fleets.iter().rev() {
        fleet.close().await;
    }
    result
}

fn tokens(secret: Option<&str>) -> Result<ConnectionTokens> {
    let tokens = match secret {
        Some(secret) => ConnectionTokens::new(secret),
        None => ConnectionTokens::new(rand::random::<[u8; 32]>()),
    };
    tokens.context("--secret")
}

/// One address for each instance. Port 0 is any free one, for each of them.
fn addresses(first: SocketAddr, instances: NonZeroU16) -> Result<Vec<SocketAddr>> {
    let further = instances.get() - 1;
    ensure!(
        first.port() == 0 || first.port().checked_add(further).is_some(),
        "--instances: there are not so many ports after {}",
        first.port()
    );
    let address = |number| {
        let port = if first.port() == 0 {
            0
        } else {
            first.port() + number
        };
        SocketAddr::new(first.ip(), port)
    };
    Ok((0..=further).map(address).collect())
}

#[cfg(unix)]
async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_take_the_ports_after_the_first() {
        let ports = |first: &str, instances| {
            let instances = NonZeroU16::new(instances).unwrap();
            let addresses = addresses(first.parse().unwrap(), instances)?;
            anyhow::Ok(addresses.iter().map(SocketAddr::port).collect::<Vec<_>>())
        };
        assert_eq!(ports("127.0.0.1:3000", 3).unwrap(), [3000, 3001, 3002]);
        assert_eq!(ports("127.0.0.1:0", 2).unwrap(), [0, 0]);
        assert_eq!(ports("127.0.0.1:65535", 1).unwrap(), [65535]);
        assert!(ports("127.0.0.1:65535", 2).is_err());
    }
}
