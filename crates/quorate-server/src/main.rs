//! The `quorate` binary: serve, publish, subscribe, doctor, lock, store, cache.

mod api;
mod app;
mod auth;
mod cli;
mod config;
mod console;
mod failure;
mod fenced;
mod instances;
mod json;
mod lock_kind;
mod net;
mod observe;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
