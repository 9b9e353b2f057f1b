//! Ours: the link as the library uses it.

use std::sync::Arc;

use anyhow::{Context, Result};
use quorate_link::{CallOptions, Link, LinkConfig};

use super::{Place, check};
use crate::measure::Load;

/// `GET` through [`Link::call`], with every default: timeouts, limits, probing, reconnecting.
#[derive(Clone, Debug)]
pub(crate) struct LinkGet {
    link: Link,
    key: Arc<str>,
}

impl LinkGet {
    /// Connects.
    ///
    /// # Errors
    /// Those of the link.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let link = Link::open(LinkConfig::new("127.0.0.1", place.port), None)?;
        let load = Self {
            link,
            key: place.key.clone(),
        };
        load.clone().step().await.context("the first GET")?;
        Ok(load)
    }
}

impl Load for LinkGet {
    async fn step(&mut self) -> Result<()> {
        let parts = [b"GET", self.key.as_bytes()];
        let reply = self.link.call(&parts, &CallOptions::new()).await?;
        check(reply.as_bytes().map_or(0, <[u8]>::len))
    }
}
