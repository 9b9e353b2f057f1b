//! An echo on the WebSocket connections of this crate, for the conformance run:
//! `cargo xtask conformance`.
//!
//! Prints its address, and ends with its standard input.

use std::error::Error;

use tokio::io::{copy, sink, stdin};
use tokio::net::TcpListener;

/// The largest message that the conformance run sends.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let serving = axum::serve(listener, quorate_http::internals::echo(MESSAGE_BYTES));
    // Whoever started it is gone, or wants no more.
    let unwanted = async { copy(&mut stdin(), &mut sink()).await };
    tokio::select! {
        served = serving => served?,
        ended = unwanted => { ended?; }
    }
    Ok(())
}
