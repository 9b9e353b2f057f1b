//! What Quorate is tested with, published so that others can test their own backend or application
//! the same way.
//!
//! * [`servers`]: real Redis and Valkey servers, found or fetched, started on free ports, stopped
//!   with the test that started them.
//! * [`proxy`]: a TCP proxy that cuts, stalls, delays and loses what passes through it.
//! * [`browser`]: a headless Chromium to see what a person would see.
//!
//! * [`harness`] and [`suites`]: the contract of every capability, clause by clause, for any backend.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `runtime` | yes | the async side of [`servers`], and the fault proxy |
//! | `tls` | yes | certificates made on the fly for servers that speak TLS |
//! | `suites` | yes | the conformance suites and their harness |
//! | `browser` | no | driving a browser, see [`browser`] |

pub mod browser;
#[cfg(feature = "suites")]
pub mod harness;
#[cfg(feature = "runtime")]
pub mod proxy;
pub mod servers;
#[cfg(feature = "suites")]
pub mod suites;
