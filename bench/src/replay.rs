//! The floor's version of any operation: the very commands it was seen to send, and nothing around them.

use anyhow::{Result, ensure};

use crate::capture::{Command, commands_of};
use crate::floor::Floor;
use crate::measure::Load;

/// Sends captured commands, one after the other, on the floor.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    floor: Floor,
    commands: Vec<Command>,
}

impl Replay {
    /// Sends what one step of `ours` sends as commands called `verb`.
    ///
    /// # Errors
    /// Those of `ours`; if it did not send one such command.
    pub(crate) async fn of(port: u16, verb: &str, ours: &impl Load) -> Result<Self> {
        let mut ours = ours.clone();
        // The first time scripts are sent in full.
        ours.step().await?;
        let commands = commands_of(port, verb, async { ours.step().await }).await?;
        ensure!(
            commands.len() == 1,
            "{} commands called {verb}, not 1",
            commands.len()
        );
        Ok(Self {
            floor: Floor::connect(("127.0.0.1", port)).await?,
            commands,
        })
    }
}

impl Load for Replay {
    async fn step(&mut self) -> Result<()> {
        for command in &self.commands {
            let parts: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            self.floor.call(&parts).await?;
        }
        Ok(())
    }
}
