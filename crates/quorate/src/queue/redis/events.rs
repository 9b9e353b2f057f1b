//! What happens in a queue, on Redis and Valkey: that it is told.

use super::RedisQueues;
use super::scripts::LIBRARY;
use crate::error::Result;
use crate::key::Key;
use crate::port::CallOptions;
use crate::redis::{Script, unexpected};

static WATCH: Script = Script::with_library(include_str!("../scripts/watch.lua"), LIBRARY);

impl RedisQueues {
    pub(super) async fn watch_events(&self, queue: &Key, options: CallOptions) -> Result<u64> {
        let reply = self.run(&WATCH, queue, &[], options).await?;
        let number = reply.as_str().and_then(|it| it.parse().ok());
        number.ok_or_else(|| unexpected(&reply))
    }
}
