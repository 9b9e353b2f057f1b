//! The chat as people use it: real browsers, real processes, a real server, and a network that fails.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod failures;
mod page;
mod program;
mod support;
