//! Conformance suites: one function per clause of a capability's contract, and a macro that makes one
//! test of each.
//!
//! ```
//! // One #[test] per clause, in a module of the given name. `Embedded` stands where your harness goes.
//! quorate_testing::lock_suite!(mine, quorate_testing::harness::Embedded);
//! # fn main() {}
//! ```

// Clauses are tests: they panic to fail, and say so once here.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a clause fails by panicking"
)]

pub mod cache;
pub mod durable;
pub mod events;
pub mod execution;
pub mod group;
pub mod history;
pub mod limit;
pub mod lock;
pub mod presence;
pub mod queue;
pub mod session;
pub mod store;
pub mod vote;
pub mod work;

/// Makes a module of tests, one per clause, from a list of clauses.
#[doc(hidden)]
#[macro_export]
macro_rules! __suite {
    ($module:ident, $harness:expr, $path:path, [$($clause:ident),* $(,)?]) => {
        mod $module {
            use super::*;
            use $path as suite;
            $(
                #[test]
                fn $clause() {
                    $crate::harness::run(&$harness, suite::$clause);
                }
            )*
        }
    };
}
