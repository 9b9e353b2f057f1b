//! What Quorate is tested with, published so that others can test their own backend or application
//! the same way.
//!
//! * [`servers`]: real Redis and Valkey servers, found or fetched, started on free ports, stopped
//!   with the test that started them.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `runtime` | yes | the async side of [`servers`], and the fault proxy |
//! | `tls` | yes | certificates made on the fly for servers that speak TLS |

pub mod servers;
