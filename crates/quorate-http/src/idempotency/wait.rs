//! Waiting for whoever runs a request.

use std::time::Duration;

use bytes::Bytes;
use quorate::events::RawChannel;
use quorate::{Result, Subscription};
use tokio::time::{Instant, sleep_until};

use super::layer::Shared;

/// Between two looks at a request of whose end nobody may have told: its instance was killed, or does not let requests wait.
const LOOK: Duration = Duration::from_secs(1);

impl Shared {
    /// Waits until it is worth while to look again. The first time that is at once, when whatever ends from then on is told.
    pub(super) async fn wait(
        &self,
        entry: &str,
        turn: &mut Option<Subscription<Bytes>>,
        give_up: Instant,
    ) -> Result<()> {
        let Some(told) = turn else {
            *turn = Some(self.channel(entry)?.subscribe().await?);
            return Ok(());
        };
        let look = (Instant::now() + LOOK).min(give_up);
        tokio::select! {
            told = told.next() => if told.is_none() {
                // The fleet is closed, which the next look says.
                *turn = None;
            },
            () = sleep_until(look) => {}
        }
        Ok(())
    }

    /// Tells whoever waits that a request is not running any more.
    pub(super) async fn tell(&self, entry: &str) -> Result<()> {
        // Where nobody waits, nobody has to be told.
        if self.options.wait_for.is_zero() {
            return Ok(());
        }
        self.channel(entry)?.publish(Bytes::new()).await.map(drop)
    }

    fn channel(&self, entry: &str) -> Result<RawChannel> {
        self.fleet
            .channel(&format!("{}:{entry}", self.store.name()))
    }
}
