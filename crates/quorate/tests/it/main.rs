//! Every clause of every suite on every home, and what happens when things break.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod connection;
mod differential;
mod differential_cache;
mod differential_execution;
mod differential_group;
mod differential_history;
mod differential_limit;
mod differential_presence;
mod differential_quorum;
mod differential_session;
mod differential_store;
mod durations;
mod faults;
mod faults_cache;
mod faults_execution;
mod faults_execution_history;
mod faults_file;
mod faults_group;
mod faults_history;
mod faults_limit;
mod faults_lock;
mod faults_near;
mod faults_presence;
mod faults_quorum;
mod faults_session;
mod faults_session_history;
mod faults_store;
mod figures;
mod file;
mod limit_figures;
mod locks;
mod operators;
mod ports;
mod quorum;
mod room;
mod round_trips;
mod suites;
mod wire;
