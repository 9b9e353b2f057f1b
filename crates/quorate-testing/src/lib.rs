//! What Quorate is tested with, published so that others can test their own backend or application
//! the same way.
//!
//! * [`servers`]: real Redis and Valkey servers, found or fetched, started on free ports, stopped
//!   with the test that started them.
//! * [`proxy`]: a TCP proxy that cuts, stalls, delays and loses what passes through it.
//! * [`browser`]: a headless Chromium to see what a person would see.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `runtime` | yes | the async side of [`servers`], and the fault proxy |
//! | `tls` | yes | certificates made on the fly for servers that speak TLS |
//! | `browser` | no | driving a browser, see [`browser`] |

pub mod browser;
#[cfg(feature = "runtime")]
pub mod proxy;
pub mod servers;
