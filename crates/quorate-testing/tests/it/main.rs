//! The harness, tested on the real things.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod proxy;
mod servers;
