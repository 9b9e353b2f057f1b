//! Every clause of every suite on every home, and what happens when things break.

mod connection;
mod differential;
mod faults;
mod suites;
mod wire;
