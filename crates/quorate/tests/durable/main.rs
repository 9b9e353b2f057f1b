//! Durable runs, on every home, and what happens when things break.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod killed;
mod suites;
