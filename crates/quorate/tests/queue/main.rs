//! Queues, on every home, and what happens when things break: a binary of its own, for it is as large as half of the others
//! together.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "what queues do not need of it, others do")]
#[path = "../it/agreement.rs"]
mod agreement;
mod cost;
mod differential;
mod differential_groups;
mod faults;
mod faults_groups;
mod faults_journals;
mod faults_killed;
mod faults_started;
mod file;
mod file_groups;
mod fsck;
mod history;
mod journals;
mod permissions;
mod suites;
