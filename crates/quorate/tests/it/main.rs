//! Every clause of every suite, on every home.

mod suites;
